"""Made sets of faces with exact ground truth: a folder for each identity, resumable, worker-independent.

Layout of a set: ``set.json`` (settings), ``sheet.png``, ``card.md``, and for each identity ``faces/NNNNNN/``
with ``KK.png``, ``KK.112.png`` if aligned, ``truth.npz`` and ``labels.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.core import io
from mien.core.errors import ConfigError, DataError
from mien.core.seeds import derive
from mien.render.alignment import align_face, five_of_68
from mien.synth.face import Picture, contact_sheet, detail_for
from mien.synth.looks import Shot, sample_shot
from mien.synth.portrait import make_face, photograph, sample_actions

VERSION = 1
_SHEET = 64


@dataclass(frozen=True)
class FaceSet:
    """Settings of a made set.

    Attributes:
        identities: people.
        per_identity: pictures of each.
        size: pixels a side, 16 to 1024.
        seed: of the whole set.
        yaw: standard deviation of the head's turn, radians.
        expressions: 0 neutral .. 1.
        glasses: how often a picture has glasses.
        aligned: also 112 x 112 faces at the standard template.
    """

    identities: int = 16
    per_identity: int = 4
    size: int = 128
    seed: int = 0
    yaw: float = 0.22
    expressions: float = 1.0
    glasses: float = 0.22
    aligned: bool = False

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range.
        """
        ranges: dict[str, tuple[float, float]] = {
            "identities": (1, 1_000_000),
            "per_identity": (1, 10_000),
            "size": (16, 1024),
            "yaw": (0, 0.8),
            "expressions": (0, 1),
            "glasses": (0, 1),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}={value} is outside [{low:g}, {high:g}]")


def make_faces(
    settings: FaceSet, output: Path, workers: int = 1, done: Callable[[int, int], None] = lambda n, of: None
) -> Path:
    """Makes what is missing of a set. Disk O(pictures size^2), memory O(per_identity size^2) a worker.

    Args:
        settings: the set.
        output: its folder; made if need be.
        workers: processes.
        done: called with (finished, all) identities.

    Raises:
        DataError: the folder holds a set made with other settings.
    """
    record = {"kind": "faces", "version": VERSION, **asdict(settings)}
    told = output / "set.json"
    if told.is_file():
        if io.read_json(told) != record:
            raise DataError(f"{output}: holds a set of other settings ({told}); choose another --output")
    elif output.is_dir() and any(output.iterdir()):
        raise DataError(f"{output}: not empty and no made set; choose another --output")
    else:
        io.write_json(told, record)
    missing = [k for k in range(settings.identities) if not _folder(output, k).is_dir()]
    finished = settings.identities - len(missing)
    done(finished, settings.identities)
    for _ in _run(partial(_make_one, settings, output), missing, workers):
        finished += 1
        done(finished, settings.identities)
    _finish(settings, output)
    return output


def _run(work: Callable[[int], None], items: list[int], workers: int) -> Iterator[None]:
    if workers <= 1 or len(items) <= 1:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(min(workers, len(items)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, items)


def _folder(output: Path, identity: int) -> Path:
    return output / "faces" / f"{identity:06d}"


def _make_one(settings: FaceSet, output: Path, number: int) -> None:
    """All pictures of one identity, under a temporary name until they are complete."""
    who = derive(settings.seed, "identity", number)
    person = make_face(who, detail_for(settings.size))
    pictures: list[Picture] = []
    labels: list[dict[str, Any]] = []
    for k in range(settings.per_identity):
        seed = derive(who, "nuisance", k)
        shot = sample_shot(seed, settings.yaw, settings.glasses)
        actions = sample_actions(seed, settings.expressions)
        pictures.append(photograph(person, shot, settings.size, actions))
        labels.append(_label(number, k, shot, actions, pictures[-1]))
    with io.new_folder(_folder(output, number)) as folder:
        for k, picture in enumerate(pictures):
            Image.fromarray(picture.rgb).save(folder / f"{k:02d}.png")
            if settings.aligned:
                crop = align_face(picture.rgb, five_of_68(picture.landmarks)[:, :2] - 0.5)
                Image.fromarray(crop).save(folder / f"{k:02d}.112.png")
        np.savez_compressed(folder / "truth.npz", **_truth(pictures))
        io.write_json(folder / "labels.json", labels)


def _truth(pictures: list[Picture]) -> dict[str, Any]:
    """Stacks (K, S, S, ..).

    depth m float16 (inf background), normal int8 / 127, albedo uint8 / 255 linear, part uint8, canonical
    position dm float16, landmarks (K, 68, 3) x, y pixels and depth m, visible (K, 68).
    """
    return {
        "depth": np.stack([p.depth for p in pictures]).astype(np.float16),
        "normal": np.round(np.stack([p.normal for p in pictures]) * 127).astype(np.int8),
        "albedo": np.round(np.clip(np.stack([p.albedo for p in pictures]), 0, 1) * 255).astype(np.uint8),
        "part": np.stack([p.part for p in pictures]),
        "canon": np.stack([p.canon for p in pictures]).astype(np.float16),
        "landmarks": np.stack([p.landmarks for p in pictures]).astype(np.float32),
        "visible": np.stack([p.visible for p in pictures]),
    }


def _label(number: int, k: int, shot: Shot, actions: dict[str, float], picture: Picture) -> dict[str, Any]:
    return {
        "identity": number,
        "picture": k,
        "yaw": shot.yaw,
        "pitch": shot.pitch,
        "roll": shot.roll,
        "gaze": list(shot.gaze),
        "focal_px": picture.focal,
        "camera_m": picture.camera.tolist(),
        "rotation": picture.rotation.tolist(),
        "landmarks5": five_of_68(picture.landmarks)[:, :2].tolist(),
        "light": {"kind": shot.light.kind, "key": list(shot.light.key), "color": list(shot.light.color)},
        "glasses": shot.frames is not None,
        "actions": actions,
    }


def _finish(settings: FaceSet, output: Path) -> None:
    """Contact sheet (at most 64 identities, first pictures) and card."""
    shown = min(settings.identities, _SHEET)
    each = max(1, min(settings.per_identity, _SHEET // shown))
    pictures = [
        np.asarray(Image.open(_folder(output, n) / f"{k:02d}.png").convert("RGB"))
        for n in range(shown)
        for k in range(each)
    ]
    with io.new_file(output / "sheet.png") as part:
        Image.fromarray(contact_sheet(pictures, 8)).save(part, format="png")
    count = settings.identities * settings.per_identity
    lines = (
        "# Made faces\n",
        f"{settings.identities:,} identities, {count:,} pictures of {settings.size} pixels,"
        f" seed {settings.seed}.",
        "Rendered by mien from the CC0 MakeHuman / MPFB2 human: adults, no real person.\n",
        "They look like characters of a video game. Numbers measured on them say how an algorithm works, not",
        "how it does on photographs.\n",
    )
    io.write_text(output / "card.md", "\n".join(lines))
