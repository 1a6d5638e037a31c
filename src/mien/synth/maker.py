"""Writes made sets: folders or WebDataset shards, resumable, the same whatever the number of workers.

A set in folders is ``<kind>/<identity>/<picture>.<ext>``; in shards the same samples lie in tar files of
whole identities. Both hold ``set.json`` (settings), ``sheet.png`` (contact sheet) and ``card.md``.
"""

from __future__ import annotations

import hashlib
import io as streams
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from mien.core import io
from mien.core.errors import ConfigError, DataError

VERSION = 2
Item = TypeVar("Item")
Result = TypeVar("Result")
_SHEET = 64
_SHARD = 2000  # samples of a shard, about


@dataclass(frozen=True)
class Sample:
    """One sample: its name within its identity, and its files by extension."""

    name: str
    files: dict[str, bytes]


class Kind(Protocol):
    """A frozen dataclass of settings with a name for their kind."""

    kind: ClassVar[str]


class MadeSet(Kind, Protocol):
    """Settings of a made set; a frozen dataclass.

    Attributes:
        kind: name of the set.
        identities: people.
        per_identity: samples of each.
        size: pixels a side (or height).
        seed: of the whole set.
        shown: extensions of the pictures for the contact sheet.
    """

    shown: ClassVar[tuple[str, ...]]

    @property
    def identities(self) -> int: ...  # noqa: D102

    @property
    def per_identity(self) -> int: ...  # noqa: D102

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def seed(self) -> int: ...  # noqa: D102

    def samples(self, number: int) -> Iterator[Sample]:
        """All samples of one identity, a function of the settings and the number alone."""
        ...

    def report(self, samples: Iterator[tuple[str, dict[str, bytes]]]) -> list[str]:
        """Lines for the card: what was measured on the whole set."""
        ...


class Unmeasured:
    """A set whose card has no figures of its own."""

    def report(self, samples: Iterator[tuple[str, dict[str, bytes]]]) -> list[str]:
        """Nothing is measured."""
        return []


def check_ranges(settings: Any, **ranges: tuple[float, float]) -> None:
    """Compares fields with ranges.

    Raises:
        ConfigError: a value outside its range.
    """
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise ConfigError(f"{name}={value} is outside [{low:g}, {high:g}]")


def png(image: NDArray[Any]) -> bytes:
    """A picture as PNG bytes: uint8 (H, W), (H, W, 3), or uint16 (H, W)."""
    out = streams.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def npz(**arrays: Any) -> bytes:
    """Arrays as a compressed npz."""
    out = streams.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def js(value: Any) -> bytes:
    """A value as JSON."""
    return (json.dumps(value, sort_keys=True) + "\n").encode()


def make(
    settings: MadeSet,
    output: Path,
    workers: int = 1,
    shards: bool = False,
    done: Callable[[int, int], None] = lambda n, of: None,
) -> Path:
    """Makes what is missing of a set. Disk O(samples size^2), memory O(per_identity size^2) a worker.

    Args:
        settings: the set.
        output: its folder; made if need be.
        workers: processes.
        shards: tar files instead of folders.
        done: called with (finished, all) identities.

    Raises:
        DataError: the folder holds something else, or a set made with other settings.
        MienError: the disk is full; finished folders and shards are whole, the same command goes on.
    """
    record = {"kind": settings.kind, "version": VERSION, "shards": shards, **asdict(settings)}  # type: ignore[call-overload]
    claim_folder(output, record)
    groups = _groups(settings) if shards else [range(n, n + 1) for n in range(settings.identities)]
    missing = [g for g in groups if not _place(settings, output, g, shards).exists()]
    finished = settings.identities - sum(map(len, missing))
    done(finished, settings.identities)
    work = partial(_write_shard if shards else _write_folder, settings, output)
    for count in run_all(work, missing, workers):
        finished += count
        done(finished, settings.identities)
    _finish(settings, output, shards)
    return output


def mark_of(settings: Kind, **more: object) -> str:
    """16 hex digits that name what is drawn: kind, settings, `VERSION`, and what a reader adds or overrides.

    Not of pixels: compilers for other processors round otherwise, and now and then a pixel differs by one.
    """
    record = {"version": VERSION, "kind": settings.kind, **more, **asdict(settings)}  # type: ignore[call-overload]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def claim_folder(output: Path, record: dict[str, Any]) -> None:
    """Writes the settings of a set to ``set.json``, or sees that they are those of what is there.

    Raises:
        DataError: the folder holds something else, or a set made with other settings.
    """
    told = output / "set.json"
    if told.is_file():
        if io.read_json(told) != json.loads(json.dumps(record)):
            raise DataError(f"{output}: holds a set of other settings ({told}); choose another --output")
    elif output.is_dir() and any(output.iterdir()):
        raise DataError(f"{output}: not empty and no made set; choose another --output")
    else:
        io.write_json(told, record)


def _groups(settings: MadeSet) -> list[range]:
    """The people of each shard; a set of large samples says itself how many (``shard_people``)."""
    each = getattr(settings, "shard_people", 0) or max(1, _SHARD // settings.per_identity)
    return [range(a, min(a + each, settings.identities)) for a in range(0, settings.identities, each)]


def _place(settings: MadeSet, output: Path, group: range, shards: bool) -> Path:
    if shards:
        return output / f"{settings.kind}-{group.start:06d}-{group.stop - 1:06d}.tar"
    return output / settings.kind / f"{group.start:06d}"


def run_all(work: Callable[[Item], Result], items: list[Item], workers: int) -> Iterator[Result]:
    """What ``work`` makes of each item, in order, by several processes.

    Raises:
        DataError: a worker was killed.
    """
    if workers <= 1 or len(items) <= 1:
        with threadpool_limits(1):  # small products: threads of BLAS would only wait for each other
            yield from map(work, items)
        return
    count, context = min(workers, len(items)), get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=threadpool_limits, initargs=(1,)) as pool:
        try:
            yield from pool.map(work, items)
        except BrokenProcessPool as error:
            raise DataError(
                "a worker was killed (out of memory?); the same command goes on where it stopped, --workers 1"
                " needs the least"
            ) from error


def _write_folder(settings: MadeSet, output: Path, group: range) -> int:
    """All samples of one identity, under a temporary name until they are complete."""
    place = _place(settings, output, group, False)
    with io.new_folder(place) as folder:
        for sample in settings.samples(group.start):
            for ext, data in sample.files.items():
                (folder / f"{sample.name}.{ext}").write_bytes(data)
    return 1


def _write_shard(settings: MadeSet, output: Path, group: range) -> int:
    """The samples of some identities as one WebDataset tar, under a temporary name until it is complete."""
    import webdataset

    with io.new_file(_place(settings, output, group, True)) as part, part.open("wb") as stream:
        with webdataset.TarWriter(stream, user="mien", group="mien", mtime=0.0, encoder=False) as writer:
            for number in group:
                for sample in settings.samples(number):
                    writer.write({"__key__": f"{number:06d}/{sample.name}", **sample.files})
    return len(group)


def read_samples(output: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Samples of a made set in order: ``identity/picture`` and files by extension; folders or shards.

    Raises:
        DataError: no made set there.
    """
    told = output / "set.json"
    if not told.is_file():
        raise DataError(f"{output}: no made set (set.json is missing); mien data make writes one")
    record = io.read_json(told)
    if not record["shards"]:
        for folder in sorted((output / record["kind"]).iterdir()):
            if folder.name.isdigit():
                yield from _grouped(
                    (f"{folder.name}/{f.name}", f.read_bytes()) for f in sorted(folder.iterdir())
                )
        return
    import tarfile

    for path in sorted(output.glob(f"{record['kind']}-*.tar")):
        with tarfile.open(path) as tar:
            files = ((m.name, tar.extractfile(m)) for m in tar if m.isfile())
            yield from _grouped((name, stream.read()) for name, stream in files if stream is not None)


def _grouped(files: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Files with the same name up to the first dot of their last part."""
    key, own = "", dict[str, bytes]()
    for name, data in files:
        stem, _, ext = name.rpartition("/")[2].partition(".")
        full = f"{name.rpartition('/')[0]}/{stem}"
        if full != key and own:
            yield key, own
            own = {}
        key = full
        own[ext] = data
    if own:
        yield key, own


def _finish(settings: MadeSet, output: Path, shards: bool) -> None:
    """Contact sheet (at most 64 samples of the first identities) and card."""
    from mien.synth.sheet import contact_sheet

    each = max(1, min(settings.per_identity, _SHEET // min(settings.identities, _SHEET)))
    pictures: list[NDArray[np.uint8]] = []
    taken: dict[str, int] = {}
    for key, files in read_samples(output):
        who = key.split("/")[0]
        if len(pictures) >= _SHEET * len(settings.shown):
            break
        if taken.get(who, 0) >= each:
            continue
        taken[who] = taken.get(who, 0) + 1
        pictures += [_thumb(files[ext]) for ext in settings.shown if ext in files]
    columns = len(settings.shown) * max(1, 8 // len(settings.shown))
    with io.new_file(output / "sheet.png") as part:
        Image.fromarray(contact_sheet(pictures, columns)).save(part, format="png")
    count = settings.identities * settings.per_identity
    lines = (
        f"# Made set: {settings.kind}\n",
        f"{settings.identities:,} identities, {count:,} samples of {settings.size} pixels,"
        f" seed {settings.seed}, {'WebDataset shards' if shards else 'folders'}.",
        "Rendered by mien from the CC0 MakeHuman / MPFB2 human: adults, no real person.\n",
        "They look like characters of a video game. Numbers measured on them say how an algorithm works, not",
        "how it does on photographs.\n",
        *settings.report(read_samples(output)),
        "Files of a sample: " + ", ".join(sorted(_extensions(output))) + "; settings: set.json.\n",
    )
    io.write_text(output / "card.md", "\n".join(lines))


def _extensions(output: Path) -> set[str]:
    return set(next(iter(read_samples(output)))[1])


def _thumb(data: bytes) -> NDArray[np.uint8]:
    image = Image.open(streams.BytesIO(data)).convert("RGB")
    if max(image.size) > 256:
        image.thumbnail((256, 256))
    return np.asarray(image)
