"""Small meshes for the tests."""

from __future__ import annotations

import torch
import trimesh


def triangle(dtype=torch.float32):
    """The worked example of one triangle."""
    P = torch.tensor([[[-0.5, -0.5, 0.2], [0.5, -0.5, 0.4], [0.0, 0.5, 0.6]]], dtype=dtype)
    return P, torch.tensor([[0, 1, 2]], dtype=torch.int32)


def icosphere(dtype=torch.float64, subdivisions=4):
    """Unit sphere: (V, 3), (T, 3)."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    return torch.tensor(ball.vertices, dtype=dtype), torch.tensor(ball.faces, dtype=torch.int32)


def capsule_body(seed=0):
    """A body of capsules, limbs thin: (1, V, 3) NDC float32, (T, 3)."""
    generator = torch.Generator().manual_seed(seed)
    points, faces, count = [], [], 0
    for k in range(7):
        part = trimesh.creation.capsule(height=0.5, radius=0.04 + 0.02 * k, count=[24, 24])
        turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
        move = 0.5 * torch.randn(3, generator=generator)
        points.append(torch.tensor(part.vertices, dtype=torch.float32) @ turn + move)
        faces.append(torch.tensor(part.faces, dtype=torch.int32) + count)
        count += len(part.vertices)
    return torch.cat(points)[None], torch.cat(faces)
