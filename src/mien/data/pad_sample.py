"""Anti-spoofing data as lists: a sample is one frame of one presentation, seen by one to four cameras."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.core.seeds import derive, keys_of, uniform

MODALITIES = ("rgb", "depth", "ir", "thermal")
"""Names of the cameras, in the order in which a sample holds its images."""
LIVE = "live"
CLIP_SUFFIXES = (".avi", ".mov", ".mp4", ".mkv", ".m4v", ".hdf5", ".h5")
"""Endings of files that hold all frames of a presentation."""


@dataclass(frozen=True)
class PadSample:
    """One frame of one presentation.

    A file with a `CLIP_SUFFIXES` ending holds many frames; ``frame`` then says which: "" the first, a number,
    or "@p", the place p in [0, 1] of the way through it. It is decoded on demand (`mien.data.pad_clips`).

    Attributes:
        images: camera -> file, those that exist, in the order of `MODALITIES`.
        label_live: 1 bona fide, 0 attack.
        pai: "live", or the instrument of the attack.
        subject: who presents; unique in the set.
        device: camera.
        session: of the recording.
        scene: background, light, or how the instrument is held.
        video_id: of the presentation; unique in the set.
        frame: which frame of it.

    Raises:
        DataError: no image, an unknown camera, or a label that contradicts ``pai``.
    """

    images: Mapping[str, Path]
    label_live: int
    pai: str
    subject: str = ""
    device: str = ""
    session: str = ""
    scene: str = ""
    video_id: str = ""
    frame: str = ""

    def __post_init__(self) -> None:
        """Orders the images and checks the labels."""
        where = self.video_id or next((str(p) for p in self.images.values()), "sample")
        if unknown := set(self.images) - set(MODALITIES):
            raise DataError(f"{where}: unknown camera {min(unknown)!r}; there are {', '.join(MODALITIES)}")
        if not self.images:
            raise DataError(f"{where}: a sample without an image; name one of {', '.join(MODALITIES)}")
        if self.label_live not in (0, 1) or (self.pai == LIVE) != (self.label_live == 1):
            raise DataError(f"{where}: label_live={self.label_live} contradicts the instrument {self.pai!r}")
        ordered = {m: Path(self.images[m]) for m in MODALITIES if m in self.images}
        object.__setattr__(self, "images", ordered)


@dataclass(frozen=True)
class PadList:
    """The samples of one split of one protocol.

    Attributes:
        name: of the set.
        protocol: of the set, with its sub-protocol.
        split: "train", "dev" or "test".
        samples: frames, those of a video in their order.
        note: what a reader should know, or nothing.
    """

    name: str
    protocol: str
    split: str
    samples: tuple[PadSample, ...]
    note: str = ""

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The cameras that every sample has."""
        return tuple(m for m in MODALITIES if self.samples and all(m in s.images for s in self.samples))

    @property
    def live(self) -> NDArray[np.bool_]:
        """(N,) which samples are bona fide."""
        return np.array([s.label_live == 1 for s in self.samples], np.bool_)

    @property
    def pai(self) -> NDArray[np.str_]:
        """(N,) instrument of each sample, "live" for bona fide."""
        return np.array([s.pai for s in self.samples], np.str_)

    @property
    def video_ids(self) -> tuple[str, ...]:
        """(N,) presentation of each sample."""
        return tuple(s.video_id for s in self.samples)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Who is in it, sorted; without those that have no name."""
        return tuple(sorted({s.subject for s in self.samples} - {""}))

    def species(self, *, videos: bool = False) -> dict[str, int]:
        """Frames (or presentations) of each instrument, "live" first, the others sorted."""
        pairs: Iterable[tuple[str, str]] = ((s.pai, s.video_id) for s in self.samples)
        counts = Counter(p for p, _ in (dict.fromkeys(pairs) if videos else pairs))
        return {p: counts[p] for p in sorted(counts, key=lambda p: (p != LIVE, p))}

    @property
    def fingerprint(self) -> str:
        """Hash of names and labels (not of pixels, nor of the folder the copy lies in)."""
        digest = hashlib.sha256(f"{self.name}\x1f{self.protocol}\x1f{self.split}".encode())
        for s in self.samples:
            row = (s.video_id, s.frame, str(s.label_live), s.pai, s.subject, *s.images)
            digest.update("\x1f".join(row).encode("utf-8", "surrogateescape") + b"\n")
        return digest.hexdigest()[:16]


def frames_by_video(samples: Sequence[PadSample]) -> dict[str, tuple[int, ...]]:
    """Presentation -> places of its frames, in the order of the list. A sample without an id is its own."""
    places: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        places.setdefault(sample.video_id or f"\0{i}", []).append(i)
    return {video: tuple(at) for video, at in places.items()}


def train_frames(pads: PadList, seed: int, epoch: int, k: int = 1) -> PadList:
    """K random frames of each presentation, drawn anew each epoch.

    What is drawn is a function of (seed, epoch, video, frame): order and workers change nothing. Of a clip
    file, one frame is drawn from each K-th of it. O(N log N).

    Args:
        pads: all frames.
        seed: of the run.
        epoch: which pass.
        k: frames of each presentation; all of one that has fewer.

    Raises:
        ConfigError: ``k`` is not positive.
    """
    _check_k(k)
    stream, chosen = derive(seed, "pad frames", epoch), list[PadSample]()
    names = [f"{s.video_id}\x1f{s.frame}" for s in pads.samples]
    draws = uniform(stream, keys_of(names), k)
    for places in frames_by_video(pads.samples).values():
        first = pads.samples[places[0]]
        if len(places) == 1 and _is_clip(first):
            at = [(j + float(u)) / k for j, u in enumerate(draws[places[0]])]
            chosen += [replace(first, frame=f"@{p:.6f}") for p in at]
        else:
            ranked = sorted(places, key=lambda i: (float(draws[i, 0]), i))[:k]
            chosen += [pads.samples[i] for i in sorted(ranked)]
    return replace(pads, samples=tuple(chosen))


def eval_frames(pads: PadList, k: int = 2) -> PadList:
    """K frames of each presentation, evenly spaced from the first to the last (2: the first and the last).

    Args:
        pads: all frames.
        k: frames of each presentation; all of one that has fewer.

    Raises:
        ConfigError: ``k`` is not positive.
    """
    _check_k(k)
    chosen: list[PadSample] = []
    for places in frames_by_video(pads.samples).values():
        first = pads.samples[places[0]]
        if len(places) == 1 and _is_clip(first):
            steps = np.linspace(0, 1, k)
            chosen += [replace(first, frame=f"@{p:.6f}") for p in steps]
        else:
            at = np.unique(np.linspace(0, len(places) - 1, min(k, len(places))).round().astype(int))
            chosen += [pads.samples[places[int(j)]] for j in at]
    return replace(pads, samples=tuple(chosen))


def video_scores(scores: ArrayLike, video_ids: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Mean score of the frames of each presentation: s_v = (1 / n_v) sum_{i in v} s_i. O(N).

    Args:
        scores: (N,) of frames.
        video_ids: (N,) presentation of each.

    Returns:
        The presentations, in the order of their first frames, and their scores (V,).

    Raises:
        ShapeError: another number of scores than of ids.
        DataError: a score is NaN.
    """
    s = np.asarray(scores, np.float64)
    if s.shape != (len(video_ids),):
        raise ShapeError(f"scores: expected ({len(video_ids)},), one for each frame, got {s.shape}")
    if np.isnan(s).any():
        raise DataError(
            f"{int(np.isnan(s).sum())} of {len(s)} scores are NaN; leave out frames without a score"
        )
    number: dict[str, int] = {}
    at = np.array([number.setdefault(v, len(number)) for v in video_ids], np.int64)
    total, count = np.bincount(at, s, len(number)), np.bincount(at, minlength=len(number))
    return tuple(number), total / np.maximum(count, 1)


def joined(name: str, protocol: str, split: str, lists: Sequence[PadList]) -> PadList:
    """Several sets as one; videos and subjects get the name of their set in front.

    Raises:
        ConfigError: no lists.
    """
    if not lists:
        raise ConfigError(f"{name}: no sets to join; name at least one")
    samples = tuple(
        replace(s, video_id=f"{part.name}/{s.video_id}", subject=s.subject and f"{part.name}/{s.subject}")
        for part in lists
        for s in part.samples
    )
    return PadList(name, protocol, split, samples, "; ".join(filter(None, (p.note for p in lists))))


def _is_clip(sample: PadSample) -> bool:
    return all(p.suffix.lower() in CLIP_SUFFIXES for p in sample.images.values())


def _check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(f"k={k} frames of each video; give 1 or more")
