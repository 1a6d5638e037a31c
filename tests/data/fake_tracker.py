"""Stands in for MediaPipe: red rectangles are faces, blue ones are taken for faces but have no landmarks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mien.render.alignment import TEMPLATE

SCRIPT = """#!{python}
import sys
import numpy as np
from scipy.ndimage import find_objects, label

_, script, given, out = sys.argv
assert script.endswith("track_script.py")
images = np.load(given)["images"]
n = len(images)
found = {{
    "faces": np.zeros(n, np.int64),
    "boxes": np.full((n, 8, 4), np.nan, np.float32),
    "points": np.full((n, 5, 2), np.nan, np.float32),
}}
template = np.array({template}) / 112
for k, image in enumerate(images.astype(int)):
    r, g, b = image[..., 0], image[..., 1], image[..., 2]
    boxes = []
    for kind, mask in (("red", (r > 150) & (g < 90) & (b < 90)), ("blue", (b > 150) & (r < 90) & (g < 90))):
        for rows, columns in find_objects(label(mask)[0]):
            box = np.array([columns.start, rows.start, columns.stop, rows.stop], float)
            if (box[2] - box[0]) < 12:
                continue
            boxes.append(box)
            if kind == "red":
                found["points"][k] = box[:2] + template * (box[2:] - box[:2])
    boxes.sort(key=lambda b: -(b[2] - b[0]) * (b[3] - b[1]))
    found["faces"][k] = len(boxes)
    for i, box in enumerate(boxes[:8]):
        found["boxes"][k, i] = box
np.savez(out, **found)
"""


def write_tracker(path: Path) -> Path:
    path.write_text(SCRIPT.format(python=sys.executable, template=TEMPLATE.tolist()))
    path.chmod(0o755)
    return path


def scene(size, *rectangles, ground=128):
    """A picture (H, W) with rectangles (left, top, side, "red" or "blue"); a face has a white spot inside."""
    image = np.full((*size, 3), ground, np.uint8)
    for left, top, side, color in rectangles:
        image[top : top + side, left : left + side] = (220, 10, 10) if color == "red" else (10, 10, 220)
    return image
