"""Signs that a submission plays with the threshold, which comes from its own dev scores.

A flag is a remark for the organisers, not a verdict: coarse or shifted scores can be honest.
"""

from __future__ import annotations

import numpy as np

from mien.metrics.score_sets import Floats

FEW_DISTINCT = 0.01
FAR_APART = 0.5


def kolmogorov_smirnov(a: Floats, b: Floats) -> float:
    """sup_x |F_a(x) - F_b(x)|, the two-sample Kolmogorov-Smirnov distance. O(n log n).

    >>> kolmogorov_smirnov(np.array([0.0, 1.0]), np.array([0.0, 0.0]))
    0.5
    """
    both = np.concatenate([a, b])
    parts = (np.searchsorted(np.sort(x), both, "right") / len(x) for x in (a, b))
    return float(np.abs(next(parts) - next(parts)).max())


def flags_of(dev: Floats, test: Floats | None) -> tuple[str, ...]:
    """Remarks on the scores of a submission, one line each; labels are not looked at. O(n log n).

    Args:
        dev: (n,) scores of the dev lines.
        test: (m,) scores of the test lines; None in phase 1.
    """
    out = []
    distinct = len(np.unique(dev))
    if distinct < FEW_DISTINCT * len(dev):
        share = 100 * distinct / len(dev)
        out.append(f"dev_few_values: {distinct} distinct dev scores in {len(dev)} lines ({share:.2g} %)")
    if test is not None and (distance := kolmogorov_smirnov(dev, test)) > FAR_APART:
        out.append(f"dev_test_differ: dev and test scores differ grossly (KS {distance:.3f})")
    return tuple(out)
