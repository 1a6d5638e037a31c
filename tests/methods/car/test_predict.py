"""``mien predict car`` with a net that has learnt nothing: files, states, bodies, poses, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.cli.main import main
from mien.core import catalogue
from mien.core.errors import ConfigError, DataError
from mien.engine import zoo
from mien.methods.car import predict
from mien.methods.car.avatar import load_avatar
from mien.methods.car.bodies import load_body
from mien.methods.car.config import PredictOptions
from mien.methods.car.estimate import Estimate
from mien.methods.car.photo import crop_matrix
from mien.methods.car.predict import ClothedResult, Predictor, body_for, read_pose
from mien.methods.car.skinning import transform_points
from tests.methods.car.people import SIZE, files_of, tiny_folder

FILES = {
    "avatar.safetensors", "avatar.glb", "posed.obj", "canonical.ply", "body.npz", "normals.png",
    "overlay.png", "views.png", "uncertainty.png",
}  # fmt: skip


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor.from_folder(tiny_folder(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    return files_of(tmp_path_factory.mktemp("person"))


def test_all_files_of_one_person(predictor, person, tmp_path):
    picture, mask, body = person
    options = PredictOptions(
        mask=mask, body=body, pose=body, kind="mesh", iters=2, output=str(tmp_path / "o")
    )
    (found,) = predictor.predict(picture, options=options)
    assert found.status == "ok"
    assert (
        {Path(f).name for f in found.files}
        == {*FILES, "reposed.glb"}
        == {p.name for p in (tmp_path / "o").iterdir()}
    )
    assert set(found.seconds) == {"normals", "coarse surface", "refinement", "skin and colours"}
    avatar = load_avatar(tmp_path / "o/avatar.safetensors")
    assert found.vertices == len(avatar.posed)
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-3)
    assert found.shares["visible"] > 0
    assert 0.3 < found.overlap <= 1
    in_net = load_body(tmp_path / "o/body.npz")
    drawn = np.isfinite(in_net.maps(SIZE)[2][0].numpy())
    overlay = np.asarray(Image.open(tmp_path / "o/overlay.png"))
    rows, columns = np.nonzero((overlay == (213, 94, 0)).all(-1))  # the body's outline is around the body
    scale = len(overlay) / SIZE
    own = np.argwhere(drawn)
    assert abs(rows.min() / scale - own[:, 0].min()) < 1.5
    assert abs(columns.max() / scale - own[:, 1].max() - 1) < 1.5


def test_the_body_goes_with_the_crop(predictor, person):
    """A wide picture with the square one in its left part gives the same mask and body."""
    picture, mask, body = person
    image, grey = (np.asarray(Image.open(p)) for p in (picture, mask))
    wide, there = (np.pad(a, [(0, 0), (0, SIZE), (0, 0)][: a.ndim]) for a in (image, grey))
    small = predict.read_photo(image, grey, SIZE)
    large = predict.read_photo(wide, there, SIZE)
    assert torch.equal(small.mask, large.mask)
    given = load_body(body)
    shift = torch.linalg.inv(crop_matrix((SIZE, 2 * SIZE), (0.0, 0.0, float(SIZE))))
    in_wide = replace(given, calib=shift @ given.calib)
    torch.testing.assert_close(
        body_for(large, in_wide).calib, body_for(small, given).calib, atol=1e-5, rtol=0
    )
    depth = body_for(small, given).in_view()[:, 2]
    assert float(depth.amin() + depth.amax()) == pytest.approx(0, abs=1e-5)


def test_what_load_returns_makes_an_avatar(predictor, person):
    picture, mask, body = person
    avatar = predictor(picture, mask, load_body(body), refine=False)
    assert avatar.posed.shape == avatar.canonical.shape
    black = np.zeros((SIZE, SIZE, 3), np.uint8)
    with pytest.raises(DataError, match="no_person: the mask is empty"):
        predictor(black)


def track_file(path, rows, **more):
    """A file of tools/track.py --body with these rows (33, 3)."""
    names = [f"mark_{k}" for k in range(33)]
    for k, name in ((0, "nose"), (11, "left_shoulder"), (15, "left_wrist")):
        names[k] = name
    size = np.array([SIZE, SIZE])
    np.savez(path, keypoints=rows[None].astype(np.float32), names=np.array(names), size=size, **more)
    return str(path)


def test_keypoints_and_mask_of_a_file(predictor, person, tmp_path, monkeypatch):
    """They arrive at the estimate in the box of the person's square, with the mask of the file."""
    picture, mask, body = person
    rows = np.zeros((33, 3))
    rows[0], rows[15] = (SIZE / 2, SIZE / 4, 0.9), (0.0, 0.0, 0.1)
    own = np.asarray(Image.open(mask))
    path = track_file(tmp_path / "k.npz", rows, mask=own)
    seen = []

    def estimate(mask, *, keypoints):
        seen.append((mask, keypoints))
        return Estimate(load_body(body), 0.9)

    monkeypatch.setattr(predict, "estimate_body", estimate)
    options = PredictOptions(keypoints=path, refine=False, output=str(tmp_path / "o"))
    (found,) = predictor.predict(picture, options=options)
    assert found.status == "ok"
    there, keypoints = seen[0]
    photo = predict.read_photo(picture, own, SIZE)
    assert torch.equal(there, photo.mask)
    at = transform_points(photo.crop, torch.tensor([0.0, -0.5, 0.0]))
    torch.testing.assert_close(keypoints.points[0], at[:2])
    assert [float(keypoints.confidence[k]) for k in (0, 15)] == pytest.approx([0.9, 0])
    predictor(picture, mask, keypoints=path, refine=False)
    assert torch.equal(seen[1][1].points, keypoints.points)
    # A mask of one's own goes before that of the file; without keypoints there are none.
    other = own.copy()
    other[: SIZE // 2] = 0
    assert not torch.equal(predict.photo_of(picture, other, SIZE, path)[0].mask, there)
    assert predict.photo_of(picture, mask, SIZE, None)[1] is None


def test_states_write_nothing(predictor, tmp_path):
    options = PredictOptions(output=str(tmp_path / "o"))
    flat = np.full((64, 64, 3), 128, np.uint8)
    edge = flat.copy()
    edge[:40, 28:36] = 0
    two = flat.copy()
    two[10:50, 10:20] = two[10:50, 40:50] = 0
    assert predictor.predict(flat, edge, two, options=options) == [
        ClothedResult("no_person"), ClothedResult("cropped"), ClothedResult("several_persons"),
    ]  # fmt: skip
    assert not (tmp_path / "o").exists()


def test_flags_that_do_not_fit(predictor, person):
    with pytest.raises(ConfigError, match="at least one photograph"):
        predictor.predict()
    with pytest.raises(
        ConfigError, match="--mask FILE, --body and --keypoints belong to one photograph, 2 are"
    ):
        predictor.predict(*person[:2], options=PredictOptions(body=person[2]))
    with pytest.raises(ConfigError, match="--keypoints belong to one photograph"):
        predictor.predict(*person[:2], options=PredictOptions(keypoints="k.npz"))
    with pytest.raises(ConfigError, match="leave one of them out"):
        PredictOptions(body="b.npz", keypoints="k.npz")
    with pytest.raises(ConfigError, match="iters=-1 is outside"):
        PredictOptions(iters=-1)
    with pytest.raises(ConfigError, match="resolution=4 is outside"):
        PredictOptions(resolution=4)


def test_poses(predictor, person, tmp_path):
    picture, mask, body = person
    given = load_body(body)
    avatar = predictor(picture, mask, given, refine=False)
    count = len(given.names)
    path = tmp_path / "pose.npz"
    np.savez(path, rotations=np.eye(3)[None].repeat(count, 0), translation=[0.0, 0.5, 0.0])
    moved = read_pose(path, given.names)(avatar)
    np.testing.assert_allclose(moved.vertices, avatar.canonical.numpy() + np.array([0, 0.5, 0]), atol=1e-5)
    again = read_pose(body, given.names)(avatar)
    np.testing.assert_allclose(again.vertices, avatar.posed.numpy(), atol=1e-3)
    for arrays, said in (
        ({"other": np.eye(3)}, "no rotations and no transforms"),
        ({"rotations": np.zeros((count, 3, 3))}, "are no rotations"),
        ({"rotations": np.eye(3)[None].repeat(4, 0)}, r"\(4, 3, 3\) of another rig"),
        ({"rotations": np.eye(3)[None].repeat(count, 0), "names": np.array(["a"] * count)}, "another rig"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=said):
            read_pose(path, given.names)
    with pytest.raises(DataError, match="no such file"):
        read_pose(tmp_path / "none.npz", given.names)


def test_the_verb(predictor, person, tmp_path, monkeypatch, capsys):
    entry = catalogue.Entry("car", "avatars", "", "", "mien.methods.car")
    monkeypatch.setattr(catalogue, "methods", lambda: {"car": entry})
    monkeypatch.setattr(zoo, "load_folder_of", lambda method, name: predictor.folder)
    picture, mask, body = person
    flags = ["--mask", mask, "--body", body, "--refine", "False", "--output", str(tmp_path / "o"), "--json"]
    assert main(["predict", "car", picture, *flags]) == 0
    (item,) = json.loads(capsys.readouterr().out)["result"]["items"]
    assert item["status"] == "ok"
    assert {Path(f).name for f in item["files"]} == FILES
    few = track_file(tmp_path / "few.npz", np.tile([SIZE / 2, SIZE / 2, 0.9], (33, 1)))
    assert main(["predict", "car", picture, "--mask", mask, "--keypoints", few]) == 1
    assert "only 3 keypoints of the body are seen" in capsys.readouterr().err
    assert main(["predict", "car", picture, "--mask", mask, "--keypoints", few, "--body", body]) == 2
    assert "leave one of them out" in capsys.readouterr().err
    assert (
        main(["predict", "car", picture, "--mask", picture + "x"]) == 2
        or "no such file" in capsys.readouterr().err
    )
