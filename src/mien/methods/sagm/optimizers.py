"""The optimisers of this family live in `mien.optim`, where every method reaches them; here are their names."""

from mien.optim import ASAM, GSAM, SAGM, SAM, SWAD

__all__ = ["ASAM", "GSAM", "SAGM", "SAM", "SWAD"]
