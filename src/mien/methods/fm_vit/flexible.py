"""What FM-ViT and all nets it is compared with have in common: images by modality in, two logits out."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, cast

import torch
from torch import Tensor, nn

from mien.core.config import suggest
from mien.core.errors import ConfigError, ShapeError
from mien.nn.face_net import HALF
from mien.nn.heads import Normalize

LIVE = 0
"""Index of the logit of a live face; the other is that of an attack."""


class Output(TypedDict):
    """What a net says of B samples; the keys of the mappings are the modalities present.

    Nets with one exit give the same logits under every modality, so that one loss fits all.
    """

    logits: dict[str, Tensor]
    """(B, 2) of each branch."""
    fused: Tensor
    """(B, 2), the mean of the branches' logits."""
    relevance: dict[str, Tensor]
    """(B, N) of each branch, rows that sum to 1, without gradient; empty where the net has none."""
    cls: dict[str, Tensor]
    """(B, D) of each branch, before the last LayerNorm; empty where branches have no feature of their own."""
    aux: NotRequired[dict[str, Tensor]]
    """(B, N, cells) for each auxiliary target, see `patch_values`."""
    modality: NotRequired[dict[str, Tensor]]
    """(B, modalities) logits of which modality a sequence is of (`MAViT`)."""


def check_modalities(modalities: Sequence[str]) -> tuple[str, ...]:
    """Refuses an empty or repeated list of names, and names that cannot be those of layers.

    Raises:
        ConfigError: it is one.
    """
    wrong = [m for m in modalities if not m.isidentifier() or m == "shared"]
    if isinstance(modalities, str) or not modalities or wrong or len(set(modalities)) != len(modalities):
        raise ConfigError(f"modalities={modalities!r} must be a list of one or more different names")
    return tuple(modalities)


class FlexibleNet(nn.Module):
    """A net on images of some modalities, in [0, 1]; subclasses write `forward`.

    Args:
        modalities: names, in the fixed order in which the net joins them.
        img_size: S, side of the images in pixels.
        required: those that must be there; none = any one will do.

    Attributes:
        required_modalities: ``required``.
        loaded: names of the parameters that pre-trained weights changed.

    Raises:
        ConfigError: no names, or one twice.
    """

    def __init__(self, modalities: Sequence[str], img_size: int, required: Sequence[str] = ()) -> None:
        super().__init__()
        self.modalities, self.img_size = check_modalities(modalities), img_size
        self.required_modalities = tuple(required)
        self.loaded: frozenset[str] = frozenset()
        self.normalize = Normalize(HALF, HALF)

    @abstractmethod
    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Images (B, 3 or 1, S, S) in [0, 1] of the modalities present -> what the net says."""

    def forward_subsets(
        self, images: Mapping[str, Tensor], subsets: Sequence[tuple[str, ...]]
    ) -> list[Output]:
        """`forward` on each subset of the images."""
        return [cast("Output", self({m: images[m] for m in s})) for s in subsets]

    def predict_proba(self, images: Mapping[str, Tensor]) -> Tensor:
        """softmax(z)[live] of the fused logits: (B,) in [0, 1], higher = live."""
        return cast("Output", self(images))["fused"].softmax(-1)[:, LIVE]

    def prepare(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The images in the net's order of modalities, with three channels, as (x - 0.5) / 0.5.

        Raises:
            ConfigError: no image, an unknown modality, a required one missing.
            ShapeError: other shapes than (B, 3 or 1, S, S), or not one B.
        """
        for name in images:
            if name not in self.modalities:
                raise ConfigError(f"unknown modality {name!r}{suggest(name, list(self.modalities))}")
        if not images:
            raise ConfigError(f"no image; give any of {', '.join(self.modalities)}")
        for name in self.required_modalities:
            if name not in images:
                raise ConfigError(f"this net needs {name}, got {', '.join(images)}")
        # Sizes by shape[0]: len would fix the batch of an exported graph.
        s, first = self.img_size, next(iter(images))
        for name, x in images.items():
            if x.ndim != 4 or x.shape[1] not in (1, 3) or x.shape[2:] != (s, s):
                raise ShapeError(f"{name}: expected images (B, 3 or 1, {s}, {s}), got {tuple(x.shape)}")
            if x.shape[0] != images[first].shape[0]:
                raise ShapeError(
                    f"{len(images[first])} images of {first} and {len(x)} of {name}; give as many"
                )
        return {m: self.normalize(images[m].expand(-1, 3, -1, -1)) for m in self.modalities if m in images}

    def with_zeros(self, images: Mapping[str, Tensor]) -> list[Tensor]:
        """`prepare`, in the order of all modalities, the absent ones 0 (mid-grey): each (B, 3, S, S)."""
        ready = self.prepare(images)
        like = next(iter(ready.values()))
        return [ready[m] if m in ready else torch.zeros_like(like) for m in self.modalities]

    def one_exit(self, z: Tensor, present: Mapping[str, Tensor]) -> Output:
        """The `Output` of a net that has only fused logits (B, 2)."""
        logits = {m: z for m in self.modalities if m in present}
        return {"logits": logits, "fused": z, "relevance": {}, "cls": {}}


class SubsetNet(nn.Module):
    """One subset of a net's modalities as one plain input, which is what is exported; a frozen copy.

    Args:
        net: any `FlexibleNet`.
        subset: the modalities, in the order of the input's channels.

    Raises:
        ConfigError: no modality, or one twice.
    """

    def __init__(self, net: FlexibleNet, subset: Sequence[str]) -> None:
        super().__init__()
        # With gradients at hand torch may choose an attention that cannot be exported.
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.subset = check_modalities(subset)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3 |subset|, S, S) in [0, 1], modality after modality -> (B,) probability of a live face.

        One channel for each modality instead of three does, too.
        """
        return self.net.predict_proba(dict(zip(self.subset, image.chunk(len(self.subset), 1), strict=True)))
