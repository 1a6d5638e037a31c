"""Finds the vertices of the 68 facial landmarks (iBUG 300-W order) on the base mesh.

Prints the table of ``mien.synth.landmarks`` and, with ``--picture FILE``, draws it. Eyes: contour of the
visible eyeball. Lips: contour of the lip mask, the slit by what ``jawOpen`` moves. Jaw: where the depth of a
frontal view jumps from the chin to the neck. Nose and brows: by position. Left and right are mirrored.

    python tools/find_landmarks.py --picture landmarks.png
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.synth.body import people
from mien.synth.raster import raster

Array = NDArray[Any]
SIDE, HALF, Y0 = 1024, 1.25, 7.1


def frontal(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """Face index and height z of a frontal orthographic view, 1024^2 over 2.5 dm."""
    k = SIDE / (2 * HALF)
    far = 60.0
    screen = np.stack(
        [(vertices[:, 0] + HALF) * k, (Y0 + HALF - vertices[:, 1]) * k, far - vertices[:, 2]], 1
    ).astype(np.float32)
    zbuf, ids = np.zeros((SIDE, SIDE), np.float32), np.full((SIDE, SIDE), -1, np.int32)
    raster(np.ascontiguousarray(screen), faces, zbuf, ids, 0)
    return ids, np.where(ids >= 0, far + 1 / np.minimum(zbuf, -1e-9), -9.0)


def world(row: Array, col: Array) -> Array:
    """Canonical (x, y) of pixels."""
    k = SIDE / (2 * HALF)
    return np.stack([(np.asarray(col) + 0.5) / k - HALF, Y0 + HALF - (np.asarray(row) + 0.5) / k], -1)


def find() -> list[int]:
    """Vertex of each of the 68 points."""
    human = people()
    v = human.vertices
    body = human.faces["body"]
    faces = np.concatenate([body, human.faces["eye_l"], human.faces["eye_r"]]).astype(np.int32)
    faces = faces[v[faces].mean(1)[:, 1] > 5.5]
    ids, height = frontal(v, faces)
    is_eye = np.zeros(len(v), bool)
    is_eye[np.unique(human.faces["eye_l"])] = True
    seen = np.unique(faces[np.unique(ids[ids >= 0])])
    skin = seen[~is_eye[seen]]

    def near(x: float, y: float, pool: Array = skin) -> int:
        return int(pool[np.argmin(((v[pool, :2] - (x, y)) ** 2).sum(1))])

    left: dict[int, int] = {}
    # Eye, subject's left = 42 .. 47 (inner corner first).
    row, col = np.nonzero((ids >= 0) & is_eye[faces[np.maximum(ids, 0), 0]])
    at = world(row, col)
    low, high = at[:, 0].min(), at[:, 0].max()
    inner, outer = at[at[:, 0] < low + 0.004].mean(0), at[at[:, 0] > high - 0.004].mean(0)
    left[42], left[45] = near(*inner), near(*outer)
    for point, share, top in ((43, 0.34, True), (44, 0.67, True), (46, 0.67, False), (47, 0.34, False)):
        x = low + share * (high - low)
        column = at[np.abs(at[:, 0] - x) < 0.004]
        left[point] = near(x, column[:, 1].max() if top else column[:, 1].min())
    # Brows 22 .. 26, inner to outer.
    for k in range(5):
        u = k / 4
        left[22 + k] = near(0.115 + 0.43 * u, 7.487 + 0.03 * u + 0.05 * (1 - ((u - 0.62) / 0.62) ** 2))
    # Lips.
    lips = skin[human.masks["lips"][skin] > 0.4]
    corner = v[lips[np.argmax(v[lips, 0])]]
    left[54] = near(float(corner[0]), float(corner[1]))
    index, delta = human.target("action-jawOpen")
    drop = np.zeros(len(v))
    drop[index] = -delta[:, 1]
    drop /= drop[near(0, 6.5)]
    for x, outer_top, inner_top, outer_low, inner_low in (
        (0.0, 51, 62, 57, 66),
        (0.055, 52, 0, 56, 0),
        (0.14, 53, 63, 55, 65),
    ):
        column = lips[np.abs(v[lips, 0] - x) < (0.03 if x else 0.008)]
        up, down = column[drop[column] < 0.5], column[drop[column] >= 0.5]
        left[outer_top] = int(up[np.argmax(v[up, 1])])
        left[outer_low] = int(down[np.argmin(v[down, 1])])
        if inner_top:
            left[inner_top] = int(up[np.argmin(v[up, 1])])
            left[inner_low] = int(down[np.argmax(v[down, 1])])
    wide = lips[(v[lips, 0] > 0.15) & (v[lips, 0] < corner[0] - 0.02)]
    left[64] = int(wide[np.argmax(v[wide, 0] - 2 * np.abs(v[wide, 1] - corner[1]))])
    # Nose: bridge 27 .. 30, base 33 .. 35.
    middle = skin[np.abs(v[skin, 0]) < 0.01]
    nose = middle[(v[middle, 1] > 6.75) & (v[middle, 1] < 7.1)]
    tip = int(nose[np.argmax(v[nose, 2])])
    for k, y in enumerate(np.linspace(7.27, v[tip, 1], 4)):
        left[27 + k] = near(0, y, middle)
    left[30] = tip
    under = middle[(v[middle, 1] > 6.76) & (v[middle, 1] < v[tip, 1] - 0.03)]
    left[33] = int(under[np.argmin(v[under, 2] + 1.2 * v[under, 1])])
    base = float(v[left[33], 1])
    left[34], left[35] = near(0.075, base + 0.015), near(0.15, base + 0.04)
    # Jaw 8 .. 16: chin, then outwards and up to the ear; never the skin under it, farther back.
    front = skin[v[skin, 2] > 0.9]
    for k, x in enumerate((0.0, 0.14, 0.27, 0.39, 0.49)):
        c = int((x + HALF) * SIDE / (2 * HALF))
        z = height[:, c]
        start = int((Y0 + HALF - 6.45) * SIDE / (2 * HALF))
        jump = next((i for i in range(start, SIDE - 2) if z[i] - z[i + 2] > 0.05), start)
        left[8 + k] = near(x, float(world(jump - 1, c)[1]), front)
    cheeks = skin[(v[skin, 2] > 0.42) & (v[skin, 1] > 6.3) & (human.masks["ears"][skin] < 0.2)]
    for k, y in enumerate((6.55, 6.78, 7.02, 7.27)):
        band = cheeks[np.abs(v[cheeks, 1] - y) < 0.05]
        left[13 + k] = int(band[np.argmax(v[band, 0])])
    mirror = _mirror(v, np.unique(body))
    table = [-1] * 68
    for k, vertex in left.items():
        table[k] = vertex
        table[_other(k)] = mirror[vertex]
    return table


def _other(k: int) -> int:
    """The landmark across the face."""
    eyes = {42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40}
    lips = {51: 51, 52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 57: 57, 62: 62, 63: 61, 64: 60, 65: 67, 66: 66}
    if k <= 16:
        return 16 - k
    if k <= 26:
        return 43 - k
    if k <= 30:
        return k
    return {**eyes, **lips, 33: 33, 34: 32, 35: 31}[k]


def _mirror(v: Array, pool: Array) -> dict[int, int]:
    from scipy.spatial import cKDTree

    tree = cKDTree(v[pool])
    _, k = tree.query(v[pool] * (-1, 1, 1))
    return {int(a): int(b) for a, b in zip(pool, pool[k], strict=True)}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--picture", help="PNG to draw")
    options = parser.parse_args()
    table = find()
    print(", ".join(map(str, table)))
    if options.picture:
        from PIL import Image, ImageDraw

        human = people()
        body = human.faces["body"]
        faces = np.concatenate([body, human.faces["eye_l"], human.faces["eye_r"]]).astype(np.int32)
        ids, height = frontal(human.vertices, faces)
        gy, gx = np.gradient(height)
        k = SIDE / (2 * HALF)
        shade = 1 / np.sqrt(1 + (gx * k) ** 2 + (gy * k) ** 2) * (0.75 + 0.25 * np.tanh(gy * k))
        picture = Image.fromarray(np.uint8(255 * np.clip(shade * (ids >= 0), 0, 1))).convert("RGB")
        pen = ImageDraw.Draw(picture)
        for n, vertex in enumerate(table):
            x, y = human.vertices[vertex, :2]
            c, r = (x + HALF) * k, (Y0 + HALF - y) * k
            pen.ellipse((c - 3, r - 3, c + 3, r + 3), fill=(255, 60, 60))
            pen.text((c + 4, r - 6), str(n), fill=(0, 90, 255))
        picture.save(options.picture)


if __name__ == "__main__":
    main()
