"""Faces for graphics capsules, of a config: made ones with all truth, or real ones."""

from __future__ import annotations

import io as streams
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core import io
from mien.core.errors import ConfigError, DataError
from mien.data.bfm import BFM_SIDE, bfm_files
from mien.data.bp4d import BP4D_SIDE, bp4d_files
from mien.data.capsule_files import (
    CAPSULE_PARTS,
    CapsuleSet,
    FaceFile,
    Part,
    read_face_files,
    split_people,
    square,
)
from mien.data.celeba import celeba_files, celeba_side
from mien.data.config import CAPSULE_MADE, CapsuleData
from mien.data.multipie import MULTIPIE_SIDE, multipie_files
from mien.data.orl import EACH, PEOPLE, WIDTH, Orl
from mien.synth import capsule_set as made
from mien.synth.capsule_set import Heads3d, ParamHeadSet, unpacked
from mien.synth.maker import VERSION, make, mark_of, read_samples
from mien.synth.param_heads import PARTS

_LOOK = 1  # raised when the heads are drawn otherwise
_FILE = "heads.npz"


def capsule_set(
    data: CapsuleData, part: Part, done: Callable[[int, int], None] = lambda n, of: None
) -> CapsuleSet:
    """The training, validation or test pictures. Memory O(n size^2).

    Made heads are drawn when first asked for (0.2 s of a core a rendered person with five pictures, 0.1 s of
    formulas) and kept in ``$MIEN_HOME/data``.

    Args:
        data: which set.
        part: "train", "val" or "test".
        done: called with (finished, all) people while drawing.

    Raises:
        ConfigError: no such part, or no root where one is needed.
        DataError: files that cannot be read.
    """
    if part not in CAPSULE_PARTS:
        raise ConfigError(f"no part {part!r}; one of {', '.join(CAPSULE_PARTS)}")
    if data.kind in CAPSULE_MADE:
        return _made(data, part, done)
    if data.kind == "orl":
        return _orl(data, part)
    files, side = _files(data, part)
    return read_face_files(files, data.size, side, data.limit)


def is_drawn(data: CapsuleData) -> bool:
    """Whether the pictures are there, or would first be drawn."""
    return data.kind not in ("heads3d", "param") or (kept_at(head_settings(data)) / _FILE).is_file()


def head_settings(data: CapsuleData) -> Heads3d:
    """Everybody of a made set."""
    people = data.people + data.val_people + data.test_people
    if data.kind == "heads3d":
        return Heads3d(people, data.per_identity, data.size, data.set_seed)
    flags = dict.fromkeys(("hair", "glasses", "asymmetry"), data.hard)
    return ParamHeadSet(people, data.per_identity, data.size, data.set_seed, **flags)


def kept_at(settings: Heads3d) -> Path:
    """Where the pictures of a made set lie once they are drawn."""
    return io.home() / "data" / mark_of(settings, version=(VERSION, _LOOK))


def _made(data: CapsuleData, part: Part, done: Callable[[int, int], None]) -> CapsuleSet:
    settings, counts = head_settings(data), (data.people, data.val_people, data.test_people)
    where = CAPSULE_PARTS.index(part)
    first = sum(counts[:where])
    people = range(first, first + counts[where])
    if data.kind == "debug":
        samples = (sample.files for n in people for sample in settings.samples(n))
        held = _joined(samples)
    else:
        held = _kept(settings, data.workers, done)
        own = slice(first * data.per_identity, people.stop * data.per_identity)
        held = {name: values[own] for name, values in held.items()}
    view = unpacked(held)
    return CapsuleSet(
        view.image,
        np.repeat(np.arange(people.start, people.stop), data.per_identity),
        np.rad2deg(view.view[:, 1]),
        *view[1:],
        parts=made.PARTS if data.kind == "heads3d" else PARTS,
    )


def _kept(settings: Heads3d, workers: int, done: Callable[[int, int], None]) -> dict[str, NDArray[Any]]:
    """All arrays of a made set; drawn when they are not there.

    Raises:
        DataError: the file is damaged.
    """
    folder = kept_at(settings)
    if not (folder / _FILE).is_file():
        raw = folder.with_suffix(".raw")
        make(settings, raw, workers or os.cpu_count() or 1, True, done)
        held = _joined(files for _, files in read_samples(raw))
        with io.new_file(folder / _FILE) as part, part.open("wb") as stream:
            np.savez_compressed(stream, **held)  # type: ignore[arg-type]
        shutil.rmtree(raw)
        return held
    try:
        with np.load(folder / _FILE, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{folder / _FILE}: damaged ({error}); delete it, it is drawn again") from None
    if len(held["image"]) != settings.identities * settings.per_identity:
        raise DataError(
            f"{folder / _FILE}: holds {len(held['image'])} pictures; delete it, it is drawn again"
        )
    return held


def _joined(samples: Iterable[dict[str, bytes]]) -> dict[str, NDArray[Any]]:
    """The arrays of people one after another."""
    found: list[dict[str, NDArray[Any]]] = []
    for files in samples:
        with np.load(streams.BytesIO(files["npz"]), allow_pickle=False) as file:
            found.append({name: file[name] for name in file.files})
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _orl(data: CapsuleData, part: Part) -> CapsuleSet:
    faces = Orl()
    people = [int(n) for n in split_people([f"{n:02d}" for n in range(PEOPLE)], data.set_seed, part)]
    own = np.concatenate([np.arange(n * EACH, (n + 1) * EACH) for n in people])
    return CapsuleSet(np.stack([square(faces[int(k)][0], data.size, WIDTH) for k in own]), faces.labels[own])


def _files(data: CapsuleData, part: Part) -> tuple[list[FaceFile], int | None]:
    """Files of a part of the user's copy, and the square that is cut from each."""
    root = data.folder()
    if data.kind == "celeba":
        return celeba_files(root, part), celeba_side(root)
    if data.kind == "bfm":
        return bfm_files(root, part), BFM_SIDE
    if data.kind == "bp4d":
        return bp4d_files(root, part, data.set_seed), BP4D_SIDE
    return multipie_files(root, part, data.set_seed), MULTIPIE_SIDE
