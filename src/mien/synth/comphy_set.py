"""Made sets in ComPhy's files: a target video, references that show each hidden property, questions.

``causal_sim/sim_00000/annotations/annotation.json`` is the target, ``reference/sim_00000/0/annotations/..``
a reference, ``tracks/sim_00000.npy`` the target's boxes, ``train.json`` the questions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError
from mien.core.io import new_file, strict, write_text
from mien.core.seeds import derive
from mien.synth.comphy_program import PROPERTIES, Executor, counterfactual
from mien.synth.comphy_questions import Question, QuestionGenerator, balanced
from mien.synth.comphy_scene import (
    FPS,
    HEIGHT,
    SHOWN,
    WIDTH,
    Change,
    ComPhyScene,
    Event,
    in_out_events,
    inside,
    plain,
    things_of,
    to_pixels,
    true_collisions,
)
from mien.synth.maker import check_ranges
from mien.synth.phys_world import Objects, PhysWorld, Trajectory, changed

Array = NDArray[Any]
TARGET_FRAMES, REFERENCE_FRAMES = 150, 50
VIEW = 1.9
"""World units from the middle of the picture to its upper edge."""
REACH = 1.5
"""World units within which two charged objects are said to meet."""
TARGET, REFERENCE, TRACKS = "causal_sim", "reference", "tracks"
ABSENT = (0, 0, WIDTH, HEIGHT)
"""Box of an object that is not in the picture."""
SPLITS = {"train": (*range(4000), *range(6000, 10000)), "val": range(4000, 6000), "test": range(10000, 12000)}
"""Numbers of the published sets."""
_STARTS, _TRIES = 64, 200
WORLD = PhysWorld(dt=1 / FPS, substeps=4, speed=0.35, half=1.4, radius=0.4, strength=4.0)
Draw = Callable[[Trajectory, Path], None]


class Reference(NamedTuple):
    """A short video of some of the objects.

    Attributes:
        items: their numbers in the target.
        clip: one clip of them.
    """

    items: tuple[int, ...]
    clip: Trajectory


class DrawnSet(NamedTuple):
    """A simulated set.

    Attributes:
        seed: it is a function of.
        target: one clip.
        references: each object meets another in at least one of them.
        counterfactuals: clips from the target's start with one property changed.
        scene: what programs see of the target.
    """

    seed: int
    target: Trajectory
    references: tuple[Reference, ...]
    counterfactuals: Mapping[Change, Trajectory]
    scene: ComPhyScene


def meetings(clips: Trajectory) -> Array:
    """Which pairs collide, or carry charges and come within `REACH`: (B, N, N) bool. O(B T N^2)."""
    far = np.linalg.norm(clips.x[:, :, :, None] - clips.x[:, :, None], axis=-1).min(1)
    charged = (clips.q[:, :, None] * clips.q[:, None] != 0) & ~np.eye(clips.q.shape[1], dtype=bool)
    return np.asarray(clips.hits.any(1) | (charged & (far < REACH)))


def draw_set(seed: int, n_ref: int = 4, world: PhysWorld = WORLD) -> DrawnSet:
    """A set of 3 to 5 different objects, none or two of them charged; the same seed, the same set.

    Drawn again until something happens in what is shown of the target and every object meets another one in
    a reference (`meetings`).

    Args:
        seed: of everything.
        n_ref: references, at least 1.
        world: its laws; its number of objects and seed are not used.

    Raises:
        ConfigError: no such set is found: the world lets too little happen, or n_ref is too small.
    """
    rng = np.random.default_rng(derive(seed, "comphy"))
    for _ in range(_TRIES):
        own = replace(world, n_objects=int(rng.integers(3, 6)))
        objects = _one_pair(own.draw_objects(rng.integers(2**62, size=1)), rng)
        references = _references(own, objects, n_ref, rng)
        target = _target(own, objects, rng)
        if references and target:
            changes = _counterfactuals(own, target)
            return DrawnSet(seed, target, references, changes, scene_of(target, changes))
    raise ConfigError(
        f"no set in {_TRIES} tries in which all objects meet; more references, or a livelier world"
    )


def _one_pair(objects: Objects, rng: np.random.Generator) -> Objects:
    """Charges anew: two objects of either sign in 7 of 10 sets, else none."""
    charge = np.zeros_like(objects.charge)
    if rng.random() < 0.7:
        charge[0, rng.choice(charge.shape[1], 2, replace=False)] = rng.choice((-1.0, 1.0), 2)
    return replace(objects, charge=charge)


def _chosen(objects: Objects, items: Array) -> Objects:
    """Objects (B, M) of one clip's, by their numbers ``items`` (B, M)."""
    return objects[0][items]


def one_clip(clips: Trajectory, clip: int) -> Trajectory:
    """One of the clips, alone."""
    at = slice(clip, clip + 1)
    return Trajectory(clips.x[at], clips.v[at], clips.objects[at], clips.hits[at], clips.dt)


def _tries(
    world: PhysWorld, objects: Objects, items: Array, frames: int, rng: np.random.Generator
) -> Trajectory:
    """Clips of chosen objects from new starts."""
    chosen = _chosen(objects, items)
    return world.run(*world.draw_start(chosen, rng.integers(2**62, size=len(items))), chosen, frames)


def _target(world: PhysWorld, objects: Objects, rng: np.random.Generator) -> Trajectory | None:
    """One of some starts from which something happens in what is shown; every other time also later."""
    items = np.tile(np.arange(world.n_objects), (_STARTS, 1))
    clips = _tries(world, objects, items, TARGET_FRAMES, rng)
    happens = meetings(replace(clips, x=clips.x[:, :SHOWN], hits=clips.hits[:, :SHOWN])).any((1, 2))
    later = happens & clips.hits[:, SHOWN:].any((1, 2, 3))
    if later.any() and rng.random() < 0.5:
        happens = later
    return one_clip(clips, int(happens.argmax())) if happens.any() else None


def _references(
    world: PhysWorld, objects: Objects, count: int, rng: np.random.Generator
) -> tuple[Reference, ...]:
    """``count`` clips of 2 or 3 objects that meet, those with new objects first; () if some never meet."""
    found: list[tuple[set[int], Reference]] = []
    for size in (2, 3):
        items = np.argsort(rng.random((_STARTS, world.n_objects)), 1)[:, :size]
        clips = _tries(replace(world, half=1.2), objects, items, REFERENCE_FRAMES, rng)
        met = np.asarray(meetings(clips).any(2))
        found += [
            (set(items[b, met[b]].tolist()), Reference(tuple(items[b].tolist()), one_clip(clips, b)))
            for b in np.flatnonzero(met.any(1)).tolist()
        ]
    found = [found[i] for i in rng.permutation(len(found))]
    chosen: list[Reference] = []
    left = set(range(world.n_objects))
    while found and len(chosen) < count:
        best = max(range(len(found)), key=lambda i: len(found[i][0] & left))
        met_now, reference = found.pop(best)
        left -= met_now
        chosen.append(reference)
    return tuple(chosen) if not left and len(chosen) == count else ()


def _counterfactuals(world: PhysWorld, target: Trajectory) -> dict[Change, Trajectory]:
    """All changes of one property that ComPhy asks about, from the same start."""
    found: dict[Change, Trajectory] = {}
    for item, thing in enumerate(things_of(target.objects, 0)):
        for word in PROPERTIES:
            change = counterfactual(thing, item, word)
            if change and change not in found:
                objects = changed(target.objects, 0, change.what, item, change.value)
                found[change] = world.run(target.x[:, 0], target.v[:, 0], objects, target.x.shape[1])
    return found


def scene_of(target: Trajectory, changes: Mapping[Change, Trajectory], view: float = VIEW) -> ComPhyScene:
    """What programs see of a target clip: true collisions, centres in pixels."""
    centres = to_pixels(target.x[0], view)
    visible = inside(centres)
    return ComPhyScene(
        things_of(target.objects, 0),
        in_out_events(visible),
        true_collisions(target.hits[0]),
        centres,
        visible,
        counterfactuals={c: true_collisions(t.hits[0]) for c, t in changes.items()},
    )


def boxes(clip: Trajectory, view: float = VIEW) -> Array:
    """(T, N, 4) x1, y1, x2, y2 in pixels of one clip; `ABSENT` where the centre is out of the picture."""
    centres = to_pixels(clip.x[0], view)
    half = clip.objects.radius[0][:, None] * (HEIGHT / 2 / view)
    found = np.concatenate([centres - half, centres + half], -1)
    return np.where(inside(centres)[..., None], found, ABSENT).astype(np.float32)


def _collisions(events: Iterable[Event]) -> list[dict[str, Any]]:
    """With the time in seconds; a millisecond more, so that int(25 time) is the frame."""
    return [{"object_idxs": list(e.objects), "time": round((e.frame or 0) / FPS + 0.001, 3)} for e in events]


def annotation(clip: Trajectory, hidden: bool = False) -> dict[str, Any]:
    """A clip as ``annotation.json`` says it.

    Args:
        clip: one clip.
        hidden: without masses and charges.
    """
    things = [t._asdict() | {"mass": plain(t.mass)} for t in things_of(clip.objects, 0)]
    if hidden:
        things = [{k: t[k] for k in ("color", "material", "shape")} for t in things]
    moves = np.round(np.concatenate([clip.x[0], clip.v[0]], -1), 5).tolist()
    return {
        "config": things,
        "collisions": _collisions(true_collisions(clip.hits[0])),
        "motion": [
            [{"location": [x, y, 0.0], "velocity": [vx, vy, 0.0]} for x, y, vx, vy in row] for row in moves
        ],
        "field_config": {},
    }


def target_annotation(drawn: DrawnSet) -> dict[str, Any]:
    """`annotation` of the target, with the collisions under each change, and the seed."""
    what_if = [
        {"what_if": c.item, c.what: plain(c.value), "collisions": _collisions(events)}
        for c, events in drawn.scene.counterfactuals.items()
    ]
    return {**annotation(drawn.target), "counterfactuals": what_if, "seed": drawn.seed}


def _write(path: Path, value: object) -> None:
    write_text(path, json.dumps(strict(value)) + "\n")


@dataclass(frozen=True)
class ComPhySet:
    """A made set in ComPhy's layout.

    Attributes:
        n_sets: target videos.
        n_ref: reference videos of each.
        seed: the same seed, the same files.
        split: train, val or test; it names the questions and gives the sets their numbers.
        each: questions of a template and set, before balancing.
    """

    n_sets: int = 100
    n_ref: int = 4
    seed: int = 0
    split: str = "train"
    each: int = 1

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"split={self.split!r}: one of {', '.join(SPLITS)}")
        check_ranges(self, n_sets=(1, len(SPLITS[self.split])), n_ref=(1, 16), each=(1, 1000))

    def drawn(self, number: int) -> DrawnSet:
        """The set with a place in the split, 0 .. n_sets - 1; some 20 ms."""
        return draw_set(derive(self.seed, "comphy_set", self.split, number), self.n_ref)

    def write(self, out_dir: str | Path, draw: Draw | None = None) -> Path:
        """Writes annotations, tracks and questions; each file whole or not at all.

        Several splits can share a folder.

        Args:
            out_dir: made if need be.
            draw: called with each clip and the folder of its annotations, to draw its frames there.

        Returns:
            ``out_dir``.

        Raises:
            MienError: the folder cannot be written.
        """
        root = Path(out_dir)
        asked: list[list[Question]] = []
        numbers = SPLITS[self.split][: self.n_sets]
        for place, number in enumerate(numbers):
            drawn = self.drawn(place)
            name = f"sim_{number:05d}"
            clips = [(root / TARGET / name, drawn.target, target_annotation(drawn))]
            clips += [
                (root / REFERENCE / name / str(k), r.clip, annotation(r.clip, hidden=True))
                for k, r in enumerate(drawn.references)
            ]
            for folder, clip, told in clips:
                _write(folder / "annotations" / "annotation.json", told)
                if draw is not None:
                    draw(clip, folder)
            with new_file(root / TRACKS / f"{name}.npy") as part, part.open("wb") as stream:
                np.save(stream, boxes(drawn.target))
            asked.append(QuestionGenerator(drawn.scene, drawn.seed).generate(each=self.each))
        _write(root / f"{self.split}.json", question_file(numbers, balanced(asked, self.seed)))
        return root


def question_file(numbers: Sequence[int], questions: Sequence[Sequence[Question]]) -> list[dict[str, Any]]:
    """Questions of each scene as ComPhy's files list them."""
    return [
        {"scene_index": n, "video_filename": f"sim_{n:05d}.mp4", "questions": list(q)}
        for n, q in zip(numbers, questions, strict=True)
    ]


class Agreement(NamedTuple):
    """How often programs and the answers read off the simulation agree.

    Attributes:
        answers: how many were compared; each choice is one.
        agree: how many agree.
        differing: up to ten that do not: question, expected, found.
    """

    answers: int
    agree: int
    differing: tuple[tuple[str, str, str], ...]


def answered(question: Question, executor: Executor) -> Iterator[tuple[str, str, str]]:
    """What is asked, the answer it has, and the program's, of a question or each of its choices."""
    found = executor.answer(question, strict=True)
    if isinstance(found, str):
        yield question["question"], question["answer"], found
        return
    for choice, answer in zip(question["choices"], found, strict=True):
        yield f"{question['question']} {choice['choice']}", choice["answer"], answer


def executor_agreement(count: int = 10_000, seed: int = 0, compat: bool = True, each: int = 4) -> Agreement:
    """Asks made scenes until ``count`` answers are compared. Some 30 ms a scene of some 70 answers.

    Args:
        count: answers.
        seed: of the scenes.
        compat: of `Executor`.
        each: questions of a template and scene.
    """
    compared, differing, number = 0, [], 0
    while compared < count:
        drawn = draw_set(derive(seed, "agreement", number))
        executor = Executor(drawn.scene, compat)
        for question in QuestionGenerator(drawn.scene, drawn.seed).generate(each=each):
            for row in answered(question, executor):
                if compared < count:
                    compared += 1
                    differing += [row] if row[1] != row[2] else []
        number += 1
    return Agreement(compared, compared - len(differing), tuple(differing[:10]))
