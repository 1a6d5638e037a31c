"""Inspection of untrained nets: known sizes, a sphere's slope, the stages that are there."""

from __future__ import annotations

import pytest

from mien.core.errors import ConfigError
from mien.methods.car.config import InspectOptions
from mien.methods.car.inspection import inspect
from tests.methods.car.people import tiny_folder


def test_a_net_at_its_start(tmp_path):
    found = inspect(tiny_folder(tmp_path), InspectOptions(points=64))
    assert 0 < found.facts["normals_angle_degrees"] < 180
    assert found.facts["slope_mean"] == pytest.approx(0.8, abs=0.4)  # a distance has 1
    assert 0 <= found.facts["sign_right"] <= 1
    assert 0 < found.facts["surface_error_cm"] < 100
    assert found.facts["start_error_box"] > 0
    parts = {row["part"]: row["weights"] for row in found.tables["parts"]}
    assert parts["refined network"] == 3 * 16 + 16 + 16 * 16 + 16 + 16 + 1
    assert set(parts) == {"normal nets", "canonical field", "hyper-network", "refined network"}
    assert sum(row["share"] for row in found.tables["surface"]) == pytest.approx(1, abs=1e-3)


def test_the_same_person_for_the_same_seed(tmp_path):
    folder = tiny_folder(tmp_path, "debug-normal")
    first, again, other = (inspect(folder, InspectOptions(seed=s, points=8)) for s in (0, 0, 1))
    assert first == again
    assert first.facts != other.facts
    assert set(first.facts) == {"normals_angle_degrees"}
    assert set(first.tables) == {"parts"}
    with pytest.raises(ConfigError, match="points=1 is outside"):
        InspectOptions(points=1)
