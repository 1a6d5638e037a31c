"""Error rates of a detector as means over test units, for paired differences and their bootstrap.

ACER and AUC are no means over samples; these functions give numbers of which they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def by_subject(values: NDArray[np.float64], subjects: NDArray[np.generic]) -> NDArray[np.float64]:
    """(people,) numbers whose mean is that of ``values``: the sum of each subject's share. O(n log n).

    Args:
        values: (n,).
        subjects: (n,) whose each is; any unit will do (tracks, clips).
    """
    _, inverse = np.unique(subjects, return_inverse=True)
    people = int(inverse.max()) + 1
    return np.bincount(inverse, values, people) * people / len(values)


def class_balanced(values: NDArray[np.float64], live: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) weighted so that the mean is the mean of the two classes' means."""
    share = np.where(live, live.mean(), (~live).mean())
    return np.asarray(values / (2 * share))


def placements(scores: Values, live: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) share of the other class on the right side of each score, ties half. O(n log n).

    The mean of either class is the AUC.
    """
    out = np.empty(len(scores))
    for kind in (True, False):
        own, other = scores[live == kind], np.sort(scores[live != kind])
        below = np.searchsorted(other, own, "left") + np.searchsorted(other, own, "right")
        share = below / (2 * len(other))
        out[live == kind] = share if kind else 1 - share
    return out
