"""Linear blend skinning: bones' transforms down the tree, vertices as weighted means of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mien.core.errors import ConfigError


def chain(heads: Tensor, pose: Tensor | None, parents: Sequence[int]) -> Tensor:
    """Transforms of the bones from rest to posed space (B, J, 4, 4): T_j = T_parent [R_j | h_j - R_j h_j].

    Args:
        heads: (B, J, 3) heads of the bones at rest.
        pose: (B, J, 3, 3) rotations about the heads in world axes of the rest pose; None: rest.
        parents: index of each bone's parent, -1 for a root; parents come first.

    Raises:
        ConfigError: a pose of another shape.
    """
    batch, count = heads.shape[:2]
    eye = torch.eye(4, dtype=heads.dtype, device=heads.device)
    if pose is None:
        return eye.expand(batch, count, 4, 4)
    if pose.shape != (batch, count, 3, 3):
        raise ConfigError(f"pose is {tuple(pose.shape)}, not ({batch}, {count}, 3, 3)")
    offset = heads - (pose @ heads[..., None])[..., 0]
    local = torch.cat([torch.cat([pose, offset[..., None]], -1), eye[3].expand(batch, count, 1, 4)], -2)
    out: list[Tensor] = []
    for j, parent in enumerate(parents):
        out.append(local[:, j] if parent < 0 else out[parent] @ local[:, j])
    return torch.stack(out, 1)


def moved(transforms: Tensor, translation: Tensor | None) -> Tensor:
    """Transforms (B, J, 4, 4), then a translation (B, 3) of the whole body."""
    if translation is None:
        return transforms
    out = transforms.clone()
    out[..., :3, 3] = out[..., :3, 3] + translation[:, None]
    return out


def blend(rest: Tensor, transforms: Tensor, bone: Tensor, weight: Tensor) -> Tensor:
    """Posed vertices (B, V, 3) = sum_k w_vk T_b(v,k) [x_v, 1]. O(B V K).

    Args:
        rest: (B, V, 3).
        transforms: (B, J, 4, 4).
        bone: (V, K) long.
        weight: (V, K), rows sum to 1.
    """
    mixed = rest.new_zeros(*rest.shape[:2], 3, 4)
    for k in range(bone.shape[1]):
        mixed = mixed + weight[:, k, None, None] * transforms[:, bone[:, k], :3]
    return (mixed[..., :3] @ rest[..., None])[..., 0] + mixed[..., 3]


def carry(points: Tensor, transforms: Tensor) -> Tensor:
    """Points (B, J, 3), each moved by its own transform (B, J, 4, 4)."""
    return (transforms[..., :3, :3] @ points[..., None])[..., 0] + transforms[..., :3, 3]
