"""Models of the debug recipes."""

from __future__ import annotations

from pathlib import Path

from mien.core.catalogue import Entry
from mien.core.config import evolve_all
from mien.engine.stages import train_recipe
from mien.methods.igc_net.config import RECIPES

ENTRY = Entry("igc_net", "3-D faces", "2303.10896", "IGC-Net", "mien.methods.igc_net")


def recipe(name="debug", **changes):
    """A recipe; ``method__parts=5`` changes ``method.parts``."""
    return evolve_all(RECIPES[name](), {k.replace("__", "."): v for k, v in changes.items()})


def train(folder: Path, own, **options) -> Path:
    """Trains a recipe in a folder."""
    train_recipe(ENTRY, own, folder, {}, **options)
    return folder
