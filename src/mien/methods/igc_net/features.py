"""Features of pictures without any trained network: for the perceptual and the semantic loss.

They stand in for layers of a network trained elsewhere; both losses take such a network's maps as well.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import DataError, ShapeError

ORIENTATIONS = 4
SCALES = 2
LEVELS = 3  # of the Laplacian pyramid
GREY = (0.299, 0.587, 0.114)
_TO_XYZ = ((0.433953, 0.376219, 0.189828), (0.212671, 0.715160, 0.072169), (0.017758, 0.109477, 0.872766))
_BRIGHTER = 0.02
_TINY = 1e-6


def gabor_bank(like: Tensor, size: int = 5, wavelength: float = 4.0) -> Tensor:
    """Even and odd Gabor kernels without mean, (2 `ORIENTATIONS`, 1, size, size); even ones first.

    exp(-(x^2 + y^2) / (2 s^2)) cos or sin(2 pi (x cos a + y sin a) / wavelength), s = wavelength / 2.
    """
    at = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    angles = [math.pi * k / ORIENTATIONS for k in range(ORIENTATIONS)]
    phase = torch.stack([2 * math.pi / wavelength * (x * math.cos(a) + y * math.sin(a)) for a in angles])
    waves = torch.cat([phase.cos(), phase.sin()])
    window = (-(x**2 + y**2) / (2 * (wavelength / 2) ** 2)).exp()
    window = window / window.sum()
    return ((waves - (waves * window).sum((1, 2), keepdim=True)) * window)[:, None]


def gabor_energies(grey: Tensor) -> Tensor:
    """sqrt(even^2 + odd^2) of grey pictures (B, 1, H, W), (B, `ORIENTATIONS`, H, W). O(B H W)."""
    bank = gabor_bank(grey)
    edge = bank.shape[-1] // 2
    even, odd = F.conv2d(F.pad(grey, (edge,) * 4, mode="replicate"), bank).chunk(2, 1)
    return (even.square() + odd.square() + _TINY).sqrt()


def grey_of(image: Tensor) -> Tensor:
    """Brightness (B, 1, H, W) of pictures (B, 3, H, W)."""
    return (image * image.new_tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True)


def pyramid_features(image: Tensor) -> list[Tensor]:
    """Laplacian pyramid of `LEVELS` and Gabor energies at `SCALES` of pictures (B, 3, H, W). O(B H W).

    Level k is the picture halved k times less its own halving, doubled again; the last is the rest.
    """
    maps, grey = [], grey_of(image)
    for _ in range(LEVELS - 1):
        half = F.avg_pool2d(image, 2)
        maps.append(image - F.interpolate(half, image.shape[-2:], mode="bilinear"))
        image = half
    maps.append(image)
    return maps + [gabor_energies(F.avg_pool2d(grey, 2**k)) for k in range(SCALES)]


def lab(image: Tensor) -> Tensor:
    """CIE Lab over 100 of sRGB pictures (B, 3, H, W) in [0, 1], white D65.

    XYZ over white = A c, c linear; f = cube root above (6/29)^3, else a line; L = 1.16 f_y - .16,
    a = 5 (f_x - f_y), b = 2 (f_y - f_z).
    """
    linear = torch.where(image > 0.04045, ((image + 0.055) / 1.055).clamp_min(0) ** 2.4, image / 12.92)
    xyz = torch.einsum("bchw,kc->bkhw", linear, image.new_tensor(_TO_XYZ))
    knee = 6 / 29
    f = torch.where(xyz > knee**3, xyz.clamp_min(knee**3) ** (1 / 3), xyz / (3 * knee**2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], 1)


def binary_density(grey: Tensor, window: int = 5) -> Tensor:
    """Share of neighbours brighter than a pixel, mean over a window, (B, 1, H, W). O(B H W window^2)."""
    around = F.unfold(F.pad(grey, (1,) * 4, mode="replicate"), 3).unflatten(2, grey.shape[-2:])
    brighter = (around > grey + _BRIGHTER).to(grey.dtype).sum(1, keepdim=True) / 8
    return F.avg_pool2d(brighter, window, 1, window // 2, count_include_pad=False)


@torch.no_grad()
def offline_features(image: Tensor) -> Tensor:
    """Descriptors of pixels (B, 12, H, W): Lab colour, 8 Gabor energies, binary density. O(B H W).

    Args:
        image: (B, 3, H, W) in [0, 1].

    Raises:
        ShapeError: another shape.
    """
    if image.ndim != 4 or image.shape[1] != 3:
        raise ShapeError(f"pictures must be (B, 3, H, W), got {tuple(image.shape)}")
    grey, size = grey_of(image), image.shape[-2:]
    energies = [
        F.interpolate(gabor_energies(F.avg_pool2d(grey, 2**k)), size, mode="bilinear") for k in range(SCALES)
    ]
    return torch.cat([lab(image), *energies, binary_density(grey)], 1)


FACE_FEATURES = 4


@torch.no_grad()
def face_features(image: Tensor, guess: Tensor) -> Tensor:
    """What tells parts of a face apart, (B, `FACE_FEATURES`, H, W): colour and height. O(B H W).

    Lab less its mean over the face, so that hair is darker than skin whatever the skin; and y less that of
    the face's middle, in half sides.

    Source: reconstruction, where no trained network is at hand.

    Args:
        image: (B, 3, H, W) in [0, 1].
        guess: (B, H, W), 1 = face.
    """
    y = torch.linspace(-1, 1, image.shape[2], dtype=image.dtype, device=image.device)
    height = y[:, None].expand(image.shape[2:]).expand(len(image), 1, -1, -1)
    maps, face = torch.cat([lab(image), height], 1), guess[:, None]
    mean = (maps * face).sum((2, 3), keepdim=True) / face.sum((2, 3), keepdim=True).clamp_min(1.0)
    return maps - mean


class PrincipalFeatures(nn.Module):
    """Standardised descriptors on their principal axes, as non-negative maps [max(0, z), max(0, -z)].

    A basis of non-negative vectors can then stand for any mean of a part. Mean, deviation and axes are those
    of the training pictures (`fit`); they are saved with the weights.

    Args:
        inputs: channels C of the descriptors.
        axes: kept, at most C.

    >>> maps = torch.randn(4, 12, 8, 8)
    >>> PrincipalFeatures(12, 8).fit(maps)(maps).shape
    torch.Size([4, 16, 8, 8])
    """

    mean: Tensor
    std: Tensor
    axes: Tensor

    def __init__(self, inputs: int = 12, axes: int = 12) -> None:
        super().__init__()
        if not 1 <= axes <= inputs:
            raise ShapeError(f"{axes} principal axes of {inputs} descriptors; ask for 1 to {inputs}")
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.register_buffer("axes", torch.eye(inputs)[:axes])

    @torch.no_grad()
    def fit(self, maps: Tensor) -> PrincipalFeatures:
        """To descriptors (N, C, H, W) of training pictures. O(N H W C^2).

        Raises:
            DataError: one that is constant or not finite.
        """
        rows = maps.movedim(1, -1).flatten(0, -2)
        mean, std = rows.mean(0), rows.std(0)
        if not bool((std > 1e-8).all()):
            raise DataError(
                "a descriptor is the same at all pixels of the training pictures, or not a number"
            )
        z = (rows - mean) / std
        order = torch.linalg.eigh(z.mT @ z)[1].flip(1).mT
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.axes.copy_(order[: len(self.axes)])
        return self

    def forward(self, maps: Tensor) -> Tensor:
        """(B, 2 axes, H, W) of descriptors (B, C, H, W)."""
        z = torch.einsum(
            "bchw,kc->bkhw", (maps - self.mean[:, None, None]) / self.std[:, None, None], self.axes
        )
        return torch.cat([z.clamp_min(0), (-z).clamp_min(0)], 1)
