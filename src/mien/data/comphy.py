"""ComPhy: targets with their references, questions, tracks and predicted motion; real copies and made ones.

``ROOT/causal_sim/sim_00000/annotations/annotation.json`` is a target, ``ROOT/reference/sim_00000/0/..`` a
reference, ``ROOT/tracks/sim_00000.npy`` boxes of the target, ``ROOT/train.json`` the questions.

Source: Chen et al., ComPhy: compositional physical reasoning of objects and events from videos, ICLR 2022.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.io import read_json, write_text
from mien.synth.comphy_scene import (
    FPS,
    HEIGHT,
    WIDTH,
    Change,
    ComPhyScene,
    Event,
    Thing,
    in_out_events,
    proposed_collisions,
)
from mien.synth.comphy_set import ABSENT, REFERENCE, SPLITS, TARGET, TRACKS
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES

Array = NDArray[Any]
_LOOKS = {"color": COLOURS, "material": MATERIALS, "shape": SHAPES}
_STEP = 5  # frames between predicted boxes


class ComPhyClip(NamedTuple):
    """One annotated video.

    Attributes:
        things: its objects; mass 1 and charge 0 where the file does not tell.
        collisions: as annotated.
        locations: (T, N, 3) world units.
        counterfactuals: collisions under each change; empty in published files.
    """

    things: tuple[Thing, ...]
    collisions: tuple[Event, ...]
    locations: Array
    counterfactuals: Mapping[Change, tuple[Event, ...]]


class ComPhyItem(NamedTuple):
    """One set.

    Attributes:
        number: of the set.
        target: the video that is asked about.
        references: short videos of some of its objects.
        matches: for each reference, the target's object that each of its objects is.
        scene: what programs see of the target.
        questions: as the file lists them; none without a file.
    """

    number: int
    target: ComPhyClip
    references: tuple[ComPhyClip, ...]
    matches: tuple[tuple[int, ...], ...]
    scene: ComPhyScene
    questions: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class ComPhy:
    """A split of a copy of ComPhy; sets are read when asked for.

    Attributes:
        root: folder of the copy.
        split: "train", "val" or "test".
        refs: references to read of each set, 0 to 4.
        target: folder of the targets below the root.
        reference: folder of the references.
        tracks: folder of the targets' boxes; need not exist, then all is taken as visible and at rest.
    """

    root: Path
    split: str
    refs: int = 4
    target: str = TARGET
    reference: str = REFERENCE
    tracks: str = TRACKS

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser())
        if self.split not in SPLITS:
            raise ConfigError(f"split={self.split!r}: one of {', '.join(SPLITS)}")
        if self.refs < 0:
            raise ConfigError(f"refs={self.refs}: 0 or more")
        needed = (self.target, self.reference) if self.refs else (self.target,)
        for folder in needed:
            if not (self.root / folder).is_dir():
                raise DataError(
                    f"{self.root}: no folder {folder!r}; give the folder of the copy, or its name"
                )
        if not self.numbers:
            first = SPLITS[self.split][0]
            raise DataError(f"{self.root / self.target}: no set of {self.split} (sim_{first:05d} ...)")

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the sets of this split that are there."""
        there = {p.name for p in (self.root / self.target).iterdir()}
        return tuple(n for n in SPLITS[self.split] if f"sim_{n:05d}" in there)

    @cached_property
    def questions(self) -> dict[int, tuple[dict[str, Any], ...]]:
        """Questions by set, if ``ROOT/SPLIT.json`` is there."""
        return split_questions(self.root, self.split)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> ComPhyItem:
        """A set by its place. O(frames objects).

        Raises:
            DataError: a file is missing, broken, or says what cannot be.
        """
        number = self.numbers[place]
        name = f"sim_{number:05d}"
        target = read_clip(self.root / self.target / name)
        folders = [self.root / self.reference / name / str(k) for k in range(self.refs)]
        references = tuple(read_clip(folder) for folder in folders)
        matches = tuple(_matched(r, target, f) for r, f in zip(references, folders, strict=True))
        scene = _scene(target, self.root / self.tracks / f"{name}.npy")
        return ComPhyItem(number, target, references, matches, scene, self.questions.get(number, ()))


def _matched(clip: ComPhyClip, target: ComPhyClip, folder: Path) -> tuple[int, ...]:
    looks = [t[:3] for t in target.things]
    for thing in clip.things:
        if thing[:3] not in looks:
            raise DataError(f"{folder}: no {' '.join(thing[:3])} in the target; is this its reference?")
    return tuple(looks.index(thing[:3]) for thing in clip.things)


def _scene(clip: ComPhyClip, tracks: Path) -> ComPhyScene:
    centres = np.zeros((*clip.locations.shape[:2], 2))
    visible = np.ones(centres.shape[:2], bool)
    if tracks.is_file():
        centres, visible = read_tracks(tracks, len(clip.things))
    return ComPhyScene(
        clip.things,
        in_out_events(visible),
        clip.collisions,
        centres,
        visible,
        counterfactuals=clip.counterfactuals,
    )


def records(value: Any, where: str, what: str, **kinds: type | tuple[type, ...]) -> list[dict[str, Any]]:
    """A list of dictionaries that have these fields of these types.

    Raises:
        DataError: with the place of the first that is not so.
    """
    if not isinstance(value, list):
        raise DataError(f"{where}: no list {what!r}; is this the right file?")
    for place, entry in enumerate(value):
        for name, kind in kinds.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(name), kind):
                raise DataError(f"{where}: {what}[{place}] has no proper {name!r}; mend the entry")
    return value


def read_things(listed: Any, where: str, what: str) -> tuple[Thing, ...]:
    """Objects with ``color``, ``material``, ``shape``, and ``mass`` and ``charge`` if told.

    Raises:
        DataError: no objects, or a look, mass or charge that the format does not have.
    """
    things = []
    for place, entry in enumerate(records(listed, where, what, color=str, material=str, shape=str)):
        for look, words in _LOOKS.items():
            if entry[look] not in words:
                raise DataError(
                    f"{where}: {what}[{place}] has {look} {entry[look]!r}; one of {', '.join(words)}"
                )
        mass, charge = entry.get("mass", 1), entry.get("charge", 0)
        if not isinstance(mass, (int, float)) or not mass > 0 or charge not in (-1, 0, 1):
            raise DataError(
                f"{where}: {what}[{place}] has mass {mass!r}, charge {charge!r}; > 0 and -1, 0, 1"
            )
        things.append(Thing(entry["color"], entry["material"], entry["shape"], mass, int(charge)))
    if not things:
        raise DataError(f"{where}: no objects in {what!r}")
    return tuple(things)


def read_pair(pair: Sequence[Any], where: str, count: int) -> tuple[int, int]:
    """Two different objects' numbers below ``count``.

    Raises:
        DataError: it is something else.
    """
    if len(set(map(str, pair))) != 2 or any(type(i) is not int or not 0 <= i < count for i in pair):
        raise DataError(f"{where} needs two of the objects 0 .. {count - 1}; got {list(pair)}")
    return pair[0], pair[1]


def _collisions(listed: Any, where: str, count: int) -> tuple[Event, ...]:
    events = []
    told = records(listed, where, "collisions", object_idxs=list, time=(int, float))
    for place, entry in enumerate(told):
        here = f"{where}: collisions[{place}]"
        if not 0 <= entry["time"] < 1e6:
            raise DataError(f"{here} has the time {entry['time']}; seconds from the start are needed")
        pair = read_pair(entry["object_idxs"], here, count)
        events.append(Event("collision", pair, int(entry["time"] * FPS)))
    return tuple(events)


def _locations(motion: Any, where: str, count: int) -> Array:
    if not isinstance(motion, list) or not motion:
        raise DataError(f"{where}: no list 'motion' of frames")
    for frame, row in enumerate(motion):
        if len(records(row, where, f"motion[{frame}]", location=list)) != count:
            raise DataError(f"{where}: motion[{frame}] has {len(row)} objects, config has {count}")
    try:
        found = np.array([[o["location"] for o in row] for row in motion], float)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (len(motion), count, 3) or not np.isfinite(found).all():
        raise DataError(f"{where}: each location in 'motion' must be three numbers")
    return found


def read_clip(folder: Path) -> ComPhyClip:
    """The annotation of one video's folder.

    Raises:
        DataError: missing, broken, or objects, collisions and motion that do not fit each other.
    """
    path = folder / "annotations" / "annotation.json"
    told = read_json(path)
    if not isinstance(told, dict):
        raise DataError(f"{path}: not an annotation (config, collisions, motion)")
    where = str(path)
    things = read_things(told.get("config"), where, "config")
    changes: dict[Change, tuple[Event, ...]] = {}
    what_if = records(told.get("counterfactuals", []), where, "counterfactuals", what_if=int)
    for place, entry in enumerate(what_if):
        change = _change(entry, len(things), f"{where}: counterfactuals[{place}]")
        changes[change] = _collisions(entry.get("collisions"), where, len(things))
    return ComPhyClip(
        things,
        _collisions(told.get("collisions"), where, len(things)),
        _locations(told.get("motion"), where, len(things)),
        changes,
    )


def _change(entry: Mapping[str, Any], count: int, where: str) -> Change:
    for what in ("mass", "charge"):
        if what in entry and 0 <= entry["what_if"] < count and isinstance(entry[what], (int, float)):
            return Change(entry["what_if"], what, entry[what])
    raise DataError(f"{where} needs 'what_if' of 0 .. {count - 1}, and 'mass' or 'charge'")


def read_tracks(path: Path, count: int) -> tuple[Array, Array]:
    """Centres (T, N, 2) in pixels and visibility (T, N) from boxes (T, N, 4) of x1, y1, x2, y2.

    Raises:
        DataError: not such an array of ``count`` objects.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a NumPy array ({error}); make the tracks again") from None
    if found.ndim != 3 or found.shape[1:] != (count, 4) or found.dtype.kind not in "fiu":
        raise DataError(f"{path}: needs (frames, {count}, 4) numbers; got {found.shape} of {found.dtype}")
    visible = np.asarray((found != np.array(ABSENT)).any(-1) & np.isfinite(found).all(-1))
    return (found[..., :2] + found[..., 2:]).astype(float) / 2, visible


def read_predictions(path: Path, things: Sequence[Thing]) -> ComPhyScene:
    """A scene from predicted motion, in its future and under each change; collisions are proposals.

    Args:
        path: JSON of ``future`` and lists ``mass``, ``charge``, each with ``what_if`` and ``trajectories``
            [object][every 5th frame] of centre x, y, width, height in 0 .. 1; outside, it is not visible.
        things: the objects, in the order of the trajectories.

    Raises:
        DataError: broken, or trajectories of other objects.
    """
    told = read_json(path)
    if not isinstance(told, dict) or not isinstance(told.get("future"), dict):
        raise DataError(f"{path}: no 'future' with trajectories; is this a file of motion predictions?")
    centres, visible = _trajectories(told["future"], f"{path}: future", len(things))
    changes = {}
    for what in ("mass", "charge"):
        for place, entry in enumerate(records(told.get(what, []), str(path), what, what_if=int)):
            where = f"{path}: {what}[{place}]"
            change = _change(entry, len(things), where)
            changes[change] = proposed_collisions(*_trajectories(entry, where, len(things)), _STEP)
    return ComPhyScene(
        tuple(things),
        in_out_events(visible, _STEP),
        proposed_collisions(centres, visible, _STEP),
        centres,
        visible,
        step=_STEP,
        counterfactuals=changes,
    )


def _trajectories(entry: Mapping[str, Any], where: str, count: int) -> tuple[Array, Array]:
    try:
        found = np.array(entry.get("trajectories"), float)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 3 or found.shape[0] != count or found.shape[2] != 4:
        raise DataError(f"{where}: 'trajectories' must be ({count} objects, frames, 4 numbers)")
    places = found[..., :2].swapaxes(0, 1)
    visible = np.asarray(((places >= 0) & (places <= 1)).all(-1))
    return places * np.array([WIDTH, HEIGHT]), visible


def read_questions(path: Path) -> dict[int, tuple[dict[str, Any], ...]]:
    """Questions by ``scene_index``; answers may be missing, as in a test split.

    Raises:
        DataError: not a list of scenes with questions, or a scene twice.
    """
    found: dict[int, tuple[dict[str, Any], ...]] = {}
    for scene in records(read_json(path), str(path), "scenes", scene_index=int, questions=list):
        where = f"{path}: scene {scene['scene_index']}"
        if scene["scene_index"] in found:
            raise DataError(f"{where} is listed twice; keep one")
        questions = records(scene["questions"], where, "questions", question_id=int, question_type=str)
        for question in questions:
            if "choices" in question:
                records(question["choices"], where, "choices", choice_id=int)
        found[scene["scene_index"]] = tuple(questions)
    return found


def split_questions(root: Path, split: str) -> dict[int, tuple[dict[str, Any], ...]]:
    """`read_questions` of ``ROOT/SPLIT.json``; none where there is no such file."""
    path = root / f"{split}.json"
    return read_questions(path) if path.is_file() else {}


Answer = Callable[[int, Mapping[str, Any]], str | Sequence[str]]
"""Of a set's number and question: the answer, or "correct", "wrong", "error" for each choice."""


def answer_file(questions: Mapping[int, Sequence[Mapping[str, Any]]], answer: Answer) -> list[dict[str, Any]]:
    """Answers in ComPhy's form; `mien.metrics.comphy_scores` reads them.

    Args:
        questions: by set, as `ComPhy.questions`.
        answer: gives them.

    Raises:
        DataError: another number of answers than choices.
    """
    return [
        {
            "scene_index": number,
            "video_filename": f"sim_{number:05d}.mp4",
            "questions": [_submitted(q, answer(number, q), number) for q in asked],
        }
        for number, asked in questions.items()
    ]


def write_submission(
    path: str | Path, questions: Mapping[int, Sequence[Mapping[str, Any]]], answer: Answer
) -> Path:
    """The `answer_file`, whole or not at all.

    Args:
        path: of the file.
        questions: by set, as `ComPhy.questions`.
        answer: gives them.

    Raises:
        DataError: another number of answers than choices.
    """
    return write_text(path, json.dumps(answer_file(questions, answer)) + "\n")


def _submitted(question: Mapping[str, Any], found: str | Sequence[str], number: int) -> dict[str, Any]:
    out = {k: question[k] for k in ("question_id", "question_type")}
    if "choices" not in question:
        return {**out, "answer": str(found)}
    ids = [c["choice_id"] for c in question["choices"]]
    if isinstance(found, str) or len(found) != len(ids):
        raise DataError(
            f"scene {number}, question {out['question_id']}: {len(ids)} choices need as many answers"
        )
    return {**out, "choices": [{"choice_id": i, "answer": a} for i, a in zip(ids, found, strict=True)]}


def charge_edges(things: Sequence[Thing]) -> list[int]:
    """Of each ordered pair, row by row: 0 no force, 1 same sign, 2 opposite signs. O(N^2).

    >>> charge_edges([Thing("cyan", "rubber", "cube", 5, 1), Thing("red", "metal", "cube", 1, -1)])
    [2, 2]
    """
    charges = [t.charge for t in things]
    pairs = ((a, b) for i, a in enumerate(charges) for j, b in enumerate(charges) if i != j)
    return [0 if a * b == 0 else 1 if a * b > 0 else 2 for a, b in pairs]
