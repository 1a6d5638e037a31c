"""CASIA's sets of many cameras: SURF, CeFA and HiFiMask, and the flexible-modal benchmark.

The authors' lists (``protocol/CASIA_<SET>@<protocol>_{image,video}_<split>.txt``: colour path and label, 0
live) are read where they lie beside the data. Without them SURF and CeFA are read from their folders by rule;
the rules give the numbers of videos that the authors count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mien.core.errors import DataError
from mien.data.pad_lists import load_pad_list
from mien.data.pad_names import PadFacts, cefa_facts, hifimask_facts, surf_facts
from mien.data.pad_reader import PadCounts, PadReader, clip_paths, read_official, scanned
from mien.data.pad_sample import LIVE, PadList, PadSample

Parse = Callable[[str], "PadFacts | None"]
_SURF_PARTS = {"train": "Training", "dev": "Val", "test": "Testing"}
_SURF_TYPES = {"train": ("04", "05", "06"), "dev": ("01", "02", "03"), "test": ("01", "02", "03")}
_RACES = {"1": "AF", "3": "CA", "5": "EA"}
_IDS = {"train": range(0, 200), "dev": range(200, 300), "test": range(300, 500)}
"""CeFA: subjects of each ethnicity in each split."""
CEFA_PROTOCOLS = ("p1.1", "p1.3", "p1.5", "p2.1", "p2.2", "p3", "p4.1", "p4.3", "p4.5", "all")
_CROSS = ("print", "replay", "glasses", "fakehead", "rigidmask", "flexiblemask", "papermask")
_FLEXIBLE = {"1": ("rgb",), "2": ("rgb", "depth"), "3": ("rgb", "ir"), "4": ("rgb", "depth", "ir")}


def _official(
    place: Path, folder: str, protocol: str, split: str, parse: Parse, siblings: bool = True
) -> tuple[PadSample, ...] | None:
    """The authors' list of images, else that of videos, else None."""
    for kind in ("image", "video"):
        listed = place / "protocol" / f"{folder}@{protocol}_{kind}_{split}.txt"
        if listed.is_file():
            return read_official(place, listed, folder, parse, siblings=siblings)
    return None


def _surf(place: Path, protocol: str, split: str) -> PadList:
    samples = _official(place, "CASIA_SURF", protocol, split, surf_facts)
    if samples is None:
        part = place / "Data" / _SURF_PARTS[split]
        subjects = [s for kind in ("real_part", "fake_part") for s in clip_paths(part / kind)]
        clips = [c for s in subjects for c in clip_paths(s)]

        def keep(facts: PadFacts, _: str) -> bool:
            return facts.pai == LIVE or facts.pai[:2] in _SURF_TYPES[split]

        samples = scanned(place, clips, surf_facts, keep)
    return PadList("casia_surf", protocol, split, samples)


def cefa_keeps(facts: PadFacts, protocol: str, split: str) -> bool:
    """Whether a protocol of CeFA has this presentation, by the subject's number, ethnicity and instrument.

    p1.x trains on one ethnicity and tests on the two others; p2.1 trains on cloth and tests on screens, p2.2
    the other way round; p4.x trains on one ethnicity's screens and tests on cloth of the two others. All test
    on masks. "all" is every video, with the same subjects in each split.
    """
    if facts.pai.endswith("_mask"):
        return split == "test"
    race, _, number = facts.subject.partition("-")
    if int(number) not in _IDS[split]:
        return False
    kind, _, sub = protocol.partition(".")
    is_test = split == "test"
    if kind in ("p1", "p4") and (race == _RACES[sub]) == is_test:
        return False
    if kind in ("p2", "p4") and facts.pai != LIVE:
        trains_on_cloth = protocol == "p2.1"
        return facts.pai == ("cloth" if trains_on_cloth != is_test else "screen")
    return True


def _cefa(place: Path, protocol: str, split: str) -> PadList:
    cross_modal = protocol == "p3"
    samples = _official(place, "CASIA_CeFA", protocol, split, cefa_facts, siblings=not cross_modal)
    if samples is None and cross_modal:
        raise DataError(
            f"{place / 'protocol'}: no CASIA_CeFA@p3_image_{split}.txt; p3 is defined by its lists"
        )
    if samples is None:
        groups = [place / "Ethnicity" / race for race in _RACES.values()]
        groups += [place / "Mask" / f"{kind}-Mask" for kind in ("3D", "Silicone")]
        clips = [c for group in groups for subject in clip_paths(group) for c in clip_paths(subject)]
        samples = scanned(place, clips, cefa_facts, lambda f, _: cefa_keeps(f, protocol, split))
    note = "one camera a sample: each listed file is a sample of its own" if cross_modal else ""
    return PadList("casia_cefa", protocol, split, samples, note)


def _hifimask(place: Path, protocol: str, split: str) -> PadList:
    samples = _official(place, "CASIA_HiFiMask", protocol, split, hifimask_facts)
    if samples is None:
        listed = place / "protocol" / f"CASIA_HiFiMask@{protocol}_video_{split}.txt"
        raise DataError(f"{listed}: no such file; put the authors' list there")
    return PadList("casia_hifimask", protocol, split, samples)


def flexible_list(place: Path, split: str) -> Path:
    """The list of a split; "test_wmca" is the cross test, "test_wmca_print" .. one attack of it."""
    if split.startswith("test_wmca"):
        name = f"WMCA_test{split.removeprefix('test_wmca')}.txt"
    else:
        name = f"CASIA-SURF_CeFA_{'val' if split == 'dev' else split}.txt"
    inner = place / "FlexModal_Protocols" / name
    return inner if inner.is_file() else place / name


def _flexible(place: Path, protocol: str, split: str) -> PadList:
    cameras = _FLEXIBLE["4" if split == "train" else protocol]
    listed = flexible_list(place, split)
    pads = load_pad_list(
        listed, "live1", place, name="flexible_modal", protocol=protocol, split=split, cameras=cameras
    )
    is_part = split.startswith("test_wmca_") and not pads.live.any()
    return replace(pads, note="attacks only: its live frames are those of test_wmca") if is_part else pads


def _cefa_counts() -> dict[str, dict[str, PadCounts]]:
    """Videos in train / dev / test, as the authors' readme has them; live ones follow from the rule."""
    numbers: dict[str, tuple[int, int, int]] = {
        **dict.fromkeys(("p1.1", "p1.3", "p1.5"), (800, 400, 2_723)),
        "p2.1": (1_800, 900, 2_323),
        "p2.2": (1_200, 600, 2_923),
        **dict.fromkeys(("p4.1", "p4.3", "p4.5"), (400, 200, 2_323)),
    }
    return {p: dict(zip(_IDS, map(PadCounts, n), strict=True)) for p, n in numbers.items()}


_FLEXIBLE_COUNTS = {
    "train": PadCounts(images=11_097, live=2_100),
    "dev": PadCounts(images=4_501),
    "test": PadCounts(images=19_303),
    "test_wmca": PadCounts(images=5_037, live=1_041),
}

CasiaSurf = PadReader(
    "casia_surf",
    "CASIA-SURF: colour, depth and infrared; unknown attacks at test",
    "CASIA_SURF",
    ("p1",),
    ("train", "dev", "test"),
    lambda p: (p / "Data" / "Training" / "real_part").is_dir() or any(p.glob("protocol/CASIA_SURF@*.txt")),
    _surf,
    {
        "p1": {
            "train": PadCounts(1_200, 29_266, 300),
            "dev": PadCounts(400, 9_608, 100),
            "test": PadCounts(2_391, 57_710),
        }
    },
)
"""CASIA-SURF (root, protocol, split): 300 / 100 / 600 subjects; see `PadReader`."""

Cefa = PadReader(
    "casia_cefa",
    "CASIA-SURF CeFA: three ethnicities, masks; colour, depth and infrared",
    "CASIA_CeFA",
    CEFA_PROTOCOLS,
    ("train", "dev", "test"),
    lambda p: (p / "Ethnicity").is_dir() or any(p.glob("protocol/CASIA_CeFA@*.txt")),
    _cefa,
    _cefa_counts(),
)
"""CeFA (root, protocol, split): see `cefa_keeps`; p3 (cross-modality) needs the authors' lists."""

HiFiMask = PadReader(
    "casia_hifimask",
    "CASIA-SURF HiFiMask: 225 masks of three materials, colour",
    "CASIA_HiFiMask",
    ("p1", "p2.1", "p2.2", "p2.3", "p3"),
    ("train", "dev", "test"),
    lambda p: any(p.glob("protocol/CASIA_HiFiMask@*.txt")),
    _hifimask,
    {
        "p1": {"train": PadCounts(32_514), "dev": PadCounts(4_347), "test": PadCounts(17_362)},
        "p2.1": {"train": PadCounts(24_423), "dev": PadCounts(3_264), "test": PadCounts(8_661)},
        "p2.2": {"train": PadCounts(24_372), "dev": PadCounts(3_258), "test": PadCounts(8_685)},
        "p2.3": {"train": PadCounts(24_341), "dev": PadCounts(3_256), "test": PadCounts(8_686)},
        "p3": {"train": PadCounts(3_715), "dev": PadCounts(536), "test": PadCounts(17_362)},
    },
)
"""HiFiMask (root, protocol, split): the authors' lists are needed; P2.x leaves a material of mask out."""

FlexibleModal = PadReader(
    "flexible_modal",
    "flexible-modal benchmark: lists of SURF, CeFA and WMCA frames",
    "",
    ("4", "1", "2", "3"),
    ("train", "dev", "test", "test_wmca", *(f"test_wmca_{attack}" for attack in _CROSS)),
    lambda p: flexible_list(p, "train").is_file(),
    _flexible,
    dict.fromkeys(_FLEXIBLE, _FLEXIBLE_COUNTS),
)
"""Flexible-modal benchmark (root, protocol, split): one model for all cameras that a test may have.

Protocols name the cameras at test: 1 colour; 2 and depth; 3 and infrared; 4 all three. Training has all.
"""
