"""Released EG3D generators as ours: names, sizes, safetensors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.core import io
from mien.core.errors import ConfigError, WeightsError
from mien.engine.safe import read_tensors
from mien.methods.otavatar.generator import TriPlaneGenerator
from mien.methods.otavatar.network_pickle import read_network

_RENAMED = (
    (r"backbone\.mapping\.fc(\d+)\.(weight|bias)", r"mapping.layers.\1.\2"),
    (r"backbone\.mapping\.(embed\.weight|embed\.bias|w_avg)", r"mapping.\1"),
    (r"backbone\.synthesis\.b4\.const", r"synthesis.const"),
    (r"backbone\.synthesis\.b(\d+)\.(conv[01]\..+)", r"synthesis.blocks.\1.\2"),
    (r"backbone\.synthesis\.b(\d+)\.torgb\.(.+)", r"synthesis.blocks.\1.to_rgb.\2"),
    (r"superresolution\.block(\d)\.(conv[01]\..+)", r"super_resolution.blocks.\1.\2"),
    (r"superresolution\.block(\d)\.torgb\.(.+)", r"super_resolution.blocks.\1.to_rgb.\2"),
    (r"(decoder\.net\.[02]\.(?:weight|bias))", r"\1"),
)
_SR_NOISE = re.compile(r"superresolution\.block\d\.conv[01]\.noise_(const|strength)")
_SR_CLASSES = ("SuperresolutionHybrid8X", "SuperresolutionHybrid8XDC")
_SIZE_LIMIT = 1 << 20


def convert_eg3d(source: Path, target: Path) -> tuple[Path, int]:
    """Converts the generator ``G_ema`` of an EG3D network pickle of 512 pixels; nothing in it is executed.

    `load_generator` reads the result. The weights need the duplicated plane axes they were trained with.

    Returns:
        The written file and its number of tensors.

    Raises:
        WeightsError: missing, damaged, would run code, or no such generator.
        LimitError: larger than `mien.core.limits` allows.
    """
    from safetensors.torch import save_file

    official, classes = read_network(source)
    kind = classes.get("superresolution", "none")
    if kind not in _SR_CLASSES:
        raise WeightsError(
            f"{source}: super-resolution of the kind {kind[:60]!r}; only those of 512 pixels are known: "
            f"{', '.join(_SR_CLASSES)}"
        )
    try:
        state, sizes = eg3d_state(official)
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from None
    with io.new_file(target) as part:
        save_file(state, str(part), {"sizes": json.dumps(sizes)})
    return target, len(state)


def eg3d_state(official: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict of EG3D's generator -> that of `TriPlaneGenerator` (float32), and its arguments.

    Resampling filters must be [1, 3, 3, 1], which ours has built in; noise of the super-resolution is left
    out, as it is never used.

    Raises:
        WeightsError: another net, or tensors that are missing or of another size.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in official.items():
        if name.endswith("resample_filter"):
            _check_filter(name, tensor)
        elif not _SR_NOISE.fullmatch(name):
            state[_renamed(name)] = tensor.float().contiguous()
    try:
        sizes = _sizes(state, official["superresolution.block0.conv1.noise_const"].shape[0] // 2)
        with torch.device("meta"):
            ours = TriPlaneGenerator(**sizes).state_dict()
    except (KeyError, IndexError) as error:
        raise WeightsError(f"no generator of EG3D ({error} is missing)") from None
    except ConfigError as error:
        raise WeightsError(f"no generator of EG3D ({error})") from None
    _check_shapes(state, ours)
    return state, sizes


def load_generator(path: Path) -> TriPlaneGenerator:
    """The generator that `convert_eg3d` wrote.

    Raises:
        WeightsError: missing, damaged, or not written by it.
    """
    text, state = read_tensors(path, "sizes")
    try:
        sizes: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()
        }
        numbers = [n for v in sizes.values() for n in (v if isinstance(v, tuple) else (v,))]
        if not all(type(n) is int and 0 <= n <= _SIZE_LIMIT for n in numbers):
            raise ValueError("sizes out of range")
        with torch.device("meta"):
            net = TriPlaneGenerator(**sizes)
    except (ValueError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        raise WeightsError(
            f"{path}: says no sizes of a generator ({error}); mien convert eg3d FILE"
        ) from None
    try:
        _check_shapes(state, net.state_dict())
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    net.load_state_dict(state, assign=True)
    return net


def _renamed(name: str) -> str:
    for pattern, ours in _RENAMED:
        if match := re.fullmatch(pattern, name):
            new = match.expand(ours)
            if not new.startswith("synthesis.blocks."):
                return new
            side = int(match[1])
            if side < 4 or side & (side - 1):
                break
            return new.replace(f".{side}.", f".{side.bit_length() - 3}.", 1)  # 4 pixels is block 0
    raise WeightsError(f"no generator of EG3D: it holds {name[:80]!r}")


def _sizes(state: Mapping[str, Tensor], sr_side: int) -> dict[str, Any]:
    """Arguments of `TriPlaneGenerator` as the shapes tell them."""

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in state)

    rgb = r"{}\.blocks\.\d+\.to_rgb\.bias"
    blocks, sr_blocks = (count(rgb.format(part)) for part in ("synthesis", r"super_resolution"))
    widths = [state[f"synthesis.blocks.{i}.to_rgb.weight"].shape[1] for i in range(blocks)]
    w_dim, inputs = state["mapping.layers.0.weight"].shape
    c_dim = state["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in state else 0
    side = 4 << max(blocks - 1, 0)
    return {
        "z_dim": inputs - (w_dim if c_dim else 0),
        "c_dim": c_dim,
        "w_dim": w_dim,
        "plane_size": side,
        "plane_channels": state["synthesis.blocks.0.to_rgb.bias"].shape[0] // 3,
        "channel_base": widths[-1] * side,
        "channel_max": max(widths),
        "mapping_layers": count(r"mapping\.layers\.\d+\.bias"),
        "decoder_width": state["decoder.net.0.bias"].shape[0],
        "features": state["decoder.net.2.bias"].shape[0] - 1,
        "sr_side": sr_side,
        "sr_channels": tuple(
            state[f"super_resolution.blocks.{i}.to_rgb.weight"].shape[1] for i in range(sr_blocks)
        ),
    }


def _check_filter(name: str, tensor: Tensor) -> None:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    if tensor.shape != (4, 4) or not torch.allclose(tensor.float(), torch.outer(taps, taps), atol=1e-6):
        raise WeightsError(f"{name[:80]} is another filter than [1, 3, 3, 1]")


def _check_shapes(state: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> None:
    if names := sorted(set(ours) ^ set(state)):
        raise WeightsError(
            f"no generator of this layout: {names[0]} is {'missing' if names[0] in ours else 'unknown'}"
        )
    for name, tensor in ours.items():
        if state[name].shape != tensor.shape:
            raise WeightsError(
                f"{name} has shape {tuple(state[name].shape)}, a generator of this layout "
                f"{tuple(tensor.shape)}"
            )
