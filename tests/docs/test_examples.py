"""Every example runs as a user would run it, and says what it found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
ACCURACY = {"sagm_loop": 35.0}  # at least, in percent; guessing the largest class gives 19


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_run(path, tmp_path):
    words = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
    assert not done.stderr
    if path.stem in ACCURACY:
        found = re.search(r"([\d.]+)%", done.stdout)
        assert found
        assert float(found[1]) > ACCURACY[path.stem]


def test_there_are_examples():
    assert set(ACCURACY) <= {p.stem for p in EXAMPLES}
