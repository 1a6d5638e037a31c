"""The bench of CQIL on tiny nets: its keys, its variants, its graphs; no timing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mien.bench import cqil_speed
from mien.bench.benches import BENCHES
from mien.core.config import evolve_all
from mien.methods.cqil.config import RECIPES
from mien.methods.cqil.nets import build_net

TINY = evolve_all(RECIPES["debug"](), {"data.size": 16, "data.kind": "debug"})
PLAN = cqil_speed.Plan(repeats=2, batches=(1, 3), recipe=TINY, tracks=1)


def test_it_is_in_the_table():
    assert BENCHES["cqil"][0] == "mien.bench.cqil_speed"


@pytest.fixture(scope="module")
def found():
    return cqil_speed.bench(PLAN)


def test_keys_and_entries(found):
    entries, ratios = found
    kinds = ("torch", "onnx", "int8")
    names = [f"{net}_{kind}_{b}" for net in ("sr", "plain") for b in (1, 3) for kind in kinds]
    assert [e["name"] for e in entries] == names
    speedups = {f"{kind}_speedup{mark}" for kind in kinds[1:] for mark in ("", "_plain")}
    assert set(ratios) == speedups | {"sr_cost"} | {f"fps_{name}" for name in names}
    assert all(value > 0 for value in ratios.values())
    by_name = {e["name"]: e for e in entries}
    assert ratios["fps_plain_int8_3"] == pytest.approx(3 / by_name["plain_int8_3"]["median_s"])
    assert {e["model"] for e in entries} == {"before training"}


def test_graphs_say_what_torch_says(found):
    entries, _ = found
    by_name = {e["name"]: e for e in entries}
    assert by_name["sr_onnx_1"]["max_difference"] < 1e-4
    assert by_name["plain_onnx_1"]["max_difference"] < 1e-4
    assert 0 <= by_name["sr_int8_1"]["max_difference"] < 0.2
    assert "max_difference" not in by_name["sr_torch_1"]
    assert by_name["sr_onnx_1"]["megabytes"] > by_name["plain_onnx_1"]["megabytes"]


def test_without_super_resolution_the_weights_are_the_same():
    net = build_net(TINY.method, 16, 0).eval()
    variants = dict(cqil_speed.variants(net))
    assert list(variants) == ["sr", "plain"]
    assert variants["sr"] is net
    assert net.resolver is not None
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():  # noise has no half size, so nothing is enlarged in either
        assert torch.equal(variants["plain"](x).logits, net(x).logits)
    bare = build_net(RECIPES["degrade"]().method, 48, 0)
    assert [name for name, _ in cqil_speed.variants(bare)] == ["plain"]


def test_speedups_are_torch_over_the_graph():
    times = {"torch": np.array([4.0, 4.0]), "onnx": np.array([2.0, 2.0]), "int8": np.array([1.0, 1.0])}
    slow = {k: 2 * v for k, v in times.items()}
    assert cqil_speed._speedups({"sr": slow, "plain": times}) == {
        "onnx_speedup": 2.0, "int8_speedup": 4.0, "onnx_speedup_plain": 2.0, "int8_speedup_plain": 4.0,
        "sr_cost": 2.0,
    }  # fmt: skip
    assert cqil_speed._speedups({"plain": times}) == {"onnx_speedup": 2.0, "int8_speedup": 4.0}


def test_shipped_weights_are_taken_where_there_are_any(monkeypatch):
    seen = []

    facts = {"thresholds": {"image": {"calibration": [2.0, -1.0]}}}
    shipped = SimpleNamespace(recipe=TINY, facts=facts)
    monkeypatch.setattr(cqil_speed, "shipped", lambda: {"cqil/small": None})
    monkeypatch.setattr(cqil_speed, "load_folder", lambda name: seen.append(name) or shipped)
    monkeypatch.setattr(cqil_speed, "restore", lambda folder: build_net(folder.recipe.method, 16, 1).eval())
    own = cqil_speed.subject(PLAN._replace(recipe=None))
    assert seen == ["cqil/small"]
    assert (own.calibration, own.size, own.source) == ((2.0, -1.0), 16, "cqil/small")
    assert own.pictures.shape[1:] == (3, 16, 16)
