"""A user's own anti-spoofing samples, listed in a CSV table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mien.core.errors import ConfigError, DataError
from mien.core.io import read_text
from mien.data.lists import safe_name
from mien.data.pad_lists import LABEL, Convention, ToldLine, check_convention, is_live, listed_facts
from mien.data.pad_names import is_live_by_name
from mien.data.pad_sample import CLIP_SUFFIXES, LIVE, MODALITIES, PadList, PadSample

_COLUMNS = ("subject", "device", "session", "scene")
_SPLITS = {"val": "dev", "validation": "dev", "devel": "dev", "eval": "test"}
_LIVE_SPECIES = (LIVE, "real", "bonafide", "bona fide", "genuine")


def PadCsv(  # noqa: N802 - named like the other readers
    path: str | Path,
    convention: Convention,
    split: str | None = None,
    root: str | Path | None = None,
) -> PadList:
    """Any folder of samples, listed in a CSV table with a header.

    Columns: of ``rgb``, ``depth``, ``ir``, ``thermal`` at least one (paths; may be empty in a row), ``label``
    or ``live``; optional ``species``, ``subject``, ``device``, ``session``, ``scene``, ``video``, ``frame``,
    ``split``. Without ``species`` an attack is called "attack". A column ``live`` is 1 for bona fide.

    Args:
        path: the table.
        convention: what the labels mean; live1 for a column ``live``.
        split: only rows of this split; None reads all.
        root: folder that the paths start from; default that of the table.

    Raises:
        ConfigError: no such convention, or live0 for a column ``live``.
        DataError: no such column, a damaged row (file and line), labels that contradict species or names.
    """
    path = Path(path)
    folder = path.parent if root is None else Path(root)
    table = csv.DictReader(io.StringIO(read_text(path)), skipinitialspace=True, restval="")
    header = [str(h).strip().lower() for h in table.fieldnames or ()]
    table.fieldnames = header
    column = _label_column(path, header, convention)
    samples: list[PadSample] = []
    told: list[ToldLine] = []
    for row in table:
        if not any(isinstance(v, str) and v.strip() for v in row.values()):
            continue
        where = f"{path}:{table.line_num}"
        cells = {k: str(v).strip() for k, v in row.items() if k}
        if split is not None and "split" in header and split_name(cells["split"]) != split_name(split):
            continue
        if None in row or not LABEL.fullmatch(cells[column]):
            raise DataError(
                f"{where}: expected {len(header)} cells, of them {column!r} a whole number,"
                f" got {str(list(row.values()))[:120]}"
            )
        names = {m: safe_name(cells[m], where) for m in MODALITIES if cells.get(m)}
        if not names:
            raise DataError(f"{where}: no image in this row; name one of {', '.join(MODALITIES)}")
        first, label = next(iter(names.values())), int(cells[column])
        told.append(ToldLine(table.line_num, first, label, _told(first, cells.get("species", ""))))
        images = {m: folder / n for m, n in names.items()}
        samples.append(_row_sample(images, cells, first, is_live(label, convention)))
    if not samples:
        raise DataError(f"{path}: no rows{f' of split {split}' if split else ''}; is it the right table?")
    note = check_convention(path, told, convention)
    return PadList(path.stem, "", split_name(split) if split else "", tuple(samples), note)


def _told(name: str, species: str) -> bool | None:
    return species.lower() in _LIVE_SPECIES if species else is_live_by_name(name)


def _label_column(path: Path, header: Sequence[str], convention: Convention) -> str:
    is_live(0, convention)
    if not set(header) & set(MODALITIES) or not {"label", "live"} & set(header):
        raise DataError(
            f"{path}: columns {', '.join(header)[:120]}; needs label or live,"
            f" and one of {', '.join(MODALITIES)}"
        )
    column = "live" if "live" in header else "label"
    if column == "live" and convention != "live1":
        raise ConfigError(f"{path}: a column 'live' is 1 for bona fide, so its convention is live1")
    return column


def _row_sample(images: dict[str, Path], cells: dict[str, str], first: str, live: bool) -> PadSample:
    known = listed_facts(first, live)
    pai = LIVE if live else cells.get("species") or (known.pai if not known.is_live else "attack")
    pai = "attack" if not live and pai.lower() in _LIVE_SPECIES else pai
    fields = {k: cells.get(k) or str(getattr(known, k)) for k in _COLUMNS}
    frame = cells.get("frame") or ("" if Path(first).suffix.lower() in CLIP_SUFFIXES else Path(first).stem)
    return PadSample(
        images, int(live), pai, **fields, video_id=cells.get("video") or known.video_id, frame=frame
    )


def split_name(name: str) -> str:
    """The house's name of a split: train, dev, test."""
    return _SPLITS.get(name.strip().lower(), name.strip().lower())
