"""``competition.yaml`` of Codabench, version 2: what it says, what its reader refuses, and its text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from mien.challenge.settings import Contest, at
from mien.core.errors import ConfigError

IMAGE = "quay.io/jupyter/scipy-notebook:python-3.12"
"""Container of the scoring program: Python 3.11 or newer and numpy. (The platform's default is too old.)"""
COLUMNS = (
    ("ACER", "acer", "asc"),
    ("APCER", "apcer", "asc"),
    ("BPCER", "bpcer", "asc"),
    ("AUC", "auc", "desc"),
    ("ACER max", "acer_max", "asc"),
    ("ACER oracle", "acer_oracle", "asc"),
)
PAGES = (("Overview", "overview"), ("Evaluation", "evaluation"), ("Data", "data"))


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(at(text), UTC).replace(tzinfo=None)


def _columns(metric: str) -> list[tuple[str, str, str]]:
    """The metric first: the platform ranks by the first column."""
    return sorted(COLUMNS, key=lambda column: column[1] != metric)


def competition(contest: Contest, image: str = IMAGE) -> dict[str, Any]:
    """The competition of a challenge, as plain values; times are UTC.

    Args:
        contest: settings.
        image: container of the scoring program.
    """
    rule = {"best": "Force_Best", "last": "Force_Last"}[contest.ranking]
    return {
        "version": 2,
        "title": contest.title,
        "image": "logo.png",
        "terms": "pages/terms.md",
        "docker_image": image,
        "enable_detailed_results": True,
        "pages": [{"title": title, "file": f"pages/{name}.md"} for title, name in PAGES],
        "tasks": [
            {
                "index": index,
                "name": phase.name,
                "scoring_program": "scoring_program/",
                "reference_data": f"reference_{phase.number}/",
            }
            for index, phase in enumerate(contest.phases)
        ],
        "phases": [
            {
                "index": index,
                "name": phase.name,
                "start": _time(phase.start),
                "end": _time(phase.end),
                "tasks": [index],
                "max_submissions": contest.limits.total,
                "max_submissions_per_day": contest.limits.per_day,
                "execution_time_limit": 600,
                "accepts_only_result_submissions": True,
                "starting_kit": f"starting_kit_{phase.number}/",
            }
            for index, phase in enumerate(contest.phases)
        ],
        "leaderboards": [
            {
                "title": "Results",
                "key": "main",
                "submission_rule": rule,
                "columns": [
                    {"title": title, "key": key, "index": k, "sorting": order, "precision": 6}
                    for k, (title, key, order) in enumerate(_columns(contest.metric))
                ],
            }
        ],
    }


def check_competition(spec: Mapping[str, Any], folder: Path) -> None:
    """What the platform's reader would refuse, found before anything is sent.

    Args:
        spec: of `competition`.
        folder: the bundle's root.

    Raises:
        ConfigError: a file is missing or a page empty, a task without scoring program or with a taken index,
            a phase without tasks or of unknown ones, phases that overlap, a phase but the last without end,
            a leaderboard without columns.
    """
    for name in [spec.get("image"), spec.get("terms"), *(page.get("file") for page in spec.get("pages", ()))]:
        if not name or not (folder / str(name)).is_file():
            raise ConfigError(f"competition: {name or 'image or terms'} is missing")
        if not (folder / str(name)).read_bytes().strip():
            raise ConfigError(f"competition: {name} is empty")
    _check_tasks(spec.get("tasks", ()), folder)
    _check_phases(spec.get("phases", ()), {task["index"] for task in spec.get("tasks", ())}, folder)
    if not spec.get("leaderboards") or not all(board.get("columns") for board in spec["leaderboards"]):
        raise ConfigError("competition: no leaderboard with columns")


def _check_tasks(tasks: Sequence[Mapping[str, Any]], folder: Path) -> None:
    seen: set[int] = set()
    for task in tasks:
        if task["index"] in seen:
            raise ConfigError(f"competition: two tasks have the index {task['index']}")
        seen.add(task["index"])
        program = task.get("scoring_program")
        if not program or not (folder / program / "metadata.yaml").is_file():
            raise ConfigError(f"competition: task {task['name']!r} has no scoring_program")
        data = task.get("reference_data")
        if not data or not any((folder / data).iterdir()):
            raise ConfigError(f"competition: task {task['name']!r} has no reference_data")


def _check_phases(phases: Sequence[Mapping[str, Any]], tasks: set[int], folder: Path) -> None:
    if not phases:
        raise ConfigError("competition: no phase")
    ordered = sorted(phases, key=lambda phase: phase["start"])
    for phase in ordered:
        if not phase.get("tasks") or not set(phase["tasks"]) <= tasks:
            raise ConfigError(f"competition: phase {phase['name']!r} has no task, or one that is not there")
        if kit := phase.get("starting_kit"):
            if not (folder / kit).is_dir():
                raise ConfigError(f"competition: {kit} is missing")
    for before, after in pairwise(ordered):
        if before.get("end") is None:
            raise ConfigError(f"competition: phase {before['name']!r} has no end and is not the last")
        if after["start"] < before["end"]:
            raise ConfigError(f"competition: phases {before['name']!r} and {after['name']!r} overlap")


def yaml_text(value: Mapping[str, Any]) -> str:
    """YAML of plain values: words in double quotes, times bare. Keys are ours and need none.

    >>> print(yaml_text({"a": "x: y", "b": [{"c": 1}]}), end="")
    a: "x: y"
    b:
      - c: 1
    """
    return "".join(f"{line}\n" for line in _lines(value, ""))


def _lines(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, part in value.items():
        if isinstance(part, list) and part and isinstance(part[0], Mapping):
            yield f"{indent}{key}:"
            for entry in part:
                first, *rest = _lines(entry, indent + "    ")
                yield f"{indent}  - {first.strip()}"
                yield from rest
        elif isinstance(part, datetime):
            yield f"{indent}{key}: {part:%Y-%m-%d %H:%M:%S}"
        else:
            yield f"{indent}{key}: {json.dumps(part)}"
