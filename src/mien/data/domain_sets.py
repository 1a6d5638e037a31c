"""The five published multi-domain sets, read where the user's copy lies: nothing is copied or fetched.

Source of layouts, categories and locations: DomainBed (Gulrajani & Lopez-Paz, ICLR 2021), as used by SAGM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mien.core.errors import DataError
from mien.core.io import read_json, read_text
from mien.core.seeds import keys_of
from mien.data.domains import Domains, MultiDomainImageFolder, shown, subfolders
from mien.data.inat import entries
from mien.data.labelled import FileImages
from mien.data.lists import safe_name


@dataclass(frozen=True)
class Layout:
    """One published set: where it lies and what it should hold."""

    title: str
    folders: tuple[str, ...]
    """Folders below the root, or below its parent, that the domains may lie in."""
    domains: tuple[str, ...]
    num_classes: int
    counts: dict[str, int] = field(default_factory=dict)
    """Pictures of each domain, where published."""
    total: tuple[int, int] | None = None
    """Least and most pictures of all domains together, where published."""


LAYOUTS = {
    "pacs": Layout(
        "PACS",
        ("PACS", "kfold", "PACS/kfold"),
        ("art_painting", "cartoon", "photo", "sketch"),
        7,
        {"art_painting": 2048, "cartoon": 2344, "photo": 1670, "sketch": 3929},
    ),
    "vlcs": Layout(
        "VLCS",
        ("VLCS",),
        ("Caltech101", "LabelMe", "SUN09", "VOC2007"),
        5,
        {"Caltech101": 1415, "LabelMe": 2656, "SUN09": 3282, "VOC2007": 3376},
    ),
    "office_home": Layout(
        "OfficeHome",
        ("office_home", "OfficeHome", "OfficeHomeDataset_10072016"),
        ("Art", "Clipart", "Product", "Real World"),
        65,
        {"Art": 2427, "Clipart": 4365, "Product": 4439, "Real World": 4357},
    ),
    "terra_incognita": Layout(
        "TerraIncognita",
        ("terra_incognita", "TerraIncognita"),
        ("location_100", "location_38", "location_43", "location_46"),
        10,
        total=(24_300, 24_800),
    ),
    "domain_net": Layout(
        "DomainNet",
        ("domain_net", "DomainNet"),
        ("clipart", "infograph", "painting", "quickdraw", "real", "sketch"),
        345,
        total=(586_575, 586_575),
    ),
}
TERRA_CATEGORIES = (
    "bird", "bobcat", "cat", "coyote", "dog", "empty", "opossum", "rabbit", "raccoon", "squirrel",
)  # fmt: skip
_TERRA_PICTURES = ("eccv_18_all_images_sm", "images")
_TERRA_LISTING = "caltech_images*.json"


def pacs(root: str | Path) -> Domains:
    """PACS: art_painting, cartoon, photo, sketch; seven classes.

    Args:
        root: ``PACS``, its ``kfold``, or a folder that holds either.

    Raises:
        DataError: it is not there, or its domains are not the published ones.
    """
    return _published("pacs", Path(root))


def vlcs(root: str | Path) -> Domains:
    """VLCS: Caltech101, LabelMe, SUN09, VOC2007; five classes.

    Args:
        root: ``VLCS`` or the folder that holds it.

    Raises:
        DataError: it is not there, or its domains are not the published ones.
    """
    return _published("vlcs", Path(root))


def office_home(root: str | Path) -> Domains:
    """OfficeHome: Art, Clipart, Product, Real World; 65 classes.

    Args:
        root: ``office_home`` or the folder that holds it.

    Raises:
        DataError: it is not there, or its domains are not the published ones.
    """
    return _published("office_home", Path(root))


def domain_net(root: str | Path) -> Domains:
    """DomainNet: clipart, infograph, painting, quickdraw, real, sketch; 345 classes.

    Pictures named in a text file ``*duplicates*.txt`` beside the domains are left out: one relative path
    ``domain/class/file`` a line, as DomainBed publishes it.

    Args:
        root: ``domain_net`` or the folder that holds it.

    Raises:
        DataError: it is not there, or its domains are not the published ones.
    """
    folder = _located("domain_net", Path(root))
    everything = _published("domain_net", folder)
    lists = sorted(p for p in folder.glob("*duplicates*.txt") if p.is_file())
    if not lists:
        note = "no list *duplicates*.txt beside the domains: duplicates are still in"
        return Domains(everything.names, everything.sets, note=f"{everything.note}; {note}")
    listed = {
        str(PurePosixPath(line.strip()))
        for path in lists
        for line in read_text(path).split("\n")
        if line.strip()
    }
    keys = keys_of(sorted(listed))
    sets = tuple(s.subset(np.flatnonzero(~np.isin(s.keys, keys))) for s in everything.sets)
    removed = sum(len(a) - len(b) for a, b in zip(everything.sets, sets, strict=True))
    note = f"{removed} duplicates left out ({', '.join(p.name for p in lists)})"
    if strangers := len(listed) - removed:
        note += f"; {strangers} listed duplicates are not there"
    return Domains(everything.names, sets, note=f"{everything.note}; {note}")


def terra_incognita(root: str | Path) -> Domains:
    """TerraIncognita: four camera locations, ten classes; as prepared folders, or from the camera-trap JSON.

    From the JSON, pictures of the four locations are read where they lie; kept are those with exactly one
    category, which is one of the ten. Both forms give the same pictures in the same order.

    Args:
        root: ``terra_incognita`` or the folder that holds it. It holds ``location_38/CLASS/*`` and so on, or
            ``caltech_images_20210113.json`` (or another JSON of its form) with the pictures in
            ``eccv_18_all_images_sm``, in ``images`` or beside it.

    Raises:
        DataError: neither is there, or the JSON is not of this form; the message names the entry.
    """
    root = Path(root)
    if _best("terra_incognita", root) is None and (listing := _terra_listing(root)):
        return _from_listing(listing)
    return _published("terra_incognita", root)


def kinds_at(path: Path) -> list[str]:
    """Published sets of which at least half the domains lie at a path, or the camera-trap JSON does."""
    found = []
    for kind, layout in LAYOUTS.items():
        folder = _best(kind, path)
        there = [d for d in layout.domains if (folder / d).is_dir()] if folder else []
        # Folders of folders: "sketch" with pictures directly in it is a class.
        deep = bool(folder) and all(subfolders(folder / d) for d in there if folder)
        has_listing = kind == "terra_incognita" and any(
            any(f.glob(_TERRA_LISTING)) for f in _candidates(kind, path)
        )
        if has_listing or (deep and 2 * len(there) >= len(layout.domains)):
            found.append(kind)
    return found


def _candidates(kind: str, root: Path) -> Iterator[Path]:
    for folder in (root, *(root / name for name in LAYOUTS[kind].folders)):
        if folder.is_dir():
            yield folder


def _best(kind: str, root: Path) -> Path | None:
    """The candidate folder that holds most of the domains; None if none holds any."""

    def held(folder: Path) -> int:
        return sum((folder / name).is_dir() for name in LAYOUTS[kind].domains)

    best = max(_candidates(kind, root), key=held, default=None)
    return best if best and held(best) else None


def _located(kind: str, root: Path) -> Path:
    layout = LAYOUTS[kind]
    if folder := _best(kind, root.expanduser()):
        return folder
    places = ", ".join(f"{name}/" for name in layout.folders)
    listing = " (nor a camera-trap JSON)" if kind == "terra_incognita" else ""
    raise DataError(
        f"{root}: no {layout.title} here; looked for folders {', '.join(layout.domains)} in it and below"
        f" {places}{listing}; give the folder that holds them"
    )


def _published(kind: str, root: Path) -> Domains:
    """The tree of a published set; its folders must be the published domains, no fewer and no more."""
    folder, layout = _located(kind, root), LAYOUTS[kind]
    aside = _TERRA_PICTURES if kind == "terra_incognita" else ()
    present = [name for name in subfolders(folder) if name not in aside]
    lost, new = sorted(set(layout.domains) - set(present)), sorted(set(present) - set(layout.domains))
    if lost or new:
        advice = [f"lacks {shown(lost)}; unpack all of it"] if lost else []
        advice += [f"has also {shown(new)}; move it away, or read the tree as kind 'domains'"] if new else []
        raise DataError(f"{folder}: not the domains of {layout.title}: {', and '.join(advice)}")
    return MultiDomainImageFolder(folder, names=layout.domains)


def _terra_listing(root: Path) -> Path | None:
    folders = list(_candidates("terra_incognita", root.expanduser()))
    for pattern in (_TERRA_LISTING, "*.json"):
        for folder in folders:
            found = sorted(p for p in folder.glob(pattern) if p.is_file())
            if len(found) > 1:
                names = shown([p.name for p in found])
                raise DataError(
                    f"{folder}: {len(found)} JSON files, which one lists the pictures? keep one of {names}"
                )
            if found:
                return found[0]
    return None


def _from_listing(path: Path) -> Domains:
    listed = read_json(path)
    found = entries(listed, "categories", path, {"id": int, "name": str})
    categories = {c["id"]: c["name"].strip().lower() for c in found}
    kept = _pictures_of_locations(listed, path)
    seen: dict[int | str, set[str]] = {image: set() for image in kept}
    for place, entry in enumerate(entries(listed, "annotations", path, {"category_id": int})):
        where = f"{path}: annotations[{place}]"
        image = _identity(entry, "image_id", where)
        if image in seen:
            if entry["category_id"] not in categories:
                raise DataError(f"{where} has category_id {entry['category_id']}, which 'categories' lacks")
            seen[image].add(categories[entry["category_id"]])
    rows: dict[str, list[tuple[int, str]]] = {name: [] for name in LAYOUTS["terra_incognita"].domains}
    for image, (domain, name) in kept.items():
        if len(seen[image]) == 1 and (only := next(iter(seen[image]))) in TERRA_CATEGORIES:
            rows[domain].append((TERRA_CATEGORIES.index(only), name))
    folder = next((p for n in _TERRA_PICTURES if (p := path.parent / n).is_dir()), path.parent)
    sets = []
    for pairs in rows.values():
        pairs.sort()
        labels = np.array([label for label, _ in pairs], np.int64)
        sets.append(FileImages(folder, [name for _, name in pairs], labels, TERRA_CATEGORIES))
    left_out = len(kept) - sum(map(len, sets))
    note = f"{path.name}: {left_out} of {len(kept)} pictures of the four locations left out"
    note += ", as they have not exactly one category, or another than the ten"
    try:
        return Domains(tuple(rows), tuple(sets), note=note)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _pictures_of_locations(listed: Any, path: Path) -> dict[int | str, tuple[str, str]]:
    """Image id -> (domain, file name), of the four locations only."""
    kept: dict[int | str, tuple[str, str]] = {}
    for place, entry in enumerate(entries(listed, "images", path, {"file_name": str})):
        where = f"{path}: images[{place}]"
        domain = f"location_{_identity(entry, 'location', where)}"
        image = _identity(entry, "id", where)
        if domain in LAYOUTS["terra_incognita"].domains:
            if image in kept:
                raise DataError(f"{where} has the id {image!r} of an image before it; ids must differ")
            kept[image] = (domain, safe_name(entry["file_name"], where))
    return kept


def _identity(entry: dict[str, Any], key: str, where: str) -> int | str:
    value = entry.get(key)
    if type(value) is int or isinstance(value, str):
        return value
    raise DataError(f"{where} has no {key!r} (int or str); is this the camera-trap file?")
