from .build import build_optimizer as build_optimizer
from .build import lr_factor as lr_factor
from .sam import ASAM as ASAM
from .sam import GSAM as GSAM
from .sam import SAGM as SAGM
from .sam import SAM as SAM
from .sam import TwoPassOptimizer as TwoPassOptimizer
from .swad import SWAD as SWAD
