"""Training augmentation and test-time preparation.

An image's augmentation is a function of (run seed, epoch, sample key, copy): batch order, worker and process
change nothing. Copies are laid out copy-major: rows m B + i are copy m of image i.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError
from mien.core.seeds import derive, uniform
from mien.data.labelled import Picture


class Augment(Protocol):
    """Pictures -> (copies B, C, size, size) float in [0, 1], copy-major."""

    def __call__(
        self, pictures: Sequence[Picture], keys: NDArray[np.uint64], seed: int, copies: int
    ) -> Tensor:
        """``seed`` already contains run and epoch; ``keys`` are the (B,) sample keys."""
        ...


def prepare(pictures: Sequence[Picture], size: int, channels: int, zoom: float = 1.0) -> Tensor:
    """Test-time pictures: shorter side to ``zoom * size``, centre crop; (B, C, size, size) in [0, 1].

    A picture that already has the right size and channels is not resampled. O(pixels).
    """
    return torch.stack([_fit(p, size, channels, zoom) for p in pictures])


def _fit(picture: Picture, size: int, channels: int, zoom: float) -> Tensor:
    x = torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)
    height, width = x.shape[1:]
    side = round(zoom * size)
    if min(height, width) != side:
        scale = side / min(height, width)
        shape = (max(side, round(height * scale)), max(side, round(width * scale)))
        x = F.interpolate(x[None].float(), shape, mode="bicubic", antialias=True)[0].clamp(0, 255)
    top, left = (x.shape[1] - size) // 2, (x.shape[2] - size) // 2
    return _channels(x[:, top : top + size, left : left + size].float() / 255, channels)


def stretch(pictures: Sequence[Picture], size: int, channels: int) -> Tensor:
    """Test-time pictures without a crop, as DomainBed: both sides to ``size``; (B, C, H, W) in [0, 1]."""
    rows = []
    for picture in pictures:
        x = torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)
        if x.shape[1:] != (size, size):
            x = F.interpolate(x[None].float(), (size, size), mode="bilinear", antialias=True)[0]
        rows.append(_channels(x.float() / 255, channels))
    return torch.stack(rows)


def _channels(x: Tensor, channels: int) -> Tensor:
    if x.shape[0] == channels:
        return x
    if channels == 3:
        return x.expand(3, -1, -1)
    # ITU-R 601 luma, as PIL's mode L.
    return (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)


@dataclass(frozen=True)
class Affine:
    """Random rotation, scale, shift, flip and one square hole, for the whole batch at once."""

    size: int
    channels: int
    angle: float = 0.15
    scale: float = 0.12
    shift: float = 0.08
    flip: bool = True
    hole: float = 0.25

    def __call__(
        self, pictures: Sequence[Picture], keys: NDArray[np.uint64], seed: int, copies: int
    ) -> Tensor:
        """See `Augment`. O(copies B size^2)."""
        x = prepare(pictures, self.size, self.channels)
        u = np.concatenate([uniform(derive(seed, "copy", m), keys, 7) for m in range(copies)])
        r = torch.from_numpy(u) * 2 - 1
        angle, zoom = self.angle * r[:, 0], 1 + self.scale * r[:, 1]
        cos, sin = zoom * angle.cos(), zoom * angle.sin()
        mirror = torch.where(r[:, 4] < 0, -1.0, 1.0) if self.flip else torch.ones(len(r))
        theta = torch.stack(
            [cos * mirror, -sin, 2 * self.shift * r[:, 2], sin * mirror, cos, 2 * self.shift * r[:, 3]], dim=1
        )
        x = x.repeat(copies, 1, 1, 1)
        grid = F.affine_grid(theta.view(-1, 2, 3), list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)
        return x * self._keep(r[:, 5:7])

    def _keep(self, centre: Tensor) -> Tensor:
        """1 outside a hole of side ``hole * size`` centred anywhere in the picture, 0 inside."""
        side = round(self.hole * self.size)
        first = ((centre + 1) * 0.5 * self.size).floor() - side // 2
        at = torch.arange(self.size)
        inside = (at >= first[:, :, None]) & (at < first[:, :, None] + side)
        return 1.0 - (inside[:, 1, :, None] & inside[:, 0, None, :]).float()[:, None]


@dataclass(frozen=True)
class Flip:
    """Left and right exchanged in half of the pictures: all that face recognition augments."""

    size: int
    channels: int

    def __call__(
        self, pictures: Sequence[Picture], keys: NDArray[np.uint64], seed: int, copies: int
    ) -> Tensor:
        """See `Augment`. O(copies B size^2)."""
        x = prepare(pictures, self.size, self.channels).repeat(copies, 1, 1, 1)
        mirrored = torch.from_numpy(self.mirrored(keys, seed, copies))
        return torch.where(mirrored[:, None, None, None], x.flip(3), x)

    @staticmethod
    def mirrored(keys: NDArray[np.uint64], seed: int, copies: int = 1) -> NDArray[np.bool_]:
        """(copies B,) which pictures are flipped: the draw that a call with the same arguments makes."""
        u = np.concatenate([uniform(derive(seed, "copy", m), keys, 1) for m in range(copies)])
        return np.asarray(u[:, 0] < 0.5)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds Python, numpy and torch for one block and restores all three."""
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002 - see below
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002 - timm's operations draw from the global generator
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)  # noqa: NPY002 - the same


@dataclass(frozen=True)
class PerPicture:
    """A library transform, picture by picture, each under its own seed."""

    kind: str
    size: int
    channels: int

    def __call__(
        self, pictures: Sequence[Picture], keys: NDArray[np.uint64], seed: int, copies: int
    ) -> Tensor:
        """See `Augment`."""
        transform = _TRANSFORMS[self.kind](self.size)
        rows = []
        for m in range(copies):
            for picture, key in zip(pictures, keys, strict=True):
                with seeded(derive(seed, "copy", m, int(key))):
                    rows.append(_channels(transform(_rgb(picture)), self.channels))
        return torch.stack(rows)


def _rgb(picture: Picture) -> Tensor:
    x = torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)
    return x.expand(3, -1, -1) if x.shape[0] == 1 else x


@cache
def _cifar(size: int) -> Callable[[Tensor], Tensor]:
    """Section 2.9: crop with padding 4, flip, AutoAugment (CIFAR-10), one 16 x 16 hole (for size 32)."""
    from torchvision.transforms import v2

    policy = v2.AutoAugmentPolicy.CIFAR10
    steps = v2.Compose(
        [
            v2.Resize(size, antialias=True),
            v2.RandomCrop(size, padding=size // 8),
            v2.RandomHorizontalFlip(),
            v2.AutoAugment(policy),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )

    def transform(x: Tensor) -> Tensor:
        x = steps(x)
        row, column = (int(v) for v in torch.randint(size, (2,)))
        half = size // 4
        x[:, max(0, row - half) : row + half, max(0, column - half) : column + half] = 0.0
        return x

    return transform


@cache
def _imagenet(size: int) -> Callable[[Tensor], Tensor]:
    """Section 2.9: random-resized crop, flip, colour jitter, RandAugment n=2 m=10 mstd=0.5."""
    from timm.data.auto_augment import rand_augment_transform
    from torchvision.transforms import v2

    fill = (124, 116, 104)
    draw = rand_augment_transform(
        "rand-n2-m10-mstd0.5", {"translate_const": int(0.45 * size), "img_mean": fill}
    )
    steps: Callable[[Any], Any] = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.08, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.0),
            v2.ToPILImage(),
            draw,
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    return lambda x: steps(x)


@cache
def _domainbed(size: int) -> Callable[[Tensor], Tensor]:
    """DomainBed: random-resized crop from 70 % of the area, flip, colour jitter, grey with 10 %."""
    from torchvision.transforms import v2

    steps: Callable[[Tensor], Tensor] = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.7, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.3, 0.3, 0.3, 0.3),
            v2.RandomGrayscale(0.1),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    return steps


_TRANSFORMS: dict[str, Callable[[int], Callable[[Tensor], Tensor]]] = {
    "cifar": _cifar,
    "imagenet": _imagenet,
    "domainbed": _domainbed,
}


@dataclass(frozen=True)
class NoAugment:
    """Test-time preparation, repeated."""

    size: int
    channels: int

    def __call__(
        self, pictures: Sequence[Picture], keys: NDArray[np.uint64], seed: int, copies: int
    ) -> Tensor:
        """See `Augment`."""
        return prepare(pictures, self.size, self.channels).repeat(copies, 1, 1, 1)


def build_augment(kind: str, size: int, channels: int) -> Augment:
    """The augmentation of a config: none, affine, flip, cifar, imagenet, domainbed."""
    if kind == "none":
        return NoAugment(size, channels)
    if kind == "affine":
        return Affine(size, channels)
    if kind == "flip":
        return Flip(size, channels)
    if kind in _TRANSFORMS:
        return PerPicture(kind, size, channels)
    raise ConfigError(f"unknown augmentation {kind!r}; known: none, affine, flip, {', '.join(_TRANSFORMS)}")


def eval_zoom(augment: str) -> float:
    """Resize before the centre crop at test time: 256 / 224 for the ImageNet recipe, else none."""
    return 256 / 224 if augment == "imagenet" else 1.0
