"""A team's code is run again: its scores are compared, its reach is limited."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
import time

import pytest

from mien.challenge import Reference, RunLimits, board, submit, verify, work
from mien.challenge.setup import TEMPLATE
from mien.core.errors import ConfigError
from tests.challenge.made import START, make_challenge, sent


@pytest.fixture
def folder(tmp_path):
    return make_challenge(tmp_path)


def code(tmp_path, text):
    place = tmp_path / "code"
    place.mkdir()
    (place / "solution.py").write_text(textwrap.dedent(text))
    return place


def submitted(tmp_path, folder, path=None):
    submit(folder, path or sent(folder, tmp_path / "a.zip"), "a", clock=lambda: START)
    work(folder)


def by_template(tmp_path, folder):
    """The zip that the starting kit writes."""
    path = tmp_path / "kit.zip"
    subprocess.run([sys.executable, "-I", TEMPLATE / "solution.py", folder, path], check=True)
    return path


def test_the_same_code_gives_the_same_scores(tmp_path, folder):
    submitted(tmp_path, folder, by_template(tmp_path, folder))
    found = verify(folder, 1, folder / "template")
    assert (found.verdict, found.largest, found.changed) == ("same", 0, 0)
    assert found.acer == found.acer_again
    assert board(folder)[0].verified == "same"


def test_other_scores_are_noticed(tmp_path, folder):
    submitted(tmp_path, folder)
    found = verify(folder, 1, folder / "template")
    assert found.verdict == "differs"
    assert found.largest > 0.1
    assert found.changed > 0.5
    assert board(folder)[0].flags[-1] == "code_differs"
    assert verify(folder, 1, folder / "template", tolerance=1.0).verdict == "same"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError('no such weights')", "the code ended with 1: ValueError: no such weights"),
        ("pass", "no such file; give a zip"),
        ("import sys; open(sys.argv[2], 'w').write('x')", "not a zip"),
        ("import time; time.sleep(60)", "ran longer than 2 s"),
        ("while True: pass", "ran longer than 2 s|ended with -"),
        ("x = bytearray(2**31)", "MemoryError"),
        ("open('big', 'wb').write(b'0' * 2**21)", "ended with"),
        ("import os; os.symlink('/etc/passwd', os.sys.argv[2])", "not a zip"),
        (
            "print('\\x1b[31m' * 3, file=__import__('sys').stderr); raise SystemExit(3)",
            r"ended with 3: \\x1b",
        ),
    ],
)
def test_code_that_fails(tmp_path, folder, text, message):
    submitted(tmp_path, folder)
    limits = RunLimits(seconds=2, memory_mb=1024, file_mb=1)
    found = verify(folder, 1, code(tmp_path, text), limits=limits)
    assert found.verdict == "failed"
    assert re.search(message, found.message), found.message
    assert "\n" not in found.message
    assert board(folder)[0].verified == "failed"


def test_code_sees_neither_our_environment_nor_the_hidden_labels(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    submitted(tmp_path, folder)
    place = code(
        tmp_path,
        """
        import os, resource, sys
        from pathlib import Path
        data = Path(sys.argv[1])
        assert sorted(os.environ) == ["HOME", "LANG", "OMP_NUM_THREADS", "PATH", "TMPDIR"], sorted(os.environ)
        assert sorted(p.name for p in data.iterdir()) == ["phase1", "phase2"]
        assert (data / "phase2" / "test" / "000001.jpg").exists()
        assert not list(data.rglob("*.csv")) and "reference" not in " ".join(sys.argv)
        assert Path.cwd() == Path(os.environ["HOME"])
        assert resource.getrlimit(resource.RLIMIT_CPU)[0] == 30
        raise SystemExit("all is well")
        """,
    )
    assert "all is well" in verify(folder, 1, place, limits=RunLimits(seconds=30)).message


def test_what_it_starts_ends_with_it(tmp_path, folder):
    submitted(tmp_path, folder)
    mark = tmp_path / "mark"
    place = code(
        tmp_path,
        f"""
        import subprocess, sys
        late = "import time; time.sleep(2); open({str(mark)!r}, 'w')"
        subprocess.Popen([sys.executable, "-c", late])
        """,
    )
    verify(folder, 1, place, limits=RunLimits(seconds=30))
    time.sleep(2.5)
    assert not mark.exists()


def test_the_lists_it_may_write_are_copies(tmp_path, folder):
    submitted(tmp_path, folder)
    before = Reference.read(folder).dev.names
    place = code(
        tmp_path,
        """
        import sys
        from pathlib import Path
        for path in Path(sys.argv[1]).glob("phase*/*.txt"):
            path.write_text("gone")
        """,
    )
    verify(folder, 1, place)
    assert (folder / "phase1" / "dev.txt").read_text().split() == list(before)


def test_wrong_use(tmp_path, folder):
    submitted(tmp_path, folder)
    with pytest.raises(ConfigError, match="no submission 7"):
        verify(folder, 7, folder / "template")
    assert "no solution.py here" in verify(folder, 1, tmp_path).message
    with pytest.raises(ConfigError, match="must be 1 or more"):
        RunLimits(seconds=0)
    shutil.rmtree(folder / "template")
