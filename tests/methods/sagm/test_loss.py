from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mien.methods.sagm.loss import (
    coral_distance,
    groupdro_weights,
    irm_penalty,
    mixed_cross_entropy,
    mixup_pairs,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_coral(features):
    """Loop-written twin."""
    total, pairs = 0.0, 0
    for a in range(len(features)):
        for b in range(a):
            stats = []
            for f in (features[a], features[b]):
                n, d = f.shape
                mean = [sum(float(f[i, j]) for i in range(n)) / n for j in range(d)]
                cov = [
                    [sum((float(f[i, j]) - mean[j]) * (float(f[i, k]) - mean[k]) for i in range(n)) / (n - 1)
                     for k in range(d)]
                    for j in range(d)
                ]  # fmt: skip
                stats.append((mean, cov))
            (m, c), (p, q) = stats
            d = len(m)
            total += sum((m[j] - p[j]) ** 2 for j in range(d)) / d
            total += sum((c[j][k] - q[j][k]) ** 2 for j in range(d) for k in range(d)) / d**2
            pairs += 1
    return total / pairs


def test_coral_equals_its_slow_twin_and_vanishes_for_equal_domains():
    features = [draw(5, 3, seed=s) for s in range(3)]
    assert float(coral_distance(features)) == pytest.approx(slow_coral(features), rel=1e-12)
    assert float(coral_distance([features[0], features[0]])) == 0.0
    assert float(coral_distance(features[:1])) == 0.0


def test_irm_penalty_is_the_product_of_the_slopes_in_a_dummy_scale():
    z, y = draw(8, 4), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    slopes = [
        torch.autograd.grad(F.cross_entropy(z[part] * scale, y[part]), scale)[0]
        for part in (slice(0, None, 2), slice(1, None, 2))
    ]
    torch.testing.assert_close(irm_penalty(z, y), slopes[0] * slopes[1])


@pytest.mark.parametrize("name", ["coral", "irm", "mixed"])
def test_gradients(name):
    y, other = torch.tensor([0, 1, 2, 0]), torch.tensor([2, 1, 0, 1])
    functions = {
        "coral": lambda z: coral_distance([z, draw(4, 3, seed=9)]),
        "irm": lambda z: irm_penalty(z, y),
        "mixed": lambda z: mixed_cross_entropy(z, y, other, 0.3),
    }
    assert torch.autograd.gradcheck(functions[name], (draw(4, 3).requires_grad_(),))


def test_groupdro_weights_by_hand():
    q, losses = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 2.0], requires_grad=True)
    found = groupdro_weights(q, losses, 0.1)
    raw = torch.tensor([0.5, 0.5]) * torch.exp(0.1 * torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(found, raw / raw.sum())
    assert not found.requires_grad


@pytest.mark.parametrize("count", [2, 3, 5])
def test_mixup_pairs_every_domain_with_another(count):
    pairs = mixup_pairs(count, torch.Generator().manual_seed(count))
    assert sorted(a for a, _ in pairs) == sorted(b for _, b in pairs) == list(range(count))
    assert all(a != b for a, b in pairs)


def test_mixed_cross_entropy_at_its_ends():
    z, y, other = draw(4, 3), torch.tensor([0, 1, 2, 0]), torch.tensor([2, 1, 0, 1])
    torch.testing.assert_close(mixed_cross_entropy(z, y, other, 1.0), F.cross_entropy(z, y))
    torch.testing.assert_close(mixed_cross_entropy(z, y, other, 0.0), F.cross_entropy(z, other))
