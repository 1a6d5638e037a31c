from __future__ import annotations

import numpy as np
import pytest
import trimesh

from mien.core.errors import ConfigError
from mien.synth.body import people
from mien.synth.dressed import (
    GARMENT,
    covered_core,
    dress,
    inside_of,
    sample_surface,
    signed_distance,
    vertex_moves,
    winding,
)
from mien.synth.garment import Garment, sample_outfit
from mien.synth.identity import sample_identity
from mien.synth.poses import sample_pose

GREY = (0.2, 0.2, 0.2)


def ball(radius=1.0, subdivisions=3):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int32)


def body(seed=0, outfit=None):
    human = people()
    who = sample_identity(seed, frozenset(human.shapes))
    return dress(human, human.shaped(who.shape), outfit or sample_outfit(seed, who.macro.male))


@pytest.fixture(scope="module")
def worn():
    return body(0)


@pytest.mark.parametrize("seed", range(12))
def test_no_skin_under_the_clothes(seed):
    made = body(seed)
    skin = made.faces[made.layer == 0]
    assert len(skin) > 5000  # head and hands at least
    core = covered_core(made.canon)
    assert not core[skin].all(1).any()
    cloth = np.unique(made.faces[made.layer >= GARMENT])
    assert core[cloth].sum() > 500  # clothes are there instead


def test_covered_core_is_torso_and_hips():
    points = np.array(
        [
            [0, 3, 1.5],
            [1.5, 3, 0],
            [1.8, 3, 0],
            [0, 4.7, 1],
            [0, 0.5, 1],
            [1.8, 0.5, 0],
            [0, -0.7, 0],
            [0, 7, 1],
        ],
        float,
    )
    assert covered_core(points).tolist() == [True, True, False, False, True, True, False, False]


def test_bare_outfits_are_refused():
    human = people()
    with pytest.raises(ConfigError, match=r"an outfit needs a dress"):
        dress(human, human.vertices, (Garment("shirt", GREY),))


def test_layers_and_blend(worn):
    assert worn.faces.max() < len(worn.points)
    assert set(worn.layer.tolist()) == {*range(5), *range(GARMENT, GARMENT + len(worn.worn))}
    np.testing.assert_allclose(np.asarray(worn.blend.sum(1)).ravel(), 1, atol=1e-5)
    assert (worn.blend.data > -1e-9).all()
    np.testing.assert_allclose(worn.blend @ people().vertices, worn.canon, atol=1e-4)
    skin = np.unique(worn.faces[worn.layer == 0])
    np.testing.assert_allclose((worn.blend @ worn.shaped)[skin], worn.points[skin], atol=1e-5)
    assert not worn.fold[skin].any()


def test_identity_pose_is_rest(worn):
    moves, bones = vertex_moves(people(), worn.shaped, {})
    np.testing.assert_allclose(bones, np.tile(np.eye(4), (len(bones), 1, 1)), atol=1e-12)
    np.testing.assert_allclose(worn.posed(moves), worn.points, atol=1e-4)


def test_posed_skin_is_that_of_people(worn):
    """Skin of the dressed mesh moves exactly as the undressed body does."""
    import torch

    from mien.synth.poses import pose_array
    from mien.synth.skinning import blend, chain

    human = people()
    pose = sample_pose(3, "walking")
    moves, _ = vertex_moves(human, worn.shaped, pose)
    rest = torch.as_tensor(worn.shaped).double()[None]
    turns = torch.as_tensor(pose_array(human, pose))[None]
    t = chain(torch.as_tensor(human.joints(worn.shaped)).double()[None], turns, human.parents)
    weight = torch.as_tensor(human.skin_weight).double()
    expected = blend(rest, t, torch.as_tensor(human.skin_bone).long(), weight)[0].numpy()
    skin = np.unique(worn.faces[worn.layer == 0])
    own = np.asarray(worn.blend.argmax(1)).ravel()[skin]
    np.testing.assert_allclose(worn.posed(moves)[skin], expected[own], atol=1e-4)


def test_a_turned_root_turns_skin_and_clothes_rigidly(worn):
    from scipy.spatial.transform import Rotation

    r = Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix()
    moves, bones = vertex_moves(people(), worn.shaped, {"root": r})
    root = people().joints(worn.shaped)[0]
    np.testing.assert_allclose(worn.posed(moves), (worn.points - root) @ r.T + root, atol=1e-3)
    np.testing.assert_allclose(bones[:, :3, :3], np.tile(r, (len(bones), 1, 1)), atol=1e-9)


# -- signed distance ----------------------------------------------------------------------------------------


def test_winding_number_of_a_closed_ball():
    points, faces = ball()
    rng = np.random.default_rng(0)
    inside, outside = 0.8 * rng.uniform(-0.5, 0.5, (50, 3)), 1.2 + rng.random((50, 3))
    np.testing.assert_allclose(winding(inside, points, faces), 1, atol=1e-9)
    np.testing.assert_allclose(winding(outside, points, faces), 0, atol=1e-9)
    np.testing.assert_allclose(winding(inside, points, faces[:, ::-1].copy()), -1, atol=1e-9)


def test_winding_number_of_half_a_ball_is_the_solid_angle():
    points, faces = ball(subdivisions=4)
    half = faces[points[faces].mean(1)[:, 1] > 0]
    assert winding(np.zeros((1, 3)), points, half)[0] == pytest.approx(0.5, abs=0.02)


def test_fast_inside_test_equals_the_exact_winding_number(worn):
    rng = np.random.default_rng(4)
    near = worn.points[rng.integers(0, len(worn.points), 60)] + rng.normal(0, 0.3, (60, 3))
    exact = winding(near, worn.points.astype(np.float64), worn.faces)
    sure = np.abs(exact - 0.5) > 0.02
    assert np.array_equal(inside_of(near, worn.points, worn.faces)[sure], exact[sure] > 0.5)
    assert 0.1 < (exact > 0.5).mean() < 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_a_dressed_body_is_solid(seed):
    """What is inside the undressed skin is inside the clothes and the skin that is left."""
    made = body(seed)
    query = np.random.default_rng(seed).uniform(made.points.min(0), made.points.max(0), (6000, 3))
    within = query[inside_of(query, made.shaped, people().faces["body"])]
    assert len(within) > 300
    assert inside_of(within, made.points, made.faces).mean() > 0.99
    far = query + np.array([0, 0, 12.0])
    assert not inside_of(far, made.points, made.faces).any()


def test_signed_distance_of_a_ball():
    points, faces = ball(0.7, 4)
    query = np.random.default_rng(1).uniform(-1.2, 1.2, (300, 3))
    got = signed_distance(query, points, faces, faces)
    exact = np.linalg.norm(query, axis=1) - 0.7
    error = 0.7 * (1 - np.cos(np.pi / 2 / 2**4))  # sagitta of a facet, and some
    assert np.abs(got - exact).max() < error
    near = np.abs(exact) > error
    assert np.array_equal(np.sign(got[near]), np.sign(exact[near]))


def test_signed_distance_of_a_box():
    mesh = trimesh.creation.box((0.4, 1.0, 0.6))
    query = np.random.default_rng(2).uniform(-1, 1, (100, 3))
    got = signed_distance(
        query, np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int32), mesh.faces.astype(np.int32)
    )
    q = np.abs(query) - np.array([0.2, 0.5, 0.3])
    exact = np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0)
    np.testing.assert_allclose(got, exact, atol=1e-9)


def test_surface_samples_are_area_uniform():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2], [3, 0, 2], [0, 3, 2]], float)
    faces = np.array([[0, 1, 2], [3, 4, 5]], np.int32)  # areas 1/2 and 9/2
    p, n, face = sample_surface(points, faces, 20000, 0)
    assert (face == 1).mean() == pytest.approx(0.9, abs=0.01)
    np.testing.assert_allclose(n, [[0, 0, 1.0]] * 20000)
    np.testing.assert_allclose(p[:, 2], np.where(face == 1, 2, 0))
    for k, size in ((0, 1.0), (1, 3.0)):  # uniform inside: mean and second moment of a right triangle
        xy = p[face == k, :2]
        assert (xy.sum(1) <= size + 1e-9).all()
        np.testing.assert_allclose(xy.mean(0), size / 3, rtol=0.05)
        np.testing.assert_allclose((xy**2).mean(0), size**2 / 6, rtol=0.08)
    again = sample_surface(points, faces, 20000, 0)[0]
    assert np.array_equal(p, again)
    assert not np.array_equal(p, sample_surface(points, faces, 20000, 1)[0])
