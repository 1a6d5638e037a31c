"""Errors of reconstructed surfaces (distances, normals, volume), and whether a mesh is sound.

Two published ways to measure are kept apart by ``protocol``; their numbers are not comparable:
"car" (arXiv 2304.03903): 10,000 even samples, distance to the nearest vertex;
"icon" (ICON, ECON): 1,000 even samples, distance to the nearest point of a triangle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError, DataError
from mien.metrics.closest import closest_points, size_groups

Array = NDArray[Any]  # of floats
Index = NDArray[Any]  # of integers
SurfaceProtocol = Literal["car", "icon"]
NormalDraw = Callable[[Array, Index], Array]
"""Vertices (V, 3), faces (T, 3) -> (H, W, 3) unit normals that a camera at +z sees, 0 for background."""
SAMPLES = {"car": 10_000, "icon": 1_000}
CENTIMETRES = 100.0  # of a metre; box units are multiplied alike


class TriangleMesh(Protocol):
    """Vertices (V, 3) and triangles (T, 3): arrays or CPU tensors, as `mien.render` makes them."""

    @property
    def vertices(self) -> Any: ...  # noqa: D102

    @property
    def faces(self) -> Any: ...  # noqa: D102


def chamfer(
    pred: TriangleMesh,
    target: TriangleMesh,
    *,
    protocol: SurfaceProtocol = "icon",
    samples: int | Literal["vertices"] | None = None,
    seed: int = 0,
) -> float:
    """Chamfer distance 50 (d(G -> P) + d(P -> G)): centimetres for meshes in metres.

        d(A -> B) = mean over samples a of A of min over b in B of |a - b|

    B is its vertices ("car") or its triangles ("icon"). Costs two `point_to_surface`.

    Arguments and errors are those of `point_to_surface`.
    """
    there, back = both_ways(pred, target, protocol=protocol, samples=samples, seed=seed)
    return 0.5 * (there + back)


def both_ways(
    pred: TriangleMesh,
    target: TriangleMesh,
    *,
    protocol: SurfaceProtocol = "icon",
    samples: int | Literal["vertices"] | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """P2S = 100 d(G -> P), and 100 d(P -> G); their mean is `chamfer`.

    Arguments and errors are those of `point_to_surface`.
    """
    pairs = ((target, pred), (pred, target))
    there, back = (CENTIMETRES * _directed(a, b, protocol, samples, seed) for a, b in pairs)
    return there, back


def point_to_surface(
    pred: TriangleMesh,
    target: TriangleMesh,
    *,
    protocol: SurfaceProtocol = "icon",
    samples: int | Literal["vertices"] | None = None,
    seed: int = 0,
) -> float:
    """P2S = 100 d(G -> P), from the target to the prediction, as in the code of CAR and of ICON.

    O(S log V) for "car", O(S (log T + triangles near)) for "icon".

    Args:
        pred: mesh.
        target: mesh, the truth, in the same frame and unit.
        protocol: "car": nearest vertex; "icon": nearest point of a triangle.
        samples: how many points of each mesh (default that of the protocol), or "vertices": these.
        seed: of the samples.

    Raises:
        ConfigError: no such protocol, or fewer than one sample.
        DataError: a mesh without triangles, not finite, or with an index out of range.
    """
    return CENTIMETRES * _directed(target, pred, protocol, samples, seed)


def normal_error(
    pred: TriangleMesh,
    target: TriangleMesh,
    *,
    protocol: SurfaceProtocol = "car",
    draw: NormalDraw | None = None,
) -> float:
    """Error of normals by either protocol; "Normal" columns of CAR and of ICON / ECON are not comparable.

    "car": mean over vertices v of the prediction of (1 - cos(n_v, n_w)) / 2, w the nearest vertex of the
    target (0.09 is some 35 degrees); O(V log V). "icon": `reprojected_normal_error`.

    Args:
        pred: mesh.
        target: mesh, the truth.
        protocol: which.
        draw: "icon": draws normals.

    Raises:
        ConfigError: no such protocol; "icon" without ``draw``.
        DataError: see `point_to_surface`.
    """
    _check_protocol(protocol)
    if protocol == "icon":
        if draw is None:
            raise ConfigError("normal_error: protocol='icon' compares pictures of normals; give draw=")
        return reprojected_normal_error(pred, target, draw)
    ours, truth = _arrays(pred), _arrays(target)
    _, near = cKDTree(truth.vertices).query(ours.vertices)
    return normal_difference(vertex_normals(ours), vertex_normals(truth)[near])


def normal_difference(normals: Array, others: Array) -> float:
    """Mean |(n - m) / 2|^2 = mean (1 - cos) / 2 of unit normals (N, 3) twice.

    >>> normal_difference(np.array([[0, 0, 1.0]]), np.array([[0, 0, -1.0]]))
    1.0
    """
    return float((((np.asarray(normals) - others) / 2) ** 2).sum(-1).mean())


def reprojected_normal_error(
    pred: TriangleMesh,
    target: TriangleMesh,
    draw: NormalDraw,
    angles: Sequence[float] = (0.0, 90.0, 180.0, 270.0),
) -> float:
    """Mean over views and all their pixels of sum over channels |n - m|^2 / 4 (ICON, ECON).

    The pictures are those of normals scaled to [0, 1], background in the middle. ECON averages the views so;
    ICON's code adds its four. Costs ``draw`` twice a view.

    Args:
        pred: mesh, within the view of ``draw``.
        target: mesh, the truth.
        draw: draws the normals (`mien.render.draw_normals`).
        angles: turns about y, degrees.

    Raises:
        DataError: see `point_to_surface`.
    """
    meshes, total = (_arrays(pred), _arrays(target)), 0.0
    for angle in angles:
        turn = Rotation.from_rotvec([0, np.deg2rad(angle), 0]).as_matrix()
        ours, truth = (draw(m.vertices @ turn.T, m.faces) for m in meshes)
        total += float(((ours - truth) ** 2).sum(-1).mean() / 4)
    return total / len(angles)


def volume_iou(pred: TriangleMesh, target: TriangleMesh, *, resolution: int = 128) -> float:
    """Volume of the intersection over that of the union, of closed meshes.

    Inside is where a ray along z has crossed more surface inwards than outwards, so meshes that cross
    themselves count as their union. Columns of a common grid; O(resolution^3 + triangles x columns below).

    Args:
        pred: closed mesh, faces outward.
        target: closed mesh, the truth.
        resolution: cells along the longest side of the common box, 8 to 1024.

    Raises:
        ConfigError: another resolution.
        DataError: see `point_to_surface`; or both meshes enclose nothing.
    """
    if not 8 <= resolution <= 1024:
        raise ConfigError(f"volume_iou: resolution={resolution} is outside [8, 1024]")
    meshes = _arrays(pred), _arrays(target)
    low = np.minimum(*(m.vertices.min(0) for m in meshes))
    high = np.maximum(*(m.vertices.max(0) for m in meshes))
    step = float((high - low).max()) / resolution
    cells = np.maximum(np.ceil((high - low) / step).astype(np.int64), 1)
    a, b = (_occupancy(m, low, step, cells) for m in meshes)
    union = int((a | b).sum())
    if union == 0:
        raise DataError("volume_iou: neither mesh encloses a cell; are they closed, with faces outward?")
    return int((a & b).sum()) / union


def is_watertight(mesh: TriangleMesh) -> bool:
    """Whether every edge belongs to exactly two triangles. O(T log T)."""
    _, counts = _edges(_arrays(mesh).faces)
    return bool((counts == 2).all())


def euler_number(mesh: TriangleMesh) -> int:
    """V - E + T over the vertices that a triangle uses: 2 for a ball, 0 for a torus. O(T log T)."""
    faces = _arrays(mesh).faces
    edges, _ = _edges(faces)
    return len(np.unique(faces)) - len(edges) + len(faces)


def self_intersections(mesh: TriangleMesh) -> int:
    """Number of pairs of triangles without a common vertex that cross; touching and coplanar ones do not.

    O(T log T + pairs whose bounding spheres meet).

    Raises:
        DataError: see `point_to_surface`.
    """
    own = _arrays(mesh)
    corners, count = own.vertices[own.faces], 0
    for pairs in _close_pairs(corners):
        f, g = own.faces[pairs[:, 0]], own.faces[pairs[:, 1]]
        apart = ~(f[:, :, None] == g[:, None, :]).any((1, 2))
        a, b = corners[pairs[apart, 0]], corners[pairs[apart, 1]]
        boxes = ((a.min(1) <= b.max(1)) & (b.min(1) <= a.max(1))).all(1)
        count += int(triangles_cross(a[boxes], b[boxes]).sum())
    return count


# -- points and triangles -----------------------------------------------------------------------------------


def point_triangle_distance(points: Array, a: Array, b: Array, c: Array) -> Array:
    """Distance (N,) of points to their triangles (Ericson 2004, section 5.1.5), all (N, 3). O(N)."""
    ab, ac, ap = b - a, c - a, points - a
    n = np.cross(ab, ac)
    area = (n**2).sum(1) + 1e-30
    w = (np.cross(ab, ap) * n).sum(1) / area
    v = (np.cross(ap, ac) * n).sum(1) / area
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    best = np.where(inside, np.abs((ap * n).sum(1)) / np.sqrt(area), np.inf)
    for p, q in ((a, b), (b, c), (c, a)):
        d = q - p
        t = np.clip(((points - p) * d).sum(1) / ((d**2).sum(1) + 1e-30), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - p - t[:, None] * d, axis=1))
    return np.asarray(best)


def surface_distance(points: Array, mesh: TriangleMesh) -> Array:
    """Distance (N,) of points (N, 3) to the nearest point of any triangle, exact (`closest_points`).

    Raises:
        DataError: see `point_to_surface`.
    """
    own = _arrays(mesh)
    return closest_points(points, own.vertices, own.faces).distance


def triangles_cross(first: Array, second: Array) -> NDArray[np.bool_]:
    """Whether an edge of either triangle passes through the inside of the other; (N, 3, 3) twice. O(N)."""
    out = np.zeros(len(first), bool)
    for edges, face in ((first, second), (second, first)):
        for k in range(3):
            out |= _pierces(edges[:, k], edges[:, (k + 1) % 3], *face.swapaxes(0, 1))
    return out


def _pierces(p: Array, q: Array, a: Array, b: Array, c: Array) -> NDArray[np.bool_]:
    """Whether segments pq pass through triangles abc, by the signs of five volumes."""
    sides = _volume(p, a, b, c), _volume(q, a, b, c)
    around = np.sign(np.stack([_volume(p, q, a, b), _volume(p, q, b, c), _volume(p, q, c, a)]))
    return np.asarray((np.sign(sides[0]) * np.sign(sides[1]) < 0) & (np.abs(around.sum(0)) == 3))


def _volume(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Six times the signed volume of tetrahedra."""
    return np.asarray((np.cross(b - a, c - a) * (d - a)).sum(-1))


def _close_pairs(corners: Array) -> Iterator[Index]:
    """Pairs (M, 2) of triangles whose bounding spheres meet, each once, in parts."""
    groups = size_groups(corners)
    for k, a in enumerate(groups):
        own = a.tree.query_pairs(2 * a.radius, output_type="ndarray")
        yield a.which[own].reshape(-1, 2)
        for b in groups[k + 1 :]:
            near = b.tree.query_ball_tree(a.tree, a.radius + b.radius)
            large = np.repeat(b.which, [len(n) for n in near])
            small = np.concatenate([np.asarray(n, np.int64) for n in near])
            yield np.stack([large, a.which[small]], 1)


def _occupancy(mesh: _Arrays, low: Array, step: float, cells: Index) -> NDArray[np.bool_]:
    """(X, Y, Z) whether the centres of cells are inside."""
    corners = (mesh.vertices[mesh.faces] - low) / step - 0.5 + _SHIFT  # centres of cells are whole numbers
    first = np.maximum(np.ceil(corners[..., :2].min(1)).astype(np.int64), 0)
    last = np.minimum(np.floor(corners[..., :2].max(1)).astype(np.int64), cells[:2] - 1)
    spans = np.maximum(last - first + 1, 0)
    which = np.repeat(np.arange(len(corners)), spans.prod(1))
    rank = np.arange(len(which)) - np.repeat(np.cumsum(spans.prod(1)) - spans.prod(1), spans.prod(1))
    column = first[which] + np.stack([rank // spans[which, 1], rank % spans[which, 1]], 1)
    a, b, c = corners[which].swapaxes(0, 1)
    e = np.stack([_cross(b, c, column), _cross(c, a, column), _cross(a, b, column)], 1)
    hit = np.flatnonzero((np.sign(e).sum(1) == 3) | (np.sign(e).sum(1) == -3))
    e, column = e[hit], column[hit]
    area = e.sum(1)
    height = (e * np.stack([a[hit, 2], b[hit, 2], c[hit, 2]], 1)).sum(1) / area
    wind = np.zeros((cells[0], cells[1], cells[2] + 1), np.int32)
    level = np.clip(np.ceil(height).astype(np.int64), 0, cells[2])
    np.add.at(wind, (column[:, 0], column[:, 1], level), np.where(area > 0, -1, 1))
    return np.asarray(wind.cumsum(2)[..., :-1] > 0)


_SHIFT = np.array([0.000137, 0.000291, 0.0])  # no column through a vertex or an edge of a regular mesh


def _cross(a: Array, b: Array, p: Array) -> Array:
    return np.asarray((a[:, 0] - p[:, 0]) * (b[:, 1] - p[:, 1]) - (a[:, 1] - p[:, 1]) * (b[:, 0] - p[:, 0]))


def _edges(faces: Index) -> tuple[Index, Index]:
    """Edges (E, 2) without direction, and how many triangles have each."""
    every = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, counts = np.unique(np.sort(every, axis=1), axis=0, return_counts=True)
    return edges, counts


# -- meshes -------------------------------------------------------------------------------------------------


class _Arrays(NamedTuple):
    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]


def _arrays(mesh: TriangleMesh) -> _Arrays:
    """The mesh as float64 and int64 arrays, checked."""
    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise DataError(f"a mesh is vertices (V, 3) and faces (T, 3), got {vertices.shape} and {faces.shape}")
    if not len(faces):
        raise DataError("the mesh has no triangles; nothing to measure")
    if not np.isfinite(vertices).all():
        raise DataError("a vertex of the mesh is not finite")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise DataError(f"a face index is out of range: there are {len(vertices)} vertices")
    return _Arrays(vertices, faces)


def vertex_normals(mesh: TriangleMesh) -> Array:
    """Unit normals (V, 3), faces weighted by their angle at the vertex (`trimesh`). O(T)."""
    import trimesh

    own = _arrays(mesh)
    return np.asarray(trimesh.Trimesh(own.vertices, own.faces, process=False).vertex_normals)


def sample_evenly(mesh: TriangleMesh, count: int, seed: int = 0) -> Array:
    """At most ``count`` points (N, 3) of a surface, none much nearer to another than the mean (`trimesh`).

    Raises:
        ConfigError: fewer than one point.
        DataError: see `point_to_surface`.
    """
    import trimesh

    if count < 1:
        raise ConfigError(f"samples={count}: at least one point is needed")
    own = _arrays(mesh)
    made = trimesh.Trimesh(own.vertices, own.faces, process=False)
    points, _ = trimesh.sample.sample_surface_even(made, count, seed=seed)
    return np.asarray(points)


def _check_protocol(protocol: str) -> None:
    if protocol not in get_args(SurfaceProtocol):
        raise ConfigError(f"no surface protocol {protocol!r}; one of {', '.join(get_args(SurfaceProtocol))}")


def _directed(
    source: TriangleMesh,
    to: TriangleMesh,
    protocol: SurfaceProtocol,
    samples: int | Literal["vertices"] | None,
    seed: int,
) -> float:
    """Mean distance of samples of one mesh to another."""
    _check_protocol(protocol)
    if samples == "vertices":
        points = _arrays(source).vertices
    else:
        points = sample_evenly(source, SAMPLES[protocol] if samples is None else samples, seed)
    if protocol == "icon":
        return float(surface_distance(points, to).mean())
    return float(cKDTree(_arrays(to).vertices).query(points)[0].mean())
