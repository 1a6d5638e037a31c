from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError, DataError
from mien.synth.body import people
from mien.synth.body_models import BodyModel, CapsuleBody, PeopleBody, SmplBody, dense_weights

DOUBLE = torch.float64


def turns(batch, count, seed=0, amount=None):
    if amount is None:
        return torch.as_tensor(Rotation.random(batch * count, rng=seed).as_matrix()).reshape(
            batch, count, 3, 3
        )
    vectors = amount * np.random.default_rng(seed).normal(size=(batch * count, 3))
    return torch.as_tensor(Rotation.from_rotvec(vectors).as_matrix()).reshape(batch, count, 3, 3)


def test_dense_weights_add_a_bone_named_twice():
    bone, weight = np.array([[0, 2], [1, 1]], np.int32), np.array([[0.25, 0.75], [0.4, 0.6]])
    np.testing.assert_allclose(dense_weights(bone, weight, 3), [[0.25, 0, 0.75], [0, 1, 0]])


# -- the shipped human --------------------------------------------------------------------------------------


def test_people_body_equals_people():
    names, actions = ("head-oval", "nose-hump-incr"), ("jawOpen",)
    own = PeopleBody(names, actions)
    shape = torch.tensor([[0.2, 0.5], [0.9, 0.0]])
    jaw = torch.tensor([[0.3], [0.8]])
    pose = turns(2, len(own.parents), amount=0.3).float()
    move = torch.tensor([[0.0, 1, 0], [1, 0, 0]])
    mine = own.forward(shape, pose, jaw, move)
    theirs = people().forward(
        {n: shape[:, k] for k, n in enumerate(names)}, {"jawOpen": jaw[:, 0]}, pose, move
    )
    for name in ("rest_vertices", "vertices", "joints", "transforms"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
    np.testing.assert_allclose(own.lbs_weights.sum(1), 1, atol=1e-6)
    assert own.lbs_weights.shape == (len(people().vertices), len(people().bones))
    assert np.array_equal(own.faces, people().faces["body"])


def test_people_body_has_every_shape_by_default():
    own = PeopleBody()
    assert own.shape_names == people().shapes
    assert own.expression_names == people().actions


def test_wrong_columns_are_refused():
    with pytest.raises(ConfigError, match=r"shape is \(1, 3\), not \(B, 2\)"):
        PeopleBody(("head-oval", "head-round")).forward(torch.zeros(1, 3))
    with pytest.raises(ConfigError, match=r"expression is \(1, 2\), not \(B, 1\)"):
        PeopleBody((), ("jawOpen",)).forward(torch.zeros(1, 0), expression=torch.zeros(1, 2))


# -- SMPL ---------------------------------------------------------------------------------------------------

SMPL_PARENTS = (0xFFFFFFFF, 0, 1, 1)  # the root's parent is 2^32 - 1 in such files


def smpl_table(vertices=6, components=4, seed=0):
    rng = np.random.default_rng(seed)
    joints = len(SMPL_PARENTS)
    weights = rng.random((vertices, joints))
    regressor = rng.random((joints, vertices))
    return {
        "v_template": rng.normal(size=(vertices, 3)),
        "shapedirs": 0.1 * rng.normal(size=(vertices, 3, components)),
        "posedirs": 0.1 * rng.normal(size=(vertices, 3, 9 * (joints - 1))),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([SMPL_PARENTS, range(joints)], np.uint32),
        "f": np.array([[0, 1, 2], [2, 3, 4]], np.uint32),
    }


def smpl_loop(table, beta, rotations, psi=(), first=0):
    """Loper et al. 2015, equations 2 to 10, one vertex at a time; rotations (J, 3, 3)."""
    shaped = table["v_template"].copy()
    for k, b in enumerate(beta):
        shaped += b * table["shapedirs"][:, :, k]
    for k, e in enumerate(psi):
        shaped += e * table["shapedirs"][:, :, first + k]
    joints = table["J_regressor"] @ shaped
    posed = shaped.copy()
    column = 0
    for j in range(1, len(SMPL_PARENTS)):
        for a in range(3):
            for b in range(3):
                posed += (rotations[j, a, b] - (a == b)) * table["posedirs"][:, :, column]
                column += 1
    world = []
    for j in range(len(SMPL_PARENTS)):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] - (0 if j == 0 else joints[SMPL_PARENTS[j]])
        world.append(local if j == 0 else world[SMPL_PARENTS[j]] @ local)
    out = np.zeros_like(posed)
    for v in range(len(posed)):
        for j, g in enumerate(world):
            back = np.eye(4)
            back[:3, 3] = -joints[j]
            out[v] += table["weights"][v, j] * (g @ back @ np.append(posed[v], 1))[:3]
    return out, np.stack([g[:3, 3] for g in world])


@pytest.mark.parametrize("flat", [False, True])
def test_smpl_equals_its_equations(tmp_path, flat):
    table = smpl_table()
    saved = dict(table)
    if flat:  # some files hold posedirs as (3 V, 9 (J - 1))
        saved["posedirs"] = table["posedirs"].reshape(-1, table["posedirs"].shape[2])
    np.savez(tmp_path / "m.npz", **saved)
    model = SmplBody(tmp_path / "m.npz", betas=3)
    beta, pose = np.array([[0.5, -1, 2], [0, 0.3, -0.2]]), turns(2, 4)
    move = np.array([[0.1, 0.2, 0.3], [0, 0, 0]])
    out = model.forward(torch.as_tensor(beta), pose, translation=torch.as_tensor(move))
    for b in range(2):
        vertices, joints = smpl_loop(table, beta[b], pose[b].numpy())
        np.testing.assert_allclose(out.vertices[b], vertices + move[b], atol=1e-5)
        np.testing.assert_allclose(out.joints[b], joints + move[b], atol=1e-5)
    assert model.parents == (-1, 0, 1, 1)
    assert model.shape_names == ("beta0", "beta1", "beta2")


def test_smplx_expressions_come_after_300_shapes(tmp_path):
    table = smpl_table(components=400)
    np.savez(tmp_path / "x.npz", **table)
    model = SmplBody(tmp_path / "x.npz", betas=2, expressions=3)
    psi = np.array([[0.4, -0.5, 0.6]])
    out = model.forward(torch.zeros(1, 2, dtype=DOUBLE), turns(1, 4), torch.as_tensor(psi))
    expected, _ = smpl_loop(table, (), turns(1, 4)[0].numpy(), psi[0], 300)
    np.testing.assert_allclose(out.vertices[0], expected, atol=1e-5)


def test_smpl_gradients(tmp_path):
    np.savez(tmp_path / "m.npz", **smpl_table(3))
    model = SmplBody(tmp_path / "m.npz", betas=2)
    inputs = [torch.tensor([[0.3, -0.4]], dtype=DOUBLE, requires_grad=True), turns(1, 4).requires_grad_()]
    assert torch.autograd.gradcheck(lambda s, p: model.forward(s, p).vertices, inputs)


def test_smpl_refuses_what_is_not_safe_or_not_smpl(tmp_path):
    table = smpl_table()
    with pytest.raises(DataError, match=r"m\.pkl: not an \.npz; \.pkl models run code"):
        SmplBody(tmp_path / "m.pkl")
    with pytest.raises(DataError, match=r"none\.npz: no such file"):
        SmplBody(tmp_path / "none.npz")
    pickled = table | {"v_template": np.array([{"a": 1}], dtype=object)}
    np.savez(tmp_path / "p.npz", **pickled)
    with pytest.raises(DataError, match=r"p\.npz: an entry is not a plain array"):
        SmplBody(tmp_path / "p.npz")
    for key in table:
        np.savez(tmp_path / "k.npz", **{k: v for k, v in table.items() if k != key})
        with pytest.raises(DataError, match=rf"k\.npz: no {key} in it"):
            SmplBody(tmp_path / "k.npz")
    np.savez(tmp_path / "m.npz", **table)
    with pytest.raises(DataError, match=r"4 components, 10 \+ 0 are wanted"):
        SmplBody(tmp_path / "m.npz")
    np.savez(tmp_path / "q.npz", **table | {"posedirs": table["posedirs"][..., :9]})
    with pytest.raises(DataError, match=r"posedirs has 9 columns, not 27"):
        SmplBody(tmp_path / "q.npz", betas=4)
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(DataError, match=r"text\.npz"):
        SmplBody(tmp_path / "text.npz")


# -- capsules -----------------------------------------------------------------------------------------------


def capsule(body, name):
    return body.names.index(name)


@pytest.fixture(scope="module")
def capsules():
    return CapsuleBody()


def test_capsules_are_a_body_model(capsules):
    model: BodyModel = capsules
    assert len(capsules.names) == len(set(capsules.names)) == 15
    assert all(p < k for k, p in enumerate(model.parents))
    assert [capsules.names[p] for p in model.parents][capsule(capsules, "lower_arm_left")] == "upper_arm_left"
    np.testing.assert_allclose(model.lbs_weights.sum(1), 1)


def test_capsule_sdf_at_points_known_by_hand(capsules):
    shape = torch.zeros(1, 2, dtype=DOUBLE)
    still = torch.eye(4, dtype=DOUBLE).expand(1, 15, 4, 4)
    # Beside the left lower arm (axis along x at y 1.38, radius .04), beyond its end, and inside.
    points = torch.tensor(
        [[[0.6, 1.48, 0.0], [0.6, 1.38, -0.2], [0.82, 1.38, 0.0], [0.6, 1.38, 0.01], [0.0, 1.98, 0.0]]],
        dtype=DOUBLE,
    )
    expected = torch.tensor([[0.06, 0.16, 0.06, -0.03, 0.20]], dtype=DOUBLE)  # head: top end 1.68, radius .1
    torch.testing.assert_close(capsules.sdf(points, shape, still), expected, rtol=0, atol=1e-6)


def test_capsule_sdf_equals_a_loop_when_posed(capsules):
    shape, pose = torch.tensor([[0.1, -0.2]], dtype=DOUBLE), turns(1, 15, amount=0.5)
    out = capsules.forward(shape, pose)
    points = torch.randn(1, 40, 3, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    got = capsules.sdf(points, shape, out.transforms)[0]
    a, b, r = (t[0].numpy() for t in capsules.capsules(shape))
    t = out.transforms[0].numpy()
    for n, p in enumerate(points[0].numpy()):
        best = np.inf
        for k in range(15):
            a_k, b_k = (t[k, :3, :3] @ e[k] + t[k, :3, 3] for e in (a, b))
            line = np.linspace(0, 1, 4001)[:, None] * (b_k - a_k) + a_k
            best = min(best, np.linalg.norm(line - p, axis=1).min() - r[k])
        assert float(got[n]) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("posed", [False, True])
def test_vertices_lie_on_their_capsule(capsules, posed):
    shape = torch.tensor([[0.05, 0.1], [-0.1, 0.0]], dtype=DOUBLE)
    out = capsules.forward(shape, turns(2, 15, amount=0.4) if posed else None)
    d = capsules.sdf(out.vertices, shape, out.transforms)
    assert float(d.abs().amin()) < 1e-6
    assert float(d.max()) < 1e-6  # on its own capsule, or inside a neighbour
    a, b, r = capsules.capsules(shape)
    own = out.rest_vertices.reshape(2, 15, -1, 3)
    axis = (b - a)[:, :, None]
    t = (((own - a[:, :, None]) * axis).sum(-1) / (axis**2).sum(-1)).clamp(0, 1)
    off = (own - a[:, :, None] - t[..., None] * axis).norm(dim=-1) - r[..., None]
    assert float(off.abs().max()) < 1e-6


def test_capsule_faces_are_outward_and_closed(capsules):
    out = capsules.forward(torch.zeros(1, 2, dtype=DOUBLE))
    v, f = out.vertices[0], torch.as_tensor(capsules.faces).long()
    volume = (v[f[:, 0]] * torch.cross(v[f[:, 1]], v[f[:, 2]], dim=1)).sum(1) / 6
    per = len(f) // 15
    a, b, r = (t[0] for t in capsules.capsules(torch.zeros(1, 2, dtype=DOUBLE)))
    for k in range(15):
        exact = np.pi * float(r[k]) ** 2 * (float((b - a)[k].norm()) + 4 / 3 * float(r[k]))
        assert 0.85 * exact < float(volume[k * per : (k + 1) * per].sum()) < exact, capsules.names[k]
    edges = np.concatenate([capsules.faces[:, [i, j]] for i, j in ((0, 1), (1, 2), (2, 0))])
    assert len(np.unique(edges, axis=0)) == len(edges)  # each directed edge once
    assert {tuple(e) for e in edges} == {tuple(e[::-1]) for e in edges}


def test_smooth_union_is_a_lower_bound_that_tightens(capsules):
    shape = torch.zeros(1, 2, dtype=DOUBLE)
    still = torch.eye(4, dtype=DOUBLE).expand(1, 15, 4, 4)
    points = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    exact = capsules.sdf(points, shape, still)
    for smooth in (0.05, 0.005):
        soft = capsules.sdf(points, shape, still, smooth)
        assert (soft <= exact + 1e-12).all()
        assert (exact - soft <= smooth * np.log(15) + 1e-12).all()


def test_capsule_gradients(capsules):
    def some(shape, pose):
        out = capsules.forward(shape, pose)
        at = torch.full((1, 2, 3), 0.7, dtype=DOUBLE)
        return out.vertices[:, [3, 900]], capsules.sdf(at, shape, out.transforms, 0.02)

    pose = turns(1, 15, amount=0.3).requires_grad_()
    shape = torch.tensor([[0.1, 0.2]], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(some, (shape, pose))


def test_capsules_have_no_face(capsules):
    with pytest.raises(ConfigError, match=r"CapsuleBody has no expressions"):
        capsules.forward(torch.zeros(1, 2), expression=torch.zeros(1, 1))
    with pytest.raises(ConfigError, match=r"shape is \(1, 3\), not \(B, 2\)"):
        capsules.forward(torch.zeros(1, 3))
