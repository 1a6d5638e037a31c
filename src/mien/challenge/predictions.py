"""A submission from a trained model: any method of mien that tells how likely a picture is live."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.challenge.submissions import check_files
from mien.core import io
from mien.core.errors import ConfigError, DataError

LISTS = {1: ("phase1", "dev.txt"), 2: ("phase2", "test.txt")}
"""Phase -> folder and list of the pictures that it adds to a submission."""
FAMILY = "face anti-spoofing"
_DATE = (1980, 1, 1, 0, 0, 0)
"""Of the file in a zip: the same scores give the same bytes."""


class Judge(Protocol):
    """A predictor whose results have ``status`` and ``probability`` (of being live; None: not judged)."""

    def predict(self, *inputs: Any, options: Any = None) -> Sequence[Any]:
        """One result for each picture."""
        ...


@dataclass(frozen=True)
class Predicted:
    """What `predict` wrote.

    Attributes:
        output: the zip.
        phase: 1 or 2.
        lines: scores in it.
        refused: pictures that the model did not judge; their score is 0, an attack.
    """

    output: Path
    phase: int
    lines: int
    refused: int


def listed(kit: str | Path, phase: int) -> dict[int, tuple[str, ...]]:
    """Phase -> names of its list, in order, of phase 1 up to ``phase``.

    Raises:
        DataError: a list is missing or empty.
    """
    out = {}
    for number, (folder, file) in list(LISTS.items())[:phase]:
        path = Path(kit) / folder / file
        if not path.is_file():
            raise DataError(f"{path}: no such list; give the folder that holds phase1/ and phase2/")
        out[number] = tuple(filter(None, map(str.strip, io.read_text(path).splitlines())))
        if not out[number]:
            raise DataError(f"{path}: no pictures in this list; ask for the kit again")
    return out


def live_scores(
    judge: Judge,
    paths: Sequence[Path],
    batch: int = 64,
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[NDArray[np.float64], int]:
    """(N,) P(live) of each picture, and how many were not judged (score 0). N forward passes.

    Args:
        judge: the model.
        paths: of pictures.
        batch: pictures handed over at a time.
        watch: called with (done, all) after each batch.

    Raises:
        DataError: a picture cannot be read.
    """
    scores: list[float | None] = []
    for first in range(0, len(paths), batch):
        scores += [r.probability for r in judge.predict(*paths[first : first + batch])]
        watch(len(scores), len(paths))
    refused = sum(s is None for s in scores)
    return np.array([0.0 if s is None else s for s in scores], np.float64).clip(0, 1), refused


def judge_of(weights: str | Path) -> Judge:
    """The predictor of some weights (a run's folder, ``method/tag`` or a hub id).

    Raises:
        WeightsError: nothing of that name.
        ConfigError: weights of a method that does not tell live faces from attacks.
    """
    from mien.core.catalogue import method
    from mien.engine.zoo import load_folder

    folder = load_folder(str(weights))
    entry = method(folder.method)
    if entry.family != FAMILY:
        raise ConfigError(
            f"{weights}: weights of {folder.method} ({entry.family}); a submission needs {FAMILY}"
        )
    judge: Judge = entry.load("predict").Predictor.from_folder(folder)
    return judge


def write_submission(
    output: str | Path, names: dict[int, tuple[str, ...]], scores: NDArray[np.float64], files: str = "one"
) -> Path:
    """A valid zip: ``path score`` lines in the lists' order; the same scores give the same bytes.

    Args:
        output: file to write, whole or not at all.
        names: see `listed`.
        scores: of all names, in order.
        files: one text for all lines; two: ``phase1.txt`` and ``phase2.txt``.
    """
    check_files(files)
    rows = [(phase, name) for phase, own in names.items() for name in own]
    lines: dict[str, list[str]] = {}
    for (phase, name), score in zip(rows, scores, strict=True):
        file = "results.txt" if files == "one" else f"phase{phase}.txt"
        lines.setdefault(file, []).append(f"{name} {float(score):.12g}\n")
    with io.new_file(output) as part, zipfile.ZipFile(part, "w") as archive:
        for file, own in lines.items():
            archive.writestr(zipfile.ZipInfo(file, _DATE), "".join(own), zipfile.ZIP_DEFLATED)
    return Path(output)


def predict(
    kit: str | Path,
    weights: str | Path,
    output: str | Path,
    *,
    phase: int = 2,
    files: str = "one",
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> Predicted:
    """Judges every listed picture of a challenge by a trained model, and writes a valid submission.

    Args:
        kit: the folder with ``phase1/`` and ``phase2/``, or a challenge's own folder.
        weights: a run's folder, ``method/tag`` or a hub id, of a method of face anti-spoofing.
        output: the zip.
        phase: 1: dev lines; 2: dev lines, then test lines.
        files: see `write_submission`.
        watch: called with (done, all).

    Raises:
        DataError: a list or a picture is missing or cannot be read.
        WeightsError: no such weights.
        ConfigError: weights of another family, another ``phase`` or ``files``.
    """
    check_files(files)
    if phase not in LISTS:
        raise ConfigError(f"no phase {phase}; 1 (dev lines) or 2 (dev lines, then test lines)")
    names = listed(kit, phase)
    paths = [Path(kit) / LISTS[number][0] / name for number, own in names.items() for name in own]
    scores, refused = live_scores(judge_of(weights), paths, watch=watch)
    return Predicted(write_submission(output, names, scores, files), phase, len(paths), refused)
