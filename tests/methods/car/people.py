"""Models of the debug recipe, trained or not, and people of capsules for them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from mien.core.config import evolve_all
from mien.data.clothed import clothed_in_memory
from mien.engine.checkpoint import save_weights
from mien.engine.folder import ModelFolder
from mien.methods.car.config import RECIPES
from mien.methods.car.evaluate import case_of
from mien.methods.car.net import CarNet
from mien.synth.clothed_set import CapsuleSet

SIZE = 64


@lru_cache(1)
def capsules():
    """Two people of capsules, one picture each."""
    return clothed_in_memory(CapsuleSet(2, 1, SIZE, points=64), (0, 0, 2)).test


def tiny_folder(path, kind="debug"):
    """A model folder of a net that has learnt nothing: its field is a ball of 0.25 m."""
    recipe = evolve_all(RECIPES[kind](), {"data.size": SIZE, "method.radius": 0.25, "method.residual": False})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CarNet(recipe.method, 15)
    save_weights(net, path / "weights.safetensors")
    return ModelFolder(path, "car", recipe, {"joints": 15})


def files_of(folder, person=0):
    """Paths of a photograph, its mask and its body."""
    case = case_of(capsules(), person, 0)
    places = [
        folder / f"{name}{person}{end}"
        for name, end in (("photo", ".png"), ("mask", ".png"), ("body", ".npz"))
    ]
    Image.fromarray((255 * case.image.permute(1, 2, 0)).numpy().astype(np.uint8)).save(places[0])
    Image.fromarray(255 * case.mask.numpy().astype(np.uint8)).save(places[1])
    case.body.save(places[2])
    return [str(p) for p in places]
