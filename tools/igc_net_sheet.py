"""Draws docs/igc_net.jpg: what the capsule net makes of eight rendered people and one photograph, unpicked.

    python tools/igc_net_sheet.py --weights igc_net/small

Columns: the picture; what the net draws; parts; depth; normals; albedo; lit from the right; turned.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mien.core import figures, io
from mien.core.images import read_image, small_jpeg
from mien.data.capsule_sets import capsule_set
from mien.engine.zoo import load_folder
from mien.methods.igc_net.demo import astronaut
from mien.methods.igc_net.pictures import COLUMNS, face_row
from mien.methods.igc_net.predict import Predictor
from mien.methods.igc_net.task import configs

COUNT = 8
LIMIT = 400_000


def main() -> None:
    """Draws the sheet."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--weights", default="igc_net/small", help="name or folder")
    words.add_argument("--output", type=Path, default=Path("docs/igc_net.jpg"))
    words.add_argument("--count", type=int, default=COUNT, help="test people")
    asked = words.parse_args()
    predictor = Predictor.from_folder(load_folder(asked.weights))
    _, data = configs(predictor.folder.recipe)
    faces = capsule_set(data, "test").pictures[:: data.per_identity][: asked.count]
    shown = {f"test {k}": picture for k, picture in enumerate(faces)} | {"photo": astronaut(predictor.size)}
    rows = [(n, face_row(predictor.net, p, predictor.encode(p).object)) for n, p in shown.items()]
    jpeg = small_jpeg(read_image(figures.picture_rows(rows, COLUMNS)), LIMIT)
    print(f"{io.write_bytes(asked.output, jpeg)}: {len(jpeg) // 1000} kB")


if __name__ == "__main__":
    main()
