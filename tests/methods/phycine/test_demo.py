"""The demo on a model that has learnt nothing: what it shows and writes."""

from __future__ import annotations

import numpy as np
import pytest

from mien.data.video import read_video, write_video
from mien.methods.phycine import demo
from mien.methods.phycine.demo import example
from tests.methods.phycine.user import clip, folder


@pytest.fixture
def short(tmp_path, monkeypatch):
    own = folder(tmp_path / "model", sight="threshold", slots=6)
    monkeypatch.setattr(demo, "load_folder", lambda name: own)
    return own


def test_the_set_has_charges_and_colours_of_its_own(short):
    one = example(short.recipe.data)
    colours = [t.color for t in one.target.things]
    assert len(set(colours)) == len(colours)
    assert sum(t.charge != 0 for t in one.target.things) == 2


def test_the_whole_demo(short, tmp_path):
    result = demo.demo(tmp_path / "out", [])
    assert [f.name for f in result.files] == ["slots.mp4", "concepts.png", "paths.png"]
    assert result.files[1].read_bytes().startswith(b"\x89PNG")
    assert len(list(read_video(result.files[0]))) == 40
    assert 1 <= result.headline["found"] <= result.headline["objects"]
    assert result.headline["answers_right"].endswith("of 3")
    assert result.html.count("<video") == 1
    assert demo.demo(tmp_path / "again", []).headline == result.headline


def test_a_path_that_is_not_seen_has_no_error():
    true, seen = np.zeros((3, 2, 2)), np.full((3, 2, 2), np.nan)
    seen[:, 0] = 1.0
    assert demo.Paths(true, seen, true, seen, "").error == pytest.approx(np.sqrt(2))


def test_the_users_clips_are_explained_instead(short, tmp_path):
    path = write_video(tmp_path / "a<.mp4", clip(24), 25.0, crf=0).path
    result = demo.demo(tmp_path / "out", [path])
    assert result.inputs == (path,)
    assert result.headline == {"clips": 1, "status": "ok", "objects": 2}
    assert "a&lt;.mp4: <b class=good>ok</b>" in result.html
