from __future__ import annotations

import numpy as np
import pytest

from mien.bench import people_speed
from mien.bench.benches import BENCHES
from mien.synth.face import STAGES

KEYS = {
    "images_per_core_second_64",
    "images_per_core_second_128",
    "images_per_core_second_256",
    "speedup_over_numpy",
}


@pytest.fixture(scope="module")
def result():
    return people_speed.bench(persons=1, repeats=1, memory=(1, 2))


def test_it_is_in_the_table():
    assert BENCHES["people"][0] == "mien.bench.people_speed"


def test_ratio_keys(result):
    _, ratios = result
    assert set(ratios) == KEYS
    assert all(np.isfinite(v) and v > 0 for v in ratios.values())


def test_entries_split_the_time(result):
    entries = {e["name"]: e for e in result[0]}
    for size in people_speed.SIZES:
        whole = entries[f"photograph_{size}"]["median_s"]
        parts = sum(entries[f"{stage}_{size}"]["median_s"] for stage in STAGES)
        assert parts == pytest.approx(whole, rel=1e-6)
        assert entries[f"with_identity_{size}"]["median_s"] > whole
        assert entries[f"identity_{size}"]["n"] == 1


def test_memory_is_read_twice(result):
    peaks = [e["peak_mb"] for e in result[0] if e["name"].startswith("persons_")]
    assert len(peaks) == 2
    assert 0 < peaks[0] <= peaks[1]


@pytest.mark.parametrize("seed", [3, 5])
def test_kernels_equal_their_numpy_twins(seed):
    scene = people_speed.points(seed, 96)
    names = ("irradiance", "specular", "cloth", "strands", "outward")
    for name, a, b in zip(names, people_speed.shaded(scene), people_speed.shaded_numpy(scene), strict=True):
        assert len(a) > 20, name
        np.testing.assert_allclose(a, b, atol=1e-4, err_msg=name)
