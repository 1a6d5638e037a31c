from __future__ import annotations

import numpy as np
import pytest

from mien.bench import pad_report
from mien.bench.benches import BENCHES
from mien.core.errors import MienError
from mien.metrics import pad_report as report


def test_it_is_in_the_table():
    assert BENCHES["pad"][0] == "mien.bench.pad_report"


def test_ratio_keys_and_entries(monkeypatch):
    monkeypatch.setattr(pad_report, "GRID", pad_report.GRID[::20])
    entries, ratios = pad_report.bench(0.02, repeats=1)
    assert {"report_seconds_1e6", "speedup_over_loop"} <= set(ratios)
    assert [e["name"] for e in entries] == ["report", "report_without_bootstrap", "reference_loop"]
    assert all(e["n"] == 1 and e["min_s"] > 0 for e in entries)


def test_the_loop_finds_what_the_report_finds():
    test, dev = pad_report.make(4000, 0), pad_report.make(2000, 1)
    ours, loop = pad_report._ours(test, dev, 0), pad_report.loop_report(test, dev)
    assert ours == pytest.approx(loop, abs=2e-3)
    assert len(loop) == 7


def test_made_sets_are_hard_in_the_order_of_the_species():
    made = pad_report.make(20_000, 0)
    assert made.live.mean() == pytest.approx(0.3, abs=0.01)
    apcer = report(*made, 0.5, draws=0).apcer
    found = [apcer[name].value for name in pad_report.SPECIES]
    assert np.all(np.diff(found) > 0)


def test_disagreement_is_reported(monkeypatch):
    monkeypatch.setattr(pad_report, "loop_report", lambda test, dev: [0.5] * 7)
    with pytest.raises(MienError, match=r"bench pad: rates differ from the loop's by 0\."):
        pad_report.bench(0.002, repeats=1)
