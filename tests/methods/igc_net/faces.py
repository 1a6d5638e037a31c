"""A tiny net that has learnt nothing, and made faces to look at."""

from __future__ import annotations

from functools import lru_cache

import torch

from mien.data.capsule_files import CapsuleSet
from mien.data.capsule_sets import capsule_set
from mien.engine.checkpoint import save_weights
from mien.engine.folder import ModelFolder
from mien.methods.igc_net.model import IGCNet
from mien.methods.igc_net.task import flat_net
from tests.methods.igc_net.debug import recipe


def tiny_net(seed=0, **changes) -> IGCNet:
    """Of the debug recipe: 3 parts, 32 pixels."""
    own = recipe(**changes)
    torch.manual_seed(seed)
    return IGCNet(own.method, own.data.size).eval().requires_grad_(False)


def tiny_folder(path, **changes) -> ModelFolder:
    """A model folder with such a net, or the flat one."""
    own = recipe(**changes)
    torch.manual_seed(0)
    flat = own.method.model == "autoencoder2d"
    net = flat_net(own.method, own.data.size) if flat else tiny_net(**changes)
    save_weights(net, path / "weights.safetensors")
    return ModelFolder(path, "igc_net", own, {"data": {"real": False}})


@lru_cache
def made(part="test") -> CapsuleSet:
    """Heads of formulas."""
    return capsule_set(recipe().data, part)


def some_images(count=4) -> torch.Tensor:
    """(count, 3, 32, 32)."""
    return torch.from_numpy(made().pictures[:count]).permute(0, 3, 1, 2).float() / 255
