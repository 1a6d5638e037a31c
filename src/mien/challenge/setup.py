"""Makes a challenge: public folders with anonymous names, hidden labels apart, settings, starting kit, store.

    phase1/  train/ dev/ (pictures), train_label.txt ("path label", live = 1), dev.txt
    phase2/  test/ (pictures), dev_label.txt, test.txt
    reference/  dev.csv, test.csv (`mien.challenge.references`), names.csv: which file is behind which name
    template/  a script that writes a valid submission
    challenge.toml, store.db

Hand out phase1/ at the start, phase2/ when the final phase begins, reference/ never.
"""

from __future__ import annotations

import csv
import io as streams
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from mien.challenge.items import SPLITS, Item, Splits, items_of
from mien.challenge.references import Part, part_text
from mien.challenge.settings import FILE, Clock, Contest, default_phases, save_contest
from mien.core import io
from mien.core.config import suggest
from mien.core.errors import ConfigError, DataError
from mien.core.seeds import derive

Media = Literal["copy", "hardlink", "none"]
MEDIA = ("copy", "hardlink", "none")
TEMPLATE = Path(__file__).parent / "template"
_PHASE = {"train": "phase1", "dev": "phase1", "test": "phase2"}


@dataclass(frozen=True)
class Made:
    """What `init` made: the folder and the number of lines of each list."""

    folder: Path
    lines: dict[str, int]


def shuffled(items: Sequence[Item], split: str, seed: int) -> list[Item]:
    """The items in an order that tells nothing; the same seed gives the same order. O(n)."""
    order = np.random.default_rng(derive(seed, "challenge", split)).permutation(len(items))
    return [items[k] for k in order]


def anonymous(split: str, count: int, suffix: str) -> tuple[str, ...]:
    """``dev/000001.jpg`` and so on.

    >>> anonymous("dev", 2, ".jpg")
    ('dev/000001.jpg', 'dev/000002.jpg')
    """
    return tuple(f"{split}/{k + 1:06d}{suffix}" for k in range(count))


def _check_splits(splits: Splits) -> str:
    """The one suffix of all pictures; several could tell classes apart."""
    for split in SPLITS:
        if not splits.get(split):
            raise DataError(f"a challenge needs pictures in {', '.join(SPLITS)}; {split} has none")
    suffixes = {item.path.suffix.lower() for split in SPLITS for item in splits[split]}
    if len(suffixes) != 1:
        raise DataError(f"pictures must be of one file type, got {', '.join(sorted(suffixes))}; convert them")
    return suffixes.pop()


def _part(names: tuple[str, ...], items: Sequence[Item], tracks: dict[str, int]) -> Part:
    label = np.array([i.label for i in items], np.int64)
    if not (label == 0).any() or not label.any():
        kind = "attacks" if label.any() else "live"
        raise DataError(
            f"all {len(items)} pictures of {names[0].partition('/')[0]} are {kind}; rates need both"
        )
    return Part(
        names,
        label,
        np.array([tracks[i.track] for i in items], np.int64),
        np.array([i.camera for i in items], np.str_),
        np.array([i.scene for i in items], np.str_),
        np.array([i.quality for i in items], np.float64),
    )


def _put(source: Path, target: Path, media: str) -> None:
    """A picture under its anonymous name. Copies carry no date of the original; links do."""
    if media == "none":
        return
    try:
        if media == "hardlink":
            os.link(source.resolve(), target)
        else:
            shutil.copyfile(source, target)
    except FileNotFoundError:
        raise DataError(f"{source}: no such picture; is the data set complete?") from None
    except OSError as error:
        raise DataError(f"{source}: cannot {media} to {target.parent} ({error.strerror or error})") from None


def _write_split(place: Path, split: str, names: Sequence[str], items: Sequence[Item], media: str) -> None:
    folder = place / _PHASE[split]
    (folder / split).mkdir(parents=True, exist_ok=True)
    for name, item in zip(names, items, strict=True):
        _put(item.path, folder / name, media)
    labels = "".join(f"{n} {int(i.live)}\n" for n, i in zip(names, items, strict=True))
    if split == "train":
        io.write_text(folder / "train_label.txt", labels)
    else:
        io.write_text(folder / f"{split}.txt", "".join(f"{n}\n" for n in names))
    if split == "dev":
        io.write_text(place / "phase2" / "dev_label.txt", labels)


def _names_csv(named: Mapping[str, tuple[Sequence[str], Sequence[Item]]]) -> str:
    stream = streams.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("path", "source", "track"))
    for names, items in named.values():
        writer.writerows((n, i.path, i.track) for n, i in zip(names, items, strict=True))
    return stream.getvalue()


def init(
    dataset: str | Path | Splits,
    protocol: str,
    out: str | Path,
    *,
    contest: Contest | None = None,
    media: Media = "copy",
    clock: Clock = time.time,
) -> Made:
    """Makes a challenge in a new folder; it appears whole or not at all. O(pictures).

    Args:
        dataset: SuHiFiMask's folder, a CSV table (`mien.challenge.items.COLUMNS`), or split -> items.
        protocol: of SuHiFiMask, or a name.
        out: new folder.
        contest: settings; without phases a development phase of 60 days from today and a final one of 14.
        media: pictures are copied; or hard links, which keep the originals' dates; or none, lists only.
        clock: seconds since 1970.

    Raises:
        ConfigError: ``out`` is there already, or no such ``media``.
        DataError: an empty split, a missing picture, one class only.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "holds a challenge already" if (out / FILE).exists() else "is not empty"
        raise ConfigError(f"{out} {what}; choose a new folder")
    if media not in MEDIA:
        raise ConfigError(f"no media {media!r}{suggest(media, list(MEDIA))}; copy, hardlink or none")
    contest = replace(contest or Contest(), protocol=protocol)
    if not contest.phases:
        contest = replace(contest, phases=default_phases(clock()))
    splits = items_of(dataset, protocol) if isinstance(dataset, (str, Path)) else dataset
    suffix = _check_splits(splits)
    ordered = {split: shuffled(splits[split], split, contest.seed) for split in SPLITS}
    named = {split: (anonymous(split, len(items), suffix), items) for split, items in ordered.items()}
    keys = sorted({item.track for split in ("dev", "test") for item in ordered[split]})
    tracks = {key: k for k, key in enumerate(keys)}
    parts = {split: _part(*named[split], tracks) for split in ("dev", "test")}
    from mien.challenge.store import create_store

    with io.new_folder(out) as place:
        for split in SPLITS:
            _write_split(place, split, *named[split], media)
        for split, part in parts.items():
            io.write_text(place / "reference" / f"{split}.csv", part_text(part))
        io.write_text(place / "reference" / "names.csv", _names_csv(named))
        shutil.copytree(TEMPLATE, place / "template", ignore=shutil.ignore_patterns("__pycache__"))
        save_contest(place, contest)
        create_store(place, contest)
    return Made(out, {split: len(items) for split, items in ordered.items()})
