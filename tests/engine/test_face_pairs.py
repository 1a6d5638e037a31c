"""Verification by the published rules, on pairs whose answers are known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from mien.core.errors import DataError
from mien.data.config import FaceData
from mien.data.verification import write_verification
from mien.data.verification_sets import open_verification
from mien.engine.face_pairs import measure_pairs, pair_scores_of
from mien.metrics import eer, kfold_accuracy, val_at_far

DATA = FaceData("debug", 16, 4, 2, 2, 2, look="colour")
SAME = [k % 2 == 0 for k in range(60)]


class Colors(nn.Module):
    """Embeds by the mean colour: red and green tell people apart, blue is the light."""

    def forward(self, x):
        angle = 3 * (x.mean((2, 3))[:, :2] - 0.5)
        return torch.cat([angle.cos(), angle.sin()], 1)


def write_colors(path, swap=False, seed=0):
    rng = np.random.default_rng(seed)
    faces = []
    for same in SAME:
        people = rng.uniform(20, 235, (2, 3))
        for color in (people[0], people[0 if same else 1]):
            color = np.clip([*(color[:2] + rng.normal(0, 8, 2)), rng.uniform(0, 255)], 0, 255)
            face = np.broadcast_to(color, (112, 112, 3)).astype(np.uint8).copy()
            faces.append(face[..., ::-1].copy() if swap else face)
    write_verification(path, faces, SAME)
    return open_verification(str(path))


def test_it_is_the_protocol_on_flip_sum_embeddings(tmp_path):
    pairs = write_colors(tmp_path / "c.bin")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure_pairs(Colors(), pairs, DATA)
    scores = pair_scores_of(Colors(), pairs, 16, "colour", torch.device("cpu"))
    faces = [pairs.faces.pictures([k])[0] / 255 for k in range(120)]
    e = Colors()(torch.tensor(np.stack(faces)).permute(0, 3, 1, 2)).numpy()
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    np.testing.assert_allclose(scores, (e[0::2] * e[1::2]).sum(1), atol=1e-5)
    folds = kfold_accuracy(2 - 2 * scores, SAME)
    assert found.metrics["accuracy"] == folds.mean
    assert found.metrics["val_0.001"] == val_at_far(2 - 2 * scores, SAME).val
    assert found.metrics["eer"] == eer(scores, SAME).value
    assert set(found.metrics) >= {"accuracy_std", "auc", "tar_0.01", "tar_0.001"}
    assert found.units["accuracy"].mean() == pytest.approx(folds.mean)
    assert "grid 0..3.99" in found.extra["rules"]["accuracy"]
    assert found.extra["resolved"]["tar_0.001"] is False
    assert found.extra["channels"]["is_swapped"] is False


def test_bgr_is_warned_about(tmp_path):
    pairs = write_colors(tmp_path / "c.bin", swap=True)
    with pytest.warns(UserWarning, match="the model or the pictures are BGR"):
        found = measure_pairs(Colors(), pairs, DATA)
    assert found.extra["channels"]["is_swapped"]


def test_masked_models_see_masked_faces(tmp_path):
    pairs = write_colors(tmp_path / "c.bin")
    found = measure_pairs(Colors(), pairs, FaceData("debug", 16, 4, 2, 2, 2, look="masked"))
    assert "channels" not in found.extra
    scores = pair_scores_of(Colors(), pairs, 16, "masked", torch.device("cpu"))
    assert not np.allclose(scores, pair_scores_of(Colors(), pairs, 16, "colour", torch.device("cpu")))


def test_few_pairs_and_one_kind(tmp_path):
    faces = [np.full((112, 112, 3), k, np.uint8) for k in range(40)]
    for name, same in (("few", [True, False] * 4), ("one", [True] * 20)):
        write_verification(tmp_path / f"{name}.bin", faces[: 2 * len(same)], same)
        with pytest.raises(DataError, match=rf"{name}: \d+ pairs, .* of one person; ten folds need ten"):
            measure_pairs(Colors(), open_verification(str(tmp_path / f"{name}.bin")), DATA)


def test_a_fold_of_one_kind_leaves_val_out(tmp_path):
    rng = np.random.default_rng(0)
    faces = [rng.integers(0, 255, (112, 112, 3), dtype=np.uint8) for _ in range(40)]
    write_verification(tmp_path / "x.bin", faces, [True] * 10 + [False] * 10)
    data = FaceData("debug", 16, 4, 2, 2, 2, look="masked")
    found = measure_pairs(Colors(), open_verification(str(tmp_path / "x.bin")), data)
    assert "val_0.001" not in found.metrics
    assert found.extra["rules"]["val"].startswith("left out: fold")
