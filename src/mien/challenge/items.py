"""What a challenge is made of: pictures with what the organisers know of each, from SuHiFiMask or a table."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.core import io
from mien.core.config import suggest
from mien.core.errors import DataError

SPLITS = ("train", "dev", "test")
SMALLEST = 12
"""Pixels of a side from which on a picture has a quality."""
RENDERED = "rendered"
COLUMNS = ("split", "path", "label", "track", "camera", "scene", "quality")


@dataclass(frozen=True)
class Item:
    """One picture.

    Attributes:
        path: the file.
        label: 0 live, 1, 2, ... kinds of attack.
        track: names the face track; frames of one track are not independent.
        camera: name.
        scene: name.
        quality: larger is better.
    """

    path: Path
    label: int
    track: str
    camera: str = ""
    scene: str = ""
    quality: float = 0.0

    def __post_init__(self) -> None:
        if self.label < 0 or not math.isfinite(self.quality):
            raise DataError(
                f"{self.path}: label {self.label} or quality {self.quality} is no number of its kind"
            )

    @property
    def live(self) -> bool:
        """Whether the label is 0."""
        return self.label == 0


Splits = Mapping[str, Sequence[Item]]


def picture_quality(path: Path) -> float:
    """The number q of `mien.metrics.quality_score`; 0 for what is too small to measure. O(pixels).

    Reconstruction: how the protocol's authors measured quality is not known.
    """
    from mien.core.images import read_image
    from mien.metrics import quality_score  # type: ignore[attr-defined]

    image = read_image(path)
    return float(quality_score(image)["q"]) if min(image.shape[:2]) >= SMALLEST else 0.0


def suhifimask_items(
    root: str | Path, protocol: str = "p3", quality: Callable[[Path], float] = picture_quality
) -> dict[str, list[Item]]:
    """The pictures of a protocol of SuHiFiMask. A track is (video folder, number of the track in it).

    Args:
        root: the data set's folder.
        protocol: p1, p2.1 .. p2.4, p3 and others the reader knows.
        quality: of a picture; it is looked at for dev and test only.
    """
    from mien.data import SuHiFiMask  # type: ignore[attr-defined]

    def item(sample: Any, split: str) -> Item:
        path: Path = sample.path
        return Item(
            path=path,
            label=int(sample.label),
            track=f"{path.parent.parent.name}/{sample.track}",
            camera=f"C{sample.camera}",
            scene=f"S{sample.scene}",
            quality=0.0 if split == "train" else quality(path),
        )

    return {
        split: [item(s, split) for s in SuHiFiMask(root, protocol=protocol, split=split, level="image")]
        for split in SPLITS
    }


def table_items(path: str | Path) -> dict[str, list[Item]]:
    """A lab's own pictures from a CSV with the columns of `COLUMNS`; the last three may be absent.

    Args:
        path: of the table; relative paths in it start at its folder.

    Raises:
        DataError: a column is missing or unknown, or a line does not fit.
    """
    path = Path(path)
    reader = csv.DictReader(io.read_text(path).splitlines())
    head = reader.fieldnames or ()
    for name in COLUMNS[:4]:
        if name not in head:
            raise DataError(f"{path}: no column {name!r}; want {','.join(COLUMNS)}")
    out: dict[str, list[Item]] = {split: [] for split in SPLITS}
    for split, item in _rows(path, reader):
        out[split].append(item)
    return out


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[tuple[str, Item]]:
    for number, row in enumerate(reader, 2):
        split = row["split"]
        try:
            if split not in SPLITS:
                raise ValueError(f"no split {split!r}{suggest(str(split), list(SPLITS))}")
            yield (
                split,
                Item(
                    path=path.parent / row["path"],
                    label=int(row["label"]),
                    track=row["track"],
                    camera=row.get("camera") or "",
                    scene=row.get("scene") or "",
                    quality=float(row.get("quality") or 0.0),
                ),
            )
        except (ValueError, TypeError, DataError) as error:
            raise DataError(f"{path}:{number}: {error}") from None


def items_of(dataset: str | Path, protocol: str) -> Splits:
    """From a table (a ``.csv`` file), from SuHiFiMask's folder, or from its made twin.

    Args:
        dataset: file or folder; or the text `RENDERED`, the made twin that trainings read too, drawn when it
            is first asked for (a folder of that name is ``./rendered``).
        protocol: of SuHiFiMask; only a name where ``dataset`` is a table.
    """
    if dataset == RENDERED:
        import os

        from mien.data.surveil_pictures import rendered_suhifimask

        dataset = rendered_suhifimask(workers=os.cpu_count() or 1)
    if Path(dataset).suffix.lower() == ".csv":
        return table_items(dataset)
    return suhifimask_items(dataset, protocol)
