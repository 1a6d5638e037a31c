"""``mien data check`` on ComPhy and CLEVRER, and ``mien data make comphy``: one clear line a problem."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mien.cli.data import PHYSICAL_SETS
from mien.cli.main import main
from mien.core.errors import DataError
from mien.data.comphy_videos import make_comphy
from mien.data.physical_check import PHYSICAL_KINDS, check_physical, guess_physical_kind
from mien.data.video import read_video, write_video
from mien.synth.comphy_set import VIEW, ComPhySet
from mien.synth.phys_render import GROUND, PALETTE
from tests.data.test_clevrer import told

pytest.importorskip("av")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One training set and one to validate on, with videos."""
    root, seen = tmp_path_factory.mktemp("made") / "comphy", []
    make_comphy(ComPhySet(n_sets=1, n_ref=2, each=8), root, lambda n, of: seen.append((n, of)))
    make_comphy(ComPhySet(n_sets=1, n_ref=2, split="val"), root)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    return root


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def change(path, edit):
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


# -- made ---------------------------------------------------------------------------------------------------


def test_videos_show_the_objects_of_their_annotation(made):
    frames = list(read_video(made / "causal_sim" / "sim_00000" / "video.mp4"))
    assert (len(frames), frames[0].image.shape) == (150, (320, 480, 3))
    assert frames[25].time == pytest.approx(1.0)
    drawn = ComPhySet(n_sets=1, n_ref=2).drawn(0)
    first = drawn.scene.things[-1]  # nothing lies over the last one
    x, y = drawn.target.x[0, 0, -1]
    row, column = round(160 - y * 160 / VIEW), round(240 + x * 160 / VIEW)
    if first.material == "rubber":
        assert np.abs(frames[0].image[row, column] - np.array(PALETTE[first.color], float)).max() < 30
    assert np.abs(frames[0].image[2, 2] - np.array(GROUND, float)).max() < 8
    assert len(list(read_video(made / "reference" / "sim_04000" / "1" / "video.mp4"))) == 50


def test_a_split_is_not_made_twice_nor_among_other_things(copy, tmp_path):
    with pytest.raises(DataError, match="holds a val split already; choose another --output"):
        make_comphy(ComPhySet(n_sets=1, n_ref=2, split="val"), copy)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(DataError, match="not empty and no set of ComPhy's layout"):
        make_comphy(ComPhySet(n_sets=1), tmp_path / "other")


# -- ComPhy -------------------------------------------------------------------------------------------------


def test_a_made_copy_is_sound(made):
    report = check_physical("comphy", made)
    assert report.is_sound
    assert set(report.splits) == {"train", "val"}
    shown = report.splits["train"]
    assert (shown["sets"], shown["references"]) == (1, 2)
    assert shown["questions"] > 50
    assert shown["answers_run"] >= shown["questions"]
    assert "test: not there" in report.notes
    assert "train: 1 sets, the published one has 8,000" in report.notes


def problems_of(root, **options):
    return check_physical("comphy", root, **options).problems


def test_videos_that_are_missing_short_damaged_or_of_another_shape(copy):
    (copy / "causal_sim" / "sim_00000" / "video.mp4").write_bytes(b"nothing")
    (copy / "reference" / "sim_00000" / "0" / "video.mp4").unlink()
    grey = np.full((50, 64, 96, 3), 99, np.uint8)
    write_video(copy / "reference" / "sim_00000" / "1" / "video.mp4", grey[:49], 25)
    write_video(copy / "reference" / "sim_04000" / "0" / "video.mp4", grey[:, :, :64], 25)
    found = problems_of(copy)
    assert len(found) == 4
    said = "\n".join(found)
    for text in (
        "sim_00000/video.mp4: not a video",
        "sim_00000/0: no video.mp4 in it and no 0.mp4 beside it",
        "sim_00000/1/video.mp4: ends before frame 49",
        "sim_04000/0/video.mp4: 64 x 64 pixels; 480 x 320",
    ):
        assert text in said
    assert len(problems_of(copy, decode=False)) == 1


def test_annotations_and_looks_that_do_not_fit(copy):
    target = copy / "causal_sim" / "sim_00000" / "annotations" / "annotation.json"
    change(target, lambda a: a["config"][0].update(color="pink"))
    (found,) = problems_of(copy, decode=False)
    assert "config[0] has color 'pink'" in found
    reference = copy / "reference" / "sim_04000" / "1" / "annotations" / "annotation.json"
    things = ComPhySet(n_sets=1, n_ref=2, split="val").drawn(0).scene.things
    other = next(c for c in PALETTE if c not in {t.color for t in things})
    change(reference, lambda a: a["config"][0].update(color=other))
    assert f"no {other}" in problems_of(copy, decode=False)[1]
    reference.unlink()
    assert "annotation.json: no such file" in problems_of(copy, decode=False)[1]


def test_answers_and_programs_that_are_wrong(copy):
    def factual(scenes):
        return next(q for q in scenes[0]["questions"] if "choices" not in q and q["answer"].isdigit())

    change(copy / "train.json", lambda s: factual(s).update(answer="77"))
    (found,) = problems_of(copy, decode=False)
    assert "1 of " in found
    assert "is '77', the program finds" in found
    assert "scene 0" in found
    change(copy / "train.json", lambda s: factual(s).update(answer="7", program=["objects", "paint"]))
    (found,) = problems_of(copy, decode=False)
    assert "program word 1: 'paint' is no module" in found
    change(copy / "train.json", lambda s: factual(s).update(answer="7", program=None))
    (found,) = problems_of(copy, decode=False)
    assert "question" in found
    assert "questions[0] has no proper 'program'; mend the entry" in found


def test_questions_about_sets_that_are_not_there(copy):
    change(copy / "val.json", lambda s: s[0].update(scene_index=4001))
    (found,) = problems_of(copy, decode=False)
    assert "val.json: questions about 1 sets that are not there, first: 4001" in found
    (copy / "val.json").unlink()
    report = check_physical("comphy", copy, decode=False)
    assert report.is_sound
    assert "val: no questions (val.json)" in report.notes


def test_a_published_copy_has_no_tracks_no_answers_and_no_counterfactuals(copy):
    """What programs then cannot know is not run."""
    before = check_physical("comphy", copy, decode=False).splits["train"]["answers_run"]
    shutil.rmtree(copy / "tracks")
    target = copy / "causal_sim" / "sim_00000" / "annotations" / "annotation.json"
    change(target, lambda a: a.pop("counterfactuals"))
    report = check_physical("comphy", copy, decode=False)
    assert report.is_sound
    assert 0 < report.splits["train"]["answers_run"] < before
    change(copy / "train.json", lambda s: [q.pop("answer", None) for q in s[0]["questions"]])
    assert check_physical("comphy", copy, decode=False).is_sound


# -- CLEVRER ------------------------------------------------------------------------------------------------


@pytest.fixture
def clevrer(tmp_path):
    """Two videos of the validation split and one of the test split."""
    root = tmp_path / "clevrer"
    annotations, videos = (root / n for n in ("annotation_10000-11000", "video_10000-11000"))
    annotations.mkdir(parents=True)
    for number in (10000, 10001, 15000):
        write_video(videos / f"video_{number}.mp4", np.full((128, 32, 48, 3), 90, np.uint8), 25)
        if number < 15000:
            (annotations / f"annotation_{number}.json").write_text(json.dumps(told()))
    asked = {"question_id": 0, "question_type": "descriptive", "question": "?", "answer": "3"}
    (root / "validation.json").write_text(json.dumps([{"scene_index": 10000, "questions": [asked]}]))
    return root


def test_clevrer(clevrer):
    report = check_physical("clevrer", clevrer)
    assert report.is_sound
    assert report.splits == {
        "validation": {"videos": 2, "annotations": 2, "questions": 1},
        "test": {"videos": 1, "annotations": 0, "questions": 0},
    }
    assert any(n.startswith("train: not there") for n in report.notes)
    assert "validation: 2 sets, the published one has 5,000" in report.notes


def test_a_damaged_clevrer(clevrer):
    folder = clevrer / "annotation_10000-11000"
    (folder / "annotation_10001.json").unlink()
    change(folder / "annotation_10000.json", lambda a: a["motion_trajectory"].pop())
    write_video(clevrer / "video_10000-11000" / "video_15000.mp4", np.zeros((9, 32, 48, 3), np.uint8), 25)
    change(clevrer / "validation.json", lambda s: s[0].update(scene_index=10007))
    said = "\n".join(found := check_physical("clevrer", clevrer).problems)
    assert len(found) == 4
    for text in (
        "annotation_10000.json: motion_trajectory has 127 frames",
        "no annotation_10001.json of ",
        "video_15000.mp4: ends before frame 127",
        "questions about 1 sets that are not there, first: 10007",
    ):
        assert text in said
    assert len(check_physical("clevrer", clevrer, decode=False).problems) == 3
    (clevrer / "video_10000-11000" / "video_10000.mp4").unlink()
    (folder / "annotation_10000.json").write_text(json.dumps(told()))
    assert "no video_10000.mp4 of " in "\n".join(check_physical("clevrer", clevrer, decode=False).problems)


# -- the command line ---------------------------------------------------------------------------------------


def test_kinds_are_guessed(made, clevrer, tmp_path):
    assert tuple(PHYSICAL_SETS) == PHYSICAL_KINDS
    assert guess_physical_kind(made) == "comphy"
    assert guess_physical_kind(clevrer) == "clevrer"
    assert guess_physical_kind(tmp_path / "not there") is None
    (tmp_path / "empty").mkdir()
    assert guess_physical_kind(tmp_path / "empty") is None
    for kind in PHYSICAL_KINDS:
        (found,) = check_physical(kind, tmp_path / "empty").problems
        assert "give the folder of your copy" in found


def test_the_command_line_makes_and_checks(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["data", "make", "comphy", "--n-sets", "1", "--n-ref", "2", "--output", str(out)]
    assert main(words) == 0
    assert "1 sets in" in capsys.readouterr().out
    assert main(words) == 1
    assert "holds a train split already" in capsys.readouterr().err
    assert main(["data", "make", "comphy", "--split", "dev"]) == 2
    assert main(["data", "check", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kind"], answer["problems"]) == ("comphy", [])
    assert main(["data", "list", "--json"]) == 0
    rows = [(r["name"], r["whose"]) for r in json.loads(capsys.readouterr().out)]
    assert {("comphy", "yours"), ("comphy", "made"), ("clevrer", "yours"), ("faces", "yours")} <= set(rows)
