from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, ShapeError
from mien.methods.otavatar.controller import (
    CodeBook,
    MotionController,
    clip_codes,
    hold_last_rows,
    orthonormal_columns,
    window,
)
from mien.methods.otavatar.generator import TriPlaneGenerator

SMALL = {"coefficients": 7, "radius": 4, "width": 8, "directions": 3, "slots": 6, "w_dim": 16,
         "first_kernel": 3, "kernel": 3, "dilation": 1, "blocks": 2}  # fmt: skip


def waves(scale, k, shape):
    """scale sin(k (i + 1)) over the flat index i."""
    return scale * torch.sin(k * torch.arange(1, 1 + math.prod(shape), dtype=torch.float64)).view(shape)


def shaken(net):
    for p in net.parameters():
        p.data += 0.3 * torch.randn(p.shape)
    return net


def worked(**changes):
    net = MotionController(width=8, directions=4, mlp_layers=2, **{"tied": True, **changes}).double()
    fill = {f"blocks.{i}.conv.{part}": 0.56 + 0.02 * i + 0.01 * j
            for i in range(3) for j, part in enumerate(("bias", "weight"))}  # fmt: skip
    fill |= {"first.bias": 0.62, "first.weight": 0.63}
    fill |= {f"mlp.{i}.{p}": k for i in range(2) for p, k in (("bias", 0.64), ("weight", 0.65))}
    fill |= {"last.bias": 0.66, "last.weight": 0.67}
    for name, p in net.named_parameters():
        if name == "code_book.directions":
            i = torch.arange(1, 1 + p.numel(), dtype=torch.float64)
            p.data = torch.sin(0.001 * i**2).view(p.shape)
        else:
            p.data = waves(0.2, fill[name], p.shape)
    return net


def test_the_worked_controller():
    dw, alpha = worked()(waves(0.5, 0.9, (2, 70, 27)))
    first = torch.tensor([0.168887, 0.235334, 0.132883, -0.080850], dtype=torch.float64)
    torch.testing.assert_close(alpha[0, 0], first, rtol=0, atol=2e-6)
    norms = torch.tensor([0.328784, 0.649862, 1.108045, 0.183201], dtype=torch.float64)
    torch.testing.assert_close(dw[0, :4].norm(dim=1), norms, rtol=0, atol=2e-6)
    assert alpha.mean().item() == pytest.approx(0.223316, abs=2e-6)
    assert alpha.std(correction=0).item() == pytest.approx(0.386518, abs=2e-6)
    torch.testing.assert_close(dw.norm(dim=2), alpha.norm(dim=2))
    assert (dw.shape, alpha.shape) == ((2, 14, 512), (2, 14, 4))


def test_untied_layers_of_equal_weight_are_the_tied_layer():
    x = waves(0.5, 0.9, (2, 70, 27))
    assert torch.equal(worked(tied=False)(x)[1], worked()(x)[1])
    count = lambda tied: sum(p.numel() for p in MotionController(tied=tied).parameters())  # noqa: E731
    assert count(False) - count(True) == 4 * (256 * 256 + 256)


def test_alpha_in_its_own_words():
    torch.manual_seed(0)
    net, x = shaken(MotionController(**SMALL, mlp_layers=3)), torch.randn(2, 7, 9)
    h = F.conv1d(x, net.first.weight, net.first.bias)
    for block in net.blocks:
        h = F.conv1d(F.leaky_relu(h, 0.1), block.conv.weight, block.conv.bias) + h[:, :, 1:-1]
    assert h.shape[2] == 3
    h = h.mean(2)
    m = net.mlp[2](F.leaky_relu(net.mlp[1](F.leaky_relu(net.mlp[0](h), 0.1)), 0.1))
    rows = net.last(F.leaky_relu(h + m, 0.1)).view(2, 7, 3)
    alpha = net.alpha(x)
    for slot in range(6):
        torch.testing.assert_close(alpha[:, slot], rows[:, 0] + rows[:, 1 + slot])


def test_directions_are_orthonormal_and_keep_lengths():
    torch.manual_seed(0)
    book = CodeBook(512, 20)
    q = book.basis()
    torch.testing.assert_close(q.T @ q, torch.eye(20), rtol=0, atol=1e-6)
    alpha = torch.randn(3, 14, 20)
    torch.testing.assert_close(book(alpha).norm(dim=2), alpha.norm(dim=2))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_triangular_mixing_of_the_directions_changes_nothing(seed):
    torch.manual_seed(seed)
    d = torch.randn(12, 4, dtype=torch.float64)
    mix = torch.randn(4, 4, dtype=torch.float64).triu()
    mix.diagonal().copy_(torch.rand(4) + 0.5)
    torch.testing.assert_close(orthonormal_columns(d @ mix), orthonormal_columns(d), rtol=0, atol=1e-5)
    r = orthonormal_columns(d).T @ d
    assert (r.diagonal() > 0).all()
    flipped = d.clone()
    flipped[:, 1] *= -1  # the sign follows the direction, so that it means something
    torch.testing.assert_close(
        orthonormal_columns(flipped)[:, 1], -orthonormal_columns(d)[:, 1], rtol=0, atol=1e-6
    )


def test_gram_schmidt_is_the_same_basis():
    torch.manual_seed(0)
    d = torch.randn(10, 4, dtype=torch.float64)
    columns = []
    for v in (d + 1e-8).T:
        for q in columns:
            v = v - (v @ q) * q
        columns.append(v / v.norm())
    torch.testing.assert_close(orthonormal_columns(d), torch.stack(columns, 1))
    assert torch.autograd.gradcheck(orthonormal_columns, (d.requires_grad_(),))


def test_a_silent_controller_is_the_plain_generator_to_the_bit():
    torch.manual_seed(0)
    net = shaken(MotionController(**SMALL))
    net.last.weight.data.zero_()
    net.last.bias.data.zero_()
    g = TriPlaneGenerator(
        z_dim=8, c_dim=0, w_dim=16, plane_size=16, plane_channels=4, channel_base=128, channel_max=8,
        sr_channels=(),
    )  # fmt: skip
    w_id = g.mapping(torch.randn(2, 8))[:, :1]
    dw, alpha = net(torch.randn(2, 7, 9))
    assert (alpha == 0).all()
    assert (dw == 0).all()
    moved = net.move(w_id, dw, g.mapping.w_avg)
    assert torch.equal(g.planes(moved), g.planes(w_id.expand(-1, 6, -1)))


def test_it_starts_almost_silent():
    torch.manual_seed(0)
    dw, _ = MotionController()(torch.randn(4, 70, 27))
    assert dw.norm(dim=2).max() < 1e-3


def test_windows_are_clamped_at_the_ends():
    x = torch.arange(5.0).view(5, 1).expand(5, 2)
    found = window(x, 2)
    assert found.shape == (5, 2, 5)
    for t in range(5):
        expected = [float(min(max(t + k, 0), 4)) for k in range(-2, 3)]
        assert found[t, 0].tolist() == found[t, 1].tolist() == expected
    assert found[0, 0].tolist() == [0, 0, 0, 1, 2]  # frame 0 twice, then frames 0 to 2
    assert torch.equal(window(x[None], 2)[0], found)
    assert window(x[:1], 3)[0, 0].tolist() == [0] * 7


def test_identical_frames_give_one_answer_wherever_the_window_is():
    torch.manual_seed(0)
    net = shaken(MotionController(**SMALL))
    dw, _ = net(window(torch.randn(1, 7).expand(12, 7), 4))
    torch.testing.assert_close(dw, dw[:1].expand_as(dw))


def test_a_held_pose_is_not_heard():
    torch.manual_seed(0)
    net, x, pose = shaken(MotionController(**SMALL)), torch.randn(2, 7, 9), torch.randn(2, 2)
    other = torch.cat([x[:, :5], torch.randn(2, 2, 9)], 1)
    assert not torch.allclose(net(x)[0], net(other)[0])
    assert torch.equal(net(x, pose)[0], net(other, pose)[0])
    held = hold_last_rows(x, pose)
    assert torch.equal(held[:, :5], x[:, :5])
    assert torch.equal(held[:, 5:], pose[..., None].expand(2, 2, 9))
    assert not torch.allclose(net(x, pose)[0], net(x, pose + 1)[0])


def test_scaling_is_a_second_set():
    torch.manual_seed(0)
    net = shaken(MotionController(**SMALL, plus_scaling=True))
    dw, alpha = net(torch.randn(2, 7, 9))
    assert (dw.shape, alpha.shape) == ((2, 12, 16), (2, 12, 3))
    w_id, w_avg = torch.randn(2, 1, 16), torch.zeros(16)
    expected = w_id * (1 + dw[:, 6:]) + dw[:, :6]
    torch.testing.assert_close(net.move(w_id, dw, w_avg, std=1e6), expected)


def test_clipping():
    w = torch.tensor([[[-9.0, 0.0, 9.0]]])
    assert clip_codes(w, torch.ones(3)).tolist() == [[[-4, 0, 6]]]
    assert clip_codes(w, torch.ones(3), torch.tensor([1.0, 2.0, 0.5])).tolist() == [[[-4, 0, 3.5]]]


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    net = MotionController(**SMALL)
    net(torch.randn(4, 7, 9))[0][..., 0].sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def inverted(g, targets, offsets, steps=150):
    """One w_id for all targets by Adam from the mean code: its code and its losses."""
    w = g.mapping.w_avg[None, None].clone().requires_grad_()
    optimiser, losses = torch.optim.Adam([w], 0.05), []
    for _ in range(steps):
        loss = (g.planes(w + offsets) - targets).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return w.detach(), losses


def test_inversion_with_the_true_motion_fits_better_and_finds_one_identity():
    torch.manual_seed(0)
    g = TriPlaneGenerator(
        z_dim=8, c_dim=0, w_dim=8, plane_size=16, plane_channels=4, channel_base=256, channel_max=16,
        sr_channels=(),
    ).requires_grad_(requires_grad=False)  # fmt: skip
    mean, _ = g.mapping.statistics(torch.randn(256, 8))
    g.mapping.w_avg.copy_(mean)
    book = CodeBook(8, 3).requires_grad_(requires_grad=False)
    w_true, dw = g.mapping(torch.randn(1, 8))[:, :1], book(torch.randn(2, 6, 3))
    targets = g.planes(w_true + dw)
    found, losses = inverted(g, targets, dw)
    _, without = inverted(g, targets, torch.zeros_like(dw))
    assert losses[-1] < 0.1 * without[-1]
    smooth = torch.tensor(losses).unfold(0, 25, 25).mean(1)
    assert (smooth[1:] <= smooth[:-1]).all()
    assert inverted(g, targets, dw)[1] == losses
    one, two = (inverted(g, targets[i : i + 1], dw[i : i + 1])[0] for i in range(2))
    spread = (w_true - mean).norm()
    assert (one - two).norm() < 0.1 * spread
    assert (found - w_true).norm() < 0.1 * spread


def test_wrong_sizes_are_named():
    net = MotionController(**SMALL)
    with pytest.raises(ShapeError, match=r"expected windows \(B, 7, 9\)"):
        net(torch.zeros(2, 7, 27))
    with pytest.raises(ShapeError, match="8 rows to hold"):
        net(torch.zeros(2, 7, 9), torch.zeros(2, 8))
    with pytest.raises(ShapeError, match="at least one frame"):
        window(torch.zeros(0, 3), 2)
    with pytest.raises(ConfigError, match="radius=-1"):
        window(torch.zeros(2, 3), -1)
    with pytest.raises(ConfigError, match="leaves -1 frames"):
        MotionController(radius=11)
    with pytest.raises(ConfigError, match="must be odd"):
        MotionController(kernel=2)
    with pytest.raises(ConfigError, match="directions=9"):
        CodeBook(8, 9)
    with pytest.raises(ConfigError, match="mlp_layers=0"):
        MotionController(mlp_layers=0)
