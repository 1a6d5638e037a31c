"""The method's predictor, evaluation, export and presets as a user types them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mien.cli.main import main
from mien.cli.predict import _line
from mien.core import catalogue
from mien.core.config import hash_recipe
from mien.data.faces import read_faces
from mien.data.verification import write_verification
from mien.engine.face_export import export_plan, people_pairs, some_pairs
from mien.engine.face_predictor import FacePredictor
from mien.engine.zoo import load_predictor
from mien.methods.gkd.config import RECIPES
from mien.methods.gkd.protocol import CHAINS
from tests.data.record_fixtures import picture_bytes
from tests.methods.gkd.test_task import ENTRY


@pytest.fixture(scope="module", autouse=True)
def listed():
    patch = pytest.MonkeyPatch()
    patch.setattr(catalogue, "_TABLE", tuple(ENTRY if e.name == "gkd" else e for e in catalogue._TABLE))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def bin_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "lfw.bin"
    same = [k % 2 == 0 for k in range(40)]
    faces = [picture_bytes(k if same[k // 2] else 100 + k) for k in range(80)]
    write_verification(path, [faces[k - k % 2 if same[k // 2] else k] for k in range(80)], same)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, bin_file):
    folder = tmp_path_factory.mktemp("run") / "dbg"
    words = ["--preset", "debug", "--output", str(folder), "--data.verification", str(bin_file)]
    assert main(["train", "gkd", *words]) == 0
    return folder


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for k in range(2):
        paths.append(tmp_path / f"ü {k}.png")
        pixels = np.random.default_rng(k).integers(0, 256, (30 + k, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(paths[-1])
    return [str(p) for p in paths]


def answered(capsys, *argv):
    capsys.readouterr()
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_debug_trains_a_teacher_first(run):
    teacher = json.loads((run / "stages/teacher/run.json").read_text())
    student = json.loads((run / "run.json").read_text())
    assert teacher["steps"] == student["steps"] == 3
    facts = json.loads((run / "facts.json").read_text())
    assert set(facts["thresholds"]) == {"far@0.001", "far@0.01", "eer", "accuracy"}
    assert facts["threshold"] == facts["thresholds"]["far@0.001"]


def test_two_pictures(run, pictures, capsys):
    answer = answered(capsys, "predict", "gkd", *pictures, "--weights", str(run))
    first, second = answer["result"]["items"]
    assert first["similarity"] is None
    assert second["status"] == "unchecked"
    assert -1 <= second["similarity"] <= 1
    assert isinstance(second["same"], bool)
    assert second["rule"].startswith("far@0.001")
    assert main(["predict", "gkd", *pictures, "--weights", str(run), "--threshold", "-1.0"]) == 0
    assert "same True, threshold -1, rule given" in capsys.readouterr().out.splitlines()[1]
    item = {"input": "a.png", "same": False, "known": None, "aligned": False, "rule": "", "top": 0.5}
    assert _line(item) == "a.png: same False, top 0.5"
    assert main(["predict", "gkd", pictures[0], "--weights", str(run), "--rule", "far"]) == 2
    assert "no threshold by the rule 'far'" in capsys.readouterr().err


def test_a_gallery_on_the_command_line(run, pictures, tmp_path, capsys):
    words = [pictures[0], "--weights", str(run), "--gallery", str(tmp_path), "--top", "1"]
    (item,) = answered(capsys, "predict", "gkd", *words)["result"]["items"]
    assert item["matches"][0][0] == "ü 0"
    assert item["known"] is True


def test_in_python(run):
    model = load_predictor(str(run))
    assert isinstance(model, FacePredictor)
    (result,) = model.predict(np.zeros((20, 30, 3), np.uint8))
    assert result.status == "blank"
    assert model.embed(np.random.default_rng(0).random((3, 16, 16), np.float32)).shape == (1, 16)


def test_evaluation_measures_people_and_sets(run, bin_file, tmp_path, capsys):
    answer = answered(capsys, "eval", "gkd", "--weights", str(run))
    assert {"rank_1", "lfw_accuracy", "lfw_val_0.001", "lfw_eer", "lfw_tar_0.001"} <= set(answer["metrics"])
    assert "10 folds" in answer["rules"]["accuracy"]
    one = answered(capsys, "eval", "gkd", "--weights", str(run), "--split", "lfw")
    path = answered(capsys, "eval", "gkd", "--weights", str(run), "--split", f"x={bin_file}")
    assert one["metrics"] == path["metrics"]
    assert one["metrics"]["accuracy"] == answer["metrics"]["lfw_accuracy"]
    assert main(["eval", "gkd", "--weights", str(run), "--split", "lwf"]) == 2
    assert "no split 'lwf'; there are val, test, orl, lfw" in capsys.readouterr().err
    assert main(["eval", "gkd", "--weights", str(run), "--split", "lfw"]) == 0
    assert "accuracy: 10 folds" in capsys.readouterr().out
    broken = tmp_path / "broken.bin"
    broken.write_bytes(b"\x80\x02cos\nsystem\n.")
    assert main(["eval", "gkd", "--weights", str(run), "--split", str(broken)]) == 1
    assert "system" in capsys.readouterr().err


def test_without_test_people_or_sets_it_says_so(tmp_path, capsys):
    words = ["--preset", "debug-teacher", "--output", str(tmp_path / "r"), "--data.val-people", "0"]
    assert main(["train", "gkd", *words, "--data.test-people", "0"]) == 0
    assert main(["eval", "gkd", "--weights", str(tmp_path / "r")]) == 2
    assert "no test people (data.test_people=0)" in capsys.readouterr().err
    model = load_predictor(str(tmp_path / "r"))
    assert model.predict(np.zeros((20, 30, 3), np.uint8))[0].threshold is None
    plan = export_plan(model, 10)
    assert plan.metric is None
    assert len(plan.images) == 10


def test_the_threshold_of_a_set_says_that_it_is_a_test_set(tmp_path, bin_file):
    words = ["--preset", "debug-teacher", "--output", str(tmp_path / "r"), "--data.val-people", "0"]
    words += ["--data.test-people", "0", "--data.verification", str(bin_file), "--data.look", "colour"]
    assert main(["train", "gkd", *words]) == 0
    facts = json.loads((tmp_path / "r/facts.json").read_text())
    assert facts["threshold"]["rule"] == "far@0.001 of the 40 pairs of lfw, a test set"
    plan = export_plan(load_predictor(str(tmp_path / "r")), 40)
    assert plan.metric_name == "TAR at FAR 0.01"
    assert 0 < len(plan.images) <= 40
    with torch.inference_mode():
        e = plan.graphs["recognizer"](plan.images).numpy()
    assert 0 <= plan.metric(e) <= 1


def test_export_whole_and_int8(run, tmp_path, capsys):
    words = ["--weights", str(run), "--int8", "--images", "12", "--output", str(tmp_path)]
    answer = answered(capsys, "export", "gkd", *words)
    exact, small = answer["graphs"]
    assert exact["max_difference"] < 1e-5
    assert exact["name"] == "recognizer"
    assert small["precision"] == "int8"
    assert small["megabytes"] < exact["megabytes"]
    assert small["max_difference"] < 0.2
    assert answer["metric"] == "TAR at FAR 0.01"
    from mien.engine.export import open_session, run_session

    faces = read_faces(RECIPES["debug"]().data).test
    x = np.stack(faces.pictures(range(5))).transpose(0, 3, 1, 2).astype(np.float32) / 255
    e = run_session(open_session(tmp_path / exact["file"]), x)
    np.testing.assert_allclose(e, load_predictor(str(run)).embed(faces.pictures(range(5))), atol=1e-5)


def test_pictures_and_pairs_of_the_export(bin_file):
    from mien.data.verification_sets import open_verification

    faces = read_faces(RECIPES["debug"]().data).test
    chosen, pairs, same = people_pairs(faces, 8)
    assert len(chosen) == 8
    assert len(pairs) == 28
    assert same.sum() == 12
    pairs_of = open_verification(str(bin_file))
    chosen, pairs, same = some_pairs(pairs_of, 20)
    assert same.sum() == 5
    assert len(same) == 10
    assert pairs.max() == len(chosen) - 1


def test_training_on_a_folder_of_people(tmp_path, capsys):
    from tests.data.test_faces import write_people

    write_people(tmp_path / "people", {f"p{k}": 3 for k in range(9)}, size=(40, 40))
    words = ["--preset", "small", "--data.kind", "folder", "--data.root", str(tmp_path / "people")]
    words += ["--data.val-people", "2", "--data.test-people", "3", "--data.size", "16"]
    words += ["--schedule.batch", "6", "--max-steps", "2", "--output", str(tmp_path / "run")]
    assert main(["train", "gkd", *words]) == 0
    for folder in (tmp_path / "run", tmp_path / "run/stages/teacher"):
        facts = json.loads((folder / "facts.json").read_text())
        assert facts["classes"] == ["p0", "p1", "p2", "p3"]
        assert facts["data"]["real"] is True
    answer = answered(capsys, "eval", "gkd", "--weights", str(tmp_path / "run"))
    assert "rank_1" in answer["metrics"]
    answer = answered(capsys, "export", "gkd", "--weights", str(tmp_path / "run"), "--output", str(tmp_path))
    assert answer["real"] is True
    assert answer["images"] == 9


def test_recipes_and_chains():
    for name, chain in CHAINS.items():
        assert chain[-1].recipe.name == name
        assert chain[-1].uses == {"teacher": chain[0].id}
        assert chain[0].recipe.data == chain[-1].recipe.data
        assert chain[0].recipe.schedule.batch == chain[-1].recipe.schedule.batch
    names = [make().name for make in RECIPES.values()]
    assert len(set(names)) == len(names)
    paper = RECIPES["paper"]()
    elsewhere = replace(paper, data=replace(paper.data, root="/data/ms1m"))
    assert hash_recipe(elsewhere) == hash_recipe(paper)
    assert paper.method.group == "release-adaptive"
    assert (paper.method.scale, paper.method.margin, paper.method.beta) == (64.0, 0.4, 4.0)
