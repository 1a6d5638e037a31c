"""Public names: those of the committed list, no more and no fewer; and each can be had."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(scope="module")
def inventory():
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module("public_names")
    finally:
        sys.path.remove(str(TOOLS))


def test_names_are_those_of_the_list(inventory):
    listed, here = set(inventory.LIST.read_text().split()), set(inventory.public_names())
    gone, new = sorted(listed - here), sorted(here - listed)
    assert not gone, f"gone: {gone}; if meant, say so in CHANGELOG.md and run tools/public_names.py"
    assert not new, f"new: {new}; run tools/public_names.py"


def test_every_name_can_be_had(inventory):
    lost = []
    for name in inventory.public_names():
        package, _, last = name.rpartition(".")
        try:
            getattr(importlib.import_module(package), last)
        except (AttributeError, ImportError) as error:
            lost.append(f"{name}: {error}")
    assert lost == []


def test_the_list_is_made_without_torch():
    code = "import sys, public_names as p; p.public_names(); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOOLS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_tool_writes_what_the_test_reads(inventory, tmp_path, monkeypatch):
    monkeypatch.setattr(inventory, "LIST", tmp_path / "names.txt")
    names = inventory.public_names()
    assert names == sorted(set(names))
    assert {"mien.load", "mien.metrics.acer", "mien.methods.ncl.NCLLoss"} <= set(names)
