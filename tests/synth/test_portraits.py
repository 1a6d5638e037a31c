from __future__ import annotations

import numpy as np
import pytest

from mien.synth.body import people
from mien.synth.face import CHEAP
from mien.synth.portraits import make_face, portrait, sample_actions

from .made import head, photo, same_picture

SEEDS = (0, 1, 2, 3)


def test_same_seeds_same_bytes():
    np.random.seed(7)  # noqa: NPY002
    again = portrait(1, 0, 64)
    assert same_picture(again, head(1))
    assert not np.array_equal(portrait(1, 1, 64).rgb, again.rgb)


def test_nuisance_does_not_change_who_it_is():
    a, b = make_face(3, CHEAP), make_face(3, CHEAP)
    assert a.looks == b.looks
    for name in ("vertices", "paint", "transfer", "masks"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert np.array_equal(a.strands.points, b.strands.points)
    c = make_face(4, CHEAP)
    assert not np.array_equal(a.vertices, c.vertices)
    assert a.looks != c.looks


def test_photographs_share_the_person_and_differ_in_the_shot():
    """Albedo at the same canonical place is the same in two pictures of one person."""
    one, two = photo(1, 0, glasses=0), photo(1, 5, glasses=0)
    assert not np.array_equal(one.rgb, two.rgb)
    assert not np.array_equal(one.rotation, two.rotation)
    from scipy.spatial import cKDTree

    own, other = (p.part == 1 for p in (one, two))
    near, k = cKDTree(two.canon[other]).query(one.canon[own])
    close = near < 0.01
    assert close.sum() > 10
    difference = np.abs(one.albedo[own][close] - two.albedo[other][k[close]]).max(1)
    assert np.median(difference) < 0.01


@pytest.mark.parametrize("identity", SEEDS)
def test_ground_truth_is_coherent(identity):
    p = head(identity)
    assert p.rgb.shape == (64, 64, 3)
    assert p.rgb.dtype == np.uint8
    there = p.part > 0
    assert 0.3 < there.mean() < 0.95
    assert np.isfinite(p.depth[there]).all()
    assert np.isinf(p.depth[~there]).all()
    assert p.depth[there].min() > 0.1
    assert np.ptp(p.depth[there]) < 0.6
    np.testing.assert_allclose(np.linalg.norm(p.normal[there], axis=1), 1, atol=1e-5)
    assert not p.normal[~there].any()
    assert not p.albedo[~there].any()
    assert (p.albedo[there] >= 0).all()
    assert p.albedo.max() < 1
    np.testing.assert_allclose(p.rotation @ p.rotation.T, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("identity", SEEDS)
def test_canonical_positions_are_those_of_the_base_mesh(identity):
    p = head(identity)
    skin = p.part == 1
    canon = p.canon[skin]
    low, high = np.array([-1.0, 5.0, -1.0]), np.array([1.0, 8.5, 1.75])
    assert (canon > low).all()
    assert (canon < high).all()
    assert not p.canon[p.part >= 7].any()  # strands have none
    from scipy.spatial import cKDTree

    body = np.unique(people().faces["body"])
    near, _ = cKDTree(people().vertices[body]).query(canon)
    assert near.max() < 0.15  # on the surface
    eyes = [(p.part == k) for k in (2, 3)]
    for eye, sign in zip(eyes, (1, -1), strict=True):
        if eye.any():
            assert (sign * p.canon[eye][:, 0] > 0).all()


@pytest.mark.parametrize("identity", SEEDS)
def test_depth_and_normals_describe_one_surface(identity):
    """Normals from differences of unprojected depth agree with the normal map inside the face."""
    p = head(identity, 0, 256, True)
    i, j = np.mgrid[0:256, 0:256]
    x = (j + 0.5 - 128) / p.focal * p.depth
    y = -(i + 0.5 - 128) / p.focal * p.depth
    at = np.stack([x, y, -p.depth], -1)
    skin = p.part == 1
    inside = np.zeros_like(skin)
    inside[2:-2, 2:-2] = np.all(
        [skin[2 + a : 254 + a, 2 + b : 254 + b] for a in (-2, 0, 2) for b in (-2, 0, 2)], axis=0
    )
    with np.errstate(invalid="ignore"):
        du = np.roll(at, -2, 1) - np.roll(at, 2, 1)
        dv = np.roll(at, -2, 0) - np.roll(at, 2, 0)
    n = np.cross(dv[inside], du[inside])
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    cos = np.abs((n * p.normal[inside]).sum(1))
    assert inside.sum() > 2000
    assert np.degrees(np.arccos(np.clip(np.median(cos), -1, 1))) < 6
    assert np.mean(cos > 0.9) > 0.85


def test_camera_unprojects_landmarks_to_the_head():
    """Pixel and depth of the eyes give back the distance between the eyeballs in metres."""
    p = head(5, 0, 256, True)
    marks = p.landmarks
    eyes = []
    for corners in ((36, 39), (42, 45)):
        x, y, z = marks[list(corners)].mean(0)
        eyes.append(((x - 128) / p.focal * z, -(y - 128) / p.focal * z, p.camera[2] - z))
    gap = np.linalg.norm(np.subtract(*eyes))
    assert 0.05 < gap < 0.08  # of grown people
    assert eyes[1][0] > eyes[0][0]  # the subject's left is +x, right in the picture


def test_expressions_are_known_actions_in_range():
    known = set(people().actions)
    neutral = 0
    for seed in range(200):
        actions = sample_actions(seed)
        assert set(actions) <= known
        assert all(0 <= v <= 1 for v in actions.values())
        neutral += not actions
    assert 0.2 < neutral / 200 < 0.5
    assert sample_actions(3) == sample_actions(3)
    weak = sample_actions(1, 0.1)
    assert all(v < 0.1 for v in weak.values())


def test_sizes():
    small = head(2, 0, 64)
    large = head(2, 0, 256, True)
    assert large.rgb.shape == (256, 256, 3)
    assert small.landmarks.shape == large.landmarks.shape == (68, 3)
