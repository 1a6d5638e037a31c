"""Skinned, animated meshes as GLB (glTF 2.0): metres, y up, what game engines and browsers play."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError
from mien.core.io import new_file
from mien.render.mesh_io import checked_mesh, to_numpy

_FLOAT, _UINT, _USHORT = 5126, 5125, 5123
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_VERTICES, _INDICES = 34962, 34963


@dataclass(frozen=True)
class Animation:
    """Motion of a skeleton.

    Attributes:
        times: (K,) seconds, increasing.
        rotations: (K, J, 3, 3) of bones about their heads, in the axes of the rest pose; each also turns its
            descendants.
        translations: (K, 3) metres of the whole skeleton, or None.
    """

    times: Any
    rotations: Any
    translations: Any = None


def strongest(weights: Any, bones: Any = None, count: int = 4) -> tuple[NDArray[Any], NDArray[Any]]:
    """The strongest influences of each vertex, renormalised to sum 1. O(V J).

    Args:
        weights: (V, J), or (V, K) together with ``bones``.
        bones: (V, K) index of the bone of each weight, or None.
        count: how many to keep.

    Returns:
        (V, count) uint16 bones, (V, count) float32 weights; unused places are 0.

    Raises:
        ConfigError: shapes that do not fit, a negative weight, or a vertex without any.
    """
    w = to_numpy(weights).astype(np.float64)
    if w.ndim != 2 or w.shape[1] < 1:
        raise ConfigError(f"weights must be (V, J), got {w.shape}")
    b = np.broadcast_to(np.arange(w.shape[1]), w.shape) if bones is None else to_numpy(bones)
    if b.shape != w.shape:
        raise ConfigError(f"bones must be {w.shape} like weights, got {b.shape}")
    if not (w >= 0).all() or not (w.sum(1) > 0).all():
        raise ConfigError("skinning weights must not be negative, and each vertex needs one above 0")
    order = np.argsort(-w, axis=1, kind="stable")[:, :count]
    kept, owner = np.take_along_axis(w, order, 1), np.take_along_axis(b, order, 1)
    pad = [(0, 0), (0, count - kept.shape[1])]
    kept, owner = np.pad(kept, pad), np.pad(np.where(kept > 0, owner, 0), pad)
    return owner.astype(np.uint16), (kept / kept.sum(1, keepdims=True)).astype(np.float32)


class _Blob:
    """The binary part of a GLB and its accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[Any] = []
        self.accessors: list[Any] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        from pygltflib import BufferView

        self.data += b"\0" * (-len(self.data) % 4)
        view = BufferView(buffer=0, byteOffset=len(self.data), byteLength=len(data), target=target)
        self.views.append(view)
        self.data += data
        return len(self.views) - 1

    def add(self, array: NDArray[Any], component: int, target: int | None = None) -> int:
        """An accessor of rows; float ones carry their bounds."""
        from pygltflib import Accessor

        rows = np.ascontiguousarray(array).reshape(len(array), -1)
        accessor = Accessor(
            bufferView=self.view(rows.tobytes(), target),
            byteOffset=0,
            componentType=component,
            count=len(rows),
            type=_KINDS[rows.shape[1]],
        )
        if component == _FLOAT:
            accessor.min, accessor.max = rows.min(0).tolist(), rows.max(0).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _skeleton(
    names: Sequence[str], parents: Sequence[int], heads: Any
) -> tuple[list[int], NDArray[np.float32]]:
    at, up = to_numpy(heads).astype(np.float32), [int(p) for p in parents]
    if not names or len(up) != len(names) or at.shape != (len(names), 3):
        raise ConfigError(f"{len(names)} joints need as many parents and heads (J, 3), got {at.shape}")
    if len(names) > 65535:
        raise ConfigError(f"{len(names)} joints; a GLB takes 65535")
    if not np.isfinite(at).all():
        raise ConfigError("the head of a joint is not finite")
    for j, p in enumerate(up):
        if not -1 <= p < j:
            raise ConfigError(f"joint {names[j]!r} has parent {p}; parents come first, -1 is a root")
    return up, at


def save_skinned_glb(
    path: str | Path,
    vertices: Any,
    faces: Any,
    *,
    names: Sequence[str],
    parents: Sequence[int],
    heads: Any,
    weights: Any,
    bones: Any = None,
    colors: Any = None,
    uv: Any = None,
    texture: Any = None,
    animations: Mapping[str, Animation] | None = None,
) -> Path:
    """Writes a mesh with skeleton, skin and, if given, colours, texture and animations.

    A viewer shows v' = sum_j w_j G_j B_j v, G_j the joints' world transforms and B_j the translation by minus
    the head of joint j, with the 4 strongest weights of each vertex renormalised. Joints have the axes of
    the world at rest.

    Args:
        path: ends in .glb.
        vertices: (V, 3) metres at rest, y up.
        faces: (T, 3).
        names: of the J joints.
        parents: (J,) index of each joint's parent, earlier in the list; -1: a root.
        heads: (J, 3) metres at rest.
        weights: (V, J), or (V, K) with ``bones``.
        bones: (V, K) joint of each weight, or None.
        colors: (V, 3) linear RGB in [0, 1].
        uv: (V, 2), (0, 0) at the lower left of the texture; vertices on seams must be given twice.
        texture: (h, w, 3) uint8 sRGB, needs uv; kept inside the file as PNG.
        animations: name -> motion.

    Raises:
        ConfigError: arrays that do not fit, or another ending.
        MienError: the file cannot be written.
    """
    import pygltflib as gl

    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise ConfigError(f"{path}: a skinned mesh is written as .glb")
    mesh = checked_mesh(vertices, faces, colors)
    up, at = _skeleton(names, parents, heads)
    _check_skin(weights, bones, len(mesh.vertices), len(names))
    owner, kept = strongest(weights, bones)
    blob, out = _Blob(), gl.GLTF2(asset=gl.Asset(version="2.0", generator="mien"))
    attributes = gl.Attributes(
        POSITION=blob.add(mesh.vertices, _FLOAT, _VERTICES),
        NORMAL=blob.add(_normals(mesh.vertices, mesh.faces), _FLOAT, _VERTICES),
        JOINTS_0=blob.add(owner, _USHORT, _VERTICES),
        WEIGHTS_0=blob.add(kept, _FLOAT, _VERTICES),
    )
    if mesh.colors is not None:
        attributes.COLOR_0 = blob.add(mesh.colors, _FLOAT, _VERTICES)
    if uv is not None:
        attributes.TEXCOORD_0 = blob.add(_flipped(uv, len(mesh.vertices)), _FLOAT, _VERTICES)
    _add_material(out, blob, uv, texture)
    indices = blob.add(mesh.faces.astype(np.uint32).reshape(-1, 1), _UINT, _INDICES)
    out.meshes = [gl.Mesh(primitives=[gl.Primitive(attributes=attributes, indices=indices, material=0)])]
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(names), 1, 1))
    inverse[:, 3, :3] = -at  # column-major
    joints = list(range(len(names)))
    out.skins = [gl.Skin(inverseBindMatrices=blob.add(inverse, _FLOAT), joints=joints, skeleton=len(names))]
    out.nodes = _nodes(names, up, at)
    out.scenes, out.scene = [gl.Scene(nodes=[len(names), len(names) + 1])], 0
    out.animations = [_animation(blob, n, a, len(names)) for n, a in (animations or {}).items()]
    out.accessors, out.bufferViews = blob.accessors, blob.views
    out.buffers = [gl.Buffer(byteLength=len(blob.data))]
    out.set_binary_blob(bytes(blob.data))
    with new_file(path) as part:
        part.write_bytes(b"".join(out.save_to_bytes()))
    return path


def _add_material(out: Any, blob: _Blob, uv: Any, texture: Any) -> None:
    import pygltflib as gl

    surface = gl.PbrMetallicRoughness(metallicFactor=0.0, roughnessFactor=0.8)
    if texture is not None:
        if uv is None:
            raise ConfigError("a texture needs uv")
        out.images = [gl.Image(bufferView=blob.view(_png(texture)), mimeType="image/png")]
        out.samplers, out.textures = [gl.Sampler()], [gl.Texture(source=0, sampler=0)]
        surface.baseColorTexture = gl.TextureInfo(index=0)
    out.materials = [gl.Material(pbrMetallicRoughness=surface, alphaMode="OPAQUE")]


def _check_skin(weights: Any, bones: Any, vertices: int, joints: int) -> None:
    shape = to_numpy(weights).shape
    if len(shape) != 2 or shape[0] != vertices or (bones is None and shape[1] != joints):
        want = f"({vertices}, {joints if bones is None else 'K'})"
        raise ConfigError(f"weights must be {want} for this mesh and skeleton, got {shape}")
    if bones is not None and to_numpy(bones).size:
        low, high = int(to_numpy(bones).min()), int(to_numpy(bones).max())
        if low < 0 or high >= joints:
            raise ConfigError(f"bone {low if low < 0 else high} is out of range: there are {joints} joints")


def _nodes(names: Sequence[str], parents: list[int], heads: NDArray[np.float32]) -> list[Any]:
    """A node a joint, then the armature that holds the roots, then the mesh."""
    from pygltflib import Node

    local = [heads[j] - heads[p] if p >= 0 else heads[j] for j, p in enumerate(parents)]
    nodes = [Node(name=n, translation=t.tolist(), children=[]) for n, t in zip(names, local, strict=True)]
    armature = Node(name="armature", children=[j for j, p in enumerate(parents) if p < 0])
    for j, p in enumerate(parents):
        if p >= 0:
            nodes[p].children.append(j)
    return [*nodes, armature, Node(name="mesh", mesh=0, skin=0)]


def _animation(blob: _Blob, name: str, motion: Animation, joints: int) -> Any:
    import pygltflib as gl
    from scipy.spatial.transform import Rotation

    times, turns = to_numpy(motion.times).astype(np.float32), to_numpy(motion.rotations)
    if times.ndim != 1 or not len(times) or turns.shape != (len(times), joints, 3, 3):
        raise ConfigError(
            f"animation {name!r}: times (K,) and rotations (K, {joints}, 3, 3), got {times.shape} and "
            f"{turns.shape}"
        )
    if not (times[0] >= 0 and (np.diff(times) > 0).all()):
        raise ConfigError(f"animation {name!r}: times must be 0 or later and increase")
    clock = blob.add(times[:, None], _FLOAT)
    quaternions = Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_quat().reshape(len(times), joints, 4)
    for k in range(1, len(times)):  # the near one of q and -q, so that viewers turn the short way
        quaternions[k] *= np.where((quaternions[k] * quaternions[k - 1]).sum(-1) < 0, -1, 1)[:, None]
    tracks = [("rotation", j, quaternions[:, j].astype(np.float32)) for j in range(joints)]
    if motion.translations is not None:
        moves = to_numpy(motion.translations).astype(np.float32)
        if moves.shape != (len(times), 3):
            raise ConfigError(
                f"animation {name!r}: translations must be ({len(times)}, 3), got {moves.shape}"
            )
        tracks.append(("translation", joints, moves))
    samplers, channels = [], []
    for k, (what, node, values) in enumerate(tracks):
        samplers.append(
            gl.AnimationSampler(input=clock, output=blob.add(values, _FLOAT), interpolation="LINEAR")
        )
        target = gl.AnimationChannelTarget(node=node, path=what)
        channels.append(gl.AnimationChannel(sampler=k, target=target))
    return gl.Animation(name=name, samplers=samplers, channels=channels)


def _normals(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Area-weighted unit normals (V, 3); up where a vertex has no face."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    normal, out = np.cross(b - a, c - a), np.zeros(vertices.shape)
    for k in range(3):
        np.add.at(out, faces[:, k], normal)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.where(length > 1e-30, out / np.maximum(length, 1e-30), [0.0, 1.0, 0.0]).astype(np.float32)


def _flipped(uv: Any, count: int) -> NDArray[np.float32]:
    u = to_numpy(uv).astype(np.float32)
    if u.shape != (count, 2):
        raise ConfigError(f"uv must be ({count}, 2), got {u.shape}")
    return np.stack([u[:, 0], 1 - u[:, 1]], 1)


def _png(texture: Any) -> bytes:
    from PIL import Image

    pixels = to_numpy(texture)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ConfigError(f"texture must be (h, w, 3) uint8, got {pixels.shape} {pixels.dtype}")
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
