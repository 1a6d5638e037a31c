"""CQIL: face anti-spoofing for surveillance cameras (arXiv 2301.00975, 2304.07580), a reconstruction."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
