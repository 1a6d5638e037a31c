from .generator import SMALL as SMALL
from .generator import FieldDecoder as FieldDecoder
from .generator import SuperResolution as SuperResolution
from .generator import TriPlaneGenerator as TriPlaneGenerator
