"""SAGM and its family on the DomainBed protocol: domain generalisation (arXiv 2303.10353)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
