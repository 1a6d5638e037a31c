"""What is computed once for a trained part and a part of a set, and kept under `mien.core.io.home`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from mien.core import io
from mien.core.config import hash_dict

Tensors = Mapping[str, Tensor]


def weights_key(net: nn.Module) -> str:
    """Hash of the weights and buffers of a net."""
    return hash_dict([[name, _digest(value)] for name, value in sorted(net.state_dict().items())])


def _digest(value: Tensor) -> str:
    return hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def kept(folder: str, settings: object, make: Callable[[], Tensors]) -> Tensors:
    """Tensors by name: read if there, else made and written whole.

    Args:
        folder: below the home folder.
        settings: all that the tensors depend on.
        make: makes them.
    """
    path = io.home() / folder / f"{hash_dict(settings)}.npz"
    if not path.is_file():
        made = {name: value.cpu().numpy() for name, value in make().items()}
        with io.new_file(path) as unfinished, unfinished.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **made)
    with np.load(path, allow_pickle=False) as held:
        return {name: torch.from_numpy(held[name]) for name in held.files}
