"""The protocol: units whose means are the metrics, thresholds from dev only, all subsets alike."""

import numpy as np
import pytest
import torch

from mien.core.catalogue import method
from mien.core.config import Recipe, evolve_all
from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.data.config import PadData
from mien.data.pads import further_people, read_pad
from mien.engine.folder import ModelFolder, open_folder
from mien.engine.stages import train_recipe
from mien.methods.fm_vit import FMViT
from mien.methods.fm_vit.config import RECIPES
from mien.methods.fm_vit.evaluate import FlexibleModalEvaluator, evaluate, restore, summary
from mien.methods.fm_vit.protocol import CLAIMS, ROWS
from mien.methods.fm_vit.task import configs

SEVEN = {"rgb", "depth", "ir", "rgb+depth", "rgb+ir", "depth+ir", "rgb+depth+ir"}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return evolve_all(RECIPES["debug"](), {"data.subjects": (6, 8, 8), "data.each": (4, 8, 8)})


@pytest.fixture(scope="module")
def folder(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    path = tmp_path_factory.mktemp("fm")
    train_recipe(method("fm_vit"), recipe, path)
    return open_folder(path)


def test_every_subset_has_its_own_threshold_from_dev(folder: ModelFolder) -> None:
    data = configs(folder.recipe)[1]
    splits = read_pad(data)
    table = FlexibleModalEvaluator(restore(folder), splits.dev, splits.test, size=data.size).run()
    assert set(table) == SEVEN
    for found in table.values():
        assert found.report.threshold.text == "eer@dev"
        assert len(found.scores) == len(splits.test)
    flipped = FlexibleModalEvaluator(
        restore(folder), splits.dev, splits.test.subset(np.arange(0, 64, 3)), ["rgb"], size=data.size
    ).run()
    assert flipped["rgb"].report.threshold.value == table["rgb"].report.threshold.value


def test_summary_means_are_the_reports(folder: ModelFolder) -> None:
    measured = evaluate(folder, Evaluation("test"))
    for name in SEVEN:
        assert 1 - measured.metrics[f"right_{name}"] == pytest.approx(
            measured.metrics[f"acer_{name}"], abs=1e-9
        )
        assert measured.units[f"auc_{name}"].mean() == pytest.approx(
            measured.metrics[f"auc_{name}"], abs=1e-9
        )
    one = np.mean([measured.metrics[f"right_{m}"] for m in ("rgb", "depth", "ir")])
    assert measured.metrics["one_right"] == pytest.approx(one, abs=1e-9)
    assert set(measured.extra["species"]) == SEVEN


def test_further_people_are_tested_at_the_same_thresholds(folder: ModelFolder) -> None:
    measured = evaluate(folder, Evaluation("further", "further", options={"people": 12}))
    own = evaluate(folder, Evaluation("test"))
    assert len(measured.units["right_rgb"]) == 12
    assert len(own.units["right_rgb"]) == 8
    thresholds = [m.extra["reports"]["rgb"]["threshold"]["value"] for m in (measured, own)]
    assert thresholds[0] == thresholds[1]
    with pytest.raises(DataError, match="has no further people"):
        further_people(PadData(kind="csv", root="list.csv", convention="live1"), 3)


def test_cost_of_one_modality_and_of_the_fusion(folder: ModelFolder) -> None:
    cost = evaluate(folder, Evaluation("cost", split="cost")).metrics
    assert cost["flops_one"] < cost["flops_fusion"]
    assert cost["flops_rgb"] == cost["flops_depth"] == cost["flops_ir"] == cost["flops_one"]
    assert cost["flops_rgb+depth+ir"] > 2.9 * cost["flops_one"]


def test_stored_thresholds_are_probabilities_of_the_same_decision(folder: ModelFolder) -> None:
    from mien.methods.fm_vit.score import live_logits
    from mien.metrics import probability

    data = configs(folder.recipe)[1]
    splits = read_pad(data)
    for name, own in folder.facts["thresholds"].items():
        scores = live_logits(restore(folder), splits.test, name.split("+"), data.size, torch.device("cpu"))
        p = probability(scores, own["calibration"])
        assert ((scores >= own["logit"]) == (p >= own["value"])).all()
        assert 0 < own["value"] < 1


def test_unknown_subsets_and_splits_are_named(folder: ModelFolder) -> None:
    splits = read_pad(configs(folder.recipe)[1])
    with pytest.raises(ConfigError, match=r"no subset 'ir\+rgb'"):
        FlexibleModalEvaluator(restore(folder), splits.dev, splits.test, ["ir+rgb"], size=32)
    with pytest.raises(DataError, match="no split 'val'"):
        evaluate(folder, Evaluation("x", split="val"))


def test_a_single_modality_net_has_one_line() -> None:
    splits = read_pad(configs(RECIPES["debug"]())[1])
    net = FMViT(("ir",), img_size=32, patch=8, dim=16, depth=2, heads=2, stages=1)
    table = FlexibleModalEvaluator(net, splits.dev, splits.test, size=32, modalities=("ir",)).run()
    measured = summary(table)
    assert set(table) == {"ir"}
    assert measured.metrics["one_auc"] == measured.metrics["auc_ir"]


def test_claims_ask_for_rows_that_exist() -> None:
    rows = {r.id: r for r in ROWS}
    assert all(set(c.rows) <= set(rows) for c in CLAIMS)
    assert sum(r.group == "claims" for r in ROWS) == 4
    assert {r.id for r in ROWS if r.group == "claims"} == {i for c in CLAIMS for i in c.rows}
    assert {c.id for c in CLAIMS} >= {"flexible", "flops", "rgb_only", "near_fusion", "params"}
