"""Pieces of StyleGAN2: equalised layers, modulated convolution, [1, 3, 3, 1] resampling.

Source: Analyzing and improving the image quality of StyleGAN, Karras et al. (arXiv 1912.04958), section 2.2
and appendix B.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError

EPSILON = 1e-8
SLOPE = 0.2


def rms_normalize(x: Tensor) -> Tensor:
    """X / sqrt(mean(x^2) + 1e-8) over the last axis; the shape stays.

    >>> rms_normalize(torch.tensor([3.0, 3.0, -3.0])).tolist()
    [1.0, 1.0, -1.0]
    """
    return x * (x.square().mean(-1, keepdim=True) + EPSILON).rsqrt()


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """sqrt(2) max(x, 0.2 x): keeps the second moment of a centred Gaussian at about 1."""
    return F.leaky_relu(x, SLOPE) * math.sqrt(2)


def _filter(x: Tensor) -> Tensor:
    """[1, 3, 3, 1] x [1, 3, 3, 1] / 16 for every channel of x: (C, 1, 4, 4).

    Gain 4, as doubling the size leaves a quarter of the taps on every pixel.
    """
    at = torch.arange(4, dtype=x.dtype, device=x.device)  # a list of numbers would make a GPU wait
    taps = 1 - (at - 1.5).abs() / 2
    return torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)


def upsample2d(x: Tensor) -> Tensor:
    """Twice the size: zeros between the pixels, then [1, 3, 3, 1] x [1, 3, 3, 1] / 16. O(B C H W).

    Along each axis y_2i = (x_{i-1} + 3 x_i) / 4 and y_2i+1 = (3 x_i + x_{i+1}) / 4 with x = 0 outside.

    Args:
        x: (B, C, H, W).

    Returns:
        (B, C, 2 H, 2 W).

    >>> upsample2d(torch.full((1, 1, 2, 2), 16.0))[0, 0, 0].tolist()
    [9.0, 12.0, 12.0, 9.0]
    """
    return F.conv_transpose2d(x, _filter(x), stride=2, padding=1, groups=x.shape[1])


def blur_upsampled(x: Tensor) -> Tensor:
    """The filter of `upsample2d` with a frame of one zero: what follows a transposed convolution. O(B C H W).

    Args:
        x: (B, C, H, W).

    Returns:
        (B, C, H - 1, W - 1).
    """
    return F.conv2d(x, _filter(x), padding=1, groups=x.shape[1])


def modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, *, demodulate: bool = True, upsample: bool = False
) -> Tensor:
    """Convolution with weights of each sample's own.

        w'_oik = w_oik s_i,   w''_oik = w'_oik rsqrt(sum_ik w'_oik^2 + 1e-8)

    s_i is taken to the input and the demodulation to the output, which is the same and needs no weights per
    sample. Correlation with zero padding of k // 2; with ``upsample`` a transposed convolution of stride 2,
    then `blur_upsampled`. O(B O I k^2 H W).

    Args:
        x: (B, I, H, W).
        weight: (O, I, k, k), k odd; 3 with ``upsample``.
        styles: (B, I).
        demodulate: divide by the norm of each output channel's weights.
        upsample: double the size.

    Returns:
        (B, O, H, W), or (B, O, 2 H, 2 W).

    Raises:
        ShapeError: shapes that do not fit together.
    """
    if x.ndim != 4 or weight.ndim != 4 or styles.shape != x.shape[:2] or weight.shape[1] != x.shape[1]:
        raise ShapeError(
            f"expected x (B, I, H, W), weight (O, I, k, k), styles (B, I), got {tuple(x.shape)}, "
            f"{tuple(weight.shape)}, {tuple(styles.shape)}"
        )
    if weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0 or (upsample and weight.shape[2] != 3):
        raise ShapeError(f"a kernel of {tuple(weight.shape[2:])} must be square and odd (3 x 3 to upsample)")
    y = x * styles[:, :, None, None]
    if upsample:
        y = blur_upsampled(F.conv_transpose2d(y, weight.transpose(0, 1), stride=2))
    else:
        y = F.conv2d(y, weight, padding=weight.shape[2] // 2)
    if demodulate:
        power = styles.square() @ weight.square().sum((2, 3)).T
        y = y * (power + EPSILON).rsqrt()[:, :, None, None]
    return y


class EqualizedLinear(nn.Module):
    """y = x (W lr / sqrt(inputs))^T + b lr: weights start as N(0, 1 / lr^2) and all learn at one speed.

    Args:
        inputs: width.
        outputs: width.
        bias: what the effective bias b lr starts at.
        lr_multiplier: lr above; below 1 this layer learns more slowly than others.

    Raises:
        ConfigError: a width or a multiplier that is not positive.

    >>> EqualizedLinear(4, 2, bias=1.0)(torch.zeros(1, 4)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        if inputs < 1 or outputs < 1 or lr_multiplier <= 0:
            raise ConfigError(
                f"inputs={inputs}, outputs={outputs}, lr_multiplier={lr_multiplier} must be positive"
            )
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr_multiplier))
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return F.linear(x, *self.effective())

    def effective(self) -> tuple[Tensor, Tensor]:
        """Weight (outputs, inputs) and bias (outputs,) of the plain linear layer that this one is."""
        gain = self.lr_multiplier / math.sqrt(self.weight.shape[1])
        return self.weight * gain, self.bias * self.lr_multiplier
