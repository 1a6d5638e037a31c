"""Who carries the decision, and who starves: the formulas against loops, and the whole on a debug model."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.cli.main import main
from mien.core.catalogue import method
from mien.core.config import evolve_all
from mien.core.errors import ConfigError, DataError
from mien.data.pads import read_pad
from mien.engine.folder import open_folder
from mien.engine.stages import train_recipe
from mien.methods.fm_vit.config import RECIPES, InspectOptions
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.inspection import (
    balanced_accuracy,
    decision_shares,
    inspect,
    joint_run,
    plot_scores,
    relevance_entropy,
    starving,
)
from mien.methods.fm_vit.score import live_logits
from mien.methods.fm_vit.task import configs
from mien.metrics import acer

NAMES = ("rgb", "depth", "ir")


def trained(folder, **changes):
    train_recipe(method("fm_vit"), evolve_all(RECIPES["debug"](), changes), folder)
    return open_folder(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("model"))


def slow_shares(branches, fused):
    """`decision_shares` written as loops."""
    count, n = len(branches), len(fused)
    agrees, flips, weight = ([0.0] * count for _ in range(3))
    for i in range(n):
        total = sum(abs(branches[k][i]) for k in range(count))
        for m in range(count):
            agrees[m] += ((branches[m][i] >= 0) == (fused[i] >= 0)) / n
            weight[m] += abs(branches[m][i]) / total / n
            if count > 1:
                rest = sum(branches[k][i] for k in range(count) if k != m) / (count - 1)
                flips[m] += ((rest >= 0) != (fused[i] >= 0)) / n
    return {"agrees": agrees, "flips": flips, "weight": weight}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_as_by_loops(count):
    z = np.random.default_rng(count).normal(0.2, 1, (count, 50))
    found, expected = decision_shares(z, z.mean(0)), slow_shares(z.tolist(), z.mean(0).tolist())
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-12)
    assert found["weight"].sum() == pytest.approx(1)


def test_shares_of_three_presentations_by_hand():
    z = np.array([[3.0, -1.0, 1.0], [-1.0, -1.0, 1.0], [-1.0, -1.0, -4.0]])
    found = decision_shares(z, z.mean(0))  # z = 1/3, -1, -2/3: live, attack, attack
    assert found["agrees"].tolist() == pytest.approx([2 / 3, 1 / 3, 2 / 3])
    # Without the first branch the first is an attack; without the last, the first two of the third say live.
    assert found["flips"].tolist() == pytest.approx([1 / 3, 0, 1 / 3])
    assert found["weight"].tolist() == pytest.approx([(0.6 + 1 / 3 + 1 / 6) / 3, (0.2 + 1 / 3 + 1 / 6) / 3,
                                                      (0.2 + 1 / 3 + 4 / 6) / 3])  # fmt: skip


def test_entropy_is_1_when_even_0_when_one_patch_and_as_by_loops():
    assert relevance_entropy(torch.full((2, 9), 1 / 9)).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert relevance_entropy(torch.eye(9)[:1]).tolist() == [0]
    r = torch.rand(4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(1)
    slow = [-sum(p * math.log(p) for p in row) / math.log(7) for row in r.tolist()]
    assert relevance_entropy(r).tolist() == pytest.approx(slow)


def test_accuracy_weighs_classes_alike():
    scores, live = np.array([1.0, 0.0, -1.0, -1.0, 2.0]), np.array([1, 1, 1, 1, 0], bool)
    assert balanced_accuracy(scores, live) == pytest.approx((0.5 + 0.0) / 2)


def test_a_branch_starves_only_beside_an_able_one():
    assert starving({"rgb": 0.55, "depth": 0.85, "ir": 0.7}) == ["rgb"]
    assert starving({"rgb": 0.55, "depth": 0.58, "ir": 0.95}) == ["rgb", "depth"]
    assert starving({"rgb": 0.55, "depth": 0.79}) == []
    assert starving({"rgb": 0.5}) == []


def test_the_joint_run_is_the_nets_own(model):
    method_, data = configs(model.recipe)
    net, test = restore(model), read_pad(data).test
    joint = joint_run(net, test, NAMES, data.size, torch.device("cpu"))
    np.testing.assert_allclose(joint.branches.mean(0), joint.fused, atol=1e-6)
    np.testing.assert_allclose(
        joint.fused, live_logits(net, test, method_.modalities, data.size, torch.device("cpu")), atol=1e-6
    )
    assert joint.entropy.shape == (3, len(test))
    assert ((joint.entropy > 0) & (joint.entropy <= 1 + 1e-6)).all()
    assert not joint.one_exit


def test_inspection_of_a_model_with_a_plot(model, tmp_path, capsys):
    words = [
        "inspect",
        "fm_vit",
        "--weights",
        str(model.path),
        "--plot",
        str(tmp_path / "scores.png"),
        "--json",
    ]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    rows = result["by branch"]
    assert [r["branch"] for r in rows] == list(NAMES)
    assert set(rows[0]) == {
        "branch", "AUC alone", "accuracy alone", "AUC in joint run", "accuracy in joint run",
        "agrees", "flips", "weight", "relevance entropy",
    }  # fmt: skip
    assert sum(r["weight"] for r in rows) == pytest.approx(1, abs=1e-3)
    assert (result["split"], result["presentations"], result["live"]) == ("train", 24, 12)
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_a_starving_branch_is_warned_of(model, monkeypatch):
    live = read_pad(configs(model.recipe)[1]).test.labels.live

    def logits(net, images, subset, size, device):
        return live * {"rgb": 0.0, "depth": 5.0, "ir": 1.0}[subset[0]]

    monkeypatch.setattr("mien.methods.fm_vit.inspection.live_logits", logits)
    found = inspect(model, InspectOptions(split="test"))
    assert found.facts["warning"].startswith("rgb starves (AUC alone: rgb 0.50, depth 1.00, ir 1.00)")
    assert "--peer" in found.facts["warning"]


def test_a_net_with_one_exit_and_a_net_of_one_modality(tmp_path):
    early = trained(tmp_path / "early", **{"method.net": "early", "method.subsets": None})
    found = inspect(early, InspectOptions(split="dev"))
    assert "one exit" in found.facts["branches"]
    assert set(found.tables["by branch"][0]) == {"branch", "AUC alone", "accuracy alone"}
    alone = {"method.net": "single", "method.modalities": ("ir",), "method.subsets": None}
    single = trained(tmp_path / "single", **alone)
    (row,) = inspect(single, InspectOptions(split="dev")).tables["by branch"]
    assert row["AUC alone"] == row["AUC in joint run"]
    assert (row["agrees"], row["flips"], row["weight"]) == (1, 0, 1)


def test_colour_alone_before_worse_cameras(model, tmp_path):
    plot = tmp_path / "sweep.png"
    found = inspect(model, InspectOptions(split="test", degrade=True, levels=3, plot=str(plot)))
    rows = found.tables["degradation"]
    assert [row["severity"] for row in rows] == ["0.00", "0.50", "1.00"]
    images = read_pad(configs(model.recipe)[1]).test
    odds = live_logits(restore(model), images, ("rgb",), 32, torch.device("cpu"))
    known = model.facts["thresholds"]["rgb"]["logit"]
    assert rows[0]["ACER, %"] == f"{100 * acer(odds, images.labels.live, known, apcer='pooled'):.2f}"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_without_colour_there_is_nothing_to_degrade(tmp_path):
    alone = {"method.net": "single", "method.modalities": ("ir",), "method.subsets": None}
    single = trained(tmp_path / "single", **alone)
    with pytest.raises(ConfigError, match="wants a model that works on colour alone"):
        inspect(single, InspectOptions(split="dev", degrade=True))


def test_one_class_only_is_refused(model):
    changes = {"data.subjects": (6, 4, 1), "data.each": (4, 4, 1)}
    lone = replace(model, recipe=evolve_all(model.recipe, changes))
    with pytest.raises(DataError, match="split test: one class only among 1 presentations"):
        inspect(lone, InspectOptions(split="test"))


def test_a_plot_of_equal_scores():
    live = np.array([True, False, True, False])
    assert plot_scores({"a": np.zeros(4)}, live).startswith(b"\x89PNG")
