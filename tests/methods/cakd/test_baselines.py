from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.methods.cakd import CrossAttentionLoss, OFAProjector, PixelMSELoss, ofa_loss
from mien.methods.cakd.baselines import resampled

F64 = torch.float64


def maps():
    g = torch.Generator().manual_seed(0)
    return torch.randn(2, 6, 3, 3, generator=g, dtype=F64), torch.randn(2, 8, 6, 6, generator=g, dtype=F64)


def test_pixel_mse():
    s, t = maps()
    loss = PixelMSELoss(6, 8).double()
    torch.testing.assert_close(loss(s, t), F.mse_loss(loss.regressor(s), resampled(t, s)))
    same = PixelMSELoss(8, 8)
    assert same(t, t).item() == 0.0
    assert resampled(t, t) is t
    flat = torch.full((2, 8, 6, 6), 3.0, dtype=F64)
    torch.testing.assert_close(resampled(flat, s), flat[:, :, :3, :3])
    assert not list(same.parameters())


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_pixel_mse_reaches_a_prompted_teacher(eta):
    s, t = (x.requires_grad_() for x in maps())
    PixelMSELoss(6, 8, eta).double()(s, t).backward()
    assert s.grad.abs().max() > 0
    assert (t.grad is not None and bool(t.grad.any())) == (eta > 0)


def test_cross_attention_equals_its_steps():
    s, t = maps()
    loss = CrossAttentionLoss(6, 8).double().eval()
    q, k, v = (layer(s).flatten(2).transpose(1, 2) for layer in loss.projections)
    own = (q @ k.transpose(1, 2) / math.sqrt(8)).softmax(-1) @ v
    tokens = resampled(t, s).flatten(2).transpose(1, 2)
    its = (tokens @ tokens.transpose(1, 2) / math.sqrt(8)).softmax(-1) @ tokens
    gap = (v @ v.transpose(1, 2) - tokens @ tokens.transpose(1, 2)) / math.sqrt(8)
    torch.testing.assert_close(loss(s, t), F.mse_loss(own, its) + gap.square().mean())
    # All exchanged: only the products of the values are left to compare.
    whole = CrossAttentionLoss(6, 8, exchange=1.0).double()
    whole.load_state_dict(loss.state_dict())
    torch.testing.assert_close(whole(s, t), gap.square().mean())
    with pytest.raises(ConfigError, match="exchange=2"):
        CrossAttentionLoss(6, 8, exchange=2)


def test_ofa():
    g = torch.Generator().manual_seed(0)
    zs, zt = (torch.randn(4, 5, generator=g, dtype=F64) for _ in range(2))
    y = torch.tensor([0, 1, 4, 2])
    for gamma, T in ((1.0, 1.0), (1.5, 2.0)):
        total = 0.0
        for a, b, label in zip(zs / T, zt / T, y.tolist(), strict=True):
            log_s, p_t = a.log_softmax(0), b.softmax(0)
            for c in range(5):
                hit = float(c == label)
                total -= ((p_t[c] + hit) ** gamma - hit) * log_s[c]
        torch.testing.assert_close(ofa_loss(zs, zt, y, gamma, T), total / 4)
    soft = F.cross_entropy(zs, zt.softmax(1))
    torch.testing.assert_close(ofa_loss(zs, zt, y), soft)
    assert torch.autograd.gradcheck(lambda z: ofa_loss(z, zt, y, 1.5), zs.requires_grad_())
    with pytest.raises(ShapeError, match="logits"):
        ofa_loss(zs, zt[:, :4], y)
    assert OFAProjector(6, 8, 5).double()(maps()[0]).shape == (2, 5)


@pytest.mark.parametrize("loss", [PixelMSELoss(6, 8), CrossAttentionLoss(6, 8)])
def test_wrong_shapes(loss):
    with pytest.raises(ShapeError, match=r"expected maps \(B, C, h, w\) and \(B, E, H, W\)"):
        loss.double()(maps()[0], maps()[1].flatten(2))
