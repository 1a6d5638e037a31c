from .classification import calibration_error as calibration_error
from .classification import fit_temperature as fit_temperature
from .classification import mean_class_recall as mean_class_recall
from .classification import shot_accuracy as shot_accuracy
from .classification import shot_groups as shot_groups
from .classification import symmetric_kl as symmetric_kl
