"""What every backbone of a face recogniser has in common."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError

HALF = (0.5, 0.5, 0.5)
"""Mean and standard deviation of the input: (x - 0.5) / 0.5 maps [0, 1] to [-1, 1]."""


class FaceNet(nn.Module):
    """A face (B, 3, S, S) in [0, 1], RGB -> an embedding (B, D) that is **not** normalised.

    The length of the embedding is kept because AdaFace and the pooling of templates use it.
    Subclasses fill the attributes and write `forward_features` and `forward_head`.

    Attributes:
        num_features: D, length of the embedding.
        size: S, side of the input in pixels.
        taps: name of each intermediate map -> its (channels, height, width), from input to output.
    """

    num_features: int
    size: int
    taps: dict[str, tuple[int, int, int]]

    @abstractmethod
    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) -> {tap: (B, c, h, w)}, the keys and sizes of ``taps``; the last feeds the head."""

    @abstractmethod
    def forward_head(self, x: Tensor) -> Tensor:
        """The last map of `forward_features` -> (B, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, D).

        Raises:
            ShapeError: the input has another size.
        """
        if x.ndim != 4 or x.shape[1:] != (3, self.size, self.size):
            raise ShapeError(f"expected faces (B, 3, {self.size}, {self.size}), got {tuple(x.shape)}")
        return self.forward_head(self.forward_features(x)[list(self.taps)[-1]])


def halved(side: int, times: int) -> int:
    """Side after ``times`` convolutions of stride 2 that round up: ceil(side / 2^times)."""
    for _ in range(times):
        side = (side + 1) // 2
    return side


def check_size(size: int, embedding: int, least: int = 16) -> None:
    """Refuses sizes that leave no map.

    Raises:
        ConfigError: ``size`` below ``least`` or ``embedding`` below 1.
    """
    if size < least or embedding < 1:
        raise ConfigError(f"size={size} must be at least {least} pixels and embedding={embedding} at least 1")
