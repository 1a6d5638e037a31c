"""Lists of anti-spoofing samples, in two or four columns.

Sets disagree on what label 1 means, so a convention must be named, and is then compared with what the names
of the files say (real / fake / live / attack, or the naming scheme of a published set).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from mien.core.errors import ConfigError, DataError
from mien.core.images import SUFFIXES
from mien.core.io import read_text
from mien.data.lists import safe_name
from mien.data.pad_names import PadFacts, facts_of, is_live_by_name
from mien.data.pad_sample import CLIP_SUFFIXES, LIVE, MODALITIES, PadList, PadSample

Convention = Literal["live1", "live0"]
"""live1: live iff label > 0; live0: live iff label = 0."""
FOLDERS = {
    "rgb": ("color", "profile"),
    "depth": ("depth",),
    "ir": ("ir", "infrared"),
    "thermal": ("thermal",),
}
"""Names of the folders of a camera in the published sets."""
_CAMERA_FOLDERS = frozenset(folder for folders in FOLDERS.values() for folder in folders)
LABEL = re.compile(r"[+-]?[0-9]{1,9}")


@dataclass(frozen=True)
class ListedLine:
    """One line of a list: where it stands, its paths (one, or one of each camera) and its label."""

    number: int
    paths: tuple[str, ...]
    label: int


def load_pad_list(
    path: str | Path,
    convention: Convention,
    root: str | Path | None = None,
    *,
    name: str = "",
    protocol: str = "",
    split: str = "",
    siblings: bool = True,
    cameras: Sequence[str] = MODALITIES,
) -> PadList:
    """Reads a list of ``path label`` or ``rgb depth ir label`` lines.

    In two columns, a path may be a picture, a video, or the folder of a clip, of which all frames are taken;
    pictures of the other cameras lie beside the colour folder (``color`` or ``profile`` -> ``depth``, ``ir``,
    ``thermal``). Nothing is decoded, and files need not exist (`mien data check` says which are missing).

    Args:
        path: the list.
        convention: what its labels mean; there is no default, because sets disagree.
        root: folder that its paths start from; default the folder of the list.
        name: of the set; default the name of the file.
        protocol: of the set.
        split: "train", "dev" or "test".
        siblings: look for the other cameras of a colour path.
        cameras: keep only these.

    Raises:
        ConfigError: no such convention.
        DataError: a damaged line (file and line), a path that leaves ``root``, or labels that contradict the
            names of the files (three lines are shown).
    """
    path = Path(path)
    folder = path.parent if root is None else Path(root)
    lines = read_lines(path)
    told = [ToldLine(line.number, n := line.paths[0], line.label, is_live_by_name(n)) for line in lines]
    note = check_convention(path, told, convention)
    find = FrameFinder(siblings, cameras)
    samples: list[PadSample] = []
    for line in lines:
        facts = listed_facts(line.paths[0], is_live(line.label, convention))
        if len(line.paths) == 1:
            samples += find(folder / line.paths[0], facts)
        else:
            images = {m: folder / p for m, p in zip(MODALITIES, line.paths, strict=False) if m in cameras}
            samples.append(sample_of(images, facts, Path(line.paths[0]).stem))
    return PadList(name or path.stem, protocol, split, tuple(samples), note)


def is_live(label: int, convention: Convention) -> bool:
    """Whether a label means bona fide.

    Raises:
        ConfigError: no such convention.
    """
    if convention not in get_args(Convention):
        raise ConfigError(
            f"convention {convention!r} is none of live1 (live iff label > 0), live0 (iff label = 0)"
        )
    return label > 0 if convention == "live1" else label == 0


def read_lines(path: Path) -> list[ListedLine]:
    """The lines of a list, not yet interpreted.

    Raises:
        DataError: file and line of what is damaged; an empty list.
    """
    lines = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not (words := line.split()):
            continue
        where = f"{path}:{number}"
        if len(words) not in (2, 4) or not LABEL.fullmatch(words[-1]):
            raise DataError(
                f"{where}: expected 'path label' or 'rgb depth ir label', got {line.strip()[:120]!r}"
            )
        paths = tuple(safe_name(word, where) for word in words[:-1])
        lines.append(ListedLine(number, paths, int(words[-1])))
    if not lines:
        raise DataError(f"{path}: the list is empty; fetch it again")
    return lines


@dataclass(frozen=True)
class ToldLine:
    """What a list says of a file, and what its name says: bona fide, attack, or nothing (None)."""

    number: int
    name: str
    label: int
    told: bool | None


def check_convention(path: Path, lines: Sequence[ToldLine], convention: Convention) -> str:
    """Compares labels with what the names say; a note if no name says anything.

    Args:
        path: of the list, for the message.
        lines: all of it.
        convention: what the labels are said to mean.

    Raises:
        ConfigError: no such convention.
        DataError: a contradiction; shows three lines.
    """
    is_live(0, convention)
    known = [line for line in lines if line.told is not None]
    wrong = [line for line in known if line.told != is_live(line.label, convention)]
    if wrong:
        shown = "; ".join(f"line {w.number} '{w.name} {w.label}'" for w in wrong[:3])
        other = "live0" if convention == "live1" else "live1"
        advice = f"is it {other}?" if len(wrong) == len(known) else "mend the labels"
        raise DataError(
            f"{path}: {convention} contradicts the names of {len(wrong)} of {len(known)} lines: {shown};"
            f" {advice}"
        )
    return "" if known else f"{path.name}: no name says real or fake, so {convention} could not be verified"


def listed_facts(name: str, live: bool) -> PadFacts:
    """What the name of a listed file says, or, where it follows no known scheme, as much as its label says.

    Without a scheme, the frames of one presentation are known only by a camera's folder
    (``CLIP/color/1.jpg``); any other picture is a presentation of its own.
    """
    facts = facts_of(name)
    if facts is not None:
        return facts
    path = PurePosixPath(name)
    clip = path.parent if path.suffix.lower() in SUFFIXES else path
    if clip.name.lower() in _CAMERA_FOLDERS:
        path = clip.parent
    return PadFacts(LIVE if live else "attack", path.as_posix())


def sample_of(images: dict[str, Path], facts: PadFacts, frame: str) -> PadSample:
    """A sample of a presentation of which these facts are known."""
    return PadSample(
        images,
        int(facts.is_live),
        facts.pai,
        facts.subject,
        facts.device,
        facts.session,
        facts.scene,
        facts.video_id,
        frame,
    )


class FrameFinder:
    """Finds the frames of a presentation and the pictures of its other cameras; each folder is listed once.

    Args:
        siblings: look for other cameras beside the colour folder.
        cameras: keep only these.
    """

    def __init__(self, siblings: bool = True, cameras: Sequence[str] = MODALITIES) -> None:
        self.siblings, self.cameras = siblings, tuple(cameras)
        self._listed: dict[Path, dict[str, str]] = {}

    def __call__(self, path: Path, facts: PadFacts) -> list[PadSample]:
        """Samples of a picture, of a clip file, or of all pictures of a clip folder (by number).

        A folder that is missing or empty becomes one sample that names it, for the check to find.
        """
        suffix = path.suffix.lower()
        if suffix in CLIP_SUFFIXES:
            held = ("rgb",) if suffix not in (".hdf5", ".h5") else self.cameras
            return [sample_of({m: path for m in held if m in self.cameras}, facts, "")]
        if suffix in SUFFIXES:
            return self._frames(path.parent, [path.name], facts)
        for inner in FOLDERS["rgb"]:
            if self._names(path / inner):
                path = path / inner
                break
        names = sorted(self._names(path).values(), key=lambda n: (len(n), n))
        return self._frames(path, names, facts) if names else [sample_of({"rgb": path}, facts, "")]

    def _frames(self, folder: Path, names: Iterable[str], facts: PadFacts) -> list[PadSample]:
        camera = next((m for m, folders in FOLDERS.items() if folder.name.lower() in folders), "rgb")
        others = self._siblings(folder) if self.siblings and camera == "rgb" else {}
        samples = []
        for name in names:
            stem = Path(name).stem
            images = {camera: folder / name} | {
                m: beside / self._names(beside).get(stem, name) for m, beside in others.items()
            }
            kept = {m: p for m, p in images.items() if m in self.cameras}
            if kept:
                samples.append(sample_of(kept, facts, stem))
        return samples

    def _siblings(self, folder: Path) -> dict[str, Path]:
        """Camera -> its folder, of those beside a colour folder that hold pictures."""
        if folder.name.lower() not in FOLDERS["rgb"]:
            return {}
        found = {m: [folder.parent / n for n in FOLDERS[m]] for m in MODALITIES if m != "rgb"}
        return {
            m: next(f for f in fs if self._names(f)) for m, fs in found.items() if any(map(self._names, fs))
        }

    def _names(self, folder: Path) -> dict[str, str]:
        """Stem -> name of the pictures of a folder."""
        if folder not in self._listed:
            inside = sorted(folder.iterdir()) if folder.is_dir() else []
            self._listed[folder] = {
                p.stem: p.name for p in inside if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
            }
        return self._listed[folder]
