"""Reports of all subsets as numbers, tables and JSON; facts that a model keeps of its development set."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mien.cli.main import main
from mien.core.errors import ConfigError
from mien.data.pad_images import LIVE, PadArrays, PadLabels, PadSplits
from mien.data.pad_inputs import sharpness
from mien.methods.fm_vit.config import RECIPES
from mien.methods.fm_vit.evaluate import (
    FlexibleModalEvaluator,
    conservative_tpr,
    remarks,
    report_tables,
    summary,
)
from mien.methods.fm_vit.score import dev_scores, fit_facts, least_sharpness
from mien.metrics import pad_report

WHOLE = ("rgb", "depth", "ir")


class Levels(nn.Module):
    """Log odds of being live: how much brighter than 128 the pictures that are there are, on average."""

    def forward(self, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        level = torch.stack([x.mean((1, 2, 3)) for x in images.values()]).mean(0) * 255 - 128
        logits = torch.zeros(len(level), 2)
        logits[:, LIVE] = level
        return {"fused": logits}


def made(seed: int, people: int = 12, frames: int = 2) -> PadArrays:
    """Live presentations are brighter, in infrared most of all; two frames of each clip."""
    rng = np.random.default_rng(seed)
    n = people * 4
    species = np.array([("live", "live", "print", "mask")[k % 4] for k in range(n)])
    levels = {}
    for m, gap, spread in (("rgb", 10, 20), ("depth", 20, 20), ("ir", 40, 20)):
        clip = 118 + gap * (species == "live") + rng.normal(0, spread, n)
        levels[m] = np.repeat(clip, frames) + rng.normal(0, 5, n * frames)

    def flat(m: str) -> NDArray[np.uint8]:
        c = 3 if m == "rgb" else 1
        noise = rng.integers(-9, 10, (n * frames, 16, 16, c))
        return np.asarray(np.clip(levels[m][:, None, None, None] + noise, 0, 255), np.uint8)

    who = np.repeat([f"s{k // 4}" for k in range(n)], frames)
    videos = np.repeat([f"v{k}" for k in range(n)], frames)
    keys = np.arange(n * frames, dtype=np.uint64)
    labels = PadLabels(np.repeat(species, frames), who, np.repeat("d0", n * frames), keys, videos)
    return PadArrays({m: flat(m) for m in WHOLE}, labels)


def evaluator(**options: Any) -> FlexibleModalEvaluator:
    return FlexibleModalEvaluator(Levels(), made(0), made(1), size=16, device=torch.device("cpu"), **options)


def test_each_subset_has_the_report_of_its_own_scores_and_threshold() -> None:
    table = evaluator().run()
    assert list(table) == ["rgb", "depth", "ir", "rgb+depth", "rgb+ir", "depth+ir", "rgb+depth+ir"]
    taus = {name: found.report.threshold.value for name, found in table.items()}
    assert len(set(taus.values())) == 7
    for found in table.values():
        live, attack = found.labels.live, ~found.labels.live
        assert len(found.scores) == 48  # clips, of two frames each
        accepted = found.scores >= found.report.threshold.value
        assert found.report.bpcer.value == pytest.approx((~accepted)[live].mean())
        assert found.report.apcer_pooled.value == pytest.approx(accepted[attack].mean())
        assert found.report.apcer_max.value == max(
            accepted[found.labels.species == s].mean() for s in ("print", "mask")
        )


def test_a_clip_has_the_mean_score_of_its_frames() -> None:
    images = made(1)
    found = evaluator(subsets=["ir"]).run()["ir"]
    level = images.images["ir"].astype(float).mean((1, 2, 3)) - 128
    assert found.scores == pytest.approx(level.reshape(-1, 2).mean(1), abs=1e-3)


def test_subsets_by_name() -> None:
    assert list(evaluator(subsets=["rgb+ir", "depth"]).run()) == ["rgb+ir", "depth"]
    assert list(evaluator(modalities=("rgb", "ir")).subsets) == ["rgb", "ir", "rgb+ir"]
    with pytest.raises(ConfigError, match=r"no subset 'ir\+rgb' of modalities; there are rgb, depth"):
        evaluator(subsets=["ir+rgb"])


def test_metrics_are_those_of_the_reports_and_means_of_their_units() -> None:
    table = evaluator().run()
    found = summary(table)
    for name, own in table.items():
        r = own.report
        assert found.metrics[f"acer_{name}"] == r.acer_pooled.value
        assert found.metrics[f"acer_max_{name}"] == r.acer_max.value
        assert found.metrics[f"right_{name}"] == pytest.approx(1 - r.acer_pooled.value)
        assert found.units[f"auc_{name}"].mean() == pytest.approx(r.auc.value)
        assert found.metrics[f"tpr_1e-2_{name}"] == conservative_tpr(r, 1e-2)
        # With 24 attacks, FPR <= 0.01 means that none is accepted.
        live = own.labels.live
        assert conservative_tpr(r, 1e-2) == (own.scores[live] > own.scores[~live].max()).mean()
    alone = [found.metrics[f"auc_{m}"] for m in WHOLE]
    assert found.metrics["one_auc"] == pytest.approx(np.mean(alone))
    assert set(found.extra["reports"]) == set(table)
    json.dumps(found.extra)


def test_tables_show_rates_in_per_cent_and_mark_what_cannot_be_resolved() -> None:
    table = evaluator().run()
    rates, species = report_tables(table).values()
    assert [row["modalities"] for row in rates] == list(table)
    for row, own in zip(rates, table.values(), strict=True):
        r = own.report
        assert row["APCER max"] == f"{100 * r.apcer_max.value:.2f}"
        assert row["APCER pooled"] == f"{100 * r.apcer_pooled.value:.2f}"
        assert row["ACER max"] == f"{100 * r.acer_max.value:.2f}"
        assert row["ACER pooled"] == f"{100 * r.acer_pooled.value:.2f}"
        assert row["worst"] == (r.worst if r.apcer_max.value else "-")
        assert row["TPR@FPR=0.01"] == f"{100 * conservative_tpr(r, 1e-2):.2f}*"
    assert species[0] == {
        "modalities": "rgb",
        **{k: f"{100 * v.value:.2f}" for k, v in table["rgb"].report.apcer.items()},
    }
    told = remarks(table)
    assert told[0].startswith("threshold: eer@dev, chosen for each subset")
    assert told[1] == "*: not resolvable with 24 attacks (fewer than 1 / FPR)"
    assert report_tables({}) == {}
    assert remarks({}) == []


def test_flipped_scores_are_remarked_on() -> None:
    table = evaluator(subsets=["ir"]).run()
    own = table["ir"]
    live = own.labels.live
    report = pad_report(-own.scores, live, own.labels.species, 0.0, draws=0)
    told = remarks({"ir": replace(own, scores=-own.scores, report=report)})
    assert any(line.startswith("ir: AUC 0.") and "flipped" in line for line in told)


def settings() -> dict[str, Any]:
    recipe = RECIPES["debug"]()
    return {"method": recipe.method, "data": replace(recipe.data, size=16)}


def splits_of(dev: PadArrays) -> PadSplits:
    return PadSplits(made(2), dev, made(1), "mark")


def test_facts_hold_thresholds_and_sharpness() -> None:
    facts = fit_facts(Levels(), torch.device("cpu"), splits=splits_of(made(0)), **settings())
    table = evaluator().run()
    assert {n: t["logit"] for n, t in facts["thresholds"].items()} == pytest.approx(
        {n: f.report.threshold.value for n, f in table.items()}
    )
    assert list(facts["sharpness"]) == ["rgb", "ir"]
    x = torch.from_numpy(made(0).images["ir"]).permute(0, 3, 1, 2) / 255
    assert facts["sharpness"]["ir"] == pytest.approx(float(np.quantile(sharpness(x).numpy(), 0.01)))
    assert facts["sharpness"]["ir"] == least_sharpness(made(0), "ir", 16)


def test_labels_upside_down_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    dev = made(0)
    turned = np.where(dev.labels.live, "print", "live")
    flipped = PadArrays(dev.images, replace(dev.labels, species=turned))
    with caplog.at_level(logging.WARNING):
        fit_facts(Levels(), torch.device("cpu"), splits=splits_of(dev), **settings())
        assert not caplog.records
        fit_facts(Levels(), torch.device("cpu"), splits=splits_of(flipped), **settings())
    (record,) = caplog.records
    assert "labels of one split upside down?" in record.getMessage()
    assert record.getMessage().startswith(("ir: AUC 0.", "depth+ir: AUC 0."))


def test_development_scores_are_those_of_clips() -> None:
    found = dev_scores(Levels(), torch.device("cpu"), splits=splits_of(made(0)), **settings())
    assert list(found) == ["auc_rgb+depth+ir", "auc_rgb", "auc_depth", "auc_ir"]
    own = FlexibleModalEvaluator(Levels(), made(1), made(0), size=16, device=torch.device("cpu")).run()
    assert found["auc_ir"] == pytest.approx(own["ir"].report.auc.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("fm") / "run"
    assert main(["train", "fm_vit", "--preset", "debug", "--output", str(folder)]) == 0
    return str(folder)


def test_the_verb_prints_tables_and_gives_reports_to_programs(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "fm_vit", "--weights", run]) == 0
    text = capsys.readouterr().out
    assert "made noise (test)" in text
    for word in (
        "APCER max",
        "ACER pooled",
        "TPR@FPR=0.01",
        "rgb+depth+ir",
        "print_flat",
        "threshold: eer@dev",
    ):
        assert word in text
    assert main(["eval", "fm_vit", "--weights", run, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["reports"]) == 7
    assert answer["reports"]["rgb"]["apcer_max"]["tries"] > 0
    assert {"acer_rgb", "tpr_1e-2_rgb+depth+ir", "one_auc"} <= set(answer["metrics"])
    assert main(["eval", "fm_vit", "--weights", run, "--split", "cost"]) == 0
    assert "params_fusion" in capsys.readouterr().out
    assert main(["eval", "fm_vit", "--weights", run, "--split", "tst"]) == 1
    assert "there are train, dev, test, seen" in capsys.readouterr().err
