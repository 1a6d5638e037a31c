"""WMCA: colour, depth, infrared and thermal clips; the grand test and seven protocols of an unseen attack."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mien.core.errors import DataError
from mien.core.io import read_text
from mien.data.lists import safe_name
from mien.data.pad_lists import FrameFinder
from mien.data.pad_names import PadFacts, wmca_facts
from mien.data.pad_reader import PadCounts, PadReader
from mien.data.pad_sample import LIVE, PadList, PadSample

_GROUPS = {"train": "train", "dev": "dev", "test": "eval"}
_LISTS = ("WMCA_Grandtest.txt", "WMCA_Grandtest.csv", "documentation/WMCA_Grandtest.csv")
UNSEEN = {
    "LOO_prints": "print",
    "LOO_replay": "replay",
    "LOO_flexiblemask": "flexiblemask",
    "LOO_rigidmask": "rigidmask",
    "LOO_papermask": "papermask",
    "LOO_fakehead": "fakehead",
    "LOO_glasses": "glasses",
}
"""Protocol -> the instrument that only its test has."""


def wmca_keeps(facts: PadFacts, protocol: str, split: str) -> bool:
    """Whether a protocol has this presentation of the grand test's split.

    LOO_x: train and dev without the instrument x; test is x and bona fide only.
    """
    unseen = UNSEEN.get(protocol)
    if unseen is None or facts.pai == LIVE:
        return True
    return (facts.pai == unseen) == (split == "test")


def _listed(place: Path) -> Path:
    for name in _LISTS:
        if (place / name).is_file():
            return place / name
    raise DataError(f"{place / _LISTS[0]}: no such file; put the list of the grand test there")


def _clip(place: Path, name: str, video: str) -> Path:
    """Pictures taken out of a clip (``R_CDIT/<clip>/color``), else the clip itself (HDF5)."""
    pictures = place / "R_CDIT" / video
    return pictures if pictures.is_dir() else place / "preprocessed-face-station_CDIT" / f"{name}.hdf5"


def _wmca(place: Path, protocol: str, split: str) -> PadList:
    """From the grand test's table: columns filepath, group (train, dev, eval), label (bonafide, attack)."""
    listed, find, samples = _listed(place), FrameFinder(), list[PadSample]()
    table = csv.DictReader(io.StringIO(read_text(listed)), restval="")
    if missing := {"filepath", "group", "label"} - set(table.fieldnames or ()):
        raise DataError(f"{listed}:1: no column {min(missing)!r}; expected filepath, group, label")
    for row in table:
        where = f"{listed}:{table.line_num}"
        name = safe_name(row["filepath"].strip(), where)
        facts = wmca_facts(name)
        if (
            facts is None
            or row["group"] not in _GROUPS.values()
            or row["label"] not in ("bonafide", "attack")
        ):
            raise DataError(
                f"{where}: expected a clip, its group and label, got {', '.join(row.values())[:120]}"
            )
        if facts.is_live != (row["label"] == "bonafide"):
            raise DataError(
                f"{where}: {facts.video_id} is {facts.pai} by its name, but listed as {row['label']}"
            )
        if row["group"] == _GROUPS[split] and wmca_keeps(facts, protocol, split):
            samples += find(_clip(place, name, facts.video_id), facts)
    return PadList("wmca", protocol, split, tuple(samples))


Wmca = PadReader(
    "wmca",
    "WMCA: 1,679 clips in colour, depth, infrared and thermal, seven instruments",
    "IDIAP_WMCA",
    ("grandtest", *UNSEEN),
    ("train", "dev", "test"),
    lambda p: any((p / name).is_file() for name in _LISTS),
    _wmca,
    {
        "grandtest": {
            "train": PadCounts(videos=565, live=124),
            "dev": PadCounts(videos=557, live=108),
            "test": PadCounts(videos=557, live=115),
        }
    },
)
"""WMCA (root, protocol, split): pictures in ``R_CDIT`` or HDF5 clips (extra ``data``); see `wmca_keeps`."""
