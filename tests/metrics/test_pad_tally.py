from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics import PadTally, pad_report
from tests.metrics.pad_twin import DEV, TEST, made


def unit(n, seed):
    scores, live, pai = made(n, seed)
    return 1 / (1 + np.exp(-scores)), live, pai


def filled(data, chunks=7, **options):
    tally = PadTally(**options)
    for part in zip(*(np.array_split(v, chunks) for v in data), strict=True):
        tally.update(*part)
    return tally


def numbers(report):
    """The rates of a report in one dictionary."""
    out = {k: r.value for k, r in report.apcer.items()}
    for name in ("apcer_max", "apcer_pooled", "bpcer", "acer_max", "acer_pooled", "eer", "auc"):
        out[name] = getattr(report, name).value
    out |= {f"{p.name} {p.kind}": p.bpcer.value for p in report.bpcer_at_apcer}
    return out | {f"{p.target} {p.definition}": p.tpr for p in report.tpr_at_fpr}


@pytest.mark.parametrize("strict", [False, True])
def test_a_fine_grid_gives_the_report_of_the_scores(strict):
    data, dev = unit(20_000, 0), unit(5000, 1)
    counted = filled(data).report("eer", filled(dev, 3), strict, draws=200)
    exact = pad_report(*data, "eer", dev, strict, draws=200)
    assert counted.threshold.value == pytest.approx(exact.threshold.value, abs=2e-6)
    assert numbers(counted) == pytest.approx(numbers(exact), abs=5e-4)
    assert (counted.live, counted.attacks, counted.worst) == (exact.live, exact.attacks, exact.worst)
    for name in ("acer_max", "acer_pooled", "eer", "auc"):
        assert getattr(counted, name).interval == pytest.approx(getattr(exact, name).interval, abs=3e-3)
    assert counted.warnings == exact.warnings


@pytest.mark.parametrize("bins", [11, 101, 2**20])
def test_rates_are_exact_at_multiples_of_the_bin_width(bins):
    """On a coarse grid too: what is printed is what this threshold does to the raw scores."""
    data, dev = unit(3000, 2), unit(2000, 3)
    counted = filled(data, bins=bins).report("min_acer", filled(dev, bins=bins), draws=0)
    exact = pad_report(*data, counted.threshold.value - 1e-12, draws=0)
    assert {k: r.errors for k, r in counted.apcer.items()} == {k: r.errors for k, r in exact.apcer.items()}
    assert counted.bpcer.errors == exact.bpcer.errors
    assert counted.auc.value == pytest.approx(exact.auc.value, abs=2 / bins)


def test_scores_on_the_grid_give_the_worked_example():
    tally = PadTally(bins=101)
    tally.update(*TEST)
    report = tally.report(dev=DEV, draws=0)
    exact = pad_report(*TEST, dev=DEV, draws=0)
    assert numbers(report) == pytest.approx(numbers(exact))
    assert report.eer_point.threshold == pytest.approx(0.58)
    assert (report.threshold.value, report.threshold.text) == (0.5, "eer@dev")
    assert tally.report("test_eer", draws=0).threshold.oracle


def test_chunks_of_one_class_merge_and_reset():
    scores, live, pai = unit(2000, 4)
    one, two = PadTally(), PadTally()
    one.update(scores[live], live[live])
    two.update(scores[~live], live[~live], pai[~live])
    one.merge(two)
    whole = filled((scores, live, pai), 1)
    assert one.report(0.5, draws=0) == whole.report(0.5, draws=0)
    one.reset()
    with pytest.raises(DataError, match="no attack was counted"):
        one.compute()
    with pytest.raises(ConfigError, match="same low, high and bins"):
        one.merge(PadTally(bins=11))
    with pytest.raises(ConfigError, match="low < high and 2 bins"):
        PadTally(1, 0)


def test_no_response_and_scores_outside_are_reported():
    scores, live, pai = (list(v) for v in TEST)
    tally = PadTally(bins=101)
    tally.update(scores, live, pai)
    tally.update([np.nan, np.nan, 0.99], [1, 0, 0], ["live", "print", "mask"], [0, 0, 0])
    found = tally.report(0.5, draws=0).no_response
    assert (found.bpnrr.value, found.apnrr.value) == (pytest.approx(1 / 7), pytest.approx(2 / 11))
    assert {k: r.errors for k, r in found.species.items()} == {"mask": 1, "print": 1}
    tally.update([3.0, -1.0], [1, 0], ["live", "print"])
    report = tally.report(0.5, draws=0)
    assert report.warnings[0] == "2 scores outside [0, 1] were counted at its ends"
    assert (report.live, report.attacks) == (7, 10)


def test_memory_does_not_grow_with_the_scores():
    tally = PadTally(bins=1001)
    for seed in range(5):
        tally.update(*unit(10_000, seed))
    assert tally.live.nbytes == 8 * 1001
    assert sum(c.sum() for c in tally.species.values()) + tally.live.sum() == 50_000


@pytest.mark.parametrize(
    ("args", "error", "match"),
    [
        (([0.1, 0.2], [1]), ShapeError, r"scores, live, pai and response must be \(n,\) alike"),
        (([0.1, 0.2], [1, 2]), ShapeError, "booleans or 0 and 1 only"),
        (([0.1, np.inf], [1, 0]), DataError, "1 of 2 scores are NaN or infinite, the first at 1"),
        (([0.1, 0.2], [0, 0], ["", "a"]), DataError, "attack 0 of 2 has no species"),
    ],
)
def test_bad_input_is_one_line(args, error, match):
    with pytest.raises(error, match=match):
        PadTally().update(*args)


def test_counts_that_make_no_report():
    tally = PadTally()
    tally.update([0.5, 0.5], [1, 0])
    with pytest.raises(DataError, match="all scores lie in one bin"):
        tally.report(0.5)
    tally.update([0.7], [1])
    with pytest.raises(ConfigError, match="needs dev"):
        tally.report("eer")
    with pytest.raises(DataError, match="no live face was counted"):
        filled(([0.1, 0.2], [0, 0])).compute()
