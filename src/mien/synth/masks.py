"""Worn masks: the victim's face over the attacker's, as paper, plaster, resin, silicone or latex."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.sparse import coo_matrix, csr_matrix, diags

from mien.core.seeds import derive
from mien.synth.face import Person
from mien.synth.head import SKIN, HeadMesh
from mien.synth.portraits import head_mesh
from mien.synth.shading import vertex_normals
from mien.synth.worn import Worn, worn_region

Array = NDArray[Any]  # of floats
MaskKind = Literal["paper", "plaster", "resin", "silicone", "latex"]
_SMOOTHING = {"paper": 0, "plaster": 22, "resin": 14, "silicone": 2, "latex": 5}
_OFFSET = {"paper": (0.03, 0.08), "plaster": (0.03, 0.05), "resin": (0.02, 0.04), "silicone": (0.01, 0.03),
           "latex": (0.01, 0.03)}  # fmt: skip
"""Thickness, dm."""


@lru_cache(1)
def _mean_of_neighbours() -> csr_matrix:
    head = head_mesh()
    f = head.faces[head.material == SKIN]
    e = np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]])
    e = np.concatenate([e, e[:, ::-1]])
    n = len(head.canon)
    table = coo_matrix((np.ones(len(e)), (e[:, 0], e[:, 1])), shape=(n, n)).tocsr()
    table.data[:] = 1
    return (diags(1 / np.maximum(np.asarray(table.sum(1)).ravel(), 1)) @ table).tocsr()


def _facets(head: HeadMesh, points: Array, rng: np.random.Generator) -> Array:
    """A face folded from paper: linear between 25 - 45 corners, seen from the front."""
    seen = _front_vertices(head)
    own = seen[(worn_region(head.canon[seen]) > 0) & (head.canon[seen, 2] > 0.4)]
    corners = [int(own[np.argmax(head.canon[own, 2])])]
    gap = np.full(len(own), np.inf)
    for _ in range(int(rng.integers(25, 45))):
        gap = np.minimum(gap, np.linalg.norm(head.canon[own] - head.canon[corners[-1]], axis=1))
        corners.append(int(own[np.argmax(gap * rng.uniform(0.7, 1.0, len(own)))]))
    corners = sorted(set(corners))
    flat = LinearNDInterpolator(head.canon[corners, :2], points[corners])(head.canon[own, :2])
    out = points.copy()
    good = np.isfinite(flat).all(1)
    out[own[good]] = flat[good]
    return out


def _closed(head: HeadMesh, points: Array, face: Array) -> Array:
    """A shell without a mouth: what lies behind its front (the lining of the lips) goes 3 mm behind it."""
    front = _front_vertices(head)
    behind = np.flatnonzero(face > 0)
    behind = behind[~np.isin(behind, front)]
    z = LinearNDInterpolator(points[front, :2], points[front, 2])(points[behind, :2])
    out = points.copy()
    good = np.isfinite(z)
    out[behind[good], 2] = z[good] - 0.03
    return out


def _front_vertices(head: HeadMesh) -> Array:
    """Vertices of the faces that a frontal view sees, without the lining of the mouth."""
    seen = np.unique(head.faces[np.unique(head.front[head.front >= 0])])
    return np.asarray(seen[head.masks[seen, 3] < 0.5])


def wear_mask(attacker: Person, victim: Person, kind: MaskKind, seed: int) -> Person:
    """The attacker with a mask of the victim's face.

    Rigid masks lose relief below some millimetres, paper has facets, soft ones keep it; each lies a few
    millimetres outside the attacker's skin. The attacker's eyes and hair stay.

    Args:
        attacker: who wears it.
        victim: whose face it is.
        kind: its material.
        seed: thickness and paint.
    """
    rng = np.random.default_rng(derive(seed, "worn", kind))
    head = head_mesh()
    own, theirs = attacker.vertices, victim.vertices
    shift = 0.5 * (attacker.eyes[0] + attacker.eyes[1]) - 0.5 * (victim.eyes[0] + victim.eyes[1])
    target = theirs + shift
    skin = np.unique(head.faces[head.material == SKIN])
    face = np.zeros(len(head.canon))
    face[skin] = worn_region(head.canon[skin])
    if kind == "paper":
        target = _facets(head, target, rng)
    smooth = _mean_of_neighbours()
    broad = (face > 0)[:, None]
    for _ in range(_SMOOTHING[kind]):
        target = np.where(broad, 0.5 * target + 0.5 * (smooth @ target), target)
    if kind not in ("silicone", "latex"):
        target = _closed(head, target, face)
    normal = vertex_normals(np.ascontiguousarray(own, np.float32), head.faces)
    outside = ((target - own) * normal).sum(1)
    least = float(rng.uniform(*_OFFSET[kind]))
    if kind in ("silicone", "latex"):
        target = target + np.maximum(0, least - outside)[:, None] * normal
    else:  # a rigid shell moves forward as a whole
        gap = np.maximum(0, least - outside)[face > 0.5]
        target = target + np.array(
            [0, 0, float(np.clip(np.percentile(gap, 90), 0.02, 0.12 if kind == "paper" else 0.07))]
        )
    vertices = (own + face[:, None] * (target - own)).astype(np.float32)
    masks = attacker.masks.copy()
    masks[:, 5:7] += face[:, None] * (victim.masks[:, 5:7] - masks[:, 5:7])
    worn = _paint(victim, kind, rng)
    looks = replace(attacker.looks, worn=worn)
    color = attacker.paint.copy()
    w = face[skin, None]
    color[skin] = (1 - w) * color[skin] + w * worn.color(head.canon[skin], masks[skin])
    return replace(
        attacker, vertices=vertices, masks=masks, looks=looks, paint=color.astype(np.float32), growth=()
    )


def _paint(victim: Person, kind: MaskKind, rng: np.random.Generator) -> Worn:
    skin = victim.looks.skin
    even = replace(skin, blotch=0.25, freckles=0.0, moles=(), bags=0.3 * skin.bags, brow=0.9)
    used = victim.paint[victim.paint.sum(1) > 0]
    tone, tint = _rgb(np.median(used, 0)), _rgb(np.exp(rng.normal(0, (0.05, 0.04, 0.06))))
    if kind == "paper":
        low, gain = float(rng.uniform(0.04, 0.08)), float(rng.uniform(0.7, 0.85))
        return Worn(skin, tint, low, gain, 0.0, tone, 0.25, 0.7)
    if kind == "plaster":
        bare = rng.random() < 0.2
        white = (0.72, 0.70, 0.66)
        return Worn(even, tint, 0.03, 0.9, 0.95 if bare else 0.35, white if bare else tone, 0.2, 0.75)
    gloss = {"resin": 1.3, "silicone": 0.75, "latex": 1.0}[kind]
    rough = {"resin": 0.28, "silicone": 0.42, "latex": 0.36}[kind]
    flat = {"resin": 0.35, "silicone": 0.15, "latex": 0.25}[kind]
    return Worn(even, tint, 0.01, 0.97, flat, tone, gloss, rough)


def _rgb(v: Array) -> tuple[float, float, float]:
    return float(v[0]), float(v[1]), float(v[2])
