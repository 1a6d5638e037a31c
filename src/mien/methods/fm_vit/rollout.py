"""Attention rollout (Abnar and Zuidema, arXiv 2005.00928) through the joined branches of FM-ViT.

Where the fused decision comes from. A row vector u over all tokens of all branches starts at the CLS rows,
1 / |A| each, and goes down through the blocks, each of which sends half of it straight on (the residual) and
half along its attention:

    ordinary block, mutual-attention:  u^m <- (u^m + u^m A^m) / 2;
    fusion-attention:  from CLS of m the half goes to the patches of its peers (or to its own where alone).

What arrives at the patches is returned; with what arrives at the CLS rows it sums to 1 over all branches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mien.methods.fm_vit.model import FMViT

Step = Callable[[Tensor], Tensor]


def through_attention(attn_ABLL: Tensor) -> Step:
    """U (A, B, L) -> (u + u A) / 2. O(A B L^2)."""
    return lambda u_ABL: (u_ABL + (u_ABL[..., None, :] @ attn_ABLL)[..., 0, :]) / 2


def through_fusion(attn_ABn: Tensor) -> Step:
    """U (A, B, L) -> half of each CLS entry moved to the patches that it looked at. O(A^2 B N).

    Args:
        attn_ABn: (A, B, n): of branch a over the patches of the others in order, or over its own if A = 1.
    """

    def step(u_ABL: Tensor) -> Tensor:
        branches = len(u_ABL)
        moved = u_ABL[:, :, :1] / 2 * attn_ABn
        out = u_ABL.clone()
        out[:, :, 0] /= 2
        for a in range(branches):
            targets = [b for b in range(branches) if b != a or branches == 1]
            for b, part in zip(targets, moved[a].chunk(len(targets), -1), strict=True):
                out[b, :, 1:] += part
        return out

    return step


@torch.no_grad()
def attention_rollout(net: FMViT, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """How much of the fused decision comes from each patch of each modality. O(A B depth L^2 D).

    Args:
        net: an `FMViT`.
        images: of the modalities present, each (B, 3 or 1, S, S) in [0, 1].

    Returns:
        modality -> (B, N), at least 0; all branches together sum to less than 1.

    Raises:
        ConfigError: no image, or an unknown modality.
        ShapeError: other shapes, or not one B.
    """
    present, x_ABLD = net.tokens(images)
    steps: list[Step] = []
    for i, block in enumerate(net.blocks):
        steps.append(through_attention(block.map(x_ABLD, present)))  # type: ignore[operator]
        x_ABLD = block(x_ABLD, present)
        cross = net.cross_block_after(i)
        if cross is not None:
            within, fusion = cross.maps(x_ABLD, present)
            steps.append(through_attention(within))
            if fusion is not None:
                steps.append(through_fusion(fusion))
            x_ABLD, _ = cross(x_ABLD, present)
    u_ABL = torch.zeros_like(x_ABLD[..., 0])
    u_ABL[:, :, 0] = 1 / len(present)
    for step in reversed(steps):
        u_ABL = step(u_ABL)
    return dict(zip(present, u_ABL[:, :, 1:], strict=True))
