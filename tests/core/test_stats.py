from __future__ import annotations

import base64
import math
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import DataError
from mien.core.protocol import Above, AtMost, Equal, Monotone, PairedGain, Ratio, Ratios, Within
from mien.core.stats import bootstrap_interval, judge, pack_units, summary, t_interval, unpack_units


def noise(seeds=3, units=200, spread=0.3, seed=0):
    return np.random.default_rng(seed).normal(0, spread, (seeds, units))


BASE = noise()


def gain(by, seed=1, **options):
    """Two rows whose paired difference is about ``by``."""
    return (BASE + by + noise(seed=seed, **options), BASE)


def around(mean, seed):
    values = noise(seed=seed)
    return values - values.mean() + mean


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("rule", "values", "holds"),
    [
        (PairedGain(), gain(0.2), True),
        (PairedGain(), gain(-0.2), False),
        (PairedGain(above=0.1), gain(0.2), True),
        (PairedGain(above=0.3), gain(0.2), False),
        (PairedGain(above=0.2), gain(0.2), None),
        (Ratio(0.7), (around(1.0, 2), around(2.0, 3)), True),
        (Ratio(0.4), (around(1.0, 2), around(2.0, 3)), False),
        (Ratio(0.5), (around(1.0, 2), around(2.0, 3)), None),
        (Within(0.3), gain(0.2), True),
        (Within(0.1), gain(0.2), False),
        (Within(0.1), gain(-0.2), False),
        (Within(0.2), gain(0.2), None),
        (Within(0.001), gain(0.0), None),
        (Above(0.5), (noise() + 1.0,), True),
        (Above(1.5), (noise() + 1.0,), False),
        (Above(1.0), (noise() + 1.0,), None),
        (Monotone(), (BASE, BASE + 1, BASE + 2), True),
        (Monotone(), (BASE, BASE + 1, BASE + 0.5), False),
        (Monotone(), (BASE, BASE + noise(seed=5)), None),
    ],
)
@pytest.mark.parametrize("with_units", [True, False])
def test_true_false_and_open_by_construction(rule, values, holds, with_units):
    if not with_units:
        # a metric without units: one number for each of five seeds, a t interval
        values = tuple(np.array([[v.mean() + 0.01 * s] for s in (-2, -1, 0, 1, 2)]) for v in values)
        shift = np.array([[0.02], [-0.02], [0.0], [0.01], [-0.01]])
        values = (values[0] + shift, *values[1:])
    verdict = judge(rule, values)
    assert verdict.holds is holds
    assert verdict.seeds == len(values[0])
    assert verdict.interval[0] <= verdict.value <= verdict.interval[1]
    assert verdict.value == pytest.approx(rule.statistic(values))
    assert (verdict.reason is None) == (holds is not None)


def test_seeds_that_disagree_leave_a_claim_open():
    """The mean is far above, but one seed is below."""
    first = np.stack([BASE[0] + 1.0, BASE[0] + 1.0, BASE[0] - 0.05])
    second = np.stack([BASE[0]] * 3)
    verdict = judge(PairedGain(), (first, second))
    assert verdict.interval[0] > 0
    assert verdict.holds is None
    assert "seeds disagree" in verdict.reason


def test_false_needs_only_the_interval():
    first = np.stack([BASE[0] - 1.0, BASE[0] - 1.0, BASE[0] + 0.05])
    assert judge(PairedGain(), (first, np.stack([BASE[0]] * 3))).holds is False


def test_a_band_inside_the_interval_is_open():
    """Both ends outside, on opposite sides: neither inside nor outside."""
    values = (np.array([[1.0], [-1.0], [0.1]]), np.zeros((3, 1)))
    verdict = judge(Within(0.01), values)
    assert verdict.interval[0] < -0.01 < 0.01 < verdict.interval[1]
    assert verdict.holds is None
    assert "crosses" in verdict.reason


def test_pairing_removes_what_units_share():
    """Units differ a thousand times more than the rows do."""
    units = 1000 * np.random.default_rng(0).normal(size=(1, 100)).repeat(3, axis=0)
    assert judge(PairedGain(), (units + 1, units)).holds is True


def test_an_identity_has_a_point_for_an_interval():
    exact = judge(Equal(), (BASE, BASE.copy()))
    assert (exact.holds, exact.value, exact.interval) == (True, 0.0, (0.0, 0.0))
    moved = BASE.copy()
    moved[1, 7] += 1e-6
    assert judge(Equal(1e-5), (BASE, moved)).holds is True
    found = judge(Equal(1e-7), (BASE, moved))
    assert found.holds is False
    assert found.interval == (found.value, found.value)


def test_one_seed_without_units_is_always_open():
    for rule in (PairedGain(), Ratio(0.5), Within(0.1)):
        verdict = judge(rule, (np.array([[5.0]]), np.array([[1.0]])))
        assert verdict.holds is None
        assert verdict.interval == (-math.inf, math.inf)


@pytest.mark.parametrize("rule", [PairedGain(), Ratio(0.7), Within(0.1), Equal()])
@pytest.mark.parametrize("shape", [(3, 1), (3, 20)])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_no_numbers_are_open_not_false(rule, shape, bad):
    first = np.ones(shape)
    first[1, 0] = bad
    verdict = judge(rule, (first, np.ones(shape)))
    assert verdict.holds is None
    assert "not finite" in verdict.reason


def test_ratio_over_nothing_is_open():
    for shape in ((3, 1), (3, 20)):
        verdict = judge(Ratio(0.7), (np.ones(shape), np.zeros(shape)))
        assert verdict.holds is None
        assert "not finite" in verdict.reason
    rare = np.zeros((3, 20))
    rare[:, 0] = 1.0
    assert judge(Ratio(0.7), (np.ones((3, 20)), rare)).holds is not True


def test_verdicts_are_repeatable():
    assert judge(PairedGain(), gain(0.01)) == judge(PairedGain(), gain(0.01))


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(
    ("rule", "rows"), [(PairedGain(), 2), (Ratio(0.5), 2), (Within(1.0), 2), (Above(0.0), 1), (Monotone(), 3)]
)
def test_bootstrap_equals_its_loop(rule, rows):
    values = tuple(noise(2, 30, seed=s) + 1 + s for s in range(rows))
    low, high = bootstrap_interval(rule, values, draws=60)
    rng = np.random.default_rng(20230616)
    found = []
    for _ in range(60):
        pick = rng.integers(0, 30, 30)
        drawn = []
        for v in values:
            # the same units in every row and seed
            drawn.append(np.array([[v[s][u] for u in pick] for s in range(2)]))
        found.append(rule.statistic(tuple(drawn)))
    found.sort()
    for q, end in ((0.025, low), (0.975, high)):
        place = q * 59
        below = int(place)
        expected = found[below] + (place - below) * (found[below + 1] - found[below])
        assert end == pytest.approx(expected, rel=1e-9)


def test_bootstrap_has_the_width_of_theory():
    values = (noise(1, 2000, 1.0), np.zeros((1, 2000)))
    low, high = bootstrap_interval(PairedGain(), values)
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(2000), rel=0.1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=10))
def test_t_interval_equals_scipy(values):
    from scipy import stats

    array = np.array(values)
    low, high = t_interval(array)
    error = stats.sem(array)
    if error > 0:
        wanted = stats.t.interval(0.95, len(array) - 1, loc=array.mean(), scale=error)
        assert (low, high) == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert low <= array.mean() <= high


def test_t_interval_by_the_table():
    """t(0.975, 2) = 4.302653."""
    low, high = t_interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-5)
    assert t_interval(np.array([7.0])) == (-math.inf, math.inf)


def test_summary():
    found = summary(np.array([1.0, 2.0, 3.0]))
    assert (found["mean"], found["std"], found["n"]) == (2.0, 1.0, 3)
    assert found["ci95"] == pytest.approx(t_interval(np.array([1.0, 2.0, 3.0])))
    assert summary(np.array([5.0])) == {"mean": 5.0, "std": 0.0, "ci95": [5.0, 5.0], "n": 1}


# ---------------------------------------------------------------- per-unit values in results


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=16, unique=True),
    st.lists(st.integers(0, 15), max_size=300),
)
def test_levels_come_back_exactly(levels, picks):
    values = np.array([levels[p % len(levels)] for p in picks], dtype=np.float64)
    packed = pack_units(values)
    assert len(packed["levels"]) <= 16
    assert np.array_equal(unpack_units(packed), values)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-6, 1e6), st.integers(17, 500))
def test_numbers_come_back_within_half_precision(seed, scale, count):
    rng = np.random.default_rng(seed)
    values = scale * rng.choice([-1, 1], count) * 2.0 ** -rng.uniform(0, 13, count)
    found = unpack_units(pack_units(values))
    assert found.dtype == np.float64
    assert (np.abs(found - values) <= 2.0**-11 * 1.0001 * np.abs(values)).all()


def test_very_small_numbers_come_back_within_the_largest():
    values = 10.0 ** -np.arange(0, 40, dtype=np.float64)
    assert np.abs(unpack_units(pack_units(values)) - values).max() < 2.0**-11


def test_packed_values_are_small_json():
    import json

    right = np.random.default_rng(0).integers(0, 2, 2000).astype(float)
    text = json.dumps(pack_units(right))
    assert len(text) < 600
    assert np.array_equal(unpack_units(json.loads(text)), right)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_not_packed(bad):
    with pytest.raises(DataError, match="finite"):
        pack_units(np.array([0.0, bad]))


def packed_raw(raw, **fields):
    return {"data": base64.b85encode(zlib.compress(raw, 9)).decode(), **fields}


BOMB = b"\0" * (64 * 2**20)
GOOD = pack_units(np.arange(40.0))


@pytest.mark.parametrize(
    "packed",
    [
        packed_raw(b"\0\1", n=3, levels=[0.0, 1.0]),
        packed_raw(b"\0\1", n=1, levels=[0.0, 1.0]),
        packed_raw(b"\0\2", n=2, levels=[0.0, 1.0]),
        packed_raw(b"\0\1", n=-1, levels=[0.0, 1.0]),
        packed_raw(b"\0\1", n="two", levels=[0.0, 1.0]),
        packed_raw(b"\0\1", n=None, levels=[0.0, 1.0]),
        packed_raw(b"\0\1", n=10**30, levels=[0.0, 1.0]),
        packed_raw(b"\0\1", n=2, levels="ab"),
        packed_raw(b"\0\1", n=2, levels=[]),
        packed_raw(b"\0\1", n=2, levels=[[0.0], [1.0]]),
        packed_raw(b"\0\0", n=1, scale="wide"),
        packed_raw(b"\0\0", n=1, scale=math.nan),
        packed_raw(b"\0\x7c", n=1, scale=1.0),
        packed_raw(b"\0\0", n=1),
        {"n": 2, "levels": [0.0]},
        {"levels": [0.0], "data": ""},
        {**GOOD, "data": GOOD["data"][:-10]},
        {**GOOD, "data": GOOD["data"][5:]},
        {**GOOD, "data": "not base 85 ÿ"},
        {**GOOD, "data": 5},
        {**GOOD, "data": base64.b85encode(b"not zlib").decode()},
        packed_raw(BOMB, n=10, scale=1.0),
    ],
)
def test_damaged_values_are_refused(packed):
    with pytest.raises(DataError, match="per-unit values"):
        unpack_units(packed)


@pytest.mark.parametrize("n", [10, -1, 0])
def test_a_bomb_is_not_unpacked(n, monkeypatch):
    packed = packed_raw(BOMB, n=n, levels=[0.0])
    seen = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self):
            self.inner = real()

        def decompress(self, data, limit):
            out = self.inner.decompress(data, limit)
            seen.append(len(out))
            return out

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(DataError, match="per-unit values"):
        unpack_units(packed)
    assert sum(seen) <= 11


def runs(*values):
    return np.array(values, dtype=np.float64)[:, None]


def test_several_ratios_hold_at_once_or_not():
    small, large = runs(0.5, 0.51, 0.49), runs(1.0, 1.01, 0.99)
    both = judge(Ratios((0.8, 1.0)), (small, large, small, large))
    assert both.holds is True
    assert both.value == pytest.approx(0.5 / 0.8, rel=0.02)
    one = judge(Ratios((0.8, 1.0)), (small, large, large * 1.1, large))
    assert one.holds is False
    assert one.value == pytest.approx(1.1)


def test_a_speed_is_judged_by_the_range_of_its_runs():
    rule = AtMost(1.03)
    assert judge(rule, (runs(1.0, 1.01, 1.02),)).interval == (1.0, 1.02)
    assert judge(rule, (runs(1.0, 1.01, 1.02),)).holds is True
    assert judge(rule, (runs(1.0, 1.01, 1.04),)).holds is None
    assert judge(rule, (runs(1.1, 1.2, 1.3),)).holds is False
