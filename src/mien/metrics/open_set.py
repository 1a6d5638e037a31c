"""One report of embeddings of people never trained on: who is nearest, and who is told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, LimitError
from mien.metrics.identification import check_rows, mate_ranks
from mien.metrics.identity_draws import PairTable
from mien.metrics.intervals import Estimate, percentile_interval, resampled
from mien.metrics.rates import FarRule, TarAtFar, auc_of, eer_of, tar_at_far
from mien.metrics.score_sets import Array, Floats, score_sets
from mien.metrics.verification import unit_rows

MOST_PAIRS = 10_000_000


@dataclass(frozen=True)
class OpenSetReport:
    """Scores of all pairs of images of unseen people.

    Attributes:
        rank_1: share of probes whose nearest image is of the same person.
        eer: equal error rate.
        auc: area under the ROC.
        tar: one for each FAR.
        identities: people with two images or more, the order of ``per_identity``.
        per_identity: name -> (identities,) values, to pair two models by person: ``rank_1`` (share of the
            person's probes), ``auc`` (mean over the person's genuine pairs of the share of all impostors
            below, ties half), ``tar@0.01`` and so on (share of the person's genuine pairs accepted).
        images: how many.
        gallery: what the probes were compared with.
    """

    rank_1: Estimate
    eer: Estimate
    auc: Estimate
    tar: tuple[TarAtFar, ...]
    identities: Array
    per_identity: dict[str, Floats]
    images: int
    gallery: str


def _probe_hits(
    scores: NDArray[np.float32], who: NDArray[np.int64], gallery: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Identity and success of each probe."""
    n = len(who)
    if gallery == "leave_one_out":
        s = scores.copy()
        np.fill_diagonal(s, -np.inf)
        same = who[:, None] == who[None]
        np.fill_diagonal(same, False)
        ranks, own = mate_ranks(s, same), who
    else:
        first = np.unique(who, return_index=True)[1]
        probes = np.setdiff1d(np.arange(n), first)
        own = who[probes]
        ranks = mate_ranks(scores[np.ix_(probes, first)], own[:, None] == who[first][None])
    return own[ranks > 0], ranks[ranks > 0] == 1


def _shares(values: Floats, owner: NDArray[np.int64], units: int) -> tuple[Floats, Floats]:
    """Sum and count of values of each unit."""
    count = np.bincount(owner, minlength=units).astype(np.float64)
    return np.bincount(owner, values, units).astype(np.float64), count


def open_set_report(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    fars: Sequence[float] = (1e-2, 1e-3),
    gallery: Literal["leave_one_out", "first"] = "leave_one_out",
    rule: FarRule = "at_most",
    draws: int = 500,
    seed: int = 0,
) -> OpenSetReport:
    """Rank-1, EER, AUC and TAR at FARs of all pairs, cosine similarity, with intervals over identities.

    Intervals come from drawing people with replacement, with all their images; for rank-1 the people searched
    among stay as they are. O(n^2 d + draws n^2): for sets of up to ten million pairs (4,472 images).

    Args:
        embeddings: (n, d), any length.
        labels: (n,) identities; a person with one image takes part as an impostor only.
        fars: false accept rates.
        gallery: each image is searched among all others, or all but the first image of each person (in the
            order given) among those first ones.
        rule: as in `tar_at_far`.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        LimitError: more pairs than that; `tally_pairs` counts any number.
        DataError: NaN, one person only, or nobody with two images.
    """
    e, names = check_rows("embeddings", embeddings, labels)
    if gallery not in ("leave_one_out", "first"):
        raise ConfigError(f"gallery {gallery!r}: one of leave_one_out, first")
    n = len(e)
    if n * (n - 1) // 2 > MOST_PAIRS:
        raise LimitError(f"{n} images make more than {MOST_PAIRS} pairs; use tally_pairs")
    people, who, counts = np.unique(names, return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts > 1)
    if len(people) < 2 or not len(several):
        raise DataError(f"{len(people)} people, {len(several)} with two images or more: need 2 and 1")
    e = unit_rows(e.astype(np.float64)).astype(np.float32)
    scores = e @ e.T
    first, second = np.triu_indices(n, 1)
    pairs = np.stack([who[first], who[second]], 1)
    same, flat = pairs[:, 0] == pairs[:, 1], scores[first, second]
    probe, hit = _probe_hits(scores, who, gallery)
    hits, tried = _shares(hit.astype(np.float64), probe, len(people))
    again = [(w @ hits) / (w @ tried) for w in resampled(len(people), draws, seed) if w @ tried > 0]
    sets, over = score_sets(flat, same), "identities"
    whole = PairTable.of(flat, same, pairs).draws(lambda s: (eer_of(s).value, auc_of(s)), draws, seed)
    tar = tar_at_far(
        flat, same, fars, rule=rule, bootstrap="identities", identities=pairs, draws=draws, seed=seed
    )
    owner, genuine = pairs[same, 0], flat[same]
    below = 1 - 0.5 * (sets.impostor.at_least(genuine) + sets.impostor.above(genuine)) / sets.impostor.total
    units = {"rank_1": hits[several] / tried[several]}
    for name, values in [("auc", below)] + [
        (f"tar@{p.target:g}", (genuine >= p.threshold).astype(np.float64)) for p in tar
    ]:
        total, count = _shares(values, owner, len(people))
        units[name] = total[several] / count[several]
    return OpenSetReport(
        rank_1=Estimate(float(hit.mean()), percentile_interval(again), over),
        eer=Estimate(eer_of(sets).value, percentile_interval(whole[:, 0]), over),
        auc=Estimate(auc_of(sets), percentile_interval(whole[:, 1]), over),
        tar=tar,
        identities=people[several],
        per_identity=units,
        images=n,
        gallery=gallery,
    )
