"""The protocol: one threshold from dev, values by track whose means are the metrics, levels of quality."""

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.core.protocol import Evaluation
from mien.data.surveil_sets import read_surveil
from mien.engine.folder import ModelFolder
from mien.methods.cqil.evaluate import deciles, evaluate, measured, movement, quality_levels, restore
from mien.methods.cqil.protocol import CLAIMS, ROWS, SHOWN
from mien.methods.cqil.score import scored
from mien.methods.cqil.task import configs
from mien.metrics import acer, auc, choose_pad_threshold

CPU = torch.device("cpu")


def test_thirds_by_rank_whatever_the_ties() -> None:
    assert quality_levels(np.array([0.9, 0.1, 0.5])).tolist() == [2, 0, 1]
    assert np.bincount(quality_levels(np.ones(10))).tolist() == [4, 3, 3]
    rng = np.random.default_rng(0)
    q = rng.random(30)
    level = quality_levels(q)
    assert q[level == 0].max() <= q[level == 1].min()
    assert q[level == 1].max() <= q[level == 2].min()


def test_movement_equals_all_pairs_written_out() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (6, 3)).astype(np.float32), rng.normal(0, 1, (6, 3)).astype(np.float32)

    def far(x: np.ndarray, y: np.ndarray) -> float:
        return 1 - float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    own, between = movement(a, b)
    assert own == pytest.approx([far(x, y) for x, y in zip(a, b, strict=True)], abs=1e-6)
    pairs = [far(a[i], a[j]) for i in range(6) for j in range(6) if i != j]
    assert between == pytest.approx(np.mean(pairs), abs=1e-6)
    assert movement(a, 3 * a)[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("split", ["test", "dev"])
def test_metrics_are_means_over_tracks_and_equal_those_of_pictures(folder: ModelFolder, split: str) -> None:
    _, data = configs(folder.recipe)
    splits = read_surveil(data)
    test, net = splits.get(split), restore(folder)
    found = measured(net, splits, test, CPU)
    odds, dev = scored(net, test.pictures, CPU).odds, scored(net, splits.dev.pictures, CPU).odds
    tau = choose_pad_threshold(dev, splits.dev.live).value
    assert found.metrics["acer"] == pytest.approx(acer(odds, test.live, tau, apcer="pooled"))
    assert found.units["right"].mean() == pytest.approx(1 - found.metrics["acer"])
    assert found.units["auc"].mean() == pytest.approx(float(auc(odds, test.live)))
    low = quality_levels(test.quality) == 0
    assert found.metrics["acer_low"] == pytest.approx(acer(odds[low], test.live[low], tau, apcer="pooled"))
    assert found.metrics["auc_low"] == pytest.approx(float(auc(odds[low], test.live[low])))
    assert found.units["even"] == pytest.approx(found.units["right_low"] - found.units["right_high"])
    assert {len(v) for v in found.units.values()} == {16}
    assert found.units["still"].mean() == pytest.approx(-found.metrics["moved"])


def test_tables_of_labels_cameras_and_quality(folder: ModelFolder) -> None:
    found = evaluate(folder, Evaluation("test"))
    assert set(found.extra["species"]) <= {str(k) for k in range(1, 10)}
    assert len(found.extra["deciles"]) == 10
    cameras = found.extra["tables"]["by camera, %"]
    assert sum(int(row["pictures"]) for row in cameras) == 48
    assert [r["level"] for r in found.extra["tables"]["error rates, %"]] == ["image", "track"]
    with pytest.raises(DataError, match="no split 'val'"):
        evaluate(folder, Evaluation("val", split="val"))


def test_a_camera_that_saw_one_class_has_no_rate(folder: ModelFolder) -> None:
    splits = read_surveil(configs(folder.recipe)[1])
    few = splits.test.subset((splits.test.camera != 3) | splits.test.live)
    found = measured(restore(folder), splits, few, CPU)
    rates = {row["camera"]: row["ACER"] for row in found.extra["tables"]["by camera, %"]}
    assert rates["3"] == "n/a"
    assert rates["2"] != "n/a"


def test_deciles_go_from_the_worst_pictures_to_the_best(folder: ModelFolder) -> None:
    images = read_surveil(configs(folder.recipe)[1]).test
    rows = deciles(~images.live, images)
    assert [r["quality"] for r in rows] == sorted(r["quality"] for r in rows if r["quality"] is not None)
    assert {r["acer"] for r in rows} <= {0.5, None}


def test_every_claim_and_column_is_measured(folder: ModelFolder) -> None:
    found = evaluate(folder, Evaluation("test"))
    assert set(SHOWN) <= set(found.metrics)
    for claim in CLAIMS:
        assert set(claim.metrics()) <= set(found.units), claim.id


def test_rows_differ_in_what_they_say() -> None:
    rows = {r.id: r.stages[-1].recipe for r in ROWS}
    assert len({r.name for r in rows.values()}) == len(rows)
    flip, degrade, small = (configs(rows[n]) for n in ("flip", "degrade", "small"))
    assert not flip[1].degrade
    assert degrade[1].degrade
    assert flip[0] == degrade[0]
    assert small[0].sr
    assert small[0].sqn
    assert small[0].contrast == "ntxent"
    assert [r.id for r in ROWS if r.group == "claims"] == [
        "flip",
        "degrade",
        "contrast",
        "sqn",
        "sr",
        "small",
    ]
