"""Diagnostics: the sweep, leaks and shortcuts; the exported graphs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.data.surveil_config import SurveilData
from mien.data.surveil_images import SurveilImages
from mien.data.surveil_sets import read_surveil
from mien.engine.export import export_graph, open_session, run_session
from mien.engine.folder import ModelFolder
from mien.methods.cqil.config import InspectOptions
from mien.methods.cqil.inspection import (
    best_pictures,
    error_groups,
    inspect,
    leaks,
    memoriser,
    shortcuts,
    sweep,
)
from mien.methods.cqil.predict import Predictor, export_plan
from mien.methods.cqil.score import scored
from mien.metrics import acer, auc

CPU = torch.device("cpu")


def test_the_sweep_starts_at_the_pictures_themselves(predictor: Predictor) -> None:
    images = read_surveil(predictor.data).test
    points = sweep(predictor.net, images, [0.0, 0.5, 1.0], 0.1, CPU)
    odds = scored(predictor.net, images.pictures, CPU).odds
    assert points[0].acer == pytest.approx(acer(odds, images.live, 0.1, apcer="pooled"))
    assert points[0].auc == pytest.approx(float(auc(odds, images.live)))
    assert points[0].moved == pytest.approx(0, abs=1e-6)
    assert points[2].moved > 0
    assert points == sweep(predictor.net, images, [0.0, 0.5, 1.0], 0.1, CPU)


def test_the_best_of_each_class() -> None:
    images = read_surveil(SurveilData(kind="debug", size=16)).test
    best = best_pictures(images, 10)
    assert best.live.sum() == 5
    assert len(best) == 10
    for kind in (True, False):
        rest = np.sort(images.quality[images.live == kind])[::-1]
        assert np.sort(best.quality[best.live == kind])[::-1] == pytest.approx(rest[:5])


def test_leaks_and_who_remembers_tracks() -> None:
    splits = read_surveil(SurveilData(kind="debug", size=16))
    assert [row["tracks"] for row in leaks(splits)] == ["0", "0", "0"]
    assert memoriser(splits.train, splits.test) == pytest.approx(0.5)
    assert memoriser(splits.test, splits.test) == pytest.approx(1.0)


def test_quality_that_tells_the_class_is_found() -> None:
    images = read_surveil(SurveilData(kind="debug", size=16)).test
    told = SurveilImages(**{**images.__dict__, "quality": np.where(images.live, 0.2, 0.8)})
    assert shortcuts(told)["quality"] == 1.0
    assert 0.5 <= shortcuts(images)["quality"] < 0.8


def test_inspect_gives_facts_tables_and_a_plot(folder: ModelFolder, tmp_path: Path) -> None:
    plot = tmp_path / "sweep.png"
    found = inspect(folder, InspectOptions(levels=2, samples=20, plot=str(plot)))
    assert found.facts["pictures"] == 20
    assert [r["severity"] for r in found.tables["degradation"]] == ["0.00", "1.00"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "sweep-groups.png").read_bytes().startswith(b"\x89PNG")


def test_errors_by_group_cover_every_picture() -> None:
    images = read_surveil(SurveilData(kind="debug", size=16)).test
    wrong = images.label == 3
    groups = error_groups(wrong, images)
    assert set(groups) == {"tenth of quality", "camera", "scene", "label"}
    for rows in groups.values():
        assert sum(g.pictures for g in rows) == len(images)
    assert {g.group: g.error for g in groups["label"]}["0"] == 0.0
    assert {g.group: g.error for g in groups["label"]}["3"] == 1.0


def test_graphs_say_what_the_predictor_says(predictor: Predictor, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    plan = export_plan(predictor, 20)
    assert set(plan.graphs) == {"live", "quality"}
    images = plan.images
    assert isinstance(images, torch.Tensor)
    assert len(images) == 20
    results = predictor.predict(*images)
    for name, field in (("live", "probability"), ("quality", "quality")):
        path = export_graph(plan.graphs[name], images[:2], tmp_path / f"{name}.onnx")
        found = run_session(open_session(path), images.numpy())
        assert found == pytest.approx([getattr(r, field) for r in results], abs=2e-5)
