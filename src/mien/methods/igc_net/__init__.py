"""IGC-Net: faces as 3-D part capsules, learnt from pictures without labels (a reconstruction)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
