"""Shards as other people write them: plain tar files. Nothing here imports the readers."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_shard(path: Path, files: dict[str, bytes]) -> Path:
    """One tar with these members, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def image_bytes(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(seed: int, kind: str = "PNG") -> bytes:
    return image_bytes(noise(seed, 16, 16, 3), kind)


def class_shard(path: Path, labels: list[int], first: int = 0) -> Path:
    """``KEY.jpg`` with ``KEY.cls``; picture k has the seed ``first`` + k."""
    files = {}
    for k, label in enumerate(labels):
        files[f"{k:04d}.jpg"] = picture(first + k, "JPEG")
        files[f"{k:04d}.cls"] = str(label).encode()
    return write_shard(path, files)


def write_splits(root: Path) -> Path:
    """Shards of three splits of three classes, two of them for training."""
    for k, part in enumerate(("train-000000", "train-000001", "val-000000", "test-000000")):
        class_shard(root / f"{part}.tar", [0, 1, 2] * 4, first=100 * k)
    return root


def pad_sample(
    key: str, seed: int, cameras: tuple[str, ...] = ("rgb", "depth", "ir"), **facts: Any
) -> dict[str, bytes]:
    """The files of one sample; depth is 16 bits of millimetres around 1 m."""
    made = {
        "rgb": ("rgb.jpg", image_bytes(noise(seed, 16, 16, 3), "JPEG")),
        "depth": ("depth.png", image_bytes(950 + noise(seed + 1, 16, 16).astype(np.uint16))),
        "ir": ("ir.png", image_bytes(noise(seed + 2, 16, 16))),
    }
    files = {f"{key}.{made[c][0]}": made[c][1] for c in cameras}
    return files | {f"{key}.json": json.dumps(facts).encode()}
