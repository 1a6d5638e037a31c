"""The Codabench competition: what its reader refuses, and the scoring program with numpy alone."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from mien.challenge import Contest, bundle, score
from mien.challenge.competition import check_competition, competition, yaml_text
from mien.challenge.settings import save_contest
from mien.challenge.vendoring import copy_needed, needed
from mien.core.errors import ConfigError, DataError
from tests.challenge.made import CONTEST, make_challenge, sent, text_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A challenge, its bundle, and the bundle unpacked."""
    tmp = tmp_path_factory.mktemp("bundle")
    folder = make_challenge(tmp, counts=(6, 60, 90))
    path = bundle(folder, tmp / "out")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp / "unpacked")
    return folder, path, tmp / "unpacked"


def test_the_yaml_says_what_the_platform_asks_for(made):
    yaml = pytest.importorskip("yaml")
    _, path, root = made
    spec = yaml.safe_load((root / "competition.yaml").read_text())
    assert spec["version"] == 2
    assert [p["start"] for p in spec["phases"]] == [datetime(2027, 1, 1), datetime(2027, 1, 10)]
    assert spec["phases"][0]["end"] == datetime(2027, 1, 10)
    assert [p["tasks"] for p in spec["phases"]] == [[0], [1]]
    assert spec["leaderboards"][0]["columns"][0] == {
        "title": "ACER", "key": "acer", "index": 0, "sorting": "asc", "precision": 6
    }  # fmt: skip
    assert spec["leaderboards"][0]["submission_rule"] == "Force_Best"
    assert path.name == "competition.zip"
    check_competition(spec, root)


def test_hidden_labels_lie_in_the_reference_only(made):
    _, _, root = made
    assert sorted(p.name for p in (root / "reference_1").iterdir()) == ["dev.csv", "rules.json"]
    assert sorted(p.name for p in (root / "reference_2").iterdir()) == ["dev.csv", "rules.json", "test.csv"]
    outside = [p.name for p in root.rglob("*") if p.is_file() and not p.parent.name.startswith("reference_")]
    assert not {"dev.csv", "test.csv", "names.csv", "dev_label.txt"} & set(outside)


def test_the_same_challenge_gives_the_same_bytes(made, tmp_path):
    folder, path, _ = made
    assert bundle(folder, tmp_path / "again.zip").read_bytes() == path.read_bytes()


ISOLATED = """
import runpy, sys
sys.path[:] = [p for p in sys.path if "site-packages" not in p] + [sys.argv[1]]
sys.argv = sys.argv[2:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    names = {name.partition(".")[0] for name, m in sys.modules.items() if getattr(m, "__file__", None)}
    foreign = names - set(sys.stdlib_module_names) - {"numpy", "mien", "_sysconfigdata"}
    print("foreign:", sorted(n for n in foreign if not n.startswith("_")))
    print("mien:", sys.modules["mien"].__file__)
"""


def run_program(root, tmp_path, phase, text):
    """The scoring program in an interpreter that finds numpy, and of mien what the bundle brings."""
    packages = tmp_path / "packages"
    packages.mkdir(exist_ok=True)
    for source in Path(np.__file__).parents[1].glob("numpy*"):
        if not (packages / source.name).exists():
            os.symlink(source, packages / source.name)
    folder = tmp_path / f"input{phase}"
    (folder / "res").mkdir(parents=True)
    (folder / "ref").symlink_to(root / f"reference_{phase}")
    (folder / "res" / "results.txt").write_text(text)
    output = tmp_path / f"output{phase}"
    output.mkdir()
    program = root / "scoring_program" / "score.py"
    command = [sys.executable, "-I", "-S", "-c", ISOLATED, packages, program, folder, output]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    return done, output


@pytest.mark.parametrize("phase", [1, 2])
def test_the_scoring_program_gives_the_numbers_of_score_with_numpy_alone(made, tmp_path, phase):
    folder, _, root = made
    path = sent(folder, tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("results.txt").decode().splitlines(keepends=True)
    text = "".join(lines if phase == 2 else lines[:60])
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("results.txt", text)
    done, output = run_program(root, tmp_path, phase, text)
    assert done.returncode == 0, done.stderr
    assert "foreign: []" in done.stdout
    assert f"mien: {root}" in done.stdout
    expected = score(folder, tmp_path / "b.zip", phase, draws=CONTEST.draws)
    assert json.loads((output / "scores.json").read_text()) == expected.summary()
    assert json.loads((output / "detailed.json").read_text()) == json.loads(json.dumps(expected.to_dict()))
    assert (output / "scores.txt").read_text().splitlines()[2].startswith("ACER: ")
    assert "<svg" in (output / "detailed_results.html").read_text()


def test_the_scoring_program_refuses_in_one_line(made, tmp_path):
    _, _, root = made
    done, output = run_program(root, tmp_path, 2, text_of(["dev/000001.jpg"], [0.5]))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "results.txt: wrong line count, got 1, want 150: the test part is missing; "
        "write all dev lines, then all test lines"
    ]
    assert not list(output.iterdir())


def test_no_two_modules_and_no_torch_are_copied(tmp_path):
    found = needed("mien.challenge.program")
    assert "mien.challenge.scoring" in found
    assert "mien.metrics.pad_bootstrap" in found
    assert not any(name.startswith(("mien.data", "mien.engine", "mien.challenge.store")) for name in found)
    for path in found.values():
        text = path.read_text()
        assert "\nimport torch" not in text
    written = copy_needed("mien.challenge.flags", tmp_path)
    assert (tmp_path / "mien" / "challenge" / "__init__.py").read_text() == ""
    assert "mien/challenge/flags.py" in written
    with pytest.raises(DataError, match="no module"):
        needed("mien.challenge.nonesuch")


def broken(change):
    spec = copy.deepcopy(competition(CONTEST))
    change(spec)
    return spec


def without(key):
    return lambda spec: spec["tasks"][0].pop(key)


def set_phase(number, key, value):
    return lambda spec: spec["phases"][number].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec.__setitem__("image", "none.png"), "none.png is missing"),
        (lambda spec: spec.pop("terms"), "image or terms is missing"),
        (lambda spec: spec["pages"].append({"title": "x", "file": "pages/x.md"}), "pages/x.md is missing"),
        (lambda spec: spec["pages"].append({"title": "x", "file": "empty.md"}), "empty.md is empty"),
        (without("scoring_program"), "has no scoring_program"),
        (without("reference_data"), "has no reference_data"),
        (lambda spec: spec["tasks"][1].__setitem__("index", 0), "two tasks have the index 0"),
        (set_phase(0, "tasks", []), "has no task"),
        (set_phase(0, "tasks", [9]), "has no task, or one that is not there"),
        (set_phase(0, "end", None), "has no end and is not the last"),
        (set_phase(1, "start", datetime(2027, 1, 9)), "overlap"),
        (set_phase(0, "starting_kit", "none/"), "none/ is missing"),
        (lambda spec: spec.__setitem__("phases", []), "no phase"),
        (lambda spec: spec["leaderboards"][0].__setitem__("columns", []), "no leaderboard with columns"),
    ],
)
def test_what_the_platform_would_refuse(made, change, message):
    _, _, root = made
    (root / "empty.md").write_text(" \n")
    with pytest.raises(ConfigError, match=message):
        check_competition(broken(change), root)


def test_the_last_phase_may_be_open(made):
    _, _, root = made
    assert check_competition(broken(set_phase(1, "end", None)), root) is None


def test_the_metric_is_the_first_column():
    columns = competition(replace(CONTEST, metric="acer_max"))["leaderboards"][0]["columns"]
    assert [c["key"] for c in columns][:2] == ["acer_max", "acer"]


def test_titles_stay_words_in_yaml():
    yaml = pytest.importorskip("yaml")
    contest = replace(CONTEST, title='a: "b" # c \u2013 yes')
    assert yaml.safe_load(yaml_text(competition(contest)))["title"] == contest.title


def test_a_challenge_without_phases(made, tmp_path):
    save_contest(tmp_path, Contest())
    with pytest.raises(ConfigError, match="needs phases"):
        bundle(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="no challenge here"):
        bundle(tmp_path / "elsewhere", tmp_path / "out")
