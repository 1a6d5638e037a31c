"""What every perception of objects takes and gives."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from mien.core.errors import ShapeError


def reordered(values: Tensor, order: Tensor) -> Tensor:
    """(B, T, K, ...) with entry ``order[b, t, k]`` of each frame at k."""
    return values.gather(2, order.view(*order.shape, *[1] * (values.ndim - 3)).expand_as(values))


class Percepts(NamedTuple):
    """What is seen in clips; a slot keeps its object from frame to frame.

    Attributes:
        masks: (B, T, K, H, W), shares of the slots, sum 1 over K.
        slots: (B, T, K, D) codes.
        recon: (B, T, 3, H, W) in [0, 1].
        left_out: (B, T) objects seen for which there was no slot; None = not counted.
    """

    masks: Tensor
    slots: Tensor
    recon: Tensor
    left_out: Tensor | None = None

    def reordered(self, order: Tensor) -> Percepts:
        """Slot ``order[b, t, k]`` of frame t becomes slot k."""
        return self._replace(masks=reordered(self.masks, order), slots=reordered(self.slots, order))


class Perception(Protocol):
    """A video (B, T, 3, H, W) in [0, 1] -> `Percepts`."""

    def forward(self, video: Tensor) -> Percepts:
        """Finds the objects of each frame."""


def check_video(video: Tensor, size: tuple[int, int] | None = None) -> None:
    """One clear line where a video has another shape.

    Args:
        video: should be (B, T, 3, H, W), not empty.
        size: (H, W); None = any.

    Raises:
        ShapeError: it is not.
    """
    if video.ndim != 5 or video.shape[2] != 3 or 0 in video.shape:
        raise ShapeError(f"a video is (B, T, 3, H, W), not empty; got {tuple(video.shape)}")
    if size is not None and tuple(video.shape[3:]) != size:
        raise ShapeError(
            f"frames must be {size[0]} x {size[1]} pixels, got {video.shape[3]} x {video.shape[4]}"
        )
