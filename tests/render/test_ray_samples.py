from __future__ import annotations

import bisect
from itertools import pairwise

import pytest
import torch

from mien.core.errors import ConfigError
from mien.render import importance_depths, sample_pdf, stratified_depths


def close(got, expected):
    want = torch.tensor(expected)
    alike = got.dtype == want.dtype and got.shape == want.shape
    return alike and torch.allclose(got, want, rtol=0, atol=2e-6)


def slow_pdf(edges, weights, u):
    """One ray: the distribution function by hand."""
    mass = [w + 1e-5 for w in weights]
    cdf = [0.0]
    for m in mass:
        cdf.append(cdf[-1] + m / sum(mass))
    out = []
    for x in u:
        at = bisect.bisect_right(cdf, x)
        low, high = max(at - 1, 0), min(at, len(weights))
        share = cdf[high] - cdf[low]
        share = 1.0 if share < 1e-5 else share
        out.append(edges[low] + (x - cdf[low]) / share * (edges[high] - edges[low]))
    return out


def slow_smooth(weights):
    padded = [0.0, *weights, 0.0]
    most = [max(a, b) for a, b in pairwise(padded)]
    return [(a + b) / 2 + 0.01 for a, b in pairwise(most)]


def test_worked_strata():
    jitter = torch.full((5,), 0.25)
    assert close(stratified_depths(2.35, 3.3, jitter), [2.409375, 2.646875, 2.884375, 3.121875, 3.359375])
    disparity = stratified_depths(2.35, 3.3, jitter, disparity=True)
    assert close(disparity, [2.393057, 2.582310, 2.804068, 3.067491, 3.385539])
    near, far = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    per_ray = stratified_depths(near, far, torch.zeros(2, 1, 3))
    assert per_ray[:, 0].tolist() == [[1, 1.5, 2], [2, 3, 4]]


def test_worked_pdf():
    u = torch.linspace(0, 1, 7)
    got = sample_pdf(torch.tensor([2.3, 2.5, 2.6, 2.9, 3.2]), torch.tensor([0.25, 0.15, 0.3, 0.05]), u)
    assert close(got, [2.3, 2.400001, 2.500002, 2.583334, 2.700003, 2.825006, 3.2])


@pytest.mark.parametrize(
    ("pdf", "expected"),
    [
        ("eg3d", [2.355, 2.503701, 2.627192, 2.733, 2.854, 2.985]),
        ("exact", [2.25, 2.567832, 2.730575, 2.863847, 3.025003, 3.3]),
    ],
)
def test_worked_importance(pdf, expected):
    t = torch.tensor([2.25, 2.46, 2.67, 2.88, 3.09, 3.3])
    weights = torch.tensor([0.02, 0.1, 0.25, 0.15, 0.03], requires_grad=True)
    got = importance_depths(t, weights, torch.linspace(0, 1, 6), pdf=pdf)
    assert close(got, expected)
    assert not got.requires_grad


@pytest.mark.parametrize("pdf", ["exact", "eg3d"])
def test_equals_the_slow_twin(pdf):
    g = torch.Generator().manual_seed(0)
    t = torch.rand(2, 3, 9, generator=g, dtype=torch.float64).cumsum(-1)
    weights = torch.rand(2, 3, 8, generator=g, dtype=torch.float64)
    weights[0, 0] = 0
    u = torch.rand(2, 3, 20, generator=g, dtype=torch.float64)
    got = importance_depths(t, weights, u, pdf=pdf)
    for b in range(2):
        for r in range(3):
            edges, w = t[b, r].tolist(), slow_smooth(weights[b, r].tolist())
            if pdf == "eg3d":
                edges, w = [(p + q) / 2 for p, q in pairwise(edges)], w[1:-1]
            expected = torch.tensor(slow_pdf(edges, w, u[b, r].tolist()), dtype=torch.float64)
            torch.testing.assert_close(got[b, r], expected)


def test_exact_draws_inside_the_interval_that_has_the_mass():
    """All weight on interval 4 of 12: half of the draws and more lie in it and its smoothed neighbours."""
    t = torch.linspace(0, 12, 13)
    weights = torch.zeros(12)
    weights[4] = 1
    u = torch.linspace(0.001, 0.999, 999)
    exact = importance_depths(t, weights, u)
    assert float(exact.mean()) == pytest.approx(4.5, abs=0.2)
    released = importance_depths(t, weights, u, pdf="eg3d")
    assert float(exact.mean() - released.mean()) == pytest.approx(0.5, abs=0.1)  # the quirk: too near


def test_wrong_input_says_so():
    with pytest.raises(ConfigError, match="two samples"):
        stratified_depths(1.0, 2.0, torch.zeros(1))
    with pytest.raises(ConfigError, match="more edges"):
        sample_pdf(torch.zeros(3), torch.zeros(3), torch.zeros(1))
    with pytest.raises(ConfigError, match="N - 1"):
        importance_depths(torch.zeros(3), torch.zeros(3), torch.zeros(1))
