"""``mien bench pad``: the report of presentation attack detection on 10^6 scores, one core.

Five species, the threshold from a development set of 10^5 scores. The reference is what public code of the
field does, on the same data and in full: it tries the thresholds 0, 0.0001 .. 1 and 1.1 on the development
set, counting errors anew for each, and takes scikit-learn's `roc_curve` for AUC and TPR@FPR of the test set.
It gives no interval, so ours is compared with its bootstrap left out; ``report_seconds_1e6`` is the whole
report as a user calls it, 1000 bootstrap draws included.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.bench.speed import entry, interleave, ratio
from mien.core.errors import MienError
from mien.metrics.pad_report import pad_report

TEST, DEV = 1_000_000, 100_000
SPECIES = np.array(["print", "replay", "paper_mask", "resin", "silicone"])
GRID = np.append(np.linspace(0, 1, 10_001), 1.1)


class Made(NamedTuple):
    """Scores in [0, 1], labels and species of one set."""

    scores: NDArray[np.float64]
    live: NDArray[np.bool_]
    pai: NDArray[np.str_]


def make(n: int, seed: int) -> Made:
    """Logistic functions of normal numbers, 30 % live faces, each species nearer to them than the one before.

    Args:
        n: how many.
        seed: of the numbers.
    """
    rng = np.random.default_rng(seed)
    live, kind = rng.random(n) < 0.3, rng.integers(0, len(SPECIES), n)
    z = rng.normal(np.where(live, 2.0, 0.3 * kind - 2.0), 1.5)
    return Made(1 / (1 + np.exp(-z)), live, SPECIES[kind])


def _ours(test: Made, dev: Made, draws: int) -> list[float]:
    report = pad_report(*test, "eer", dev, draws=draws)
    points = [p.tpr for p in report.tpr_at_fpr if p.definition == "conservative"]
    rates = report.apcer_max.value, report.apcer_pooled.value, report.bpcer.value
    return [*rates, report.auc.value, *points]


def loop_report(test: Made, dev: Made) -> list[float]:
    """APCER max and pooled, BPCER, AUC, and TPR at 1e-2, 1e-3, 1e-4, as public code finds them. O(10^4 n).

    Args:
        test: set that is reported.
        dev: set that the threshold is chosen on, where APCER and BPCER are nearest, the last such.
    """
    from sklearn.metrics import auc, roc_curve

    chosen, least = 0.0, np.inf
    for t in GRID:
        accepted = dev.scores >= t
        far = np.sum(accepted & ~dev.live) / np.sum(~dev.live)
        frr = np.sum(~accepted & dev.live) / np.sum(dev.live)
        if abs(far - frr) <= least:
            chosen, least = t, abs(far - frr)
    accepted = test.scores >= chosen
    apcer = [np.mean(accepted[~test.live & (test.pai == name)]) for name in np.unique(test.pai)]
    fpr, tpr, _ = roc_curve(test.live, test.scores)
    points = [float(tpr[fpr <= x].max()) for x in (1e-2, 1e-3, 1e-4)]
    rates = max(apcer), np.mean(accepted[~test.live]), np.mean(~accepted[test.live]), auc(fpr, tpr)
    return [*(float(r) for r in rates), *points]


def bench(scale: float = 1.0, repeats: int = 3) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Seconds of the report and of the loop, in turn.

    Args:
        scale: share of both sets' sizes.
        repeats: of each.

    Raises:
        MienError: the two disagree by more than the loop's steps of 0.0001 explain.
    """
    test, dev = make(round(scale * TEST), 0), make(round(scale * DEV), 1)
    apart = np.abs(np.subtract(_ours(test, dev, 0), loop_report(test, dev)))
    allowed = 2e-3 + 4 / np.count_nonzero(dev.live)
    if apart.max() > allowed:
        raise MienError(f"bench pad: rates differ from the loop's by {apart.max():.2g}")
    seconds = interleave(
        {
            "report": lambda: _ours(test, dev, 1000),
            "report_without_bootstrap": lambda: _ours(test, dev, 0),
            "reference_loop": lambda: loop_report(test, dev),
        },
        repeats,
        warmup=0,
    )
    bare = seconds["report_without_bootstrap"]
    ratios = {
        "report_seconds_1e6": float(np.median(seconds["report"])),
        "report_seconds_1e6_without_bootstrap": float(np.median(bare)),
        "speedup_over_loop": ratio(seconds["reference_loop"], bare),
    }
    return [entry(name, s) for name, s in seconds.items()], ratios
