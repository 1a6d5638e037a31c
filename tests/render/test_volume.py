from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError
from mien.render import march


def wave(scale, step, *shape):
    """The method pages' test tensors: s sin(k (i + 1))."""
    count = math.prod(shape)
    return (scale * torch.sin(step * torch.arange(1, count + 1, dtype=torch.float64))).reshape(shape)


def slow(sigma, rgb, edges):
    """One ray, interval by interval."""
    light, color, depth, weights, seen = 1.0, [0.0] * rgb.shape[-1], 0.0, [], [1.0]
    for n in range(len(sigma)):
        opacity = 1 - math.exp(-float(sigma[n]) * float(edges[n + 1] - edges[n]))
        w = light * opacity
        color = [c + w * float(v) for c, v in zip(color, rgb[n], strict=True)]
        depth += w * float(edges[n] + edges[n + 1]) / 2
        weights.append(w)
        light *= 1 - opacity
        seen.append(light)
    total = sum(weights)
    return color, depth / total if total else float(edges[-1]), weights, seen


@pytest.mark.parametrize("count", [2, 5, 65])
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_slab_of_constant_density(count, backend):
    """rgb = c (1 - exp(-sigma L)), whatever the number of samples."""
    t = torch.linspace(2.25, 3.3, count)
    out = march(torch.full((count,), 2.126928), torch.full((count, 1), 0.25), t, backend=backend)
    assert float(out.weights.sum()) == pytest.approx(0.892823, abs=2e-6)
    assert 2 * float(out.rgb) - 1 == pytest.approx(-0.553588, abs=2e-6)


def test_depth_of_a_fine_slab():
    """Mean depth of the absorbed light: (1 - e^-x (1 + x)) / (sigma (1 - e^-x)), x = sigma L."""
    sigma, x = 3.0, 6.0
    t = torch.linspace(0, 2, 2001, dtype=torch.float64)
    out = march(torch.full_like(t, sigma), torch.ones(2001, 1).double(), t)
    expected = (1 - math.exp(-x) * (1 + x)) / (sigma * (1 - math.exp(-x)))
    assert float(out.depth) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_the_worked_marcher(backend):
    """Raw densities averaged, then softplus(s - 1); rgb 2 C - 1."""
    t = torch.tensor([2.25, 2.4, 2.55, 2.8, 3.0, 3.3])
    sigma = wave(3, 0.9, 2, 6).float()
    rgb = ((wave(1, 0.35, 2, 6, 3) + 1) / 2).float()
    out = march(sigma, rgb, t, density=lambda s: F.softplus(s - 1), backend=backend)
    weights = [
        [0.238193, 0.143252, 0.045727, 0.004881, 0.004462],
        [0.113986, 0.211853, 0.195171, 0.027478, 0.005606],
    ]
    color = [[-0.289332, -0.289222, -0.322368], [-0.196233, -0.274634, -0.373803]]
    torch.testing.assert_close(out.weights, torch.tensor(weights), rtol=0, atol=2e-6)
    torch.testing.assert_close(2 * out.rgb - 1, torch.tensor(color), rtol=0, atol=2e-6)
    torch.testing.assert_close(out.depth, torch.tensor([2.425752, 2.542495]), rtol=0, atol=2e-6)
    white = march(sigma, rgb, t, density=lambda s: F.softplus(s - 1), background=1.0, backend=backend)
    expected = torch.tensor([0.837639, 0.837748, 0.804602])
    torch.testing.assert_close(2 * white.rgb[0] - 1, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("rule", ["interval", "midpoint"])
def test_equals_the_slow_twin(backend, rule):
    g = torch.Generator().manual_seed(0)
    S, N = 9, 9 if rule == "interval" else 8
    sigma, rgb = 4 * torch.rand(2, 3, S, generator=g), torch.rand(2, 3, S, 5, generator=g)
    edges = torch.rand(2, 3, N + 1, generator=g).cumsum(-1)
    out = march(sigma, rgb, edges, rule=rule, backend=backend)
    if rule == "midpoint":
        sigma, rgb = (sigma[..., 1:] + sigma[..., :-1]) / 2, (rgb[..., 1:, :] + rgb[..., :-1, :]) / 2
    for a in range(2):
        for b in range(3):
            color, depth, weights, seen = slow(sigma[a, b], rgb[a, b], edges[a, b])
            for got, want in ((out.rgb, color), (out.depth, depth), (out.weights, weights)):
                torch.testing.assert_close(got[a, b], torch.tensor(want), rtol=0, atol=2e-6)
            torch.testing.assert_close(out.transmittance[a, b], torch.tensor(seen), rtol=0, atol=2e-6)


def test_weights_and_the_rest_sum_to_one():
    sigma = 50 * torch.rand(4, 30, generator=torch.Generator().manual_seed(0))
    out = march(sigma, torch.ones(4, 30, 1), torch.linspace(0, 1, 30))
    total = out.weights.sum(-1) + out.transmittance[..., -1]
    torch.testing.assert_close(total, torch.ones(4), rtol=0, atol=1e-6)
    assert (out.weights >= 0).all()


def test_empty_and_opaque():
    t = torch.linspace(1, 2, 5)
    empty = march(torch.zeros(5), torch.ones(5, 2), t, background=torch.tensor([0.25, 0.5]))
    assert empty.rgb.tolist() == [0.25, 0.5]
    assert float(empty.depth) == 2
    wall = march(torch.full((5,), 1e6), torch.arange(5.0)[:, None], t)
    assert float(wall.rgb) == 0.5
    assert float(wall.depth) == pytest.approx(1.125)


def test_gradients_in_float64():
    g = torch.Generator().manual_seed(0)
    sigma = torch.rand(2, 5, generator=g, dtype=torch.float64, requires_grad=True)
    rgb = torch.rand(2, 5, 3, generator=g, dtype=torch.float64, requires_grad=True)
    t = torch.rand(2, 5, generator=g, dtype=torch.float64).cumsum(-1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, c, d: march(s, c, d, density=F.softplus), (sigma, rgb, t))


def test_backends_agree_and_repeat():
    g = torch.Generator().manual_seed(0)
    sigma, rgb = 5 * torch.rand(50, 48, generator=g), torch.rand(50, 48, 16, generator=g)
    t = torch.linspace(2.25, 3.3, 48)
    a, b = march(sigma, rgb, t, backend="numba"), march(sigma, rgb, t, backend="torch")
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=3e-6)
    for x, y in zip(a, march(sigma, rgb, t), strict=True):
        assert torch.equal(x, y)


def test_wrong_input_says_so():
    s, c, t = torch.ones(4), torch.ones(4, 3), torch.linspace(0, 1, 4)
    with pytest.raises(ConfigError, match="rule"):
        march(s, c, t, rule="simpson")
    for args in ((s[:1], c[:1], t[:1]), (s, c[:3], t), (s, c, t[:3]), (torch.tensor(1.0), c, t)):
        with pytest.raises(ConfigError, match="midpoint takes"):
            march(*args)
    with pytest.raises(ConfigError, match=r"S \+ 1"):
        march(s, c, t, rule="interval")
    with pytest.raises(ConfigError, match="without gradients"):
        march(s.requires_grad_(), c, t, backend="numba")


def test_gradients_stay_finite_where_next_to_nothing_is_seen() -> None:
    t = torch.linspace(2.2, 3.2, 8)
    raw = torch.full((8,), -52.0, requires_grad=True)
    out = march(raw, torch.ones(8, 1), t, density=lambda s: 20 * torch.nn.functional.softplus(s - 1))
    (0 * out.depth + out.rgb.sum()).backward()
    assert bool(torch.isfinite(raw.grad).all())
    assert float(out.depth.detach()) == pytest.approx(3.2)
