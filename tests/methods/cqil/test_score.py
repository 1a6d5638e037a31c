"""Scores of tracks, thresholds and calibration of development data."""

import logging

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mien.data.surveil_config import SurveilData
from mien.data.surveil_images import SurveilImages
from mien.data.surveil_sets import SurveilSplits, read_surveil
from mien.engine.folder import ModelFolder
from mien.methods.cqil.loss import CqilOut
from mien.methods.cqil.score import dev_scores, fit_facts, level_scores, scored, track_places, track_scores
from mien.metrics import probability

CPU = torch.device("cpu")


class Brightness(nn.Module):
    """Brighter is more live, and worse."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, x: Tensor) -> CqilOut:
        level = x.mean((1, 2, 3))
        odds = self.sign * (level - 0.5)
        return CqilOut(torch.stack([odds, -odds], 1), level[:, None], 2 * level - 0.5)


@pytest.fixture(scope="module")
def splits() -> SurveilSplits:
    return read_surveil(SurveilData(kind="debug", size=16))


def test_a_track_is_one_label_of_one_subject(splits: SurveilSplits) -> None:
    images = splits.test.subset([0, 1, 2, 3, 4, 5])
    place, first = track_places(images)
    assert place.tolist() == [0, 0, 0, 1, 1, 1]
    assert first.tolist() == [0, 3]
    mixed = SurveilImages(
        **{**images.__dict__, "track": np.zeros(6, np.int64), "subject": np.ones(6, np.int64)}
    )
    place, _ = track_places(mixed)
    assert len(set(place.tolist())) == 2  # live and attack in one folder are two


def test_frames_weigh_what_their_quality_is() -> None:
    odds, quality, place = np.array([1.0, 3.0, -2.0]), np.array([0.25, 0.75, 0.0]), np.array([0, 0, 1])
    assert track_scores(odds, quality, place).tolist() == pytest.approx([2.5, -2.0])
    plain = track_scores(odds, np.ones(3), place)
    assert plain.tolist() == pytest.approx([2.0, -2.0])


def test_what_a_net_says(splits: SurveilSplits) -> None:
    found = scored(Brightness(), splits.dev.pictures, CPU, batch=7)
    level = splits.dev.pictures.mean((1, 2, 3)) / 255
    assert found.odds == pytest.approx(2 * (level - 0.5), abs=1e-6)
    assert found.quality == pytest.approx(np.clip(1.5 - 2 * level, 0, 1), abs=1e-6)
    assert found.features.shape == (48, 1)
    levels = level_scores(found, splits.dev)
    assert len(levels["image"][0]) == 48
    assert len(levels["track"][0]) == len(levels["track"][1]) == 16


def test_facts_hold_a_threshold_in_both_units(folder: ModelFolder, splits: SurveilSplits) -> None:
    for level in ("image", "track"):
        known = folder.facts["thresholds"][level]
        again = probability(np.array([known["logit"]]), known["calibration"])
        assert float(again[0]) == pytest.approx(known["value"])
        assert known["rule"].endswith(f"{level}s")
    assert folder.facts["threshold"] == folder.facts["thresholds"]["image"]
    assert folder.facts["data"]["note"] == "made noise"
    assert set(dev_scores(Brightness(), CPU, splits=splits)) == {"auc_image", "auc_track"}


def test_labels_upside_down_are_told(splits: SurveilSplits, caplog: pytest.LogCaptureFixture) -> None:
    signs = [s for s in (1.0, -1.0) if dev_scores(Brightness(s), CPU, splits=splits)["auc_image"] < 0.5]
    upside = splits.dev.pictures.copy()
    upside[splits.dev.live] = 0
    worst = SurveilImages(**{**splits.dev.__dict__, "pictures": upside})
    flipped = SurveilSplits(worst, worst, worst, "x", "y")
    with caplog.at_level(logging.WARNING):
        fit_facts(Brightness(1.0), CPU, splits=flipped, protocol="p3")
    assert "attacks score higher than live faces" in caplog.text
    assert len(signs) == 1
