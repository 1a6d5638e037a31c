"""The picture of the README, from what `mien demo` wrote.

mien demo --output out/demo
python tools/readme_picture.py out/demo docs/mien.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

TILES: tuple[tuple[str, str, tuple[float, float, float, float]], ...] = (
    ("OTAvatar: one portrait, moved (above: the truth)", "otavatar/sheet.png", (0.0, 0.0, 1.0, 0.2)),
    ("OTAvatar: a photograph, moved", "otavatar/sheet.png", (0.0, 0.6, 1.0, 0.8)),
    ("FM-ViT: live or not, in colour, depth, infrared", "fm_vit/presentations.png", (0.0, 0.0, 1.0, 0.49)),
    ("CQIL: far faces before cameras", "cqil/tracks.png", (0.0, 0.0, 1.0, 1.0)),
    ("CAR: one photograph, its normals, a body in them", "car/sheet.png", (0.0, 0.0, 1.0, 0.4)),
    ("URFM + APT: what a patch of the face looks at", "cakd/receptive_fields.png", (0.0, 0.0, 1.0, 1.0)),
    ("NCL++: experts disagree where they are wrong", "ncl/disagreement.png", (0.0, 0.0, 1.0, 1.0)),
    ("PHYCINE: masses and charges from video", "phycine/concepts.png", (0.0, 0.0, 1.0, 1.0)),
    ("IGC-Net: parts, depth, normals, albedo, light, views", "igc_net/sheet.png", (0.0, 0.0, 1.0, 1.0)),
    ("SAGM: a flatter minimum than ERM's", "sagm/surface.png", (0.0, 0.0, 1.0, 1.0)),
)
"""Title, file and what is shown of it (left, top, right, bottom, as shares)."""
WIDTH = 7.0  # inches of a tile


def cut(path: Path, box: tuple[float, float, float, float]) -> np.ndarray:
    """A part of a picture."""
    image = Image.open(path).convert("RGB")
    w, h = image.size
    return np.asarray(image.crop((int(box[0] * w), int(box[1] * h), int(box[2] * w), int(box[3] * h))))


def main(demo: Path, target: Path) -> None:
    """Tiles in two columns."""
    import matplotlib.pyplot as plt

    parts = [(title, cut(demo / name, box)) for title, name, box in TILES]
    rows = [parts[i : i + 2] for i in range(0, len(parts), 2)]
    heights = [max(x.shape[0] / x.shape[1] for _, x in row) for row in rows]
    figure = plt.figure(figsize=(2 * WIDTH, WIDTH * sum(heights) + 0.35 * len(rows)), layout="constrained")
    grid = figure.add_gridspec(len(rows), 2, height_ratios=heights)
    for i, row in enumerate(rows):
        for j, (title, picture) in enumerate(row):
            axes = figure.add_subplot(grid[i, j])
            axes.imshow(picture, interpolation="lanczos")
            axes.set_title(title, fontsize=12)
            axes.axis("off")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=100, pil_kwargs={"quality": 82, "optimize": True})
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
