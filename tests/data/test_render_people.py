"""RenderPeople and MVP-Human in the official layout: cameras, points, splits, damage."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.data.clothed_loader import NormalBatch, SdfBatch, map_tensors
from mien.data.clothed_sets import clothed_loader, clothed_sources
from mien.data.config import ClothedData
from mien.data.render_people import calibration, read_param, read_points, read_render_people
from tests.data.clothed_fixtures import JOINTS, SIDE, write_render_people, write_samples


@pytest.fixture
def copy(tmp_path):
    return write_render_people(tmp_path / "rp", ["a", "b"])


def test_calibration_is_the_product_of_the_page():
    R, c = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0], np.array([1.0, 2, 3])
    s, o, x = 200.0, 0.5, np.array([0.3, -0.2, 0.1])
    pixels = np.array([s / o, -s / o, s / o]) * (R @ (x - c))
    found = calibration(o, s, c, R) @ np.append(x, 1)
    assert np.allclose(found, np.append(2 * pixels / 512, 1), rtol=1e-5)


def test_the_first_fifty_names_are_for_training(tmp_path):
    names = [f"s{n:02d}" for n in range(61)]
    for name in names:
        (tmp_path / "SYN" / name / "000" / "RENDER").mkdir(parents=True)
        (tmp_path / "SYN" / name / "000" / "RENDER" / "000.png").touch()
    train, test = read_render_people(tmp_path)
    assert (train.subjects, test.subjects) == (tuple(names[:50]), tuple(names[50:]))
    assert len(read_render_people(tmp_path, "mvp")[1]) == 0


def test_a_place_is_read_whole(copy):
    train, _ = read_render_people(copy)
    assert len(train) == 4
    seen = map_tensors(train.maps(0))
    assert seen["image"].shape == (3, SIDE, SIDE)
    assert torch.allclose(seen["normals"][0, :, 10, 15], torch.tensor([0.232, 0.004, 0.973]), atol=1e-2)
    assert (seen["normals"][1] == 0).all()  # this layout has no back
    drawn = train.points(0, (5, 6, 7), np.random.default_rng(0))
    assert (drawn["surface"].shape, drawn["near_sdf"].shape, drawn["box_weight"].shape) == (
        (5, 3), (6,), (7, JOINTS))  # fmt: skip
    assert drawn["transforms"].shape == (JOINTS, 4, 4)
    assert train.scan("a").faces.shape == (1, 3)
    assert train.betas("a").shape == (10,)


@pytest.mark.parametrize("stage", ["normal", "sdf"])
def test_batches(copy, stage):
    data = ClothedData("renderpeople", root=str(copy), surface=8, near=8, box=4)
    sources = clothed_sources(data)
    assert sources.val is None
    (batch,) = next(clothed_loader(data, sources.train, stage, 2, 0).stream(0, 0, 1))
    assert isinstance(batch, NormalBatch if stage == "normal" else SdfBatch)
    assert len(batch) == 2


def test_points_of_npz_and_pt_are_the_same(tmp_path):
    for kind in ("npz", "pt"):
        write_samples(tmp_path / kind, "a", np.random.default_rng(0), kind)
    one, two = read_points(tmp_path / "npz", "a"), read_points(tmp_path / "pt", "a")
    assert set(one) == set(two)
    assert all(np.array_equal(one[k], two[k]) for k in one)


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


def test_a_pickle_is_not_run(copy, capsys):
    (copy / "SAMPLES" / "a.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="plain tensors"):
        read_points(copy / "SAMPLES", "a")
    assert "boom" not in capsys.readouterr().out


def damage(copy, what):
    view = copy / "SYN" / "a" / "000"
    if what == "param":
        (view / "PARAM" / "000.npz").write_bytes(b"PK")
    elif what == "param entry":
        np.savez(view / "PARAM" / "000.npz", scale=1.0)
    elif what == "param shape":
        np.savez(view / "PARAM" / "000.npz", ortho_ratio=1.0, scale=1.0, center=np.zeros(2), R=np.eye(3),
                 jointT=np.zeros((24, 4, 4)))  # fmt: skip
    elif what == "mask":
        (view / "MASK" / "000.png").unlink()
    elif what == "size":
        (view / "NORMAL" / "000.png").write_bytes((copy / "small.png").read_bytes())


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("param", "not an npz"),
        ("param entry", "no ortho_ratio"),
        ("param shape", "center is"),
        ("mask", "no such file"),
        ("size", "pixels"),
    ],
)
def test_damage_is_one_clear_line(copy, what, words):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(copy / "small.png")
    damage(copy, what)
    train, _ = read_render_people(copy)
    with pytest.raises(DataError, match=words) as error:
        train.maps(0)
    assert "\n" not in str(error.value)
    assert str(copy) in str(error.value)


def test_what_is_missing_is_said(tmp_path, copy):
    with pytest.raises(DataError, match="SYN"):
        read_render_people(tmp_path / "none")
    with pytest.raises(DataError, match="beside it"):
        read_points(copy / "SAMPLES", "z")
    with pytest.raises(DataError, match="no such file"):
        read_param(copy / "x.npz")
    with pytest.raises(DataError, match="hyper"):
        read_render_people(copy)[0].body_points(0)
    (copy / "SYN" / "c").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        read_render_people(copy)
    np.savez(copy / "SAMPLES" / "b.npz", surface_points=np.zeros((2, 3)))
    with pytest.raises(DataError, match="no surface_weight"):
        read_points(copy / "SAMPLES", "b")
