"""The demo on an avatar that has learnt nothing: what is true, what it draws, shows and writes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mien.core.config import OptimConfig, Recipe, ScheduleConfig
from mien.core.seeds import derive
from mien.data.config import TalkingData
from mien.data.video import read_video
from mien.engine.checkpoint import save_weights
from mien.engine.folder import ModelFolder
from mien.methods.otavatar import demo
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.head_pose import Orbit
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.motion_track import MotionTrack
from mien.synth.body import people
from mien.synth.talking_set import TalkingSet
from tests.methods.otavatar.avatars import SIZES, person

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    names = people().actions
    net = AvatarNet(OtavatarConfig(**SIZES), 32, len(names))
    net.w_std.fill_(1.0)
    path = tmp_path_factory.mktemp("model")
    save_weights(net, path / "weights.safetensors")
    recipe = Recipe("tiny", net.config, TalkingData(size=32), OptimConfig(), ScheduleConfig(steps=1))
    return ModelFolder(path, "otavatar", recipe, {"actions": list(names)})


@pytest.fixture
def short(folder, monkeypatch):
    """The demo with that model, three frames and few steps."""
    monkeypatch.setattr(demo, "load_folder", lambda name: folder)
    for name, value in {"FRAMES": 3, "SHOWN": 2, "SIDES": (-0.3, 0.3), "STEPS": 1, "TUNED": 1}.items():
        monkeypatch.setattr(demo, name, value)
    monkeypatch.setattr(demo, "_TURN", Orbit(period=4))


def test_the_person_is_made_as_those_of_the_sets_and_behind_them():
    data = TalkingData()
    assert data.people + data.val_people + data.test_people < demo.PERSON
    assert TalkingSet(first=demo.PERSON, identities=1).who(0) == derive(0, "identity", demo.PERSON)


def test_true_frames_move_and_the_portrait_is_at_rest_in_front():
    track = MotionTrack.from_talk(0, 2, "perform")
    track.expression[0], track.angles[0] = 0, 0
    true = demo.perform_truly(0, track, 32)
    assert true.still.shape == (32, 32, 3)
    np.testing.assert_array_equal(true.frames[0], true.still)
    assert (true.frames[1] != true.still).any()
    assert len(true.sides) == len(demo.SIDES)
    assert len(true.asked) == len(demo.ASKED)
    assert all((picture != true.still).any() for picture in true.asked)
    np.testing.assert_array_equal(true.sides[demo.SIDES.index(0.0)], true.still)


def test_the_photograph_is_cut_out_around_the_head():
    portrait, mask = demo.astronaut(64)
    assert portrait.shape == (64, 64, 3)
    assert mask[30, 32] == 1  # the face
    assert mask[2, 2] == mask[2, 61] == 0


def test_clips_run_beside_the_portrait():
    still, a, b = (np.full((4, 4, 3), v, np.uint8) for v in (10, 20, 30))
    frames = list(demo.beside(still, [a, a], [b, a]))
    assert [f.shape for f in frames] == [(6, 18, 3)] * 2
    assert [frames[0][0, k, 0] for k in (0, 6, 12)] == [10, 20, 30]
    assert frames[1][0, 12, 0] == 20


def test_mean_psnr_by_hand():
    black, grey = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 51, np.uint8)
    low = 10 * np.log10(25)  # 51 of 255 is a fifth
    assert demo.mean_psnr([black, black], [grey, grey]) == pytest.approx(low, abs=1e-4)


def test_expressions_that_are_asked_for_have_names_of_the_rig():
    names = people().actions
    rows = demo.asked_rows(names)
    assert rows.shape == (len(demo.ASKED), len(names))
    assert rows[0].sum() == pytest.approx(0.8)
    assert rows[1, [names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]].tolist() == [1, 1]
    assert (rows.max(1) > 0.5).all()


def test_how_much_of_what_was_asked_for_comes():
    still = np.full((16, 16, 3), 100, np.uint8)
    lower, upper = still.copy(), still.copy()
    lower[10:, :, 0], upper[:4, :, 0] = 200, 200

    def shown(*asked):
        return demo.Performance(still, [], [], list(asked))

    true = shown(lower, upper)
    assert demo.share_of_change(true, true) == pytest.approx(1)
    assert demo.share_of_change(shown(still, still), true) == 0
    assert demo.share_of_change(shown(lower, lower), true) == pytest.approx(0.5, abs=0.01)
    half = shown(lower // 2 + still // 2, upper // 2 + still // 2)
    assert demo.share_of_change(half, true) == pytest.approx(0.5)


def test_the_whole_demo(short, folder, tmp_path):
    result = demo.demo(tmp_path, [])
    assert list(result.headline) == [
        "psnr_rendered", "psnr_frames", "psnr_sides", "psnr_real", "motion", "fps", "seconds_invert",
    ]  # fmt: skip
    assert all(v > 0 for k, v in result.headline.items() if k != "motion")
    assert np.isfinite(result.headline["motion"])
    assert result.inputs == (folder.weights,)
    names = ["rendered.mp4", "rendered_turn.mp4", "real.mp4", "real_turn.mp4", "sheet.png"]
    assert [f.relative_to(tmp_path).as_posix() for f in result.files] == [f"otavatar/{n}" for n in names]
    assert [len(list(read_video(f))) for f in result.files[:4]] == [3, 4, 3, 4]
    assert result.files[4].read_bytes().startswith(PNG)
    assert result.html.count("<video") == 4
    assert "synthetic" in result.html
    again = demo.demo(tmp_path / "again", [])
    same = [k for k in result.headline if k.startswith(("psnr", "motion"))]
    assert {k: result.headline[k] for k in same} == {k: again.headline[k] for k in same}
    assert again.files[0].read_bytes() == result.files[0].read_bytes()


def test_the_users_portraits_move_instead(short, tmp_path):
    paths = [tmp_path / n for n in ("me<.png", "flat.png")]
    Image.fromarray(person(64)).save(paths[0])
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(paths[1])
    result = demo.demo(tmp_path / "out", paths)
    assert result.inputs == tuple(paths)
    assert result.headline == {
        "portraits": 2, "status": "no_face", "psnr": None, "fps": None, "seconds_invert": None,
    }  # fmt: skip
    assert result.html.count("<video") == 2
    assert "me&lt;.png: <b class=good>ok</b>" in result.html
    assert "flat.png: <b class=bad>no_face</b>" in result.html
    assert {f.parent.name for f in result.files} == {"000"}
    one = demo.demo(tmp_path / "one", paths[:1])
    assert one.headline["psnr"] > 0
