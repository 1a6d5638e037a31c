"""With true masses, charges and paths the programs are right; nothing of the future is looked at."""

from dataclasses import replace

import numpy as np
import pytest

from mien.core.errors import ShapeError
from mien.data import answer_file
from mien.methods.phycine.symbolic import (
    Motion,
    Split,
    Thresholds,
    changes_of,
    contacts,
    labelled,
    predicted_scene,
    symbolic_answers,
    thresholds_of,
    two_means,
    with_change,
)
from mien.metrics import comphy_scores
from mien.synth import PhysWorld
from mien.synth.comphy_questions import QuestionGenerator
from mien.synth.comphy_scene import Change, Event, Thing, pairs_of, true_collisions
from mien.synth.comphy_set import VIEW, draw_set, question_file

WORLD = PhysWorld(dt=1 / 25, substeps=4, speed=0.45, radius=0.4, strength=4.0)
TOUCH = 2 * WORLD.radius
TRUE = Thresholds(Split(0.0, float(np.log(5))), Split(0.0, 1.0))
CUBE = Thing("red", "metal", "cube")


@pytest.fixture(scope="module")
def sets():
    return [draw_set(seed, world=WORLD) for seed in range(24)]


def told(drawn):
    return np.log(drawn.target.m[0]), drawn.target.q[0]


def predicted(drawn, step, scene=None):
    """From the true latents; the simulator says what would happen."""

    def what_if(z_m, z_c):
        objects = drawn.target.objects[np.zeros(len(z_m), int)]
        start = (np.repeat(a[:, 0], len(z_m), 0) for a in (drawn.target.x, drawn.target.v))
        paths = WORLD.run(*start, replace(objects, mass=np.exp(z_m), charge=z_c), 150)
        return Motion(paths.x[:, ::step], 0, step)

    future = Motion(drawn.target.x[0, 105::step], 105, step)
    latents = told(drawn)
    return predicted_scene(scene or drawn.scene, future, *latents, TRUE, what_if, touch=TOUCH, view=VIEW)


def scores(sets, step):
    asked = [QuestionGenerator(d.scene, d.seed).generate(each=2) for d in sets]
    scenes = [predicted(d, step) for d in sets]
    given = [dict(zip((q["question_id"] for q in qs), symbolic_answers(s, qs), strict=True))
             for s, qs in zip(scenes, asked, strict=True)]  # fmt: skip
    answers = answer_file(dict(enumerate(asked)), lambda n, q: given[n][q["question_id"]])
    return comphy_scores(answers, question_file(range(len(sets)), asked))


def slow_split(values):
    """Every border between two numbers."""
    x = np.sort(values)
    halves = [(x[:k], x[k:]) for k in range(1, len(x))]
    best = min(halves, key=lambda h: sum(((g - g.mean()) ** 2).sum() for g in h))
    return best[0].mean(), best[1].mean()


def test_two_groups_are_split_between_their_means():
    split = two_means(np.array([0.0, 0.2, 0.1, 1.0, 1.2, np.nan]))
    assert np.allclose(split, (0.1, 1.1))
    assert split.border == pytest.approx(0.6)


def test_the_split_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.standard_normal(rng.integers(2, 30)) + 3 * rng.integers(0, 2)
        assert np.allclose(two_means(values, apart=0), slow_split(values))


@pytest.mark.parametrize("values", [[], [0.3], [0.0] * 5, np.random.default_rng(1).standard_normal(500)])
def test_one_group_has_no_upper_one(values):
    assert two_means(np.array(values)).border == np.inf


def test_thresholds_need_no_labels(sets):
    rng = np.random.default_rng(2)
    latents = np.concatenate([np.stack(told(d)) for d in sets], 1)
    found = thresholds_of(*(latents + 0.1 * rng.standard_normal(latents.shape)))
    assert np.allclose((*found.mass, *found.charge), (0, np.log(5), 0.08, 1), atol=0.06)


def test_the_first_charged_object_is_positive():
    found = labelled([CUBE] * 4, np.array([0.1, 1.5, 2.0, -1]), np.array([0.2, -0.9, 1.1, -1]), TRUE)
    assert [t.mass for t in found] == [1, 5, 5, 1]
    assert [t.charge for t in found] == [0, 1, -1, 1]
    assert found[0][:3] == CUBE[:3]


def test_without_groups_all_is_light_and_neutral():
    none = Thresholds(Split(0.0, np.inf), Split(0.0, np.inf))
    assert labelled([CUBE], np.array([9.0]), np.array([-9.0]), none) == (Thing("red", "metal", "cube", 1, 0),)
    with pytest.raises(ShapeError, match="2 objects"):
        labelled([CUBE] * 2, np.zeros(3), np.zeros(3), none)


def test_all_changes_that_are_recorded_are_foreseen(sets):
    for drawn in sets:
        assert set(changes_of(drawn.scene.things)) == drawn.scene.counterfactuals.keys()


@pytest.mark.parametrize(
    ("change", "z_m", "z_c"),
    [
        (Change(0, "mass", 5), [0.1 + np.log(5), 1.5], [-0.9, 0.1]),
        (Change(1, "mass", 5), [0.1, 1.5], [-0.9, 0.1]),
        (Change(1, "mass", 1), [0.1, 1.5 - np.log(5)], [-0.9, 0.1]),
        (Change(0, "charge", 0), [0.1, 1.5], [0, 0.1]),
        (Change(0, "charge", -1), [0.1, 1.5], [0.9, 0.1]),
        (Change(1, "charge", 0), [0.1, 1.5], [-0.9, 0.1]),
    ],
)
def test_a_change_moves_one_latent_and_only_if_it_is_one(change, z_m, z_c):
    before = np.array([0.1, 1.5]), np.array([-0.9, 0.1])
    after = with_change(*before, labelled([CUBE] * 2, *before, TRUE), change, TRUE)
    assert np.allclose(after, (z_m, z_c))
    assert before[1].tolist() == [-0.9, 0.1]


def test_two_that_bounce_off_each_other_collide_once():
    """0.15 nearer a row until they touch at 0.58 in the row from 0.7; 0.8 of it is frame 30 + 2.8 * 3."""
    x = np.array([1, 0.85, 0.7, 0.61, 0.76, 0.91])
    place = np.stack([np.stack([x, 0 * x], -1), np.zeros((6, 2))], 1)
    assert contacts(Motion(place, 30, 3), 0.58) == (Event("collision", (0, 1), 39),)
    for wrong in (place[None], place[:1]):
        with pytest.raises(ShapeError, match="T, N, 2"):
            contacts(Motion(wrong, 30, 3), 0.5)


def test_what_would_touch_after_the_last_row_is_a_collision():
    place = np.zeros((2, 2, 2))
    place[:, 0, 0] = 1, 0.7
    assert contacts(Motion(place, 0, 3), 0.41) == (Event("collision", (0, 1), 6),)
    assert contacts(Motion(place, 0, 3), 0.39) == ()


@pytest.mark.parametrize(("beside", "count"), [(0.57, 1), (0.59, 0)])
def test_a_pass_is_a_collision_if_it_is_near_enough_between_rows(beside, count):
    place = np.zeros((5, 2, 2))
    place[:, 0] = [(x, beside) for x in (-1.5, -0.9, -0.3, 0.3, 0.9)]
    assert len(contacts(Motion(place, 0, 3), 0.58)) == count


def test_an_object_that_is_nowhere_touches_none():
    place = np.zeros((4, 2, 2))
    place[:, 0] = np.nan
    assert contacts(Motion(place, 0, 1), 1.0) == ()


@pytest.mark.parametrize(("step", "least"), [(1, 1.0), (3, 0.97)])
def test_contacts_of_true_paths_are_the_collisions(sets, step, least):
    right = wrong = 0
    for clip in (c for d in sets for c in (d.target, *d.counterfactuals.values())):
        true = pairs_of(true_collisions(clip.hits[0]))
        found = pairs_of(contacts(Motion(clip.x[0, ::step], 0, step), TOUCH))
        right, wrong = right + len(true & found), wrong + len(true ^ found)
    assert right > 300
    assert right / (right + wrong) >= least


def test_with_true_latents_and_paths_every_answer_is_right(sets):
    assert set(scores(sets, 1).values()) == {1.0}


def test_every_third_frame_is_nearly_enough(sets):
    found = scores(sets, 3)
    assert found["factual"] == 1
    assert min(found["predictive_option"], found["counterfactual_option"]) > 0.95


def test_what_is_not_shown_is_not_looked_at(sets):
    drawn = sets[0]
    scene = drawn.scene
    hidden = replace(
        scene,
        things=tuple(t._replace(mass=7, charge=9) for t in scene.things),
        collisions=(*(e for e in scene.collisions if e.frame < 120), Event("collision", (0, 1), 130)),
        in_out=(*(e for e in scene.in_out if e.frame < 120), Event("out", (0,), 140)),
        centres=np.where(np.arange(150)[:, None, None] < 120, scene.centres, -1),
        visible=scene.visible & (np.arange(150) < 120)[:, None],
        counterfactuals={},
    )
    one, two = predicted(drawn, 3), predicted(drawn, 3, hidden)
    for name in ("things", "collisions", "in_out", "counterfactuals"):
        assert getattr(one, name) == getattr(two, name)
    assert np.array_equal(one.centres, two.centres)
    assert np.array_equal(one.visible, two.visible)


def test_the_future_is_filled_in_frame_by_frame(sets):
    drawn = sets[0]
    scene = predicted(drawn, 3)
    assert scene.centres.shape == (148, len(scene.things), 2), "row 147 is the last of every third"
    off = np.abs(scene.centres - drawn.scene.centres[:148])
    assert off.max() < 10, "a bounce between rows"
    assert off[120:].mean() < 0.5
    assert off[:121].max() < 1e-9


def test_a_program_that_cannot_run_is_an_error(sets):
    question = {"program": ["negate"], "choices": [{"program": ["objects"]}, {"program": []}]}
    assert symbolic_answers(sets[0].scene, [{"program": ["count"]}, question]) == ["error", ["error"] * 2]
