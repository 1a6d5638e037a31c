"""Runs ComPhy's programs: a stack machine over words in postfix order.

A word that names a module takes its arguments from the stack and puts its result there; any other word is
put there itself. A module with too few or wrong arguments makes the answer "error".

Source: the executor released with Chen et al., ComPhy, ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

from mien.core.errors import ConfigError
from mien.synth.comphy_scene import DIRECTIONS, Change, ComPhyScene, Event, Thing, pairs_of
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES

END_FRAME = 125
"""Frame of the "end" event."""
ORDERS = {"first": 0, "second": 1, "last": -1}
PROPERTIES = ("lighter", "heavier", "uncharged", "opposite")
"""What an object could have been."""
WORDS = frozenset((*COLOURS, *MATERIALS, *SHAPES, *ORDERS, *PROPERTIES, "null"))
"""Words that are no modules but arguments of them."""
ERROR = "error"
_CHOICE = {"yes": "correct", "no": "wrong"}
_STOP, _SKIP = ("<END>", "<NULL>"), "<START>"
_ATTRIBUTES = {"color": COLOURS, "material": MATERIALS, "shape": SHAPES}
Module = Callable[..., Any]


class _WrongArgumentError(Exception):
    """A module cannot answer."""


def _need(condition: object) -> None:
    if not condition:
        raise _WrongArgumentError


def _yes(condition: object) -> str:
    return "yes" if condition else "no"


def _list(values: Any, kind: type | None = None) -> list[Any]:
    """A list; of ``kind`` by its first entry, as released."""
    _need(isinstance(values, list) and (kind is None or not values or isinstance(values[0], kind)))
    return list(values)


def _event(value: Any) -> Event:
    _need(isinstance(value, Event))
    return value  # type: ignore[no-any-return]


def _object(scene: ComPhyScene, value: Any) -> int:
    _need(isinstance(value, int) and 0 <= value < len(scene.things))
    return int(value)


def _objects(scene: ComPhyScene, value: Any) -> list[int]:
    """A list of objects, or one alone."""
    return [_object(scene, o) for o in (value if isinstance(value, list) else [value])]


def _frame(value: Any) -> int | None:
    """A frame; "null" is the whole video."""
    _need(value == "null" or isinstance(value, int))
    return None if value == "null" else int(value)


def _when(event: Event) -> int:
    _need(event.frame is not None)
    return int(event.frame or 0)


# Sets of objects and events.


def seen_events(scene: ComPhyScene) -> list[Event]:
    """Start, end and all that is shown, in the order of time."""
    seen = [e for e in (*scene.in_out, *scene.collisions) if _when(e) < scene.shown]
    return sorted([Event("start", (), 0), Event("end", (), END_FRAME), *seen], key=_when)


def _unseen(scene: ComPhyScene) -> list[Event]:
    return [e for e in (*scene.in_out, *scene.collisions) if _when(e) >= scene.shown]


def _all_events(scene: ComPhyScene) -> list[Event]:
    return [Event("collision", pair) for pair in combinations(range(len(scene.things)), 2)]


def _unique(scene: ComPhyScene, values: Any) -> Any:
    _need(len(found := _list(values)) == 1)
    return found[0]


def _unique_as_released(scene: ComPhyScene, values: Any) -> Any:
    found = _list(values)
    _need(found)
    return found if len(found) == 2 else found[0]


def _count(scene: ComPhyScene, values: Any) -> int:
    return len(_list(values))


def _exist(scene: ComPhyScene, values: Any) -> str:
    return _yes(_list(values))


def _negate(scene: ComPhyScene, answer: Any) -> str:
    _need(answer in ("yes", "no"))
    return _yes(answer == "no")


def _belong_to(scene: ComPhyScene, entry: Any, events: Any) -> str:
    found = [e for e in _list(events, Event) if e.objects]
    if isinstance(entry, Event):
        return _yes(any(e.kind == entry.kind and set(e.objects) == set(entry.objects) for e in found))
    return _yes(any(_object(scene, entry) in e.objects for e in found))


# Filters of objects.


def _filter_look(attribute: str, scene: ComPhyScene, objects: Any, word: Any) -> list[int]:
    _need(word in _ATTRIBUTES[attribute])
    found = _objects(scene, _list(objects))
    return [o for o in found if getattr(scene.things[o], attribute) == word and scene.is_visible(o)]


def _filter_motion(moving: bool, scene: ComPhyScene, objects: Any, frame: Any) -> list[int]:
    when, found = _frame(frame), _objects(scene, _list(objects))
    return [o for o in found if scene.is_visible(o, when) and scene.is_moving(o, when) == moving]


def _filter_physical(field: str, values: tuple[int, ...], scene: ComPhyScene, objects: Any) -> list[int]:
    found = _objects(scene, _list(objects))
    return [o for o in found if scene.is_visible(o) and getattr(scene.things[o], field) in values]


_filter_charged = partial(_filter_physical, "charge", (-1, 1))


def _filter_mass(scene: ComPhyScene, objects: Any) -> list[float]:
    return [scene.things[o].mass for o in _objects(scene, _list(objects))]


def _filter_pair(sign: int, scene: ComPhyScene, objects: Any) -> list[int]:
    """The two charged objects, if two there are and sign q_i q_j > 0."""
    found = _filter_charged(scene, objects)
    _need(len(found) == 2 and sign * scene.things[found[0]].charge * scene.things[found[1]].charge > 0)
    return found


# Filters of events.


def _filter_kind(kind: str, scene: ComPhyScene, events: Any, objects: Any) -> list[Event]:
    own = set(_objects(scene, objects))
    return [e for e in _list(events, Event) if e.kind == kind and own & set(e.objects)]


def _filter_edge(kind: str, scene: ComPhyScene, events: Any) -> Event:
    found = [e for e in _list(events, Event) if e.kind == kind]
    _need(found)
    return found[0]  # type: ignore[no-any-return]


def _filter_order(scene: ComPhyScene, events: Any, order: Any) -> Event:
    found = _list(events, Event)
    _need(isinstance(order, str) and order in ORDERS and ORDERS[order] < len(found) > 0)
    return found[ORDERS[order]]  # type: ignore[no-any-return]


def _filter_before(scene: ComPhyScene, events: Any, event: Any) -> list[Event]:
    limit = _when(_event(event))
    return [e for e in _list(events, Event) if _when(e) < limit]


def _filter_after(scene: ComPhyScene, events: Any, event: Any) -> list[Event]:
    limit = _when(_event(event))
    return [e for e in _list(events, Event) if _when(e) > limit]


def _filter_ancestor(scene: ComPhyScene, events: Any, event: Any) -> list[Event]:
    """Events from which a chain leads to the event, each link the one before in the life of an object."""
    seen = [e for e in seen_events(scene) if e.objects]
    lives = [[e for e in seen if o in e.objects] for o in range(len(scene.things))]
    causes: set[Event] = set()
    open_ = [_event(event)]
    while open_:
        target = open_.pop()
        for life in lives:
            before = life[: life.index(target)][-1:] if target in life else []
            open_ += [e for e in before if e not in causes]
            causes |= set(before)
    return [e for e in _list(events, Event) if e in causes]


# Questions to objects and events.


def _query_look(attribute: str, scene: ComPhyScene, item: Any) -> str:
    return str(getattr(scene.things[_object(scene, item)], attribute))


def _query_both(attribute: str, scene: ComPhyScene, items: Any) -> str:
    _need(len(found := _list(items)) >= 2)
    return " and ".join(_query_look(attribute, scene, o) for o in found[:2])


def _query_direction(still_agrees: bool, scene: ComPhyScene, item: Any, frame: Any) -> str:
    """The direction at a frame, or of at least half of the sampled frames.

    As released, a frame in which the object rests or is not visible agrees with every direction.
    """
    when, own = _frame(frame), _object(scene, item)
    _need(scene.is_visible(own, when))
    if when is not None:
        found = [d for d in DIRECTIONS if scene.heads(own, d, when)]
    else:
        frames = list(scene.sampled())
        moving = [f for f in frames if scene.is_moving(own, f)]
        agree, needed = (len(frames) - len(moving), len(frames)) if still_agrees else (0, len(moving))
        _need(needed)
        found = [d for d in DIRECTIONS if 2 * (agree + sum(scene.heads(own, d, f) for f in moving)) >= needed]
    _need(found)
    return found[0]


def _query_frame(scene: ComPhyScene, event: Any) -> int:
    return _when(_event(event))


def _query_object(scene: ComPhyScene, event: Any) -> int:
    _need(_event(event).kind in ("in", "out"))
    return int(event.objects[0])


def _query_partner(scene: ComPhyScene, event: Any, item: Any) -> int:
    own = _object(scene, item)
    _need(_event(event).kind == "collision" and own in event.objects)
    return int(event.objects[1 if own == event.objects[0] else 0])


def _is_heavier(scene: ComPhyScene, first: Any, second: Any) -> str:
    if isinstance(first, list) and len(first) == 2:
        first, second = first
    _need(isinstance(first, (int, float)) and isinstance(second, (int, float)))
    return _yes(first > second)


def _is_lighter(scene: ComPhyScene, first: Any, second: Any) -> str:
    _need(isinstance(first, (int, float)) and isinstance(second, (int, float)))
    return _yes(first < second)


def _equal_charge(scene: ComPhyScene, first: Any, second: Any) -> str:
    a, b = (scene.things[_object(scene, o)].charge for o in (first, second))
    return _yes(a == b != 0)


# What would have happened.


def counterfactual(thing: Thing, item: int, word: str) -> Change | None:
    """The change that a property word means for object ``item``, a ``thing``; None for another word."""
    if "lighter" in word:
        return Change(item, "mass", 1)
    if "heavier" in word:
        return Change(item, "mass", 5)
    if "uncharge" in word:
        return Change(item, "charge", 0)
    return Change(item, "charge", -thing.charge) if "opposite" in word else None


def _counterfact_events(scene: ComPhyScene, item: Any, word: Any) -> list[Event]:
    own = _object(scene, item)
    change = counterfactual(scene.things[own], own, word) if isinstance(word, str) else None
    _need(change in scene.counterfactuals)
    return list(scene.counterfactuals[change]) if change else []


def _filter_counterfact(scene: ComPhyScene, events: Any, item: Any, word: Any) -> list[Event]:
    pairs = pairs_of(_counterfact_events(scene, item, word))
    return [e for e in _list(events, Event) if frozenset(e.objects) in pairs]


MODULES: dict[str, tuple[int, Module]] = {
    "objects": (0, lambda scene: list(range(len(scene.things)))),
    "events": (0, seen_events),
    "all_events": (0, _all_events),
    "unseen_events": (0, _unseen),
    "unique": (1, _unique),
    "count": (1, _count),
    "exist": (1, _exist),
    "negate": (1, _negate),
    "not": (1, _negate),
    "belong_to": (2, _belong_to),
    **{f"filter_{a}": (2, partial(_filter_look, a)) for a in _ATTRIBUTES},
    "filter_moving": (2, partial(_filter_motion, True)),
    "filter_stationary": (2, partial(_filter_motion, False)),
    "filter_resting": (2, partial(_filter_motion, False)),
    **{f"filter_{k}": (2, partial(_filter_kind, k)) for k in ("in", "out", "collision")},
    "filter_order": (2, _filter_order),
    "filter_start": (1, partial(_filter_edge, "start")),
    "filter_end": (1, partial(_filter_edge, "end")),
    "filter_before": (2, _filter_before),
    "filter_after": (2, _filter_after),
    "filter_ancestor": (2, _filter_ancestor),
    **{f"query_{a}": (1, partial(_query_look, a)) for a in _ATTRIBUTES},
    **{f"query_both_{a}": (1, partial(_query_both, a)) for a in _ATTRIBUTES},
    "query_direction": (2, partial(_query_direction, False)),
    "query_frame": (1, _query_frame),
    "query_object": (1, _query_object),
    "query_collision_partner": (2, _query_partner),
    "filter_counterfact": (3, _filter_counterfact),
    "counterfact_events": (2, _counterfact_events),
    "filter_charged": (1, _filter_charged),
    "filter_uncharged": (1, partial(_filter_physical, "charge", (0,))),
    "filter_light": (1, partial(_filter_physical, "mass", (1,))),
    "filter_heavy": (1, partial(_filter_physical, "mass", (5,))),
    "filter_mass": (1, _filter_mass),
    "filter_same": (1, partial(_filter_pair, 1)),
    "filter_opposite": (1, partial(_filter_pair, -1)),
    "is_heavier": (2, _is_heavier),
    "is_lighter": (2, _is_lighter),
    "equal_charge": (2, _equal_charge),
}
"""Each module: how many arguments it takes, and what it does."""

AS_RELEASED: dict[str, tuple[int, Module]] = {
    **MODULES,
    "unique": (1, _unique_as_released),
    "filter_same": (1, _filter_charged),
    "query_direction": (2, partial(_query_direction, True)),
}
"""`MODULES` with the quirks of the released code."""


def check_program(program: Sequence[str]) -> None:
    """Looks at the words alone; nothing is run.

    Raises:
        ConfigError: a word that is neither a module nor an argument of one, a module with too few
            arguments, or no result. The message names the word and its place.
    """
    depth = 0
    for place, word in enumerate(program):
        if word in _STOP:
            break
        if word == _SKIP:
            continue
        if word not in MODULES and word not in WORDS:
            raise ConfigError(f"program word {place}: {word!r} is no module and no word of one's arguments")
        needed = MODULES[word][0] if word in MODULES else 0
        if depth < needed:
            raise ConfigError(f"program word {place}: {word} needs {needed} arguments, {depth} are there")
        depth += 1 - needed
    if not depth:
        raise ConfigError("the program is empty; it must leave an answer")


class Executor:
    """Answers programs about one scene.

    >>> Executor(scene).run(["objects", "filter_charged", "count"])  # doctest: +SKIP
    '2'
    """

    def __init__(self, sim: ComPhyScene, compat: bool = True) -> None:
        """Holds the scene.

        Args:
            sim: what is asked about.
            compat: as the released code: ``filter_same`` takes all charged objects, ``unique`` of two gives
                both and of more the first, a resting object agrees with every direction.
        """
        self.sim = sim
        self.compat = compat
        self._modules = AS_RELEASED if compat else MODULES

    def run(self, program: Sequence[str], strict: bool = False) -> str:
        """The answer; "error" where a module has too few or wrong arguments.

        Args:
            program: words in postfix order; a choice's program comes before its question's.
            strict: check the words first (`check_program`).

        Raises:
            ConfigError: strict, and a word is unknown or a module has too few arguments.
        """
        if strict:
            check_program(program)
        stack: list[Any] = []
        for word in program:
            if word in _STOP:
                break
            if word == _SKIP:
                continue
            if word not in self._modules:
                stack.append(word)
                continue
            count, module = self._modules[word]
            if len(stack) < count:
                return ERROR
            arguments = stack[len(stack) - count :]
            del stack[len(stack) - count :]
            try:
                stack.append(module(self.sim, *arguments))
            except _WrongArgumentError:
                return ERROR
        return str(stack[-1]) if stack else ERROR

    def answer(self, question: Mapping[str, Any], strict: bool = False) -> str | list[str]:
        """The answer of a question's ``program``, or "correct", "wrong" or "error" for each of its choices.

        Args:
            question: as ComPhy's files hold it.
            strict: as in `run`.

        Raises:
            ConfigError: as `run`.
        """
        if "choices" not in question:
            return self.run(question["program"], strict)
        found = (self.run([*c["program"], *question["program"]], strict) for c in question["choices"])
        return [_CHOICE.get(answer, answer) for answer in found]
