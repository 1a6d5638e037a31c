"""Made clothed people: splits, spaces that agree, batches of the stages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError
from mien.data import clothed
from mien.data import clothed_loader as clothed_loader_module
from mien.data.clothed import clothed_people, draw_points, kept_at
from mien.data.clothed_loader import (
    ClothedLoader,
    HyperBatch,
    NormalBatch,
    SdfBatch,
    body_in_box,
    depth_of,
    map_tensors,
    mirrored,
)
from mien.data.clothed_sets import clothed_loader, clothed_settings, clothed_sources, is_drawn, read_clothed
from mien.data.config import ClothedData
from mien.render.normal_maps import normal_maps
from mien.synth.clothed_set import CapsuleSet

FEW = {"people": 2, "val_people": 1, "test_people": 1, "pictures": 2, "size": 32, "points": 64}
DATA = ClothedData("debug", **FEW, surface=20, near=30, box=5)


@pytest.fixture(scope="module")
def splits():
    return read_clothed(DATA)


def test_splits_do_not_overlap(splits):
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [4, 2, 2]
    assert splits.train.size == 32
    bodies = np.concatenate([splits.train.body, splits.val.body, splits.test.body])
    assert len(np.unique(bodies.reshape(4, -1), axis=0)) == 4
    assert is_drawn(DATA)


def test_maps_show_the_posed_mesh(splits):
    """LBS of the canonical mesh, projected by calib, covers the mask and has its normals."""
    own = splits.train
    mesh, calib = own.posed_mesh(1, 0), own.calib[1, 0]
    half = 1 / float(calib[0, 0])
    drawn = normal_maps(torch.tensor(mesh.vertices)[None], torch.tensor(mesh.faces), 32, 32, half=half)
    seen = map_tensors(own.maps(2))
    assert torch.equal(drawn.mask[0], seen["mask"][0] > 0)
    assert torch.allclose(drawn.front[0].movedim(-1, 0), seen["normals"][0], atol=1e-2)
    assert torch.allclose(drawn.back[0].movedim(-1, 0), seen["normals"][1], atol=1e-2)
    box = mesh.vertices @ calib[:3, :3].T + calib[:3, 3]
    assert np.abs(box).max() < 1
    head = mesh.vertices[mesh.vertices[:, 1].argmax()]
    assert (calib[:3, :3] @ head + calib[:3, 3])[1] < 0  # y of the box points down


def test_points_lie_on_the_surface_and_carry_their_pose(splits):
    own, rng = splits.train, np.random.default_rng(0)
    drawn = own.points(0, (50, 20, 8), rng)
    assert drawn["surface"].shape == (50, 3)
    assert drawn["near_weight"].shape == (20, 15)
    assert drawn["box_sdf"].shape == (8,)
    assert np.allclose(drawn["near_weight"].astype(float).sum(1), 1, atol=1e-3)
    assert np.array_equal(drawn["transforms"], own.transforms[0, 0])
    assert (drawn["near_sdf"] < 0).any()
    assert np.abs(drawn["near_sdf"]).max() < 0.3


def test_given_body_is_near_the_true_one_and_not_it(splits):
    own = splits.train
    gap = np.linalg.norm(own.posed_body(0, 1) - own.posed_body(0, 1, given=False), axis=1)
    assert 0.001 < gap.mean() < 0.2


def test_batches_of_the_stages(splits):
    kinds = {"normal": NormalBatch, "sdf": SdfBatch, "hyper": HyperBatch}
    for stage, kind in kinds.items():
        stream = clothed_loader(DATA, splits.train, stage, 2, 0).stream(0, 0, 1)
        (batch,) = next(stream)
        assert isinstance(batch, kind)
        assert len(batch.to(torch.device("cpu"))) == 2
    (sdf,) = next(clothed_loader(DATA, splits.train, "sdf", 2, 0).stream(0, 0, 1))
    assert sdf.image.shape == (2, 3, 32, 32)
    assert sdf.normals.shape == (2, 2, 3, 32, 32)
    assert (sdf.surface.shape, sdf.near_sdf.shape, sdf.box_weight.shape) == ((2, 20, 3), (2, 30), (2, 5, 15))
    lengths = sdf.normals.norm(dim=2)
    assert torch.all(((lengths - 1).abs() < 1e-5) | (lengths == 0))
    assert (sdf.image[(sdf.mask == 0).expand_as(sdf.image)] == 0).all()


def test_a_step_is_a_function_of_seed_and_step(splits):
    def steps(start, count):
        stream = clothed_loader(DATA, splits.train, "sdf", 2, 3).stream(start, 0, 1)
        return [next(stream)[0].surface for _ in range(count)]

    whole = steps(0, 3)
    assert torch.equal(whole[2], steps(2, 1)[0])
    assert not torch.equal(whole[0], whole[1])


def test_a_mirrored_scene_is_that_of_mirrored_points(splits):
    """The maps of points with -x, and calib that puts the old points there."""
    own = splits.train
    maps, mesh = own.maps(0), own.posed_mesh(0, 0)
    turned = mirrored(maps)
    half = 1 / float(maps["calib"][0, 0])
    points = torch.tensor(mesh.vertices * np.array([-1, 1, 1], np.float32))[None]
    drawn = normal_maps(points, torch.tensor(mesh.faces.copy()[:, ::-1].copy()), 32, 32, half=half)
    seen = map_tensors(turned)
    inner = (seen["mask"][0] > 0) & drawn.mask[0]
    assert inner.sum() > 0.95 * drawn.mask.sum()
    gap = (drawn.front[0].movedim(-1, 0) - seen["normals"][0])[:, inner]
    assert gap.abs().median() < 1e-2
    box = points[0].numpy() @ maps["calib"][:3, :3].T
    assert np.allclose(mesh.vertices @ turned["calib"][:3, :3].T, box, atol=1e-6)
    again = mirrored(turned)
    assert all(np.array_equal(again[k], maps[k]) for k in maps)


def test_body_in_the_box_has_unit_normals(splits):
    points, faces, calib = splits.train.body_points(0)
    rows = body_in_box(points, faces, calib)
    assert rows.shape == (len(points), 6)
    assert torch.allclose(rows[:, 3:].norm(dim=1), torch.ones(len(rows)), atol=1e-5)
    top = rows[:, 1].argmin()  # y down
    assert rows[top, 4] < 0


def test_depths_of_the_given_body(splits):
    """z of the posed given body in the box, at the pixels of its normals; mirrored with the picture."""
    own = splits.train
    loader = clothed_loader(DATA, own, "sdf", 2, 0, body=True)
    batch = loader.batch_of([(0, 0), (0, 3)])
    assert batch.depth.shape == (2, 2, 32, 32)
    drawn = batch.body_normals[:, 0].norm(dim=1) > 0
    assert torch.equal(batch.depth[:, 0].isfinite(), drawn)
    for row, place in enumerate((0, 3)):
        points, _, calib = own.body_points(place)
        z = points[:, 2] * calib[2, 2] + calib[2, 3]
        near, far = batch.depth[row][:, drawn[row]]
        assert (near >= far).all()
        assert z.min() - 1e-5 <= float(far.min())
        assert float(near.max()) <= z.max() + 1e-5
    points, faces, _ = own.body_points(0)
    turned = depth_of(points, faces, torch.from_numpy(mirrored(own.maps(0))["calib"]), 32)
    straight, back = batch.depth[0], turned.flip(-1)
    both = straight.isfinite() & back.isfinite()
    assert both.sum() > 0.95 * straight.isfinite().sum()
    assert (straight - back)[both].abs().median() < 1e-3
    plain = clothed_loader(DATA, own, "sdf", 2, 0).batch_of([(0, 0)])
    assert plain.depth.shape == (1, 2, 0, 0)


def test_bodies_are_made_once(splits, monkeypatch):
    """And what is kept is what would be made; places beyond the limit are made each time."""
    monkeypatch.setattr(clothed_loader_module, "KEPT", 2)
    loader = ClothedLoader(splits.train, 2, 0, "sdf", flip=True, body=True)
    for epoch in range(6):  # straight and mirrored ones
        pairs = [(epoch, place) for place in range(4)]
        fresh = ClothedLoader(splits.train, 2, 0, "sdf", flip=True, body=True)
        found, wanted = vars(loader.batch_of(pairs)), vars(fresh.batch_of(pairs))
        assert all(torch.equal(found[k].nan_to_num(7.0), wanted[k].nan_to_num(7.0)) for k in wanted)
    assert {place for _, place, _ in loader.kept} == {0, 1}
    assert {flip for what, _, flip in loader.kept if what == "depth"} == {True, False}
    made = len(loader.kept)
    monkeypatch.setattr(clothed_loader_module, "vertex_normals", None)  # nothing is made again
    loader.batch_of([(5, 0), (5, 1)])
    assert len(loader.kept) == made


def test_drawing_is_kept_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    settings = CapsuleSet(3, 1, 16, unseen=1, points=8)
    found = clothed_people(settings, (1, 1, 1), 1)
    monkeypatch.setattr(clothed, "make", None)  # nothing is drawn again
    again = clothed_people(settings, (1, 1, 1), 1)
    assert found.fingerprint == again.fingerprint == kept_at(settings).name
    assert np.array_equal(found.test.images, again.test.images)
    damaged = kept_at(settings) / "capsules" / "000001" / "all.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(DataError, match="drawn again") as error:
        clothed_people(settings, (1, 1, 1), 1)
    assert "\n" not in str(error.value)


def test_draw_points_takes_rows_of_one_point_together():
    pools = {"surface": np.arange(6.0)[:, None], "surface_weight": np.arange(6.0)[:, None],
             "near": np.zeros((2, 1)), "box": np.zeros((2, 1))}  # fmt: skip
    drawn = draw_points(pools, (40, 1, 1), np.random.default_rng(0))
    assert np.array_equal(drawn["surface"], drawn["surface_weight"])
    assert set(drawn["surface"].ravel()) == set(range(6))


def test_bad_settings_are_named(splits):
    with pytest.raises(ConfigError, match="at most"):
        ClothedData("debug")
    with pytest.raises(ConfigError, match="root"):
        ClothedData("debug", **FEW, root="x")
    with pytest.raises(ConfigError, match=r"data\.people does not apply"):
        ClothedData("thuman", root="x", people=3)
    with pytest.raises(ConfigError, match="size"):
        ClothedData(size=4)
    with pytest.raises(ConfigError, match=r"--data\.root"):
        clothed_sources(ClothedData("mvp"))
    with pytest.raises(ConfigError, match="not made"):
        read_clothed(ClothedData("mvp", root="x"))
    with pytest.raises(ConfigError, match="no stage 'depth'"):
        ClothedLoader(splits.train, 2, 0, "depth")


def test_settings_of_a_config():
    made = clothed_settings(ClothedData(people=5, val_people=2, test_people=3, pictures=6, size=64))
    assert (made.kind, made.identities, made.per_identity, made.size, made.unseen) == (
        "clothed",
        10,
        6,
        64,
        3,
    )
    assert [made.is_unseen(n) for n in (0, 6, 7, 9)] == [False, False, True, True]
