"""The demo on a model of three steps: tracks, the sweep, the user's files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.core.images import read_image
from mien.data.surveil_sets import read_surveil
from mien.methods.cqil import demo
from mien.methods.cqil.predict import Predictor

PNG = b"\x89PNG"


def test_half_of_the_tracks_are_live_and_each_is_judged_whole(predictor: Predictor) -> None:
    images = read_surveil(predictor.data).test
    found = demo.judged_tracks(predictor, images)
    assert len(found) == demo.TRACKS
    assert [t.label == 0 for t in found] == [True] * 5 + [False] * 5
    assert all(len(t.pictures) == len(t.odds) == len(t.quality) == 3 for t in found)
    sheet = demo.strip(found[0])
    assert sheet.shape[0] >= demo.SCALE * images.pictures.shape[1]


def test_show_writes_pictures_and_says_what_they_are(predictor: Predictor, tmp_path: Path) -> None:
    found = demo.show(predictor, tmp_path / "cqil", read_surveil(predictor.data).test)
    assert found.headline["tracks"] == 10
    assert 0 <= found.headline["right"] <= 10
    assert [f.name for f in found.files] == ["tracks.png", "sweep.png"]
    assert all(f.read_bytes().startswith(PNG) for f in found.files)
    assert read_image(found.files[0]).std() > 10
    assert "rendered people" in found.html
    assert found.html.count("class=card>") == 10


def test_the_users_files(predictor: Predictor, tmp_path: Path) -> None:
    picture = read_surveil(predictor.data).test.pictures[0]
    files = [tmp_path / "a.png", tmp_path / "b & c.png"]
    Image.fromarray(picture).save(files[0])
    Image.fromarray(np.full((32, 32, 3), 80, np.uint8)).save(files[1])
    found = demo.judge_files(predictor, tmp_path / "cqil", files)
    rows = json.loads(found.files[0].read_text())
    assert [r["status"] for r in rows] == ["ok", "no_face"]
    assert rows[0]["probability"] == pytest.approx(predictor.predict(picture)[0].probability)
    assert "b &amp; c.png" in found.html
    assert found.inputs == tuple(files)
