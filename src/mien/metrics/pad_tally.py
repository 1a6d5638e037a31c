"""The report of any number of liveness scores in fixed memory: counts by species on a fine grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.intervals import DRAWS
from mien.metrics.pad_rates import NoResponse, Rate
from mien.metrics.pad_report import FPRS, Dev, PadReport, dev_sets, report_of, resolve_threshold
from mien.metrics.pad_scores import ANY_SPECIES, PadSets, species_codes
from mien.metrics.tally import check_grid, counted_side, grid_index

Counts = NDArray[np.int64]


class PadTally:
    """Counts scores of live faces and of attacks by species: `update`, `merge`, `report`, `reset`.

    Use it above about 1e7 scores, or where they come in chunks or from several processes. Every score is
    lowered to a multiple of the bin width before it is counted: rates at those multiples are exact (with
    ``strict``, scores of the threshold's bin count as equal to it), thresholds are chosen among them, and EER
    and AUC are off by at most what lies in one bin. Scores in [0, 1] in 2^20 bins: width 1e-6, 8 MB for live
    faces and for each species.

    Args:
        low: least score; lower ones are counted at it, and the report warns of them.
        high: largest score; higher ones are counted at it, and the report warns of them.
        bins: how many.

    Raises:
        ConfigError: high not above low, or fewer than 2 bins.

    >>> tally = PadTally()
    >>> tally.update([0.9, 0.2], [1, 0], ["", "print"])
    >>> tally.update([0.8, 0.6], [1, 0], ["", "mask"])
    >>> tally.report(0.5, draws=0).apcer_max.value
    1.0
    """

    def __init__(self, low: float = 0.0, high: float = 1.0, bins: int = 2**20) -> None:
        check_grid(low, high, bins)
        self.low, self.high, self.bins = low, high, bins
        self.reset()

    def reset(self) -> None:
        """Forgets all scores."""
        self.live: Counts = np.zeros(self.bins, np.int64)
        self.species: dict[str, Counts] = {}
        self.outside = 0
        self._asked = False
        self._live_lost, self._lost = 0, dict[str, int]()

    def update(
        self,
        scores: ArrayLike,
        live: ArrayLike,
        pai: ArrayLike | None = None,
        response: ArrayLike | None = None,
    ) -> None:
        """Counts a chunk; it may be all of one class. O(n species).

        Args:
            scores: (n,) higher is more live; NaN is allowed where ``response`` is false.
            live: (n,) true for live faces.
            pai: (n,) species of the attacks; None = one species.
            response: (n,) false where the system gave no score.

        Raises:
            ShapeError: not (n,) alike, or labels that are not 0/1.
            DataError: a score is NaN or infinite, or an attack has no species.
        """
        s, y = np.asarray(scores), np.asarray(live)
        got = np.ones(len(y) if y.ndim else 0, np.bool_) if response is None else np.asarray(response)
        shapes = {v.shape for v in (s, y, got, *(() if pai is None else (np.asarray(pai),)))}
        if len(shapes) > 1 or s.ndim != 1:
            raise ShapeError(f"scores, live, pai and response must be (n,) alike, got {sorted(shapes)}")
        if not all(((v == 0) | (v == 1)).all() for v in (y, got)):
            raise ShapeError("live and response must hold booleans or 0 and 1 only")
        y, got = y.astype(np.bool_), got.astype(np.bool_)
        bad = ~np.isfinite(s) & got
        if bad.any():
            raise DataError(
                f"{int(bad.sum())} of {len(s)} scores are NaN or infinite, the first at {int(bad.argmax())}"
            )
        names: tuple[str, ...] = (ANY_SPECIES,)
        code = np.zeros(int((~y).sum()), np.int64)
        if pai is not None:
            code, names = species_codes(np.asarray(pai)[~y])
        self._count(self.live, s[y & got])
        attacks, answered = s[~y], got[~y]
        for k, name in enumerate(names if len(code) else ()):
            chosen = code == k
            counts = self.species.setdefault(name, np.zeros(self.bins, np.int64))
            self._count(counts, attacks[chosen & answered])
            self._lost[name] = self._lost.get(name, 0) + int(np.count_nonzero(chosen & ~answered))
        self._live_lost += int(np.count_nonzero(y & ~got))
        self._asked |= response is not None

    def _count(self, counts: Counts, scores: NDArray[np.floating]) -> None:
        np.add.at(counts, grid_index(scores, self.low, self.high, self.bins), 1)
        self.outside += int(np.count_nonzero((scores < self.low) | (scores > self.high)))

    def merge(self, other: PadTally) -> None:
        """Adds the counts of another tally of the same grid (another process's).

        Raises:
            ConfigError: another grid.
        """
        if (self.low, self.high, self.bins) != (other.low, other.high, other.bins):
            raise ConfigError("only tallies of the same low, high and bins can be merged")
        self.live += other.live
        for name, counts in other.species.items():
            self.species[name] = self.species.get(name, np.zeros(self.bins, np.int64)) + counts
            self._lost[name] = self._lost.get(name, 0) + other._lost[name]
        self.outside += other.outside
        self._live_lost += other._live_lost
        self._asked |= other._asked

    def compute(self, strict: bool = False) -> PadSets:
        """The counts as weighted scores. O(species bins).

        Args:
            strict: accepted means score > threshold.

        Raises:
            DataError: no live face, no attack, or all scores in one bin.
        """
        counted = {name: c for name, c in sorted(self.species.items()) if c.any()}
        if not counted or not self.live.any():
            raise DataError(f"no {'attack' if not counted else 'live face'} was counted: rates need both")
        attack = np.sum(list(counted.values()), axis=0)
        if np.count_nonzero(self.live + attack) == 1:
            raise DataError("all scores lie in one bin: nothing tells live faces from attacks")
        live, pooled, *each = (
            counted_side(c, self.low, self.high) for c in (self.live, attack, *counted.values())
        )
        return PadSets(live, dict(zip(counted, each, strict=True)), pooled, strict)

    def _no_response(self) -> NoResponse | None:
        if not self._asked:
            return None
        lost, tries = self._lost, {name: int(c.sum()) + self._lost[name] for name, c in self.species.items()}
        return NoResponse(
            apnrr=Rate.of(sum(lost.values()), sum(tries.values())),
            bpnrr=Rate.of(self._live_lost, int(self.live.sum()) + self._live_lost),
            species={name: Rate.of(lost[name], tries[name]) for name in sorted(tries)},
        )

    def report(
        self,
        threshold: str | float = "eer",
        dev: PadTally | Dev | None = None,
        strict: bool = False,
        *,
        fprs: Sequence[float] = FPRS,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> PadReport:
        """As `mien.metrics.pad_report`, to within a bin; the bootstrap is over samples.

        Args:
            threshold: as there.
            dev: a tally of the development set, or (scores, live) or (scores, live, pai).
            strict: as there.
            fprs: as there.
            draws: of the bootstrap; 0 leaves it out.
            seed: of the bootstrap.

        Raises:
            ConfigError, ShapeError, DataError: as there.
        """
        sets = self.compute(strict)
        chosen = dev.compute(strict) if isinstance(dev, PadTally) else dev_sets(dev, strict)
        warnings = []
        if self.outside:
            warnings.append(
                f"{self.outside} scores outside [{self.low:g}, {self.high:g}] were counted at its ends"
            )
        return report_of(
            sets,
            resolve_threshold(threshold, chosen, sets),
            fprs=fprs,
            no_response=self._no_response(),
            draws=draws,
            seed=seed,
            warnings=warnings,
        )
