from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, ShapeError
from mien.nn.modulated import (
    EqualizedLinear,
    blur_upsampled,
    modulated_conv2d,
    rms_normalize,
    scaled_leaky_relu,
    upsample2d,
)

FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def waves(k, *shape):
    """sin(k (i + 1)) over the flat index i."""
    return torch.sin(k * torch.arange(1, 1 + int(np.prod(shape)), dtype=torch.float64)).view(shape)


def stuffed(x):
    """Zeros between the pixels: (H, W) -> (2 H, 2 W)."""
    out = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
    out[::2, ::2] = x
    return out


def correlate(x, kernel, before, after):
    """Correlation of one channel with its frame of zeros, one number at a time."""
    x = np.pad(x, (before, after))
    h, w = x.shape[0] - len(kernel) + 1, x.shape[1] - len(kernel) + 1
    out = np.zeros((h, w))
    for i, j in np.ndindex(h, w):
        for a, b in np.ndindex(*kernel.shape):
            out[i, j] += kernel[a, b] * x[i + a, j + b]
    return out


def loop(x, w, s, demodulate, upsample):
    """Weights of every sample's own; to upsample, a convolution of the stuffed picture, then the filter."""
    x, w, s = (v.numpy() for v in (x, w, s))
    side = x.shape[2] * (1 + upsample)
    out = np.zeros((len(x), len(w), side, side))
    for n, o in np.ndindex(*out.shape[:2]):
        own = w[o] * s[n][:, None, None]
        if demodulate:
            own = own / np.sqrt((own**2).sum() + 1e-8)
        for i, kernel in enumerate(own):
            if upsample:  # 2 h - 1 pixels in a frame of 2, so 2 h + 1 after the flipped kernel
                wide = correlate(stuffed(x[n, i])[:-1, :-1], kernel[::-1, ::-1], 2, 2)
                out[n, o] += correlate(wide, 4 * FIR, 1, 1)
            else:
                out[n, o] += correlate(x[n, i], kernel, len(kernel) // 2, len(kernel) // 2)
    return torch.from_numpy(out)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("kernel", "upsample"), [(3, False), (3, True), (1, False)])
def test_modulated_convolution_equals_its_loop(kernel, upsample, demodulate):
    torch.manual_seed(0)
    x, w, s = (torch.randn(*n, dtype=torch.float64) for n in ((2, 2, 4, 4), (3, 2, kernel, kernel), (2, 2)))
    found = modulated_conv2d(x, w, s, demodulate=demodulate, upsample=upsample)
    torch.testing.assert_close(found, loop(x, w, s, demodulate, upsample))


def test_worked_numbers():
    found = modulated_conv2d(waves(0.55, 1, 2, 4, 4), waves(0.9, 3, 2, 3, 3), waves(0.35, 1, 2) + 1)
    expected = torch.tensor([-0.500085, -1.462339, -1.473609, -0.259142], dtype=torch.float64)
    torch.testing.assert_close(found[0, 0, 0], expected, rtol=0, atol=2e-6)
    large = torch.tensor([0.294012, 0.461113, 0.599308, 0.688216, 0.727838, 0.560737], dtype=torch.float64)
    torch.testing.assert_close(upsample2d(waves(0.55, 1, 1, 3, 3))[0, 0, 0], large, rtol=0, atol=2e-6)
    unit = torch.tensor([1.029265, 1.279602, 0.561562, -0.581457, -1.284441], dtype=torch.float64)
    torch.testing.assert_close(rms_normalize(waves(0.9, 5)), unit, rtol=0, atol=2e-6)


def test_upsampling_equals_its_loop():
    x = waves(0.7, 1, 2, 3, 5)
    expected = [correlate(np.pad(stuffed(v), ((2, 1), (2, 1))), 4 * FIR, 0, 0) for v in x[0].numpy()]
    torch.testing.assert_close(upsample2d(x)[0], torch.from_numpy(np.stack(expected)))


def test_the_blur_equals_its_loop_and_keeps_a_stuffed_constant():
    x = waves(0.7, 1, 2, 5, 7)
    expected = [correlate(v, 4 * FIR, 1, 1) for v in x[0].numpy()]
    torch.testing.assert_close(blur_upsampled(x)[0], torch.from_numpy(np.stack(expected)))
    flat = blur_upsampled(torch.from_numpy(stuffed(np.ones((5, 5))))[None, None])
    torch.testing.assert_close(flat[..., 1:-1, 1:-1], torch.ones_like(flat[..., 1:-1, 1:-1]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 5), st.booleans())
def test_demodulation_takes_out_the_scale_of_styles_and_weights(seed, scale, upsample):
    torch.manual_seed(seed)
    x, w, s = (torch.randn(*n, dtype=torch.float64) for n in ((2, 3, 4, 4), (2, 3, 3, 3), (2, 3)))
    plain = modulated_conv2d(x, w, s, upsample=upsample)
    torch.testing.assert_close(
        modulated_conv2d(x, w * scale, -s, upsample=upsample), -plain, rtol=1e-5, atol=1e-5
    )


def test_styles_of_one_are_a_plain_convolution():
    x, w = waves(0.3, 2, 3, 5, 5), waves(0.7, 4, 3, 3, 3)
    found = modulated_conv2d(x, w, torch.ones(2, 3, dtype=torch.float64), demodulate=False)
    assert torch.equal(found, F.conv2d(x, w, padding=1))


@pytest.mark.parametrize("upsample", [False, True])
def test_gradients(upsample):
    torch.manual_seed(0)
    x, w, s = (
        torch.randn(*n, dtype=torch.float64, requires_grad=True) for n in ((2, 2, 3, 3), (2, 2, 3, 3), (2, 2))
    )
    assert torch.autograd.gradcheck(lambda *v: modulated_conv2d(*v, upsample=upsample), (x, w, s))


def test_equalised_layers_have_unit_outputs_and_their_bias():
    torch.manual_seed(0)
    net = EqualizedLinear(256, 128, bias=3.0, lr_multiplier=0.01)
    y = net(torch.randn(512, 256))
    assert abs(y.mean().item() - 3) < 0.05
    assert abs(y.std().item() - 1) < 0.05
    assert net.weight.std().item() == pytest.approx(100, rel=0.05)
    with torch.no_grad():  # the equation, by hand
        by_hand = torch.ones(256) @ (net.weight * 0.01 / 16).T + net.bias * 0.01
    torch.testing.assert_close(net(torch.ones(256)), by_hand)


def test_leaky_relu_keeps_the_second_moment():
    torch.manual_seed(0)
    y = scaled_leaky_relu(torch.randn(100_000))
    assert y.square().mean().item() == pytest.approx(1.04, abs=0.02)  # 2 (1 + 0.2^2) / 2


def test_wrong_shapes_are_named():
    x, w, s = torch.zeros(1, 2, 4, 4), torch.zeros(3, 2, 3, 3), torch.ones(1, 2)
    with pytest.raises(ShapeError, match="styles"):
        modulated_conv2d(x, w, torch.ones(1, 3))
    with pytest.raises(ShapeError, match="square and odd"):
        modulated_conv2d(x, w[..., :2], s)
    with pytest.raises(ShapeError, match="square and odd"):
        modulated_conv2d(x, w[..., :1, :1], s, upsample=True)
    with pytest.raises(ConfigError, match="lr_multiplier=0"):
        EqualizedLinear(2, 2, lr_multiplier=0)
