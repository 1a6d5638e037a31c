"""Objects as connected pieces of one colour that are not background: the baseline that learns nothing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, sparse
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.phycine.perception import Percepts, check_video
from mien.methods.phycine.tracks import assign, distances

Picture = NDArray[np.float64]
"""(H, W, 3) in [0, 1]."""
_BINS = 16  # levels per channel in which the most frequent colour is sought
_UNSEEN = 1.0  # what it costs to give a piece to a slot that has shown nothing yet


def most_frequent_colour(pixels: Picture) -> Picture:
    """Median of the fullest of 16^3 colour bins: (3,) of (N, 3). O(N)."""
    bins = np.minimum((pixels * _BINS).astype(int), _BINS - 1) @ np.array([1, _BINS, _BINS**2])
    return np.asarray(np.median(pixels[bins == np.bincount(bins).argmax()], 0))


def pieces(picture: Picture, background: Picture, threshold: float, min_pixels: int) -> NDArray[np.int64]:
    """Number 1 .. N of the piece of each pixel, the largest first, 0 = background. O(H W).

    Neighbours whose colours differ by at most ``threshold`` (largest channel) belong together; what has
    fewer than ``min_pixels`` inner pixels (edges, highlights) joins the nearest piece.

    Args:
        picture: (H, W, 3).
        background: (3,), or (H, W, 3).
        threshold: of colours, in (0, 1).
        min_pixels: pixels of a piece whose four neighbours are of it too.
    """
    shape, front = picture.shape[:2], np.abs(picture - background).max(2) > threshold
    number = np.arange(front.size).reshape(shape)
    pairs = []
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        same = front[a] & front[b] & (np.abs(picture[a] - picture[b]).max(2) <= threshold)
        pairs.append(np.stack([number[a][same], number[b][same]]))
    i, j = np.concatenate(pairs, 1)
    graph = sparse.coo_matrix((np.ones(len(i)), (i, j)), (front.size, front.size))
    label = sparse.csgraph.connected_components(graph, directed=False)[1].reshape(shape)
    edged = np.pad(label, 1, constant_values=-1)
    around = [edged[1:-1, :-2], edged[1:-1, 2:], edged[:-2, 1:-1], edged[2:, 1:-1]]
    inner = front & (np.stack(around) == label).all(0)
    sizes = np.bincount(label[inner], minlength=label.max() + 1)
    kept = [int(k) for k in np.argsort(-sizes, kind="stable") if sizes[k] >= min_pixels]
    rank = np.zeros(len(sizes), int)
    rank[kept] = np.arange(1, len(kept) + 1)
    out = np.where(front, rank[label], 0)
    if kept:
        nearest = ndimage.distance_transform_edt(out == 0, return_distances=False, return_indices=True)
        out = np.where(front, out[tuple(nearest)], 0)
    return out


def describe(picture: Picture, labels: NDArray[np.int64]) -> Picture:
    """(N, 6), of each piece: x right, y down in [-1, 1], mean colour, share of the picture. O(H W)."""
    height, width = labels.shape
    y, x = np.mgrid[:height, :width]
    maps = [(x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1, *np.moveaxis(picture, 2, 0)]
    count = np.arange(1, labels.max() + 1)
    means = [ndimage.mean(m, labels, count) for m in maps]
    return np.stack([*means, np.bincount(labels.ravel(), minlength=len(count) + 1)[1:] / labels.size], 1)


class ThresholdSegmenter(nn.Module):
    """Slot 0 is the background, the others follow their pieces by place and colour.

    A slot's code is that of `describe` (D = 6), zeros where it shows nothing. Two touching objects of one
    colour are one piece. Pieces beyond the K - 1 largest are left out and counted in ``Percepts.left_out``.

    Args:
        slots: K, background among them.
        threshold: two colours are one below it.
        min_pixels: inner pixels of an object, as in `pieces`.
        median: the background is the median frame of the clip; else the most frequent colour of all frames.

    Raises:
        ConfigError: a number out of range.
    """

    def __init__(
        self, slots: int = 5, threshold: float = 0.12, min_pixels: int = 4, *, median: bool = False
    ) -> None:
        super().__init__()
        if slots < 2 or not 0 < threshold < 1 or min_pixels < 1:
            raise ConfigError(
                f"slots >= 2, threshold in (0, 1), min_pixels >= 1 are needed; got {slots}, {threshold},"
                f" {min_pixels}"
            )
        self.slots, self.threshold, self.min_pixels, self.median = slots, threshold, min_pixels, median

    def forward(self, video: Tensor) -> Percepts:
        """What is seen; masks are 0 or 1. O(B T H W log(H W))."""
        check_video(video)
        clips = [self._clip(clip) for clip in video.detach().permute(0, 1, 3, 4, 2).double().cpu().numpy()]
        masks, codes, left_out = (
            torch.from_numpy(np.stack(part)).to(video.device) for part in zip(*clips, strict=True)
        )
        recon = torch.einsum("btkhw,btkc->btchw", masks, codes[..., 2:5])
        return Percepts(masks.to(video.dtype), codes.to(video.dtype), recon.to(video.dtype), left_out)

    def _clip(self, clip: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        background = np.median(clip, 0) if self.median else most_frequent_colour(clip.reshape(-1, 3))
        frames, height, width, _ = clip.shape
        masks = np.zeros((frames, self.slots, height, width))
        codes, left_out = np.zeros((frames, self.slots, 6)), np.zeros(frames, int)
        last: dict[int, NDArray[np.float64]] = {}
        for t, picture in enumerate(clip):
            labels = pieces(picture, background, self.threshold, self.min_pixels)
            found = describe(picture, labels)
            left_out[t] = max(0, len(found) - (self.slots - 1))
            for k, j in _continued(last, found[: self.slots - 1], self.slots):
                masks[t, k], codes[t, k], last[k] = labels == j + 1, found[j], found[j]
            masks[t, 0] = 1 - masks[t, 1:].sum(0)
            codes[t, :1] = describe(picture, masks[t, 0].astype(int))
        return masks, codes, left_out


def _continued(last: dict[int, NDArray[np.float64]], found: Picture, slots: int) -> list[tuple[int, int]]:
    """(slot, piece): every piece has the slot that last looked like it, or one that was free."""
    cost = np.full((slots - 1, len(found)), _UNSEEN)
    for k, code in last.items():
        cost[k - 1] = distances(code[None, :5], found[:, :5])[0]
    return [(i + 1, j) for i, j in assign(cost, np.inf)]
