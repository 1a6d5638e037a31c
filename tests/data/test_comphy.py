from __future__ import annotations

import json

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.comphy import (
    ComPhy,
    charge_edges,
    read_predictions,
    read_questions,
    read_tracks,
    write_submission,
)
from mien.metrics.comphy import comphy_scores
from mien.synth.comphy_program import Executor
from mien.synth.comphy_scene import Change, Event, Thing
from mien.synth.comphy_set import ComPhySet, answered, draw_set

CONFIG = [
    {"color": "cyan", "material": "rubber", "shape": "cube", "mass": 5, "charge": 1},
    {"color": "purple", "material": "metal", "shape": "sphere", "mass": 1, "charge": 1},
    {"color": "gray", "material": "rubber", "shape": "cylinder", "mass": 5, "charge": 0},
]
MEETING = "all_events objects {} filter_shape unique filter_collision objects {} filter_shape unique"
CHOICES = [
    {"choice_id": k, "choice": f"The cube and the {shape} collide", "answer": answer,
     "program": f"{MEETING} filter_collision unique".format("cube", shape).split()}
    for k, (shape, answer) in enumerate((("sphere", "wrong"), ("cylinder", "correct")))
]  # fmt: skip
QUESTIONS = [
    {"question_id": 0, "question": "How many charged objects are there?", "question_type": "Factual",
     "program": ["objects", "filter_charged", "count"], "answer": "2"},
    {"question_id": 1, "question": "Which event will happen next?", "choices": CHOICES,
     "question_type": "predictive_multiple_choice", "program": ["unseen_events", "belong_to"]},
]  # fmt: skip


def looks(*items):
    return [{k: CONFIG[i][k] for k in ("color", "material", "shape")} for i in items]


def told(config, frames, *collisions):
    motion = [[{"location": [0.1 * t, i, 0.2]} for i in range(len(config))] for t in range(frames)]
    listed = [{"object_idxs": list(pair), "time": time} for pair, time in collisions]
    return {"config": config, "collisions": listed, "motion": motion, "field_config": {}}


def put(folder, annotation):
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "annotations" / "annotation.json").write_text(json.dumps(annotation))


@pytest.fixture
def copy(tmp_path):
    """A copy as published: one training set, number 6000."""
    put(tmp_path / "causal_sim/sim_06000", told(CONFIG, 150, ((0, 1), 2.4), ((0, 2), 5.2)))
    for k, items in enumerate(((1, 0), (0, 2), (2, 1), (1, 2, 0))):
        put(tmp_path / "reference/sim_06000" / str(k), told(looks(*items), 50, ((0, 1), 0.41)))
    scene = {"scene_index": 6000, "video_filename": "sim_06000.mp4", "questions": QUESTIONS}
    (tmp_path / "train.json").write_text(json.dumps([scene]))
    return tmp_path


def test_a_copy_is_read(copy):
    found = ComPhy(copy, "train")
    assert (len(found), found.numbers) == (1, (6000,))
    item = found[0]
    assert item.target.things == tuple(Thing(**c) for c in CONFIG)
    assert item.target.collisions == (Event("collision", (0, 1), 60), Event("collision", (0, 2), 130))
    assert item.target.locations.shape == (150, 3, 3)
    assert item.target.locations[7, 2].tolist() == pytest.approx([0.7, 2, 0.2])
    assert item.matches == ((1, 0), (0, 2), (2, 1), (1, 2, 0))
    assert item.references[0].things[0] == ("purple", "metal", "sphere", 1, 0)
    assert item.references[3].collisions == (Event("collision", (0, 1), 10),)
    executor = Executor(item.scene)
    rows = [row for q in item.questions for row in answered(q, executor)]
    assert [(a, b) for _, a, b in rows] == [("2", "2"), ("wrong", "wrong"), ("correct", "correct")]
    assert len(ComPhy(copy, "train", refs=1)[0].references) == 1


def test_what_is_missing_is_named(copy, tmp_path):
    with pytest.raises(DataError, match="no folder 'causal_sim'"):
        ComPhy(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match=r"no set of val \(sim_04000"):
        ComPhy(copy, "val")
    with pytest.raises(ConfigError, match="split='dev'"):
        ComPhy(copy, "dev")
    with pytest.raises(ConfigError, match="refs=-1"):
        ComPhy(copy, "train", -1)
    with pytest.raises(DataError, match=r"sim_06000/4/annotations/annotation\.json: no such file"):
        ComPhy(copy, "train", refs=5)[0]
    (copy / "train.json").unlink()
    assert ComPhy(copy, "train")[0].questions == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": []}, "no objects in 'config'"),
        ({"config": None}, "no list 'config'"),
        ({"config": [{"color": "pink", "material": "metal", "shape": "cube"}]}, "config.0. has color 'pink'"),
        ({"config": [CONFIG[0] | {"charge": 2}]}, "charge 2; > 0 and -1, 0, 1"),
        ({"config": [CONFIG[0], {"color": "red"}]}, r"config.1. has no proper 'material'"),
        ({"config": CONFIG[:2]}, "collisions.1. needs two of the objects 0 .. 1; got .0, 2"),
        ({"collisions": [{"object_idxs": [1, 1], "time": 1}]}, "needs two of the objects"),
        ({"collisions": [{"object_idxs": [1], "time": 1}]}, "needs two of the objects"),
        ({"collisions": [{"object_idxs": [0, 1], "time": -1}]}, "has the time -1"),
        ({"motion": []}, "no list 'motion'"),
        ({"motion": [[{"location": [0, 0, 0]}] * 2]}, r"motion.0. has 2 objects, config has 3"),
        ({"motion": [[{"location": [0, 0]}] * 3]}, "must be three numbers"),
        ({"motion": [[{"location": [0, 0, "x"]}] * 3]}, "must be three numbers"),
        ({"counterfactuals": [{"what_if": 3, "mass": 1, "collisions": []}]}, "needs 'what_if' of 0 .. 2"),
        ({"counterfactuals": [{"what_if": 0, "mass": 1}]}, "no list 'collisions'"),
    ],
)
def test_annotations_that_cannot_be_are_refused(copy, change, message):
    put(copy / "causal_sim/sim_06000", told(CONFIG, 150, ((0, 1), 2.4), ((0, 2), 5.2)) | change)
    with pytest.raises(DataError, match=message):
        ComPhy(copy, "train")[0]


def test_broken_files_are_one_line(copy):
    path = copy / "causal_sim/sim_06000/annotations/annotation.json"
    path.write_text('{"config": [')
    with pytest.raises(DataError, match=r"annotation\.json:1:13: not valid JSON"):
        ComPhy(copy, "train")[0]
    path.write_text("[]")
    with pytest.raises(DataError, match="not an annotation"):
        ComPhy(copy, "train")[0]


def test_references_must_show_the_target(copy):
    other = [{"color": "red", "material": "metal", "shape": "cube"}]
    put(copy / "reference/sim_06000/2", told(other, 50))
    with pytest.raises(DataError, match="2: no red metal cube in the target"):
        ComPhy(copy, "train")[0]


def test_tracks_give_motion_and_visibility(copy):
    boxes = np.full((150, 3, 4), (0, 0, 480, 320), np.float32)
    boxes[:, 0] = np.array([10, 20, 50, 60]) + np.arange(150)[:, None] * np.array([2, 0, 2, 0])
    boxes[30:, 1] = (100, 100, 140, 140)
    (copy / "tracks").mkdir()
    np.save(copy / "tracks/sim_06000.npy", boxes)
    scene = ComPhy(copy, "train")[0].scene
    assert scene.centres[5, 0].tolist() == [40, 40]
    assert scene.visible.sum(0).tolist() == [150, 120, 0]
    assert scene.in_out == (Event("in", (1,), 30),)
    assert Executor(scene).run("objects cube filter_shape unique null query_direction".split()) == "right"
    np.save(copy / "tracks/sim_06000.npy", boxes[:, :2])
    with pytest.raises(DataError, match=r"needs \(frames, 3, 4\) numbers; got \(150, 2, 4\)"):
        ComPhy(copy, "train")[0]
    (copy / "tracks/sim_06000.npy").write_bytes(b"boxes")
    with pytest.raises(DataError, match="not a NumPy array"):
        read_tracks(copy / "tracks/sim_06000.npy", 3)


def test_predicted_motion_is_a_scene_with_proposals(tmp_path):
    """Object 0 comes from the left and stops at object 1; were it lighter, nothing moved."""
    t = np.arange(30)
    size = np.full(30, 0.1)
    comes = np.stack([0.1 + 0.02 * np.minimum(t, 15.3), np.full(30, 0.5), size, size], 1)
    waits = np.stack([0.5 + 0.02 * np.maximum(t - 15.3, 0), np.full(30, 0.5), size, size], 1)
    out = np.stack([np.where(t < 10, 0.9, 1.2), np.full(30, 0.1), size, size], 1)
    still = np.stack([comes[:1].repeat(30, 0), waits[:1].repeat(30, 0), out])
    path = tmp_path / "sim_00000.json"
    told_motion = {
        "future": {"what_if": -1, "trajectories": np.stack([comes, waits, out]).tolist()},
        "mass": [{"what_if": 0, "mass": 1, "trajectories": still.tolist()}],
        "charge": [],
    }
    path.write_text(json.dumps(told_motion))
    scene = read_predictions(path, [Thing(**c) for c in CONFIG])
    assert [(e.objects, 70 <= e.frame <= 80) for e in scene.collisions] == [((0, 1), True)]
    assert scene.in_out == (Event("out", (2,), 50),)
    assert scene.counterfactuals == {Change(0, "mass", 1): ()}
    assert scene.centres[0, 0].tolist() == pytest.approx([48, 160])
    with pytest.raises(DataError, match="'trajectories' must be"):
        read_predictions(path, [Thing(**CONFIG[0])])
    path.write_text("{}")
    with pytest.raises(DataError, match="no 'future'"):
        read_predictions(path, [])


def test_questions_that_are_not_are_refused(tmp_path):
    path = tmp_path / "test.json"
    scene = {"scene_index": 1, "questions": [{"question_id": 0, "question_type": "Factual"}]}
    path.write_text(json.dumps([scene]))
    assert read_questions(path)[1][0]["question_id"] == 0
    for wrong, message in (
        ({}, "no list 'scenes'"),
        ([scene, scene], "scene 1 is listed twice"),
        ([{"scene_index": 1}], r"scenes.0. has no proper 'questions'"),
        ([{"scene_index": 1, "questions": [{"question_id": 0}]}], "no proper 'question_type'"),
        ([{"scene_index": 1, "questions": [scene["questions"][0] | {"choices": [{}]}]}], "'choice_id'"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=message):
            read_questions(path)


def test_submissions_hold_answers_and_are_scored(copy):
    found = ComPhy(copy, "train")
    executor = Executor(found[0].scene)

    def answer(number, question):
        rows = [b for _, _, b in answered(question, executor)]
        return rows if "choices" in question else rows[0]

    path = write_submission(copy / "out" / "answers.json", found.questions, answer)
    written = json.loads(path.read_text())
    assert written[0]["questions"][0] == {"question_id": 0, "question_type": "Factual", "answer": "2"}
    assert written[0]["questions"][1]["choices"] == [
        {"choice_id": 0, "answer": "wrong"}, {"choice_id": 1, "answer": "correct"},
    ]  # fmt: skip
    scores = comphy_scores(written, json.loads((copy / "train.json").read_text()))
    assert (scores["factual"], scores["predictive_question"]) == (1, 1)
    with pytest.raises(DataError, match="scene 6000, question 1: 2 choices need as many answers"):
        write_submission(path, found.questions, lambda n, q: "correct")
    assert json.loads(path.read_text()) == written


def test_made_sets_are_read_and_answer_their_questions(tmp_path):
    ComPhySet(3, seed=2, each=2).write(tmp_path)
    found = ComPhy(tmp_path, "train")
    compared = 0
    for place in range(len(found)):
        item = found[place]
        told_target = tmp_path / f"causal_sim/sim_{place:05d}/annotations/annotation.json"
        made = draw_set(json.loads(told_target.read_text())["seed"])
        assert item.scene.things == made.scene.things
        assert item.scene.collisions == made.scene.collisions
        assert item.scene.in_out == made.scene.in_out
        assert item.scene.counterfactuals == made.scene.counterfactuals
        assert np.allclose(
            item.scene.centres[made.scene.visible], made.scene.centres[made.scene.visible], atol=1e-3
        )
        assert item.matches == tuple(r.items for r in made.references)
        for question in item.questions:
            for _, expected, answer in answered(question, Executor(item.scene)):
                assert answer == expected
                compared += 1
    assert compared > 30


def test_edges_of_the_worked_example():
    assert charge_edges([Thing(**c) for c in CONFIG]) == [1, 0, 1, 0, 0, 0]
