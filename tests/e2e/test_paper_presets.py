"""`--preset paper --max-steps 2` at true size on fixtures of the real layouts."""

from __future__ import annotations

import json
import shutil

import pytest

from mien.cli.main import main
from tests.data.avatar_fixtures import write_hdtf
from tests.data.fixtures import (
    write_cifar10,
    write_cifar100,
    write_imagenet_lt,
    write_inat2018,
    write_pacs,
    write_places_lt,
)
from tests.data.pad_fixtures import write_cefa
from tests.data.record_fixtures import write_many_classes
from tests.data.suhifimask_fixtures import write_suhifimask

WRITERS = {
    "cifar100_lt": write_cifar100,
    "cifar10_lt": write_cifar10,
    "imagenet_lt": write_imagenet_lt,
    "places_lt": write_places_lt,
    "inat2018": write_inat2018,
}


def train(tmp_path, kind, *more):
    root, out = tmp_path / "set", tmp_path / "run"
    WRITERS[kind](root)
    words = ["--preset", "paper", "--data.kind", kind, "--data.root", str(root), "--max-steps", "2"]
    words += ["--data.workers", "0", "--output", str(out), *more]
    assert main(["train", "ncl", *words]) == 0
    return json.loads((out / "run.json").read_text()), json.loads((out / "facts.json").read_text())


def test_cifar100_lt_as_typed(tmp_path, capsys):
    run, facts = train(tmp_path, "cifar100_lt")
    assert run["steps"] == 2
    assert len(facts["classes"]) == 100
    assert "2 steps" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "classes"), [("cifar10_lt", 10), ("imagenet_lt", 1000), ("places_lt", 365), ("inat2018", 8142)]
)
def test_the_large_sets(tmp_path, kind, classes):
    run, facts = train(tmp_path, kind, "--schedule.batch", "2")
    assert run["steps"] == 2
    assert len(facts["classes"]) == classes


def test_sagm_on_pacs_with_resnet50(tmp_path):
    root, out = tmp_path / "PACS", tmp_path / "run"
    write_pacs(root)
    words = ["--preset", "paper", "--data.root", str(root), "--data.workers", "0", "--schedule.batch", "6"]
    assert main(["train", "sagm", *words, "--max-steps", "2", "--output", str(out)]) == 0
    facts = json.loads((out / "facts.json").read_text())
    assert json.loads((out / "run.json").read_text())["steps"] == 2
    assert facts["held_out"] == ["sketch"]
    assert len(facts["classes"]) == 7


def test_resnet50_has_the_published_number_of_parameters():
    import torch

    from mien.methods.sagm.config import RECIPES
    from mien.methods.sagm.model import DomainNet

    recipe = RECIPES["paper"]()
    with torch.device("meta"):
        net = DomainNet(recipe.method, recipe.data, 7)
    # ResNet-50 without its classifier, and ours of seven classes.
    assert sum(p.numel() for p in net.parameters()) == 23_508_032 + 2048 * 7 + 7


@pytest.mark.parametrize(("method", "logged_term"), [("gkd", "primary"), ("cakd", "feat")])
def test_distillation_on_as_many_classes_as_ms1mv2(tmp_path, method, logged_term):
    """Both stages at true size: about 12 s, 3 GB of memory and 1 GB of disk on one core."""
    write_many_classes(tmp_path / "ms1m")
    out = tmp_path / "run"
    words = ["--preset", "paper", "--max-steps", "2", "--schedule.batch", "2", "--output", str(out)]
    words += ["--schedule.checkpoint-every", "0", "--data.root", str(tmp_path / "ms1m")]
    try:
        assert main(["train", method, *words]) == 0
        for folder in (out / "stages/teacher", out):
            assert json.loads((folder / "run.json").read_text())["steps"] == 2
            assert len(json.loads((folder / "facts.json").read_text())["classes"]) == 85_742
        logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert any(logged_term in line for line in logged)
    finally:
        shutil.rmtree(out, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["arcface-ms1mv2-r50", "arcface-ms1m-mbf", "cosface-webface-vit-s"])
def test_margin_presets_on_a_record(tmp_path, preset):
    write_many_classes(tmp_path / "set", 50)
    out = tmp_path / "run"
    words = ["--preset", preset, "--max-steps", "2", "--schedule.batch", "2", "--output", str(out)]
    words += ["--schedule.checkpoint-every", "0", "--data.root", str(tmp_path / "set")]
    assert main(["train", "gkd", *words]) == 0
    assert json.loads((out / "run.json").read_text())["steps"] == 2


def test_face_nets_of_the_presets_have_the_published_number_of_parameters():
    """Nets alone; the class weights are 512 for each class beside them."""
    import torch

    from mien.methods.gkd.config import RECIPES
    from mien.nn.recognizer import Recognizer

    published = {
        "paper": 2_059_520,
        "arcface-ms1m-mbf": 2_059_520,
        "arcface-ms1mv2-r50": 43_590_848,
        "cosface-glint360k-r50": 43_590_848,
        "cosface-webface-r100": 65_156_160,
        "cosface-webface-vit-s": 76_023_296,
        "paper-teacher": 43_585_600,
    }
    for name, count in published.items():
        recipe = RECIPES[name]()
        with torch.device("meta"):
            model = Recognizer(recipe.method, recipe.data.size, 85_742, 0)
        assert sum(p.numel() for p in model.net.parameters()) == count, name
        assert sum(p.numel() for p in model.head.parameters()) == 512 * 85_742


def test_fm_vit_on_cefa_with_vit_b(tmp_path):
    """ViT-B/16 at 224 for three cameras: about a minute and 4 GB of memory on one core."""
    root, out = tmp_path / "set", tmp_path / "run"
    for second in write_cefa(root).rglob("0002.jpg"):
        second.unlink()  # each frame of the dev split costs 18 passes through the net
    words = ["--preset", "paper", "--max-steps", "2", "--schedule.batch", "2", "--output", str(out)]
    words += ["--schedule.checkpoint-every", "0", "--data.root", str(root), "--data.workers", "0"]
    try:
        assert main(["train", "fm_vit", *words]) == 0
        assert json.loads((out / "run.json").read_text())["steps"] == 2
        facts = json.loads((out / "facts.json").read_text())
        assert facts["data"]["real"]
        assert facts["data"]["note"] == "casia_cefa p4.1"
        assert len(facts["thresholds"]) == 7
        assert facts["species"] == ["live", "screen"]
    finally:
        shutil.rmtree(out, ignore_errors=True)


def test_fm_vit_of_the_paper_preset_has_its_number_of_parameters():
    """ViT-B/16 is 86 M; LayerNorms, embeddings and heads of two more modalities; four CMTBs."""
    import torch

    from mien.methods.fm_vit.config import RECIPES
    from mien.methods.fm_vit.nets import build_net

    recipe, dim, patches = RECIPES["paper"](), 768, 196
    with torch.device("meta"):
        net = build_net(recipe.method, recipe.data.size, 0)
    norm, attention, ffn = 2 * dim, 4 * dim * (dim + 1), 8 * dim**2 + 5 * dim
    embed, head = 3 * 16**2 * dim + dim, 2 * dim + 2
    vit = 12 * (2 * norm + attention + ffn) + norm + embed + dim + (patches + 1) * dim
    assert vit == 85_798_656  # timm's vit_base_patch16_224 without its classifier
    others = 2 * (12 * 2 * norm + norm + embed + dim) + 3 * head
    joins = 4 * (3 * 3 * norm + 2 * attention + ffn)
    assert sum(p.numel() for p in net.parameters()) == vit + others + joins


def test_cqil_on_suhifimask_with_resnet18(tmp_path):
    """ResNet-18 at 224 on pairs of pictures, with all parts on from the first step."""
    root, out = write_suhifimask(tmp_path / "set"), tmp_path / "run"
    words = ["--preset", "paper", "--max-steps", "2", "--schedule.batch", "2", "--output", str(out)]
    words += ["--schedule.checkpoint-every", "0", "--data.root", str(root), "--sr-warmup", "0"]
    try:
        assert main(["train", "cqil", *words]) == 0
        assert json.loads((out / "run.json").read_text())["steps"] == 2
        facts = json.loads((out / "facts.json").read_text())
        assert facts["data"]["real"]
        assert facts["data"]["note"] == "SuHiFiMask, p3"
        assert set(facts["thresholds"]) == {"image", "track"}
    finally:
        shutil.rmtree(out, ignore_errors=True)


@pytest.mark.slow
def test_otavatar_on_hdtf_with_eg3d_s_sizes(tmp_path):
    """30.7 M parameters, two inner steps in place of 100: about three minutes and 6 GB on one core."""
    train = ["WDA_Ann_000", "WRA_Bob_001", "WRA_Cid_002", "WRA_Dan_003"]
    root, out = write_hdtf(tmp_path / "set", train, ["WRA_EricCantor_000"]), tmp_path / "run"
    words = ["--preset", "paper", "--max-steps", "2", "--schedule.batch", "2", "--output", str(out)]
    words += ["--schedule.checkpoint-every", "0", "--data.root", str(root), "--data.workers", "0"]
    words += ["--data.val-people", "2", "--data.moments", "3", "--inner-steps", "2"]
    try:
        assert main(["train", "otavatar", *words]) == 0
        assert json.loads((out / "run.json").read_text())["steps"] == 2
        assert len(json.loads((out / "facts.json").read_text())["actions"]) == 64
    finally:
        shutil.rmtree(out, ignore_errors=True)


def test_car_on_mvp_with_the_published_field(tmp_path):
    """Widths 512 and a hourglass of 256 channels; the hyper-network of the preset, on no device."""
    import torch

    from mien.methods.car.config import RECIPES
    from mien.methods.car.net import make_hyper
    from tests.data.clothed_fixtures import write_render_people

    root, out = write_render_people(tmp_path / "set", ["ada", "bob"]), tmp_path / "run"
    words = ["--preset", "paper-sdf", "--max-steps", "2", "--schedule.batch", "2", "--output", str(out)]
    words += ["--schedule.checkpoint-every", "0", "--data.root", str(root), "--data.workers", "0"]
    words += ["--data.surface", "64", "--data.near", "64", "--data.box", "16"]
    assert main(["train", "car", *words]) == 0
    assert json.loads((out / "run.json").read_text())["steps"] == 2
    with torch.device("meta"):
        hyper = make_hyper(RECIPES["paper"]().method)
    heads = sum(p.numel() for p in hyper.heads.parameters())
    assert round(heads / 1e6, 1) == 177.4
