"""The three parts of a surveillance set: made, or read from the user's copy of SuHiFiMask."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.core.config import hash_dict
from mien.core.errors import DataError
from mien.core.seeds import derive
from mien.data.surveil_config import SurveilData
from mien.data.surveil_images import SurveilImages
from mien.data.surveil_pictures import is_drawn, load_suhifimask, rendered_suhifimask, squeezed
from mien.synth.surveil_frames import Track, track_frames
from mien.synth.surveil_set import SurveilSet

NOTE = "made people before made surveillance cameras"
SPLITS = ("train", "dev", "test")
DEBUG_COUNTS = (48, 48, 48)
_LEAST_DRAWN = 32  # pixels a side of the smallest made set
_UNSEEN = 900_001  # seed of people and places that no made set has
_FRAMES = 3  # of a track of the debug set


@dataclass(frozen=True, eq=False)
class SurveilSplits:
    """Pictures to train on, to choose thresholds on, and to test on.

    Attributes:
        fingerprint: hex digits that change when any of them does.
        note: what they are, in words.
        real: whether cameras took them.
    """

    train: SurveilImages
    dev: SurveilImages
    test: SurveilImages
    fingerprint: str
    note: str
    real: bool = False

    def get(self, name: str) -> SurveilImages:
        """The pictures of one split.

        Raises:
            DataError: no such split.
        """
        if name not in SPLITS:
            raise DataError(f"no split {name!r}; there are {', '.join(SPLITS)}")
        found: SurveilImages = getattr(self, name)
        return found


def read_surveil(data: SurveilData) -> SurveilSplits:
    """The pictures of a config; a made copy is drawn when it is first asked for.

    Raises:
        ConfigError: no root.
        DataError: the copy is missing or damaged, or a split has only live faces or only attacks.
    """
    if data.kind == "debug":
        counts = data.counts or DEBUG_COUNTS
        train, dev, test = (debug_surveil(data, s, n) for s, n in zip(SPLITS, counts, strict=True))
        splits = joined(train, dev, test, "made noise")
    elif data.kind == "rendered":
        root = rendered_suhifimask(made_set(data), os.cpu_count() or 1)
        train, dev, test = read_parts(root, data)
        mark = hash_dict([root.name, data.protocol, data.size])
        splits = SurveilSplits(train, dev, test, mark, f"{NOTE}, {data.protocol}")
    else:
        parts = read_parts(data.require_root(), data)
        splits = joined(*parts, f"SuHiFiMask, {data.protocol}", real=True)
    for name in SPLITS:
        live = splits.get(name).live
        if not 0 < live.sum() < len(live):
            raise DataError(f"{name} of {data.kind} {data.protocol}: {live.sum()} live faces of {len(live)}")
    return splits


def joined(
    train: SurveilImages, dev: SurveilImages, test: SurveilImages, note: str, *, real: bool = False
) -> SurveilSplits:
    """Three parts with their common fingerprint."""
    text = ":".join(s.fingerprint() for s in (train, dev, test))
    return SurveilSplits(train, dev, test, hashlib.sha256(text.encode()).hexdigest()[:16], note, real)


def read_parts(root: Path, data: SurveilData) -> tuple[SurveilImages, SurveilImages, SurveilImages]:
    """Train, dev and test of a folder in the layout of SuHiFiMask, each picture ``data.size`` a side."""
    train, dev, test = (load_suhifimask(root, data.protocol, split, data.size) for split in SPLITS)
    return train, dev, test


def made_set(data: SurveilData) -> SurveilSet:
    """What is drawn for a config."""
    return SurveilSet(size=max(_LEAST_DRAWN, data.size), seed=data.set_seed)


def are_made(data: SurveilData) -> bool:
    """Whether `read_surveil` would read, and not draw for minutes."""
    return data.kind != "rendered" or is_drawn(made_set(data))


def demo_pictures(data: SurveilData, tracks: int = 5, frames: int = 5) -> SurveilImages:
    """Tracks of live faces, then of attacks, that no made set has; drawn now, some 50 ms a picture.

    Args:
        data: the set whose size is taken.
        tracks: of live faces, and as many of attacks of different kinds.
        frames: of each.
    """
    size = max(_LEAST_DRAWN, data.size)
    labels = [0] * tracks + [1 + k % 9 for k in range(tracks)]
    rows, pictures = [], []
    for n, label in enumerate(labels):
        seed = derive(_UNSEEN, "demo", n)
        scene, camera = 1 + n * 7 % 40, 1 + n % 7
        track = Track(label, seed, derive(seed, "shown"), scene, camera, seed, derive(seed, "lasting"))
        for frame in track_frames(track, frames, size):
            pictures.append(squeezed(frame.picture, data.size))
            rows.append((label, n, n + 1, camera, scene, frame.number, 1 - frame.record["severity"]))
    columns = np.array(rows).T
    label, track_number, subject, camera_number, scene_number, number = columns[:6].astype(np.int64)
    return SurveilImages(
        np.stack(pictures), label, label == 0, track_number, subject, camera_number, scene_number, number,
        columns[6], np.array([f"demo/{k}.jpg" for k in range(len(rows))]),
    )  # fmt: skip


def debug_surveil(data: SurveilData, name: str, count: int) -> SurveilImages:
    """Soft blots, attacks with a fine grid over them, then degraded by 1 - quality: for checks only."""
    from scipy.ndimage import gaussian_filter

    from mien.synth import surveil

    rng = np.random.default_rng(derive(data.set_seed, "debug surveil", name))
    tracks = np.arange(count) // _FRAMES
    label = np.where(tracks % 2 == 0, 0, 1 + (tracks // 2) % 9)
    quality = rng.uniform(0.1, 1.0, count)
    grid = 40.0 * (np.indices((data.size, data.size)).sum(0) % 4 < 2)[..., None]
    pictures = []
    for k in range(count):
        seed = int(rng.integers(2**31))
        blots = gaussian_filter(rng.normal(0, 1, (data.size, data.size, 3)), (4, 4, 0))
        clean = 110 + 500 * blots + grid * (label[k] > 0)
        pictures.append(surveil(clean.clip(0, 255).astype(np.uint8), 1 - quality[k], seed=seed)[0])
    numbers = np.arange(count, dtype=np.int64)
    return SurveilImages(
        np.stack(pictures), label.astype(np.int64), label == 0, tracks + derive(0, name) % 1000 * 10_000,
        1 + tracks % 20, 1 + tracks % 7, 1 + tracks % 40, 1 + numbers % _FRAMES, quality,
        np.array([f"{name}/{k}.jpg" for k in numbers]),
    )  # fmt: skip
