"""The wheel: small enough, whole, and at work in a clean environment beside the packages of this one."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT = 60_000_000
"""Bytes."""

pytestmark = pytest.mark.slow


def run(*words, **more):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=500, **more)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "-w", folder)
    run(sys.executable, "-m", "pip", *build, ROOT)
    (found,) = folder.glob("mien-*.whl")
    return found


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory):
    """An environment with the wheel in it; what mien needs comes from the environment of the tests."""
    place = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", place)
    python = place / "bin" / "python"
    inside = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])").strip())
    # A .pth line only adds a folder: editable installs there, this checkout among them, are not followed.
    (inside / "beside.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index", wheel)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MIEN_RESULTS")}
    return python, {"env": {**environment, "HF_HUB_OFFLINE": "1"}, "cwd": place.parent}


def test_the_wheel_is_small_and_has_no_pickles(wheel):
    assert wheel.stat().st_size < LIMIT
    names = zipfile.ZipFile(wheel).namelist()
    assert not [n for n in names if n.endswith((".pkl", ".pt", ".pth", ".bin"))]
    assert {"mien/py.typed", "mien/synth/assets/people.npz", "mien/zoo/ncl/small/card.md"} <= set(names)
    assert not [n for n in names if n.startswith(("tests/", "docs/"))]


def test_it_is_imported_from_where_it_was_installed_and_light(clean):
    python, how = clean
    code = "import sys, mien; print(mien.__file__); sys.exit('torch' in sys.modules)"
    assert str(python.parents[1]) in run(python, "-c", code, **how)


def test_it_knows_its_state_and_its_weights(clean):
    python, how = clean
    facts = json.loads(run(python, "-m", "mien", "doctor", "--json", **how))
    assert facts["broken"] == []
    assert "ncl/small" in facts["weights"]
    assert run(python, "-c", "import mien; print(len(mien.load('ncl').classes))", **how).strip() == "10"
    assert run(python.parent / "mien", "--version", **how).strip() == facts["mien"]


def test_lists_and_results_need_no_checkout(clean):
    python, how = clean
    methods = json.loads(run(python, "-m", "mien", "list", "--json", **how))
    assert len(methods) == 10
    assert run(python, "-m", "mien", "results", "ncl", "--json", **how)
