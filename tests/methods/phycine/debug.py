"""Models of the debug recipes."""

from __future__ import annotations

from pathlib import Path

from mien.core.catalogue import method
from mien.core.config import evolve_all
from mien.engine.stages import train_recipe
from mien.methods.phycine.config import RECIPES

ENTRY = method("phycine")


def recipe(name="debug", **changes):
    """A debug recipe; ``method__slots=5`` changes ``method.slots``."""
    return evolve_all(RECIPES[name](), {k.replace("__", "."): v for k, v in changes.items()})


def train(folder: Path, own, before: Path | None = None, **options) -> Path:
    """Trains one stage in a folder."""
    train_recipe(ENTRY, own, folder, {"before": before} if before else {}, **options)
    return folder
