"""Writes WebDataset shards from a folder of classes or people, or from a list of anti-spoofing samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.core import io
from mien.core.errors import ConfigError, DataError
from mien.core.images import SUFFIXES
from mien.core.seeds import derive
from mien.data.config import PadData
from mien.data.folder import class_folders
from mien.data.pad_images import MODALITIES
from mien.data.pad_sample import PadSample
from mien.data.pad_user_sets import user_lists
from mien.data.tar_samples import CLASSES, split_name

Said = Callable[[int, int], None]


@dataclass(frozen=True)
class Packed:
    """One sample to be written: its key, files by ending, and texts by ending."""

    key: str
    files: Mapping[str, Path]
    texts: Mapping[str, str]


def pack_folder(root: str | Path, output: Path, each: int = 2000, done: Said = lambda n, of: None) -> int:
    """Writes ``root/{train,val,test}/CLASS/*`` or ``root/CLASS/*`` (people likewise) as shards.

    Files are copied as they are: ``CLASS/NAME.jpg`` with ``CLASS/NAME.cls``, the place of the class in
    ``classes.txt``, which is written beside the shards. These are called ``train-000000.tar`` (without splits
    ``000000.tar``) and hold ``each`` samples in a random order, always the same one. The folder appears when
    all of it is there. O(bytes), memory O(files).

    Args:
        root: the folder.
        output: folder of the shards; it must not exist.
        each: samples of a shard.
        done: called with (written, all) samples.

    Returns:
        Number of samples.

    Raises:
        ConfigError: ``output`` exists.
        DataError: no class folders, a class without pictures, or a file that cannot be read.
    """
    place = Path(root).expanduser()
    if not place.is_dir():
        raise DataError(f"{place}: no such folder; check the path")
    classes, parts = class_folders(place)
    sets = {
        part: list(_keyed(place, [(name, k) for k, names in enumerate(groups) for name in names], bool(part)))
        for part, groups in parts.items()
    }
    return _write(sets, output, each, done, classes)


def pack_pad(data: PadData, output: Path, each: int = 2000, done: Said = lambda n, of: None) -> int:
    """Writes the samples of a user's anti-spoofing set, every frame of its lists, as shards.

    Files are copied as they are, as ``KEY.rgb.jpg``, ``KEY.depth.png``, ``KEY.ir.png``; ``KEY.json`` holds
    live, species, subject, device, video and frame. See `pack_folder`.

    Raises:
        ConfigError: ``output`` exists, or a sample lies in a clip, whose frames must be taken out first.
        DataError: see `mien.data.pad_user_sets.user_lists`.
    """
    lists = user_lists(data).items()
    sets = {part: [_pad_sample(s, i) for i, s in enumerate(pads.samples)] for part, pads in lists}
    return _write(sets, output, each, done)


def _pad_sample(sample: PadSample, number: int) -> Packed:
    files = {m: sample.images[m] for m in MODALITIES if m in sample.images}
    for path in files.values():
        if not path.name.lower().endswith(SUFFIXES):
            raise ConfigError(f"{path}: only pictures are packed; take the frames out of it first")
    known = {n: getattr(sample, n) for n in ("subject", "device")}
    facts = {
        "live": bool(sample.label_live),
        "species": sample.pai,
        **known,
        "video": sample.video_id,
        "frame": sample.frame,
    }
    named = {f"{m}{p.suffix.lower()}": p for m, p in files.items()}
    return Packed(f"{number:08d}", named, {"json": json.dumps({k: v for k, v in facts.items() if v != ""})})


def _keyed(root: Path, files: Iterable[tuple[str, int]], has_split: bool) -> Iterable[Packed]:
    """Samples ``CLASS/NAME`` of (path, class); a name that is no key of its own gets a number behind it."""
    taken: set[str] = set()
    for n, (name, label) in enumerate(files):
        inner = name.partition("/")[2] if has_split else name
        ending = Path(inner).suffix[1:].lower()
        key, found = split_name(inner)
        if found != ending:  # a dot in the name, where a key would end
            key = inner.rpartition(".")[0].replace(".", "_")
        if key in taken:
            key = f"{key}-{n}"
        taken.add(key)
        yield Packed(key, {ending: root / name}, {"cls": str(label)})


def _write(
    sets: Mapping[str, list[Packed]], output: Path, each: int, done: Said, classes: Iterable[str] = ()
) -> int:
    if output.exists():
        raise ConfigError(f"{output}: exists; choose another --output")
    if each < 1:
        raise ConfigError(f"{each} samples a shard; give 1 or more")
    total, written = sum(map(len, sets.values())), 0
    with io.new_folder(output) as folder:
        for part, samples in sets.items():
            order = np.random.default_rng(derive(0, "pack", part)).permutation(len(samples))
            for first in range(0, len(samples), each):
                name = "-".join(filter(None, (part, f"{first // each:06d}.tar")))
                chosen = [samples[int(i)] for i in order[first : first + each]]
                _write_shard(folder / name, chosen)
                written += len(chosen)
                done(written, total)
        if names := list(classes):
            io.write_text(folder / CLASSES, "".join(f"{name}\n" for name in names))
    return total


def _write_shard(path: Path, samples: Iterable[Packed]) -> None:
    import webdataset

    with path.open("wb") as stream:
        with webdataset.TarWriter(stream, user="mien", group="mien", mtime=0, encoder=False) as writer:
            for sample in samples:
                files = {ending: _bytes(file) for ending, file in sample.files.items()}
                texts = {ending: f"{text}\n".encode() for ending, text in sample.texts.items()}
                writer.write({"__key__": sample.key, **files, **texts})


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error}); complete the set") from None
