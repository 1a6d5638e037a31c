"""An untrained model that finds objects by colour, clips of two discs, and the debug net."""

from __future__ import annotations

import numpy as np
import torch

from mien.core.config import evolve_all
from mien.engine.checkpoint import save_weights
from mien.engine.folder import ModelFolder
from mien.methods.phycine.config import RECIPES
from mien.methods.phycine.model import Phycine

RED, BLUE, GROUND = (204, 32, 40), (42, 75, 215), (205, 205, 205)


def folder(path, facts=None, **changes):
    """A debug model that has learnt nothing, on disk."""
    changes = {f"method.{k}": v for k, v in {"window": 3, "infer_steps": 5, **changes}.items()}
    recipe = evolve_all(RECIPES["debug"](), {"data.height": 48, "data.stride": 3, **changes})
    torch.manual_seed(0)
    path.mkdir(parents=True, exist_ok=True)
    save_weights(Phycine(recipe.method, recipe.data.size), path / "weights.safetensors")
    return ModelFolder(path, "phycine", recipe, facts or {"data": {}})


def clip(frames=24, colours=(RED, BLUE), speed=1.0, size=(48, 72)):
    """(T, H, W, 3): discs of radius 5 one above the other, moving apart sideways, pixels a frame."""
    y, x = np.mgrid[: size[0], : size[1]]
    out = np.full((frames, *size, 3), GROUND, np.uint8)
    for t in range(frames):
        for k, colour in enumerate(colours):
            at = size[1] / 2 + (1 if k % 2 else -1) * speed * t, size[0] * (k + 0.5) / len(colours)
            out[t][(x + 0.5 - at[0]) ** 2 + (y + 0.5 - at[1]) ** 2 < 25] = colour
    return out
