"""Synthetic people with exact ground truth: body, looks, garments, sensors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
