"""Every verb as a user would type it, in process: exit code, what is printed, what is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.cli.main import VERBS, main
from mien.core.catalogue import ready


@pytest.fixture(scope="module")
def debug_run(tmp_path_factory):
    """A three-step run of the debug recipe."""
    folder = tmp_path_factory.mktemp("run") / "dbg"
    assert main(["train", "ncl", "--preset", "debug", "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "鞋 شبشب.png"
    pixels = np.full((60, 90), 255, np.uint8)
    pixels[20:45, 20:70] = 30
    Image.fromarray(pixels).save(path)
    return path


def said(capsys, *argv, code=0):
    assert main(list(argv)) == code
    out = capsys.readouterr()
    return out.out if code == 0 else out.err


def test_help_names_every_verb_and_imports_no_torch():
    heavy = "any(n in sys.modules for n in ('torch', 'matplotlib', 'timm'))"
    code = f"import sys, mien.cli.main as m; m.main(['--help']); sys.exit({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", list(VERBS))
def test_help_of_each_verb_imports_no_torch(verb):
    words = (
        [verb, "ncl", "--help"]
        if verb in ("train", "eval", "predict", "inspect", "reproduce", "export")
        else [verb, "--help"]
    )
    code = (
        f"import sys, mien.cli.main as m; c = m.main({words!r}); sys.exit(9 if 'torch' in sys.modules else c)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_version_and_no_words(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"
    assert main([]) == 2


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["trian"], 2, "did you mean 'train'"),
        (["train"], 2, "which method"),
        (["train", "nlc"], 2, "did you mean 'ncl'"),
        (["train", "ncl", "--preset", "smal"], 2, "did you mean 'small'"),
        (["train", "ncl", "--preset"], 2, "--preset needs a value"),
        (["train", "ncl", "--optim.lr", "nan"], 2, "optim.lr=nan is outside"),
        (["train", "ncl", "--optim.lrr", "1"], 2, "--optim.lr"),
        (["train", "ncl", "--optim.rho", "1"], 2, "does not apply to kind='sgd'"),
        (["train", "ncl", "--data.kind", "idx"], 2, "--data.root DIR"),
        (["train", "ncl", "--data.kind", "idx", "--data.root", "/nowhere"], 1, "no such folder"),
        (["train", "ncl", "--from", "teacher=ncl/small"], 2, "ncl has: none"),
        (["train", "ncl", "--loss", "ldam"], 2, "is a baseline"),
        (["predict", "ncl", "two\nlines.png"], 1, "no such file"),
        (["train", "ncl", "--from", "teacher"], 2, "STAGE=WEIGHTS"),
        (["train", "--resume", "/nowhere"], 1, "no such file"),
        (["eval", "ncl", "--weights", "ncl/smll"], 1, "no weights 'ncl/smll'"),
        (["eval", "ncl", "--weights", "someone/model"], 1, "nor on the hub"),
        (["predict", "ncl"], 2, "no input"),
        (["bench", "engin"], 2, "did you mean 'engine'"),
        (["sweep", "ncl"], 2, "declares no search space"),
        (["studio", "--port", "0"], 2, "port=0 is outside"),
        (["challenge", "init"], 2, "want DATASET OUT"),
        (["challenge", "scor"], 2, "did you mean 'score'"),
        (["reproduce", "nonesuch"], 2, "nonesuch"),
        (["reproduce", "ncl", "--rows", "nclp"], 2, "no row 'nclp'"),
        (["convert", "torch"], 2, "KIND FILE"),
        (["convert", "tensorflow", "x"], 2, "no kind"),
        (["data", "chek"], 2, "did you mean 'check'"),
        (["data", "check"], 2, "which folder"),
        (["data", "make", "people"], 2, "no made set 'people'"),
        (["data", "make", "face"], 2, "did you mean 'faces'"),
        (["data", "make", "faces", "--size", "0"], 2, "size=0 is outside [16, 1024]"),
        (["data", "make", "faces", "--size", "1000000"], 2, "size=1000000 is outside"),
        (["data", "make", "faces", "--sizes", "64"], 2, "did you mean --size"),
        (["data", "make", "faces", "--workers", "x"], 2, "not a number of processes"),
        (["data", "make", "pad", "--species", "replai"], 2, "species 'replai' is none of"),
        (["demo", "ncl", "--input", "/nowhere.png"], 2, "no such file"),
        (["demo", "cqli"], 2, "did you mean 'cqil'"),
    ],
)
def test_errors_are_one_clear_line(capsys, argv, code, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # runs/ncl-small-s0 here is nobody else's
    error = said(capsys, *argv, code=code)
    assert text in error
    assert "Traceback" not in error
    if not error.startswith("╭"):
        assert error.count("\n") == 1


def test_an_unexpected_error_is_one_line_and_debug_shows_where(capsys, monkeypatch):
    import mien.cli.list_ as verb

    monkeypatch.setattr(verb, "run", lambda argv: 1 / 0)
    assert "unexpected ZeroDivisionError" in said(capsys, "list", code=1)
    assert "Traceback" in said(capsys, "list", "--debug", code=1)


def test_list(capsys):
    records = json.loads(said(capsys, "list", "--json"))
    assert [
        r["method"] for r in records
    ] == "ncl sagm gkd cakd fm_vit cqil igc_net otavatar car phycine".split()
    assert set(records[0]) == {"method", "family", "paper", "title", "weights", "claims"}
    assert set(records[0]["claims"]) == {"true", "false", "null"}
    assert "ncl/small" in records[0]["weights"]
    assert "NCL++" in said(capsys, "list")


def test_train_refuses_to_write_over_a_run_and_resume_knows_a_finished_one(capsys, debug_run):
    assert "holds a run already" in said(
        capsys, "train", "ncl", "--preset", "debug", "--output", str(debug_run), code=2
    )
    assert "nothing to resume" in said(capsys, "train", "--resume", str(debug_run))
    assert "a run of ncl" in said(capsys, "train", "sagm", "--resume", str(debug_run), code=2)
    assert "settings" in said(capsys, "train", "--resume", str(debug_run), "--experts", "3", code=2)


def test_cut_short_and_resumed(capsys, tmp_path):
    folder = str(tmp_path / "r")
    text = said(capsys, "train", "ncl", "--preset", "debug", "--max-steps", "2", "--output", folder)
    assert "2 steps" in text
    assert "3 steps" in said(capsys, "train", "--resume", folder)


@pytest.mark.parametrize(
    "words",
    [
        ["--loss", "ldam", "--head", "cosine", "--scale", "30"],
        ["--optim.kind", "sam"],
        ["--schedule.precision", "bf16"],
        ["--schedule.accumulate", "2"],
        ["--shared-stages", "1"],
    ],
)
def test_train_options(capsys, tmp_path, words):
    alone = ["--inter", "False", "--intra", "False", "--n-hard", "0"] if "ldam" in words else []
    said(capsys, "train", "ncl", "--preset", "debug", *words, *alone, "--output", str(tmp_path / "r"))
    config = (tmp_path / "r" / "config.toml").read_text()
    assert words[1] in config


def test_eval_json(capsys, debug_run):
    answer = json.loads(said(capsys, "eval", "ncl", "--weights", str(debug_run), "--json"))
    assert answer["method"] == "ncl"
    assert {"single_all", "ensemble_few", "expert_kl", "copy_kl", "ece", "temperature"} <= set(
        answer["metrics"]
    )
    assert 0 <= answer["metrics"]["single_all"] <= 1
    assert "single_all" in said(capsys, "eval", "ncl", "--weights", str(debug_run), "--split", "val")


def test_predict_files_folders_and_options(capsys, picture, tmp_path):
    answer = json.loads(
        said(capsys, "predict", "ncl", str(picture), "--json", "--output", str(tmp_path / "o"))
    )
    item = answer["result"]["items"][0]
    assert item["input"] == str(picture)
    assert abs(sum(p for _, p in item["top"])) <= 1 + 1e-6
    assert item["inverted"] is True
    assert "temperature" in item["rule"]
    assert json.loads((tmp_path / "o" / "predict.json").read_text()) == answer
    assert picture.name in said(
        capsys, "predict", "ncl", str(picture.parent), "--invert", "never", "--mode", "1"
    )
    assert "0..1" in said(capsys, "predict", "ncl", str(picture), "--mode", "7", code=2)
    assert "10 positive numbers" in said(
        capsys, "predict", "ncl", str(picture), "--test-prior", "1", "2", code=2
    )


def test_test_prior_moves_the_answer(capsys, picture):
    prior = ["1"] * 10
    even = json.loads(said(capsys, "predict", "ncl", str(picture), "--json", "--top", "10"))
    label = even["result"]["items"][0]["top"][1][0]
    from mien.data.bundled import FASHION_CLASSES

    prior[FASHION_CLASSES.index(label)] = "1e9"
    moved = json.loads(said(capsys, "predict", "ncl", str(picture), "--json", "--test-prior", *prior))
    assert moved["result"]["items"][0]["label"] == label


@pytest.mark.parametrize("bad", ["corrupt", "empty", "text"])
def test_bad_pictures_are_one_line(capsys, tmp_path, bad):
    path = tmp_path / f"{bad}.png"
    path.write_bytes({"corrupt": b"\x89PNG\r\n\x1a\n" + b"x" * 50, "empty": b"", "text": b"hello"}[bad])
    error = said(capsys, "predict", "ncl", str(path), code=1)
    assert str(path) in error
    assert error.count("\n") == 1


def test_inspect(capsys, debug_run):
    answer = json.loads(said(capsys, "inspect", "ncl", "--weights", str(debug_run), "--json"))
    assert len(answer["result"]["classes"]) == 10
    assert sum(answer["result"]["groups"].values()) == 10
    assert "hard pairs" in said(capsys, "inspect", "ncl", "--weights", str(debug_run))


def test_demo_writes_a_page_and_another_input_gives_another_output(capsys, tmp_path, picture):
    out = tmp_path / "demo"
    said(capsys, "demo", "ncl", "--output", str(out))
    summary = json.loads((out / "summary.json").read_text())
    part = summary["methods"]["ncl"]
    assert part["ok"]
    assert part["headline"]["ncl_few"] > part["headline"]["ce_few"]
    assert len(next(iter(part["inputs"].values()))) == 64
    assert all((out / f).is_file() for f in part["files"])
    page = (out / "index.html").read_text()
    assert "cross-entropy" in page
    assert "http" not in page.replace("http-equiv", "")
    said(capsys, "demo", "ncl", "--input", str(picture), "--output", str(tmp_path / "d2"))
    first = json.loads((tmp_path / "d2" / "summary.json").read_text())["methods"]["ncl"]
    other = tmp_path / "other.png"
    Image.fromarray(np.tri(50, 50, dtype=np.uint8) * 200).save(other)
    said(capsys, "demo", "ncl", f"--input={other}", "--output", str(tmp_path / "d3"))
    second = json.loads((tmp_path / "d3" / "summary.json").read_text())["methods"]["ncl"]
    assert first["inputs"] != second["inputs"]
    assert first["headline"] != second["headline"]


def test_convert(capsys, tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    assert "1 tensors" in said(capsys, "convert", "torch", str(tmp_path / "a.pt"))
    assert (tmp_path / "a.safetensors").is_file()


def test_data_list_and_check(capsys, tmp_path):
    from tests.data.fixtures import write_folder

    assert "fashion_lt" in {r["name"] for r in json.loads(said(capsys, "data", "list", "--json"))}
    assert "inat2018" in said(capsys, "data", "list")
    root = Path(write_folder(tmp_path / "set") or tmp_path / "set")
    answer = json.loads(said(capsys, "data", "check", str(root), "--json"))
    assert answer["kind"] == "folder"
    assert answer["problems"] == []
    victim = next(p for p in sorted(root.rglob("*")) if p.is_file())
    victim.write_bytes(victim.read_bytes()[:20])
    assert "1 problem(s)" in said(capsys, "data", "check", str(root), code=1)


def test_data_make_writes_resumes_and_refuses(capsys, tmp_path):
    out = tmp_path / "faces"
    words = ("data", "make", "faces", "--identities", "2", "--per-identity", "1", "--size", "32")
    assert "2 samples in" in said(capsys, *words, "--output", str(out), "--workers", "1")
    before = {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    assert {"sheet.png", "card.md", "set.json"} <= {p.name for p in before}
    said(capsys, *words, f"--output={out}", "--workers", "1")
    assert {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()} == before
    assert "other settings" in said(capsys, *words, "--seed", "1", "--output", str(out), code=1)
    assert "faces|aligned|heads|pad|bodies|video" in said(capsys, "data", "make", code=2)
    help_text = said(capsys, "data", "make", "pad", "--help")
    assert "--shards" in help_text
    assert {"faces", "heads", "pad", "bodies", "video"} <= {
        r["name"] for r in json.loads(said(capsys, "data", "list", "--json"))
    }


def test_demo_shows_made_people(capsys, tmp_path):
    said(capsys, "demo", "people", "--output", str(tmp_path))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["methods"] == {}
    assert summary["people"]["ok"]
    for name in summary["people"]["files"]:
        with Image.open(tmp_path / name) as sheet:
            assert np.asarray(sheet).std() > 20
    assert "people/faces.png" in (tmp_path / "index.html").read_text()


def test_ready_methods_have_every_module():
    from mien.core.catalogue import method

    wanted = {
        "config": ("RECIPES", "PredictOptions", "InspectOptions"),
        "task": ("build",),
        "evaluate": ("evaluate",),
        "predict": ("Predictor", "export_plan"),
        "protocol": ("PROTOCOL_VERSION", "SEEDS", "MAIN", "SHOWN", "ROWS", "CLAIMS"),
        "demo": ("demo",),
        "inspection": ("inspect",),
    }
    for name in ready():
        for module, names in wanted.items():
            loaded = method(name).load(module)
            assert all(hasattr(loaded, n) for n in names), (name, module)
        assert {"small", "paper", "debug"} <= set(method(name).load("config").RECIPES)


@pytest.mark.parametrize(
    ("kind", "writer"),
    [
        ("idx", "write_idx"),
        ("cifar10_lt", "write_cifar10"),
        ("cifar100_lt", "write_cifar100"),
        ("imagenet_lt", "write_imagenet_lt"),
        ("places_lt", "write_places_lt"),
        ("inat2018", "write_inat2018"),
        ("json", "write_json"),
        ("folder", "write_folder"),
    ],
)
def test_data_check_knows_every_real_layout(capsys, tmp_path, kind, writer):
    from tests.data import fixtures

    getattr(fixtures, writer)(tmp_path / "set")
    main(["data", "check", str(tmp_path / "set"), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["kind"] == kind
    assert answer["splits"]["train"]["images"] > 0
    assert answer["problems"] == []
