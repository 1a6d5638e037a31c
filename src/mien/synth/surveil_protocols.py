"""Lists of the six protocols for a made SuHiFiMask, from the truth of its pictures.

The rules are ours, after what the official lists show: P1 has unseen subjects (41 to 50 are its dev), P2.x
leaves one kind of mask to its test, P3 deals the frames of the same tracks by quality, the best to training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mien.core.seeds import keys_of, uniform

SUBJECTS = 101
SPLITS = ("train", "dev", "test")
P3_SHARES = (2000, 600, 1500)
"""Pictures of P3's train, dev and test, in proportion."""
DEV_SUBJECTS, TEST_SUBJECTS = range(41, 51), range(1, 41)
UNSEEN_MASK = {"p2.1": 4, "p2.2": 3, "p2.3": 2, "p2.4": 1}
_BLUR = 0.06
"""Spread of what P3 takes for quality around the truth: the best of two frames is sometimes mistaken."""
Row = Mapping[str, Any]


def protocol_lists(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Name of a list ("p1_image_train" ..) -> its lines; lists of tracks are named "video". O(N log N)."""
    deals: dict[str, list[str | None]] = {"p1": [p1_split(r) for r in rows], "p3": p3_splits(rows)}
    for protocol, unseen in UNSEEN_MASK.items():
        deals[protocol] = [p2_split(r, unseen) for r in rows]
    out: dict[str, list[str]] = {}
    for protocol in sorted(deals):
        for split in SPLITS:
            chosen = [r for r, s in zip(rows, deals[protocol], strict=True) if s == split]
            out[f"{protocol}_image_{split}"] = _lines(chosen, lambda r: r["path"])
            out[f"{protocol}_video_{split}"] = _lines(chosen, lambda r: r["path"].rsplit("/", 1)[0])
    return out


def _lines(rows: Sequence[Row], name: Callable[[Row], str]) -> list[str]:
    return list(dict.fromkeys(f"{name(r)} {r['label']}" for r in rows))


def p1_split(row: Row) -> str:
    """Subjects 41 to 50 are dev, 1 to 40 test, 51 to 101 train; static instruments by their place."""
    if row["subject"] == 0:
        return ("train", "train", "train", "test", "test", "train", "dev", "test")[row["scene"] % 8]
    if row["subject"] in DEV_SUBJECTS:
        return "dev"
    return "test" if row["subject"] in TEST_SUBJECTS else "train"


def p2_split(row: Row, unseen: int) -> str | None:
    """P1's subjects, live or masked: the unseen mask is for the test alone, which has no other."""
    if row["label"] > 4:
        return None
    split = p1_split(row)
    is_fit = row["label"] in (0, unseen) if split == "test" else row["label"] != unseen
    return split if is_fit else None


def p3_splits(rows: Sequence[Row]) -> list[str | None]:
    """All pictures by quality: the best are training, the worst test, in the proportions of `P3_SHARES`."""
    noise = uniform(0, keys_of([r["path"] for r in rows]), 2)
    seen = np.array([r["quality"] for r in rows]) + _BLUR * (noise.sum(1) - 1)
    order = np.argsort(-seen, kind="stable")
    edges = np.cumsum(P3_SHARES) / sum(P3_SHARES) * len(rows)
    out: list[str | None] = [None] * len(rows)
    for place, k in enumerate(order.tolist()):
        out[k] = SPLITS[int(np.searchsorted(edges, place + 0.5))]
    return out
