"""A tiny SuHiFiMask in the true layout of the published one. Nothing here imports the readers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

PROTOCOLS = ("p1", "p2.1", "p2.2", "p2.3", "p2.4", "p3")
# subject, label, scene, camera, track: three people live and masked, one poster, one screen
TRACKS = (
    (1, 0, 1, 1, 0),
    (1, 3, 2, 2, 1),
    (2, 0, 10, 3, 0),
    (2, 5, 11, 7, 2),
    (45, 0, 3, 4, 0),
    (45, 4, 40, 5, 12),
    (0, 7, 4, 6, -1),
    (0, 9, 33, 5, -1),
)
FRAMES = (1, 11, 21, 41)


def track_folder(scene: int, camera: int, track: int) -> str:
    video = f"G{scene % 10 + 1:02d}_S{scene}_C{camera}_E{camera:02d}_T20220228135120{300 + scene:03d}"
    return f"CASIA_SuHiFiMask/Data/{video}/id_{track}"


def pictures() -> list[tuple[str, int, int, int]]:
    """(listed path, subject, label, frame) of every picture."""
    return [
        (f"{track_folder(scene, camera, track)}/{frame}_{subject}_{label}.jpg", subject, label, frame)
        for subject, label, scene, camera, track in TRACKS
        for frame in FRAMES
    ]


def split_of(protocol: str, subject: int, label: int, frame: int, scene: int) -> str | None:
    if protocol == "p3":  # by frame: tracks are in all splits
        return {1: "train", 11: "train", 21: "dev", 41: "test"}[frame]
    who = {1: "train", 45: "dev", 2: "test"}.get(subject, "train" if scene == 4 else "test")
    if protocol != "p1" and label > 4:
        return None
    return who


def write_suhifimask(root: Path, separator: str = " ", protocols: Iterable[str] = PROTOCOLS) -> Path:
    place = root / "CASIA_SuHiFiMask"
    for k, (listed, *_) in enumerate(pictures()):
        path = root / listed
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 256, (20, 16, 3), np.uint8)
        Image.fromarray(pixels).save(path, quality=95)
    (place / "protocol").mkdir(parents=True, exist_ok=True)
    for protocol in protocols:
        lines: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
        for listed, subject, label, frame in pictures():
            scene = int(listed.split("_S")[2].split("_")[0])
            split = split_of(protocol, subject, label, frame, scene)
            if split is not None:
                lines[split].append(f"{listed}{separator}{label}")
        for split, texts in lines.items():
            name = f"CASIA_SuHiFiMask@{protocol}_{{}}_{split}.txt"
            (place / "protocol" / name.format("image")).write_text("".join(f"{t}\n" for t in texts))
            folders = dict.fromkeys(f"{t.rsplit('/', 1)[0]}{separator}{t[-1]}" for t in texts)
            (place / "protocol" / name.format("video")).write_text("".join(f"{t}\n" for t in folders))
    return place
