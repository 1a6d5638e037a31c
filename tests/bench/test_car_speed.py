"""The bench of the clothed avatar on a tiny net: its keys and what it counts; no timing."""

from __future__ import annotations

import pytest
import torch

from mien.bench import car_speed
from mien.bench.benches import BENCHES
from mien.render.iso import Surface
from tests.methods.car.capsules import tiny_config

PLAN = car_speed.Plan(
    coarse=32, fine=16, iters=2, repeats=1, photographs=1, threads=1, size=64, kind="debug",
    config=tiny_config(radius=0.4),
)  # fmt: skip


@pytest.fixture(scope="module")
def found():
    with torch.random.fork_rng():
        return car_speed.bench(PLAN)


def test_it_is_in_the_table():
    assert BENCHES["car"][0] == "mien.bench.car_speed"


def test_keys_and_entries(found):
    entries, ratios = found
    assert set(ratios) == {
        "photo_to_glb_seconds", "peak_gb", "octree_evaluations_speedup", "octree_cube_speedup",
        "octree_seconds_speedup", "octree_difference", "octree_identical",
    }  # fmt: skip
    by_name = {e["name"]: e for e in entries}
    assert list(by_name) == [
        "photo_to_glb", "normals", "coarse_surface", "refinement", "skin_and_colours", "octree", "dense",
    ]  # fmt: skip
    assert {e["n"] for e in entries} == {1}
    assert {e["model"] for e in entries} == {"untrained: the field starts as a sphere"}
    assert ratios["photo_to_glb_seconds"] == by_name["photo_to_glb"]["median_s"]
    stages = sum(by_name[n]["median_s"] for n in list(by_name)[1:5])
    assert stages < by_name["photo_to_glb"]["median_s"]


def test_evaluations_are_counted(found):
    entries, ratios = found
    octree, dense = (next(e for e in entries if e["name"] == n)["evaluations"] for n in ("octree", "dense"))
    assert ratios["octree_evaluations_speedup"] == dense / octree
    assert 0 < octree <= dense < 33**3
    assert ratios["octree_cube_speedup"] == pytest.approx(33**3 / octree)
    assert ratios["octree_identical"] == float(ratios["octree_difference"] <= 1e-6)


def test_the_difference_is_that_of_the_furthest_vertex():
    faces = torch.zeros(0, 3, dtype=torch.int32)
    a = Surface(torch.tensor([[0.0, 0, 0], [1, 0, 0]]), faces, 1)
    b = Surface(torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 3, 0]]), faces, 1)
    assert car_speed.difference(a, b) == car_speed.difference(b, a) == 3
    assert car_speed.difference(a, a) == 0
