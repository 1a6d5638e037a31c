"""What the tabs of capsules, bodies, physics, styles and the challenge do, without a browser."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mien.methods.phycine.objects import FoundObject
from mien.studio import board, body, capsules, parts, physics, portrait, shift, surveillance

gr = pytest.importorskip("gradio", reason="gradio is not installed (extra studio)")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
)  # of gradio's own event loops


@pytest.fixture(scope="module")
def contest():
    """The folder of a session's contest, of few people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(board, "PEOPLE", (1, 2, 2))
        yield board.contest_of(None)


def test_both_models_see_a_drawing_of_a_new_style(files):
    ours, usual, said = shift.classify(files["disc"])
    assert set(ours) & set(usual)
    assert "Learnt from the styles fluent and twemoji" in said
    path, number = shift.drawn_anew(0)
    assert (Path(path).name, number) == ("noto.png", 1)
    assert Path(shift.drawn_as_learnt(0)[0]).name == "fluent.png"


def test_a_face_is_taken_apart_turned_lit_and_mended(files):
    example, box = parts.astronaut()
    obj, sheet, said = capsules.take_apart(example, box)
    assert len(sheet) == 12
    assert "part 6" in said
    front, turned, lit = (
        capsules.drawn(obj, *asked) for asked in ((0, False, 0, 0), (40, False, 0, 0), (0, True, 60, 0))
    )
    assert front.shape == turned.shape == lit.shape
    assert not np.array_equal(front, turned)
    assert not np.array_equal(front, lit)
    other, *_ = capsules.swapped(obj, files["face3"], 3)
    assert other.parts[2].depth is not obj.parts[2].depth
    assert other.parts[1].depth is obj.parts[1].depth
    shown, kept = capsules.surface(obj, 1.0)
    assert Path(shown).read_bytes()[:4] == b"glTF"
    assert shown == kept


def test_what_capsules_cannot_do_is_one_line(files):
    assert capsules.drawn(None, 0, False, 0, 0) is None
    with pytest.raises(gr.Error, match="a face to take apart first"):
        capsules.surface(None, 1.0)
    with pytest.raises(gr.Error, match="is no box"):
        capsules.take_apart(files["face3"], "left, right")
    obj = capsules.take_apart(*parts.astronaut())[0]
    with pytest.raises(gr.Error, match=r"part 7: there are parts 1 \.\. 6"):
        capsules.swapped(obj, files["face3"], 7)


def test_a_picture_without_a_person_makes_no_body(files):
    with pytest.raises(gr.Error, match=r"person|mask|background|covers"):
        body.reconstruct(files["astronaut"], None, False)
    assert body.reposed(None, "waving") is None
    with pytest.raises(gr.Error, match="its photograph first"):
        body.walked(None)


def test_a_contest_of_ones_own_takes_and_scores_submissions(contest, files):
    _, kit = board.kit_of(contest)
    with zipfile.ZipFile(kit) as archive:
        names = archive.namelist()
    assert "phase2/test.txt" in names
    assert not any("reference" in n for n in names)
    _, path = board.example_submission(contest)
    place, said, score, lines = board.submitted(contest, path, "me")
    assert place == contest
    assert said.startswith("**Submission 1 of me: ACER")
    assert score[0][0] == "ACER (ranks)"
    assert lines["data"][0][lines["headers"].index("team")] == "me"
    assert board.standings(contest) == lines
    with pytest.raises(gr.Error, match="not a zip"):
        board.submitted(contest, files["broken.zip"], "me")
    with pytest.raises(gr.Error, match="1 to 64 letters"):
        board.submitted(contest, path, "=1+1")


def test_sessions_have_contests_of_their_own(contest):
    other = board.contest_of(None)
    assert other != contest
    assert board.contest_of(contest) == contest
    assert board.standings(other)["data"] == []


def test_a_far_face_is_judged_by_picture_and_by_track(files):
    said, frames = surveillance.judge([files["face3"]], 0.0)
    assert "1 frame of mean quality" in said
    assert len(frames) == 1
    said, frames = surveillance.judge([files["face3"], files["face4"]], 0.0)
    assert "2 frames of mean quality" in said
    assert len(frames) == 2
    with pytest.raises(gr.Error, match="too poor"):
        surveillance.judge([files["face3"]], 1.0)


def test_objects_in_words():
    found = (
        FoundObject(0, "red", (0, 0), "heavy", "+", (0, 0), 1.0, 0.1, 0.9, 0.1),
        FoundObject(1, "blue", (0, 0)),
    )
    assert physics.explained("ok", found).startswith("**2 objects.** Heavy: red. Charged: red + ")
    assert physics.explained("too_short", found).endswith("it is too short.")
    assert physics.rows_of(found)[1] == [1, "blue", "unknown", "unknown", "", "", "", ""]


def test_what_physics_cannot_do_is_one_line(files):
    with pytest.raises(gr.Error, match="give a clip first"):
        physics.explain(None, None)
    with pytest.raises(gr.Error, match=r"broken\.mp4"):
        physics.explain(files["broken.mp4"], None)
    short = SimpleNamespace(latents=None)
    with pytest.raises(gr.Error, match="too short to say"):
        physics.what_if((short, ()), "0: red", "its charge is gone")


def test_a_driver_is_a_track_or_a_film(tmp_path, files, monkeypatch):
    from mien.methods.otavatar.motion_track import MotionTrack

    path = MotionTrack.from_talk(0, 5).to_npz(tmp_path / "track.npz")
    assert len(portrait.track_of(str(path))) == 5
    monkeypatch.delenv("MIEN_TRACKER", raising=False)
    with pytest.raises(Exception, match=r"broken\.mp4|MIEN_TRACKER"):
        portrait.track_of(files["broken.mp4"])


def test_work_ends_when_asked_and_when_its_time_is_over(monkeypatch):
    watch = parts.Watch()
    watch(0, 2, "one")
    parts.end_work()
    with pytest.raises(Exception, match="ended as you asked"):
        watch(1, 2, "two")
    watch(1, 2, "again")
    monkeypatch.setattr(parts, "WORK_SECONDS", -1)
    with pytest.raises(Exception, match="takes more than"):
        parts.Watch()(0, 1, "late")


def test_a_bug_is_said_without_its_details(caplog):
    @parts.told
    def broken():
        raise ZeroDivisionError("secret")

    with pytest.raises(gr.Error, match="a fault of this program") as caught:
        broken()
    assert "secret" not in str(caught.value)
    assert "secret" in caplog.text
