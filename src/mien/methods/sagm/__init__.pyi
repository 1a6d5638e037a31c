from .model import DomainNet as DomainNet
from .predict import Predictor as Predictor
from .sharpness import loss_slice as loss_slice
from .sharpness import sharpness_by_domain as sharpness_by_domain
from .sharpness import sharpness_report as sharpness_report
