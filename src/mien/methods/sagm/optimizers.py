"""The optimisers of this family live in `mien.optim`, where every method reaches them; these are names."""

from mien.optim import ASAM, GSAM, SAGM, SAM, SWAD

__all__ = ["ASAM", "GSAM", "SAGM", "SAM", "SWAD"]
