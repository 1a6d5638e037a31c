from .build import build_optimizer as build_optimizer
from .build import lr_factor as lr_factor
from .sam import SAM as SAM
