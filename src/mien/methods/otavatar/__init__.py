"""OTAvatar: a one-shot talking face avatar of tri-planes (arXiv 2303.14662)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
