"""Questions about a watched clip, answered by ComPhy's programs on what was found in it.

Looks are the found colours; material and shape are not found, so no question names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from mien.core.errors import DataError
from mien.methods.phycine.found_scenes import shown_scene, touch_of, whole_path
from mien.methods.phycine.objects import FoundObject
from mien.methods.phycine.symbolic import Thresholds, labelled
from mien.methods.phycine.watch import WatchedClip
from mien.synth.comphy_program import Executor
from mien.synth.comphy_scene import ComPhyScene, Thing
from mien.synth.comphy_set import WORLD
from mien.synth.phys_world import MATERIALS, SHAPES

LARGEST_TOUCH = 1.3 * 2 * WORLD.radius
"""Distance of two centres above which nothing touches: a clip may have approaches and no collision."""
MOST_PAIRS = 6
"""Pairs of objects that are asked about."""


class Question(NamedTuple):
    """A question.

    Attributes:
        text: in English.
        program: that answers it (postfix, as ComPhy's).
        about: colours of the objects whose mass or charge it rests on; "all" = of all objects.
    """

    text: str
    program: tuple[str, ...]
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a program says.

    Attributes:
        question: its text.
        answer: a number, a word, yes or no.
        sure: whether the masses and charges that it rests on are known.
    """

    question: str
    answer: str
    sure: bool


def the(colour: str) -> tuple[str, ...]:
    """The program of the only object of a colour."""
    return "objects", colour, "filter_color", "unique"


def physical_questions(names: Sequence[str]) -> list[Question]:
    """About masses and charges.

    Args:
        names: colours that one object each has.
    """
    asked = [
        Question("How many charged objects are there?", ("objects", "filter_charged", "count"), ("all",)),
        Question("How many heavy objects are there?", ("objects", "filter_heavy", "count"), ("all",)),
    ]
    for a, b in pairwise(names):
        mass = [w for c in (a, b) for w in ("objects", c, "filter_color", "filter_mass", "unique")]
        asked.append(Question(f"Is the {a} object heavier than the {b} one?", (*mass, "is_heavier"), (a, b)))
    return asked


def event_questions(names: Sequence[str]) -> list[Question]:
    """About collisions that are seen; see `physical_questions`."""
    asked = [Question("How many collisions are there?", ("events", "objects", "filter_collision", "count"))]
    for a, b in list(combinations(names, 2))[:MOST_PAIRS]:
        program = ("events", *the(a), "filter_collision", *the(b), "filter_collision", "exist")
        asked.append(Question(f"Do the {a} and the {b} object collide?", program))
    return asked


def found_scene(clip: WatchedClip, objects: Sequence[FoundObject], known: Thresholds) -> ComPhyScene:
    """What programs see of a clip: found colours, masses, charges and collisions. O(T N^2).

    Where no two objects ever approach and part there is no collision. Without latents all objects are light
    and uncharged.

    Args:
        clip: watched, with an object or more.
        objects: of it (`objects_of`).
        known: where light ends and charged begins.
    """
    looks = [Thing(o.color, MATERIALS[0], SHAPES[0]) for o in objects]
    z_m, z_c = (np.array([getattr(o, n) or 0.0 for o in objects], float) for n in ("z_m", "z_c"))
    things = labelled(looks, z_m, z_c, known) if clip.latents is not None else tuple(looks)
    place, present = (x.cpu().numpy() for x in (clip.seen.place, clip.seen.present))
    try:
        touch = min(touch_of(place, present), LARGEST_TOUCH)
    except DataError:
        touch = 0.0
    return shown_scene(things, whole_path(place[0], present[0]), touch, 1)


def answers(clip: WatchedClip, objects: Sequence[FoundObject], known: Thresholds) -> list[Answer]:
    """Questions about a clip, answered; about masses and charges only where the clip tells of them.

    Args:
        clip: see `found_scene`.
        objects: see there.
        known: see there.
    """
    if not objects or clip.video.shape[1] < 2:
        return []
    executor = Executor(found_scene(clip, objects, known))
    count = Counter(o.color for o in objects)
    names = [o.color for o in objects if count[o.color] == 1]
    unknown = [o.color for o in objects if "unknown" in (o.mass, o.charge)]
    asked = event_questions(names)
    if len(unknown) < len(objects):
        asked = physical_questions(names) + asked
    return [
        Answer(q.text, executor.run(q.program), not any(c in q.about or "all" in q.about for c in unknown))
        for q in asked
    ]
