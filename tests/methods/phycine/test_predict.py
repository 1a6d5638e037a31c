"""Clips of a user: what is read, what is said of objects, what cannot be told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.cli.main import main
from mien.core.errors import ConfigError, DataError
from mien.data.video import read_video, write_video
from mien.engine import zoo
from mien.methods.phycine.clips import read_clip
from mien.methods.phycine.config import Intervention, PredictOptions
from mien.methods.phycine.objects import FoundObject, charge_words, factors, mass_word, thresholds_in
from mien.methods.phycine.predict import Predictor
from mien.methods.phycine.symbolic import Split, Thresholds
from mien.methods.phycine.watch import with_references
from tests.methods.phycine.user import BLUE, GROUND, RED, clip, folder

KNOWN = Thresholds(Split(-1.0, 1.0), Split(0.0, 1.0))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor.from_folder(folder(tmp_path_factory.mktemp("model"), sight="threshold"))


@pytest.fixture
def options(tmp_path):
    return PredictOptions(output=str(tmp_path / "out"))


def test_two_discs_are_found_where_they_are(predictor, options):
    (result,) = predictor.predict(clip(), options=options)
    assert (result.status, result.frames, result.dt, result.missed) == ("ok", 8, 0.12, 0)
    told = {o.color: o for o in result.objects}
    assert set(told) == {"red", "blue"}
    scale = 3.8 / 48
    assert told["red"].place == pytest.approx((-21 * scale, 12 * scale), abs=0.05)
    assert told["blue"].velocity == pytest.approx((25 * scale, 0), abs=0.5)  # untrained laws push
    assert [Path(f).name for f in result.files] == ["slots.mp4", "latents.json"]
    assert "cannot draw" in result.note
    assert len(list(read_video(result.files[0]))) == 8
    told = json.loads(Path(result.files[1]).read_text())
    assert len(told["mass"]["mean"]) == len(told["slots"]) == 2


def test_slots_are_rolled_out_with_and_without_an_intervention(tmp_path):
    own = Predictor.from_folder(folder(tmp_path / "m", sight="slots", slots=4))
    watched = own.watch(clip(), PredictOptions())
    rolled = own.rollouts(watched, 4, {"mass": {1: 5.0}})
    assert list(rolled) == ["as it is", "changed"]
    assert rolled["changed"].frames.shape == (1, 5, 3, 48, 72)
    assert list(own.rollouts(watched, 4, {})) == ["as it is"]


def test_what_cannot_be_told_is_said(predictor, options):
    still, short, empty = predictor.predict(
        clip(speed=0.0), clip(9), np.full((12, 48, 72, 3), GROUND, np.uint8), options=options
    )
    assert (still.status, short.status, empty.status) == ("nothing_moves", "too_short", "no_object")
    assert "nothing moves: masses and charges are unknown" in still.note
    assert {(o.mass, o.charge) for o in still.objects} == {("unknown", "unknown")}
    assert short.note == "3 frames of 0.12 s: masses and charges need 4 or more"
    assert short.objects[0].z_m is None
    assert not empty.files
    assert not (Path(options.output) / "002").exists()


def test_more_objects_than_slots_are_reported(predictor, options):
    colours = (RED, BLUE, (24, 128, 44), (255, 225, 40))
    (result,) = predictor.predict(clip(colours=colours, speed=0.5), options=options)
    assert len(result.objects) == 3
    assert result.missed == 1
    assert "all 3 slots for objects are in use: there may be more" in result.note


def test_clips_are_read_from_videos_folders_and_arrays(tmp_path):
    frames = clip(25)
    video = write_video(tmp_path / "a.mp4", frames.repeat(4, 1).repeat(4, 2), 25.0, crf=0).path
    for k, picture in enumerate(frames):
        (tmp_path / "f").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "f" / f"{k:03d}.png")
    exact = read_clip(frames, (48, 72), 0.12, 25.0, 10.0)
    np.testing.assert_array_equal(exact, frames[::3])
    np.testing.assert_array_equal(read_clip(tmp_path / "f", (48, 72), 0.12, 25.0, 10.0), exact)
    decoded = read_clip(video, (48, 72), 0.12, 25.0, 10.0)
    assert decoded.shape == exact.shape
    assert np.abs(decoded.astype(int) - exact).mean() < 3
    assert len(read_clip(frames, (48, 72), 0.12, 25.0, 0.5)) == 4
    np.testing.assert_array_equal(read_clip(frames[:2], (48, 72), 0.12, 5.0, 10.0), frames[[0, 0, 1, 1]])


def test_bad_clips_are_one_line(predictor, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    for source, text in [
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path / "broken.mp4", "not a video that can be read"),
        (tmp_path / "empty", "no pictures in this folder"),
        (np.zeros((5, 48, 48, 3), np.uint8), "48 x 48 pixels; 480 x 320 or that shape"),
        (np.zeros((0, 48, 72, 3), np.uint8), "no frames"),
    ]:
        with pytest.raises(DataError, match=text) as caught:
            predictor.predict(source)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="give a clip"):
        predictor.predict()


def test_references_narrow_what_is_known(predictor):
    first, other = (predictor.watch(clip(speed=s), PredictOptions()) for s in (1.0, 0.7))
    both = with_references(predictor.net, first, [other])
    at = list(first.slots)
    assert (both.latents.mass.std[0, at] < first.latents.mass.std[0, at] + 1e-9).all()
    assert torch.equal(both.latents.ctx.mean, first.latents.ctx.mean)
    assert with_references(predictor.net, first, []).latents.mass.mean[0, at].tolist() == pytest.approx(
        first.latents.mass.mean[0, at].tolist()
    )


def test_words_need_a_margin():
    assert [mass_word(z, 0.2, KNOWN) for z in (1.0, -1.0, 0.1)] == ["heavy", "light", "unknown"]
    assert mass_word(1.0, 0.2, Thresholds(Split(0.0, np.inf), Split(0.0, 1.0))) == "unknown"
    assert charge_words([-0.9, 0.0, 0.8, 0.5], [0.1] * 4, KNOWN) == ["+", "none", "-", "unknown"]
    assert thresholds_in({"thresholds": {"mass": [-1, 1], "charge": [0, 1]}}) == KNOWN
    assert thresholds_in({}) is None


def test_interventions_name_one_object():
    objects = [FoundObject(1, "red", (0, 0)), FoundObject(4, "red", (0, 0)), FoundObject(5, "blue", (0, 0))]
    asked = [Intervention.read(t) for t in ("charge:blue=0", "mass:4=5")]
    assert factors(asked, objects) == {"charge": {5: 0.0}, "mass": {4: 5.0}}
    for which, text in (("red", "several objects are red"), ("pink", "no object is pink")):
        with pytest.raises(ConfigError, match=text):
            factors([Intervention("mass", which, 2.0)], objects)
    for text in ("charge=0", "colour:red=1", "charge:red=x", "mass:red=0", "charge:=1"):
        with pytest.raises(ConfigError, match="--intervene"):
            PredictOptions(intervene=(text,))
    with pytest.raises(ConfigError, match="--steps above 0"):
        PredictOptions(steps=0, intervene=("mass:1=5",))


def test_models_that_cannot_be_used_are_refused(tmp_path):
    for k, changes in enumerate(({"sight": "true"}, {"stage": "perception"})):
        with pytest.raises(ConfigError, match="clips need a perception and trained laws"):
            Predictor.from_folder(folder(tmp_path / str(k), **changes))


def test_the_verb_takes_a_folder_as_one_clip(predictor, tmp_path, monkeypatch, capsys):
    for k, picture in enumerate(clip()):
        (tmp_path / "f").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "f" / f"{k:03d}.png")
    monkeypatch.setattr(zoo, "load_folder_of", lambda method, name: predictor.folder)
    out = str(tmp_path / "o")
    assert main(["predict", "phycine", str(tmp_path / "f"), "--steps", "2", "--output", out]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "color red" in said
    assert main(["predict", "phycine", str(tmp_path / "f"), "--intervene", "mass:9=2"]) == 2
    assert "no object is 9" in capsys.readouterr().err
