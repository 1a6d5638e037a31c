"""What all readers of anti-spoofing sets share: protocols, what their authors count, how they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mien.core.errors import ConfigError, DataError
from mien.data.pad_lists import (
    Convention,
    FrameFinder,
    ListedLine,
    ToldLine,
    check_convention,
    read_lines,
    sample_of,
)
from mien.data.pad_names import PadFacts
from mien.data.pad_sample import CLIP_SUFFIXES, MODALITIES, PadList, PadSample


@dataclass(frozen=True)
class PadCounts:
    """What the authors of a set count in one split; None where they do not say."""

    videos: int | None = None
    images: int | None = None
    live: int | None = None
    """Bona fide presentations, or, where only images are counted, bona fide images."""


@dataclass(frozen=True)
class PadReader:
    """A published set: call it with (root, protocol, split) for its `PadList`.

    Attributes:
        name: as ``mien data list`` has it.
        title: what it is.
        folder: the set's own folder, which ``root`` is or holds.
        protocols: names of its protocols, the default first.
        splits: of "train", "dev", "test", those it has.
        is_there: whether a folder holds the set.
        read: the reader proper.
        expected: protocol -> split -> what its authors count.
        shares: protocols whose splits share subjects by design of the authors.
    """

    name: str
    title: str
    folder: str
    protocols: tuple[str, ...]
    splits: tuple[str, ...]
    is_there: Callable[[Path], bool]
    read: Callable[[Path, str, str], PadList]
    expected: Mapping[str, Mapping[str, PadCounts]]
    shares: tuple[str, ...] = ()

    def __call__(self, root: str | Path, protocol: str | None = None, split: str = "train") -> PadList:
        """The samples of one split. Lists and folders are read, no picture is decoded.

        Args:
            root: the set's folder, or the one that holds it.
            protocol: one of ``protocols``; default the first.
            split: one of ``splits``.

        Raises:
            ConfigError: no such protocol or split.
            DataError: lists or folders are missing, damaged, or contradict the names of the files.
        """
        protocol = protocol or self.protocols[0]
        for what, value, known in (("protocol", protocol, self.protocols), ("split", split, self.splits)):
            if value not in known:
                raise ConfigError(f"{self.name}: no {what} {value!r}; there are {', '.join(known)}")
        place = self.place(Path(root))
        if not place.is_dir():
            raise DataError(f"{place}: no such folder; give the one of {self.title}")
        found = self.read(place, protocol, split)
        if not found.samples:
            raise DataError(f"{place}: no samples of {self.name} {protocol} {split} there; complete the set")
        return found

    def place(self, root: Path) -> Path:
        """The set's own folder: ``root``, or the one of its name in there."""
        inner = root / self.folder
        return inner if self.folder and inner.is_dir() else root


def read_official(
    place: Path,
    listed: Path,
    folder: str,
    parse: Callable[[str], PadFacts | None],
    *,
    siblings: bool = True,
    convention: Convention = "live0",
) -> tuple[PadSample, ...]:
    """The samples of a list of the set's authors, whose names must all follow the set's scheme.

    Args:
        place: the set's own folder.
        listed: the list.
        folder: name of that folder, with which the listed paths begin (and which the copy may lack).
        parse: reads the names.
        siblings: look for the other cameras of a colour path.
        convention: what its labels mean.

    Raises:
        DataError: a damaged line, a name of another scheme, or a label that contradicts its name.
    """
    known: list[tuple[ListedLine, PadFacts]] = []
    for line in read_lines(listed):
        if (facts := parse(line.paths[0])) is None:
            raise DataError(f"{listed}:{line.number}: {line.paths[0][:120]!r} is no name of this set")
        known.append((line, facts))
    told = [ToldLine(line.number, line.paths[0], line.label, facts.is_live) for line, facts in known]
    check_convention(listed, told, convention)
    find, samples = FrameFinder(siblings), list[PadSample]()
    for line, facts in known:
        paths = [place / p.removeprefix(f"{folder}/") for p in line.paths]
        if len(paths) == 1:
            samples += find(paths[0], facts)
        else:
            samples.append(sample_of(dict(zip(MODALITIES, paths, strict=False)), facts, paths[0].stem))
    return tuple(samples)


def clip_paths(folder: Path) -> list[Path]:
    """Presentations in a folder, sorted: folders of frames, and clip files without such a folder."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    inside = [p for p in inside if not p.name.startswith(".")]
    folders = {p.name for p in inside if p.is_dir()}
    return [
        p
        for p in inside
        if p.name in folders or (p.suffix.lower() in CLIP_SUFFIXES and p.stem not in folders)
    ]


def scanned(
    place: Path,
    clips: list[Path],
    parse: Callable[[str], PadFacts | None],
    keep: Callable[[PadFacts, str], bool],
) -> tuple[PadSample, ...]:
    """The samples of clips whose names follow the set's scheme and that a rule keeps.

    Args:
        place: the set's own folder; names are read relative to it.
        clips: files or folders.
        parse: reads the names.
        keep: (facts, name) -> whether the protocol has it.
    """
    find, samples = FrameFinder(), list[PadSample]()
    for clip in clips:
        name = clip.relative_to(place).as_posix()
        facts = parse(name)
        if facts is not None and keep(facts, name):
            samples += find(clip, facts)
    return tuple(samples)
