from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mien.methods.ncl.baselines import LDAMLoss, effective_weights, ldam_margins

COUNTS = [625, 81, 16, 1]


def test_margins_fall_with_the_fourth_root_of_the_count():
    torch.testing.assert_close(ldam_margins(COUNTS), torch.tensor([0.1, 0.5 / 3, 0.25, 0.5]))
    torch.testing.assert_close(ldam_margins(COUNTS, 0.8).max(), torch.tensor(0.8))


def test_effective_weights_by_hand():
    raw = [(1 - 0.9) / (1 - 0.9**n) for n in COUNTS]
    expected = torch.tensor([len(raw) * w / sum(raw) for w in raw])
    found = effective_weights(COUNTS, beta=0.9)
    torch.testing.assert_close(found, expected)
    assert float(found.mean()) == pytest.approx(1.0)
    assert (found.diff() > 0).all()


def test_class_without_images_counts_as_one():
    assert torch.equal(ldam_margins([9, 0]), ldam_margins([9, 1]))
    assert torch.equal(effective_weights([9, 0]), effective_weights([9, 1]))


def twin(logits, target, counts, margin, scale, weighted):
    margins, weights = ldam_margins(counts, margin).tolist(), effective_weights(counts).tolist()
    total = norm = 0.0
    for z, y in zip(logits.tolist(), target.tolist(), strict=True):
        z = [v - scale * margins[y] if c == y else v for c, v in enumerate(z)]
        w = weights[y] if weighted else 1.0
        total += w * (math.log(sum(math.exp(v) for v in z)) - z[y])
        norm += w
    return total / norm


@pytest.mark.parametrize("progress", [0.0, 0.79, 0.8, 1.0])
def test_loss_equals_its_twin_and_reweights_late(progress):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(12, 4, generator=generator)
    target = torch.randint(4, (12,), generator=generator)
    found = LDAMLoss(COUNTS, margin=0.4, scale=10.0)(logits, target, progress)
    expected = twin(logits, target, COUNTS, 0.4, 10.0, progress >= 0.8)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_no_margin_is_cross_entropy():
    logits, target = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4
    torch.testing.assert_close(
        LDAMLoss(COUNTS, margin=0.0)(logits, target, 0.0), F.cross_entropy(logits, target)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_finite_gradients(progress, dtype):
    logits = (torch.tensor([[80.0, -80.0, 80.0, -80.0]] * 3)).to(dtype).requires_grad_()
    loss = LDAMLoss(COUNTS)(logits, torch.tensor([0, 1, 3]), progress)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_constants_are_no_weights():
    loss = LDAMLoss(COUNTS)
    assert loss.state_dict() == {}
    assert not list(loss.parameters())
