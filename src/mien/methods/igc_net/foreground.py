"""Face and what is behind it, told apart without labels: a plane of colour through the border."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CLOSE = 0.1  # of two colours: neighbours when the fit begins, and its scale in the end
NEAR = 0.25  # what belongs to the first fit
ROUNDS = 8
DIFFERENT = 0.1  # a pixel so far from the plane is face
_TINY = 1e-6


def border_ring(height: int, width: int) -> Tensor:
    """(H, W) bool: the upper border and three quarters of the sides, side / 16 wide, at least 2.

    Shoulders leave through the lower border.
    """
    edge, down = max(2, height // 16), height * 3 // 4
    ring = torch.zeros(height, width, dtype=torch.bool)
    ring[:edge] = True
    ring[:down, :edge] = True
    ring[:down, -edge:] = True
    return ring


@torch.no_grad()
def border_plane(image: Tensor) -> Tensor:
    """Colours c0 + c1 x + c2 y (B, 3, H, W) that most of the border ring agrees on. O(B (H W + ring^2)).

    Least squares with weights 1 / (1 + (r / s)^2)^2 of the residual r, s falling from 4 to 1 times `CLOSE`;
    begun at the border colour that has most neighbours. Hair that touches the border hardly counts.

    Args:
        image: (B, 3, H, W) in [0, 1].
    """
    height, width = image.shape[-2:]
    ring = border_ring(height, width).to(image.device)
    at = [torch.linspace(-1, 1, n, dtype=image.dtype, device=image.device) for n in (height, width)]
    y, x = torch.meshgrid(*at, indexing="ij")
    terms = torch.stack([torch.ones_like(x), x, y], -1)
    own, colours = terms[ring], image[:, :, ring].mT
    apart = torch.cdist(colours, colours)
    middle = (-(apart / CLOSE).square()).exp().sum(2).argmax(1)
    first = apart[torch.arange(len(image), device=image.device), middle]
    weight = (-(first / NEAR).square()).exp()
    held = torch.diag(image.new_tensor([_TINY, 0.1, 0.1]))  # few pixels of one side do not tilt the plane
    plane = image.new_zeros(len(image), 3, 3)
    for n in range(ROUNDS):
        left = torch.einsum("bn,ni,nj->bij", weight, own, own) + held
        plane = torch.linalg.solve(left, torch.einsum("bn,ni,bnc->bic", weight, own, colours))
        residual = (colours - own @ plane).norm(dim=2)
        weight = (1 + (residual / (CLOSE * max(1.0, 4 - n))).square()).pow(-2)
    return torch.einsum("hwi,bic->bchw", terms, plane)


@torch.no_grad()
def foreground_guess(image: Tensor, different: float = DIFFERENT) -> Tensor:
    """(B, H, W) in {0, 1}: 1 where the colour is far from the border's plane; then the majority of 3 x 3.

    Source: reconstruction. Distance to the colours of the whole border would take shoulders and hair, which
    touch it, for background.

    Args:
        image: (B, 3, H, W) in [0, 1].
        different: Euclidean distance of colours.
    """
    far = ((image - border_plane(image)).norm(dim=1, keepdim=True) > different).to(image.dtype)
    return (F.avg_pool2d(far, 3, 1, 1, count_include_pad=False) > 0.5).to(image.dtype)[:, 0]


@torch.no_grad()
def scene_behind(image: Tensor, guess: Tensor | None = None) -> Tensor:
    """What a face hides, (B, 3, H, W): pixels outside the guess; inside, means of those around. O(B H W).

    Push and pull: known pixels are averaged over 2 x 2, 4 x 4, .. blocks; a block without any takes the
    coarser mean, resampled.

    Args:
        image: (B, 3, H, W).
        guess: (B, H, W), 1 = face; default `foreground_guess`.
    """
    known = 1 - (foreground_guess(image) if guess is None else guess)[:, None]
    levels = [(image * known, known)]
    while min(levels[-1][0].shape[-2:]) > 1:
        total, weight = levels[-1]
        levels.append((F.avg_pool2d(total, 2, ceil_mode=True), F.avg_pool2d(weight, 2, ceil_mode=True)))
    scene = image.mean((2, 3), keepdim=True)
    for total, weight in reversed(levels):
        coarse = F.interpolate(scene, total.shape[-2:], mode="bilinear")
        scene = torch.where(weight > 0, total / weight.clamp_min(_TINY), coarse)
    return scene
