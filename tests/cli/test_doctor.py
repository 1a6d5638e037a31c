"""``mien doctor``: facts for a bug report, and one line for what is broken."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch

from mien.cli import doctor
from mien.cli.main import main

ROOT = Path(__file__).parents[2]


def test_facts_for_programs_and_people(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["torch"] == torch.__version__
    assert facts["broken"] == []
    assert set(facts["extras"]) == set(doctor.EXTRAS)
    assert {"MediaPipe", "initdb", "chromium"} <= set(facts["tools"])
    assert all(set(e) == {"is here", "missing", "needed by"} for e in facts["extras"].values())
    assert main(["doctor"]) == 0
    assert "free there" in capsys.readouterr().out


def test_extras_are_those_of_the_package():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(doctor.EXTRAS) == set(declared) - {"dev"}
    for name, (packages, _) in doctor.EXTRAS.items():
        assert len(packages) == len(declared[name]), name


def test_what_is_not_here_is_named_with_its_verb(monkeypatch, capsys):
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda n: None if n == "gradio" else real(n))
    assert main(["doctor"]) == 0
    assert "gradio: needed by mien studio; pip install 'mien[studio]'" in capsys.readouterr().out


def test_required_packages_that_are_old_or_absent():
    told = doctor.broken_packages({"numpy": "1.0", "torch": "999.1", "no-such-thing": "1.2"})
    assert len(told) == 2
    assert told[0].startswith(f"torch {torch.__version__.partition('+')[0]}")
    assert told[1] == "no-such-thing is not installed; pip install 'no-such-thing>=1.2'"


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.14.1+cu130", (2, 14, 1)), ("0.6", (0, 6)), ("1.0.0rc2", (1, 0, 0))]
)
def test_versions_compare_by_number(version, numbers):
    assert doctor._numbers(version) == numbers


def test_something_broken_leaves_with_one(monkeypatch, capsys):
    monkeypatch.setitem(doctor.ASSETS, "mien.data", ("fashion_lt.npz", "gone.npz"))
    assert main(["doctor", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["broken"] == ["mien.data: assets/gone.npz is not there; install mien again"]
    assert said.err.count("\n") == 1


def test_a_home_that_cannot_be_written_to(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert main(["doctor"]) == 1
    assert "set MIEN_HOME to a folder" in capsys.readouterr().err


def test_changed_weights_are_found(monkeypatch, tmp_path):
    folder = tmp_path / "ncl" / "small"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"other")
    (folder / "weights.sha256").write_text("0" * 64 + "  weights.safetensors\n")
    monkeypatch.setattr("mien.core.shipped.shipped", lambda: {"ncl/small": folder})
    broken: list[str] = []
    doctor._shipped_facts(broken)
    assert broken == ["weights ncl/small are not those of weights.sha256; install mien again"]
