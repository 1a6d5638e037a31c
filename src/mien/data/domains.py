"""Several domains with the same classes: DomainBed's folders and splits, and the bundled Emoji-DG.

Source of the split rule and of the layouts: DomainBed (Gulrajani & Lopez-Paz, ICLR 2021), as used by SAGM.
"""

from __future__ import annotations

import hashlib
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
    """One labelled set for each domain, all with the same classes, in DomainBed's order (sorted by name)."""

    names: tuple[str, ...]
    sets: tuple[LabelledImages, ...]
    real: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise DataError(f"domain generalisation needs at least two domains, got {list(self.names)}")
        first = set(self.sets[0].classes)
        for name, images in zip(self.names, self.sets, strict=True):
            if set(images.classes) != first:
                lost, new = sorted(first - set(images.classes)), sorted(set(images.classes) - first)
                raise DataError(
                    f"domain {name!r} has other classes than {self.names[0]!r}: lacks {lost}, adds {new}"
                    "; every domain needs the same class folders"
                )
            if not len(images):
                raise DataError(f"domain {name!r} is empty")
            if len(np.unique(images.targets)) < 2:
                raise DataError(f"domain {name!r} has one class only; add the others")

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
    """Any ``root/<domain>/<class>/<picture>`` tree; sorted by name, hidden files left out."""

    def __init__(self, root: str | Path) -> None:
        path = Path(root).expanduser()
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; it should hold one folder for each domain")
        names = _folders(path)
        classes = {name: _folders(path / name) for name in names}
        union = sorted({c for found in classes.values() for c in found})
        sets = tuple(_one_domain(path, name, classes[name] or union) for name in names)
        super().__init__(tuple(names), sets, note=f"{len(names)} domains below {path.name}")


def _folders(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _one_domain(root: Path, domain: str, classes: list[str]) -> FileImages:
    names, targets = [], []
    for label, name in enumerate(classes):
        folder = root / domain / name
        files = sorted(
            p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
        )
        names += [f"{domain}/{name}/{p.name}" for p in files]
        targets += [label] * len(files)
    return FileImages(root, names, np.array(targets, np.int64), classes)


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
