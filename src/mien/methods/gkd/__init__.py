"""GKD: grouped knowledge distillation for face recognition (arXiv 2304.04462)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
