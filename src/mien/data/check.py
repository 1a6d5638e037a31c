"""Does a user's copy of a set hold what it should? Reads all of it and lists what is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.core.errors import DataError, MienError
from mien.core.images import SUFFIXES, read_image
from mien.data import cifar, domain_sets, idx, jsonform
from mien.data.config import ClassificationData
from mien.data.domains import subfolders
from mien.data.folder import TRAIN_NAMES
from mien.data.labelled import ArrayImages, FileImages, LabelledImages, Picture, Splits
from mien.data.longtail import longtail_counts
from mien.data.readers import read_splits
from mien.data.shard_images import ShardImages

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
    """What `check_set` or `mien.data.domain_check.check_domains` found."""

    kind: str
    root: str
    splits: dict[str, dict[str, int]]
    """Split or domain -> images, classes, largest, smallest (class that has any), empty_classes."""
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
        return CheckReport(config.kind, one_line(root), {}, (one_line(str(error)),), ())
    problems = Problems()
    declared = jsonform.declared_sizes(config) if config.kind == "json" and decode else {}
    parts = {part: splits.get(part) for part in PARTS}
    check_listed_twice(parts, problems)
    _check_leaks({p: pixels_of(s, decode, problems, declared) for p, s in parts.items()}, problems)
    notes = [*filter(None, splits.note.split("; ")), *_count_notes(config, splits)]
    if config.kind == "folder" and _may_be_domains(config.require_root()):
        notes.append("every folder here holds the same folders: if these are domains, give --kind domains")
    return CheckReport(
        kind=config.kind,
        root=one_line(root),
        splits={part: summary(images) for part, images in parts.items()},
        problems=problems.lines(),
        notes=tuple(one_line(note) for note in notes),
    )


def guess_kind(path: str | Path) -> str:
    """The kind of set at a path, from the files that are there.

    A tree ``domain/class/picture`` is known by the published names of its domains; any other is a "folder".

    Raises:
        DataError: nothing known is there, or several sets; says what was looked for or found.
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
    if published := domain_sets.kinds_at(path):
        if len(published) > 1:
            raise DataError(f"{path}: holds several sets, {', '.join(published)}; give the folder of one")
        return published[0]
    if any(path.glob("*.tar")):
        return "shards"
    if _has_class_folders(path):
        return "folder"
    signs = [*_SIGNS, *((kind, layout.domains) for kind, layout in domain_sets.LAYOUTS.items())]
    looked = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in signs)
    raise DataError(
        f"{path}: no known set here; looked for idx: {idx.FILES[0]}-idx3-ubyte; {looked};"
        " folder: one folder of pictures per class, also below train, val, test; faces: *.rec, *.bin,"
        " memfile/mem_file.dat, pairs.txt, Protocol/Pair_list_F.txt, pairs_CALFW.txt, pairs_CPLFW.txt,"
        " meta/ijbc_face_tid_mid.txt, facescrub_lst, *.tar"
    )


def _may_be_domains(root: Path) -> bool:
    """Whether all folders hold the same folders, two or more, and are no splits."""
    names = subfolders(root)
    inner = {tuple(subfolders(root / name)) for name in names}
    is_split = any(name.lower() in TRAIN_NAMES for name in names)
    return len(names) > 1 and len(inner) == 1 and len(inner.pop()) > 1 and not is_split


def _has_class_folders(path: Path) -> bool:
    depths = ("*/*", "*/*/*", "*/*/*/*")
    return any(file.name.lower().endswith(SUFFIXES) for depth in depths for file in path.glob(depth))


@dataclass
class Problems:
    """Collects problems as single lines; after `MAX_PROBLEMS` they are only counted."""

    kept: list[str] = field(default_factory=list)
    more: int = 0

    def add(self, text: str) -> None:
        """One more."""
        if len(self.kept) < MAX_PROBLEMS:
            self.kept.append(one_line(text))
        else:
            self.more += 1

    def lines(self) -> tuple[str, ...]:
        """What was collected, and how many more there were."""
        return (*self.kept, f"and {self.more} more problems") if self.more else tuple(self.kept)


def one_line(text: str) -> str:
    """One printable line: file names may hold line breaks and bytes that are no text."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().splitlines())


def pixels_of(
    images: LabelledImages,
    decode: bool,
    problems: Problems,
    declared: Mapping[Path, tuple[int, int]] | None = None,
) -> dict[bytes, str]:
    """Hash of the pixels -> first picture that has them; pictures that do not decode become problems.

    Args:
        images: in memory or in files.
        decode: read the pictures; otherwise only see that the files exist, and return nothing of them.
        problems: collects what is wrong.
        declared: (height, width) that a list gives for a file.
    """
    found: Iterator[tuple[str, bytes]] = iter(())
    if isinstance(images, ArrayImages):
        found = _array_pixels(images)
    elif isinstance(images, FileImages):
        found = _file_pixels(images, declared or {}, decode, problems)
    elif isinstance(images, ShardImages) and decode:
        found = _shard_pixels(images, problems)
    first: dict[bytes, str] = {}
    for name, digest in found:
        first.setdefault(digest, name)
    return first


def _array_pixels(images: ArrayImages) -> Iterator[tuple[str, bytes]]:
    for place, key in enumerate(images.keys):
        yield f"image {key}", hashlib.blake2b(images.images[place].tobytes(), digest_size=16).digest()


def _file_pixels(
    images: FileImages, declared: Mapping[Path, tuple[int, int]], decode: bool, problems: Problems
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
        yield str(path), _digest(picture)


def _shard_pixels(images: ShardImages, problems: Problems) -> Iterator[tuple[str, bytes]]:
    for place in range(len(images)):
        try:
            yield images.where(place), _digest(*images.pictures([place]))
        except MienError as error:
            problems.add(str(error))


def _digest(picture: Picture) -> bytes:
    return hashlib.blake2b(picture.tobytes(), digest_size=16, key=str(picture.shape).encode()).digest()


def check_listed_twice(parts: Mapping[str, LabelledImages], problems: Problems) -> None:
    """A file that is in one split or domain twice, or in two, is a problem."""
    seen: dict[Path, str] = {}
    for part, images in parts.items():
        if not isinstance(images, FileImages):
            continue
        for path in map(images.path, range(len(images))):
            if path in seen:
                problems.add(f"{path}: listed twice, in {seen[path]} and in {part}")
            seen.setdefault(path, part)


def _check_leaks(pixels: dict[str, dict[bytes, str]], problems: Problems) -> None:
    for part in ("train", "val"):
        pairs = [(pixels["test"][d], pixels[part][d]) for d in pixels["test"] if d in pixels[part]]
        # The same file in both was reported by name; an array's names are numbers, equal by chance.
        if different := [(a, b) for a, b in pairs if a != b or a.startswith("image ")]:
            problems.add(
                f"{different[0][0]} of test has the same pixels as {different[0][1]} of {part}"
                f" ({len(different)} test pictures are also in {part})"
            )


def summary(images: LabelledImages) -> dict[str, int]:
    """Numbers of one split or domain, as in `CheckReport.splits`."""
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
    return published_notes(sizes, published)


def published_notes(sizes: Mapping[str, int], published: Mapping[str, int]) -> list[str]:
    """A note for each split or domain that has another number of images than the published set."""
    return [
        f"{part}: {sizes[part]:,} images, the published set has {count:,}: looks like a partial copy"
        if sizes[part] < count
        else f"{part}: {sizes[part]:,} images, the published set has {count:,}: not the published set"
        for part, count in published.items()
        if sizes[part] != count
    ]
