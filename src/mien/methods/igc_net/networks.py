"""The networks of IGC-Net: picture to vector, vector to maps, and a face's embedding to codes of its parts.

Encoder: that of Unsup3D (its released code), for sides of 16 k. Decoder: a small one for CPUs. It convolves
few channels at half the side, and three at all of it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError

PER_GROUP = 4  # channels of a group norm's group


def smallest_side(size: int) -> int:
    """Side that four halvings leave.

    Raises:
        ConfigError: a size that cannot be halved so often to 2 or more.
    """
    if size % 16 or size < 32:
        raise ConfigError(f"IGC-Net takes pictures whose side is a multiple of 16 from 32, got {size}")
    return size // 16


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // PER_GROUP), channels)


class Encoder(nn.Sequential):
    """Pictures (B, 3, S, S) to vectors (B, outputs). O(B S^2 width).

    Four times (convolution 4, stride 2; group norm but for the last; leaky ReLU), a convolution over all that
    is left, ReLU, and one of 1 x 1.

    Args:
        size: S.
        width: channels after the first convolution; they double three times.
        outputs: length of the vector.

    Raises:
        ConfigError: a size that does not fit.

    >>> Encoder(48, 8, 5)(torch.zeros(2, 3, 48, 48)).shape
    torch.Size([2, 5])
    """

    def __init__(self, size: int, width: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for level in range(4):
            layers.append(nn.Conv2d(channels, width << level, 4, 2, 1, bias=False))
            channels = width << level
            if level < 3:
                layers.append(_group_norm(channels))
            layers.append(nn.LeakyReLU(0.2))
        layers += [nn.Conv2d(channels, channels, smallest_side(size), bias=False), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(channels, outputs, 1), nn.Flatten())


class Decoder(nn.Module):
    """Vectors (N, inputs) to maps (N, outputs, S, S). O(N S^2 width outputs).

    A linear map to 2 width channels at S / 16; three doublings by nearest neighbours with convolutions to
    2 width, width and width / 2 channels; one by bilinear resampling, so that depth is smooth, and a last
    convolution.

    Args:
        size: S.
        width: of a channel count.
        inputs: length of a vector.
        outputs: channels of the maps.

    Raises:
        ConfigError: a size that does not fit.
    """

    def __init__(self, size: int, width: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.size, self.start = size, smallest_side(size)
        self.linear = nn.Linear(inputs, 2 * width * self.start**2)
        widths = (2 * width, 2 * width, width, width // 2)
        blocks: list[nn.Module] = []
        for i, o in pairwise(widths):
            blocks += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(i, o, 3, 1, 1),
                _group_norm(o),
                nn.LeakyReLU(0.2),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Conv2d(widths[-1], outputs, 3, 1, 1)

    def forward(self, codes: Tensor) -> Tensor:
        """Maps of codes (N, inputs)."""
        x = self.linear(codes).unflatten(1, (-1, self.start, self.start))
        x = F.interpolate(self.blocks(x), (self.size, self.size), mode="bilinear")
        return cast("Tensor", self.last(x))


class ConfidenceNet(nn.Module):
    """Deviations sigma > 0 (B, 2, S, S) of a picture (B, 3, S, S), and of the mirrored object's picture."""

    def __init__(self, size: int, width: int, dim: int) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(size, width, dim), Decoder(size, width, dim, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Softplus of what is decoded."""
        return F.softplus(self.decoder(self.encoder(image)))


class Decompose(nn.Module):
    """An embedding (B, F) to codes of M parts (B, M, D): e[m] = W2 celu(W1 [f ; p_m]). O(B M F D).

    The learned query p_m is the same for all pictures: it makes part m mean the same in every face.
    """

    def __init__(self, features: int, query: int, dim: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(features + query, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, features: Tensor, queries: Tensor) -> Tensor:
        """Codes; queries are (M, Q)."""
        shape = (features.shape[0], len(queries), -1)
        both = torch.cat([features[:, None].expand(shape), queries.expand(shape)], -1)
        return cast("Tensor", self.second(F.celu(self.first(both))))


class AttentionPool(nn.Module):
    """An embedding (B, F) to codes (B, M, D) through a map (B, D, S/4, S/4) of features that parts share.

    A = softmax_m(<F, q_m>), e[m] = sum_uv A[m] F / sum_uv A[m], q_m = W p_m. O(B M S^2 D).
    """

    def __init__(self, size: int, width: int, features: int, query: int, dim: int) -> None:
        super().__init__()
        self.decoder = Decoder(size, width, features, dim)
        self.query = nn.Linear(query, dim, bias=False)

    def forward(self, features: Tensor, queries: Tensor) -> Tensor:
        """Codes; queries are (M, Q)."""
        maps = F.avg_pool2d(self.decoder(features), 4)
        share = torch.einsum("bdhw,md->bmhw", maps, self.query(queries)).softmax(1)
        total = torch.einsum("bmhw,bdhw->bmd", share, maps)
        return total / share.sum((2, 3))[..., None]
