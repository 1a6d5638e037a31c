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
from mien.core.config import OptimConfig, Recipe, ScheduleConfig
from mien.core.errors import ConfigError, DataError, ShapeError, WeightsError
from mien.data.config import TalkingData
from mien.data.video import read_video
from mien.engine import zoo
from mien.engine.checkpoint import save_weights
from mien.engine.folder import ModelFolder
from mien.methods.otavatar.avatar import OneShotAvatar
from mien.methods.otavatar.config import PredictOptions
from mien.methods.otavatar.generator import OWN_PLANES
from mien.methods.otavatar.motion_track import MotionTrack
from mien.methods.otavatar.predict import AvatarResult, Predictor, frame_rate, read_track, timed
from mien.methods.otavatar.state import load_state
from mien.render.mesh_io import load_mesh
from tests.methods.otavatar.avatars import NAMES, person, tiny_net

ALL = ("avatar.safetensors", "source.png", "reconstruction.png", "video.mp4", "turntable.mp4")
FAST = {"steps": 2, "pti_steps": 0, "size": 16, "mask": "none"}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    net = tiny_net()
    save_weights(net, folder / "weights.safetensors")
    recipe = Recipe("tiny", net.config, TalkingData(size=32), OptimConfig(), ScheduleConfig(steps=1))
    return Predictor.from_folder(ModelFolder(folder, "otavatar", recipe, {"actions": list(NAMES)}))


@pytest.fixture
def track(tmp_path):
    rows = np.random.default_rng(0).uniform(0, 1, (3, 4))
    return str(MotionTrack.of(rows, names=NAMES).to_npz(tmp_path / "track.npz"))


def names_of(result):
    return [Path(f).name for f in result.files]


def test_the_predictor_is_the_avatar(predictor):
    assert isinstance(predictor, OneShotAvatar)
    assert predictor.names == NAMES
    assert predictor.sha == OneShotAvatar(tiny_net(), 32, NAMES).sha


def test_a_portrait_talks_and_turns(predictor, track, tmp_path):
    Image.fromarray(person(64)).save(tmp_path / "me.png")
    out = tmp_path / "out"
    options = PredictOptions(driving=track, output=str(out), **FAST)
    (result,) = predictor.predict(str(tmp_path / "me.png"), options=options)
    assert (result.status, result.frames, names_of(result)) == ("ok", 3, list(ALL))
    assert result.seconds_invert > 0
    assert result.fps > 0
    source, view = (np.asarray(Image.open(out / n), float) for n in ("source.png", "reconstruction.png"))
    mse = ((source - view) ** 2).mean()
    assert result.psnr == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-3)
    assert len(list(read_video(out / "video.mp4"))) == 3
    assert len(list(read_video(out / "turntable.mp4"))) == 100
    again = replace(
        options, state=str(out / "avatar.safetensors"), output=str(tmp_path / "again"), driving="none"
    )
    (loaded,) = predictor.predict(options=again)
    assert names_of(loaded) == ["avatar.safetensors", "reconstruction.png", "turntable.mp4"]
    assert (loaded.psnr, loaded.seconds_invert, loaded.fps, loaded.frames) == (None, None, None, 0)
    assert (tmp_path / "again/reconstruction.png").read_bytes() == (out / "reconstruction.png").read_bytes()


@pytest.mark.parametrize(("rate", "own", "held"), [(0.0, 0.1, True), (0.01, 0.0, False)])
def test_flags_of_tuning_reach_the_avatar(predictor, tmp_path, rate, own, held):
    """A person's own planes were asked for by default once, and never learnt."""
    Image.fromarray(person(64)).save(tmp_path / "me.png")
    tuned = {**FAST, "pti_steps": 2, "pti_lr": rate, "pti_own": own, "driving": "none"}
    options = PredictOptions(output=str(tmp_path / "out"), **tuned)
    predictor.predict(str(tmp_path / "me.png"), options=options)
    delta = load_state(str(tmp_path / "out" / "avatar.safetensors"), predictor.net).delta
    assert (OWN_PLANES in delta) == held
    assert (len(delta) > held) == bool(rate)


def test_several_portraits_and_several_pictures_of_one(predictor, tmp_path):
    options = PredictOptions(driving="none", output=str(tmp_path / "o"), **{**FAST, "steps": 0})
    results = predictor.predict(person(), [person(), person()], options=options)
    assert [Path(r.files[0]).parent.name for r in results] == ["000", "001"]
    Image.fromarray(person()).save(tmp_path / "b.png")
    also = replace(options, also=(str(tmp_path / "b.png"),))
    (one,) = predictor.predict(person(), options=also)
    assert Path(one.files[0]).parent.name == "o"
    with pytest.raises(ConfigError, match="--also and --box belong to one portrait, 2 are given"):
        predictor.predict(person(), person(), options=also)


def test_a_bad_portrait_writes_nothing(predictor, tmp_path):
    options = PredictOptions(driving="none", output=str(tmp_path / "o"), **FAST)
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert predictor.predict(flat, person(8), options=options) == [
        AvatarResult("no_face"),
        AvatarResult("too_small"),
    ]
    assert not (tmp_path / "o").exists()
    with pytest.raises(DataError, match="no such file"):
        predictor.predict(tmp_path / "none.png", options=options)


def test_a_mesh(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, "mesh", lambda state: predictor.field(state).mesh(8, 36.0), raising=False)
    options = PredictOptions(driving="none", mesh=True, output=str(tmp_path), **FAST)
    (result,) = predictor.predict(person(), options=options)
    assert names_of(result)[-1] == "mesh.glb"
    assert len(load_mesh(tmp_path / "mesh.glb").faces)


def test_nothing_or_too_much_to_work_on(predictor, tmp_path):
    with pytest.raises(ConfigError, match=r"give a portrait, or --state FILE of an earlier run$"):
        predictor.predict()
    with pytest.raises(ConfigError, match=r"\(not both\)"):
        predictor.predict(person(), options=PredictOptions(state="a.safetensors"))
    other = OneShotAvatar(tiny_net(3), 32, NAMES)
    path = other.invert(person(), steps=0).save(tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="made with another generator"):
        predictor.predict(options=PredictOptions(state=str(path), driving="none"))


def test_driving_motions(predictor, track, tmp_path):
    assert len(read_track(PredictOptions())) == 100
    assert len(read_track(PredictOptions(driving="perform", frames=7, smooth=True))) == 7
    assert len(read_track(PredictOptions(driving=track))) == 3
    assert len(read_track(PredictOptions(driving=track, frames=2))) == 2
    assert read_track(PredictOptions(driving="none")) is None
    with pytest.raises(DataError, match=r"clip\.mp4: a video; track it first: python tools/track\.py"):
        read_track(PredictOptions(driving="clip.mp4"))
    with pytest.raises(DataError, match="sing: no motion; give a track"):
        read_track(PredictOptions(driving="sing"))
    wrong = MotionTrack.of(np.zeros((2, 7))).to_npz(tmp_path / "wrong.npz")
    options = PredictOptions(driving=str(wrong), output=str(tmp_path / "o"), **FAST)
    with pytest.raises(ShapeError, match="the track has 7 actions, this avatar knows 4"):
        predictor.predict(person(), options=options)


def test_dropped_frames_are_noted(predictor, tmp_path):
    rows = np.random.default_rng(0).uniform(0, 1, (4, 4))
    uneven = MotionTrack.of(rows, names=NAMES, times=np.array([0, 1, 2, 4]) / 25)
    path = uneven.to_npz(tmp_path / "t.npz")
    options = PredictOptions(driving=str(path), camera="orbit", output=str(tmp_path / "o"), **FAST)
    (result,) = predictor.predict(person(), options=options)
    assert result.frames == 5
    assert result.note == "1 dropped frames in 1 gaps (longest 0.08 s) interpolated"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"box": (1, 2, 3)}, "--box 1 2 3: give left, top, right and bottom"),
        ({"box": (9, 9, 3, 3)}, "right must be beyond left"),
        ({"pti_steps": 1001}, "pti_steps=1001 is outside"),
        ({"pti_lr": -0.1}, "pti_lr=-0.1 is outside"),
        ({"pti_lr": 0.0, "pti_own": 0.0}, "tune nothing; give --pti-steps 0"),
        ({"pti_keep": -1.0}, "pti_keep=-1.0 is outside"),
        ({"frames": 0}, "frames=0 is outside"),
        ({"size": 8}, "size=8 is outside"),
    ],
)
def test_flags_out_of_range(options, text):
    with pytest.raises(ConfigError, match=text):
        PredictOptions(**options)


def test_speed_leaves_the_first_frames_out():
    taken = []
    assert list(timed(iter([1, 2, 3]), taken)) == [1, 2, 3]
    assert len(taken) == 3
    assert frame_rate([4.0] * 10 + [0.5, 0.25, 0.1]) == 4.0
    assert frame_rate([0.5]) == 2.0
    assert frame_rate([]) is None


def test_the_net_is_the_folders(predictor):
    mine = tiny_net().state_dict()
    assert all(torch.equal(v.cpu(), mine[k]) for k, v in predictor.net.state_dict().items())


@pytest.fixture
def said(predictor, monkeypatch, capsys):
    """What ``mien predict otavatar`` prints, with the tiny model as its weights."""
    entry = catalogue.Entry("otavatar", "avatars", "", "", "mien.methods.otavatar")
    monkeypatch.setattr(catalogue, "methods", lambda: {"otavatar": entry})
    monkeypatch.setattr(zoo, "load_folder_of", lambda method, name: predictor.folder)

    def say(*argv, code=0):
        assert main(["predict", "otavatar", *argv]) == code
        out = capsys.readouterr()
        return out.err if code else out.out

    return say


def test_the_verb(said, track, tmp_path):
    Image.fromarray(person(64)).save(tmp_path / "me.png")
    out = tmp_path / "out"
    flags = ["--steps", "1", "--size", "16", "--output", str(out)]
    answer = json.loads(said(str(tmp_path / "me.png"), "--driving", track, "--json", *flags))
    (item,) = answer["result"]["items"]
    assert item["status"] == "ok"
    assert [Path(f).name for f in item["files"]] == list(ALL)
    assert {p.name for p in out.iterdir()} == {*ALL, "predict.json"}
    loaded = said("--state", str(out / "avatar.safetensors"), "--driving", "none", *flags)
    assert "status ok" in loaded
    assert said("--driving", "none", code=2).startswith("mien predict: no input")
    text = said(str(tmp_path / "me.png"), "--box", "1", "2", "3", code=2)
    assert "--box 1 2 3: give left, top, right and bottom of the face" in text
    assert text.count("\n") == 1
