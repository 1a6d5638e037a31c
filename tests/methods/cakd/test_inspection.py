"""``mien inspect cakd`` on a distillation of three steps; its protocol's extra looks."""

from __future__ import annotations

import pytest

from mien.core.catalogue import method
from mien.core.errors import ConfigError
from mien.engine.folder import open_folder
from mien.engine.stages import train_recipe, train_stages
from mien.methods.cakd import protocol
from mien.methods.cakd.config import RECIPES, InspectOptions
from mien.methods.cakd.inspection import inspect


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    train_stages(method("cakd"), protocol.CHAINS["cakd-debug"], folder, {})
    return open_folder(folder)


def test_the_fields_of_a_student_and_of_the_teacher_of_its_run(student, tmp_path):
    plot = tmp_path / "fields.png"
    found = inspect(student, InspectOptions(plot=str(plot)))
    assert found.facts["centres"] == len(found.tables["by centre"]) == 9
    assert 0 <= found.facts["shared"] <= 1
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_student_that_nobody_taught_has_no_fields(tmp_path):
    train_recipe(method("cakd"), RECIPES["debug-teacher"](), tmp_path / "t")
    with pytest.raises(ConfigError, match=r"name the weights with --teacher"):
        inspect(open_folder(tmp_path / "t"), InspectOptions())
    with pytest.raises(ConfigError, match=r"only a distilled student"):
        inspect(open_folder(tmp_path / "t"), InspectOptions(teacher=str(tmp_path / "t")))
