"""Does a user's copy of a set hold what it should? Reads all of it and lists what is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.core.errors import DataError, MienError
from mien.core.images import SUFFIXES, read_image
from mien.data import cifar, idx, jsonform
from mien.data.config import ClassificationData
from mien.data.labelled import ArrayImages, FileImages, LabelledImages, Splits
from mien.data.longtail import longtail_counts
from mien.data.readers import read_splits

MAX_PROBLEMS = 100
PARTS = ("train", "val", "test")
_PUBLISHED: dict[str, dict[str, int]] = {
    "imagenet_lt": {"train": 115_846, "val": 20_000, "test": 50_000},
    "places_lt": {"train": 62_500, "val": 7_300, "test": 36_500},
    "inat2018": {"train+val": 437_513, "test": 24_426},
}
"""Images of the published sets; "train+val" where validation images are held out of the training file."""
_SIGNS = (
    ("imagenet_lt", ("ImageNet_LT_train.txt",)),
    ("places_lt", ("Places_LT_train.txt",)),
    ("inat2018", ("train2018.json",)),
    ("cifar10_lt", ("data_batch_1", "test_batch")),
    ("cifar100_lt", ("train", "test", "meta")),
    ("json", ("train.json",)),
)


@dataclass(frozen=True)
class CheckReport:
    """What `check_set` found."""

    kind: str
    root: str
    splits: dict[str, dict[str, int]]
    """Split -> images, classes, largest, smallest (class that has any), empty_classes."""
    problems: tuple[str, ...]
    """One line each: which file, and what is wrong with it."""
    notes: tuple[str, ...]
    """What a reader should know, but need not mend."""

    @property
    def is_sound(self) -> bool:
        """No problem was found."""
        return not self.problems


def check_set(config: ClassificationData, decode: bool = True) -> CheckReport:
    """Reads a set with its reader and looks at every picture.

    Looked for: missing files, pictures that do not decode, the same file listed twice, test pictures that are
    also in training, sizes other than declared, counts other than published.

    Args:
        config: the set.
        decode: also decode every picture file; otherwise only see that it exists.
    """
    root = config.root or ""
    try:
        splits = read_splits(config)
    except DataError as error:
        return CheckReport(config.kind, _line(root), {}, (_line(str(error)),), ())
    problems = _Problems()
    declared = jsonform.declared_sizes(config) if config.kind == "json" and decode else {}
    _check_listed_twice(splits, problems)
    pixels: dict[str, dict[bytes, str]] = {}
    for part in PARTS:
        images = splits.get(part)
        found = _array_pixels(images) if isinstance(images, ArrayImages) else iter(())
        if isinstance(images, FileImages):
            found = _file_pixels(images, declared, decode, problems)
        pixels[part] = {}
        for name, digest in found:
            pixels[part].setdefault(digest, name)
    _check_leaks(pixels, problems)
    notes = [*filter(None, splits.note.split("; ")), *_count_notes(config, splits)]
    return CheckReport(
        kind=config.kind,
        root=_line(root),
        splits={part: _summary(splits.get(part)) for part in PARTS},
        problems=problems.lines(),
        notes=tuple(_line(note) for note in notes),
    )


def guess_kind(path: str | Path) -> str:
    """The kind of set at a path, from the files that are there.

    Raises:
        DataError: nothing known is there; says what was looked for.
    """
    path = Path(path).expanduser()
    if path.is_file() and path.suffix.lower() == ".json":
        return "json"
    if not path.is_dir():
        raise DataError(f"{path}: no such folder (or JSON file); check the path")
    if idx.find_file(idx.idx_folder(path), idx.FILES[0]):
        return "idx"
    for kind, names in _SIGNS:
        folder = cifar.cifar_folder(path, cifar.LAYOUTS[kind]) if kind in cifar.LAYOUTS else path
        if all((folder / name).is_file() for name in names):
            return kind
    if _has_class_folders(path):
        return "folder"
    looked = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in _SIGNS)
    raise DataError(
        f"{path}: no known set here; looked for idx: {idx.FILES[0]}-idx3-ubyte; {looked};"
        " folder: one folder of pictures per class, also below train, val, test"
    )


def _has_class_folders(path: Path) -> bool:
    depths = ("*/*", "*/*/*", "*/*/*/*")
    return any(file.name.lower().endswith(SUFFIXES) for depth in depths for file in path.glob(depth))


@dataclass
class _Problems:
    kept: list[str] = field(default_factory=list)
    more: int = 0

    def add(self, text: str) -> None:
        if len(self.kept) < MAX_PROBLEMS:
            self.kept.append(_line(text))
        else:
            self.more += 1

    def lines(self) -> tuple[str, ...]:
        return (*self.kept, f"and {self.more} more problems") if self.more else tuple(self.kept)


def _line(text: str) -> str:
    """One printable line: file names may hold line breaks and bytes that are no text."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().splitlines())


def _array_pixels(images: ArrayImages) -> Iterator[tuple[str, bytes]]:
    for place, key in enumerate(images.keys):
        yield f"image {key}", hashlib.blake2b(images.images[place].tobytes(), digest_size=16).digest()


def _file_pixels(
    images: FileImages, declared: dict[Path, tuple[int, int]], decode: bool, problems: _Problems
) -> Iterator[tuple[str, bytes]]:
    for place in range(len(images)):
        path = images.path(place)
        if not decode:
            if not path.is_file():
                problems.add(f"{path}: no such file; check the path")
            continue
        try:
            picture = read_image(path)
        except MienError as error:
            problems.add(str(error))
            continue
        height, width = picture.shape[:2]
        if (size := declared.get(path, (height, width))) != (height, width):
            problems.add(f"{path}: {height} x {width} pixels (H x W), declared {size[0]} x {size[1]}")
        digest = hashlib.blake2b(picture.tobytes(), digest_size=16, key=str(picture.shape).encode())
        yield str(path), digest.digest()


def _check_listed_twice(splits: Splits, problems: _Problems) -> None:
    seen: dict[Path, str] = {}
    for part in PARTS:
        images = splits.get(part)
        if not isinstance(images, FileImages):
            continue
        for path in map(images.path, range(len(images))):
            if path in seen:
                problems.add(f"{path}: listed twice, in {seen[path]} and in {part}")
            seen.setdefault(path, part)


def _check_leaks(pixels: dict[str, dict[bytes, str]], problems: _Problems) -> None:
    for part in ("train", "val"):
        pairs = [(pixels["test"][d], pixels[part][d]) for d in pixels["test"] if d in pixels[part]]
        # The same file in both was reported by name; an array's names are numbers, equal by chance.
        if different := [(a, b) for a, b in pairs if a != b or a.startswith("image ")]:
            problems.add(
                f"{different[0][0]} of test has the same pixels as {different[0][1]} of {part}"
                f" ({len(different)} test pictures are also in {part})"
            )


def _summary(images: LabelledImages) -> dict[str, int]:
    counts = images.counts()
    filled = counts[counts > 0]
    return {
        "images": len(images),
        "classes": len(images.classes),
        "largest": int(filled.max(initial=0)),
        "smallest": int(filled.min()) if filled.size else 0,
        "empty_classes": int((counts == 0).sum()),
    }


def _count_notes(config: ClassificationData, splits: Splits) -> list[str]:
    sizes = {part: len(splits.get(part)) for part in PARTS}
    sizes["train+val"] = sizes["train"] + sizes["val"]
    published = dict(_PUBLISHED.get(config.kind, {}))
    if config.kind in cifar.LAYOUTS and config.n_max is None:
        layout = cifar.LAYOUTS[config.kind]
        published = {"train+val": layout.num_classes * layout.n_max, "test": 10_000}
        if config.imbalance is not None:
            kind = config.imbalance_kind
            counts = longtail_counts(layout.num_classes, layout.n_max, config.imbalance, kind)
            published = {"train": int(counts.sum()), "test": 10_000}
            # Some validation images are taken out of the subset; without them it has its published size.
            sizes["train"] = len(read_splits(replace(config, val_per_class=0)).train)
    return [
        f"{part}: {sizes[part]:,} images, the published set has {count:,}: looks like a partial copy"
        if sizes[part] < count
        else f"{part}: {sizes[part]:,} images, the published set has {count:,}: not the published set"
        for part, count in published.items()
        if sizes[part] != count
    ]
