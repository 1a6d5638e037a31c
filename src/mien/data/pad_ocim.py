"""The four colour sets of cross-set tests: OULU-NPU, CASIA-FASD, Replay-Attack, MSU-MFSD.

Presentations are videos, decoded on demand, or folders of frames that were taken out of them.
"""

from __future__ import annotations

import re
from pathlib import Path

from mien.core.errors import DataError
from mien.core.io import read_text
from mien.data.pad_lists import FrameFinder, ToldLine, check_convention
from mien.data.pad_names import PadFacts, fasd_facts, msu_facts, oulu_facts, replay_facts
from mien.data.pad_reader import PadCounts, PadReader, clip_paths, scanned
from mien.data.pad_sample import LIVE, PadList, PadSample

OULU_PROTOCOLS = ("1", "2", *(f"{p}.{k}" for p in (3, 4) for k in range(1, 7)), "all")
_OULU_PARTS = {"train": "Train", "dev": "Dev", "test": "Test"}
_OULU_LINE = re.compile(r"([+-]?[0-9]), ?([1-6]_[123]_[0-9]{1,2}_[1-5])")


def oulu_keeps(facts: PadFacts, protocol: str, split: str) -> bool:
    """Whether a protocol of OULU-NPU has this video.

    1: sessions 1, 2 to train and 3 to test; 2: first printer and display to train, second to test; 3.k: all
    phones but k to train, k to test; 4.k: all three at once.
    """
    kind, _, phone = protocol.partition(".")
    is_test = split == "test"
    if kind in ("1", "4") and (facts.session == "3") != is_test:
        return False
    if kind in ("2", "4") and facts.pai != LIVE and facts.scene.endswith("2") != is_test:
        return False
    return kind not in ("3", "4") or (facts.device == f"phone {phone}") == is_test


def _oulu(place: Path, protocol: str, split: str) -> PadList:
    part = _OULU_PARTS[split]
    clips = {p.stem: p for p in clip_paths(place / f"{part}_files")}
    listed = _oulu_list(place, protocol, part)
    if listed is None:
        samples = scanned(
            place, list(clips.values()), oulu_facts, lambda f, _: oulu_keeps(f, protocol, split)
        )
        return PadList("oulu_npu", protocol, split, samples)
    find, told, found = FrameFinder(), list[ToldLine](), list[PadSample]()
    for number, line in enumerate(read_text(listed).splitlines(), 1):
        if not line.strip():
            continue
        match = _OULU_LINE.fullmatch(line.strip())
        facts = oulu_facts(f"{part}_files/{match[2]}") if match else None
        if match is None or facts is None:
            raise DataError(f"{listed}:{number}: expected '+1,6_3_20_1', got {line.strip()[:120]!r}")
        told.append(ToldLine(number, match[2], int(match[1]), facts.is_live))
        found += find(clips.get(match[2], place / f"{part}_files" / f"{match[2]}.avi"), facts)
    check_convention(listed, told, "live1")
    return PadList("oulu_npu", protocol, split, tuple(found))


def _oulu_list(place: Path, protocol: str, part: str) -> Path | None:
    """``Protocols/Protocol_1/Train.txt``, ``Protocols/Protocol_3/Train_1.txt``, or None."""
    kind, _, phone = protocol.partition(".")
    name = f"{part}_{phone}.txt" if phone else f"{part}.txt"
    path = place / "Protocols" / f"Protocol_{kind}" / name
    return path if path.is_file() else None


def _fasd(place: Path, protocol: str, split: str) -> PadList:
    clips = [c for subject in clip_paths(place / f"{split}_release") for c in clip_paths(subject)]
    return PadList("casia_fasd", protocol, split, scanned(place, clips, fasd_facts, _all))


def _replay(place: Path, protocol: str, split: str) -> PadList:
    part = place / ("devel" if split == "dev" else split)
    folders = (part / "real", part / "attack" / "fixed", part / "attack" / "hand")
    clips = [c for folder in folders for c in clip_paths(folder)]
    return PadList("replay_attack", protocol, split, scanned(place, clips, replay_facts, _all))


def _msu(place: Path, protocol: str, split: str) -> PadList:
    listed = place / f"{split}_sub_list.txt"
    wanted: set[int] = set()
    for number, line in enumerate(read_text(listed).split(), 1):
        if not re.fullmatch(r"[0-9]{1,3}", line):
            raise DataError(f"{listed}: word {number} is {line[:40]!r}, expected a subject's number")
        wanted.add(int(line))
    scene = place / "scene01" if (place / "scene01").is_dir() else place
    clips = [c for kind in ("real", "attack") for c in clip_paths(scene / kind)]
    samples = scanned(place, clips, msu_facts, lambda f, _: int(f.subject) in wanted)
    return PadList("msu_mfsd", protocol, split, samples)


def _all(facts: PadFacts, name: str) -> bool:
    """No clip is left out."""
    return True


def _oulu_counts() -> dict[str, dict[str, PadCounts]]:
    """Videos by rule: subjects 20 / 15 / 20, six phones, three sessions, one live and four attacks."""
    people = {"train": 20, "dev": 15, "test": 20}
    counts = {"all": {s: PadCounts(n * 90, live=n * 18) for s, n in people.items()}}
    for protocol in OULU_PROTOCOLS[:-1]:
        kind = protocol[0]
        counts[protocol] = {}
        for split, n in people.items():
            is_test = split == "test"
            sessions = (1 if is_test else 2) if kind in "14" else 3
            phones = (1 if is_test else 5) if kind in "34" else 6
            live = n * sessions * phones
            counts[protocol][split] = PadCounts(live * (1 + (2 if kind in "24" else 4)), live=live)
    return counts


OuluNpu = PadReader(
    "oulu_npu",
    "OULU-NPU: 4,950 videos of 55 people, six phones",
    "OULU_NPU",
    OULU_PROTOCOLS,
    ("train", "dev", "test"),
    lambda p: (p / "Train_files").is_dir() and (p / "Test_files").is_dir(),
    _oulu,
    _oulu_counts(),
)
"""OULU-NPU (root, protocol, split): by the authors' lists in ``Protocols``, else by `oulu_keeps`."""

CasiaFasd = PadReader(
    "casia_fasd",
    "CASIA-FASD: 600 clips of 50 people in three qualities",
    "CASIA_FASD",
    ("all",),
    ("train", "test"),
    lambda p: (p / "train_release").is_dir() and (p / "test_release").is_dir(),
    _fasd,
    {"all": {"train": PadCounts(240, live=60), "test": PadCounts(360, live=90)}},
)
"""CASIA-FASD (root, protocol, split): it has no dev split."""

ReplayAttack = PadReader(
    "replay_attack",
    "Replay-Attack: 1,200 clips of 50 people",
    "ReplayAttack",
    ("all",),
    ("train", "dev", "test"),
    lambda p: (p / "devel" / "attack" / "fixed").is_dir(),
    _replay,
    {"all": {"train": PadCounts(360), "dev": PadCounts(360), "test": PadCounts(480)}},
)
"""Replay-Attack (root, protocol, split): instruments print, mobile, highdef; fixed and hand-held."""

MsuMfsd = PadReader(
    "msu_mfsd",
    "MSU-MFSD: 280 clips of 35 people, laptop and Android phone",
    "MSU_MFSD",
    ("all",),
    ("train", "test"),
    lambda p: (p / "train_sub_list.txt").is_file() and (p / "test_sub_list.txt").is_file(),
    _msu,
    {"all": {"train": PadCounts(120, live=30), "test": PadCounts(160, live=40)}},
)
"""MSU-MFSD (root, protocol, split): it has no dev split."""
