from .backends import raster_numpy as raster_numpy
from .raster import Raster as Raster
from .raster import front_back as front_back
from .raster import interpolate as interpolate
from .raster import rasterize as rasterize
