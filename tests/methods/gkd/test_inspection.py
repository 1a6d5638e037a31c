"""``mien inspect gkd`` on a model of three steps."""

from __future__ import annotations

import pytest

from mien.core.catalogue import method
from mien.engine.folder import open_folder
from mien.engine.stages import train_recipe
from mien.methods.gkd.config import RECIPES, InspectOptions
from mien.methods.gkd.inspection import inspect


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    train_recipe(method("gkd"), RECIPES["debug-teacher"](), folder)
    return open_folder(folder)


def test_sizes_grow_with_the_temperature_and_a_hesitant_teacher_is_warned_of(teacher, tmp_path):
    plot = tmp_path / "sizes.png"
    found = inspect(teacher, InspectOptions(aim=3.0, plot=str(plot), group="paper"))
    sizes = [row["mean K"] for row in found.tables["by t_group"]]
    assert sizes == sorted(sizes)
    assert found.facts["people"] == 12
    assert 0 < found.facts["teacher_target_margin"] < found.facts["teacher_target_plain"] < 0.5
    assert "not this person" in found.facts["warning"]
    assert found.facts["t_group_for_aim"] > 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_probes_are_degraded_and_the_gallery_is_not(teacher, tmp_path):
    plot = tmp_path / "sweep.png"
    found = inspect(teacher, InspectOptions(degrade=True, plot=str(plot)))
    rows = found.tables["degradation"]
    assert [row["severity"] for row in rows] == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    assert set(rows[0]) == {"severity", "AUC, %", "EER, %", "TAR at FAR 0.01, %"}
    assert found.facts["people"] > 1
    assert plot.read_bytes().startswith(b"\x89PNG")
