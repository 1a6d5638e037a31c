"""Writes small copies of CelebA, BFM, BP4D and Multi-PIE as their owners lay them out."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, width: int = 60, height: int = 80, *, grey: bool = False, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width) if grey else (height, width, 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(path)


def write_celeba(root: Path, count: int = 6) -> None:
    """Pictures 1 .. count: even ones have a large face; the last two are for testing, the one before val."""
    names = [f"{k:06d}.jpg" for k in range(1, count + 1)]
    for k, name in enumerate(names):
        picture(root / "img_celeba" / name, seed=k)
    marks = [f"{n}  10 20  40 20  25 35  15 50  35 {50 + k}" for k, n in enumerate(names)]
    points = " ".join(
        f"{p}_{a}" for p in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for a in "xy"
    )
    (root / "list_landmarks_celeba.txt").write_text("\n".join([str(count), points, *marks]) + "\n")
    boxes = [f"{n}    5 5 {40 if k % 2 else 20} 50" for k, n in enumerate(names)]
    (root / "list_bbox_celeba.txt").write_text(
        "\n".join([str(count), "image_id x_1 y_1 width height", *boxes]) + "\n"
    )
    codes = [0] * (count - 3) + [1, 2, 2]
    (root / "list_eval_partition.txt").write_text(
        "".join(f"{n} {c}\n" for n, c in zip(names, codes, strict=True))
    )


def write_bfm(root: Path) -> None:
    for part in ("train", "val", "test"):
        for k in range(2):
            picture(root / part / "image" / f"{k:04d}_image.png", 200, 200, seed=k)
            depth = root / part / "depth" / f"{k:04d}_depth.png"
            depth.parent.mkdir(parents=True, exist_ok=True)
            grey = np.zeros((200, 200), np.uint8)
            grey[60:140, 60:140] = 204
            Image.fromarray(grey).save(depth)


def write_bp4d(root: Path, people: int = 5) -> None:
    for k in range(people):
        for task in ("T1", "T2"):
            picture(root / f"{'FM'[k % 2]}{k + 1:03d}" / task / "0001.jpg", seed=k, grey=k == 0)


def write_multipie(root: Path, people: int = 5) -> None:
    for k in range(1, people + 1):
        for camera, code in (("05_1", "051"), ("13_0", "130"), ("24_0", "240"), ("08_1", "081")):
            folder = root / "session01" / "multiview" / f"{k:03d}" / "01" / camera
            picture(folder / f"{k:03d}_01_01_{code}_07.png", 64, 48, seed=k)
