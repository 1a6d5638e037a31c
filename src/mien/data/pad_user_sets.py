"""The user's copy of an anti-spoofing set as training, development and test presentations."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.seeds import keys_of
from mien.data.check import Problems
from mien.data.config import PadData
from mien.data.labelled import spread
from mien.data.pad_check import audit_splits
from mien.data.pad_csv import PadCsv
from mien.data.pad_files import PadFiles, joint_fingerprint, title_of
from mien.data.pad_images import MODALITIES, PadSplits
from mien.data.pad_lists import Convention
from mien.data.pad_modalities import channel_spread, check_modalities, likeness, slot_problem
from mien.data.pad_protocols import CROSS_SETS, PAD_READERS, cross_set
from mien.data.pad_sample import PadList, eval_frames
from mien.data.pad_shards import PadShards, pad_samples
from mien.data.tar_samples import shard_paths, split_of

SPLITS = ("train", "dev", "test")
READER_OF = {
    "casia_surf": "casia_surf",
    "cefa": "casia_cefa",
    "wmca": "wmca",
    "hifimask": "casia_hifimask",
    "flexible": "flexible_modal",
    "oulu": "oulu_npu",
    "replay_attack": "replay_attack",
    "casia_fasd": "casia_fasd",
    "msu_mfsd": "msu_mfsd",
    "suhifimask": "suhifimask",
    "made": "synthetic_pad",
}
"""``data.kind`` -> name of its reader in `PAD_READERS`."""
HELD_OUT = 0.25
"""Share of the training subjects that chooses thresholds, where a set has no development split."""
LOOKED_AT = 4
"""Samples of each split that are decoded before training, to see whether cameras hold what they should."""
log = logging.getLogger(__name__)


def user_pad(data: PadData) -> PadSplits:
    """The presentations of a user's set.

    Training sees one random frame of each video in each epoch, development and test the first and the last,
    whose scores are averaged. What would spoil a training is refused before it: a split of one class, a
    camera that holds another's pictures, depth in a wrong unit. Subjects and files in two splits are warned
    about. O(frames), and a few pictures are decoded.

    Raises:
        ConfigError: no root or convention, or a protocol that the set does not have.
        DataError: lists or files are missing or damaged, or the set fails a check.
    """
    if data.kind == "shards":
        return pad_shard_splits(data)
    lists = user_lists(data)
    note = " ".join(filter(None, (lists["test"].name, lists["test"].protocol)))
    if "dev" not in lists:
        lists["train"], lists["dev"] = hold_out_dev(lists["train"])
        note += f"; no dev split: {HELD_OUT:.0%} of the training subjects choose thresholds"
    check_lists(lists)
    train = PadFiles.one_a_video(lists["train"])
    shown = {name: PadFiles(eval_frames(pads)) for name, pads in lists.items() if name != "train"}
    mark = joint_fingerprint([train, *shown.values()])
    also = {name: files for name, files in shown.items() if name not in SPLITS}
    note = "; ".join(dict.fromkeys(filter(None, (note, *(p.note for p in lists.values())))))
    return PadSplits(train, shown["dev"], shown["test"], mark, also, real=True, note=note)


def pad_shard_splits(data: PadData) -> PadSplits:
    """The presentations of WebDataset shards, whose names say train, dev (or val) or test.

    Every sample is shown once an epoch; in development and test, the scores of the samples of a video are
    averaged. Without a development split some subjects choose thresholds, as in `hold_out_dev`.

    Raises:
        DataError: shards are missing or damaged, a sample is incomplete, or a split has one class only.
    """
    shards = shard_paths(data.require_root())
    parts = {part: [s for s in shards if split_of(s) == part] for part in ("train", "val", "test")}
    for part in ("train", "test"):
        if not parts[part]:
            raise DataError(
                f"{data.root}: no shards with the word {part} in their names, as {part}-000000.tar"
            )
    train, test = (PadShards([one for s in parts[p] for one in pad_samples(s)]) for p in ("train", "test"))
    note = f"{len(shards)} shards"
    if parts["val"]:
        dev = PadShards([one for s in parts["val"] for one in pad_samples(s)])
    else:
        held = held_out(train.labels.subjects.tolist(), str(data.root))
        is_held = np.isin(train.labels.subjects, list(held))
        train, dev = train.subset(np.flatnonzero(~is_held)), train.subset(np.flatnonzero(is_held))
        note += f"; no dev split: {HELD_OUT:.0%} of the training subjects choose thresholds"
    for name, images in (("train", train), ("dev", dev)):
        check_classes(f"{data.root}: {name}", images.labels.live)
        check_slots(images)
    return PadSplits(train, dev, test, joint_fingerprint([train, dev, test]), real=True, note=note)


def check_slots(images: PadShards) -> None:
    """Refuses a depth or infrared slot that holds colour, or a copy of it; a few samples are decoded.

    Raises:
        DataError: one does.
    """
    at = spread(len(images), LOOKED_AT)
    for modality in (m for m in images.modalities if m != "rgb"):
        raw = [images.raw(modality, int(i)) for i in at]
        rgb = images.pictures("rgb", at) if "rgb" in images.modalities else []
        alike = [likeness(a, b) for a, b in zip(raw, rgb, strict=False)]
        if text := slot_problem(modality, [channel_spread(a) for a in raw], alike):
            raise DataError(f"{images.found[int(at[0])].where}.{modality}: {text}")


def user_lists(data: PadData) -> dict[str, PadList]:
    """Split -> its list, by the reader of ``data.kind``; nothing is decoded.

    Raises:
        ConfigError, DataError: see `user_pad`.
    """
    root = data.require_root()
    if data.kind == "csv":
        return csv_lists(root, data.convention)
    if data.kind == "ocim":
        protocol = data.protocol or next(iter(CROSS_SETS))
        return {s: cross_set(dict.fromkeys(PAD_READERS, root), protocol, s) for s in SPLITS}
    reader = PAD_READERS[READER_OF[data.kind]]
    lists = {s: reader(root, data.protocol, s) for s in SPLITS if s in reader.splits}
    if data.kind == "flexible":
        # Protocols differ in the cameras at test; thresholds are chosen for every subset of cameras.
        lists["dev"] = reader(root, None, "dev")
        if (reader.place(root) / "FlexModal_Protocols" / "WMCA_test.txt").is_file():
            lists["test_wmca"] = reader(root, data.protocol, "test_wmca")
    return lists


def csv_lists(path: Path, convention: Convention | None) -> dict[str, PadList]:
    """The splits of a user's table; its development split may be missing.

    Raises:
        ConfigError: no convention.
        DataError: damaged, or without a column ``split``, or without rows to train or test on.
    """
    if path.is_dir():
        raise DataError(f"{path}: a folder; give the CSV table itself with --data.root FILE.csv")
    if convention is None:
        raise ConfigError(
            f"{path}: what does its label 1 mean? --data.convention live1 (live iff label > 0) or live0"
            " (live iff label = 0)"
        )
    whole, lists = len(PadCsv(path, convention)), dict[str, PadList]()
    for split in SPLITS:
        try:
            lists[split] = PadCsv(path, convention, split)
        except DataError:
            if split != "dev":
                raise
    if len(lists["train"]) == whole:
        raise DataError(f"{path}: no column 'split'; it says train, dev or test in each row")
    return lists


def hold_out_dev(train: PadList, share: float = HELD_OUT) -> tuple[PadList, PadList]:
    """Moves some subjects to a development list, always the same ones, whatever the order. O(N log N).

    Args:
        train: the training list.
        share: of the subjects; where none has a name, of the videos.

    Raises:
        DataError: fewer than two subjects.
    """
    who = [s.subject or s.video_id or f"#{i}" for i, s in enumerate(train.samples)]
    held = held_out(who, title_of(train), share)
    pairs = list(zip(who, train.samples, strict=True))
    kept, moved = (tuple(s for w, s in pairs if (w in held) is k) for k in (False, True))
    return replace(train, samples=kept), replace(train, split="dev", samples=moved)


def held_out(who: Sequence[str], where: str, share: float = HELD_OUT) -> set[str]:
    """The subjects of a development split: always the same ones, whatever the order. O(N log N).

    Args:
        who: subject of each sample.
        where: the training set, for messages.
        share: of the subjects.

    Raises:
        DataError: fewer than two subjects.
    """
    names = sorted(set(who))
    if len(names) < 2:
        raise DataError(f"{where}: one subject, and no dev split; thresholds need other subjects")
    drawn = np.argsort(keys_of(names), kind="stable")[: max(1, round(share * len(names)))]
    return {names[int(i)] for i in drawn}


def check_lists(lists: Mapping[str, PadList]) -> None:
    """What must hold before training; a few pictures of each split are decoded.

    Raises:
        DataError: training or development presentations of one class, or a camera that does not hold what its
            name says.
    """
    for split in ("train", "dev"):
        check_classes(title_of(lists[split]), lists[split].live)
    for pads in lists.values():
        seen = [replace(s, images=own) for s in pads.samples if (own := _seen(s.images))]
        check_modalities(seen, LOOKED_AT)
    problems = Problems()
    audit_splits(lists, problems)
    if lines := problems.lines():
        log.warning(f"{lines[0]}{f' (and {len(lines) - 1} more: mien data check)' if lines[1:] else ''}")


def check_classes(where: str, live: NDArray[np.bool_]) -> None:
    """Refuses presentations that are all live or all attacks.

    Raises:
        DataError: they are.
    """
    if live.all() or not live.any():
        kind, other = ("live", "attacks") if live.any() else ("attacks", "live ones")
        raise DataError(
            f"{where}: all {len(live)} presentations are {kind}; training and thresholds need {other}, too"
        )


def _seen(images: Mapping[str, Path]) -> dict[str, Path]:
    return {m: p for m, p in images.items() if m in MODALITIES}
