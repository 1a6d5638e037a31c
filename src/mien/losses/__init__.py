"""Losses of two or more methods: pure functions first, modules with one call on top."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
