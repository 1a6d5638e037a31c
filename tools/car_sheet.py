"""Draws docs/car.jpg: what the clothed avatar makes of six test people, unpicked.

    python tools/car_sheet.py --weights car/small

Columns: the picture; the coarse and the refined surface; the same with colours; the true surface; the avatar
in a step of a walk. People, clothes and poses are outside the ranges of training.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from mien.core import figures, io
from mien.core.images import read_image, small_jpeg
from mien.data.clothed_sets import clothed_settings
from mien.engine.zoo import load_folder
from mien.methods.car.demo import YAWS, made_case, photo_of, walking
from mien.methods.car.evaluate import restore
from mien.methods.car.looks import Picture, camera_for, draw
from mien.methods.car.reconstruct import AvatarReconstructor
from mien.methods.car.task import configs
from mien.synth.clothed_set import ClothedSet

COLUMNS = ("picture", "coarse", "refined", "avatar", "truth", "walking")
COUNT, SIDE = 6, 192
LIMIT = 400_000


def row(maker: AvatarReconstructor, settings: ClothedSet, number: int) -> list[Picture]:
    """The pictures of a person, one of each of `COLUMNS`."""
    case = made_case(settings, number)
    found = maker.reconstruct(case.image, case.mask, case.body)
    first, own, walk = found.coarse, found.avatar, walking(found, 4)
    camera = camera_for(case.posed.vertices)
    posed, colors = (own.posed, own.faces), own.colors.numpy()
    aside = replace(walk.camera, yaw=YAWS[0])
    return [
        photo_of(case),
        draw(first.posed, first.faces, camera, SIDE),
        draw(*posed, camera, SIDE),
        draw(*posed, camera, SIDE, colors=colors),
        draw(case.posed.vertices, case.posed.faces, camera, SIDE),
        draw(walk.frames[0], own.faces, aside, SIDE, colors=colors),
    ]


def main() -> None:
    """Draws the sheet."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--weights", default="car/small", help="name or folder")
    words.add_argument("--output", type=Path, default=Path("docs/car.jpg"))
    words.add_argument("--count", type=int, default=COUNT, help="test people")
    asked = words.parse_args()
    folder = load_folder(asked.weights)
    _, data = configs(folder.recipe)
    settings, first = clothed_settings(data), data.people + data.val_people
    maker = restore(folder)
    rows = []
    for k in range(asked.count):
        rows.append((f"test {k}", row(maker, settings, first + k)))
        print(f"test person {k}", flush=True)
    jpeg = small_jpeg(read_image(figures.picture_rows(rows, COLUMNS)), LIMIT)
    print(f"{io.write_bytes(asked.output, jpeg)}: {len(jpeg) // 1000} kB")


if __name__ == "__main__":
    main()
