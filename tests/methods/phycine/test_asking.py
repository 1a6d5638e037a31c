"""Questions about a clip by hand: who hits whom, who is heavy, and what nobody knows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mien.methods.phycine.asking import answers, event_questions, found_scene, physical_questions
from mien.methods.phycine.objects import FoundObject
from mien.methods.phycine.symbolic import Split, Thresholds
from mien.synth.comphy_program import check_program

KNOWN = Thresholds(Split(-1.0, 1.0), Split(0.0, 1.0))
T = 12


def watched(latents=True):
    """Red and blue meet in the middle and part; grey rests far away."""
    x = torch.tensor([abs(t - 5.5) for t in range(T)]) * 0.2 + 0.1
    place = torch.zeros(1, T, 3, 2)
    place[0, :, 0, 0], place[0, :, 1, 0] = -x, x
    place[0, :, 2] = torch.tensor([0.0, 1.5])
    seen = SimpleNamespace(place=place, present=torch.ones(1, T, 3, dtype=torch.bool))
    return SimpleNamespace(seen=seen, latents=object() if latents else None, video=torch.zeros(1, T, 3, 4, 6))


def things(third=("light", "none")):
    return (
        FoundObject(0, "red", (0, 0), "heavy", "+", (0, 0), 1.0, 0.1, 0.9, 0.1),
        FoundObject(1, "blue", (0, 0), "light", "-", (0, 0), -1.0, 0.1, -0.8, 0.1),
        FoundObject(2, "gray", (0, 0), *third, (0, 0), -1.0, 0.1, 0.0, 0.1),
    )


def said(found):
    return {a.question: a.answer for a in found}


def test_programs_answer_what_was_found():
    told = said(answers(watched(), things(), KNOWN))
    assert told["How many charged objects are there?"] == "2"
    assert told["How many heavy objects are there?"] == "1"
    assert told["Is the red object heavier than the blue one?"] == "yes"
    assert told["Is the blue object heavier than the gray one?"] == "no"
    assert told["How many collisions are there?"] == "1"
    assert told["Do the red and the blue object collide?"] == "yes"
    assert told["Do the red and the gray object collide?"] == "no"


def test_what_rests_on_an_unknown_mass_is_not_sure():
    sure = {a.question: a.sure for a in answers(watched(), things(("unknown", "none")), KNOWN)}
    assert not sure["How many heavy objects are there?"]
    assert not sure["Is the blue object heavier than the gray one?"]
    assert sure["Is the red object heavier than the blue one?"]
    assert sure["How many collisions are there?"]


def test_without_latents_only_events_are_asked():
    bare = tuple(FoundObject(o.slot, o.color, o.place) for o in things())
    told = said(answers(watched(latents=False), bare, KNOWN))
    assert "How many charged objects are there?" not in told
    assert told["How many collisions are there?"] == "1"


def test_two_of_one_colour_are_not_named_and_nothing_is_asked_of_nothing():
    red, blue, _ = things()
    twins = (red, blue, FoundObject(2, "blue", (0, 0), "light", "none"))
    assert not any("blue" in a.question for a in answers(watched(), twins, KNOWN))
    assert answers(watched(), (), KNOWN) == []


def test_where_nobody_meets_there_is_no_collision():
    clip = watched()
    clip.seen.place[0, :, 1, 0] += 3.0 + torch.arange(T) * 0.5
    assert found_scene(clip, things(), KNOWN).collisions == ()


@pytest.mark.parametrize("questions", [physical_questions, event_questions])
def test_programs_are_of_known_words(questions):
    asked = questions(["red", "blue", "gray"])
    assert len(asked) == 4
    for question in asked:
        check_program(question.program)
