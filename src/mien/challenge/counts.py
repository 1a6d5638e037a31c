"""Errors by group at one threshold, as counts; a group without a face of a kind has no rate of that kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.metrics.score_sets import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
DECILES = 10
BINS = 50


@dataclass(frozen=True)
class Errors:
    """Errors in one group.

    Attributes:
        attacks: attacks.
        accepted: of them taken for live.
        live: live faces.
        rejected: of them taken for attacks.
    """

    attacks: int
    accepted: int
    live: int
    rejected: int

    @property
    def apcer(self) -> float | None:
        """Attacks accepted / attacks (pooled); None without attacks."""
        return self.accepted / self.attacks if self.attacks else None

    @property
    def bpcer(self) -> float | None:
        """Live faces rejected / live faces; None without live faces."""
        return self.rejected / self.live if self.live else None

    @property
    def acer(self) -> float | None:
        """(APCER + BPCER) / 2; None where either is."""
        apcer, bpcer = self.apcer, self.bpcer
        return None if apcer is None or bpcer is None else (apcer + bpcer) / 2

    def to_dict(self) -> dict[str, Any]:
        """Rates and the numbers of faces behind them."""
        rates = {"apcer": self.apcer, "bpcer": self.bpcer, "acer": self.acer}
        return {**rates, "attacks": self.attacks, "live": self.live}


def errors_by(group: Ints, count: int, live: Bools, accepted: Bools) -> tuple[Errors, ...]:
    """Errors of each of ``count`` groups. O(n).

    Args:
        group: (n,) numbers from 0.
        count: of groups.
        live: (n,).
        accepted: (n,) score >= threshold.
    """
    tried, passed = (np.bincount(2 * group + live, kept, 2 * count) for kept in (None, accepted))
    table = np.stack([tried, passed], 1).reshape(count, 4).astype(np.int64)
    return tuple(Errors(int(a), int(p), int(n), int(n - q)) for a, p, n, q in table)


def errors_by_name(names: NDArray[np.str_], live: Bools, accepted: Bools) -> dict[str, Errors]:
    """`errors_by` of words, numbers among them in the order of numbers. O(n log n).

    >>> faces = np.array([True, False]), np.array([True, True])
    >>> errors_by_name(np.array(["S10", "S2"]), *faces)["S2"].apcer
    1.0
    """
    found, group = np.unique(names, return_inverse=True)
    errors = errors_by(group.reshape(-1).astype(np.int64), len(found), live, accepted)
    table = dict(zip(map(str, found), errors, strict=True))
    return {name: table[name] for name in sorted(table, key=_natural)}


def _natural(name: str) -> tuple[str, int, str]:
    digits = name[len(name.rstrip("0123456789")) :]
    return name.rstrip("0123456789"), int(digits[:18] or -1) if digits.isascii() else -1, name


def errors_by_quality(quality: Floats, live: Bools, accepted: Bools) -> tuple[Errors, ...]:
    """Errors in tenths of the pictures, worst quality first; equals stay together. O(n log n)."""
    edges = np.quantile(quality, np.arange(1, DECILES) / DECILES)
    group = np.searchsorted(edges, quality, "left").astype(np.int64)
    return errors_by(group, DECILES, live, accepted)


def histograms(scores: Floats, live: Bools) -> dict[str, tuple[int, ...]]:
    """Numbers of live faces and of attacks in `BINS` equal bins of scores from 0 to 1. O(n)."""
    place = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    kinds = {"live": live, "attack": ~live}
    return {k: tuple(np.bincount(place[chosen], minlength=BINS).tolist()) for k, chosen in kinds.items()}


def attacks_by_label(label: Ints, accepted: Bools) -> dict[str, Errors]:
    """Attacks of each label from 1 to the largest; labels that are absent are there, without a rate. O(n)."""
    most = int(label.max())
    errors = errors_by(label, most + 1, label == 0, accepted)
    return {str(k): errors[k] for k in range(1, most + 1)}
