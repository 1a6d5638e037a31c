"""PHYCINE: mass and charge of objects, found from video without labels (arXiv 2303.01869)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
