"""Outputs of a frozen net, computed once for every training picture and its mirror image.

Where flips are the only augmentation, a net that does not learn sees just two views of each picture. What it
says about them is kept, so that a teacher costs nothing in the steps of its students.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mien.core import io
from mien.data.augment import Flip, NoAugment, prepare
from mien.data.loader import ImageBatch, StepLoader, epoch_seed
from mien.engine.task import Clock

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BYTES = 2 << 30


class TwoViews:
    """Kept outputs by picture and view.

    Args:
        values: (N, 2, ...) of the pictures of ``source`` and of their mirror images.
        source: the training stream; its augmentation is none or flip.
    """

    def __init__(self, values: Tensor, source: StepLoader) -> None:
        self.values, self.source = values, source

    def of(self, batch: ImageBatch, clock: Clock) -> Tensor:
        """(B, ...) outputs for the views in a batch, on its device."""
        views = mirrored(self.source, batch, clock).long()
        return self.values[batch.index.cpu(), views].to(batch.image.device)


def mirrored(source: StepLoader, batch: ImageBatch, clock: Clock) -> Tensor:
    """(B,) bool on the CPU: which pictures of a batch of this step are flipped."""
    index = batch.index.cpu()
    if not isinstance(source.augment, Flip):
        return torch.zeros(len(index), dtype=torch.bool)
    seed = epoch_seed(source.seed, clock.step // clock.steps_per_epoch)
    return torch.from_numpy(Flip.mirrored(source.images.keys[index.numpy()], seed))


def can_keep(source: StepLoader, bytes_each: int) -> bool:
    """Whether there are only two views, one copy of each, and room for all outputs."""
    is_plain = isinstance(source.augment, (Flip, NoAugment)) and source.copies == 1
    return is_plain and 2 * len(source.images) * bytes_each <= MOST_BYTES


@torch.inference_mode()
def view_outputs(
    forward: Callable[[Tensor], Tensor], source: StepLoader, size: int, device: torch.device, batch: int = 256
) -> NDArray[np.float32]:
    """(N, 2, ...) float32 outputs of a net for all pictures and mirror images. O(N) calls.

    Args:
        forward: (B, 3, S, S) -> (B, ...), on ``device``.
        source: the training stream.
        size: S.
        device: where the net is.
        batch: pictures at once.
    """
    images, rows = source.images, []
    for first in range(0, len(images), batch):
        x = prepare(images.pictures(range(first, min(first + batch, len(images)))), size, 3).to(device)
        rows.append(torch.stack([forward(x), forward(x.flip(3))], 1).float().cpu().numpy())
    return np.concatenate(rows)


def kept_on_disk(name: str, make: Callable[[], NDArray[np.float32]]) -> Tensor:
    """An array made once and kept under ``$MIEN_HOME/cache``; a name must say all that it depends on."""
    path = io.home() / "cache" / f"{name}.npy"
    if not path.is_file():
        array = make()
        with io.new_file(path) as part, part.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
    return torch.from_numpy(np.load(path, allow_pickle=False))
