"""Meshes in files that other programs read: OBJ, PLY, GLB (through trimesh)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError, LimitError
from mien.core.io import new_file
from mien.core.limits import max_array_bytes

KINDS = ("obj", "ply", "glb")


class Mesh(NamedTuple):
    """A triangle mesh.

    Attributes:
        vertices: (V, 3) float32, metres.
        faces: (T, 3) int32.
        colors: (V, 3) float32 linear RGB in [0, 1], or None.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.float32] | None = None


def to_numpy(value: Any) -> NDArray[Any]:
    """An array of an array, list or tensor (of any device, with or without gradient)."""
    return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


def checked_mesh(vertices: Any, faces: Any, colors: Any = None) -> Mesh:
    """A `Mesh` with its types and ranges checked.

    Raises:
        ConfigError: a shape that does not fit, a vertex that is not finite, a face index out of range.
    """
    v, f = to_numpy(vertices), to_numpy(faces)
    if v.ndim != 2 or v.shape[1] != 3 or f.ndim != 2 or f.shape[1] != 3:
        raise ConfigError(f"a mesh is vertices (V, 3) and faces (T, 3), got {v.shape} and {f.shape}")
    if f.dtype.kind not in "iu":
        raise ConfigError(f"faces must be integers, got {f.dtype}")
    if not np.isfinite(v).all():
        raise ConfigError("a vertex is not finite")
    if len(f) and (f.min() < 0 or f.max() >= len(v)):
        bad = int(f.min() if f.min() < 0 else f.max())
        raise ConfigError(f"face index {bad} is out of range: there are {len(v)} vertices")
    c = None if colors is None else to_numpy(colors)
    if c is not None and (c.shape != (len(v), 3) or c.dtype.kind != "f"):
        raise ConfigError(f"colors must be ({len(v)}, 3) floats in [0, 1], got {c.shape} {c.dtype}")
    c = None if c is None else np.clip(c, 0, 1).astype(np.float32)
    return Mesh(v.astype(np.float32), f.astype(np.int32), c)


def _kind(path: Path) -> str:
    kind = path.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise ConfigError(f"{path}: mesh files end in .{', .'.join(KINDS)}")
    return kind


def _srgb(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


def linear_rgb(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light of sRGB values in [0, 1], of any shape."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _matte(tree: dict[str, Any]) -> None:
    """Gives all of a glTF one matte material: without any it would be of dark metal, as the standard says."""
    tree["materials"] = [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0


def save_mesh(path: str | Path, vertices: Any, faces: Any, *, colors: Any = None) -> Path:
    """Writes a mesh whole or not at all; the ending says the format.

    Args:
        path: ends in .obj, .ply or .glb.
        vertices: (V, 3) metres, array or tensor; y up.
        faces: (T, 3) integers.
        colors: (V, 3) linear RGB in [0, 1], kept in 8 bits: linear in GLB, as its standard says, sRGB else.

    Raises:
        ConfigError: another ending, or arrays that do not fit.
        MienError: the file cannot be written.
    """
    import trimesh

    path = Path(path)
    kind, mesh = _kind(path), checked_mesh(vertices, faces, colors)
    shown = None
    if mesh.colors is not None:
        value = mesh.colors if kind == "glb" else _srgb(mesh.colors)
        shown = np.concatenate([np.rint(255 * value), np.full((len(value), 1), 255)], 1).astype(np.uint8)
    made = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=shown, process=False)
    options: dict[str, Any] = {"tree_postprocessor": _matte} if kind == "glb" else {}
    data: Any = made.export(file_type=kind, **options)
    with new_file(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def load_mesh(path: str | Path) -> Mesh:
    """Reads a mesh; polygons are cut into triangles, the parts of a scene joined, vertices kept in order.

    Materials and textures are left out, and no other file is opened.

    Raises:
        ConfigError: another ending.
        DataError: missing, damaged, or without triangles.
        LimitError: larger than `max_array_bytes`.
    """
    import trimesh

    path = Path(path)
    kind = _kind(path)
    try:
        size = path.stat().st_size
        if size > max_array_bytes():
            raise LimitError(
                f"{path}: {size} bytes, more than the {max_array_bytes()} (MIEN_MAX_ARRAY_BYTES)"
            )
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error}); check the path") from None
    options: dict[str, Any] = {"maintain_order": True} if kind == "obj" else {}
    try:
        made: Any = trimesh.load_mesh(
            io.BytesIO(data), file_type=kind, process=False, skip_materials=True, **options
        )
        colors = made.visual.vertex_colors if made.visual.kind == "vertex" else None
        vertices, faces = made.vertices, made.faces
        value = None if colors is None else (np.asarray(colors)[:, :3] / np.float32(255)).astype(np.float32)
        if value is not None and kind != "glb":
            value = linear_rgb(value)
        mesh = checked_mesh(vertices, faces, value)
    except Exception as error:  # trimesh raises whatever its parsers meet
        raise DataError(f"{path}: not a {kind.upper()} mesh that can be read ({error})") from error
    if not len(mesh.faces):
        raise DataError(f"{path}: holds no triangles")
    return mesh
