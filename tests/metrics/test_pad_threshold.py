from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics import PadThreshold, acer, choose_pad_threshold
from tests.metrics.pad_twin import DEV, TEST, Twin, made

SEEDS = st.integers(0, 10**6)
LEVELS = st.sampled_from([None, 1, 3])


def test_dev_example_says_how_it_was_chosen():
    found = choose_pad_threshold(*DEV)
    assert found == PadThreshold(0.5, "eer", "dev", 0.25, 0.25, 0.25, 0.25, 1)
    assert (found.text, found.oracle) == ("eer@dev", False)
    assert PadThreshold(0.5, "fixed", "given").text == "fixed"
    assert PadThreshold(0.5, "test_eer", "test").text == "test_eer (oracle)"


@settings(max_examples=80, deadline=None)
@given(SEEDS, LEVELS, st.booleans())
def test_rules_are_the_loop(seed, levels, strict):
    scores, live, pai = made(36, seed, levels)
    twin = Twin(scores, live, pai, strict)
    wanted = {
        "eer": twin.eer()[0],
        "min_acer": twin.min_acer("max"),
        "min_acer_pooled": twin.min_acer("pooled"),
        "bpcer@apcer=0.25": twin.at_apcer(Fraction(1, 4), "max"),
        "bpcer@apcer_pooled=0.25": twin.at_apcer(Fraction(1, 4), "pooled"),
        "apcer@bpcer=0.1": twin.at_bpcer(Fraction(1, 10)),
    }
    for rule, value in wanted.items():
        found = choose_pad_threshold(scores, live, rule, pai=pai, strict=strict)
        assert (rule, found.value) == (rule, value)
        assert found.apcer_max == pytest.approx(float(twin.apcer_kind(value, "max")))
        assert found.apcer_pooled == pytest.approx(float(twin.apcer_kind(value, "pooled")))
        assert found.bpcer == pytest.approx(float(twin.bpcer(value)))
        assert found.eer == pytest.approx(float(twin.eer()[1]))


def test_worked_operating_points_as_rules():
    scores, live, pai = TEST
    for rule, tau in (("bpcer@apcer=0.10", 0.80), ("bpcer@apcer=0.25", 0.62), ("bpcer@apcer=.4", 0.55)):
        assert choose_pad_threshold(scores, live, rule, pai=pai).value == tau


@settings(max_examples=30, deadline=None)
@given(SEEDS, LEVELS)
def test_least_acer_is_no_larger_than_any_other_and_survives_increasing_maps(seed, levels):
    scores, live, pai = made(40, seed, levels)
    best = choose_pad_threshold(scores, live, "min_acer", pai=pai)
    least = acer(scores, live, best.value, pai=pai)
    assert all(least <= acer(scores, live, t, pai=pai) + 1e-12 for t in scores)
    mapped = np.exp(scores)
    moved = choose_pad_threshold(mapped, live, "min_acer", pai=pai)
    assert acer(mapped, live, moved.value, pai=pai) == pytest.approx(least)


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ("eeer", "no threshold rule 'eeer'; did you mean 'eer'[?]; or a number"),
        ("min_acr", "did you mean 'min_acer'"),
        ("bpcer@apce=0.1", "did you mean 'bpcer@apcer'"),
        ("bpcer@apcer", "'bpcer@apcer' needs a rate: write bpcer@apcer=0.05"),
        ("bpcer@apcer=five", "needs a rate: write bpcer@apcer=0.05"),
        ("bpcer@apcer=5", "between 0 and 1, got 5"),
        ("apcer@bpcer=-1", "between 0 and 1, got -1"),
        ("test_eer", "no threshold rule 'test_eer'"),
    ],
)
def test_unknown_rules_suggest_known_ones(rule, match):
    with pytest.raises(ConfigError, match=match):
        choose_pad_threshold(*DEV, rule)


def test_a_dev_set_that_cannot_choose_is_refused():
    with pytest.raises(DataError, match="dev set: all 2 scores are live: rates need at least one attack"):
        choose_pad_threshold([0.1, 0.9], [1, 1])
    with pytest.raises(DataError, match=r"dev set: all 2 scores are 0\.5"):
        choose_pad_threshold([0.5, 0.5], [1, 0])
    with pytest.raises(DataError, match="dev set: 1 of 2 scores are NaN"):
        choose_pad_threshold([0.5, np.nan], [1, 0])
    with pytest.raises(ShapeError, match="dev set: scores and live must be"):
        choose_pad_threshold([0.5, 0.2], [1, 0, 1])
