"""What the tabs do, without a browser."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import ConfigError
from mien.core.images import encode_png
from mien.studio import classify, faces, liveness, outcomes, parts, portrait

gr = pytest.importorskip("gradio", reason="gradio is not installed (extra studio)")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
)  # of gradio's own event loops


@pytest.fixture
def photo(tmp_path):
    from mien.synth import portrait as rendered

    path = tmp_path / "face.png"
    Image.fromarray(rendered(3, 0, 64).rgb).save(path)
    return str(path)


def test_a_picture_gets_a_class_and_the_experts_opinion(tmp_path):
    path = tmp_path / "shirt.png"
    ground = np.full((64, 64, 3), 255, np.uint8)
    ground[16:56, 18:46] = 40
    path.write_bytes(encode_png(ground))
    chances, said, experts, seen = classify.classify(str(path))
    assert 0 < max(chances.values()) <= 1
    assert "experts" in said
    assert [row[0] for row in experts] == ["1", "2"]
    assert seen.shape[0] >= 112


def test_what_is_missing_or_damaged_is_one_line_on_the_page(tmp_path):
    with pytest.raises(gr.Error, match="give a picture first"):
        classify.classify(None)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(gr.Error, match=r"broken\.png"):
        classify.classify(str(broken))
    with pytest.raises(gr.Error, match="at least one camera"):
        liveness.judge(None, None, None)


def test_a_face_is_the_same_as_itself_at_any_threshold_below_one(photo):
    score, said = faces.compare(photo, photo, "student by GKD", 0.5)
    assert score == pytest.approx(1, abs=1e-4)
    assert said.startswith("**Same person**")
    assert faces.verdict(score, 1.1).startswith("**Different people**")
    assert faces.verdict(None, 0.5) == ""
    assert -1 < faces.own_threshold("student by GKD") < 1


def test_a_gallery_finds_the_face_in_it(photo):
    found = faces.find(photo, [photo], "student by GKD")
    assert found[0][0] == "face"
    with pytest.raises(gr.Error, match="at most"):
        faces.find(photo, [photo] * (faces.LARGEST_GALLERY + 1), "student by GKD")


def test_a_rendered_person_before_three_cameras_is_judged():
    *files, number = liveness.rendered_person(0)
    assert number == 1
    said, maps = liveness.judge(*files)
    assert said.startswith(("**Live**", "**Attack**"))
    assert len(maps) == 3
    only = liveness.judge(files[0], None, None)[0]
    assert "Not given: depth, near infrared" in only


def test_results_are_drawn():
    figure, claims, rows = outcomes.shown("gkd")
    assert "over_student" in claims
    assert rows.count("\n") > 3
    assert figure.axes[0].get_xlabel() == "gain, points"


@pytest.mark.parametrize("text", ["1 2 3", "a, b, c, d", "1, 2, 3, -4"])
def test_a_box_that_is_none(text):
    with pytest.raises(ConfigError, match="is no box"):
        parts.read_box(text)


def test_sliders_move_both_sides_of_a_face():
    names = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeLookUpLeft")
    assert portrait.expression(names, (0.5, 1.0, 0.0, 0.0, 0.0)) == [0.5, 1.0, 1.0, 0.0]


def test_nothing_is_drawn_before_there_is_an_avatar():
    assert portrait.seen(None, 0, 0, 0, 0, 0, 0, 0) is None
    with pytest.raises(gr.Error, match="portrait first"):
        portrait.talking(None, "talks")


def test_what_was_made_is_deleted_after_its_time():
    old, new = parts.scratch(), parts.scratch()
    (old / "film.mp4").write_bytes(b"")
    aside = time.time() - parts.KEPT_SECONDS - 1
    os.utime(old, (aside, aside))
    parts.scratch()
    assert not old.exists()
    assert new.exists()
