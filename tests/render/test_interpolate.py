from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.render import Camera, interpolate, rasterize
from tests.render.meshes import capsule_body, icosphere, triangle


def test_the_worked_gradient_of_a_barycentric():
    P, F = triangle(torch.float64)
    P.requires_grad_()
    face_id = rasterize(P, F, 8, 8).face_id
    b = interpolate(P, F, torch.eye(3, dtype=torch.float64), face_id)
    assert b[0, 4, 3].tolist() == [0.4375, 0.1875, 0.375]
    (gradient,) = torch.autograd.grad(b[0, 4, 3, 1], P)
    assert gradient[0, 1].tolist() == [-0.1875, 0.09375, 0]


def slow(P, F, attributes, face_id, w):
    """One pixel at a time, areas by the shoelace formula."""
    B, H, W = face_id.shape
    out = np.zeros((B, H, W, attributes.shape[-1]))
    area = lambda a, b, c: (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])  # noqa: E731
    for b in range(B):
        for i in range(H):
            for j in range(W):
                if (t := int(face_id[b, i, j])) < 0:
                    continue
                p = ((j + 0.5) / W * 2 - 1, 1 - (i + 0.5) / H * 2)
                v = [P[b, k, :2].tolist() for k in F[t].tolist()]
                e = [area(v[1], v[2], p), area(v[2], v[0], p), area(v[0], v[1], p)]
                e = [x / float(w[b, k]) for x, k in zip(e, F[t].tolist(), strict=True)]
                for x, k in zip(e, F[t].tolist(), strict=True):
                    out[b, i, j] += x / sum(e) * attributes[b, k].numpy()
    return torch.from_numpy(out)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_slow_twin(dtype):
    P = torch.cat([capsule_body(k)[0] for k in range(2)]).to(dtype)
    F = capsule_body()[1]
    g = torch.Generator().manual_seed(0)
    A = torch.randn(2, P.shape[1], 4, generator=g, dtype=dtype)
    w = 1 + torch.rand(P.shape[:2], generator=g, dtype=dtype)
    face_id = rasterize(P, F, 40, 36).face_id
    expected = slow(P, F, A, face_id, w)
    # A triangle seen edge-on has weights that float32 cannot hold better.
    close = {"rtol": 0, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 0, "atol": 2e-2}
    fast = interpolate(P, F, A, face_id, w)
    torch.testing.assert_close(fast.double(), expected, **close)
    assert float((fast.double() - expected).abs().median()) < 1e-6
    with_gradient = interpolate(P, F, A.requires_grad_(), face_id, w)
    torch.testing.assert_close(with_gradient.detach().double(), expected, **close)


def test_gradients_of_everything():
    P, F = triangle(torch.float64)
    P = P + torch.tensor([0.013, -0.007, 0], dtype=torch.float64)
    g = torch.Generator().manual_seed(1)
    A = torch.randn(1, 3, 2, generator=g, dtype=torch.float64)
    w = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    face_id = rasterize(P, F, 8, 8).face_id
    inputs = [t.requires_grad_() for t in (P, A, w)]
    assert torch.autograd.gradcheck(lambda p, a, d: interpolate(p, F, a, face_id, d), inputs)
    unit = lambda p, a, d: interpolate(p, F, a, face_id, d, unit=True)  # noqa: E731
    assert torch.autograd.gradcheck(unit, inputs)


def test_perspective_gives_points_on_the_plane():
    """World positions blended with w land where the pixel's ray meets the triangle."""
    camera = Camera.look_at(
        torch.tensor([[0.3, 0.2, 2.0]]), torch.zeros(1, 3), focal=60.0, height=48, width=64
    )
    world = torch.tensor([[[-0.6, -0.5, 0.5], [0.8, -0.4, -0.6], [0.1, 0.7, 0.2]]])
    F = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    P, w = camera.project(world)
    out = rasterize(P, F, 48, 64)
    seen = out.face_id[0] >= 0
    assert int(seen.sum()) > 200
    places = interpolate(P, F, world, out.face_id, w)[0][seen]
    by_depth = camera.unproject(camera.metric_depth(out.depth))[0][seen]
    torch.testing.assert_close(places, by_depth, rtol=0, atol=2e-5)
    a, b, c = world[0]
    normal = torch.linalg.cross(b - a, c - a)
    assert float(((places - a) @ normal).abs().max()) < 1e-5
    assert float((interpolate(P, F, world, out.face_id)[0][seen] - places).abs().max()) > 0.01


def test_unit_normals_of_a_sphere_and_shared_attributes():
    points, faces = icosphere(torch.float32)
    P = torch.stack([points * 0.5, points * 0.3])
    face_id = rasterize(P * torch.tensor([1, 1, -1]), faces, 32, 32).face_id
    normals = interpolate(P, faces, points, face_id, unit=True)
    length = normals.norm(dim=-1)
    torch.testing.assert_close(length, (face_id >= 0).float(), rtol=0, atol=1e-6)
    assert (normals[..., 2] >= -0.05).all()


def test_corners_cut_seams():
    P, F = triangle()
    face_id = rasterize(P, F, 8, 8).face_id
    uv = torch.tensor([[9.0], [0.0], [1.0], [2.0]])
    corners = torch.tensor([[1, 2, 3]])
    expected = interpolate(P, F, uv[1:], face_id)
    assert torch.equal(interpolate(P, F, uv, face_id, corners=corners), expected)
    torch.testing.assert_close(
        interpolate(P, F, uv.requires_grad_(), face_id, corners=corners).detach(), expected
    )


def test_nothing_covered_is_zero_and_differentiable():
    P, F = triangle()
    empty = torch.full((1, 4, 4), -1, dtype=torch.int32)
    out = interpolate(P.requires_grad_(), F, torch.ones(3, 2), empty)
    assert out.shape == (1, 4, 4, 2)
    out.sum().backward()
    assert float(P.grad.abs().sum()) == 0


def test_wrong_input_says_so():
    P, F = triangle()
    face_id = rasterize(P, F, 8, 8).face_id
    for kwargs, text in (
        ({"attributes": torch.ones(2, 3, 1)}, r"attributes must be"),
        ({"attributes": torch.ones(5, 1)}, r"5 attributes for 3 vertices"),
        ({"face_id": face_id[0]}, r"face_id must be"),
        ({"face_id": face_id + 1}, r"face index 1 is out of range"),
        ({"w": torch.ones(3)}, r"w must be"),
        ({"corners": torch.tensor([[0, 1, 3]])}, r"face index 3 is out of range"),
        ({"corners": torch.tensor([[0, 1, 2]] * 2)}, r"corners must be"),
    ):
        full = {"attributes": torch.ones(3, 1), "face_id": face_id, **kwargs}
        with pytest.raises(ConfigError, match=text):
            interpolate(P, F, **full)


@pytest.mark.parametrize("name", ["raster", "shading", "volume"])
def test_examples_of_the_docstrings(name):
    result = doctest.testmod(importlib.import_module(f"mien.render.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
