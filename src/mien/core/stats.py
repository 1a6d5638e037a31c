"""Intervals and verdicts of claims: bootstrap over test units, t over seeds (design: "Verdicts")."""

from __future__ import annotations

import base64
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.protocol import AtMost, Equal, Rule, Values, Within

DRAWS = 2000


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds: true, false, or None with the reason."""

    holds: bool | None
    value: float | None
    interval: tuple[float, float] | None
    seeds: int
    reason: str | None = None


def t_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % t interval of the mean over seeds; infinite for one value."""
    from scipy import stats

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return (-math.inf, math.inf)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return (mean - half, mean + half)


def bootstrap_interval(rule: Rule, values: tuple[Values, ...], draws: int = DRAWS) -> tuple[float, float]:
    """95 % percentile bootstrap of the rule's statistic over test units, the same in every row and seed.

    Seeds are averaged first (every statistic of `mien.core.protocol` is a function of means), so the cost is
    O(draws * units) whatever the number of seeds. The generator's seed is fixed: same results, same interval.
    """
    means = np.stack([v.mean(axis=0) for v in values])
    rng = np.random.default_rng(20230616)
    units = means.shape[1]
    out = np.empty(draws)
    for i in range(draws):
        pick = rng.integers(0, units, units)
        out[i] = rule.statistic(tuple(m[None, pick] for m in means))
    with np.errstate(invalid="ignore"):  # infinite draws of a ratio
        low, high = np.quantile(out, [0.025, 0.975])
    return float(low), float(high)


def judge(rule: Rule, values: tuple[Values, ...]) -> Verdict:
    """The verdict of section 5 of the design.

    Args:
        rule: the claim's rule.
        values: one (seeds, units) array for each row; units = 1 for a metric without units.

    true = the interval lies wholly on the claimed side and every seed has that side; false = wholly on
    the other side; None otherwise.
    """
    seeds, units = values[0].shape
    if not all(np.isfinite(v).all() for v in values):
        return Verdict(None, None, None, seeds, "some values are not finite")
    value = rule.statistic(values)
    if not math.isfinite(value):
        return Verdict(None, None, None, seeds, "the statistic is not finite")
    if isinstance(rule, Equal):
        return Verdict(rule.side(value), value, (value, value), seeds)
    each = [rule.statistic(tuple(v[s : s + 1] for v in values)) for s in range(seeds)]
    interval = bootstrap_interval(rule, values) if units > 1 else t_interval(np.array(each))
    if isinstance(rule, AtMost):
        interval = (min(each), max(each))
    if math.isnan(interval[0]) or math.isnan(interval[1]):
        return Verdict(None, value, None, seeds, "the interval is not finite")
    ends = [rule.side(end) for end in interval]
    if all(ends) and all(rule.side(e) for e in each):
        return Verdict(True, value, interval, seeds)
    outside = isinstance(rule, Within) and interval[0] <= 0 <= interval[1]
    if not any(ends) and not outside:
        return Verdict(False, value, interval, seeds)
    reason = "the interval crosses the bound" if not all(ends) else "the seeds disagree"
    return Verdict(None, value, interval, seeds, reason)


def summary(values: NDArray[np.float64]) -> dict[str, Any]:
    """``mean, std, ci95, n`` over seeds, as `mien results --json` prints them."""
    low, high = t_interval(values)
    finite = len(values) > 1
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if finite else 0.0,
        "ci95": [low, high] if finite else [float(np.mean(values))] * 2,
        "n": len(values),
    }


def pack_units(values: NDArray[Any]) -> dict[str, Any]:
    """Per-unit values of one metric as a small JSON object.

    Few distinct values (right / wrong, k of K experts) become one byte each; others half floats scaled by
    their largest magnitude (relative error <= 2^-11). O(units).
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError("per-unit values must be finite")
    levels, index = np.unique(values, return_inverse=True)
    extra: dict[str, Any]
    if len(levels) <= 16:
        body, extra = index.astype(np.uint8), {"levels": [float(v) for v in levels]}
    else:
        scale = float(np.abs(values).max())
        body, extra = (values / scale).astype("<f2"), {"scale": scale}
    data = base64.b85encode(zlib.compress(body.tobytes(), 9)).decode()
    return {"n": len(values), **extra, "data": data}


def unpack_units(packed: dict[str, Any]) -> Values:
    """The inverse of `pack_units`: (units,) float64.

    Raises:
        DataError: damaged, or longer than it says.
    """
    try:
        size = int(packed["n"]) * (1 if "levels" in packed else 2)
        if size < 0:  # zlib takes a negative or zero bound for none
            raise ValueError("negative length")
        raw = zlib.decompressobj().decompress(base64.b85decode(packed["data"]), size + 1)
        if len(raw) != size:
            raise ValueError("another length than they say")
        if "levels" in packed:
            values = np.array(packed["levels"], dtype=np.float64)[np.frombuffer(raw, np.uint8)]
        else:
            values = np.frombuffer(raw, "<f2").astype(np.float64) * float(packed["scale"])
        if values.ndim != 1 or not np.isfinite(values).all():
            raise ValueError("not finite numbers")
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, zlib.error) as error:
        raise DataError(f"damaged per-unit values in results ({error})") from None
    return values
