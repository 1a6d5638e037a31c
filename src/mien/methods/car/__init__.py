"""CAR: a clothed, animatable body from one photograph (arXiv 2304.03903)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
