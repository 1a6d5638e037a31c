"""SuHiFiMask in memory: pictures of one size and what is known of them, of the real set or its made twin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core import io
from mien.core.errors import DataError, MienError
from mien.core.images import read_image
from mien.core.seeds import keys_of
from mien.data.suhifimask import SuHiFiMask, SurveilSample
from mien.data.surveil_images import SurveilImages
from mien.metrics.quality import quality_scores
from mien.synth.maker import mark_of
from mien.synth.surveil_set import VERSION, SurveilSet, make_suhifimask, plan

TRUTH = "truth.jsonl"
"""Beside ``Data`` of a made set: a record for each picture, among them its ``quality``."""
log = logging.getLogger(__name__)


class Unreadable(NamedTuple):
    """A listed picture that cannot be read, and why."""

    sample: SurveilSample
    reason: str


def load_suhifimask(
    root: str | Path, protocol: str = "p3", split: str = "test", size: int = 48, *, skip_damaged: bool = False
) -> SurveilImages:
    """The pictures of one split as arrays. Memory O(N size^2).

    Each picture is squeezed to ``size`` x ``size`` by one fixed kernel: Pillow's bilinear, a triangle whose
    width grows with the reduction; pictures that have the size already stay as they are. The quality is that
    of ``truth.jsonl`` where the set has one (1 - severity), else q of `mien.metrics.quality_score`, of the
    picture as it is in its file.

    Args:
        root: the set's folder, or the one that holds it.
        protocol: see `SuHiFiMask`.
        split: train, dev or test.
        size: pixels a side.
        skip_damaged: leave out pictures that cannot be read, with a warning for each, instead of refusing.

    Raises:
        ConfigError: no such protocol or split.
        DataError: lists or pictures are missing or damaged, or none can be read.
    """
    samples = SuHiFiMask(root, protocol, split)
    pictures: list[NDArray[np.uint8]] = []
    kept: list[SurveilSample] = []
    quality: list[float] = []
    known = known_quality(samples.root)
    damaged: list[Unreadable] = []
    for sample, image in _read(samples, damaged):
        pictures.append(squeezed(image, size))
        kept.append(sample)
        quality.append(known[sample.listed] if sample.listed in known else _score(image))
    _report(samples, damaged, skip_damaged)
    if not kept:
        raise DataError(f"{samples.root}: no picture of {protocol} {split} can be read; complete the set")
    told = ("label", "live", "subject", "camera", "scene", "frame")
    return SurveilImages(
        pictures=np.stack(pictures),
        track=track_numbers(kept),
        quality=np.array(quality, np.float64),
        paths=np.array([s.listed for s in kept]),
        **{name: np.array([getattr(s, name) for s in kept]) for name in told},
    )


def _read(
    samples: Sequence[SurveilSample], damaged: list[Unreadable]
) -> Iterator[tuple[SurveilSample, NDArray[np.uint8]]]:
    """Pictures that can be read; the others go to ``damaged``."""
    for sample in samples:
        try:
            yield sample, read_image(sample.path)
        except MienError as error:
            damaged.append(Unreadable(sample, str(error)))


def _report(samples: SuHiFiMask, damaged: Sequence[Unreadable], skip: bool) -> None:
    for one in damaged:
        log.warning(f"left out: {one.reason}")
    if damaged and not skip:
        raise DataError(
            f"{samples.root}: {len(damaged)} of {len(samples)} pictures of {samples.protocol} {samples.split}"
            f" cannot be read, first: {damaged[0].reason}"
        )


def unreadable(samples: Sequence[SurveilSample]) -> list[Unreadable]:
    """Which pictures cannot be read, all of them. O(bytes)."""
    damaged: list[Unreadable] = []
    for _ in _read(samples, damaged):
        pass
    return damaged


def squeezed(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) as (size, size, 3) by Pillow's bilinear kernel."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def _score(image: NDArray[np.uint8]) -> float:
    """Quality of a picture; of one below 12 pixels a side: 0."""
    return float(quality_scores(image[None]).q[0]) if min(image.shape[:2]) >= 12 else 0.0


def track_numbers(samples: Sequence[SurveilSample]) -> NDArray[np.int64]:
    """(N,) a stable number of each track: a hash of its video and number, the same in every split."""
    return numbers_of_tracks([(s.video, s.track) for s in samples])


def numbers_of_tracks(tracks: Sequence[tuple[str, int | None]]) -> NDArray[np.int64]:
    """(N,) the same of (video, k of its folder ``id_k``)."""
    return (keys_of([f"{video}/id_{k}" for video, k in tracks]) >> np.uint64(1)).astype(np.int64)


def faces_of_tracks(settings: SurveilSet) -> dict[int, int]:
    """Number of a made track -> seed of whose face is seen: who stands there, or whom an instrument shows."""
    rows = [(v.name, k, t) for v in plan(settings) for k, t in zip(v.numbers, v.tracks, strict=True)]
    numbers = numbers_of_tracks([(name, k) for name, k, _ in rows]).tolist()
    seeds = [t.shown if t.label else t.person for *_, t in rows]
    return dict(zip(numbers, seeds, strict=True))


def known_quality(place: Path) -> dict[str, float]:
    """Listed path -> quality, of a set with `TRUTH`; empty for others.

    Raises:
        DataError: a line without path or quality.
    """
    out: dict[str, float] = {}
    for number, row in enumerate(io.read_lines(place / TRUTH), 1):
        if not isinstance(row.get("path"), str) or not isinstance(row.get("quality"), (int, float)):
            raise DataError(f"{place / TRUTH}:{number}: no path and quality; make the set again")
        out[row["path"]] = float(row["quality"])
    return out


def rendered_suhifimask(
    settings: SurveilSet | None = None,
    workers: int = 1,
    done: Callable[[int, int], None] = lambda n, of: None,
) -> Path:
    """Folder of the made twin, drawn when it is first asked for into ``$MIEN_HOME/data`` (resumable).

    Args:
        settings: of the set; default `SurveilSet` as it is.
        workers: processes that draw.
        done: called with (finished, all) videos while drawing.
    """
    settings = settings or SurveilSet()
    folder = rendered_folder(settings)
    if not is_drawn(settings):
        make_suhifimask(settings, folder, workers, done)
    return folder


def rendered_folder(settings: SurveilSet) -> Path:
    """Where a made twin lies."""
    return io.home() / "data" / f"suhifimask-{mark_of(settings, version=VERSION)[:12]}"


def is_drawn(settings: SurveilSet) -> bool:
    """Whether `rendered_suhifimask` would read, and not draw for minutes."""
    return (rendered_folder(settings) / "card.md").is_file()
