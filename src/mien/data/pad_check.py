"""Is a copy of an anti-spoofing set whole, and does nothing leak from training into the test?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, MienError, MissingPackageError
from mien.core.images import read_image
from mien.data.check import CheckReport, Problems, one_line
from mien.data.labelled import spread
from mien.data.pad_csv import PadCsv
from mien.data.pad_lists import Convention, load_pad_list
from mien.data.pad_modalities import modality_problems, read_depth, read_ir, read_rgb
from mien.data.pad_near import average_hash, near_pairs
from mien.data.pad_protocols import PAD_READERS
from mien.data.pad_reader import PadCounts
from mien.data.pad_sample import CLIP_SUFFIXES, PadList, PadSample

PAD_KINDS = (*PAD_READERS, "pad_list", "pad_csv")
_LOOKED_AT = 4000  # presentations of a split whose first frame is compared


def guess_pad_kind(path: Path) -> str | None:
    """Which anti-spoofing set lies at a path (or in the folder of its name there), or None."""
    if not path.is_dir():
        return "pad_csv" if path.suffix.lower() == ".csv" else None
    return next((name for name, reader in PAD_READERS.items() if reader.is_there(reader.place(path))), None)


def check_pad(
    kind: str, path: Path, decode: bool = True, convention: Convention | None = None
) -> CheckReport:
    """Reads a set by all its protocols and audits it.

    Problems: missing files; one class only; the same file or the same bytes in two splits, or a file twice in
    one; subjects in two splits; pictures that do not decode; cameras that do not hold what their name says.
    Noted: counts other than the authors' (a made set has its own), lists that are not there, near-duplicate
    frames in two splits. Time O(bytes + V^2) for V <= 4000 presentations of a split, memory O(frames).

    Args:
        kind: one of `PAD_KINDS`.
        path: of the set, list or table.
        decode: also read the files; otherwise only see that they exist.
        convention: what the labels of a list or table mean; needed for these two.
    """
    problems, notes = Problems(), list[str]()
    shown: dict[str, dict[str, int]] = {}
    audit, made = _Audit(problems, notes, decode), is_made_set(path)
    try:
        protocols = _protocols(kind, path, convention, notes)
    except DataError as error:
        return CheckReport(kind, one_line(str(path)), {}, (one_line(str(error)),), ())
    for protocol, lists in protocols.items():
        for split, pads in lists.items():
            shown[f"{protocol} {split}".strip()] = pad_summary(pads)
            audit.look_at(pads)
            expected = PAD_READERS[kind].expected.get(protocol, {}) if kind in PAD_READERS else {}
            notes += [] if made else count_notes(pads, expected.get(split))
        audit_splits(lists, problems, by_design=kind in PAD_READERS and protocol in PAD_READERS[kind].shares)
    if not protocols:
        problems.add(f"{path}: none of its protocols can be read; complete the set")
    audit.finish(protocols)
    lines = tuple(dict.fromkeys(map(one_line, filter(None, notes))))
    return CheckReport(kind, one_line(str(path)), shown, problems.lines(), lines)


def is_made_set(path: Path) -> bool:
    """Whether a set, or what holds its folder, was written by ``mien data make`` (``set.json``)."""
    return any((place / "set.json").is_file() for place in (path, path.resolve().parent))


def _protocols(
    kind: str, path: Path, convention: Convention | None, notes: list[str]
) -> dict[str, dict[str, PadList]]:
    """Protocol -> split -> list, of all that can be read; what cannot becomes a note, if anything can."""
    if kind in PAD_READERS:
        return _published(kind, path, notes)
    if convention is None:
        raise DataError(f"{path}: give --convention live1 (live iff label > 0) or live0 (live iff label = 0)")
    if kind == "pad_list":
        pads = load_pad_list(path, convention)
        return {"": {pads.split or "all": pads}}
    whole = PadCsv(path, convention)
    return {"": _csv_splits(path, convention, whole)}


def _csv_splits(path: Path, convention: Convention, whole: PadList) -> dict[str, PadList]:
    found: dict[str, PadList] = {}
    for split in ("train", "dev", "test"):
        try:
            found[split] = PadCsv(path, convention, split)
        except DataError:  # no rows of this split
            continue
    known = sum(map(len, found.values()))
    return found if known == len(whole) and len(found) > 1 else {"all": whole}


def _published(kind: str, path: Path, notes: list[str]) -> dict[str, dict[str, PadList]]:
    reader, out, refused = PAD_READERS[kind], dict[str, dict[str, PadList]](), list[str]()
    for protocol in reader.protocols:
        lists: dict[str, PadList] = {}
        for split in reader.splits:
            try:
                lists[split] = reader(path, protocol, split)
            except DataError as error:
                refused.append(f"{protocol} {split}: {error}")
        if lists:
            out[protocol] = lists
    if not out:
        raise DataError(refused[0])
    notes += [f"not read: {text}" for text in refused]
    for lists in out.values():
        notes += [pads.note for pads in lists.values()]
    return out


def pad_summary(pads: PadList) -> dict[str, int]:
    """Numbers of one split, as in `CheckReport.splits`: frames, videos, live and attack videos, subjects."""
    kinds = pads.species(videos=True)
    live, videos = kinds.pop("live", 0), len(set(pads.video_ids))
    return {
        "frames": len(pads),
        "videos": videos,
        "live": live,
        "attack": sum(kinds.values()),
        "species": len(kinds),
        "subjects": len(pads.subjects),
    }


def count_notes(pads: PadList, expected: PadCounts | None) -> list[str]:
    """A note for each number that is not the authors' own."""
    if expected is None:
        return []
    found = pad_summary(pads)
    live = found["live"] if expected.videos is not None else int(pads.live.sum())
    # A split that holds one sample for each video file has no count of images.
    has_frames = found["frames"] > found["videos"] or expected.videos is None
    pairs = (
        ("videos", found["videos"], expected.videos),
        ("images", found["frames"], expected.images if has_frames else None),
        ("live", live, expected.live),
    )
    return [
        f"{pads.protocol} {pads.split}: {n:,} {what}, its authors count {wanted:,}:"
        f" looks like a {'partial copy' if n < wanted else 'different set'}"
        for what, n, wanted in pairs
        if wanted is not None and n != wanted
    ]


def audit_splits(lists: Mapping[str, PadList], problems: Problems, *, by_design: bool = False) -> None:
    """Within one protocol: both classes are there, no file is listed twice, no file or subject in two splits.

    O(N log N).

    Args:
        lists: split -> its list.
        problems: what is found goes there.
        by_design: the splits share subjects by design of the authors; that is no problem then.
    """
    files: dict[str, dict[Path, str]] = {}
    for split, pads in lists.items():
        where = f"{pads.name} {pads.protocol} {split}".replace("  ", " ")
        is_part = split.startswith("test_wmca_")  # attacks only, by design of the benchmark
        if len(kinds := set(pads.live.tolist())) == 1 and not is_part:
            problems.add(
                f"{where}: all {len(pads)} samples are {'live' if True in kinds else 'attacks'}; give both"
            )
        keys = [(p, s.frame) for s in pads.samples for p in dict.fromkeys(s.images.values())]
        twice = [str(p) for (p, _), n in _counted(keys).items() if n > 1]
        if twice:
            problems.add(f"{where}: {twice[0]} is listed twice ({len(twice)} files are)")
        files[split] = {p: s.video_id for s in pads.samples for p in s.images.values()}
    for (a, first), (b, second) in combinations(lists.items(), 2):
        if not _are_apart(a, b):
            continue
        name = f"{first.name} {first.protocol}".strip()
        if shared := [p for p in files[b] if p in files[a]]:
            problems.add(f"{name}: {shared[0]} is in {a} and in {b} ({len(shared)} files are)")
        if not by_design and (people := sorted(set(first.subjects) & set(second.subjects))):
            some = ", ".join(people[:5]) + (" .." if len(people) > 5 else "")
            problems.add(f"{name}: {len(people)} subjects are in {a} and in {b}: {some}")


def _are_apart(a: str, b: str) -> bool:
    """Cross tests of the flexible benchmark are parts of one another; all other splits must be disjoint."""
    return not (a.startswith("test") and b.startswith("test"))


def _counted(keys: Sequence[Any]) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return counts


@dataclass
class _Audit:
    """Looks at each file of a set once, however many protocols list it."""

    problems: Problems
    notes: list[str]
    decode: bool

    def __post_init__(self) -> None:
        self.samples: dict[Path, PadSample] = {}
        self.missing: list[Path] = []
        self.digests: dict[Path, bytes] = {}
        self.hashes: dict[Path, NDArray[np.uint64] | None] = {}

    def look_at(self, pads: PadList) -> None:
        """The files of a list that no earlier one had."""
        for sample in pads.samples:
            for modality, path in sample.images.items():
                if path in self.samples:
                    continue
                self.samples[path] = sample
                if not path.is_file():
                    self.missing.append(path)
                elif self.decode:
                    self._read(path, modality)

    def _read(self, path: Path, modality: str) -> None:
        try:
            self.digests[path] = _digest(path)
            if path.suffix.lower() in CLIP_SUFFIXES:
                read_rgb(path)
            elif path.suffix.lower() in (".npy", ".npz"):
                read_depth(path) if modality == "depth" else read_ir(path, modality=modality)
            else:
                read_image(path)
        except MissingPackageError as error:
            self.notes.append(f"{path.suffix} files were not opened: {error}")
        except MienError as error:
            self.digests.pop(path, None)
            self.problems.add(str(error))
        except OSError as error:
            self.problems.add(f"{path}: cannot read ({error.strerror or error})")

    def finish(self, protocols: Mapping[str, Mapping[str, PadList]]) -> None:
        """What is told only after all lists were seen."""
        if self.missing:
            some = ", ".join(map(str, self.missing[:3]))
            self.problems.add(f"{len(self.missing)} of {len(self.samples)} files are missing: {some}")
        if not self.decode:
            return
        for lists in protocols.values():
            for (a, first), (b, second) in combinations(lists.items(), 2):
                if _are_apart(a, b):
                    self._same_bytes(first, second)
                    self._near(first, second)
        whole = list({id(s): s for s in self.samples.values() if self._is_whole(s)}.values())
        try:
            for text in modality_problems(whole):
                self.problems.add(text)
        except MissingPackageError as error:
            self.notes.append(str(error))
        except MienError as error:
            self.problems.add(str(error))

    def _is_whole(self, sample: PadSample) -> bool:
        return all(p in self.digests for p in sample.images.values())

    def _same_bytes(self, first: PadList, second: PadList) -> None:
        known = {self.digests[p]: p for p in _files(first) if p in self.digests}
        pairs = [(known[d], p) for p in _files(second) if (d := self.digests.get(p)) in known]
        different = [(a, b) for a, b in pairs if a != b]  # the same file in both was reported by name
        if different:
            a, b = different[0]
            name = f"{first.name} {first.protocol}".strip()
            self.problems.add(
                f"{name}: {b} of {second.split} has the same bytes as {a} of {first.split}"
                f" ({len(different)} files have)"
            )

    def _near(self, first: PadList, second: PadList) -> None:
        """Presentations whose first frames look alike, in the notes."""
        try:
            one, two = self._hashes(first), self._hashes(second)
        except MissingPackageError as error:
            self.notes.append(f"near-duplicates were not looked for: {error}")
            return
        found = (
            near_pairs(np.array([h for _, h in one]), np.array([h for _, h in two])) if one and two else []
        )
        found = [(i, j) for i, j in found if self.digests[one[i][0]] != self.digests[two[j][0]]]
        if found:
            i, j = found[0]
            self.notes.append(
                f"{first.protocol}: {len(found)} pairs of frames of {first.split} and {second.split} look"
                f" alike, e.g. {one[i][0]} and {two[j][0]}"
            )

    def _hashes(self, pads: PadList) -> list[tuple[Path, NDArray[np.uint64]]]:
        firsts = list({s.video_id: s for s in reversed(pads.samples) if "rgb" in s.images}.values())
        out = []
        for i in spread(len(firsts), _LOOKED_AT) if firsts else ():
            sample = firsts[int(i)]
            path = sample.images["rgb"]
            if path not in self.digests:
                continue
            if path not in self.hashes:
                self.hashes[path] = self._hash(path, sample.frame)
            if (code := self.hashes[path]) is not None:
                out.append((path, code))
        return out

    @staticmethod
    def _hash(path: Path, frame: str) -> NDArray[np.uint64] | None:
        try:
            return average_hash(read_rgb(path, frame))
        except MissingPackageError:
            raise
        except MienError:  # another frame than the first, which was read
            return None


def _files(pads: PadList) -> Iterator[Path]:
    """The colour files (or what a sample has instead): depth maps without a return are all alike."""
    return iter(dict.fromkeys(next(iter(s.images.values())) for s in pads.samples))


def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest()
