"""A person as an avatar: what an inversion found, in a small safe file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.core.errors import WeightsError
from mien.core.io import new_file
from mien.engine.safe import read_tensors
from mien.methods.otavatar.generator import OWN_PLANES
from mien.methods.otavatar.inversion import corrected
from mien.methods.otavatar.model import AvatarNet

_VERSION = 1
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "w_id": (1, None, None), "camera": (25,), "scale": (9,), "shift": (9,), "row": (None,)
}  # fmt: skip
_DELTA = "delta."


@dataclass(frozen=True, eq=False)
class AvatarState:
    """One person.

    Attributes:
        w_id: (1, 1 or slots, W) identity code.
        camera: (25,) of the source picture, as it was given.
        scale: (9,) s of its intrinsics' correction K (1 + tanh(s)) + t.
        shift: (9,) t.
        row: (C,) expression of the source picture.
        generator: `net_hash` of the net that the code belongs to.
        size: side of the source picture, pixels.
        names: of the C actions, or ().
        delta: what was added to the generator's tensors for this person.
        note: free text.
    """

    w_id: Tensor
    camera: Tensor
    scale: Tensor
    shift: Tensor
    row: Tensor
    generator: str
    size: int
    names: tuple[str, ...] = ()
    delta: Mapping[str, Tensor] = field(default_factory=dict)
    note: str = ""

    @property
    def seen_from(self) -> Tensor:
        """(25,) camera of the source picture with its correction."""
        return corrected(self.camera[None], self.scale[None], self.shift[None], "all")[0]

    def save(self, path: str | Path) -> Path:
        """Writes a safetensors file, whole or not at all; read by `load_state`."""
        from safetensors.torch import save_file

        tensors = {k: getattr(self, k) for k in _SHAPES} | {_DELTA + k: v for k, v in self.delta.items()}
        facts = {k: getattr(self, k) for k in ("generator", "size", "names", "note")} | {"version": _VERSION}
        plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        with new_file(path) as part:
            save_file(plain, str(part), {"avatar": json.dumps(facts)})
        return Path(path)

    def to(self, device: torch.device | str) -> AvatarState:
        """The state on another device."""
        held: dict[str, Any] = {k: getattr(self, k).to(device) for k in _SHAPES}
        return replace(self, **held, delta={k: v.to(device) for k, v in self.delta.items()})


def load_state(path: str | Path, net: AvatarNet | None = None) -> AvatarState:
    """Reads what `AvatarState.save` wrote. O(size).

    Args:
        path: the file.
        net: that it is to be used with; None = not checked.

    Raises:
        WeightsError: missing, a pickle, damaged, no avatar, or of another net.
    """
    path = Path(path)
    text, tensors = read_tensors(path, "avatar")
    try:
        state = _state(json.loads(text), tensors)
        if net is not None:
            check_state(state, net)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WeightsError(f"{path}: not an avatar's state ({error}); invert the portrait again") from None
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return state


def _state(facts: Any, tensors: Mapping[str, Tensor]) -> AvatarState:
    """The state of a file's JSON and tensors.

    Raises:
        ValueError, TypeError, KeyError: something is missing or of another shape.
        WeightsError: another version, or values that are no numbers.
    """
    if facts["version"] != _VERSION:
        raise WeightsError(f"an avatar of version {facts['version']}, not {_VERSION}; invert it again")
    for name, shape in _SHAPES.items():
        got = tuple(tensors[name].shape)
        if len(got) != len(shape) or any(w not in (None, n) for w, n in zip(shape, got, strict=True)):
            raise ValueError(f"{name} has the shape {got}")
    for name, value in tensors.items():
        if value.dtype != torch.float32:
            raise ValueError(f"{name} is {value.dtype}, not float32")
        if not bool(value.isfinite().all()):
            raise WeightsError(f"{name} holds values that are no numbers; invert the portrait again")
    held: dict[str, Any] = {name: tensors[name] for name in _SHAPES}
    return AvatarState(
        **held,
        generator=str(facts["generator"]),
        size=int(facts["size"]),
        names=tuple(str(n) for n in facts["names"]),
        delta={k.removeprefix(_DELTA): v for k, v in tensors.items() if k.startswith(_DELTA)},
        note=str(facts["note"]),
    )


def check_state(state: AvatarState, net: AvatarNet, sha: str | None = None) -> None:
    """Whether a state can be drawn by a net.

    Args:
        state: of a person.
        net: the avatar's net.
        sha: its `net_hash`, where it is known.

    Raises:
        WeightsError: it belongs to another net, or its tensors do not fit.
    """
    own = net_hash(net) if sha is None else sha
    if state.generator != own:
        raise WeightsError(
            f"this avatar was made with another generator ({state.generator[:8]}, here {own[:8]}); invert the"
            " portrait again with these weights"
        )
    slots, width = state.w_id.shape[1:]
    if slots not in (1, net.generator.num_ws) or width != len(net.w_avg):
        raise WeightsError(
            f"w_id {tuple(state.w_id.shape)} does not fit (1, 1 or {net.generator.num_ws}, {len(net.w_avg)})"
        )
    rows = net.controller.coefficients - net.config.pose_rows
    if len(state.row) != rows:
        raise WeightsError(f"the source has {len(state.row)} actions, the controller knows {rows}")
    known = {k: v.shape for k, v in net.generator.state_dict().items()}
    known[OWN_PLANES] = net.generator.shape
    for name, value in state.delta.items():
        if known.get(name) != value.shape:
            raise WeightsError(f"the person's own {name} {tuple(value.shape)} does not fit the generator")


def net_hash(net: AvatarNet) -> str:
    """SHA-256 over all that draws: generator, controller, mean and deviation of w.

    The encoder is left out: it only finds where an inversion starts. O(weights).
    """
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        if name.startswith("encoder."):
            continue
        array = value.detach().cpu().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
