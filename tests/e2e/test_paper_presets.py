"""`--preset paper --max-steps 2` at true size on fixtures of the real layouts."""

from __future__ import annotations

import json

import pytest

from mien.cli.main import main
from tests.data.fixtures import (
    write_cifar10,
    write_cifar100,
    write_imagenet_lt,
    write_inat2018,
    write_pacs,
    write_places_lt,
)

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
