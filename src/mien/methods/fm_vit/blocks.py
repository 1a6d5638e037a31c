"""Transformer blocks of several branches at once: the ordinary one (STB) and the cross-modal one (CMTB).

Suffixes: A present branches, B images, L = N + 1 tokens (row 0 = CLS), N patches, D width. All that is shared
by the branches runs once, over A and B together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.fm_vit.attention import (
    Mutual,
    attend,
    attention_map,
    kept_count,
    key_mask,
    mutual_map,
)
from mien.nn.face_vit import conv_stem
from mien.nn.heads import check_heads

NORM_EPS = 1e-6
Stem = Literal["patch", "conv"]
Missing = Literal["self", "skip"]


class PerModality(nn.Module):
    """A layer for each modality, or one layer for all.

    Args:
        modalities: names.
        make: makes one layer.
        shared: one for all.
    """

    def __init__(
        self, modalities: Sequence[str], make: Callable[[], nn.Module], shared: bool = False
    ) -> None:
        super().__init__()
        self.shared = shared
        self.parts = nn.ModuleDict({m: make() for m in (("shared",) if shared else modalities)})

    def forward(self, x: Tensor, present: Sequence[str]) -> Tensor:
        """(A, B, ...) -> (A, B, ...), row a by the layer of ``present[a]``."""
        if self.shared:
            return cast("Tensor", self.parts["shared"](x))
        return torch.stack([self.parts[m](row) for m, row in zip(present, x, strict=True)])

    def of(self, modality: str) -> nn.Module:
        """The layer of a modality; a shared one is that of all, and the first stands for "shared"."""
        return self.parts[modality if modality in self.parts else next(iter(self.parts))]

    def copy_from(self, other: PerModality) -> None:
        """Takes over the weights of layers of the same kind."""
        for m, part in self.parts.items():
            part.load_state_dict(other.of(m).state_dict())


def layer_norm(dim: int) -> nn.LayerNorm:
    """LN of the last axis."""
    return nn.LayerNorm(dim, eps=NORM_EPS)


def feed_forward(dim: int, mlp_ratio: float) -> nn.Sequential:
    """Linear(D, ratio D) - GELU - Linear(ratio D, D)."""
    inner = int(dim * mlp_ratio)
    return nn.Sequential(nn.Linear(dim, inner), nn.GELU(), nn.Linear(inner, dim))


def patch_embedding(dim: int, patch: int, stem: Stem = "patch", channels: int = 3) -> nn.Module:
    """(B, channels, S, S) -> (B, dim, S / patch, S / patch).

    Args:
        dim: D.
        patch: side and stride of a patch in pixels.
        stem: "patch": one linear map of each patch; "conv": convolutions of stride 2 (`conv_stem`), which
            small sets need; ``patch`` must then be a power of 2, and timm's weights do not fit.
        channels: of the images.

    Raises:
        ConfigError: an unknown stem, or convolutions for another patch.
    """
    if stem == "patch":
        return nn.Conv2d(channels, dim, patch, patch)
    if stem != "conv" or patch & (patch - 1):
        raise ConfigError(
            f"stem={stem!r}: patch or conv, and conv needs a patch, here {patch}, of a power of 2"
        )
    return conv_stem(dim, patch, channels)


def start_weights(net: nn.Module) -> None:
    """Starts linear maps and patch embeddings as Glorot did (as the first ViT), with zero biases.

    Deviations of 0.02, which timm takes, suit widths of about 768 only.
    """
    for m in net.modules():
        if isinstance(m, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(m.weight.flatten(1))
            if m.bias is not None:
                nn.init.zeros_(m.bias)


def zero_weights(layer: nn.Module) -> None:
    """Sets all weights of a layer to 0."""
    for p in layer.parameters():
        nn.init.zeros_(p)


@torch.no_grad()
def split_projection(qkv: nn.Linear, q: nn.Linear, kv: nn.Linear) -> None:
    """Gives the maps to q and to k, v the weights of one map to q, k, v."""
    for layer, rows in ((q, slice(0, q.out_features)), (kv, slice(q.out_features, None))):
        layer.weight.copy_(qkv.weight[rows])
        layer.bias.copy_(qkv.bias[rows])


def check_layout(img_size: int, patch: int, depth: int, stages: int) -> None:
    """Refuses patches that do not tile the image and stages that do not divide the blocks.

    Raises:
        ConfigError: they do not.
    """
    if patch < 1 or img_size % patch or stages < 1 or depth < stages or depth % stages:
        raise ConfigError(
            f"patch={patch} must divide img_size={img_size}, and stages={stages} divide depth={depth}"
        )


class TransformerBlock(nn.Module):
    """STB: X <- X + W_o MHSA(LN1(X)); X <- X + FFN(LN2(X)), in each branch.

    Args:
        dim: D.
        heads: H, divides D.
        mlp_ratio: inner width of the FFN over D.
        modalities: names of the branches.
        shared: the branches share all but LayerNorms.
    """

    def __init__(
        self, dim: int, heads: int, mlp_ratio: float, modalities: Sequence[str], shared: bool = True
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.norm1 = PerModality(modalities, lambda: layer_norm(dim))
        self.qkv = PerModality(modalities, lambda: nn.Linear(dim, 3 * dim), shared)
        self.out = PerModality(modalities, lambda: nn.Linear(dim, dim), shared)
        self.norm2 = PerModality(modalities, lambda: layer_norm(dim))
        self.mlp = PerModality(modalities, lambda: feed_forward(dim, mlp_ratio), shared)

    def forward(self, x_ABLD: Tensor, present: Sequence[str]) -> Tensor:
        """(A, B, L, D) -> (A, B, L, D). O(A B (L D^2 + L^2 D))."""
        q, k, v = self._project(x_ABLD, present)
        attended_ABLD = attend(q, k, v, self.heads).unflatten(0, x_ABLD.shape[:2])
        x_ABLD = x_ABLD + self.out(attended_ABLD, present)
        return x_ABLD + cast("Tensor", self.mlp(self.norm2(x_ABLD, present), present))

    def map(self, x_ABLD: Tensor, present: Sequence[str]) -> Tensor:
        """Mean attention over heads: (A, B, L, L). O(A B L^2 D)."""
        q, k, _ = self._project(x_ABLD, present)
        attn_ABLL: Tensor = attention_map(q, k, self.heads).unflatten(0, x_ABLD.shape[:2])
        return attn_ABLL

    def _project(self, x_ABLD: Tensor, present: Sequence[str]) -> tuple[Tensor, ...]:
        qkv = self.qkv(self.norm1(x_ABLD, present), present)
        return cast("tuple[Tensor, ...]", qkv.flatten(0, 1).chunk(3, -1))


class CrossModalBlock(nn.Module):
    """CMTB: mutual-attention in each branch, fusion-attention of each CLS row, FFN.

        X' = X + W_o MMA(LN1(X), g),  g the mutual map of the relevances;
        cls'' = cls' + U_o MFA(LN2(cls'), Y),  Y = the rows LN2(patches') of all peers, in the net's order;
        X'' + FFN(LN3(X'')),  X'' = [cls''; patches'].

    W, U and the FFN are shared by the branches, the LayerNorms are not.

    Args:
        dim: D.
        heads: H, divides D.
        mlp_ratio: inner width of the FFN over D.
        modalities: names of the branches.
        mutual: how relevances join, see `mutual_map`.
        rho: share of the patches whose keys stay.
        soft: weigh the keys instead of cutting; then the relevance has a gradient.
        mma: False = plain attention instead, as with rho = 1.
        mfa: False = no fusion-attention, and no U.
        missing: what a branch without peers does: "self" looks at its own patches again, "skip" leaves CLS.
        per_modal_qkv: W_q, W_k and W_v of each modality's own.

    Raises:
        ConfigError: heads that do not divide the width, rho outside (0, 1], an unknown option.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float,
        modalities: Sequence[str],
        *,
        mutual: Mutual = "sum",
        rho: float = 0.5,
        soft: bool = False,
        mma: bool = True,
        mfa: bool = True,
        missing: Missing = "self",
        per_modal_qkv: bool = False,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        kept_count(rho, 1)
        for name, value, known in (
            ("mutual", mutual, get_args(Mutual)),
            ("missing", missing, get_args(Missing)),
        ):
            if value not in known:
                raise ConfigError(f"{name}={value!r} is unknown; known: {', '.join(known)}")
        self.heads, self.mutual, self.rho, self.soft = heads, mutual, rho, soft
        self.mma, self.mfa, self.missing = mma, mfa, missing
        self.norm1 = PerModality(modalities, lambda: layer_norm(dim))
        self.qkv = PerModality(modalities, lambda: nn.Linear(dim, 3 * dim), not per_modal_qkv)
        self.out = nn.Linear(dim, dim)
        if mfa:
            self.norm2 = PerModality(modalities, lambda: layer_norm(dim))
            self.fuse_q, self.fuse_kv = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
            self.fuse_out = nn.Linear(dim, dim)
        self.norm3 = PerModality(modalities, lambda: layer_norm(dim))
        self.mlp = feed_forward(dim, mlp_ratio)

    def forward(self, x_ABLD: Tensor, present: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(A, B, L, D) -> (A, B, L, D) and relevance (A, B, N). O(A B (L D^2 + L^2 D) + A^2 B N D)."""
        x_ABLD, r_ABN = self.attend_mutually(x_ABLD, present)
        x_ABLD = self.fuse(x_ABLD, present)
        return x_ABLD + self.mlp(self.norm3(x_ABLD, present)), r_ABN

    def attend_mutually(self, x_ABLD: Tensor, present: Sequence[str]) -> tuple[Tensor, Tensor]:
        """X' and the relevance r (A, B, N), without gradient."""
        q, k, v, mask, r_ABN = self._mutual(x_ABLD, present)
        attended_ABLD = attend(q, k, v, self.heads, mask).unflatten(0, x_ABLD.shape[:2])
        return x_ABLD + self.out(attended_ABLD), r_ABN.detach()

    def fuse(self, x_ABLD: Tensor, present: Sequence[str]) -> Tensor:
        """X''; its patch rows are those of X'."""
        queries_and_peers = self._fusion(x_ABLD, present)
        if queries_and_peers is None:
            return x_ABLD
        fused_AB1D = torch.stack([attend(q, k, v, self.heads) for q, k, v in queries_and_peers])
        cls_AB1D = x_ABLD[:, :, :1] + self.fuse_out(fused_AB1D)
        return torch.cat([cls_AB1D, x_ABLD[:, :, 1:]], 2)

    def maps(self, x_ABLD: Tensor, present: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Mean attention over heads of both: (A, B, L, L), and (A, B, n) over the patches of Y or None."""
        q, k, _, mask, _ = self._mutual(x_ABLD, present)
        within = attention_map(q, k, self.heads, mask).unflatten(0, x_ABLD.shape[:2])
        branches = self._fusion(self.attend_mutually(x_ABLD, present)[0], present)
        if branches is None:
            return within, None
        return within, torch.stack([attention_map(q, k, self.heads)[:, 0] for q, k, _ in branches])

    def start_from(self, block: TransformerBlock) -> None:
        """Takes q, k, v (of both attentions), LayerNorms and FFN of a block; W_o, U_o and FFN's end are 0.

        So the block is the identity at first. Of branches with own weights the first one's are taken.
        """
        self.norm1.copy_from(block.norm1)
        self.norm3.copy_from(block.norm2)
        self.qkv.copy_from(block.qkv)
        self.mlp.load_state_dict(block.mlp.of("shared").state_dict())
        ends: list[nn.Module] = [self.out, self.mlp[-1]]
        if self.mfa:
            self.norm2.copy_from(block.norm1)
            split_projection(cast("nn.Linear", block.qkv.of("shared")), self.fuse_q, self.fuse_kv)
            ends.append(self.fuse_out)
        for end in ends:
            zero_weights(end)

    def _mutual(
        self, x_ABLD: Tensor, present: Sequence[str]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:
        """q, k, v (A B, L, D), the mask of the keys, and r (A, B, N)."""
        shape = x_ABLD.shape[:2]
        q, k, v = self.qkv(self.norm1(x_ABLD, present), present).flatten(0, 1).chunk(3, -1)
        r_ABN = attention_map(q[:, :1], k[:, 1:], self.heads)[:, 0].unflatten(0, shape)
        if not self.mma:
            return q, k, v, None, r_ABN
        r = dict(zip(present, r_ABN, strict=True))
        g_ABN = torch.stack([mutual_map(r, m, self.mutual) for m in present])
        return q, k, v, key_mask(g_ABN.flatten(0, 1), self.rho, self.soft), r_ABN

    def _fusion(self, x_ABLD: Tensor, present: Sequence[str]) -> list[tuple[Tensor, Tensor, Tensor]] | None:
        """For each branch c U_q (B, 1, D), Y U_k and Y U_v (B, n, D); every row is projected only once."""
        alone = len(present) == 1
        if not self.mfa or (alone and self.missing == "skip"):
            return None
        h_ABLD = self.norm2(x_ABLD, present)
        q_AB1D, kv_ABNE = self.fuse_q(h_ABLD[:, :, :1]), self.fuse_kv(h_ABLD[:, :, 1:])
        branches = []
        for a, q in enumerate(q_AB1D):
            peers = [kv for b, kv in enumerate(kv_ABNE) if b != a or alone]
            k, v = torch.cat(peers, 1).chunk(2, -1)
            branches.append((q, k, v))
        return branches
