"""THuman2.0 in ICON's layout: cameras, maps, splits, damage."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.data.clothed_loader import map_tensors
from mien.data.clothed_sets import clothed_loader, clothed_sources
from mien.data.config import ClothedData
from mien.data.thuman import read_calib, read_thuman
from tests.data.clothed_fixtures import write_thuman


@pytest.fixture
def copy(tmp_path):
    return write_thuman(tmp_path, ["0000", "0001"])


def test_calib_is_intrinsic_times_extrinsic(tmp_path):
    rng = np.random.default_rng(0)
    extrinsic, intrinsic = rng.normal(size=(2, 4, 4))
    np.savetxt(tmp_path / "c.txt", np.concatenate([extrinsic, intrinsic]))
    assert np.allclose(read_calib(tmp_path / "c.txt"), intrinsic @ extrinsic, atol=1e-5)


def test_a_place_is_read_whole(copy):
    train, _, _ = read_thuman(copy)
    assert [v.degrees for v in train.views] == ["000", "120", "000", "120"]
    seen = map_tensors(train.maps(0))
    assert seen["mask"].sum() == 24 * 8
    for name in ("normals", "body_normals"):
        assert (seen[name][:, :, 0, 0] == 0).all()
        assert torch.allclose(seen[name][:, 2, 10, 15], torch.tensor([1.0, -1]), atol=1e-3)


def test_splits_by_rule_and_by_lists(tmp_path):
    scans = [f"{n:04d}" for n in range(526)]
    (tmp_path / "thuman2").mkdir()
    (tmp_path / "thuman2" / "all.txt").write_text("\n".join(f"thuman2/{s}" for s in scans))
    for scan in scans:
        (tmp_path / "thuman2_36views" / scan / "render").mkdir(parents=True)
        (tmp_path / "thuman2_36views" / scan / "render" / "000.png").touch()
    assert [len(p) for p in read_thuman(tmp_path)] == [500, 21, 5]
    for part, own in (("train", scans[:2]), ("val", scans[2:3]), ("test", scans[3:6])):
        (tmp_path / "thuman2" / f"{part}.txt").write_text("\n".join(own))
    assert [len(p) for p in read_thuman(tmp_path)] == [2, 1, 3]


def test_batches_of_normals_and_bodies(copy):
    data = ClothedData("thuman", root=str(copy))
    source = clothed_sources(data).train
    (normal,) = next(clothed_loader(data, source, "normal", 2, 0).stream(0, 0, 1))
    assert normal.body_normals.shape == (2, 2, 3, 32, 32)
    (hyper,) = next(clothed_loader(data, source, "hyper", 2, 0).stream(0, 0, 1))
    assert hyper.body.shape == (2, 3, 6)
    assert torch.allclose(hyper.body[0, 1, :3], torch.tensor([0, -0.01, 0]))


def test_damage_is_one_clear_line(copy, tmp_path):
    folder = copy / "thuman2_36views" / "0000"
    (folder / "calib" / "000.txt").write_text("1 2 3\n")
    (folder / "T_normal_B" / "120.png").write_bytes(b"no picture")
    (copy / "thuman2" / "bodies" / "0000.npz").write_bytes(b"PK")
    train, _, _ = read_thuman(copy)
    calls = [
        (lambda: train.maps(0), "8 rows"),
        (lambda: train.maps(1), "T_normal_B"),
        (lambda: train.body_points(0), "vertices"),
        (lambda: train.points(0, (1, 1, 1), np.random.default_rng(0)), "sdf"),
    ]
    for call, words in calls:
        with pytest.raises(DataError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
    (copy / "thuman2" / "bodies" / "0001.npz").unlink()
    with pytest.raises(DataError, match="export"):
        train.body_points(2)
    (copy / "thuman2" / "all.txt").write_text("")
    with pytest.raises(DataError, match="names no scan"):
        read_thuman(copy)
    with pytest.raises(DataError, match="no such file"):
        read_thuman(copy / "none")
