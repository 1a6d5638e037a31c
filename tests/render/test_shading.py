from __future__ import annotations

import math

import pytest
import torch

from mien.core.errors import ConfigError
from mien.render import blinn_phong, harmonics, irradiance, shade


def sphere(rows=200):
    """Directions (N, 3) and solid angles (N,) of a midpoint grid in (cos theta, phi)."""
    z = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows * 2 - 1
    phi = (torch.arange(2 * rows, dtype=torch.float64) + 0.5) / rows * math.pi
    r = torch.sqrt(1 - z * z)
    d = torch.stack(
        [r[:, None] * torch.cos(phi), r[:, None] * torch.sin(phi), z[:, None].expand(-1, len(phi))], -1
    )
    return d.reshape(-1, 3), torch.full((d[..., 0].numel(),), 4 * math.pi / d[..., 0].numel()).double()


def normals(count=7, seed=0):
    n = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(n, dim=-1)


def test_harmonics_are_orthonormal():
    d, w = sphere()
    Y = harmonics(d)
    torch.testing.assert_close((Y * w[:, None]).T @ Y, torch.eye(9).double(), rtol=0, atol=2e-4)


def test_irradiance_equals_the_integral_over_the_sphere():
    d, w = sphere()
    light = torch.randn(9, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    radiance = harmonics(d) @ light
    n = normals()
    expected = ((n @ d.T).clamp(min=0) * w) @ radiance
    torch.testing.assert_close(irradiance(n, light), expected, rtol=0, atol=2e-4)


def test_an_even_sky_lights_every_normal_alike():
    sky = torch.zeros(9, 1, dtype=torch.float64)
    sky[0] = 2 * math.sqrt(math.pi)
    expected = torch.full((7, 1), math.pi).double()
    torch.testing.assert_close(irradiance(normals(), sky), expected)
    white = shade(torch.ones(7, 1).double(), normals(), sky)
    torch.testing.assert_close(white, torch.ones(7, 1).double())


@pytest.mark.parametrize("s", [1.0, 10.0, 80.0])
def test_the_lobe_reflects_all_energy_seen_head_on(s):
    d, w = sphere(400)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    lobe = blinn_phong(up.expand_as(d), up.expand_as(d), d, s)[:, 0]
    assert float((lobe * w).sum()) == pytest.approx(1.0, abs=2e-3)
    tilted = torch.tensor([0.8, 0.0, 0.6], dtype=torch.float64)
    assert float((blinn_phong(up.expand_as(d), tilted.expand_as(d), d, s)[:, 0] * w).sum()) < 1.01


def test_shade_equals_the_slow_twin():
    g = torch.Generator().manual_seed(3)
    rand = lambda *shape: torch.rand(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    n = normals(8).reshape(2, 2, 2, 3)
    albedo, light, visible = rand(2, 2, 2, 3), rand(2, 9, 3), rand(2, 2, 2, 1)
    view, towards, color = normals(1, 4)[0], normals(1, 5)[0], rand(3)
    out = shade(
        albedo,
        n,
        light,
        view=view,
        towards=towards,
        color=color,
        specular=0.3,
        shininess=9.0,
        visible=visible,
    )
    h = (view + towards) / float((view + towards).norm())
    k = (9 + 2) * (9 + 4) / (8 * math.pi * (2**-4.5 + 9))
    for b in range(2):
        for i in range(2):
            for j in range(2):
                m = n[b, i, j]
                x, y, z = m.tolist()
                Y = [0.282095, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z]
                Y += [0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y)]
                A = [3.141593] + [2.094395] * 3 + [0.785398] * 5
                nl, nh = max(0.0, float(m @ towards)), max(0.0, float(m @ h))
                for c in range(3):
                    e = sum(A[q] * Y[q] * float(light[b, q, c]) for q in range(9))
                    key = float(visible[b, i, j, 0] * color[c])
                    a = float(albedo[b, i, j, c]) / math.pi
                    expected = a * e + key * (a * nl + 0.3 * k * nh**9 * nl)
                    assert float(out[b, i, j, c]) == pytest.approx(expected, abs=1e-5)


def test_gradients():
    g = torch.Generator().manual_seed(0)
    n = normals(4).requires_grad_()
    albedo = torch.rand(4, 3, generator=g, dtype=torch.float64, requires_grad=True)
    light = torch.rand(9, 3, generator=g, dtype=torch.float64, requires_grad=True)
    s = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    view, towards = normals(1, 1)[0], normals(1, 2)[0]

    def f(a, m, sky, k):
        return shade(a, m, sky, view=view, towards=towards, shininess=k)

    assert torch.autograd.gradcheck(f, (albedo, n, light, s))


def test_wrong_input_says_so():
    a, n, sky = torch.ones(2, 3), torch.ones(2, 3), torch.ones(9, 3)
    for args, text in (
        ((a[:1], n, sky), "do not match"),
        ((a, n, sky[:, :1]), "channels"),
        ((a, n[:, :2], sky), "expected normals"),
        ((a, n, torch.ones(3, 9, 3)), "3 lights for a batch of 2"),
    ):
        with pytest.raises(ConfigError, match=text):
            shade(*args)
    with pytest.raises(ConfigError, match="needs view"):
        shade(a, n, sky, towards=n[0])
