"""A folder that ``mien data make pad`` wrote, read like a published set."""

from __future__ import annotations

from pathlib import Path

from mien.core import io
from mien.core.errors import DataError
from mien.data.pad_reader import PadReader
from mien.data.pad_sample import PadList, PadSample

_FILES = {"rgb": "png", "depth": "depth.png", "ir": "ir.png"}
_SHARES = {"train": (0.0, 0.6), "dev": (0.6, 0.8), "test": (0.8, 1.0)}


def _is_made(place: Path) -> bool:
    record = place / "set.json"
    return record.is_file() and io.read_json(record).get("kind") == "pad"


def _read(place: Path, protocol: str, split: str) -> PadList:
    """Subjects in the order of their numbers: three fifths to train, a fifth each to choose and to test."""
    if not _is_made(place):
        raise DataError(
            f"{place}: no set.json of kind pad; make one with mien data make pad --output {place}"
        )
    if not (place / "pad").is_dir():
        raise DataError(f"{place}: no folder pad (a set in shards?); make it without --shards")
    people = sorted(p for p in (place / "pad").glob("*") if p.is_dir())
    first, last = (round(share * len(people)) for share in _SHARES[split])
    found = [s for person in people[first:last] for s in map(_sample, sorted(person.glob("*.json")))]
    return PadList("synthetic_pad", protocol, split, tuple(found))


def _sample(label_file: Path) -> PadSample:
    label, stem = io.read_json(label_file), label_file.name.removesuffix(".json")
    images = {m: label_file.with_name(f"{stem}.{ext}") for m, ext in _FILES.items()}
    return PadSample(
        images,
        int(label["live"]),
        str(label["species"]),
        subject=f"s{label['subject']:06d}",
        device=f"d{label['device']:03d}",
        video_id=f"s{label['subject']:06d}_{stem}",
    )


SyntheticPAD = PadReader(
    name="synthetic_pad",
    title="a folder of mien data make pad",
    folder="",
    protocols=("all",),
    splits=("train", "dev", "test"),
    is_there=_is_made,
    read=_read,
    expected={},
)
