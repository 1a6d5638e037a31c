from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics import pad_report, wilson_interval
from mien.metrics.pad_points import DEFINITIONS
from mien.metrics.pad_report import report_of, resolve_threshold
from mien.metrics.pad_scores import pad_sets
from tests.metrics.pad_twin import DEV, TEST, Twin, made

QUICK = {"draws": 0}


def test_worked_example():
    report = pad_report(*TEST, dev=DEV)
    assert (report.threshold.value, report.threshold.text, report.threshold.eer) == (0.5, "eer@dev", 0.25)
    assert {k: r.value for k, r in report.apcer.items()} == {"mask": 0.4, "print": 0.25}
    assert (report.worst, report.apcer_max.value) == ("mask", 0.4)
    assert report.apcer_pooled.value == pytest.approx(0.333333, abs=1e-6)
    assert report.bpcer.value == pytest.approx(0.166667, abs=1e-6)
    assert report.acer_max.value == pytest.approx(0.283333, abs=1e-6)
    assert report.acer_pooled.value == pytest.approx(0.25)
    assert report.hter == report.acer_pooled.value
    assert (report.eer_point.threshold, report.eer.value) == (0.58, pytest.approx(1 / 3))
    assert report.auc.value == pytest.approx(0.814815, abs=1e-6)
    assert (report.live, report.attacks) == (6, 9)
    found = {(p.name, p.kind): p.bpcer.value for p in report.bpcer_at_apcer}
    assert found["BPCER10", "max"] == 0.5
    assert set(found) == {(f"BPCER{n}", k) for n in (10, 20, 100) for k in ("max", "pooled")}
    assert report.bpcer.interval == wilson_interval(1, 6)
    for e in (report.acer_max, report.acer_pooled, report.eer, report.auc):
        assert e.interval[0] <= e.value <= e.interval[1]
        assert e.over == "samples"
    assert report.no_response is None


def test_worked_example_of_the_scorer_at_a_fixed_threshold():
    report = pad_report(*TEST, 0.5, **QUICK)
    assert (report.threshold.text, report.threshold.source) == ("fixed", "given")
    assert report.acer_max.value == pytest.approx(0.283333, abs=1e-6)
    points = pad_report(*TEST, 0.5, fprs=(0.1, 0.25, 0.4), **QUICK).tpr_at_fpr
    assert [(p.target, p.definition) for p in points] == [
        (f, d) for f in (0.1, 0.25, 0.4) for d in DEFINITIONS
    ]
    assert [p.tpr for p in points[::3]] == pytest.approx([0.5, 0.666667, 0.833333], abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 2]), st.booleans())
def test_every_number_is_the_loop(seed, levels, strict):
    scores, live, pai = made(60, seed, levels)
    dev = made(50, seed + 1, levels)
    report = pad_report(scores, live, pai, "min_acer", dev, strict, **QUICK)
    tau = Twin(*dev, strict).min_acer("max")
    twin = Twin(scores, live, pai, strict)
    assert report.threshold.value == tau
    assert {k: r.value for k, r in report.apcer.items()} == pytest.approx(
        {k: float(v) for k, v in twin.apcer(tau).items()}
    )
    assert report.acer_max.value == pytest.approx(float(twin.acer(tau, "max")))
    assert report.acer_pooled.value == pytest.approx(float(twin.acer(tau, "pooled")))
    assert (report.eer_point.threshold, report.eer.value) == (
        twin.eer()[0],
        pytest.approx(float(twin.eer()[1])),
    )
    assert report.auc.value == pytest.approx(twin.auc())
    assert report.apcer_max.value >= report.apcer_pooled.value - 1e-12


def test_the_oracle_is_marked():
    report = pad_report(*TEST, "test_eer", **QUICK)
    assert (report.threshold.value, report.threshold.oracle) == (0.58, True)
    assert report.threshold.text == "test_eer (oracle)"
    assert any(w.startswith("oracle: the test set itself") for w in report.warnings)
    assert "(oracle)" in report.table()
    assert report.to_dict()["threshold"]["oracle"] is True
    assert not pad_report(*TEST, dev=DEV, **QUICK).threshold.oracle


def test_non_responses_are_in_no_rate():
    scores, live, pai = (list(v) for v in TEST)
    full = pad_report(scores, live, pai, 0.5, **QUICK)
    more = ([*scores, np.nan, np.nan, 0.99], [*live, 1, 0, 0], [*pai, "live", "print", "mask"])
    response = [1] * 15 + [0] * 3
    units = np.arange(18)
    report = pad_report(*more, 0.5, response=response, units=units, draws=20)
    assert report.acer_max.value == full.acer_max.value
    assert report.apcer == full.apcer
    assert report.no_response.bpnrr.value == pytest.approx(1 / 7)
    assert report.no_response.apnrr.value == pytest.approx(2 / 11)
    assert {k: r.errors for k, r in report.no_response.species.items()} == {"mask": 1, "print": 1}
    assert "APNRR" in report.table()
    with pytest.raises(DataError, match="2 of 18 scores are NaN"):
        pad_report(*more, 0.5)


def test_warnings():
    scores, live, pai = made(3000, 1)
    assert not any("AUC" in w for w in pad_report(scores, live, pai, 0.0, **QUICK).warnings)
    flipped = pad_report(-scores, live, pai, 0.0, **QUICK)
    assert any("attacks score higher than live faces" in w for w in flipped.warnings)
    n = int((~live).sum())
    lost = [w for w in flipped.warnings if "cannot be resolved" in w]
    assert lost == [f"TPR@FPR=0.0001 cannot be resolved with {n} attacks: fewer than 1 / FPR"]
    few = pad_report(*TEST, 0.5, **QUICK).warnings
    assert any("BPCER100 cannot be resolved: fewer than 100 attacks of mask, print" in w for w in few)
    rejecting = pad_report(*TEST, np.inf, **QUICK)
    assert any("everything is rejected" in w for w in rejecting.warnings)
    assert (rejecting.bpcer.value, rejecting.apcer_max.value) == (1.0, 0.0)
    unnamed = pad_report(*TEST, "min_acer", DEV, **QUICK)
    assert any("dev set names no species" in w for w in unnamed.warnings)
    assert not any("no species" in w for w in pad_report(*TEST, "eer", DEV, **QUICK).warnings)


def test_json_and_text():
    report = pad_report(*TEST, np.inf, **QUICK)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["threshold"] == {
        "value": "inf",
        "rule": "fixed",
        "source": "given",
        "eer": None,
        "apcer_max": None,
        "apcer_pooled": None,
        "bpcer": None,
        "species": None,
        "text": "fixed",
        "oracle": False,
    }
    assert plain["acer_max"] == {"value": 0.5, "interval": None, "over": "none"}
    assert plain["bpcer"]["interval"] == list(wilson_interval(6, 6))
    full = json.loads(json.dumps(pad_report(*TEST, dev=DEV, draws=50).to_dict(), allow_nan=False))
    assert full["apcer"]["mask"] == {
        "value": 0.4,
        "errors": 2,
        "tries": 5,
        "interval": list(wilson_interval(2, 5)),
    }
    assert full["warnings"] == list(report.warnings[1:])
    assert len(full["tpr_at_fpr"]) == 9


def test_units_are_drawn_as_wholes():
    scores, live, pai = made(300, 2)
    units = [f"video{k // 5}" for k in range(300)]
    report = pad_report(scores, live, pai, 0.5, units=units, draws=100)
    assert report.auc.over == "units"
    assert report == pad_report(scores, live, pai, 0.5, units=units, draws=100)


@pytest.mark.parametrize(
    ("args", "extra", "error", "match"),
    [
        (
            (),
            {},
            ConfigError,
            r"threshold rule 'eer' needs dev=\(scores, live\); only a number or 'test_eer'",
        ),
        (("eeer", DEV), {}, ConfigError, "no threshold rule 'eeer'; did you mean 'eer'"),
        ((0.5, None), {"response": [1]}, ShapeError, "scores, live, response and pai must be"),
        ((0.5, None), {"units": [1]}, ShapeError, r"units must be \(15,\) like scores"),
        ((float("nan"),), {}, ConfigError, "the threshold is NaN"),
        (("eer", DEV[0]), {}, ConfigError, r"dev must be \(scores, live\) or \(scores, live, pai\)"),
        (("eer", ([0.1, 0.2], [1, 1])), {}, DataError, "dev set: all 2 scores are live: rates need at least"),
        (("eer", ([0.1, 0.1], [1, 0])), {}, DataError, "dev set: all 2 scores are 0.1"),
        (("eer", ([0.1], [1, 0])), {}, ShapeError, "dev set: scores and live must be"),
        ((0.5,), {"fprs": [2.0]}, ConfigError, "between 0 and 1"),
        ((0.5,), {"draws": -1}, ConfigError, "draws must be positive"),
    ],
)
def test_bad_input_is_one_line(args, extra, error, match):
    with pytest.raises(error, match=match) as caught:
        pad_report(*TEST, *args, **extra)
    assert "\n" not in str(caught.value)


def test_parts_can_be_used_alone():
    sets = pad_sets(*TEST)
    tau = resolve_threshold("eer", pad_sets(*DEV), sets)
    assert report_of(sets, tau) == pad_report(*TEST, dev=DEV)
