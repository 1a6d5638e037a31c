from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ShapeError
from mien.losses import ContrastiveDepthLoss, contrastive_depth_loss, depth_contrasts

SEEDS = st.integers(0, 10**6)


def kernels():
    """(8, 1, 3, 3): +1 at one neighbour, -1 at the centre."""
    k = torch.zeros(8, 1, 3, 3, dtype=torch.float64)
    for n, place in enumerate([0, 1, 2, 3, 5, 6, 7, 8]):
        k[n].view(-1)[place] = 1
        k[n, 0, 1, 1] = -1
    return k


def loop(pred, label):
    """One pixel and one neighbour at a time."""
    total, count = 0.0, 0
    for p, q in zip(pred.tolist(), label.tolist(), strict=True):
        for i in range(1, len(p) - 1):
            for j in range(1, len(p[0]) - 1):
                for di, dj in [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]:
                    total += ((p[i + di][j + dj] - p[i][j]) - (q[i + di][j + dj] - q[i][j])) ** 2
                    count += 1
    return total / count


@pytest.mark.parametrize("shape", [(2, 3, 3), (1, 6, 4), (3, 8, 8)])
def test_equals_its_loop_and_the_convolution(shape):
    torch.manual_seed(0)
    pred, label = (torch.randn(shape, dtype=torch.float64) for _ in range(2))
    found = contrastive_depth_loss(pred, label)
    assert float(found) == pytest.approx(loop(pred, label))
    both = [F.conv2d(d[:, None], kernels()) for d in (pred, label)]
    torch.testing.assert_close(found, (both[0] - both[1]).square().mean())
    torch.testing.assert_close(depth_contrasts(pred), both[0])
    assert torch.equal(ContrastiveDepthLoss()(pred, label), found)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(-5, 5))
def test_a_constant_costs_nothing_here_and_its_square_in_the_mse(seed, c):
    torch.manual_seed(seed)
    depth = torch.randn(2, 5, 6, dtype=torch.float64)
    assert float(contrastive_depth_loss(depth, depth + c)) == pytest.approx(0, abs=1e-24)
    assert float(F.mse_loss(depth, depth + c)) == pytest.approx(c**2, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_flips_and_order_change_nothing(seed):
    torch.manual_seed(seed)
    a, b = (torch.randn(3, 5, 5, dtype=torch.float64) for _ in range(2))
    loss = contrastive_depth_loss(a, b)
    torch.testing.assert_close(contrastive_depth_loss(b, a), loss)
    for turn in (lambda d: d.flip(1), lambda d: d.flip(2), lambda d: d.transpose(1, 2), lambda d: d.flip(0)):
        torch.testing.assert_close(contrastive_depth_loss(turn(a), turn(b)), loss)


def test_gradients_and_half_precision():
    a = torch.randn(1, 4, 5, dtype=torch.float64, requires_grad=True)
    b = torch.randn(1, 4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(contrastive_depth_loss, (a, b))
    half = contrastive_depth_loss(a.detach().bfloat16(), b.bfloat16())
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(contrastive_depth_loss(a.detach(), b)), rel=0.05)


def test_wrong_shapes():
    with pytest.raises(ShapeError, match=r"pred \(1, 4, 4\) and label \(1, 4, 5\) must be alike"):
        contrastive_depth_loss(torch.zeros(1, 4, 4), torch.zeros(1, 4, 5))
    for shape in ((4, 4), (1, 2, 4), (1, 1, 4, 4)):
        with pytest.raises(ShapeError, match=r"depth maps \(B, H, W\) with sides of at least 3"):
            depth_contrasts(torch.zeros(shape))
