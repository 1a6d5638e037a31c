"""Weights that other people saved with torch, to safetensors, without running what may be inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mien.core import io
from mien.core.errors import WeightsError


def convert_torch(source: Path, target: Path) -> tuple[Path, int]:
    """Converts a torch file of tensors (a state dict, perhaps under ``state_dict``, ``model`` or ``net``).

    It is read with ``weights_only=True``: anything that is not a plain tensor or container is refused and
    named.

    Returns:
        The written file and its number of tensors.

    Raises:
        WeightsError: missing, not a torch file, it would run code, or holds no tensors.
    """
    from safetensors.torch import save_file

    if not source.is_file():
        raise WeightsError(f"{source}: no such file")
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except Exception:
        globals_ = _suspicious(source)
        named = f"; it names {', '.join(globals_)}" if globals_ else ""
        raise WeightsError(
            f"{source}: refused: not a plain file of tensors{named}; save the state dict alone"
        ) from None
    tensors = {k: v.detach().clone().contiguous() for k, v in _flatten(loaded).items()}
    if not tensors:
        raise WeightsError(f"{source}: holds no tensors")
    with io.new_file(target) as part:
        save_file(tensors, str(part))
    return target, len(tensors)


def _flatten(value: Any) -> dict[str, torch.Tensor]:
    if not isinstance(value, Mapping):
        return {}
    for name in ("state_dict", "model", "net"):
        if isinstance(value.get(name), Mapping):
            return _flatten(value[name])
    return {str(k): v for k, v in value.items() if isinstance(v, torch.Tensor)}


def _suspicious(source: Path) -> list[str]:
    """Names in the pickle that are not allowed, read without executing them."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(source))[:5]
    except Exception:
        return []
