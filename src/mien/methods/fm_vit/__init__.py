"""FM-ViT: one anti-spoofing net for any set of sensors (arXiv 2305.03277), a reconstruction."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
