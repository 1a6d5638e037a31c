"""Several domains with the same classes: DomainBed's folders and splits, and the bundled Emoji-DG.

Source of the split rule and of the layouts: DomainBed (Gulrajani & Lopez-Paz, ICLR 2021), as used by SAGM.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core.config import suggest
from mien.core.errors import ConfigError, DataError
from mien.core.images import SUFFIXES
from mien.core.seeds import derive, keys_of
from mien.data.labelled import ArrayImages, FileImages, LabelledImages


@dataclass(frozen=True)
class Domains:
    """One labelled set for each domain, all with the same classes in the same order.

    The order of domains is DomainBed's: by name (ColoredMNIST's as published). ``real`` is False for made
    pictures; ``note`` says what a reader should know.

    Raises:
        DataError: fewer than two domains, different classes, or a domain that is empty or of one class.
    """

    names: tuple[str, ...]
    sets: tuple[LabelledImages, ...]
    real: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise DataError(f"domain generalisation needs at least two domains, got {list(self.names)}")
        _check_classes(self.names, self.sets)
        for name, images in zip(self.names, self.sets, strict=True):
            if not len(images):
                raise DataError(f"domain {name!r} is empty; add its pictures or leave the domain out")
            if len(np.unique(images.targets)) < 2:
                only = images.classes[int(images.targets[0])]
                raise DataError(f"domain {name!r} has one class only, {only!r}; add the others")

    def index(self, name: str) -> int:
        """Place of a domain.

        Raises:
            ConfigError: no such domain, with the nearest name.
        """
        if name not in self.names:
            raise ConfigError(f"no domain {name!r}{suggest(name, list(self.names))}")
        return self.names.index(name)

    @property
    def fingerprint(self) -> str:
        """Hash of all domains."""
        joined = ":".join(f"{n}={s.fingerprint}" for n, s in zip(self.names, self.sets, strict=True))
        return hashlib.sha256(joined.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def shown(names: Sequence[str], most: int = 5) -> str:
    """The first few names of a list, for a message.

    >>> shown(["a", "b", "c"], 2)
    "['a', 'b', ... 1 more]"
    """
    more = f", ... {len(names) - most} more" if len(names) > most else ""
    return f"[{', '.join(map(repr, names[:most]))}{more}]"


def _check_classes(names: Sequence[str], sets: Sequence[LabelledImages]) -> None:
    union = {c for images in sets for c in images.classes}
    lacking = [
        f"{name!r} lacks {shown(sorted(lost))}"
        for name, images in zip(names, sets, strict=True)
        if (lost := union - set(images.classes))
    ]
    if lacking:
        more = f"; and {len(lacking) - 5} more domains" if len(lacking) > 5 else ""
        raise DataError(
            f"the domains have different classes: {'; '.join(lacking[:5])}{more}"
            "; every domain needs the same class folders"
        )
    for name, images in zip(names, sets, strict=True):
        if images.classes != sets[0].classes:
            raise DataError(
                f"domain {name!r} has its classes in another order than {names[0]!r}"
                "; the place of a class is its label, so use one order"
            )


@dataclass(frozen=True)
class DomainSplit:
    """A domain cut once: ``inner`` (80 %, trained on or tested on) and ``outer`` (20 %, held out)."""

    name: str
    inner: LabelledImages
    outer: LabelledImages


def split_seed(trial_seed: int, environment: int) -> int:
    """DomainBed's seed of one domain's split: md5 of the printed tuple, modulo 2^31.

    >>> split_seed(5, 2), split_seed(7, 0)
    (783820527, 1082813619)
    """
    digest = hashlib.md5(str((trial_seed, environment)).encode()).hexdigest()  # noqa: S324 - a published rule
    return int(digest, 16) % 2**31


def split_dataset(
    count: int, trial_seed: int, environment: int, holdout: float = 0.2
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(outer, inner) places of one domain, as DomainBed: the first int(holdout n) of a shuffle are out.

    Args:
        count: pictures in the domain.
        trial_seed: DomainBed's trial seed (0, 1, 2).
        environment: place of the domain.
        holdout: held-out share.
    """
    keys = list(range(count))
    np.random.RandomState(split_seed(trial_seed, environment)).shuffle(keys)
    cut = int(count * holdout)
    return np.array(keys[:cut], np.int64), np.array(keys[cut:], np.int64)


def leave_one_domain_out(
    domains: Domains, held_out: str, trial_seed: int, holdout: float = 0.2
) -> tuple[list[DomainSplit], DomainSplit]:
    """The source domains and the target, each split by `split_dataset`.

    Train on the sources' inner parts, select on their outer parts, report on the target's inner part.
    """
    target = domains.index(held_out)
    parts = []
    for i, (name, images) in enumerate(zip(domains.names, domains.sets, strict=True)):
        outer, inner = split_dataset(len(images), trial_seed, i, holdout)
        parts.append(DomainSplit(name, images.subset(inner), images.subset(outer)))
    return [p for i, p in enumerate(parts) if i != target], parts[target]


class MultiDomainImageFolder(Domains):
    """Any ``root/<domain>/<class>/<picture>`` tree; domains, classes and pictures sorted by name.

    Pictures deeper below a class folder are read as well, as in torchvision, so DomainBed's splits are the
    same. Hidden files and ``__MACOSX`` are ignored, other files that are no pictures counted in the note.

    Args:
        root: the folder of the domains.
        names: which folders are domains; default all.

    Raises:
        DataError: as `Domains`, or a folder that cannot be listed.
    """

    def __init__(self, root: str | Path, *, names: Sequence[str] | None = None) -> None:
        path = Path(root).expanduser()
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; it should hold one folder for each domain")
        chosen = subfolders(path) if names is None else list(names)
        classes = {name: subfolders(path / name) for name in chosen}
        union = sorted({c for found in classes.values() for c in found})
        read = [_one_domain(path, name, classes[name] or union) for name in chosen]
        note = f"{len(chosen)} domains below {path.name}"
        if others := sum(count for _, count in read):
            note += f"; {others} files are no pictures and were left out"
        if stray := sum(
            sum(_is_picture(p.name) for p in (path / d).iterdir() if p.is_file()) for d in chosen
        ):
            note += f"; {stray} pictures lie in no class folder and were left out"
        try:
            super().__init__(tuple(chosen), tuple(images for images, _ in read), note=note)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None


def subfolders(path: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones and ``__MACOSX``."""
    try:
        with os.scandir(path) as found:
            names = [e.name for e in found if e.is_dir()]
    except OSError as error:
        raise DataError(f"{path}: cannot list the folder ({error.strerror}); check its permissions") from None
    return sorted(n for n in names if not n.startswith(".") and n != "__MACOSX")


def _one_domain(root: Path, domain: str, classes: list[str]) -> tuple[FileImages, int]:
    """The pictures of one domain, and how many other files lie between them."""
    names: list[str] = []
    counts, others = [], 0
    for name in classes:
        before = len(names)
        for folder, pictures, strangers in _walked(root / domain / name):
            below = folder.relative_to(root).as_posix()
            names += [f"{below}/{picture}" for picture in pictures]
            others += strangers
        counts.append(len(names) - before)
    return FileImages(root, names, np.repeat(np.arange(len(classes)), counts), classes), others


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _walked(top: Path) -> list[tuple[Path, list[str], int]]:
    """(folder, its pictures sorted, how many other files) of all folders from ``top`` down, sorted."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise DataError(f"{error.filename}: cannot list the folder ({error.strerror})") from None

    found = []
    seen: set[tuple[int, int]] = set()
    for here, below, files in os.walk(top, followlinks=True, onerror=refuse):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:  # a link back up, or a second link to the same folder
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(n for n in below if not n.startswith("."))
        pictures = sorted(filter(_is_picture, files))
        others = sum(not n.startswith(".") for n in files) - len(pictures)
        found.append((here, pictures, others))
    return [(Path(here), pictures, others) for here, pictures, others in sorted(found)]


def emoji_dg() -> Domains:
    """Emoji-DG: the same things drawn by three artists (Fluent 3D, Noto, Twemoji), ten classes, 32 pixels.

    A picture's key is its glyph, the same in every domain, so that `unseen_glyphs` can hold concepts out.
    """
    asset = resources.files("mien.data") / "assets" / "emoji_dg.npz"
    with resources.as_file(asset) as path, np.load(path, allow_pickle=False) as arrays:
        classes = [str(c) for c in arrays["classes"]]
        names = sorted(k.removesuffix("_images") for k in arrays.files if k.endswith("_images"))
        sets = tuple(
            ArrayImages(
                arrays[f"{n}_images"],
                arrays[f"{n}_targets"],
                classes,
                keys_of([str(g) for g in arrays[f"{n}_glyphs"]]),
            )
            for n in names
        )
    return Domains(tuple(names), sets, note="Emoji-DG")


def unseen_glyphs(domains: Domains, share: float = 0.3) -> NDArray[np.uint64]:
    """Keys of the glyphs that the harder protocol keeps for testing: ``share`` of each class."""
    first = domains.sets[0]
    chosen = []
    for c in range(len(first.classes)):
        keys = np.unique(np.concatenate([s.keys[s.targets == c] for s in domains.sets]))
        rng = np.random.default_rng(derive(0, "emoji_dg", "unseen", c))
        chosen.append(rng.choice(keys, round(share * len(keys)), replace=False))
    return np.sort(np.concatenate(chosen))
