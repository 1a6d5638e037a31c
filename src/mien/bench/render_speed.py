"""``mien bench render``: a moving body drawn to depth, triangle ids, barycentrics and unit normals.

28,044 triangles, orthographic, every frame with other vertices, so references that trace rays build their
tree each time, as they would for any moving mesh. All draw the same frames in turn in one run.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mien.bench.speed import entry, interleave, ratio
from mien.render.raster import interpolate, rasterize
from mien.synth.body import people
from mien.synth.shading import vertex_normals

Array = NDArray[Any]
log = logging.getLogger(__name__)
SIZES = (128, 512)


class Frame(NamedTuple):
    """Vertices (V, 3) in NDC with z towards the back, and unit normals (V, 3)."""

    points: NDArray[np.float32]
    normals: NDArray[np.float32]


class Drawn(NamedTuple):
    """Triangle ids (-1 empty), weights of vertices 1 and 2, z (inf empty), unit normals of one picture."""

    ids: Array
    bary: Array
    depth: Array
    normals: Array


Draw = Callable[[Frame], Drawn]


def frames(count: int = 12) -> tuple[list[Frame], NDArray[np.int32]]:
    """The shipped body swaying and breathing; body, eyes, teeth, tongue, lashes."""
    body = people()
    faces = np.concatenate([f for name, f in body.faces.items() if name not in ("tights", "skirt")])
    used, faces = np.unique(faces, return_inverse=True)
    faces = np.ascontiguousarray(faces.reshape(-1, 3), np.int32)
    rest = body.vertices[used]
    low, high = rest.min(0), rest.max(0)
    rest = (rest - 0.5 * (low + high)) / (0.53 * (high - low)[1])
    made = []
    for k in range(count):
        phase = 2 * np.pi * k / count
        turn = 0.3 * np.sin(phase) + 0.1 * np.sin(phase + 3 * rest[:, 1])
        c, s = np.cos(turn), np.sin(turn)
        x, y, z = rest.T
        moved = np.stack([c * x + s * z, y + 0.01 * np.cos(phase), c * z - s * x], 1).astype(np.float32)
        normals = vertex_normals(moved, faces)
        made.append(Frame(np.ascontiguousarray(moved * np.array([1, 1, -1], np.float32)), normals))
    return made, faces


def _ours(faces: NDArray[np.int32], size: int, backend: Any) -> Draw:
    f = torch.from_numpy(faces)

    @torch.no_grad()
    def draw(frame: Frame) -> Drawn:
        points = torch.from_numpy(frame.points)[None]
        out = rasterize(points, f, size, size, backend=backend)
        normals = interpolate(points, f, torch.from_numpy(frame.normals), out.face_id, unit=True)
        return Drawn(*(t[0].numpy() for t in (out.face_id, out.bary, out.depth, normals)))

    return draw


def _rays(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Parallel rays from z = -2 through the pixel centres, row by row."""
    at = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(at, -at)
    origins = np.stack([x.ravel(), y.ravel(), np.full(size * size, -2.0)], 1).astype(np.float32)
    return origins, np.tile(np.array([0, 0, 1], np.float32), (size * size, 1))


def _filled(
    size: int, hit: Array, face: Array, bary: Array, depth: Array, frame: Frame, faces: NDArray[np.int32]
) -> Drawn:
    """Images from lists of hits, with the normals of the hit triangles blended."""
    ids, w = np.full(size * size, -1, np.int32), np.zeros((size * size, 2), np.float32)
    z = np.full(size * size, np.inf, np.float32)
    normals = np.zeros((size * size, 3), np.float32)
    ids[hit], w[hit], z[hit] = face, bary, depth
    corner = frame.normals[faces[face]]
    value = corner[:, 0] * (1 - bary.sum(1))[:, None]
    value += corner[:, 1] * bary[:, :1] + corner[:, 2] * bary[:, 1:]
    normals[hit] = value / np.linalg.norm(value, axis=1, keepdims=True)
    shape = (size, size)
    return Drawn(ids.reshape(shape), w.reshape(*shape, 2), z.reshape(shape), normals.reshape(*shape, 3))


def _embreex(faces: NDArray[np.int32], size: int) -> Draw:
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    origins, directions = _rays(size)

    def draw(frame: Frame) -> Drawn:
        scene = EmbreeScene()
        TriangleMesh(scene, frame.points, faces)
        out = scene.run(origins, directions, output=True)
        hit = np.flatnonzero(out["primID"] >= 0)
        bary = np.stack([out["u"][hit], out["v"][hit]], 1)
        return _filled(size, hit, out["primID"][hit], bary, out["tfar"][hit] - 2, frame, faces)

    return draw


def _trimesh(faces: NDArray[np.int32], size: int) -> Draw:
    import trimesh

    origins, directions = _rays(size)

    def draw(frame: Frame) -> Drawn:
        mesh = trimesh.Trimesh(frame.points, faces, process=False)
        face, hit, places = mesh.ray.intersects_id(
            origins, directions, multiple_hits=False, return_locations=True
        )
        corners = np.asarray(mesh.vertices)[faces[face]]
        bary = trimesh.triangles.points_to_barycentric(corners, places)[:, 1:].astype(np.float32)
        return _filled(size, hit, face, bary, places[:, 2], frame, faces)

    return draw


_VERTEX = """#version 330
in vec3 point; in vec3 normal; out vec3 m; out vec2 w; flat out int id;
void main() {
  int k = gl_VertexID % 3;
  gl_Position = vec4(point.xy, 0.5 * point.z, 1.0);
  m = normal; w = vec2(k == 1, k == 2); id = gl_VertexID / 3;
}"""
_FRAGMENT = """#version 330
in vec3 m; in vec2 w; flat in int id;
layout(location = 0) out vec4 where_; layout(location = 1) out vec4 facing;
void main() {
  where_ = vec4(float(id), w, 4.0 * gl_FragCoord.z - 2.0);
  facing = vec4(normalize(m), 0.0);
}"""


def _moderngl(faces: NDArray[np.int32], size: int) -> Draw:
    """OpenGL without a window (EGL). On machines without a GPU Mesa's llvmpipe draws, on all cores.

    Each triangle has its own three vertices: faster there than a geometry shader that tells corners apart.
    """
    import moderngl

    with contextlib.suppress(ImportError):
        importlib.import_module(
            "triton"
        )  # loaded after Mesa's LLVM it crashes the process, before it does not
    options: dict[str, Any] = {"standalone": True, "backend": "egl", "require": 330}
    context = moderngl.create_context(**options)
    program = context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
    vertices = context.buffer(reserve=len(faces) * 72, dynamic=True)
    array = context.vertex_array(program, [(vertices, "3f 3f", "point", "normal")])
    flat = faces.ravel()
    textures = [context.texture((size, size), 4, dtype="f4") for _ in range(2)]
    target = context.framebuffer(textures, context.depth_renderbuffer((size, size)))

    def draw(frame: Frame) -> Drawn:
        with context:
            target.use()
            context.enable_only(moderngl.DEPTH_TEST)
            target.clear(-1.0, 0.0, 0.0, 0.0, depth=1.0)
            vertices.write(np.concatenate([frame.points, frame.normals], 1)[flat].tobytes())
            array.render()
            raw = [np.frombuffer(t.read(), np.float32).reshape(size, size, 4)[::-1] for t in textures]
        where, facing = raw
        ids = where[..., 0].astype(np.int32)
        depth = np.where(ids >= 0, where[..., 3], np.float32(np.inf))
        return Drawn(ids, where[..., 1:3], depth, facing[..., :3])

    return draw


def drawers(faces: NDArray[np.int32], size: int) -> dict[str, Draw]:
    """Ours, its torch twin, and every reference that works here; what does not is said in a line."""
    found: dict[str, Draw] = {"mien": _ours(faces, size, "auto"), "mien_torch": _ours(faces, size, "torch")}
    makers: Mapping[str, Callable[[NDArray[np.int32], int], Draw]] = {
        "embreex": _embreex,
        "trimesh": _trimesh,
        "moderngl": _moderngl,
    }
    for name, make in makers.items():
        try:
            found[name] = make(faces, size)
        except Exception as error:  # no package, no driver: whatever the reference raises
            log.warning("%s is left out of this bench: %s", name, error)
    return found


def _turning(draw: Draw, made: list[Frame]) -> Callable[[], object]:
    turn: Iterator[Frame] = itertools.cycle(made)
    return lambda: draw(next(turn))


def bench(repeats: int = 40, sizes: tuple[int, ...] = SIZES) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Seconds of a picture; ratio ``speedup_SIZE``: the fastest reference over ours."""
    made, faces = frames()
    entries, ratios = [], {}
    for size in sizes:
        runs = {name: _turning(draw, made) for name, draw in drawers(faces, size).items()}
        seconds = interleave(runs, repeats)
        entries += [entry(f"{name}_{size}", s) for name, s in seconds.items()]
        others = [name for name in seconds if not name.startswith("mien")]
        if others:
            best = min(others, key=lambda n: float(np.median(seconds[n])))
            ratios[f"speedup_{size}"] = ratio(seconds[best], seconds["mien"])
    return entries, ratios
