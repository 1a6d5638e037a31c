"""The head as the renderer sees it: which faces, which material, where lips, lids, brows and beard are.

Canonical positions: undeformed base mesh, decimetres, y up, face +z, subject's left +x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.synth.light import depth_map
from mien.synth.noise import fbm_at, volume

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
SKIN, EYE_L, EYE_R, TEETH, TONGUE, SHIRT = range(6)
_FRONT = 768  # pixels of the frontal look-up
_FRONT_HALF = 1.3
_FRONT_CENTRE = np.array([0.0, 7.1, 0.0], np.float32)
_AXES = np.eye(3, dtype=np.float32)


@dataclass(frozen=True)
class Bound:
    """Points bound to faces: vertices (N, 3) and weights (N, 3); they move with the mesh."""

    corners: Index
    weights: Array

    def at(self, values: Array) -> Array:
        """Per-vertex values (V, C) at the points -> (N, C)."""
        return np.einsum("nk,nkc->nc", self.weights, values[self.corners]).astype(np.float32)


@dataclass(frozen=True)
class HeadMesh:
    """Geometry that all identities share.

    Attributes:
        own: (V,) which vertices of the base mesh are kept.
        canon: (V, 3) their canonical positions.
        faces: (T, 3) skin, eyes, teeth, tongue of the head.
        material: (T,) uint8, SKIN .. TONGUE.
        shirt: (S, 3) faces of the garment over shoulders.
        masks: (V, 4) in [0, 1]: lips, lids, ears, mouth lining.
        scalp: (K, 3) faces where hair may grow.
        lashes: four points of each lash, root to tip, bound to the cards of the lashes: (strands x 4).
        upper: (strands,) whether a lash belongs to an upper lid.
        front: for each pixel of the frontal look-up the face seen, -1 for none.
        landmarks: (68,) vertex of each facial landmark.
    """

    own: Index
    canon: Array
    faces: Index
    material: NDArray[np.uint8]
    shirt: Index
    masks: Array
    scalp: Index
    lashes: Bound
    upper: NDArray[np.bool_]
    front: Index
    landmarks: Index

    @cached_property
    def skin(self) -> Index:
        """(N,) vertices of the skin."""
        return np.unique(self.faces[self.material == SKIN])

    @cached_property
    def solid(self) -> Index:
        """(N,) vertices of all faces and of the garment."""
        return np.unique(np.concatenate([self.faces.ravel(), self.shirt.ravel()]))

    @cached_property
    def occluders(self) -> Index:
        """(T, 3) what casts shadows: the head, and the garment where it cannot blacken the neck."""
        low = self.shirt[self.canon[self.shirt].mean(1)[:, 1] < 4.8]
        return np.ascontiguousarray(np.concatenate([self.faces, low]), np.int32)

    @cached_property
    def surfaces(self) -> tuple[Index, NDArray[np.uint8], Array]:
        """Faces of head and garment (whose vertices follow those of the head), materials, heights."""
        faces = np.concatenate([self.faces, self.shirt + len(self.canon)]).astype(np.int32)
        material = np.concatenate([self.material, np.full(len(self.shirt), SHIRT, np.uint8)])
        height = self.canon[np.concatenate([self.faces, self.shirt]), 1].mean(1)
        return faces, material, height.astype(np.float32)

    @cached_property
    def lift(self) -> Array:
        """(V, 1) how far the garment lies outside the skin, dm."""
        out = np.zeros((len(self.canon), 1), np.float32)
        used = np.unique(self.shirt)
        rough = fbm_at(volume(), np.ascontiguousarray(self.canon[used]), 1.3, 2, 3.0)
        out[used, 0] = 0.09 + 0.035 * rough
        return out

    @cached_property
    def share(self) -> Array:
        """(V,) weights of the mean over faces."""
        count = np.bincount(self.faces[:, 0], minlength=len(self.canon))
        return (count / count.sum()).astype(np.float32)

    def below(self, xy: Array) -> tuple[Bound, NDArray[np.bool_]]:
        """Points of the front of the canonical face at (x, y) (N, 2), and which of them exist."""
        k = _FRONT / (2 * _FRONT_HALF)
        j = ((xy[:, 0] - _FRONT_CENTRE[0] + _FRONT_HALF) * k).astype(int)
        i = ((xy[:, 1] - _FRONT_CENTRE[1] + _FRONT_HALF) * k).astype(int)
        inside = (i >= 0) & (j >= 0) & (i < _FRONT) & (j < _FRONT)
        face = np.where(inside, self.front[np.clip(i, 0, _FRONT - 1), np.clip(j, 0, _FRONT - 1)], -1)
        good = face >= 0
        corners = self.faces[np.maximum(face, 0)]
        a, b, c = (self.canon[corners[:, q], :2] for q in range(3))
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
        area = np.where(np.abs(area) < 1e-9, 1.0, area)
        w1 = ((xy[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (xy[:, 1] - a[:, 1])) / area
        w2 = ((b[:, 0] - a[:, 0]) * (xy[:, 1] - a[:, 1]) - (xy[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])) / area
        weights = np.clip(np.stack([1 - w1 - w2, w1, w2], 1), 0, 1)
        weights /= weights.sum(1, keepdims=True)
        return Bound(corners.astype(np.int32), weights.astype(np.float32)), good


def build_head(
    canon: Array,
    body: Index,
    eyes: tuple[Index, Index],
    teeth: Index,
    tongue: Index,
    tights: Index,
    masks: Array,
    ear_moves: Array,
    lash_cards: Sequence[tuple[Index, Array, bool]],
    landmarks: Sequence[int],
) -> HeadMesh:
    """Cuts the head out of the base mesh.

    Args:
        canon: (V, 3).
        body: faces of the skin.
        eyes: faces of the left and right eyeball.
        teeth: faces of both rows.
        tongue: its faces.
        tights: faces of the close garment.
        masks: (V, 4).
        ear_moves: (V,) how far each vertex moves when the ears grow: no hair on ears.
        lash_cards: faces (T, 3), UV corners (T, 3, 2), upper or not, of each card.
        landmarks: vertex of each of the 68.
    """
    cards = [_card(f, uv, 46 if upper else 32) for f, uv, upper in lash_cards]
    lashes = Bound(np.concatenate([c.corners for c in cards]), np.concatenate([c.weights for c in cards]))
    upper = np.concatenate(
        [np.full(len(c.corners) // 4, u) for c, (_, _, u) in zip(cards, lash_cards, strict=True)]
    )
    skin = body[canon[body].mean(1)[:, 1] > 4.2]
    parts = [(skin, SKIN), (eyes[0], EYE_L), (eyes[1], EYE_R), (teeth, TEETH), (tongue, TONGUE)]
    faces = np.concatenate([f for f, _ in parts]).astype(np.int32)
    material = np.concatenate([np.full(len(f), m, np.uint8) for f, m in parts])
    shirt = tights[canon[tights].mean(1)[:, 1] > 3.6].astype(np.int32)
    middle = canon[skin].mean(1)
    hairy = (middle[:, 1] > 6.6) & (ear_moves[skin].max(1) < 0.03) & (masks[skin, 2].max(1) < 0.5)
    own = np.unique(np.concatenate([faces.ravel(), shirt.ravel(), lashes.corners.ravel()]))

    def new(index: Index) -> Index:
        return np.searchsorted(own, index).astype(np.int32)

    canon = np.ascontiguousarray(canon[own], np.float32)
    return HeadMesh(
        own.astype(np.int32),
        canon,
        new(faces),
        material,
        new(shirt),
        np.ascontiguousarray(masks[own], np.float32),
        new(skin[hairy]),
        Bound(new(lashes.corners), lashes.weights),
        upper,
        _front(canon, new(skin)),
        new(np.asarray(landmarks)),
    )


def _card(faces: Index, uv: Array, columns: int) -> Bound:
    """Points along columns of a lash card (u across the lid, v from root to tip), bound to its faces."""
    low, high = uv.reshape(-1, 2).min(0), uv.reshape(-1, 2).max(0)
    u = low[0] + (high[0] - low[0]) * np.linspace(0.02, 0.98, columns)
    v = low[1] + (high[1] - low[1]) * np.linspace(0.03, 0.97, 4)
    at = np.stack([np.repeat(u, 4), np.tile(v, columns)], 1)
    a, b, c = uv[:, 0], uv[:, 1], uv[:, 2]
    area = (b - a)[:, 0] * (c - a)[:, 1] - (c - a)[:, 0] * (b - a)[:, 1]
    p = at[:, None] - a[None]
    w1 = (p[..., 0] * (c - a)[:, 1] - (c - a)[:, 0] * p[..., 1]) / area
    w2 = ((b - a)[:, 0] * p[..., 1] - p[..., 0] * (b - a)[:, 1]) / area
    weights = np.stack([1 - w1 - w2, w1, w2], -1)
    best = weights.min(-1).argmax(1)
    own = np.clip(weights[np.arange(len(at)), best], 0, 1)
    own /= own.sum(1, keepdims=True)
    return Bound(faces[best].astype(np.int32), own.astype(np.float32))


def _front(canon: Array, skin: Index) -> Index:
    """Face index of the foremost skin at each pixel of a frontal orthographic view."""
    height = np.full((_FRONT, _FRONT), -1e9, np.float32)
    depth_map(canon, skin, _AXES, _FRONT_CENTRE, _FRONT_HALF, height)
    out = np.full((_FRONT, _FRONT), -1, np.int32)
    k = _FRONT / (2 * _FRONT_HALF)
    px = (canon[:, 0] - _FRONT_CENTRE[0] + _FRONT_HALF) * k
    py = (canon[:, 1] - _FRONT_CENTRE[1] + _FRONT_HALF) * k
    for t in np.flatnonzero(canon[skin].mean(1)[:, 2] > -0.2):
        a, b, c = skin[t]
        j0, j1 = int(min(px[a], px[b], px[c])), int(max(px[a], px[b], px[c])) + 1
        i0, i1 = int(min(py[a], py[b], py[c])), int(max(py[a], py[b], py[c])) + 1
        if i0 < 0 or j0 < 0 or i1 >= _FRONT or j1 >= _FRONT:
            continue
        i, j = np.mgrid[i0 : i1 + 1, j0 : j1 + 1]
        x, y = j + 0.5, i + 0.5
        area = (px[b] - px[a]) * (py[c] - py[a]) - (px[c] - px[a]) * (py[b] - py[a])
        if abs(area) < 1e-6:
            continue
        w1 = ((x - px[a]) * (py[c] - py[a]) - (px[c] - px[a]) * (y - py[a])) / area
        w2 = ((px[b] - px[a]) * (y - py[a]) - (x - px[a]) * (py[b] - py[a])) / area
        z = (1 - w1 - w2) * canon[a, 2] + w1 * canon[b, 2] + w2 * canon[c, 2]
        hit = (w1 >= 0) & (w2 >= 0) & (w1 + w2 <= 1) & (z >= height[i, j] - 1e-4)
        out[i[hit], j[hit]] = t
    return out
