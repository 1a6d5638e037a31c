"""Does a user's copy of a multi-domain set hold what it should? The counterpart of `mien.data.check`."""

from __future__ import annotations

from itertools import combinations

from mien.core.errors import DataError
from mien.data.check import (
    CheckReport,
    Problems,
    check_listed_twice,
    one_line,
    pixels_of,
    published_notes,
    summary,
)
from mien.data.config import DomainData
from mien.data.domain_readers import read_domains
from mien.data.domain_sets import LAYOUTS
from mien.data.domains import Domains, shown


def check_domains(config: DomainData, decode: bool = True) -> CheckReport:
    """Reads a multi-domain set with its reader and looks at every picture.

    Looked for: folders that are missing or too many, class folders that differ or are empty, pictures that do
    not decode, the same pixels in two domains, counts other than published. Memory O(pictures).

    Args:
        config: the set; which domains are held out does not matter.
        decode: also decode every picture file; otherwise only see that it exists.

    Raises:
        ConfigError: the kind needs a folder that was not given, or a package that is not installed.
    """
    root = one_line(config.root or "")
    try:
        domains = read_domains(config)
    except DataError as error:
        return CheckReport(config.kind, root, {}, (one_line(str(error)),), ())
    problems = Problems()
    parts = dict(zip(domains.names, domains.sets, strict=True))
    check_listed_twice(parts, problems)
    empty = _empty_classes(domains)
    # A class folder without pictures is a mistake; a camera or a random share may lack a class.
    has_folders = config.kind == "domains" or (config.kind in LAYOUTS and config.kind != "terra_incognita")
    for line in empty if has_folders else []:
        problems.add(f"{line}; add some")
    _check_shared({name: pixels_of(s, decode, problems) for name, s in parts.items()}, problems)
    notes = [
        *filter(None, domains.note.split("; ")),
        *_count_notes(config.kind, domains),
        *([] if has_folders else empty),
    ]
    return CheckReport(
        kind=config.kind,
        root=root,
        splits={name: summary(images) for name, images in parts.items()},
        problems=problems.lines(),
        notes=tuple(map(one_line, notes)),
    )


def _empty_classes(domains: Domains) -> list[str]:
    found = []
    for name, images in zip(domains.names, domains.sets, strict=True):
        empty = [c for c, count in zip(images.classes, images.counts(), strict=True) if not count]
        found += [f"domain {name!r} has no picture of {shown(empty)}"] if empty else []
    return found


def _check_shared(pixels: dict[str, dict[bytes, str]], problems: Problems) -> None:
    """A picture in two domains: a held-out domain would then be partly trained on."""
    for first, second in combinations(pixels, 2):
        shared = [d for d in pixels[second] if d in pixels[first]]
        if shared:
            problems.add(
                f"{pixels[second][shared[0]]} of {second} has the same pixels as"
                f" {pixels[first][shared[0]]} of {first} ({len(shared)} pictures are in both domains)"
            )


def _count_notes(kind: str, domains: Domains) -> list[str]:
    if kind not in LAYOUTS:
        return []
    layout = LAYOUTS[kind]
    sizes = {name: len(images) for name, images in zip(domains.names, domains.sets, strict=True)}
    notes = published_notes(sizes, layout.counts)
    count, classes = sum(sizes.values()), len(domains.sets[0].classes)
    if layout.total and not layout.total[0] <= count <= layout.total[1]:
        low, high = layout.total
        published = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        what = "looks like a partial copy" if count < low else "not the published set"
        notes.append(f"all domains: {count:,} images, the published set has {published}: {what}")
    if classes != layout.num_classes:
        notes.append(f"{classes} classes, the published set has {layout.num_classes}")
    return notes
