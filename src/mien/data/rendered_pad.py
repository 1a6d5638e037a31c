"""Made anti-spoofing data: live faces and attacks in colour, depth and infrared, cropped to the face.

Subjects and devices of training, development and test never overlap. The pictures are drawn once into
``$MIEN_HOME/data/<fingerprint>`` (resumable), then read from arrays.
"""

from __future__ import annotations

import hashlib
import io as streams
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core import io
from mien.core.seeds import derive
from mien.data.pad_images import MODALITIES, PadArrays, PadLabels, PadSplits
from mien.synth.made_sets import PadSet
from mien.synth.maker import make, mark_of, read_samples

PRINTS = ("print_flat", "print_bent", "print_cut")
SCREENS = ("replay",)
MASKS = ("mask_paper", "mask_plaster", "mask_resin", "mask_silicone", "mask_latex")
EQUAL_PARTS = 5 * PRINTS + 15 * SCREENS + 3 * MASKS
"""Species of a made set: prints, screens and masks in equal parts."""
NOTE = "made people: live faces, prints, screens and masks in colour, depth and infrared"
CROP = 1.15
"""Side of the crop, as a multiple of the longer side of the face's box."""


@dataclass(frozen=True)
class PadPlan:
    """Sizes of a rendered set.

    Attributes:
        subjects: people of (train, dev, test).
        each: samples of each person of (train, dev, test).
        devices: cameras of (train, dev, test), all different.
        size: pixels a side of a crop.
        seed: of everybody.
    """

    subjects: tuple[int, int, int] = (150, 50, 100)
    each: tuple[int, int, int] = (16, 12, 15)
    devices: tuple[int, int, int] = (4, 2, 3)
    size: int = 64
    seed: int = 0

    def sets(self) -> dict[str, PadSet]:
        """The made sets: train, dev, test, and ``seen``: the test people before the training devices."""
        first, camera = self._starts()
        rows = {"train": (0, 0), "dev": (1, 1), "test": (2, 2), "seen": (2, 0)}
        out = {}
        for name, (who, by) in rows.items():
            each = self.each[who] if name != "seen" else max(2, self.each[who] // 2)
            out[name] = self._set(self.subjects[who], each, self.devices[by], first[who], camera[by])
        return out

    def further(self, people: int) -> PadSet:
        """People that are in none of the sets, before the test devices, each as often as a test person."""
        first, camera = self._starts()
        return self._set(people, self.each[2], self.devices[2], first[3], camera[2])

    def _starts(self) -> tuple[list[int], list[int]]:
        """Number of the first person and camera of train, dev, test, and of what comes after."""
        return np.cumsum([0, *self.subjects]).tolist(), np.cumsum([0, *self.devices]).tolist()

    def _set(self, people: int, each: int, devices: int, first: int, camera: int) -> PadSet:
        return PadSet(
            people, each, round(1.5 * self.size), self.seed, 0.5, devices, EQUAL_PARTS, first, camera
        )


def rendered_pad(
    plan: PadPlan, workers: int = 0, done: Callable[[int, int], None] = lambda n, of: None
) -> PadSplits:
    """The set of a plan, drawn when it is first asked for (0.1 s of a core a sample).

    Args:
        plan: sizes.
        workers: processes that draw; 0: all cores.
        done: called with (finished, all) identities while drawing.

    Raises:
        DataError: the cache holds something else.
    """
    made = {name: presentations(s, plan.size, workers, done) for name, s in plan.sets().items()}
    joined = ":".join(s.fingerprint for s in made.values())
    mark = hashlib.sha256(joined.encode()).hexdigest()[:12]
    return PadSplits(made["train"], made["dev"], made["test"], mark, {"seen": made["seen"]}, note=NOTE)


def seeds_of(settings: PadSet, labels: PadLabels) -> NDArray[np.int64]:
    """(N,) of whom each presentation of a made set shows, as `mien.synth.portraits.make_face` takes it."""
    known = {name: derive(settings.seed, "identity", int(name[1:])) for name in np.unique(labels.subjects)}
    return np.array([known[name] for name in labels.subjects], np.int64)


def kept_at(settings: PadSet, size: int) -> Path:
    """Where the crops of a set lie once they are drawn."""
    return io.home() / "data" / f"{mark_of(settings, crop=[CROP, size])}.npz"


def is_drawn(plan: PadPlan) -> bool:
    """Whether `rendered_pad` would read, and not draw for minutes."""
    return all(kept_at(s, plan.size).is_file() for s in plan.sets().values())


def crop_face(
    picture: NDArray[np.uint8], box: tuple[int, int, int, int], size: int, scale: float = CROP
) -> NDArray[np.uint8]:
    """A square around a face's box, moved inside the picture, resampled to ``size``.

    Args:
        picture: (H, W) or (H, W, 3).
        box: left, top, right, bottom, pixels.
        size: pixels a side of the result.
        scale: side of the square as a multiple of the box's longer side, at most what the picture has.
    """
    height, width = picture.shape[:2]
    left, top, right, bottom = box
    side = min(scale * max(right - left, bottom - top), height, width)
    x = min(max((left + right - side) / 2, 0), width - side)
    y = min(max((top + bottom - side) / 2, 0), height - side)
    image = Image.fromarray(picture)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, (x, y, x + side, y + side)))


def presentations(
    settings: PadSet, size: int, workers: int = 0, done: Callable[[int, int], None] = lambda n, of: None
) -> PadArrays:
    """The crops of one set of a plan, drawn when they are first asked for.

    Args:
        settings: of `PadPlan.sets`.
        size: pixels a side of a crop.
        workers: processes that draw; 0: all cores.
        done: called with (finished, all) identities while drawing.

    Raises:
        DataError: the cache holds something else.
    """
    table = kept_at(settings, size)
    if not table.is_file():
        folder = table.with_suffix("")
        make(settings, folder, workers or os.cpu_count() or 1, True, done)
        _assemble(folder, size, table)
    with np.load(table, allow_pickle=False) as file:
        text = {name: file[name] for name in ("species", "subjects", "devices")}
        labels = PadLabels(**text, keys=file["keys"])
        return PadArrays({m: file[m] for m in MODALITIES}, labels, table.stem)


def _assemble(folder: Path, size: int, table: Path) -> None:
    """All samples of a set as arrays of crops. Memory O(samples size^2)."""
    rows: dict[str, list[Any]] = {
        name: [] for name in (*MODALITIES, "species", "subjects", "devices", "keys")
    }
    for _, files in read_samples(folder):
        label = json.loads(files["json"])
        for modality, file in zip(MODALITIES, ("png", "depth.png", "ir.png"), strict=True):
            picture = np.asarray(Image.open(streams.BytesIO(files[file])))
            rows[modality].append(crop_face(picture, tuple(label["box"]), size))
        rows["species"].append(label["species"])
        rows["subjects"].append(f"s{label['subject']:06d}")
        rows["devices"].append(f"d{label['device']:03d}")
        rows["keys"].append(label["subject"] * 10_000 + label["sample"])
    rows["keys"] = [np.uint64(k) for k in rows["keys"]]
    with io.new_file(table) as part, part.open("wb") as stream:
        arrays: dict[str, Any] = {n: np.stack(v) if n in MODALITIES else np.array(v) for n, v in rows.items()}
        np.savez(stream, **arrays)
