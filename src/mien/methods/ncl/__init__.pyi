from .loss import BalancedSoftmaxLoss as BalancedSoftmaxLoss
from .loss import NCLLoss as NCLLoss
from .loss import balanced_online_distillation as balanced_online_distillation
from .loss import hard_category_mask as hard_category_mask
from .model import MultiExpertNet as MultiExpertNet
from .predict import Predictor as Predictor
