from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch

from mien.bench import engine_step, ncl_loss, speed
from mien.bench.benches import BENCHES, run_bench
from mien.cli.main import main
from mien.core.errors import ConfigError


def test_interleaved_timing_and_ratios():
    seconds = speed.interleave({"a": lambda: time.sleep(0.004), "b": lambda: time.sleep(0.001)}, 5, warmup=1)
    assert {len(s) for s in seconds.values()} == {5}
    assert speed.ratio(seconds["a"], seconds["b"]) > 1.5
    entry = speed.entry("a", seconds["a"], 2**20)
    assert entry["min_s"] <= entry["median_s"] <= entry["max_s"]
    assert entry["peak_mb"] == 1.0
    assert entry["n"] == 5


def test_peak_memory_counts_live_tensors_and_backward():
    def kept():
        return [torch.ones(1000) for _ in range(10)]

    def freed():
        for _ in range(10):
            torch.ones(1000)

    assert 40_000 <= speed.peak_bytes(kept) < 48_000
    assert 4_000 <= speed.peak_bytes(freed) < 9_000
    x = torch.ones(1000, requires_grad=True)
    assert speed.peak_bytes(lambda: (x * 2).exp().sum().backward()) >= 8_000


def test_loss_bench_has_the_contract_keys():
    entries, ratios = ncl_loss.bench(sizes=(20, 50), repeats=2)
    assert set(ratios) == {"loss_time_C20", "loss_memory_C20", "loss_time_C50", "loss_memory_C50"}
    assert all(e["peak_mb"] > 0 for e in entries)
    assert ratios["loss_memory_C50"] < 12


def test_engine_bench_runs_both_loops_on_the_same_data():
    recipe = engine_step.resnet20_recipe()
    assert recipe.data.size == 32
    streams = [engine_step.build(recipe, {}).source.stream(0, 0, 1) for _ in range(2)]
    first, second = (next(s)[0] for s in streams)
    assert torch.equal(first.image, second.image)
    losses = engine_step.plain_loop(recipe, streams[0])
    assert np.isfinite(next(losses))


@pytest.mark.slow
def test_engine_bench_in_full():
    _, ratios = engine_step.bench(repeats=2)
    assert set(ratios) == {"step", "waiting_small", "waiting_resnet20"}


def test_names_and_json(capsys, monkeypatch):
    monkeypatch.setitem(BENCHES, "ncl", ("tests.bench.test_speed", "fake"))
    assert main(["bench", "ncl", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"bench", "machine", "entries", "ratios"}
    assert main(["bench", "ncl"]) == 0
    assert "ratios" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="did you mean 'igc_net'"):
        run_bench("igc_nt")


def bench():
    """What a bench module offers; used by the test above."""
    return [speed.entry("x", np.array([1.0, 2.0]))], {"key": 1.0}
