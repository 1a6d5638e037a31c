"""Presentations in files: listed in memory, decoded when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.seeds import keys_of
from mien.data.pad_images import MODALITIES, PadImages, PadLabels
from mien.data.pad_modalities import DepthMap, read_depth, read_ir, read_rgb
from mien.data.pad_sample import PadList, PadSample, frames_by_video, train_frames
from mien.synth.sensors import depth_picture


class PadFiles(PadImages):
    """The samples of a list. Memory O(samples); a picture costs what its file does.

    Args:
        pads: what is shown: frames, whose scores are averaged over their video.
        drawn_from: all frames of the same videos, of which `for_epoch` shows one each, drawn anew for each
            epoch; None = every epoch shows ``pads``.

    Raises:
        DataError: no samples, or no modality that all of them have.
    """

    def __init__(self, pads: PadList, drawn_from: PadList | None = None) -> None:
        self.pads, self.drawn_from = pads, drawn_from
        held = (drawn_from or pads).modalities
        self.modalities = tuple(m for m in MODALITIES if m in held)
        if not self.modalities:
            what = "no samples" if not len(pads) else f"none of {', '.join(MODALITIES)} is in all samples"
            raise DataError(f"{title_of(pads)}: {what}; complete the set")
        self.labels = labels_of(pads)

    @classmethod
    def one_a_video(cls, pads: PadList) -> PadFiles:
        """One random frame of each video, another in each epoch."""
        return cls(train_frames(pads, 0, 0), pads)

    def for_epoch(self, seed: int, epoch: int) -> PadFiles:
        """The same labels with frames drawn from (seed, epoch). O(N log N) of all frames."""
        if self.drawn_from is None:
            return self
        return PadFiles(train_frames(self.drawn_from, seed, epoch), self.drawn_from)

    def pictures(self, modality: str, indices: Sequence[int] | NDArray[Any]) -> list[NDArray[np.uint8]]:
        """See `PadImages`; depth and infrared as `depth_pixels` and `ir_pixels` have them.

        Raises:
            DataError: a file is missing or damaged.
        """
        return [picture_of(self.pads.samples[int(i)], modality) for i in indices]

    def subset(self, indices: NDArray[Any]) -> PadFiles:
        """Only these places, in this order."""
        chosen = [self.pads.samples[int(i)] for i in indices]
        pads = replace(self.pads, samples=tuple(chosen))
        if self.drawn_from is None:
            return PadFiles(pads)
        # One sample a video, in the order of their first frames: places are those of the videos.
        groups = list(frames_by_video(self.drawn_from.samples).values())
        frames = [self.drawn_from.samples[k] for i in indices for k in groups[int(i)]]
        return PadFiles(pads, replace(self.drawn_from, samples=tuple(frames)))

    @property
    def fingerprint(self) -> str:
        """Hash of names and labels of all frames, not of pixels. O(frames)."""
        return (self.drawn_from or self.pads).fingerprint


def title_of(pads: PadList) -> str:
    """Set, protocol and split of a list, for messages."""
    return " ".join(filter(None, (pads.name, pads.protocol, pads.split)))


def labels_of(pads: PadList) -> PadLabels:
    """Labels of the frames of a list; where nobody names the subject, each video is one. O(N)."""
    videos = [s.video_id or f"#{i}" for i, s in enumerate(pads.samples)]
    keys = [f"{v}\x1f{s.frame}" for v, s in zip(videos, pads.samples, strict=True)]
    subjects = [s.subject or v for v, s in zip(videos, pads.samples, strict=True)]
    devices = [s.device or "unknown" for s in pads.samples]
    return PadLabels(pads.pai, np.array(subjects), np.array(devices), keys_of(keys), np.array(videos))


def picture_of(sample: PadSample, modality: str) -> NDArray[np.uint8]:
    """What one camera saw: (H, W, 3) colour, (H, W, 1) depth or infrared. O(pixels).

    Raises:
        DataError: the file is missing or damaged.
    """
    path = sample.images[modality]
    if modality == "rgb":
        return read_rgb(path, sample.frame)
    if modality == "depth":
        return depth_pixels(read_depth(path, sample.frame))
    return ir_pixels(read_ir(path, sample.frame, modality=modality))


def depth_pixels(depth: DepthMap) -> NDArray[np.uint8]:
    """(H, W, 1), 255 where nearest, 0 without a return: metric by `depth_picture`, relative as it is."""
    return (depth_picture(depth.values) if depth.is_metric else depth.values)[..., None]


def ir_pixels(ir: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] -> (H, W, 1)."""
    return np.rint(ir * 255).astype(np.uint8)[..., None]


def joint_fingerprint(parts: Sequence[PadImages]) -> str:
    """Of several sets together."""
    return hashlib.sha256(":".join(p.fingerprint for p in parts).encode()).hexdigest()[:12]
