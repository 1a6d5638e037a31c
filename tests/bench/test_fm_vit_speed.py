"""The bench of FM-ViT on tiny nets: its keys, its costs, and what it takes the worst of; no timing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.bench import fm_vit_speed
from mien.bench.benches import BENCHES
from mien.methods.fm_vit.config import MODALITIES, RECIPES
from mien.methods.fm_vit.cost import flops, parameters
from mien.methods.fm_vit.fusion import fusion_of
from mien.methods.fm_vit.nets import build_net

TINY = replace(RECIPES["debug"]().method, patch=8, dim=16, heads=2)
EVERY = ("rgb", "depth", "ir", "rgb+depth", "rgb+ir", "depth+ir", "rgb+depth+ir")
KEYS = {f"{kind}_over_fusion_{m}" for kind in ("flops", "latency") for m in MODALITIES} | {
    "params_over_fusion"
}


def shape(subsets=MODALITIES, **changes):
    return fm_vit_speed.Shape(replace(TINY, **changes), 32, 2, subsets, False)


def test_it_is_in_the_table():
    assert BENCHES["fm_vit"][0] == "mien.bench.fm_vit_speed"


@pytest.fixture(scope="module")
def found():
    return fm_vit_speed.bench({"a": shape(EVERY), "b": shape(share_stb=False)})


def test_keys_entries_and_costs(found):
    entries, ratios = found
    assert set(ratios) == KEYS | {f"{key}_{net}" for key in KEYS for net in "ab"}
    names = [*(f"a_{s}" for s in (*EVERY, "fusion")), *(f"b_{s}" for s in (*MODALITIES, "fusion"))]
    assert [e["name"] for e in entries] == names
    assert all(e["n"] == 2 and e["peak_mb"] > 0 for e in entries)
    own, fusion = (build_net(c, 32, 0) for c in (TINY, fusion_of(TINY)))
    by_name = {e["name"]: e for e in entries}
    assert by_name["a_rgb+ir"]["gflops"] == flops(own, ("rgb", "ir")) / 1e9
    assert by_name["a_rgb"]["parameters"] == parameters(own, ("rgb",))
    assert by_name["a_fusion"]["gflops"] == flops(fusion, MODALITIES) / 1e9
    assert ratios["flops_over_fusion_ir_a"] == flops(own, ("ir",)) / flops(fusion, MODALITIES)
    # One branch of three, and the fusion-attention of its cross-modal blocks.
    assert 1 / 3 < ratios["flops_over_fusion_rgb"] < 0.5


def test_the_headline_is_the_worst_net(found):
    _, ratios = found
    assert ratios["params_over_fusion_a"] < ratios["params_over_fusion_b"] == ratios["params_over_fusion"]
    assert ratios["latency_over_fusion_rgb"] == max(ratios[f"latency_over_fusion_rgb_{n}"] for n in "ab")


def test_graphs_give_keys_of_their_own(monkeypatch):
    seen = []

    def graphs(runs, _):
        seen.extend(runs)
        return {s: np.array([4.0, 4.0]) if s == "fusion" else np.array([1.0, 3.0]) for s in runs}

    monkeypatch.setattr(fm_vit_speed, "_onnx", graphs)
    entries, ratios = fm_vit_speed.bench({"a": shape()._replace(onnx=True)})
    assert seen == [*MODALITIES, "fusion"]
    assert [e["name"] for e in entries[4:]] == [f"a_{s}_onnx" for s in seen]
    assert ratios["latency_over_fusion_depth_onnx"] == pytest.approx(0.5)
    assert entries[4]["peak_mb"] is None


def test_a_graph_is_written_and_runs():
    one = {"ir": (build_net(TINY, 32, 0).eval(), ("ir",))}
    seconds = fm_vit_speed._onnx(one, shape())
    assert seconds["ir"].shape == (2,)


def test_what_is_timed_by_default():
    shapes = fm_vit_speed.shapes()
    assert tuple(shapes["small"].subsets) == EVERY
    assert shapes["small"].config == RECIPES["small"]().method
    big = shapes["b16"]
    assert (big.config.dim, big.config.depth, big.config.heads, big.config.patch, big.size) == (
        768, 12, 12, 16, 224,
    )  # fmt: skip
    assert not big.onnx
