from .backbones import build_backbone as build_backbone
from .cifar_resnet import CifarResNet as CifarResNet
from .cifar_resnet import SmallConvNet as SmallConvNet
from .groupconv import GroupConvNet as GroupConvNet
from .heads import CosineHead as CosineHead
from .heads import Normalize as Normalize
