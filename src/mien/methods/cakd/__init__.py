"""CAKD: a transformer teaches a convolutional face recogniser (arXiv 2306.14662), a reconstruction."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
