"""What training does to pictures of far faces, in batches; each is a function of (seed, key) alone.

Mirror, shift and zoom are ours (whole pixels: fine patterns of prints and screens stay); the long chain is
torchvision's and the swirl of recaptured screens that of a known solution (the method's page, section 2.4).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core.seeds import derive, uniform

SHIFT = 0.1
"""Largest shift, as a share of the picture; the border is repeated."""
JITTER, SWIRL = 0.25, 0.25
"""moire: shares of the live faces that become a print, and a screen."""
EACH = 0.3
"""heavy: probability of each step of the chain."""


def mirror_shift(pictures: Tensor, u: Tensor) -> Tensor:
    """Half of the pictures mirrored, all moved by up to `SHIFT`. O(B S^2).

    Args:
        pictures: (B, 3, S, S).
        u: (B, 3) in [0, 1): rows, columns, mirror.
    """
    size = pictures.shape[-1]
    at = torch.arange(size)
    far = ((2 * u[:, :2, None] - 1) * SHIFT * size).round().long()
    rows, columns = (at + far[:, 0]).clamp(0, size - 1), (at + far[:, 1]).clamp(0, size - 1)
    columns = torch.where(u[:, 2:3] < 0.5, columns.flip(1), columns)
    place = (rows[:, :, None] * size + columns[:, None, :]).flatten(1)[:, None]
    return pictures.flatten(2).gather(2, place.expand(-1, 3, -1)).view(pictures.shape)


def random_crop(pictures: Tensor, u: Tensor, scale: tuple[float, float] = (0.64, 1.0)) -> Tensor:
    """A square of a share of each picture's area, brought back to its size, mirrored in a fifth. O(B S^2).

    Args:
        pictures: (B, 3, S, S) in [0, 1].
        u: (B, 4) in [0, 1): area, row, column, mirror.
        scale: of the area.
    """
    side = (scale[0] + (scale[1] - scale[0]) * u[:, 0]).sqrt()
    y, x = ((1 - side) * (2 * u[:, k] - 1) for k in (1, 2))
    flip = torch.where(u[:, 3] < 0.2, -1.0, 1.0)
    zero = torch.zeros_like(side)
    theta = torch.stack([side * flip, zero, x, zero, side, y], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def swirl_moire(pictures: Tensor, pace: Tensor, share: float = 0.2) -> Tensor:
    """Out = (1 - share) x + share swirl(x), turned by ``pace`` radians for each pixel of radius. O(B S^2).

    The two pictures beat against each other as a screen's grid does with the camera's.

    Args:
        pictures: (B, 3, S, S).
        pace: (B,) radians a pixel; 0.0005 to 0.01 at 224 pixels.
        share: of the turned picture.
    """
    size = pictures.shape[-1]
    c = torch.arange(size, dtype=pictures.dtype) - (size - 1) / 2
    y, x = torch.meshgrid(c, c, indexing="ij")
    angle = pace[:, None, None] * torch.hypot(x, y)
    sin, cos = angle.sin(), angle.cos()
    grid = torch.stack([cos * x - sin * y, sin * x + cos * y], -1) * (2 / size)
    turned = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    return (1 - share) * pictures + share * turned


def print_colours(pictures: Tensor, u: Tensor, strength: float = 0.4) -> Tensor:
    """Gain, contrast, saturation and a cast of each picture as a printer changes them. O(B S^2).

    Args:
        pictures: (B, 3, S, S) in [0, 1].
        u: (B, 6) in [0, 1).
        strength: largest change.
    """
    k = 1 + strength * (2 * u[:, :6, None, None] - 1)
    mean = pictures.mean((1, 2, 3), keepdim=True)
    x = (pictures * k[:, 0:1] - mean) * k[:, 1:2] + mean
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * k[:, 2:3]
    return (x * (1 + (k[:, 3:6] - 1) / 2)).clamp(0, 1)


def simulated_attacks(pictures: Tensor, target: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Some live faces become attacks: colours of a print, or the moire of a screen, and noise. O(B S^2).

    Args:
        pictures: (B, 3, S, S) in [0, 1].
        target: (B,) 0 = live, 1 = attack.
        u: (B, 8) in [0, 1).

    Returns:
        Pictures and their labels.
    """
    live = target == 0
    printed, shown = live & (u[:, 0] < JITTER), live & (u[:, 0] >= JITTER) & (u[:, 0] < JITTER + SWIRL)
    pace = (0.0005 + 0.0095 * u[:, 1]) * 224 / pictures.shape[-1]
    out = torch.where(printed.view(-1, 1, 1, 1), print_colours(pictures, u[:, 2:8]), pictures)
    out = torch.where(shown.view(-1, 1, 1, 1), swirl_moire(pictures, pace), out)
    return out, torch.where(printed | shown, 1, target)


@cache
def heavy_chain() -> Callable[[Tensor], Tensor]:
    """(3, S, S) uint8 -> (3, S, S) uint8, each step with probability `EACH` (torch's generator draws)."""
    from torchvision.transforms import v2

    steps = [
        v2.ElasticTransform(alpha=8.0, sigma=4.0),
        v2.RandomAffine(15, (0.08, 0.08), (0.9, 1.1)),
        v2.GaussianBlur(3, (0.3, 1.2)),
        v2.ColorJitter(0.25, 0.25),
        v2.ColorJitter(saturation=0.4, hue=0.06),
        v2.Compose(
            [
                v2.ToDtype(torch.float32, scale=True),
                v2.GaussianNoise(0.0, 0.04),
                v2.ToDtype(torch.uint8, scale=True),
            ]
        ),
        v2.RandomAdjustSharpness(3.0, p=1.0),
        v2.JPEG((40, 95)),
        v2.RandomGrayscale(1.0),
    ]
    chain: Callable[[Tensor], Tensor] = v2.Compose(
        [v2.RandomHorizontalFlip(), *(v2.RandomApply([s], p=EACH) for s in steps)]
    )
    return chain


def heavy(pictures: Tensor, keys: NDArray[np.uint64], seed: int) -> Tensor:
    """`random_crop` of at least 64 %, then `heavy_chain`, picture by picture. O(B S^2).

    Args:
        pictures: (B, 3, S, S) in [0, 1].
        keys: (B,) stable names.
        seed: of run and epoch.
    """
    x = random_crop(pictures, torch.from_numpy(uniform(derive(seed, "crop"), keys, 4)))
    chain, out = heavy_chain(), []
    for picture, key in zip((x * 255).round().to(torch.uint8), keys.tolist(), strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "heavy", key))
            out.append(chain(picture).float() / 255)
    return torch.stack(out)


def augmented(
    kind: str, pictures: Tensor, target: Tensor, keys: NDArray[np.uint64], seed: int
) -> tuple[Tensor, Tensor]:
    """Pictures and labels as training sees them; see `mien.data.surveil_config.SurveilData.augment`.

    Args:
        kind: name of the augmentation.
        pictures: (B, 3, S, S) in [0, 1].
        target: (B,) 0 = live, 1 = attack.
        keys: (B,) stable names.
        seed: of run and epoch.
    """

    def drawn(name: str, count: int) -> Tensor:
        return torch.from_numpy(uniform(derive(seed, name), keys, count))

    steps: dict[str, Callable[[], Any]] = {
        "none": lambda: (pictures, target),
        "flip": lambda: (mirror_shift(pictures, drawn("geometry", 3)), target),
        "crop": lambda: (random_crop(pictures, drawn("crop", 4)), target),
        "heavy": lambda: (heavy(pictures, keys, seed), target),
        "moire": lambda: simulated_attacks(
            mirror_shift(pictures, drawn("geometry", 3)), target, drawn("attack", 8)
        ),
    }
    found: tuple[Tensor, Tensor] = steps[kind]()
    return found
