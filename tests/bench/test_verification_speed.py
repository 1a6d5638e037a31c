from __future__ import annotations

import numpy as np
import pytest

from mien.bench import verification_speed
from mien.bench.benches import BENCHES
from mien.core.errors import MienError

SCALE = 0.002


def test_it_is_in_the_table():
    assert BENCHES["verification"][0] == "mien.bench.verification_speed"


def test_ratio_keys_and_entries():
    entries, ratios = verification_speed.bench(SCALE, repeats=1)
    assert set(ratios) == {"ijbc_seconds", "ijbc_peak_gb"}
    assert ratios["ijbc_seconds"] > 0
    assert 0.01 < ratios["ijbc_peak_gb"] < 4
    assert [e["name"] for e in entries] == [
        "ijbc_ours",
        "ijbc_reference_numpy_sklearn",
        "ijbc_identification",
    ]
    assert all(e["peak_mb"] > 10 for e in entries)


def test_made_set_is_laid_out_as_the_protocol():
    made = verification_speed.make(0.01)
    assert made.same.sum() == round(0.01 * verification_speed.GENUINE)
    a, b = made.subjects[made.pairs].T
    np.testing.assert_array_equal(made.same, a == b)
    assert set(made.templates.tolist()) == set(range(len(made.subjects)))
    assert not (made.pairs[made.same, 0] == made.pairs[made.same, 1]).any()


def test_all_runs_agree_in_this_process():
    made = verification_speed.make(SCALE)
    ours, theirs = (verification_speed.RUNS[n](made) for n in ("ours", "reference_numpy_sklearn"))
    assert ours == pytest.approx(theirs, abs=1.5 / made.same.sum())
    assert all(0 <= v <= 1 for v in verification_speed.RUNS["identification"](made))


def test_a_failed_run_and_disagreement_are_reported(monkeypatch):
    with pytest.raises(MienError, match=r"bench verification: nothing failed: KeyError"):
        verification_speed._apart("nothing", SCALE)
    values = iter([[0.5], [0.9], [0.1]])
    monkeypatch.setattr(
        verification_speed,
        "_apart",
        lambda name, scale: {"seconds": 1.0, "peak_gb": 1.0, "values": next(values)},
    )
    with pytest.raises(MienError, match=r"differ from the reference's by 0\.4"):
        verification_speed.bench(1.0, repeats=1)
