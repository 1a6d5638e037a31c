"""Small sets of talking heads in their published layouts, written without mien."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TRAIN = ("WDA_Ann_000#0", "WDA_Ann_000#1", "WRA_Bob_001")
TEST = ("WRA_EricCantor_000", "WRA_Cid_002", "WRA_Dan_003")


def jpeg(level: int, size: int = 16) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), level, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def rows(name: str, frames: int, width: int) -> np.ndarray:
    return np.random.default_rng(list(name.encode())).normal(size=(frames, width)).astype(np.float32)


def hdtf_entries(clips: Iterable[str], frames: int = 3) -> dict[str, bytes]:
    out = {}
    for number, clip in enumerate(clips):
        out[f"{clip}-length"] = str(frames).encode()
        for k in range(frames):
            out[f"{clip}-{str(k).zfill(7)}"] = jpeg(40 * number + 10 * k)
        for what, width in (("coeff_3dmm", 260), ("condition", 7), ("keypoint", 136)):
            out[f"{clip}-{what}"] = rows(clip + what, frames, width).tobytes()
    return out


def write_hdtf(
    root: Path,
    train: Iterable[str] = TRAIN,
    test: Iterable[str] = TEST,
    *,
    size: int = 512,
    change: Mapping[str, bytes | None] | None = None,
) -> Path:
    """Lists and LMDB; ``change``: entries that are other, or (None) not there."""
    lmdb = pytest.importorskip("lmdb")
    train, test = list(train), list(test)
    folder = root / str(size)
    folder.mkdir(parents=True)
    (root / "train_list.txt").write_text("\n".join(train) + "\n")
    (root / "test_list.txt").write_text("\n".join(test) + "\n")
    entries = {**hdtf_entries(dict.fromkeys(train + test)), **(change or {})}
    with (
        lmdb.open(str(folder), map_size=1 << 24) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in entries.items():
            if value is not None:
                transaction.put(key.encode(), value)
    return root


def krt(cameras: Iterable[str]) -> str:
    """Cameras turned about y, 1000 mm away."""
    out = []
    for number, name in enumerate(cameras):
        c, s = np.cos(0.2 * number), np.sin(0.2 * number)
        out += [name, f"{7000 + number} 0 660", "0 7000 1020", "0 0 1", "0 0 0 0 0"]
        out += [f"{c} 0 {s} {number}", "0 1 0 0", f"{-s} 0 {c} 1000", ""]
    return "\n".join(out) + "\n"


def write_multiface(
    root: Path,
    people: Iterable[str] = ("6795937", "002643814"),
    expressions: Iterable[str] = ("E001_Neutral_Eyes_Open", "SEN_a_good_morrow"),
    cameras: Iterable[str] = ("400002", "400004"),
    frames: Iterable[str] = ("000102", "000105", "000108"),
) -> Path:
    cameras, frames, expressions = list(cameras), list(frames), list(expressions)
    for person in people:
        entity = root / f"m--20180227--0000--{person}--GHS"
        entity.mkdir(parents=True)
        (entity / "KRT").write_text(krt(cameras))
        listed = [f"{e} {f}" for e in [*expressions, "E999_Not_Fetched"] for f in frames]
        (entity / "frame_list.txt").write_text("\n".join(listed) + "\n")
        for e in expressions:
            for c in cameras:
                folder = entity / "images" / e / c
                folder.mkdir(parents=True)
                for f in frames:
                    Image.fromarray(np.full((6, 4, 3), 99, np.uint8)).save(folder / f"{f}.png")
    return root


def write_ravdess(root: Path, actors: Iterable[int] = range(1, 25), modality: int = 1) -> Path:
    """Two clips of each actor: neutral, and one other emotion; files that nothing can decode."""
    for actor in actors:
        folder = root / f"Actor_{actor:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for emotion, intensity in ((1, 1), (2 + actor % 7, 2)):
            (folder / f"{modality:02d}-01-{emotion:02d}-{intensity:02d}-01-02-{actor:02d}.mp4").write_bytes(
                b"x"
            )
    return root
