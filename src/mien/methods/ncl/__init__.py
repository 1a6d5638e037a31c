"""NCL++: nested collaborative learning for long-tailed recognition (arXiv 2306.16709)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
