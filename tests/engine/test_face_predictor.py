"""Pairs, galleries, statuses and thresholds, with a net whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mien.core.errors import ConfigError, DataError
from mien.data.rendered_faces import masked
from mien.engine import face_predictor
from mien.engine.face_export import MaskedLook, WholeRecognizer
from mien.engine.face_options import PredictOptions
from mien.engine.face_predictor import FacePredictor
from mien.engine.folder import ModelFolder
from mien.methods.gkd.config import RECIPES
from tests.data.fake_tracker import scene, write_tracker

RULES = {
    "far@0.001": {"value": 0.9, "rule": "far@0.001 of all pairs of 4 validation people"},
    "eer": {"value": 0.2, "rule": "eer of all pairs of 4 validation people"},
}


class Means(nn.Module):
    """Embeds by the mean colour, and keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.clone())
        return x.mean((2, 3)) - 0.5 + 1e-3 * torch.arange(3)


def predictor(look="colour", facts=None):
    recipe = RECIPES["debug"]()
    recipe = replace(recipe, data=replace(recipe.data, look=look, size=32))
    known = {"classes": ["a"], "threshold": RULES["far@0.001"], "thresholds": RULES}
    return FacePredictor(ModelFolder(Path("x"), "gkd", recipe, known if facts is None else facts), Means())


def face(color, size=(40, 40), seed=0):
    noise = np.random.default_rng(seed).normal(0, 8, (*size, 3))
    return np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)


RED, PINK, BLUE = face((220, 60, 60)), face((230, 70, 60), seed=1), face((50, 70, 220), seed=2)


def test_pairs_with_threshold_and_rule():
    first, same, other = predictor().predict(RED, PINK, BLUE)
    assert (first.similarity, first.same, first.status) == (None, None, "unchecked")
    assert same.similarity > 0.9
    assert same.same is True
    assert other.same is False
    assert other.threshold == 0.9
    assert other.rule.startswith("far@0.001 of all pairs")
    model = predictor()
    assert model.verify(RED, PINK).same is True
    given = model.verify(RED, PINK, options=PredictOptions(threshold=0.9999))
    assert (given.same, given.rule) == (False, "given")
    assert model.verify(RED, PINK, options=PredictOptions(rule="eer")).threshold == 0.2
    with pytest.raises(ConfigError, match=r"no threshold by the rule 'err'; did you mean 'eer'"):
        model.predict(RED, options=PredictOptions(rule="err"))


def test_a_model_without_thresholds():
    result = predictor(facts={"classes": []}).predict(RED, PINK)[1]
    assert result.similarity > 0.9
    assert (result.same, result.threshold) == (None, None)
    assert "give --threshold" in result.rule
    with pytest.raises(ConfigError, match="give --threshold"):
        predictor(facts={"classes": []}).predict(RED, options=PredictOptions(rule="eer"))


def test_statuses_without_a_detector(tmp_path):
    black, tiny = np.zeros((20, 30, 3), np.uint8), face((200, 50, 50), (12, 90))
    assert [r.status for r in predictor().predict(RED, black, tiny)] == ["unchecked", "blank", "too_small"]
    (alone,) = predictor().predict(black)
    assert alone.status == "blank"
    results = predictor().predict(black, RED)
    assert results[1].similarity is None
    assert results[1].same is None
    assert predictor().predict() == []
    with pytest.raises(DataError, match="no such file"):
        predictor().predict(tmp_path / "none.png")


def test_statuses_with_a_detector(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_TRACKER", str(write_tracker(tmp_path / "fake")))
    rng = np.random.default_rng(0)

    def noisy(*rectangles):
        image = scene((200, 200), *rectangles).astype(int)
        return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)

    pictures = [
        noisy((40, 40, 100, "red")),
        noisy((10, 10, 40, "red"), (80, 80, 90, "red")),
        noisy(),
        noisy((40, 40, 14, "red")),
        np.zeros((90, 90, 3), np.uint8),
    ]
    model, options = predictor(), PredictOptions(detector="mediapipe")
    results = model.predict(*pictures, options=options)
    assert [r.status for r in results] == ["ok", "several_faces", "no_face", "too_small", "blank"]
    assert [r.faces for r in results] == [1, 2, 0, 1, 0]
    assert [r.aligned for r in results] == [True, True, False, True, False]
    assert results[1].similarity > 0.99
    assert results[2].similarity is None
    seen = model.net.seen[0][0]
    assert seen.shape == (3, 32, 32)
    assert seen[0].mean() > 0.7  # the face fills the picture
    left = predictor()
    kept = left.predict(pictures[0], options=replace(options, align="aligned"))[0]
    assert (kept.status, kept.aligned) == ("unaligned", False)
    tight = pictures[0][40:140, 40:140]
    assert left.predict(tight, options=replace(options, align="aligned"))[0].status == "ok"
    assert left.net.seen[0][0][0].mean() < 0.7  # as it was


def test_masked_models_see_masked_faces():
    model = predictor("masked")
    square = face((220, 60, 60), (32, 32))
    model.predict(square)
    wanted = torch.from_numpy(masked(square[None])[0]).permute(2, 0, 1) / 255
    assert torch.allclose(model.net.seen[0][0], wanted)


def test_embeddings_do_not_depend_on_chunks(monkeypatch, tmp_path):
    pictures = [face(np.random.default_rng(k).uniform(0, 255, 3), (30 + k, 40), k) for k in range(7)]
    whole = predictor().embed(pictures)
    monkeypatch.setattr(face_predictor, "CHUNK", 2)
    np.testing.assert_allclose(predictor().embed(pictures), whole, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    Image.fromarray(pictures[0]).save(tmp_path / "a.png")
    np.testing.assert_allclose(predictor().embed(tmp_path / "a.png"), whole[:1], atol=1e-6)
    assert not predictor().embed(np.zeros((30, 30, 3), np.uint8)).any()
    assert predictor().embed([]).shape[0] == 0


def test_a_gallery(tmp_path):
    for name, picture in (("ann/1", RED), ("ann/2", PINK), ("bob", BLUE), ("black", np.zeros_like(RED))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    stranger, black = face((60, 220, 60), seed=9), np.zeros((40, 40, 3), np.uint8)
    found = predictor().predict(PINK, stranger, black, options=PredictOptions(gallery=tmp_path, top=2))
    assert found[0].matches[0][0] == "ann"
    assert found[0].matches[0][1] == pytest.approx(1, abs=1e-5)
    assert [name for name, _ in found[0].matches] == ["ann", "bob"]
    assert [r.known for r in found] == [True, False, None]
    assert found[2].matches == ()
    assert found[0].gallery.startswith("3 pictures of 2 people, every vector compared; 1 pictures")
    (tmp_path / "only").mkdir()
    Image.fromarray(black).save(tmp_path / "only/x.png")
    with pytest.raises(DataError, match="no picture with a face among 1"):
        predictor().predict(RED, options=PredictOptions(gallery=tmp_path / "only"))


def test_a_saved_gallery(tmp_path, monkeypatch):
    monkeypatch.setattr(FacePredictor, "_weights_hash", lambda self: "abc")
    for name, picture in (("ann", RED), ("bob", BLUE)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    saved, plain = tmp_path / "out/people.npz", PredictOptions(gallery=tmp_path)
    first = predictor().predict(PINK, options=replace(plain, save_gallery=saved))
    again = predictor().predict(PINK, options=replace(plain, gallery=saved))
    assert again == first
    monkeypatch.setattr(FacePredictor, "_weights_hash", lambda self: "other")
    with pytest.raises(DataError, match=r"people\.npz: was embedded by another model"):
        predictor().predict(PINK, options=PredictOptions(gallery=saved))
    saved.write_bytes(saved.read_bytes()[:200])
    with pytest.raises(DataError, match=r"people\.npz: damaged, or no saved gallery"):
        predictor().predict(PINK, options=PredictOptions(gallery=saved))
    with pytest.raises(DataError, match="no such file"):
        predictor().predict(PINK, options=PredictOptions(gallery=tmp_path / "none.npz"))
    np.savez(
        tmp_path / "odd.npz",
        names=np.array(["a"]),
        vectors=np.zeros((2, 3), np.float32),
        note="",
        model="other",
    )
    with pytest.raises(DataError, match="do not belong together"):
        predictor().predict(PINK, options=PredictOptions(gallery=tmp_path / "odd.npz"))


def test_grey_pictures_are_noted():
    grey = np.repeat(RED[..., :1], 3, -1)
    assert "trained on colour" in predictor().predict(grey)[0].note
    assert predictor().predict(RED)[0].note == ""
    assert predictor("masked").predict(grey)[0].note == ""


def test_options_that_do_not_go_together():
    with pytest.raises(ConfigError, match="needs the --gallery"):
        PredictOptions(save_gallery=Path("x"))
    with pytest.raises(ConfigError, match="not both"):
        PredictOptions(threshold=0.1, rule="eer")
    with pytest.raises(ConfigError, match="--align detect needs a detector"):
        PredictOptions(align="detect")
    with pytest.raises(ConfigError, match="threshold=2"):
        PredictOptions(threshold=2)


def test_the_mask_in_the_graph_is_the_mask_of_training():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    out = (MaskedLook(32)(x) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.abs(out.astype(int) - masked(images)).max() <= 1
    assert (out == masked(images)).mean() > 0.999
    again = torch.from_numpy(masked(images)).permute(0, 3, 1, 2) / 255
    np.testing.assert_array_equal(MaskedLook(32)(again), again)


def test_the_whole_graph_is_the_flip_sum():
    x = torch.rand(3, 3, 8, 8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    wanted = nn.functional.normalize(net(x) + net(x.flip(3)))
    torch.testing.assert_close(WholeRecognizer(net)(x), wanted)
