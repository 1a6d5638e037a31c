"""Errors by group, against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mien.core.errors import ShapeError
from mien.core.seeds import derive
from mien.engine.face_groups import made_groups
from mien.engine.pad_groups import (
    GroupError,
    acer_by,
    balanced_error,
    error_by,
    group_rows,
    plot_groups,
    rates_of_people,
    tenths,
)

LIVE = np.array([1, 1, 0, 0, 1, 0], bool)
WRONG = np.array([1, 0, 1, 0, 0, 1], bool)


def test_the_mean_of_both_classes():
    assert balanced_error(WRONG, LIVE) == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert balanced_error(WRONG[LIVE], LIVE[LIVE]) is None
    assert balanced_error(WRONG[:0], LIVE[:0]) is None


def test_groups_in_order_of_their_value_and_holes():
    groups = acer_by(WRONG, LIVE, np.array([10, 10, 10, 2, 2, 7]))
    assert groups == [GroupError("2", 2, 0.0), GroupError("7", 1, None), GroupError("10", 3, 0.75)]
    assert group_rows("camera", groups)[1:] == [
        {"camera": "7", "pictures": "1", "ACER, %": "n/a"},
        {"camera": "10", "pictures": "3", "ACER, %": "75.00"},
    ]


def test_a_label_has_an_error_rate():
    label = np.array([0, 0, 3, 3, 0, 9])
    assert error_by(WRONG, label) == [
        GroupError("0", 3, pytest.approx(1 / 3)), GroupError("3", 2, 0.5), GroupError("9", 1, 1.0)
    ]  # fmt: skip


def test_tenths_against_a_loop():
    values = np.random.default_rng(0).random(40)
    order = sorted(values)
    assert tenths(values).tolist() == [1 + order.index(v) // 4 for v in values]


def test_equals_stay_together_however_the_list_is_sorted():
    values = np.array([0.15] * 30 + list(np.linspace(0.2, 1, 70)))
    found = tenths(values)
    assert set(found[:30].tolist()) == {1}
    assert sorted(set(found.tolist())) == [1, 4, 5, 6, 7, 8, 9, 10]
    live = np.array([True] * 15 + [False] * 15 + [True, False] * 35)
    assert acer_by(~live, live, found)[0] == GroupError("1", 30, 0.5)


def test_a_figure():
    groups = acer_by(WRONG, LIVE, np.array([1, 1, 1, 2, 2, 3]))
    assert plot_groups({"a": groups, "b": groups, "c": groups}, 0.5).startswith(b"\x89PNG")


def test_rates_of_made_people_against_loops():
    rng = np.random.default_rng(0)
    derived = np.array([derive(0, "identity", n) for n in range(12)], np.int64)
    seeds = derived[rng.integers(0, 12, 200)]
    live, passed = rng.random(200) < 0.5, rng.random(200) < 0.6
    rates = rates_of_people(passed, live, seeds)
    assert (rates[0].attribute, rates[0].people, rates[0].live + rates[0].attacks) == ("all", 12, 200)
    for r in rates[1:]:
        groups = made_groups(0, 0, 12)[r.attribute]
        own = [int(s) for s, g in zip(derived, groups, strict=True) if g == r.group]
        rows = [k for k in range(200) if int(seeds[k]) in own]
        real, fake = [k for k in rows if live[k]], [k for k in rows if not live[k]]
        assert (r.live, r.attacks) == (len(real), len(fake))
        assert r.people == len({int(seeds[k]) for k in real})
        assert r.refused == pytest.approx(sum(not passed[k] for k in real) / len(real))
        assert r.accepted == pytest.approx(sum(bool(passed[k]) for k in fake) / len(fake))
    for attribute in ("sex", "skin", "age"):
        assert sum(r.live for r in rates if r.attribute == attribute) == rates[0].live


def test_a_group_without_attacks_has_no_rate_of_them():
    one = np.full(3, derive(0, "identity", 0), np.int64)
    rates = rates_of_people(np.array([True, False, True]), np.ones(3, bool), one)
    assert len(rates) == 4
    assert rates[0][:5] == ("all", "people", 1, 3, pytest.approx(1 / 3))
    assert math.isnan(rates[0].accepted)
    with pytest.raises(ShapeError, match=r"expected \(n,\) each, got \(2,\), \(3,\) and \(3,\)"):
        rates_of_people(np.ones(2, bool), np.ones(3, bool), one)
