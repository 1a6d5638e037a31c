from __future__ import annotations

from torch import nn

from mien.bench import sagm_step
from mien.bench.benches import BENCHES

KEYS = {
    "sagm_over_erm",
    "sam_over_erm",
    "gsam_over_erm",
    "sagm_over_sam",
    "overhead_over_passes",
    "memory_over_erm",
}


def tiny():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 40), nn.ReLU(), nn.Linear(40, 10))


def test_keys_and_memory_on_a_small_net():
    entries, ratios = sagm_step.bench(repeats=2, nets={"a": tiny, "b": tiny}, batch=4, size=8)
    assert set(ratios) == KEYS | {f"{key}_{net}" for key in KEYS for net in "ab"}
    names = [f"{kind}_{net}" for net in "ab" for kind in ("erm", "sam", "gsam", "sagm", "pass")]
    assert [e["name"] for e in entries] == names
    # One gradient and one copy of the weights, at the moment of the base optimiser's step.
    assert 1.9 < ratios["memory_over_erm"] < 2.1
    assert ratios["sagm_over_erm"] == max(ratios["sagm_over_erm_a"], ratios["sagm_over_erm_b"])


def test_sagm_and_sam_are_timed_on_the_same_weights():
    made = []

    def make():
        made.append(tiny())
        return made[-1]

    assert sagm_step._sagm_over_sam(make, batch=4, size=8, repeats=3) > 0
    assert len(made) == sagm_step.BUILDS


def test_it_is_in_the_table():
    assert BENCHES["sagm"][0] == "mien.bench.sagm_step"
    assert set(sagm_step.NETS) == {"resnet18", "vit_tiny"}
