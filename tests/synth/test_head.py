from __future__ import annotations

import numpy as np

from mien.synth.body import people
from mien.synth.head import EYE_L, EYE_R, SKIN, TEETH, TONGUE
from mien.synth.portraits import head_mesh


def test_head_is_cut_from_the_base_mesh():
    head, human = head_mesh(), people()
    assert np.array_equal(head.canon, human.vertices[head.own])
    assert head.faces.max() < len(head.own)
    counts = [int((head.material == m).sum()) for m in (SKIN, EYE_L, EYE_R, TEETH, TONGUE)]
    assert counts[0] > 8000
    assert counts[1] == counts[2] == len(human.faces["eye_l"])
    assert counts[3] == len(human.faces["teeth_upper"]) + len(human.faces["teeth_lower"])
    assert head.canon[head.faces[head.material == SKIN]].mean(1)[:, 1].min() > 4.2  # nothing below the chest
    assert (head.canon[head.faces[head.material == EYE_L]][..., 0] > 0).all()
    assert np.array_equal(head.own[head.landmarks], np.asarray(_landmarks()))


def _landmarks():
    from mien.synth.landmarks import LANDMARKS

    return LANDMARKS


def test_hair_grows_on_no_ear_and_not_on_the_face():
    head = head_mesh()
    assert (head.masks[head.scalp, 2] < 0.5).all()
    middle = head.canon[head.scalp].mean(1)
    assert middle[:, 1].min() > 6.6
    assert set(map(tuple, head.scalp)) <= set(map(tuple, head.faces[head.material == SKIN]))


def test_points_below_a_place_of_the_frontal_view():
    head = head_mesh()
    rng = np.random.default_rng(0)
    xy = np.c_[rng.uniform(-0.5, 0.5, 200), rng.uniform(6.4, 7.9, 200)]
    bound, good = head.below(xy)
    assert good.mean() > 0.98
    at = bound.at(head.canon)[good]
    on_skin = np.abs(at[:, :2] - xy[good]).max(1) < 0.01
    assert on_skin.mean() > 0.97
    assert (at[:, 2] > 0.3).all()  # the front of the head
    np.testing.assert_allclose(bound.weights.sum(1), 1, atol=1e-5)
    _, nothing = head.below(np.array([[1.25, 8.3], [9.0, 9.0]]))
    assert not nothing.any()


def test_lashes_are_bound_to_the_lids():
    head = head_mesh()
    count = len(head.upper)
    assert head.lashes.corners.shape == (4 * count, 3)
    points = head.lashes.at(head.canon).reshape(count, 4, 3)
    assert np.abs(np.abs(points[:, 0, 0]) - 0.31).max() < 0.2  # roots near the eyes
    assert (points[head.upper, 0, 1].mean() > points[~head.upper, 0, 1].mean() + 0.02).all()
    length = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(1)
    assert (length < 0.3).all()
    assert (points[:, 3, 2] > points[:, 0, 2] - 0.05).mean() > 0.8  # outwards
