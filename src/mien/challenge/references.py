"""The hidden side of a challenge: what each anonymous picture is.

``dev.csv`` and ``test.csv`` have one line for each picture, in the order of the public lists:
``path,label,track,camera,scene,quality``. Label 0 is live and 1, 2, ... are kinds of attack (the public lists
say live 1, attack 0); tracks are numbers.
"""

from __future__ import annotations

import csv
import io as streams
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core import io
from mien.core.errors import DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
COLUMNS = ("path", "label", "track", "camera", "scene", "quality")


@dataclass(frozen=True)
class Part:
    """One list of a challenge with its hidden labels.

    Attributes:
        names: anonymous paths, in order.
        label: (n,) 0 for live faces, 1, 2, ... for kinds of attack.
        track: (n,) numbers; frames of one track are not independent.
        camera: (n,) names.
        scene: (n,) names.
        quality: (n,) larger is better.
    """

    names: tuple[str, ...]
    label: Ints
    track: Ints
    camera: NDArray[np.str_]
    scene: NDArray[np.str_]
    quality: Floats

    def __post_init__(self) -> None:
        sizes = {len(v) for v in (self.names, *self.columns())}
        if len(sizes) != 1:
            raise DataError(f"columns of a reference differ in length: {sorted(sizes)}")
        if len(set(self.names)) != len(self.names):
            raise DataError("a path is twice in a reference")
        if not len(self.names) or not (self.label == 0).any() or not (self.label > 0).any():
            raise DataError(f"{len(self.names)} pictures of one class; rates need live faces and attacks")
        if (self.label < 0).any() or not np.isfinite(self.quality).all():
            raise DataError("labels of a reference are 0, 1, 2, ... and qualities finite numbers")

    def columns(self) -> tuple[NDArray[np.generic], ...]:
        """All but the names."""
        return self.label, self.track, self.camera, self.scene, self.quality

    @property
    def live(self) -> NDArray[np.bool_]:
        """(n,) true for live faces."""
        return np.asarray(self.label == 0)

    def by_track(self) -> tuple[Part, Ints]:
        """One entry for each track (and label, where a track shows several), and (n,) the entry of each line.

        Camera and scene are those of the first frame, quality is the mean. O(n log n).
        """
        keys = np.stack([self.track, self.label], 1)
        _, first, entry = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        entry = entry.reshape(-1).astype(np.int64)
        part = Part(
            names=tuple(self.names[k] for k in first),
            label=self.label[first],
            track=self.track[first],
            camera=self.camera[first],
            scene=self.scene[first],
            quality=means(self.quality, entry),
        )
        return part, entry


def means(values: Floats, entry: Ints) -> Floats:
    """(k,) mean of the values of each entry. O(n)."""
    return np.asarray(np.bincount(entry, values) / np.bincount(entry), np.float64)


@dataclass(frozen=True)
class Reference:
    """Both lists; test is None for a development phase that stands alone."""

    dev: Part
    test: Part | None

    @classmethod
    def read(cls, folder: str | Path) -> Reference:
        """From ``reference/`` of a challenge, or the challenge's own folder.

        Raises:
            DataError: missing or damaged, with the line.
        """
        place = Path(folder)
        if not (place / "dev.csv").exists() and (place / "reference").is_dir():
            place = place / "reference"
        if not (place / "dev.csv").exists():
            raise DataError(f"{folder}: no reference here (dev.csv); mien challenge init makes one")
        test = place / "test.csv"
        return cls(read_part(place / "dev.csv"), read_part(test) if test.exists() else None)


def part_text(part: Part) -> str:
    """The CSV of a part."""
    stream = streams.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    columns = [column.tolist() for column in part.columns()]
    writer.writerows(zip(part.names, *columns, strict=True))
    return stream.getvalue()


def read_part(path: Path) -> Part:
    """A part from its CSV. O(n).

    Raises:
        DataError: another header, a line that does not fit, one class only.
    """
    text = io.read_text(path)
    try:
        return _part_of(list(csv.reader(text.splitlines())))
    except (ValueError, csv.Error, OverflowError) as error:
        raise DataError(f"{path}: not a reference ({error}); restore the file") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _part_of(rows: Sequence[Sequence[str]]) -> Part:
    if not rows or tuple(rows[0]) != COLUMNS:
        raise ValueError(f"want the columns {','.join(COLUMNS)}")
    names, label, track, camera, scene, quality = zip(*rows[1:], strict=True) if rows[1:] else ((),) * 6
    return Part(
        names=tuple(names),
        label=np.array(list(map(int, label)), np.int64),
        track=np.array(list(map(int, track)), np.int64),
        camera=np.array(camera, np.str_),
        scene=np.array(scene, np.str_),
        quality=np.array(list(map(float, quality)), np.float64),
    )
