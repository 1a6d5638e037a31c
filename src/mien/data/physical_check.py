"""Checks of a user's copies of sets of physical reasoning: ComPhy, CLEVRER."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mien.core.errors import ConfigError, DataError, MienError, MissingPackageError
from mien.data.check import CheckReport, Problems, one_line
from mien.data.clevrer import FRAMES, Clevrer
from mien.data.clevrer import SPLITS as CLEVRER_SPLITS
from mien.data.comphy import ComPhy, ComPhyItem, records
from mien.data.physical import read_frames, video_of
from mien.synth.comphy_program import Executor
from mien.synth.comphy_scene import HEIGHT, WIDTH
from mien.synth.comphy_set import SPLITS, TARGET, answered

PHYSICAL_KINDS = ("comphy", "clevrer")
SAMPLE = 20
"""Sets of a split whose programs are run and whose videos are read to the end."""
CLEVRER_SIZES = {name: len(numbers) for name, numbers in CLEVRER_SPLITS.items()}
COMPHY_SIZES = {name: len(numbers) for name, numbers in SPLITS.items()}
_OF_MOTION = {
    "filter_moving", "filter_stationary", "filter_resting", "filter_in", "filter_out", "query_direction"
}  # fmt: skip
_Parts = dict[str, dict[str, int]]


def guess_physical_kind(path: Path) -> str | None:
    """Which set of physical reasoning lies at a path, or None."""
    if not path.is_dir():
        return None
    if next((path / TARGET).glob("sim_*/annotations"), None):
        return "comphy"
    for pattern in ("video_?????.mp4", "annotation_?????.json"):
        if next(path.rglob(pattern), None):
            return "clevrer"
    return None


def check_physical(kind: str, path: Path, decode: bool = True) -> CheckReport:
    """Reads a set of physical reasoning with its reader and lists what is wrong. O(files), O(bytes) of some.

    Problems: annotations that are missing or say what cannot be, references of other objects, missing or
    damaged videos, questions without their set; of ComPhy, answers of sampled sets that differ from what
    their programs find. Noted: splits that are not there or not complete, splits without questions.

    Args:
        kind: one of `PHYSICAL_KINDS`.
        path: of the set.
        decode: also open every video (first frame; of `SAMPLE` sets of a split all frames that annotations
            tell of); otherwise only see that it exists.
    """
    checks: dict[str, Callable[[Path, bool, Problems, list[str]], _Parts]] = {
        "comphy": _comphy,
        "clevrer": _clevrer,
    }
    problems, notes = Problems(), list[str]()
    try:
        shown = checks[kind](path, decode, problems, notes)
    except DataError as error:
        problems.add(str(error))
        shown = {}
    lines = tuple(dict.fromkeys(map(one_line, notes)))
    return CheckReport(kind, one_line(str(path)), shown, problems.lines(), lines)


def _sample(count: int) -> set[int]:
    """At most `SAMPLE` places, evenly spread."""
    return set(np.linspace(0, count - 1, min(SAMPLE, count)).astype(int).tolist())


def _open(path: Path, last: int, problems: Problems, notes: list[str]) -> None:
    """Reads a video to its frame ``last``."""
    try:
        read_frames(path, (HEIGHT, WIDTH), 1, np.array([last]))
    except MissingPackageError as error:
        notes.append(f"videos were not opened: {error}")
    except MienError as error:
        problems.add(str(error))


def _comphy(path: Path, decode: bool, problems: Problems, notes: list[str]) -> _Parts:
    first = next(iter(sorted((path / TARGET).glob("sim_*"))), None)
    if first is None:
        raise DataError(f"{path}: no {TARGET}/sim_00000 ...; give the folder of your copy of ComPhy")
    shown = _Parts()
    for split, numbers in SPLITS.items():
        if not any((path / TARGET / f"sim_{n:05d}").is_dir() for n in numbers):
            notes.append(f"{split}: not there")
            continue
        copy = ComPhy(path, split, _reference_count(path, first.name))
        shown[split] = _comphy_split(copy, decode, problems, notes)
        _note_size(split, len(copy), COMPHY_SIZES[split], notes)
        _check_questions(copy, split, problems, notes)
    return shown


def _reference_count(root: Path, name: str) -> int:
    """References of a set; each other set must have them too."""
    return max(1, sum(folder.name.isdigit() for folder in (root / ComPhy.reference / name).glob("*")))


def _comphy_split(copy: ComPhy, decode: bool, problems: Problems, notes: list[str]) -> dict[str, int]:
    sampled, read, answers = _sample(len(copy)), 0, 0
    differing: list[str] = []
    for place, number in enumerate(copy.numbers):
        try:
            item = copy[place]
        except DataError as error:
            problems.add(str(error))
            continue
        read += 1
        for folder, frames in _videos(copy, item):
            try:
                video = video_of(folder)
            except DataError as error:
                problems.add(str(error))
                continue
            if decode:
                _open(video, frames - 1 if place in sampled else 0, problems, notes)
        if place in sampled:
            count, wrong = _run_programs(item, f"{copy.root / copy.split}.json: scene {number}", problems)
            answers += count
            differing += wrong
    if differing:
        problems.add(
            f"{len(differing)} of {answers} answers differ from their programs', first: {differing[0]}"
        )
    return {"sets": read, "references": read * copy.refs, "questions": _count(copy), "answers_run": answers}


def _videos(copy: ComPhy, item: ComPhyItem) -> Iterator[tuple[Path, int]]:
    """Folders of a set's videos, and how many frames their annotations tell of."""
    name = f"sim_{item.number:05d}"
    yield copy.root / copy.target / name, len(item.target.locations)
    for k, clip in enumerate(item.references):
        yield copy.root / copy.reference / name / str(k), len(clip.locations)


def _run_programs(item: ComPhyItem, where: str, problems: Problems) -> tuple[int, list[str]]:
    """How many answers of a set are known and can be found, and those that differ."""
    executor, count, differing = Executor(item.scene), 0, list[str]()
    for question in item.questions:
        here = f"{where}, question {question['question_id']}"
        try:
            records([question], here, "questions", question=str, program=list)
            records(question.get("choices", []), here, "choices", choice=str, program=list)
            rows = list(answered(question, executor)) if _can_be_run(question, item) else []
        except (ConfigError, DataError) as error:
            problems.add(str(error) if isinstance(error, DataError) else f"{here}: {error}")
            continue
        count += len(rows)
        differing += [
            f"{here}, {asked!r} is {told!r}, the program finds {found!r}"
            for asked, told, found in rows
            if told != found
        ]
    return count, differing


def _can_be_run(question: dict[str, Any], item: ComPhyItem) -> bool:
    """Test splits have no answers, published annotations no counterfactuals; without tracks all rests."""
    entries = question.get("choices", [question])
    words = {str(word) for entry in (question, *entries) for word in entry["program"]}
    is_known = all("answer" in entry for entry in entries)
    is_what_if = str(question["question_type"]).startswith("counterfactual")
    has_tracks = bool(item.scene.centres.any())
    return (
        is_known
        and (has_tracks or not words & _OF_MOTION)
        and bool(item.target.counterfactuals or not is_what_if)
    )


def _count(copy: ComPhy | Clevrer) -> int:
    return sum(map(len, copy.questions.values()))


def _check_questions(copy: ComPhy | Clevrer, split: str, problems: Problems, notes: list[str]) -> None:
    if not copy.questions:
        notes.append(f"{split}: no questions ({split}.json)")
    if lost := sorted(copy.questions.keys() - set(copy.numbers)):
        problems.add(
            f"{copy.root / split}.json: questions about {len(lost)} sets that are not there, first: {lost[0]}"
        )


def _note_size(split: str, count: int, published: int, notes: list[str]) -> None:
    if count != published:
        notes.append(f"{split}: {count:,} sets, the published one has {published:,}")


def _clevrer(path: Path, decode: bool, problems: Problems, notes: list[str]) -> _Parts:
    shown = _Parts()
    for split in CLEVRER_SPLITS:
        try:
            copy = Clevrer(path, split)
        except DataError as error:
            notes.append(f"{split}: not there ({error})")
            continue
        shown[split] = _clevrer_split(copy, decode, problems, notes)
        _note_size(split, len(copy), CLEVRER_SIZES[split], notes)
        _check_questions(copy, split, problems, notes)
    if not shown:
        raise DataError(f"{path}: no video_00000.mp4 ... of CLEVRER; give the folder of your copy")
    return shown


def _clevrer_split(copy: Clevrer, decode: bool, problems: Problems, notes: list[str]) -> dict[str, int]:
    sampled, annotated = _sample(len(copy)), 0
    for place, number in enumerate(copy.numbers):
        try:
            video = copy[place]
        except DataError as error:
            problems.add(str(error))
            continue
        annotated += video.things is not None
        if video.things is None and copy.split != "test":
            problems.add(f"{copy.root}: no annotation_{number:05d}.json of {video.path}; fetch it")
        if video.path is None:
            problems.add(f"{copy.root}: no video_{number:05d}.mp4 of {copy.files['.json'][number]}; fetch it")
        elif decode:
            _open(video.path, FRAMES - 1 if place in sampled else 0, problems, notes)
    return {"videos": len(copy.files[".mp4"]), "annotations": annotated, "questions": _count(copy)}
