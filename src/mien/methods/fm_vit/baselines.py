"""Nets that FM-ViT is compared with: one sensor, and fusion early, halfway, by attention and late.

Transformers are timm's, started as FM-ViT is. Images come in [0, 1] and are fed as (x - 0.5) / 0.5. "Absent"
modalities of nets with fixed inputs are zeros there (mid-grey), the usual makeshift. Suffixes: B images,
N patches, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.fm_vit.blocks import Stem, patch_embedding, start_weights
from mien.methods.fm_vit.flexible import FlexibleNet, Output

MODALITIES = ("rgb", "depth", "ir")


def plain_vit(
    img_size: int,
    patch: int,
    dim: int,
    depth: int,
    heads: int,
    mlp_ratio: float,
    stem: Stem = "patch",
    channels: int = 3,
) -> Any:
    """Timm's ViT without classifier: (B, channels, S, S) -> tokens (B, N + 1, D), after the last LayerNorm.

    Raises:
        ConfigError: a patch that does not divide the side, heads that do not divide the width.
    """
    from timm.models.vision_transformer import VisionTransformer

    if patch < 1 or img_size % patch or heads < 1 or dim % heads or depth < 1:
        raise ConfigError(
            f"patch={patch} must divide img_size={img_size}, heads={heads} divide dim={dim},"
            f" and depth={depth} be at least 1"
        )
    vit = VisionTransformer(
        img_size,
        patch,
        channels,
        num_classes=0,
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        mlp_ratio=mlp_ratio,
    )
    if stem != "patch":
        vit.patch_embed.proj = patch_embedding(dim, patch, stem, channels)
    start_weights(vit)
    for table in cast("tuple[Tensor, Tensor]", (vit.cls_token, vit.pos_embed)):
        nn.init.trunc_normal_(table, std=0.02)
    return vit


def new_head(dim: int) -> nn.Linear:
    """Linear map to the logits of live and attack."""
    head = nn.Linear(dim, 2)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


class LateFusionViT(FlexibleNet):
    """A ViT of its own for each modality: z^m = Linear_m(CLS^m), fused z = the mean of those present.

    Args:
        modalities: names.
        img_size: S, side of the images in pixels.
        patch: side of a patch in pixels.
        dim: D.
        depth: blocks of each.
        heads: H, divides D.
        mlp_ratio: inner width of the FFNs over D.
        stem: how patches become tokens, see `patch_embedding`.

    Raises:
        ConfigError: sizes that do not divide one another.
    """

    def __init__(
        self,
        modalities: Sequence[str] = MODALITIES,
        img_size: int = 224,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        *,
        mlp_ratio: float = 4.0,
        stem: Stem = "patch",
    ) -> None:
        super().__init__(modalities, img_size)
        self.num_features = dim
        sizes = (img_size, patch, dim, depth, heads, mlp_ratio, stem)
        self.vits = nn.ModuleDict({m: plain_vit(*sizes) for m in self.modalities})
        self.heads = nn.ModuleDict({m: new_head(dim) for m in self.modalities})

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Any non-empty subset, each (B, 3 or 1, S, S) in [0, 1] -> `Output`. One ViT for each present.

        Raises:
            ConfigError: no image, or an unknown modality.
            ShapeError: other shapes, or not one B.
        """
        ready = self.prepare(images)
        cls = {m: self.vits[m].forward_features(x)[:, 0] for m, x in ready.items()}  # type: ignore[operator]
        logits = {m: self.heads[m](c) for m, c in cls.items()}
        return {
            "logits": logits,
            "fused": torch.stack(list(logits.values())).mean(0),
            "relevance": {},
            "cls": cls,
        }


class SingleViT(FlexibleNet):
    """A ViT on one modality, which must be there, and no other.

    Args:
        modality: its name.
        img_size: S, side of the images in pixels.
        patch: side of a patch in pixels.
        dim: D.
        depth: blocks.
        heads: H, divides D.
        mlp_ratio: inner width of the FFNs over D.
        stem: how patches become tokens, see `patch_embedding`.

    Raises:
        ConfigError: sizes that do not divide one another.
    """

    def __init__(
        self,
        modality: str = "rgb",
        img_size: int = 224,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        *,
        mlp_ratio: float = 4.0,
        stem: Stem = "patch",
    ) -> None:
        super().__init__((modality,), img_size, required=(modality,))
        self.num_features = dim
        self.vit, self.head = plain_vit(img_size, patch, dim, depth, heads, mlp_ratio, stem), new_head(dim)

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """{modality: (B, 3 or 1, S, S) in [0, 1]} -> `Output`.

        Raises:
            ConfigError: no image, or another modality.
            ShapeError: another shape.
        """
        ((m, x),) = self.prepare(images).items()
        cls = self.vit.forward_features(x)[:, 0]
        z = self.head(cls)
        return {"logits": {m: z}, "fused": z, "relevance": {}, "cls": {m: cls}}


class EarlyConcatViT(FlexibleNet):
    """One ViT on the channels of all modalities side by side; absent ones are zeros.

    Args:
        modalities: names, in the order of the channels.
        img_size: S, side of the images in pixels.
        patch: side of a patch in pixels.
        dim: D.
        depth: blocks.
        heads: H, divides D.
        mlp_ratio: inner width of the FFNs over D.
        stem: how patches become tokens, see `patch_embedding`.

    Raises:
        ConfigError: sizes that do not divide one another.
    """

    def __init__(
        self,
        modalities: Sequence[str] = MODALITIES,
        img_size: int = 224,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        *,
        mlp_ratio: float = 4.0,
        stem: Stem = "patch",
    ) -> None:
        super().__init__(modalities, img_size)
        self.num_features = dim
        self.vit = plain_vit(img_size, patch, dim, depth, heads, mlp_ratio, stem, 3 * len(self.modalities))
        self.head = new_head(dim)

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Any non-empty subset, each (B, 3 or 1, S, S) in [0, 1] -> `Output` of one exit.

        Raises:
            ConfigError: no image, or an unknown modality.
            ShapeError: other shapes, or not one B.
        """
        stacked = torch.cat(self.with_zeros(images), 1)
        return self.one_exit(self.head(self.vit.forward_features(stacked)[:, 0]), images)


class CrossAttentionFusion(FlexibleNet):
    """The flexible-modal baseline of public code: one ViT for all, then attention between channels.

        out = h_R + sum_{m != R} softmax(h_m h_R^T) h_R,   h_m (D, N): the patch tokens of m, no scaling;
        z = Linear(dropout(mean over places of ReLU(BN(conv3x3(out)))))

    R is the first modality. Absent ones go through the ViT as zeros, as they do there.

    Args:
        modalities: names, R first.
        img_size: S, side of the images in pixels.
        patch: side of a patch in pixels.
        dim: D.
        depth: blocks.
        heads: H, divides D.
        mlp_ratio: inner width of the FFNs over D.
        stem: how patches become tokens, see `patch_embedding`.
        dropout: before the classifier.

    Raises:
        ConfigError: sizes that do not divide one another.
    """

    def __init__(
        self,
        modalities: Sequence[str] = MODALITIES,
        img_size: int = 224,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        *,
        mlp_ratio: float = 4.0,
        stem: Stem = "patch",
        dropout: float = 0.3,
    ) -> None:
        super().__init__(modalities, img_size)
        self.num_features, self.grid = dim, img_size // max(1, patch)
        self.vit = plain_vit(img_size, patch, dim, depth, heads, mlp_ratio, stem)
        self.mix = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.BatchNorm2d(dim), nn.ReLU()
        )
        self.dropout, self.head = nn.Dropout(dropout), new_head(dim)

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Any non-empty subset, each (B, 3 or 1, S, S) in [0, 1] -> `Output` of one exit. O(|M| B N D^2).

        Raises:
            ConfigError: no image, or an unknown modality.
            ShapeError: other shapes, or not one B.
        """
        inputs = self.with_zeros(images)
        tokens = self.vit.forward_features(torch.cat(inputs))[:, 1:]
        h_MBDN = tokens.transpose(1, 2).unflatten(0, (len(inputs), -1))
        out_BDN = channel_attention(h_MBDN[0], h_MBDN[1:])
        mixed = self.mix(out_BDN.unflatten(2, (self.grid, self.grid))).mean((2, 3))
        return self.one_exit(self.head(self.dropout(mixed)), images)


def channel_attention(h_BDN: Tensor, others_MBDN: Tensor) -> Tensor:
    """H + sum_m softmax(h_m h^T) h over channels: (B, D, N), (M, B, D, N) -> (B, D, N). O(M B N D^2)."""
    weights_MBDD = (others_MBDN @ h_BDN.transpose(1, 2)).softmax(-1)
    return h_BDN + (weights_MBDD @ h_BDN).sum(0)


class HalfwayCNN(FlexibleNet):
    """A small convolutional branch for each modality, maps joined halfway; absent ones are zero maps there.

    Each branch: twice conv3x3 - BN - ReLU - max-pool, of w and 2 w channels; after the join twice
    conv3x3 - BN - ReLU of 4 w with a max-pool between, then the mean over places and a linear map.

    Args:
        modalities: names, in the order of the maps.
        img_size: S, side of the images in pixels, at least 8.
        width: w.
        conv: makes a convolution from (inputs, outputs, kernel_size=3, padding=1, bias=False).

    Raises:
        ConfigError: images below 8 pixels.
    """

    def __init__(
        self,
        modalities: Sequence[str] = MODALITIES,
        img_size: int = 224,
        width: int = 32,
        *,
        conv: Callable[..., nn.Module] = nn.Conv2d,
    ) -> None:
        super().__init__(modalities, img_size)
        if img_size < 8 or width < 1:
            raise ConfigError(f"img_size={img_size} must be at least 8 and width={width} at least 1")

        def unit(inputs: int, outputs: int, *, pool: bool = True) -> nn.Sequential:
            layers = [
                conv(inputs, outputs, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            return nn.Sequential(*layers, nn.MaxPool2d(2) if pool else nn.Identity())

        self.num_features = 4 * width
        self.branches = nn.ModuleDict(
            {m: nn.Sequential(unit(3, width), unit(width, 2 * width)) for m in self.modalities}
        )
        joined = 2 * width * len(self.modalities)
        self.trunk = nn.Sequential(unit(joined, 4 * width), unit(4 * width, 4 * width, pool=False))
        self.head = new_head(4 * width)

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Any non-empty subset, each (B, 3 or 1, S, S) in [0, 1] -> `Output` of one exit.

        Raises:
            ConfigError: no image, or an unknown modality.
            ShapeError: other shapes, or not one B.
        """
        maps = {m: self.branches[m](x) for m, x in self.prepare(images).items()}
        absent = torch.zeros_like(next(iter(maps.values())))
        joined = torch.cat([maps.get(m, absent) for m in self.modalities], 1)
        return self.one_exit(self.head(self.trunk(joined).mean((2, 3))), images)
