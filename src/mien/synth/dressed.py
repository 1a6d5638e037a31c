"""Dressed bodies: skin where it shows and clothes, one skinned mesh; canonical and posed; signed distances.

Nobody is undressed: skin that a garment covers is not in the mesh at all, and an outfit must cover the torso.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse import vstack as sparse_rows
from scipy.spatial import cKDTree

from mien.core.seeds import derive
from mien.metrics.surfaces import point_triangle_distance
from mien.synth.body import People
from mien.synth.garment import HIPS, TORSO, Outfit, check_outfit, hides, pieces, tailor
from mien.synth.jit import njit
from mien.synth.poses import pose_array
from mien.synth.skinning import chain

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
LAYERS = ("skin", "eye_l", "eye_r", "teeth", "tongue")
GARMENT = len(LAYERS)  # layer of the first piece of clothing


@dataclass(frozen=True)
class Dressed:
    """A dressed body at rest.

    Attributes:
        points: (N, 3) dm, shaped, at rest.
        canon: (N, 3) canonical positions.
        faces: (T, 3), outward.
        layer: (T,) index into `LAYERS`, or `GARMENT` + number of the piece.
        blend: (N, V) sparse: values at the base mesh's vertices -> values here.
        fold: (N,) height of folds, dm.
        hem: (N,) distance from the cut, dm; large on skin.
        worn: the pieces, innermost first (dresses and coats are a top and a skirt).
        shaped: (V, 3) the whole base mesh of this body, dm.
    """

    points: Array
    canon: Array
    faces: Index
    layer: NDArray[np.uint8]
    blend: csr_matrix
    fold: Array
    hem: Array
    worn: Outfit
    shaped: Array

    def posed(self, moves: Array) -> Array:
        """Posed points (N, 3) dm by linear blend skinning with ``moves`` (V, 3, 4) of `vertex_moves`."""
        own = (self.blend @ moves.reshape(len(moves), 12)).reshape(-1, 3, 4)
        out = np.einsum("nij,nj->ni", own[..., :3], self.points) + own[..., 3]
        return out.astype(np.float32)


def dress(human: People, shaped: Array, outfit: Outfit) -> Dressed:
    """Puts an outfit on a body. O(vertices), some 100 ms.

    Args:
        human: the shipped human.
        shaped: (V, 3) dm, the whole base mesh of one body.
        outfit: clothes; must cover torso and hips.

    Raises:
        ConfigError: the outfit leaves torso or hips bare.
    """
    check_outfit(outfit)
    worn = pieces(outfit)
    canon = human.vertices
    hidden = np.zeros(len(canon), bool)
    for g in worn:
        hidden |= hides(g, canon)
    body = human.faces["body"]
    skin = body[~hidden[body].all(1)]
    teeth = np.concatenate([human.faces["teeth_upper"], human.faces["teeth_lower"]])
    groups = [skin, human.faces["eye_l"], human.faces["eye_r"], teeth, human.faces["tongue"]]
    faces = np.concatenate(groups)
    layer = [np.full(len(f), k, np.uint8) for k, f in enumerate(groups)]
    used = np.unique(faces)
    own = csr_matrix((np.ones(len(used)), (np.arange(len(used)), used)), shape=(len(used), len(canon)))
    points, canons, blends = [shaped[used]], [canon[used]], [own]
    folds, hems = [np.zeros(len(used), np.float32)], [np.full(len(used), 99, np.float32)]
    all_faces: list[Array] = [np.searchsorted(used, faces)]
    count = len(used)
    for k, g in enumerate(worn):
        cloth = tailor(g, human, shaped)
        over = np.zeros(len(cloth.canon), bool)  # what outer clothes hide is left out: it would poke through
        for outer in worn[k + 1 :]:
            over |= hides(outer, cloth.canon)
        sheet = cloth.faces[~over[cloth.faces].all(1)]
        points.append(cloth.points)
        canons.append(cloth.canon)
        blends.append(cloth.blend)
        folds.append(cloth.fold)
        hems.append(cloth.hem)
        all_faces.append(sheet + count)
        layer.append(np.full(len(sheet), GARMENT + k, np.uint8))
        count += len(cloth.points)
    return Dressed(
        np.concatenate(points).astype(np.float32),
        np.concatenate(canons).astype(np.float32),
        np.concatenate(all_faces).astype(np.int32),
        np.concatenate(layer),
        sparse_rows(blends).tocsr(),
        np.concatenate(folds),
        np.concatenate(hems),
        worn,
        np.asarray(shaped, np.float32),
    )


def vertex_moves(human: People, shaped: Array, pose: Mapping[str, Array]) -> tuple[Array, Array]:
    """Blended transforms (V, 3, 4) of the base mesh's vertices, and of the bones (J, 4, 4); dm."""
    heads = torch.as_tensor(human.joints(shaped))[None].double()
    turns = torch.as_tensor(pose_array(human, pose))[None]
    bones = chain(heads, turns, human.parents)[0].numpy()
    moves = np.einsum("vk,vkij->vij", human.skin_weight, bones[human.skin_bone][:, :, :3])
    return moves, bones


def covered_core(canon: Array) -> NDArray[np.bool_]:
    """Canonical points of torso and hips that no picture may show as skin."""
    x, y = np.abs(canon[:, 0]), canon[:, 1]
    chest = (y > TORSO[0]) & (y < TORSO[1]) & (x < 1.6)
    return np.asarray(chest | ((y > HIPS[0]) & (y < HIPS[1]) & (x < 1.9)))


# -- signed distance ----------------------------------------------------------------------------------------


@njit(cache=True)  # type: ignore[untyped-decorator]
def _solid_angles(p: Array, vertices: Array, faces: Index) -> float:
    """Sum of the signed solid angles of triangles seen from p (van Oosterom and Strackee 1983)."""
    total = 0.0
    for t in range(len(faces)):
        ax, ay, az = vertices[faces[t, 0]] - p
        bx, by, bz = vertices[faces[t, 1]] - p
        cx, cy, cz = vertices[faces[t, 2]] - p
        a = np.sqrt(ax * ax + ay * ay + az * az)
        b = np.sqrt(bx * bx + by * by + bz * bz)
        c = np.sqrt(cx * cx + cy * cy + cz * cz)
        det = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
        ab, bc, ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, cx * ax + cy * ay + cz * az
        total += 2 * np.arctan2(det, a * b * c + ab * c + bc * a + ca * b)
    return total


@njit(cache=True)  # type: ignore[untyped-decorator]
def winding(points: Array, vertices: Array, faces: Index) -> Array:
    """Generalised winding number (Jacobson et al. 2013, equation 5): sum of solid angles / 4 pi. O(N T)."""
    out = np.zeros(len(points))
    for n in range(len(points)):
        out[n] = _solid_angles(points[n], vertices, faces) / (4 * np.pi)
    return out


@dataclass(frozen=True)
class _Clusters:
    """Triangles in groups of neighbours: where a group is, how large, and its summed area vector."""

    faces: Index
    middle: Array
    radius: Array
    vector: Array
    each: int


def _clusters(vertices: Array, faces: Index, each: int = 48) -> _Clusters:
    """Sorts triangles along a Morton curve and groups them. O(T log T)."""
    corners = vertices[faces]
    centre = corners.mean(1)
    low, span = centre.min(0), np.ptp(centre, axis=0).max() + 1e-12
    cell = np.minimum(((centre - low) / span * 1023).astype(np.int64), 1023)
    code = np.zeros(len(faces), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    faces = faces[np.argsort(code, kind="stable")]
    corners = vertices[faces]
    area = 0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.linalg.norm(area, axis=1)[:, None] + 1e-15
    starts = np.arange(0, len(faces), each)
    weight = np.add.reduceat(size, starts)
    middle = np.add.reduceat(size * corners.mean(1), starts) / weight
    reach = np.linalg.norm(corners - np.repeat(middle, each, 0)[: len(faces), None], axis=2).max(1)
    return _Clusters(faces, middle, np.maximum.reduceat(reach, starts), np.add.reduceat(area, starts), each)


def inside_of(points: Array, vertices: Array, faces: Index) -> NDArray[np.bool_]:
    """Whether points (N, 3) have a winding number above 1/2.

    Groups of triangles farther than 3 times their radius count as one dipole (Barill et al. 2018, first
    order). O(N (T / 48 + near triangles)).
    """
    v = np.ascontiguousarray(vertices, np.float64)
    c = _clusters(v, faces)
    w = _winding_fast(
        np.ascontiguousarray(points, np.float64), v, c.faces, c.middle, c.radius, c.vector, c.each
    )
    return np.asarray(w > 0.5)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _winding_fast(
    points: Array, vertices: Array, faces: Index, middle: Array, radius: Array, vector: Array, each: int
) -> Array:
    out = np.zeros(len(points))
    for n in range(len(points)):
        total = 0.0
        for g in range(len(middle)):
            dx = middle[g, 0] - points[n, 0]
            dy = middle[g, 1] - points[n, 1]
            dz = middle[g, 2] - points[n, 2]
            d2 = dx * dx + dy * dy + dz * dz
            if d2 > 9 * radius[g] * radius[g]:
                total += (dx * vector[g, 0] + dy * vector[g, 1] + dz * vector[g, 2]) / (d2 * np.sqrt(d2))
            else:
                first = g * each
                total += _solid_angles(points[n], vertices, faces[first : first + each])
        out[n] = total / (4 * np.pi)
    return out


@dataclass(frozen=True)
class SdfSamples:
    """Points with signed distance: metres, negative inside; normals of the surface points."""

    points: Array
    sdf: Array
    normals: Array


def sample_surface(points: Array, faces: Index, count: int, seed: int) -> tuple[Array, Array, Index]:
    """Area-uniform points (count, 3), unit normals and face indices of a mesh. O(T + count log T)."""
    rng = np.random.default_rng(derive(seed, "surface"))
    a, b, c = (points[faces[:, k]].astype(np.float64) for k in range(3))
    n = np.cross(b - a, c - a)
    area = np.linalg.norm(n, axis=1)
    face = np.searchsorted(np.cumsum(area), rng.random(count) * area.sum()).clip(0, len(faces) - 1)
    u, v = np.sqrt(rng.random(count)), rng.random(count)
    w0, w1, w2 = 1 - u, u * (1 - v), u * v
    p = w0[:, None] * a[face] + w1[:, None] * b[face] + w2[:, None] * c[face]
    return p, n[face] / (area[face, None] + 1e-30), face.astype(np.int32)


def signed_distance(query: Array, points: Array, faces: Index, solid: Index, seed: int = 0) -> Array:
    """Signed distance (Q,) to the mesh, negative inside. Unit of the points.

    Inside is where the winding number of ``solid`` (the whole closed skin and the clothes) passes 1/2, so a
    skirt is solid, as in scans. Distances by triangles near 60,000 surface samples: exact wherever the true
    nearest triangle holds one of the 8 nearest samples. O(Q (T / 48 + log samples)).

    Args:
        query: (Q, 3).
        points: (N, 3) vertices.
        faces: (T, 3) the outer surface.
        solid: (S, 3) triangles of the closed solid, indices into ``points``.
        seed: of the surface samples.
    """
    on, _, face = sample_surface(points, faces, 60000, seed)
    _, near = cKDTree(on).query(query, k=8)
    best = np.full(len(query), np.inf)
    for k in range(8):
        tri = faces[face[near[:, k]]]
        best = np.minimum(
            best, point_triangle_distance(query, *(points[tri[:, q]].astype(np.float64) for q in range(3)))
        )
    inside = inside_of(query, points, solid)
    return np.where(inside, -best, best)
