"""Scores of live faces and of attacks by species, sorted once: every rate is then a search, O(log n).

Presentation attack detection (ISO/IEC 30107-3). A higher score is more live; a face is accepted as live when
its score is at least the threshold tau, with ``strict`` when it is above. *Candidate* thresholds are the
distinct scores and +inf, which rejects all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import DataError, ShapeError
from mien.metrics.score_sets import Floats, ScoreSets, ScoreSide, check_scores

Ints = NDArray[np.int64]
ANY_SPECIES = "attack"
"""The one species of attacks that come without species."""
_NAMES = ("live", "live", "attack")
_FEW = 16


@dataclass(frozen=True)
class PadSets:
    """Sorted scores of one test.

    Attributes:
        live: of live (bona fide) faces.
        species: name -> scores of its attacks, in the order of the names.
        attack: of all attacks, the species pooled.
        strict: accepted means score > tau instead of score >= tau.
    """

    live: ScoreSide
    species: Mapping[str, ScoreSide]
    attack: ScoreSide
    strict: bool = False

    @property
    def pooled(self) -> ScoreSets:
        """Live faces as genuine, all attacks as impostors (always score >= tau)."""
        return ScoreSets(self.live, self.attack)

    def accepted(self, side: ScoreSide, tau: ArrayLike) -> Floats:
        """Weight of the accepted scores of one side."""
        return side.above(tau) if self.strict else side.at_least(tau)

    def bpcer(self, tau: ArrayLike) -> Floats:
        """BPCER(tau) = #{live rejected} / N_BF."""
        return np.asarray((self.live.total - self.accepted(self.live, tau)) / self.live.total)

    def apcer(self, tau: ArrayLike) -> dict[str, Floats]:
        """APCER_k(tau) = #{attacks of species k accepted} / N_k, of every species."""
        return {k: np.asarray(self.accepted(v, tau) / v.total) for k, v in self.species.items()}

    def apcer_max(self, tau: ArrayLike) -> Floats:
        """The largest APCER_k(tau): the APCER of ISO/IEC 30107-3."""
        return np.asarray(np.max(list(self.apcer(tau).values()), axis=0))

    def apcer_pooled(self, tau: ArrayLike) -> Floats:
        """#{attacks accepted} / #{attacks}: what many papers print under the name APCER."""
        return np.asarray(self.accepted(self.attack, tau) / self.attack.total)

    def candidates(self) -> Floats:
        """Distinct scores, ascending, and +inf. O(n log n)."""
        return np.append(self.pooled.thresholds()[::-1], np.inf)

    def candidate_above(self, value: float) -> float:
        """The least candidate threshold above ``value``."""
        found = np.inf
        for side in (self.live, self.attack):
            k = int(np.searchsorted(side.values, value, "right"))
            found = min(found, float(side.values[k])) if k < len(side.values) else found
        return float(found)

    def as_ruled(self, tau: float) -> float:
        """The threshold that accepts, by this set's comparison, what ``score >= tau`` accepts.

        ``tau`` is a candidate. With ``strict`` that is the candidate below, and -inf where there is none;
        +inf stays as it is.
        """
        if not self.strict or np.isinf(tau):
            return tau
        return max(side.next_below(tau) for side in (self.live, self.attack))


@dataclass(frozen=True)
class PadSamples:
    """Checked scores, unsorted.

    Attributes:
        scores: (n,) finite.
        code: (n,) 0 for live faces, k + 1 for attacks of species k.
        names: of the species, ascending.
    """

    scores: Floats
    code: Ints
    names: tuple[str, ...]

    def sets(self, strict: bool = False) -> PadSets:
        """Sorted. O(n log n).

        Args:
            strict: accepted means score > tau.
        """
        parts = [np.sort(self.scores[self.code == k]) for k in range(len(self.names) + 1)]
        pooled = parts[1] if len(parts) == 2 else np.sort(np.concatenate(parts[1:]))
        species = {name: ScoreSide(part) for name, part in zip(self.names, parts[1:], strict=True)}
        return PadSets(ScoreSide(parts[0]), species, ScoreSide(pooled), strict)


def species_codes(pai: ArrayLike) -> tuple[Ints, tuple[str, ...]]:
    """Numbers of species, and their names ascending (numbers as numbers). O(n).

    Args:
        pai: (n,) words or integers.

    Raises:
        DataError: a species is empty or None.

    >>> species_codes(["print", "mask", "print"])
    (array([1, 0, 1]), ('mask', 'print'))
    """
    labels = np.asarray(pai)
    met: dict[Any, int] = {}
    code = np.full(len(labels), -1, np.int64)
    if labels.dtype.kind in "USiu":  # few species: as many comparisons of the whole array are the fastest
        while len(labels) and len(met) < _FEW and code[first := int(np.argmin(code))] < 0:
            code[labels == labels[first]] = len(met)
            met[labels[first].item()] = len(met)
    rest = np.flatnonzero(code < 0)
    code[rest] = [met.setdefault(v, len(met)) for v in labels[rest].tolist()]
    for value, k in met.items():
        if value is None or value == "" or value != value:
            raise DataError(f"attack {int(np.argmax(code == k))} of {len(code)} has no species; name it")
    order = sorted(met, key=lambda v: (0, v) if isinstance(v, int) else (1, str(v)))
    place = np.empty(len(met), np.int64)
    place[[met[v] for v in order]] = np.arange(len(met))
    return place[code], tuple(str(v) for v in order)


def pad_samples(
    scores: ArrayLike, live: ArrayLike, pai: ArrayLike | None = None, where: str = ""
) -> PadSamples:
    """Scores, labels and species as one checked table, or one line why not. O(n).

    Args:
        scores: (n,) finite, higher is more live.
        live: (n,) true for live faces, false for attacks.
        pai: (n,) species of the attacks (presentation attack instrument); what it says of live faces is not
            looked at. None = one species.
        where: begins the message, for example "dev set".

    Raises:
        ShapeError: not (n,) alike, or ``live`` is not 0/1.
        DataError: a score is NaN or infinite, all scores are equal, one class only, or an attack without
            species.
    """
    try:
        s, y = check_scores(scores, live, _NAMES)
        if np.isinf(s).any():
            k = int(np.isinf(s).argmax())
            raise DataError(f"score {k} of {len(s)} is -inf; mark faces without a score with response=False")
        if s.min() == s.max():
            raise DataError(f"all {len(s)} scores are {s[0]:g}: nothing tells live faces from attacks")
        names: tuple[str, ...] = (ANY_SPECIES,)
        code = np.zeros(len(s), np.int64)
        if pai is None:
            code[~y] = 1
        else:
            kinds = pai if isinstance(pai, np.ndarray) else np.asarray(pai)
            if kinds.shape != s.shape:
                raise ShapeError(f"pai must be ({len(s)},) like scores, got {kinds.shape}")
            found, names = species_codes(kinds[~y])
            code[~y] = found + 1
    except (ShapeError, DataError) as error:
        if not where:
            raise
        raise type(error)(f"{where}: {error}") from None
    return PadSamples(s.astype(np.float64, copy=False), code, names)


def pad_sets(
    scores: ArrayLike, live: ArrayLike, pai: ArrayLike | None = None, strict: bool = False, where: str = ""
) -> PadSets:
    """`pad_samples`, sorted. O(n log n).

    Args:
        scores: (n,) finite, higher is more live.
        live: (n,) true for live faces.
        pai: (n,) species of the attacks; None = one.
        strict: accepted means score > tau.
        where: begins the message of an error.
    """
    return pad_samples(scores, live, pai, where).sets(strict)
