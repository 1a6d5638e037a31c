"""Questions about a simulated scene in ComPhy's form: text, program, answer.

Answers are read off the scene's objects, collisions and paths here, without the programs: that a program
gives the same answer is a check of both (`mien.synth.comphy_set.executor_agreement`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.synth.comphy_scene import CONE, Change, ComPhyScene, Event, Thing, pairs_of
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES

FACTUAL, PREDICTIVE, COUNTERFACTUAL = (
    "Factual",
    "predictive_multiple_choice",
    "counterfactual_multiple_choice",
)
Question = dict[str, Any]
MOST = 0.6
"""Largest share of one answer among a template's questions."""
_PHYSICAL: dict[str, Callable[[Thing], bool]] = {
    "charged": lambda t: t.charge != 0,
    "uncharged": lambda t: t.charge == 0,
    "heavy": lambda t: t.mass == 5,
    "light": lambda t: t.mass == 1,
}
_LOOKS = {"color": COLOURS, "material": MATERIALS, "shape": SHAPES}
_ORDER = {"first": 0, "second": 1, "last": -1}


class Candidate(NamedTuple):
    """A question that could be asked.

    Attributes:
        text: in English.
        program: words in postfix order.
        answer: of a factual question; "" of one with choices.
        choices: (text, program, "correct" or "wrong") each.
    """

    text: str
    program: tuple[str, ...]
    answer: str = ""
    choices: tuple[tuple[str, tuple[str, ...], str], ...] = ()


class Named(NamedTuple):
    """An object by a description that fits no other."""

    item: int
    text: str
    program: tuple[str, ...]


Template = Callable[[ComPhyScene, np.random.Generator], Iterable[Candidate]]


def describe(scene: ComPhyScene, item: int, rng: np.random.Generator) -> Named:
    """An object by as few of its looks as single it out; which ones is drawn.

    Raises:
        ConfigError: another object looks the same.
    """
    for size in (1, 2, 3):
        fits = [
            names
            for names in combinations(_LOOKS, size)
            if sum(_look(t, names) == _look(scene.things[item], names) for t in scene.things) == 1
        ]
        if fits:
            names = fits[rng.integers(len(fits))]
            return Named(item, _noun(scene.things[item], names), _found(scene.things[item], names))
    raise ConfigError(f"object {item} looks like another one; questions need objects that differ")


def _look(thing: Thing, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(getattr(thing, n) for n in names)


def _noun(thing: Thing, names: Sequence[str]) -> str:
    """The looks and a noun: "cyan rubber cube", "metal object"."""
    return " ".join((*_look(thing, names), *(() if "shape" in names else ("object",))))


def _found(thing: Thing, names: Sequence[str]) -> tuple[str, ...]:
    filters = (word for n in names for word in (getattr(thing, n), f"filter_{n}"))
    return ("objects", *filters, "unique")


def _yes(condition: object) -> str:
    return "yes" if condition else "no"


def _restrictions() -> Iterable[tuple[str, str]]:
    """No look, or one: ("", "") or ("color", "red") ..."""
    yield "", ""
    yield from ((name, value) for name, values in _LOOKS.items() for value in values)


def _group(name: str, value: str, kind: str) -> tuple[str, tuple[str, ...]]:
    """Words and program of the objects of a kind, such as "charged metal object"."""
    noun = value if name == "shape" else f"{value} object".strip()
    look = (value, f"filter_{name}") if name else ()
    return f"{kind} {noun}", ("objects", *look, f"filter_{kind}")


def _members(scene: ComPhyScene, name: str, value: str, kind: str) -> list[Thing]:
    return [t for t in scene.things if _PHYSICAL[kind](t) and (not name or getattr(t, name) == value)]


def _exist(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    for kind in _PHYSICAL:
        for name, value in _restrictions():
            noun, program = _group(name, value, kind)
            found = _members(scene, name, value, kind)
            yield Candidate(f"Are there any {noun}s?", (*program, "exist"), _yes(found))


def _count(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    for kind in _PHYSICAL:
        for name, value in _restrictions():
            noun, program = _group(name, value, kind)
            found = _members(scene, name, value, kind)
            yield Candidate(f"How many {noun}s are there?", (*program, "count"), str(len(found)))


def _query(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    """Another look of the one object of a group."""
    for kind in _PHYSICAL:
        for name, value in _restrictions():
            noun, program = _group(name, value, kind)
            found = _members(scene, name, value, kind)
            if len(found) == 1:
                for asked in (look for look in _LOOKS if look != name):
                    text = f"What is the {asked} of the {noun}?"
                    yield Candidate(
                        text, (*program, "unique", f"query_{asked}"), str(getattr(found[0], asked))
                    )


def _query_one(look: str) -> Template:
    def template(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
        return (c for c in _query(scene, rng) if c.program[-1] == f"query_{look}")

    return template


def _two(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[tuple[Named, Named]]:
    """All ordered pairs."""
    names = [describe(scene, i, rng) for i in range(len(scene.things))]
    return ((a, b) for a in names for b in names if a.item != b.item)


def _heavier(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    for a, b in _two(scene, rng):
        masses = [scene.things[o.item].mass for o in (a, b)]
        programs = [(*o.program[:-1], "filter_mass", "unique") for o in (a, b)]
        for word, holds in (("heavier", masses[0] > masses[1]), ("lighter", masses[0] < masses[1])):
            text = f"Is the {a.text} {word} than the {b.text}?"
            yield Candidate(text, (*programs[0], *programs[1], f"is_{word}"), _yes(holds))


def _same_charge(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    for a, b in _two(scene, rng):
        product = scene.things[a.item].charge * scene.things[b.item].charge
        text = f"Do the {a.text} and the {b.text} carry the same type of charge?"
        yield Candidate(text, (*a.program, *b.program, "equal_charge"), _yes(product > 0))


def _opposite_charge(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    """Of two charged objects only: no module asks it, but "not equal" is the same then."""
    for a, b in _two(scene, rng):
        if product := scene.things[a.item].charge * scene.things[b.item].charge:
            text = f"Do the {a.text} and the {b.text} carry opposite charges?"
            yield Candidate(text, (*a.program, *b.program, "equal_charge", "negate"), _yes(product < 0))


def _both(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    charged = [t for t in scene.things if t.charge]
    if len(charged) == 2:
        opposite = charged[0].charge != charged[1].charge
        word, module = (
            ("opposite charges", "filter_opposite") if opposite else ("the same charge", "filter_same")
        )
        for look in _LOOKS:
            answer = " and ".join(getattr(t, look) for t in charged)
            for text, filter_ in (
                (f"What are the {look}s of the two charged objects?", "filter_charged"),
                (f"What are the {look}s of the two objects with {word}?", module),
            ):
                yield Candidate(text, ("objects", filter_, f"query_both_{look}"), answer)


def _shown(scene: ComPhyScene) -> list[Event]:
    """Collisions that are shown, by frame."""
    seen = [e for e in scene.collisions if e.frame is not None and e.frame < scene.shown]
    return sorted(seen, key=lambda e: e.frame or 0)


def _partner(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    for item in range(len(scene.things)):
        met = [e for e in _shown(scene) if item in e.objects]
        own = describe(scene, item, rng)
        for order, place in _ORDER.items():
            if len(met) < 1 + abs(place):
                continue
            other = scene.things[sum(met[place].objects) - item]
            for look in _LOOKS:
                text = f"What is the {look} of the {order} object that collides with the {own.text}?"
                program = ("events", *own.program, "filter_collision", order, "filter_order")
                yield Candidate(
                    text,
                    (*program, *own.program, "query_collision_partner", f"query_{look}"),
                    str(getattr(other, look)),
                )


def _collisions(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    seen = _shown(scene)
    program: tuple[str, ...] = ("events", "objects", "filter_collision")
    yield Candidate("How many collisions happen?", (*program, "count"), str(len(seen)))
    for item in range(len(scene.things)):
        own = describe(scene, item, rng)
        met = sum(item in e.objects for e in seen)
        text = f"How many collisions of the {own.text} happen?"
        yield Candidate(text, ("events", *own.program, "filter_collision", "count"), str(met))


def _collide(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    pairs = pairs_of(_shown(scene))
    for a, b in _two(scene, rng):
        text = f"Does the {a.text} collide with the {b.text}?"
        program = ("events", *a.program, "filter_collision", *b.program, "filter_collision", "exist")
        yield Candidate(text, program, _yes({a.item, b.item} in pairs))


def _before(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    """Order of two collisions of different pairs."""
    first: dict[frozenset[int], int] = {}
    for event in _shown(scene):
        first.setdefault(frozenset(event.objects), event.frame or 0)
    names = [describe(scene, i, rng) for i in range(len(scene.things))]
    for one, two in ((p, q) for p in first for q in first if p != q):
        (a, b), (c, d) = ([names[i] for i in sorted(pair)] for pair in (one, two))
        text = f"Do the {a.text} and the {b.text} collide before the {c.text} and the {d.text} first do?"
        program = ("events", *_meeting(c, d), "first", "filter_order", "filter_before")
        within = (*a.program, "filter_collision", *b.program, "filter_collision", "exist")
        yield Candidate(text, ("events", *program, *within), _yes(first[one] < first[two]))


def _meeting(a: Named, b: Named) -> tuple[str, ...]:
    """Filters events to the collisions of two objects."""
    return (*a.program, "filter_collision", *b.program, "filter_collision")


def _leave(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    for kind, verb in (("in", "enter"), ("out", "leave")):
        gone = np.diff(scene.visible.astype(int), axis=0) == (1 if kind == "in" else -1)
        rows = (np.arange(len(gone)) + 1) * scene.step < scene.shown
        for item, count in enumerate(gone[rows].sum(0)):
            own = describe(scene, item, rng)
            text = f"Does the {own.text} {verb} the scene?"
            yield Candidate(text, ("events", *own.program, f"filter_{kind}", "exist"), _yes(count))


def _direction(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    """At the start and at the first collision, where it is clear; over the video, where it is most often."""
    frames = range(0, scene.shown, 5)
    for item in range(len(scene.things)):
        own = describe(scene, item, rng)
        when: list[tuple[str, int, tuple[str, ...]]] = [
            ("at the start", 0, ("events", "filter_start", "query_frame"))
        ]
        if met := [e for e in _shown(scene) if item in e.objects]:
            program = ("events", *own.program, "filter_collision", "first", "filter_order", "query_frame")
            when.append(("when it first collides", met[0].frame or 0, program))
        for phrase, frame, program in when:
            if scene.is_visible(item, frame) and (way := _way(scene, item, frame)):
                text = f"Which direction does the {own.text} move in {phrase}?"
                yield Candidate(text, (*own.program, *program, "query_direction"), way)
        if all(scene.is_moving(item, f) for f in frames):
            ways = Counter(_way(scene, item, f) for f in frames)
            way, count = ways.most_common(1)[0]
            if way and 2 * count > len(frames):
                text = f"Which direction does the {own.text} mostly move in?"
                yield Candidate(text, (*own.program, "null", "query_direction"), way)


def _way(scene: ComPhyScene, item: int, frame: int) -> str:
    """The direction between the neighbouring rows: minor / major axis below tan(42 deg); "" between them."""
    row = frame // scene.step
    ends = [r for r in (row - 1, row, row + 1) if 0 <= r < len(scene.visible) and scene.visible[r, item]]
    x, y = scene.centres[ends[-1], item] - scene.centres[ends[0], item]
    slope = np.tan(np.radians(CONE))
    if abs(y) < slope * abs(x):
        return "right" if x > 0 else "left"
    return ("down" if y > 0 else "up") if abs(x) < slope * abs(y) else ""


def _choices(
    scene: ComPhyScene,
    happens: set[frozenset[int]],
    rng: np.random.Generator,
    first: frozenset[frozenset[int]] = frozenset(),
) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """Two to four collisions, about half of which happen, ``first`` come first; () if all or none do."""
    pairs = [frozenset(p) for p in combinations(range(len(scene.things)), 2)]
    pairs = sorted((pairs[i] for i in rng.permutation(len(pairs))), key=lambda p: p not in first)
    right, wrong = [p for p in pairs if p in happens], [p for p in pairs if p not in happens]
    fits = [(1, 1)] if right and wrong else []
    fits += [(1, 2), (2, 1), (2, 2)] if min(len(right), len(wrong)) > 1 else []
    if not fits:
        return ()
    r, w = fits[rng.integers(len(fits))]
    chosen = [*right[:r], *wrong[:w]]
    out = []
    for i in rng.permutation(len(chosen)):
        a, b = (describe(scene, o, rng) for o in sorted(chosen[i]))
        program = ("all_events", *_meeting(a, b), "unique")
        text = f"The {a.text} and the {b.text} collide"
        out.append((text, program, "correct" if chosen[i] in happens else "wrong"))
    return tuple(out)


def _predictive(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    later = [e for e in scene.collisions if e.frame is not None and e.frame >= scene.shown]
    if choices := _choices(scene, pairs_of(later), rng):
        yield Candidate("Which event will happen next?", ("unseen_events", "belong_to"), "", choices)


def _changes(scene: ComPhyScene, item: int) -> Iterable[tuple[str, str, Change]]:
    """What would make a difference: phrase, word of the program, change."""
    thing = scene.things[item]
    if thing.mass != 1:
        yield "were lighter", "lighter", Change(item, "mass", 1)
    if thing.mass != 5:
        yield "were heavier", "heavier", Change(item, "mass", 5)
    if thing.charge:
        yield "were uncharged", "uncharged", Change(item, "charge", 0)
        yield "were oppositely charged", "opposite", Change(item, "charge", -thing.charge)


def _counterfactual(scene: ComPhyScene, rng: np.random.Generator) -> Iterable[Candidate]:
    """Of changes that alter which pairs collide, if there are any, with choices of those pairs first.

    Otherwise the answers of what really happened would be right for nine choices in ten.
    """
    actual = pairs_of(scene.collisions)
    told: list[tuple[bool, Candidate]] = []
    for item in range(len(scene.things)):
        for phrase, word, change in _changes(scene, item):
            if change not in scene.counterfactuals:
                continue
            happens = pairs_of(scene.counterfactuals[change])
            altered = frozenset(happens ^ actual)
            if choices := _choices(scene, happens, rng, altered):
                own = describe(scene, item, rng)
                text = f"If the {own.text} {phrase}, which event would happen?"
                program = ("all_events", *own.program, word, "filter_counterfact", "belong_to")
                told.append((bool(altered), Candidate(text, program, "", choices)))
    return [c for altered, c in told if altered] or [c for _, c in told]


TEMPLATES: dict[str, tuple[str, Template]] = {
    "exist": (FACTUAL, _exist),
    "count": (FACTUAL, _count),
    "query_color": (FACTUAL, _query_one("color")),
    "query_material": (FACTUAL, _query_one("material")),
    "query_shape": (FACTUAL, _query_one("shape")),
    "heavier": (FACTUAL, _heavier),
    "same_charge": (FACTUAL, _same_charge),
    "opposite_charge": (FACTUAL, _opposite_charge),
    "both": (FACTUAL, _both),
    "partner": (FACTUAL, _partner),
    "collisions": (FACTUAL, _collisions),
    "collide": (FACTUAL, _collide),
    "before": (FACTUAL, _before),
    "leave": (FACTUAL, _leave),
    "direction": (FACTUAL, _direction),
    "predictive": (PREDICTIVE, _predictive),
    "counterfactual": (COUNTERFACTUAL, _counterfactual),
}
"""Each template: its question type, and what it could ask of a scene."""


class QuestionGenerator:
    """Questions of one scene; the same scene and seed, the same questions."""

    def __init__(self, scene: ComPhyScene, seed: int = 0) -> None:
        """Holds the scene.

        Args:
            scene: with all objects different in looks, and its counterfactuals recorded.
            seed: of the choice among the questions.
        """
        self.scene = scene
        self.seed = seed

    def generate(self, kinds: Sequence[str] = tuple(TEMPLATES), each: int = 1) -> list[Question]:
        """Up to ``each`` questions of each template; an answer is drawn first, then a question that has it.

        Args:
            kinds: names of `TEMPLATES`, or question types.
            each: questions of a template.

        Returns:
            Questions as ComPhy's files hold them, with the template as ``question_subtype``.

        Raises:
            ConfigError: no such kind.
        """
        types = {t for t, _ in TEMPLATES.values()}
        if unknown := [k for k in kinds if k not in TEMPLATES and k not in types]:
            raise ConfigError(f"no questions {unknown}; there are {', '.join((*TEMPLATES, *sorted(types)))}")
        found = []
        for name, (kind, template) in TEMPLATES.items():
            if name in kinds or kind in kinds:
                rng = np.random.default_rng(derive(self.seed, "questions", name))
                asked = _drawn(list(template(self.scene, rng)), each, rng)
                found += [_question(c, kind, name) for c in asked]
        return numbered(found)


def _drawn(candidates: list[Candidate], count: int, rng: np.random.Generator) -> list[Candidate]:
    """Candidates in turn from each answer, answers and candidates in random order."""
    by_answer: dict[str, list[Candidate]] = defaultdict(list)
    for i in rng.permutation(len(candidates)):
        by_answer[candidates[i].answer].append(candidates[i])
    answers = sorted(by_answer)
    stacks = [by_answer[answers[i]] for i in rng.permutation(len(answers))]
    turns = [(k, n) for n, stack in enumerate(stacks) for k in range(len(stack))]
    return [stacks[n][k] for k, n in sorted(turns)[:count]]


def _question(candidate: Candidate, kind: str, name: str) -> Question:
    question: Question = {
        "question": candidate.text,
        "question_type": kind,
        "question_subtype": name,
        "program": list(candidate.program),
    }
    if not candidate.choices:
        return {**question, "answer": candidate.answer}
    keys = ("choice", "program", "answer")
    listed = [dict(zip(keys, (t, list(p), a), strict=True)) for t, p, a in candidate.choices]
    return {**question, "choices": [{"choice_id": i, **c} for i, c in enumerate(listed)]}


def numbered(questions: Iterable[Question]) -> list[Question]:
    """With ``question_id`` by place."""
    return [{**q, "question_id": i} for i, q in enumerate(questions)]


def balanced(scenes: Sequence[Sequence[Question]], seed: int = 0) -> list[list[Question]]:
    """Drops factual questions so that no answer tells its template: yes as often as no, others <= 60 %.

    A template with one answer only goes. O(questions).

    Args:
        scenes: questions of each scene.
        seed: of the choice of what goes.
    """
    places: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for s, questions in enumerate(scenes):
        for p, question in enumerate(questions):
            if "answer" in question:
                places[question["question_subtype"]][question["answer"]].append((s, p))
    gone: set[tuple[int, int]] = set()
    for name, answers in places.items():
        rng = np.random.default_rng(derive(seed, "balance", name))
        limit = most_of_one({a: len(p) for a, p in answers.items()})
        for _, at in sorted(answers.items()):
            gone |= {at[i] for i in rng.permutation(len(at))[limit:]}
    return [numbered(q for p, q in enumerate(qs) if (s, p) not in gone) for s, qs in enumerate(scenes)]


def most_of_one(counts: dict[str, int]) -> int:
    """How often an answer may stay: the rarer of yes and no, else top / (top + rest) = 0.6.

    >>> most_of_one({"yes": 7, "no": 3}), most_of_one({"0": 9, "1": 1, "2": 1}), most_of_one({"yes": 4})
    (3, 3, 0)
    """
    top = max(counts.values())
    rest = sum(counts.values()) - top
    if set(counts) <= {"yes", "no"}:
        return rest
    return int(MOST / (1 - MOST) * rest + 1e-9)
