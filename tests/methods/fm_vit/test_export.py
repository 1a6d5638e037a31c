"""Graphs of the subsets: calibrated inside, each measured on pictures of its own."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mien.core.catalogue import method
from mien.data.labelled import spread
from mien.data.pads import read_pad
from mien.engine.export import export_all, open_session, run_session
from mien.engine.folder import open_folder
from mien.engine.stages import train_recipe
from mien.methods.fm_vit.config import RECIPES
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.export import Calibrated, export_plan, graph_name, side_by_side
from mien.methods.fm_vit.score import live_logits
from mien.methods.fm_vit.task import configs
from mien.metrics import probability
from tests.methods.fm_vit.nets import only, pictures, small, stirred

NAMES = ["rgb", "depth", "ir", "rgb_depth", "rgb_ir", "depth_ir", "rgb_depth_ir"]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    train_recipe(method("fm_vit"), RECIPES["debug"](), path)
    folder = open_folder(path)
    own, data = configs(folder.recipe)
    return SimpleNamespace(folder=folder, net=restore(folder), method=own, data=data)


@torch.inference_mode()
def test_calibrated_logits_are_platts():
    net, images = stirred(small()), pictures()
    whole = Calibrated(net, (1.7, -0.4))
    for names in (("rgb",), ("depth", "ir")):
        plain, out = net(only(images, *names)), whole(only(images, *names))
        s = plain["fused"][:, 0] - plain["fused"][:, 1]
        expected = [1 / (1 + np.exp(-(1.7 * float(v) - 0.4))) for v in s]
        assert whole.predict_proba(only(images, *names)).tolist() == pytest.approx(expected, abs=1e-6)
        assert all(torch.equal(out["logits"][m], plain["logits"][m]) for m in names)


def test_pictures_side_by_side_repeat_the_grey_ones():
    splits = read_pad(configs(RECIPES["debug"]())[1])
    x = side_by_side(splits.test, np.array([2, 0]), ("rgb", "ir"), 32)
    assert x.shape == (2, 6, 32, 32)
    grey = splits.test.pictures("ir", [2])[0][..., 0] / 255
    for channel in (3, 4, 5):
        np.testing.assert_allclose(x[0, channel], grey, atol=1e-6)


def test_one_graph_for_each_subset_gives_the_stored_probability(predictor):
    plan = export_plan(predictor, 10)
    assert list(plan.graphs) == list(plan.images) == list(plan.metric) == list(plan.calibration) == NAMES
    assert len(plan.graphs) == 7
    assert plan.count == 10
    assert not plan.real
    test = read_pad(predictor.data).test
    chosen = spread(len(test), 10)
    known = predictor.folder.facts["thresholds"]
    for text, facts in known.items():
        subset = tuple(text.split("+"))
        name = graph_name(subset)
        assert plan.images[name].shape == (10, 3 * len(subset), 32, 32)
        with torch.inference_mode():
            p = plan.graphs[name](plan.images[name]).numpy()
        logits = live_logits(predictor.net, test.subset(chosen), subset, 32, torch.device("cpu"))
        np.testing.assert_allclose(p, probability(logits, facts["calibration"]), atol=1e-5)


def test_the_metric_is_1_minus_acer_at_the_subsets_threshold(predictor):
    plan = export_plan(predictor, 1000)
    assert plan.metric_name == "1 - ACER"
    live = read_pad(predictor.data).test.labels.live
    for text in ("rgb", "rgb+depth+ir"):
        tau = predictor.folder.facts["thresholds"][text]["value"]
        p = np.linspace(tau - 0.2, tau + 0.2, len(live), dtype=np.float32)
        missed = np.mean([s < tau for s, y in zip(p, live, strict=True) if y])
        accepted = np.mean([s >= tau for s, y in zip(p, live, strict=True) if not y])
        found = plan.metric[graph_name(text.split("+"))](p)
        assert found == pytest.approx(1 - (missed + accepted) / 2)


def test_no_metric_where_all_are_live(predictor):
    one = replace(predictor.data, subjects=(6, 4, 1), each=(4, 4, 1))
    alone = export_plan(SimpleNamespace(**{**vars(predictor), "data": one}), 5)
    assert alone.count == 1
    assert alone.metric is None
    assert alone.metric_name == "none"


def test_exported_graphs_agree_and_int8_is_dynamic(predictor, tmp_path):
    plan = export_plan(predictor, 8)
    one = {"depth_ir": plan.graphs["depth_ir"]}
    exact, small8 = export_all(one, plan.images, tmp_path, int8=True, metric=plan.metric,
                               calibration=plan.calibration)  # fmt: skip
    assert (exact.name, exact.precision, small8.precision) == ("depth_ir", "fp32", "int8")
    assert exact.max_difference < 1e-5
    assert exact.metric_change == 0
    assert small8.megabytes < exact.megabytes
    x = plan.images["depth_ir"].numpy()
    session = open_session(tmp_path / "depth_ir.onnx")
    np.testing.assert_allclose(run_session(session, x), run_session(session, x, batch=1), atol=1e-5)
