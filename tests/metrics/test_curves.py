from __future__ import annotations

import io
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import ConfigError, DataError
from mien.metrics import ScoreTally, det_plot, roc_plot, roc_points, score_histogram, tar_at_far
from mien.metrics.curves import roc_of


def made(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.3
    return rng.normal(np.where(same, 2.0, 0.0), 1.0), same


@pytest.mark.parametrize("decimals", [1, 9])
def test_all_points_are_those_of_scikit_learn(decimals):
    from sklearn.metrics import roc_curve

    scores, same = made(400)
    scores = scores.round(decimals)
    fpr, tpr, thresholds = roc_curve(same, scores, drop_intermediate=False)
    found = roc_points(scores, same, most=0)
    np.testing.assert_allclose(found.far, fpr)
    np.testing.assert_allclose(found.tar, tpr)
    np.testing.assert_allclose(found.thresholds, thresholds)


def test_thinned_points_are_on_the_curve_and_close_together():
    scores, same = made(50_000)
    found = roc_points(scores, same, 500)
    assert len(found.far) < 700
    assert (np.diff(found.far) >= 0).all()
    assert (np.diff(found.tar) >= 0).all()
    assert (found.far[-1], found.tar[-1]) == (1.0, 1.0)
    for far, tar, t in zip(found.far[1::50], found.tar[1::50], found.thresholds[1::50], strict=True):
        assert far == pytest.approx((scores[~same] >= t).mean())
        assert tar == pytest.approx((scores[same] >= t).mean())
    for point in tar_at_far(scores, same, [1e-4, 1e-3, 0.01, 0.1], bootstrap="none"):
        assert np.interp(point.target, found.far, found.tar) == pytest.approx(point.tar, abs=0.02)


def test_curve_of_a_tally():
    scores, same = made()
    tally = ScoreTally(-10, 10)
    tally.update(scores, same)
    counted, exact = roc_of(tally.compute()), roc_points(scores, same)
    assert (counted.genuine, counted.impostors) == (exact.genuine, exact.impostors)
    assert np.interp(0.1, counted.far, counted.tar) == pytest.approx(
        np.interp(0.1, exact.far, exact.tar), abs=5e-3
    )


def draw(kind, form):
    scores, same = made()
    if kind is score_histogram:
        return score_histogram(scores, same, threshold=1.0, title="scores", form=form)
    return kind({"one": roc_points(scores, same), "two": roc_points(*made(seed=1))}, "title", form)


@pytest.mark.parametrize("kind", [roc_plot, det_plot, score_histogram])
def test_pictures_are_the_same_each_time(kind):
    png, svg = draw(kind, "png"), draw(kind, "svg")
    assert Image.open(io.BytesIO(png)).format == "PNG"
    assert np.asarray(Image.open(io.BytesIO(png)).convert("L")).std() > 10
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert png == draw(kind, "png")
    assert svg == draw(kind, "svg")
    with pytest.raises(ConfigError, match=r"no picture format 'gif'"):
        draw(kind, "gif")


def test_perfect_scores_can_be_drawn():
    curve = roc_points([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0])
    for kind in (roc_plot, det_plot):
        assert kind({"perfect": curve})
    assert score_histogram([0.5, 0.5], [1, 0])


@pytest.mark.parametrize("threshold", [-5.0, 0.1, 0.35, 0.8, 0.9, 5.0])
def test_rates_at_a_threshold_are_those_of_counting(threshold):
    scores, same = np.array([0.9, 0.8, 0.35, 0.1, 0.2, 0.35]), np.array([1, 1, 1, 0, 0, 0], bool)
    far, frr = roc_points(scores, same, most=0).rates(threshold)
    assert far == pytest.approx((scores[~same] >= threshold).mean())
    assert frr == pytest.approx((scores[same] < threshold).mean())


def test_a_threshold_is_marked_on_the_curve():
    curves = {"one": roc_points(*made())}
    assert det_plot(curves, at=1.0) != det_plot(curves)
    assert det_plot(curves, at=1.0) != det_plot(curves, at=2.0)


def test_no_curve_and_failed_scores():
    with pytest.raises(DataError, match=r"no curve"):
        roc_plot({})
    with pytest.raises(DataError, match=r"finite scores"):
        score_histogram([0.1, -np.inf], [1, 0])


def test_importing_the_metrics_loads_no_plotting():
    import subprocess

    code = "import sys, mien.metrics as m; m.det_plot, m.kfold_accuracy, m.open_set_report;"
    code += "sys.exit(any(n in sys.modules for n in ('matplotlib', 'torch', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
