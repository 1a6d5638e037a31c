"""The scorer: worked numbers, invariances, a twin with loops, and a submission of the real size."""

from __future__ import annotations

import json
import math
import resource
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.challenge import Reference, Rules, SubmissionError, score
from mien.challenge.scoring import score_scores
from mien.challenge.submissions import Scores
from mien.core.errors import ConfigError, DataError
from mien.metrics import pad_report
from tests.challenge.made import (
    part,
    random_part,
    random_scores,
    slow_score,
    submission,
    worked,
    worked_scores,
    write_reference,
    zipped,
)


def test_worked_example_of_the_method_page():
    found = score_scores(worked(), worked_scores(), Rules())
    assert found.threshold.value == 0.5
    assert found.threshold.text == "eer@dev"
    assert found.threshold.eer == 0.25
    assert found.summary() == pytest.approx(
        {
            "apcer": 0.333333,
            "bpcer": 0.166667,
            "acer": 0.25,
            "auc": 0.814815,
            "apcer_max": 0.4,
            "acer_max": 0.283333,
            "acer_oracle": 0.333333,
        },
        abs=1e-6,
    )
    assert {k: e.apcer for k, e in found.labels.items()} == {"1": 0.25, "2": 0.4}
    assert found.worst == "2"
    assert found.oracle_threshold == 0.58
    assert found.flags == ()


def cases(n):
    return settings(max_examples=n, deadline=None)(
        given(st.integers(0, 10**9), st.integers(4, 30), st.integers(4, 30), st.sampled_from([None, 1, 2]))(
            lambda seed, n, m, digits: as_loops(seed, n, m, digits)
        )
    )


def as_loops(seed, n, m, digits):
    rng = np.random.default_rng(seed)
    reference = Reference(random_part(rng, "dev", n, n), random_part(rng, "test", m, m))
    scores = Scores(*(random_scores(rng, p) for p in (reference.dev, reference.test)))
    if digits:
        scores = Scores(*(s.round(digits) for s in scores))
    rules = Rules(draws=0)
    if any(len(np.unique(s)) == 1 for s in scores):
        with pytest.raises(SubmissionError, match="scores are"):
            score_scores(reference, scores, rules)
        return
    found = score_scores(reference, scores, rules).summary()
    assert {k: found[k] for k in ("apcer", "bpcer", "acer", "auc")} == pytest.approx(
        slow_score(reference, scores)
    )


def test_rates_are_those_of_loops():
    assert cases(150)() is None


@pytest.mark.slow
def test_rates_are_those_of_loops_in_ten_thousand_cases():
    assert cases(10_000)() is None


def test_numbers_are_those_of_the_report_of_the_metrics():
    rng = np.random.default_rng(3)
    reference = Reference(random_part(rng, "dev", 300, 120), random_part(rng, "test", 500, 200))
    scores = Scores(*(random_scores(rng, p) for p in (reference.dev, reference.test)))
    found = score_scores(reference, scores, Rules(draws=400))
    dev, test = reference.dev, reference.test
    report = pad_report(
        scores.test, test.live, test.label, "eer", (scores.dev, dev.live), units=test.track, draws=400
    )
    assert found.threshold.value == report.threshold.value
    assert found.summary()["acer"] == pytest.approx(report.acer_pooled.value)
    assert found.summary()["acer_max"] == pytest.approx(report.acer_max.value)
    assert found.intervals["acer"] == pytest.approx(report.acer_pooled.interval)
    assert found.intervals["acer_max"] == pytest.approx(report.acer_max.interval)
    assert found.intervals["auc"] == pytest.approx(report.auc.interval)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from([np.sqrt, np.square, lambda s: s / 2, lambda s: np.expm1(s) / 2])
)
def test_an_increasing_map_of_all_scores_changes_no_rate(seed, change):
    rng = np.random.default_rng(seed)
    reference = Reference(random_part(rng, "dev", 60, 30), random_part(rng, "test", 60, 30))
    scores = Scores(*((0.05 + 0.9 * random_scores(rng, p)).round(3) for p in (reference.dev, reference.test)))
    before = score_scores(reference, scores, Rules(draws=20))
    after = score_scores(reference, Scores(change(scores.dev), change(scores.test)), Rules(draws=20))
    assert after.summary() == before.summary()
    assert after.intervals == before.intervals
    assert after.threshold.value == change(np.array([before.threshold.value]))[0]


def test_a_map_of_the_dev_scores_alone_may_change_acer():
    scores = worked_scores()
    moved = score_scores(worked(), Scores(scores.dev / 2, scores.test), Rules(draws=0))
    assert moved.summary()["acer"] != 0.25
    assert moved.summary()["auc"] == pytest.approx(0.814815, abs=1e-6)


def test_phase_one_judges_the_dev_lines_at_their_own_eer():
    found = score_scores(worked(), Scores(worked_scores().dev, None), Rules(phase=1))
    assert found.summary()["acer"] == 0.25
    assert found.lines == 8


def test_other_thresholds():
    assert score_scores(worked(), worked_scores(), Rules(threshold=0.58)).errors.acer == pytest.approx(1 / 3)
    oracle = score_scores(worked(), worked_scores(), Rules(threshold="test_eer"))
    assert oracle.threshold.text == "test_eer (oracle)"
    assert oracle.errors == oracle.oracle
    with pytest.raises(ConfigError, match="no threshold rule"):
        score_scores(worked(), worked_scores(), Rules(threshold="eeer"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": 3}, "phase 3 is neither"),
        ({"level": "video"}, "no level 'video'"),
        ({"draws": -1}, "draws=-1"),
    ],
)
def test_rules_out_of_range(change, message):
    with pytest.raises(ConfigError, match=message):
        Rules(**change)


@pytest.mark.parametrize("which", ["dev", "test"])
def test_equal_scores_cannot_be_ranked(which):
    scores = worked_scores()._replace(**{which: np.full(len(getattr(worked_scores(), which)), 0.5)})
    with pytest.raises(SubmissionError, match=f"{which} lines: all .* scores are 0.5"):
        score_scores(worked(), scores, Rules())


def test_track_level_takes_the_mean_of_frames():
    reference = Reference(
        part("dev", [0, 0, 1, 1], tracks=[0, 0, 1, 1]),
        part("test", [0, 0, 1, 1, 2], tracks=[2, 2, 3, 3, 4]),
    )
    scores = Scores(np.array([0.9, 0.5, 0.4, 0.2]), np.array([0.9, 0.3, 0.8, 0.7, 0.1]))
    found = score_scores(reference, scores, Rules(level="track"))
    assert found.lines == 3
    assert found.threshold.value == pytest.approx(0.7)  # the live track's mean
    assert (found.errors.apcer, found.errors.bpcer) == (0.5, 1.0)


def test_draws_depend_on_the_reference_and_seed_only():
    rng = np.random.default_rng(0)
    reference = Reference(random_part(rng, "dev", 80, 40), random_part(rng, "test", 90, 30))
    first, second = (
        score_scores(reference, Scores(*(random_scores(rng, p) for p in (reference.dev, reference.test))), r)
        for r in (Rules(draws=30, threshold=0.0), Rules(draws=30, threshold=0.0))
    )
    # Everything is accepted in both, so BPCER 0 and APCER 1 in every draw.
    np.testing.assert_array_equal(first.draws.acer, second.draws.acer)
    assert set(first.draws.acer) == {0.5}
    again = score_scores(reference, Scores(reference.dev.quality, reference.test.quality), Rules(draws=30))
    twice = score_scores(reference, Scores(reference.dev.quality, reference.test.quality), Rules(draws=30))
    np.testing.assert_array_equal(again.draws.auc, twice.draws.auc)
    other = score_scores(
        reference, Scores(reference.dev.quality, reference.test.quality), Rules(draws=30, seed=1)
    )
    assert not np.array_equal(again.draws.acer, other.draws.acer)


def test_files(tmp_path):
    write_reference(tmp_path / "ref", worked())
    sent = submission(tmp_path / "a.zip", worked(), worked_scores())
    found = score(tmp_path / "ref", sent, 2, "eer", output=tmp_path / "out")
    assert (tmp_path / "out" / "scores.txt").read_text() == (
        "APCER: 0.33333333\nBPCER: 0.16666667\nACER: 0.25000000\nAUC: 0.81481481\n"
    )
    values = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert values == json.loads(json.dumps(found.to_dict()))
    assert values["acer"] == 0.25
    assert values["quality"][0]["acer"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "n/a" in page
    assert not any(word in page for word in ("http://", "https://", "<script", "src="))


def test_an_invalid_submission_writes_nothing(tmp_path):
    write_reference(tmp_path / "ref", worked())
    bad = zipped(tmp_path / "bad.zip", {"results.txt": "dev/000001.jpg 0.5\n"})
    with pytest.raises(SubmissionError, match="wrong line count, got 1, want 23: the test part is missing"):
        score(tmp_path / "ref", bad, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert SubmissionError("x").exit_code == 2


def test_phase_two_needs_test_labels(tmp_path):
    write_reference(tmp_path / "ref", worked())
    (tmp_path / "ref" / "test.csv").unlink()
    with pytest.raises(DataError, match=r"phase 2 needs test.csv"):
        score(tmp_path / "ref", submission(tmp_path / "a.zip", worked(), worked_scores()))


def test_a_threshold_that_rejects_all_is_plain_json():
    # Dev attacks all above the live faces: the rates are nearest where nothing passes.
    reference = Reference(part("dev", [0, 1]), part("test", [0, 1]))
    found = score_scores(reference, Scores(np.array([0.1, 0.9]), np.array([0.1, 0.9])), Rules(draws=5))
    assert math.isinf(found.threshold.value) or found.threshold.value <= 1
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["lines"] == 2


def in_seconds(folder, share, seconds):
    """Scores a submission of a share of the real final phase; processor time, which a busy machine keeps."""
    rng = np.random.default_rng(0)
    sizes = {"dev": (89_276, 41_997), "test": (164_557, 58_652)}
    parts = [random_part(rng, s, n // share, t // share, 9) for s, (n, t) in sizes.items()]
    reference = Reference(*parts)
    write_reference(folder / "ref", reference)
    scores = Scores(*(random_scores(rng, p).round(6) for p in parts))
    sent = submission(folder / "a.zip", reference, scores)
    began = time.process_time()
    found = score(folder / "ref", sent, draws=1000, output=folder / "out")
    assert time.process_time() - began < seconds
    low, high = found.intervals["acer"]
    assert low < found.errors.acer < high
    return high - low


def test_an_eighth_of_a_final_phase(tmp_path):
    assert in_seconds(tmp_path, 8, 20 / 8) < 0.03


@pytest.mark.slow
def test_a_final_phase_of_the_real_size_takes_seconds(tmp_path):
    assert in_seconds(tmp_path, 1, 20) < 0.01
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 2**20  # kB
