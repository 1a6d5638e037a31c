"""Starting nets from a vision transformer of timm (layout of ``vit_base_patch16_224``)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from mien.core.errors import WeightsError
from mien.engine.safe import check_safetensors
from mien.methods.fm_vit.blocks import PerModality, TransformerBlock
from mien.methods.fm_vit.flexible import FlexibleNet
from mien.methods.fm_vit.mavit import MAViT
from mien.methods.fm_vit.model import FMViT
from mien.nn.face_net import HALF

IGNORED = ("head.", "head_dist.", "pre_logits.")
"""Parts of timm's state that a net with classes of its own does not take."""


def load_timm_vit(
    model: FlexibleNet,
    source: Mapping[str, Tensor] | nn.Module | str | Path,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> None:
    """Takes over patch embedding, tokens, blocks and last LayerNorm of a timm ViT, in every branch.

    CMTBs start again as the identity from the blocks before them; classifiers are left as they are. The
    position table is interpolated where the grid is another. Where timm normalised images by another mean and
    deviation than (0.5, 0.5), the difference is folded into the patch embedding, so that nothing but weights
    has to be kept. Early fusion of M modalities gets the embedding's weights over M for each.

    Args:
        model: an `FMViT`, a `MAViT`, or a baseline on timm's ViT.
        source: a state dict, a timm model, a safetensors file, or the name of a timm model, whose weights
            timm has at hand or fetches.
        mean: of the images, for each channel; None = what a timm model says, else 0.5.
        std: the same, of their deviation.

    Raises:
        WeightsError: a file that is missing, damaged or no safetensors; a name that timm has no weights for;
            weights of another layout or size; a model without a ViT.
    """
    state, known_mean, known_std = read_vit(source)
    mean, std = (known_mean if mean is None else mean), (known_std if std is None else std)
    state = fold_normalisation(state, mean, std)
    if isinstance(model, FMViT | MAViT):
        _fill_branches(model, state)
        return
    from timm.models.vision_transformer import VisionTransformer

    vits = [m for m in model.modules() if isinstance(m, VisionTransformer)]
    if not vits:
        raise WeightsError(f"a {type(model).__name__} has no vision transformer to load weights into")
    for vit in vits:
        _fill_plain(vit, state)


def read_vit(
    source: Mapping[str, Tensor] | nn.Module | str | Path,
) -> tuple[dict[str, Tensor], Sequence[float], Sequence[float]]:
    """State dict of a timm ViT without its classifier, and the mean and deviation of its images.

    Raises:
        WeightsError: as `load_timm_vit`, for the source.
    """
    config: Mapping[str, Any] = {}
    if isinstance(source, str | Path):
        source, config = _read_named(source)
    elif isinstance(source, nn.Module):
        config = getattr(source, "pretrained_cfg", {})
    tensors = source.state_dict() if isinstance(source, nn.Module) else source
    state = {k: v for k, v in tensors.items() if not k.startswith(IGNORED)}
    missing = [k for k in ("cls_token", "pos_embed", "patch_embed.proj.weight") if k not in state]
    if missing:
        raise WeightsError(f"no timm vision transformer with a class token: {missing[0]} is missing")
    return state, config.get("mean", HALF), config.get("std", HALF)


def fold_normalisation(
    state: Mapping[str, Tensor], mean: Sequence[float], std: Sequence[float]
) -> dict[str, Tensor]:
    """A patch embedding of (x - mean) / std as one of u = (x - 0.5) / 0.5, which is what our nets feed.

        W' = W / (2 std),   b' = b + sum W (0.5 - mean) / std

    Exact, as patches are not padded.
    """
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    mu, sigma = (torch.tensor(tuple(x), dtype=weight.dtype)[:, None, None] for x in (mean, std))
    folded = {
        "patch_embed.proj.weight": weight / (2 * sigma),
        "patch_embed.proj.bias": bias + (weight * (0.5 - mu) / sigma).sum((1, 2, 3)),
    }
    return {**state, **folded}


def resized_position(table: Tensor, grid: int) -> Tensor:
    """(1, n^2 + 1, D) -> (1, grid^2 + 1, D), bicubic; the row of the class token stays.

    Raises:
        WeightsError: no square grid and class token.
    """
    from timm.layers.pos_embed import resample_abs_pos_embed

    if math.isqrt(table.shape[1] - 1) ** 2 != table.shape[1] - 1:
        raise WeightsError(f"pos_embed of {table.shape[1]} rows is no square grid and a class token")
    resampled: Tensor = resample_abs_pos_embed(table, [grid, grid])
    return resampled


def _read_named(source: str | Path) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """Tensors and timm's config of a safetensors file (none) or of a timm model by name."""
    path = Path(source)
    if path.suffix == ".safetensors" or path.exists() or isinstance(source, Path):
        from safetensors.torch import load_file

        check_safetensors(path)
        return load_file(path), {}
    import timm

    if not timm.is_model(source):
        raise WeightsError(f"{source}: neither a safetensors file nor a model that timm knows")
    try:
        net = timm.create_model(source, pretrained=True)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise WeightsError(
            f"{source}: timm cannot get its weights ({reason}); give a safetensors file"
        ) from None
    tensors: dict[str, Tensor] = net.state_dict()
    return tensors, cast("Mapping[str, Any]", net.pretrained_cfg)


class _Filler:
    """Copies tensors by timm's name, and knows which have been used."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state, self.unused = state, set(state)

    def tensor(self, target: Tensor, name: str) -> None:
        if name not in self.state:
            raise WeightsError(f"{name} is missing in the weights of the vision transformer")
        value = self.state[name]
        if value.shape != target.shape:
            raise WeightsError(f"{name} has shape {tuple(value.shape)}, this net needs {tuple(target.shape)}")
        with torch.no_grad():
            target.copy_(value)
        self.unused.discard(name)

    def layer(self, target: nn.Module, name: str) -> None:
        for kind, p in target.named_parameters():
            self.tensor(p, f"{name}.{kind}" if name else kind)

    def layers(self, target: PerModality, name: str, inner: str | None = None) -> None:
        for part in target.parts.values():
            self.layer(part if inner is None else part.get_submodule(inner), name)

    def finish(self) -> None:
        if self.unused:
            raise WeightsError(
                f"weights of another kind of vision transformer: this net has no {min(self.unused)}"
            )


def _fill_branches(model: FMViT | MAViT, state: Mapping[str, Tensor]) -> None:
    fill = _Filler({**state, "pos_embed": resized_position(state["pos_embed"], model.grid)})
    for embed in model.embed.values():
        fill.layer(embed, "patch_embed.proj")
    for tokens, name in ((model.cls, "cls_token"), (model.position, "pos_embed")):
        for p in tokens.values():
            fill.tensor(p, name)
    for i, block in enumerate(cast("Iterable[TransformerBlock]", model.blocks)):
        fill.layers(block.norm1, f"blocks.{i}.norm1")
        fill.layers(block.qkv, f"blocks.{i}.attn.qkv")
        fill.layers(block.out, f"blocks.{i}.attn.proj")
        fill.layers(block.norm2, f"blocks.{i}.norm2")
        fill.layers(block.mlp, f"blocks.{i}.mlp.fc1", "0")
        fill.layers(block.mlp, f"blocks.{i}.mlp.fc2", "2")
    fill.layers(model.norm, "norm")
    fill.finish()
    model.start_cross_blocks()


def _fill_plain(vit: Any, state: Mapping[str, Tensor]) -> None:
    """Fills a VisionTransformer of timm without classifier."""
    times, rest = divmod(vit.patch_embed.proj.in_channels, 3)
    if rest:
        raise WeightsError(f"a net of {vit.patch_embed.proj.in_channels} channels takes no weights for RGB")
    embed = state["patch_embed.proj.weight"].repeat(1, times, 1, 1) / times
    position = resized_position(state["pos_embed"], vit.patch_embed.grid_size[0])
    fill = _Filler({**state, "patch_embed.proj.weight": embed, "pos_embed": position})
    fill.layer(vit, "")
    fill.finish()
