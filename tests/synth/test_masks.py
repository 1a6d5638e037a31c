from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from mien.synth.head import SKIN
from mien.synth.masks import MaskKind, wear_mask
from mien.synth.portraits import head_mesh
from mien.synth.shading import vertex_normals
from mien.synth.worn import worn_region

from .made import person

KINDS = get_args(MaskKind)


@pytest.fixture(scope="module")
def skin():
    head = head_mesh()
    return np.unique(head.faces[head.material == SKIN])


def test_a_mask_covers_the_face_but_not_eyes_ears_neck():
    points = np.array([[0, 6.9, 1.68], [0.5, 6.8, 1.2], [0.31, 7.285, 1.3], [0.75, 7.1, 0.6], [0, 5.5, 1.0],
                       [0, 7.0, -0.8], [0, 8.4, 0.5]])  # fmt: skip
    assert worn_region(points).round(2).tolist() == [1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_worn_surfaces(kind, skin):
    head, attacker, victim = head_mesh(), person(1), person(2)
    worn = wear_mask(attacker, victim, kind, 3)
    region = worn_region(head.canon[skin])
    moved = np.linalg.norm(worn.vertices - attacker.vertices, axis=1)[skin]
    assert not moved[region == 0].any()  # the attacker's own eyes, ears, neck
    assert (moved[region == 1] > 0).mean() > 0.99
    seen = head.faces[np.unique(head.front[head.front >= 0])]
    outer = np.isin(skin, seen) & (head.masks[skin, 3] < 0.5)  # not the lining of the mouth
    assert moved[outer].max() < 0.6  # decimetres
    normal = vertex_normals(np.ascontiguousarray(attacker.vertices), head.faces)[skin]
    out = ((worn.vertices - attacker.vertices)[skin] * normal).sum(1)
    assert np.mean(out[(region == 1) & outer] > -0.05) > 0.85  # a mask lies on the face
    assert worn.growth == ()  # brows and beard are below
    assert worn.looks.worn is not None
    assert worn.eyes is attacker.eyes
    assert np.array_equal(worn.vertices, wear_mask(attacker, victim, kind, 3).vertices)
    assert attacker.looks.worn is None  # not changed in place


def test_soft_masks_look_like_the_victim_and_rigid_ones_are_smooth(skin):
    head, attacker, victim = head_mesh(), person(1), person(2)
    inner = skin[worn_region(head.canon[skin]) == 1]

    def rough(vertices):
        """Mean distance of each vertex from the mean of its neighbours."""
        f = head.faces[head.material == SKIN]
        total, count = np.zeros_like(vertices), np.zeros(len(vertices))
        for a, b in ((0, 1), (1, 2), (2, 0)):
            for p, q in ((a, b), (b, a)):
                np.add.at(total, f[:, p], vertices[f[:, q]])
                np.add.at(count, f[:, p], 1)
        return np.linalg.norm(vertices - total / np.maximum(count, 1)[:, None], axis=1)[inner].mean()

    made = {k: rough(wear_mask(attacker, victim, k, 3).vertices) for k in KINDS}
    assert made["plaster"] < made["resin"] < made["latex"] < made["silicone"]
    assert made["silicone"] == pytest.approx(rough(victim.vertices), rel=0.2)  # soft ones keep the relief
    paints = {k: wear_mask(attacker, victim, k, 3).looks.worn for k in KINDS}
    assert paints["resin"].gloss > paints["silicone"].gloss > paints["plaster"].gloss
