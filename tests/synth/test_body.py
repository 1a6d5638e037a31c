from __future__ import annotations

import re
from importlib.resources import files

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError
from mien.synth import body
from mien.synth.body import people

GENITAL = range(15128, 15328)
DOUBLE = torch.float64


@pytest.fixture(scope="module")
def human():
    return people()


@pytest.fixture(scope="module")
def drawn(human):
    """Vertices that some triangle uses."""
    return np.unique(np.concatenate([f.ravel() for f in human.faces.values()]))


def turns(count, seed=0, amount=1.0):
    vectors = amount * np.random.default_rng(seed).normal(size=(count, 3))
    return torch.as_tensor(Rotation.from_rotvec(vectors).as_matrix())


def test_asset_is_small_and_holds_no_pickles():
    path = files("mien.synth") / "assets" / "people.npz"
    assert path.stat().st_size <= 15e6
    with np.load(path, allow_pickle=False) as table:
        assert all(table[k].dtype != object for k in table.files)


def test_asset_is_opened_without_pickles(monkeypatch):
    seen = []
    load = np.load
    monkeypatch.setattr(body.np, "load", lambda *a, **k: seen.append(k) or load(*a, **k))
    people.__wrapped__()
    assert seen == [{"allow_pickle": False}]


def test_missing_asset_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(body, "files", lambda package: tmp_path)
    with pytest.raises(ConfigError, match=r"people\.npz: missing; install mien again"):
        people.__wrapped__()


def test_nothing_intimate_and_no_minors(human):
    for name, faces in human.faces.items():
        assert not np.isin(faces, GENITAL).any(), name
    assert not human.vertices[GENITAL.start : GENITAL.stop].any()
    every = [*human.shapes, *human.actions, *human.bones, *human.masks, *human.faces]
    bad = re.compile(r"breast|genital|penis|nipple|cupsize|firmness|baby|newborn|child|areola|crotch")
    assert [n for n in every if bad.search(n)] == []
    for name in human.shapes:
        assert not np.isin(human.target(name)[0], GENITAL).any(), name


def test_base_mesh_is_symmetric(human, drawn):
    points = human.vertices[drawn]
    distance, partner = cKDTree(points).query(points * [-1, 1, 1])
    assert distance.max() < 1e-6
    assert np.array_equal(np.sort(partner), np.arange(len(drawn)))
    left = human.vertices[np.unique(human.faces["eye_l"])]
    assert (left[:, 0] > 0).all()  # the subject's left is +x
    assert left[:, 2].mean() > 0.8  # the face looks along +z


def test_jaw_open_is_that_of_the_source(human):
    """2543 vertices, largest component 0.343 in the published target; steps of the asset are below 1e-5."""
    index, delta = human.target("action-jawOpen")
    assert len(index) == len(set(index.tolist())) == 2543
    assert np.abs(delta).max() == pytest.approx(0.343, abs=1e-5)
    chin = human.vertices[:, 1].argmin()
    moved = human.expressed({"jawOpen": 0.5})
    np.testing.assert_allclose(moved[index], 0.5 * delta, atol=1e-6)
    assert not moved[chin].any()  # the soles
    assert moved[:, 1].min() < -0.1  # the jaw falls


def test_52_actions_and_their_sides(human):
    assert len(human.actions) == len(set(human.actions)) == 52
    for left in (a for a in human.actions if a.endswith("Left")):
        right = left.removesuffix("Left") + "Right"
        if left.startswith(("jaw", "mouthL", "mouthR")) or right not in human.actions:
            continue
        total = {}
        for name in (left, right):
            index, delta = human.target(f"action-{name}")
            total[name] = human.vertices[index[np.linalg.norm(delta, axis=1).argmax()], 0]
        assert total[left] > -0.05, left
        assert total[right] < 0.05, right


def test_bones_come_after_their_parents(human):
    assert human.parents[0] == -1
    assert all(0 <= p < k for k, p in enumerate(human.parents) if k)
    assert len(set(human.bones)) == len(human.bones) == len(human.parents)


def test_skinning_weights(human):
    assert (human.skin_weight >= 0).all()
    np.testing.assert_allclose(human.skin_weight.sum(1), 1, atol=1e-6)
    assert human.skin_bone.max() < len(human.bones)
    left = human.vertices[:, 0] > 1  # an arm or a leg follows bones of its own side
    names = np.array(human.bones)[human.skin_bone[left, 0]]
    assert not any(n.endswith(".R") for n in names)


def test_shaped_adds_weighted_shapes(human):
    weights = {"nose-hump-incr": 0.4, "head-oval": 0.7}
    expected = human.vertices.astype(np.float64)
    for name, weight in weights.items():
        for at, step in zip(*human.target(name), strict=True):
            expected[at] += weight * step
    np.testing.assert_allclose(human.shaped(weights), expected, atol=1e-5)
    assert np.array_equal(human.shaped({}), human.vertices)


def test_unknown_names_suggest_the_nearest(human):
    with pytest.raises(ConfigError, match=r"unknown face action 'jawOpne'.*jawOpen"):
        human.expressed({"jawOpne": 0.5})
    with pytest.raises(ConfigError, match=r"unknown shape 'nose-hump-inc'.*nose-hump-incr"):
        human.shaped({"nose-hump-inc": 0.5})
    one = torch.ones(1)
    with pytest.raises(ConfigError, match=r"unknown shape 'head-ovall'.*head-oval"):
        human.forward({"head-ovall": one})
    with pytest.raises(ConfigError, match=r"unknown face action 'eyeBlink'.*eyeBlink"):
        human.forward({}, {"eyeBlink": one})


@pytest.mark.parametrize("value", [-0.2, 1.01, float("nan")])
def test_actions_out_of_range_are_refused(human, value):
    with pytest.raises(ConfigError, match=r"face action jawOpen=.* is outside \[0, 1\]"):
        human.expressed({"jawOpen": value})


def test_shapes_out_of_range_are_refused(human):
    with pytest.raises(ConfigError, match=r"shape head-oval=2\.5 is outside \[0, 2\]"):
        human.shaped({"head-oval": 2.5})


def test_forward_at_rest_is_shaped_plus_expressed(human):
    shape, actions = {"nose-hump-incr": 0.4, "head-oval": 0.7}, {"jawOpen": 0.6, "mouthSmileLeft": 0.3}
    out = human.forward(
        {k: torch.tensor([v]) for k, v in shape.items()}, {k: torch.tensor([v]) for k, v in actions.items()}
    )
    expected = 0.1 * (human.shaped(shape) + human.expressed(actions))
    np.testing.assert_allclose(out.rest_vertices[0], expected, atol=1e-6)
    np.testing.assert_allclose(out.vertices[0], expected, atol=1e-6)
    np.testing.assert_allclose(out.joints[0], human.joints(10 * expected) / 10, atol=1e-5)


def test_joints_are_means_of_their_vertices(human):
    heads = dict(zip(human.bones, human.joints(human.vertices), strict=True))
    np.testing.assert_allclose(heads["neck01"], [0, 5.89, 0.07], atol=0.01)
    np.testing.assert_allclose(heads["head"], [0, 6.97, 0.16], atol=0.01)
    np.testing.assert_allclose(heads["eye.L"], [0.308, 7.284, 1.245], atol=0.01)
    for name, head in heads.items():  # sides mirror
        if name.endswith(".L"):  # two of the source's tongue bones both lie on the tongue's right
            allowed = 0.02 if name.startswith("tongue") else 1e-4
            np.testing.assert_allclose(heads[name[:-1] + "R"], head * [-1, 1, 1], atol=allowed)


def test_identity_pose_is_rest(human):
    pose = torch.eye(3, dtype=DOUBLE).expand(2, len(human.bones), 3, 3)
    out = human.forward({"head-oval": torch.tensor([0.0, 0.8], dtype=DOUBLE)}, pose=pose)
    torch.testing.assert_close(out.vertices, out.rest_vertices, rtol=0, atol=1e-6)
    assert not torch.equal(out.vertices[0], out.vertices[1])


def test_turning_the_root_moves_everything_rigidly(human, drawn):
    pose = torch.eye(3, dtype=DOUBLE).repeat(1, len(human.bones), 1, 1)
    pose[0, 0] = turns(1, seed=3)[0]
    move = torch.tensor([[0.5, -1.0, 2.0]], dtype=DOUBLE)
    out = human.forward({}, pose=pose, translation=move)
    root = torch.as_tensor(human.joints(human.vertices)[0]).double() / 10
    expected = (out.rest_vertices[0] - root) @ pose[0, 0].T + root + move
    torch.testing.assert_close(out.vertices[0, drawn], expected[drawn], rtol=0, atol=1e-6)


def test_a_bone_turns_its_descendants_only(human, drawn):
    pose = torch.eye(3, dtype=DOUBLE).repeat(1, len(human.bones), 1, 1)
    elbow = human.bones.index("lowerarm01.L")
    pose[0, elbow] = turns(1, seed=4)[0]
    out = human.forward({}, pose=pose)
    far = (out.vertices - out.rest_vertices)[0].norm(dim=-1).numpy()
    below = {elbow}
    for k, p in enumerate(human.parents):
        if p in below:
            below.add(k)
    touched = (np.isin(human.skin_bone, list(below)) & (human.skin_weight > 0)).any(1)
    assert far[~touched].max() < 1e-6
    hand = human.vertices[:, 0] > 4.5
    assert far[hand].min() > 0.02
    torch.testing.assert_close(out.joints[0, elbow], human_joint(human, elbow), rtol=0, atol=1e-6)


def human_joint(human, bone):
    return torch.as_tensor(human.joints(human.vertices)[bone]).double() / 10


def test_wrong_pose_shape_is_refused(human):
    with pytest.raises(ConfigError, match=r"pose is \(1, 3, 3, 3\), not \(1, 161, 3, 3\)"):
        human.forward({}, pose=torch.eye(3).expand(1, 3, 3, 3))


def test_gradients_of_shape_actions_and_pose(human):
    names = ("head-oval", "nose-hump-incr")
    picked = [human.target(f"action-{a}")[0][7] for a in ("jawOpen", "mouthSmileLeft")]
    neck, jaw = (human.bones.index(b) for b in ("neck02", "jaw"))

    def some(shape, actions, vector):
        cross = torch.zeros(2, 3, 3, dtype=DOUBLE)
        for axis, (i, j) in enumerate(((2, 1), (0, 2), (1, 0))):
            cross[:, i, j], cross[:, j, i] = vector[:, axis], -vector[:, axis]
        pose = torch.eye(3, dtype=DOUBLE).repeat(1, len(human.bones), 1, 1)
        pose[0, [neck, jaw]] = torch.linalg.matrix_exp(cross)
        out = human.forward(
            {n: shape[:, k] for k, n in enumerate(names)},
            {"jawOpen": actions[:, 0], "mouthSmileLeft": actions[:, 1]},
            pose,
        )
        return out.vertices[0, picked], out.joints[0, neck]

    inputs = [
        torch.tensor(v, dtype=DOUBLE, requires_grad=True)
        for v in ([[0.3, 0.6]], [[0.4, 0.2]], [[0.1, -0.3, 0.2], [0.2, 0.1, -0.1]])
    ]
    assert torch.autograd.gradcheck(some, inputs)
