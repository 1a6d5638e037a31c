"""The compiled degrader against the single one: the same steps, statistics and rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter

from mien.core.errors import ConfigError, ShapeError
from mien.synth import surveil_kernels as kernels
from mien.synth.sensors import jpeg
from mien.synth.surveil_batch import draw_records, surveil_batch
from mien.synth.surveillance import (
    PROFILES,
    STEPS,
    area_downsample,
    laplacian_variance,
    motion_kernel,
    surveil,
    upsample,
)

from .made import head

QUIET = ("noise", "night", "balance", "jpeg", "ghost")
RANDOM = ("noise", "weather")


def faces(count: int = 12, size: int = 48) -> Any:
    return np.stack([head(1 + n % 3, n, size).rgb for n in range(count)])


def slow(image, r, k):
    """One picture by the functions of `surveillance`, from a record without noise and snow."""
    rows, cols = image.shape[:2]
    x = image / 255
    if r.motion_px[k] > 1:
        x = convolve(x, motion_kernel(r.motion_px[k], r.motion_angle[k])[..., None], mode="nearest")
    if r.defocus_px[k] > 0:
        x = gaussian_filter(x, (r.defocus_px[k], r.defocus_px[k], 0), mode="nearest")
    width = int(r.width_px[k])
    small = max(1, round(rows * width / cols)), width
    x = area_downsample(x, *small)
    if r.night[k]:
        x = np.repeat(np.clip(x.mean(-1, keepdims=True) ** 0.5 * r.night[k], 0, 1), 3, -1)
    x = np.clip(x * r.gains[k], 0, 1)
    if r.jpeg[k]:
        x = jpeg((x * 255 + 0.5).astype(np.uint8), int(r.jpeg[k])) / 255
    if r.ghost[k]:
        moved = np.roll(x, int(r.ghost[k]), 1)
        x[::2] = 0.6 * x[::2] + 0.4 * moved[::2]
    if small != (rows, cols):
        x = upsample(x, rows, cols, ("nearest", "bilinear", "bicubic")[r.upsample[k]])
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)


def is_halfway(old, new):
    """Whether the middle of some new pixel falls on an edge of two old ones."""
    return any((2 * i + 1) * old % (2 * new) == 0 for i in range(new))


@pytest.mark.parametrize("shape", [(48, 48), (40, 56)])
def test_same_steps_for_the_same_record(shape):
    images = faces(24, 64)[:, : shape[0], : shape[1]]
    got, records = surveil_batch(images, (0.0, 1.0), profile="C6", off=(*RANDOM, "jpeg"))
    compared = 0
    for k, image in enumerate(images):
        width = int(records.width_px[k])
        sizes = zip((round(shape[0] * width / shape[1]), width), shape, strict=True)
        if records.upsample[k] == 0 and any(is_halfway(old, new) for old, new in sizes):
            continue  # nearest of two that are equally near
        difference = np.abs(got[k].astype(int) - slow(image, records, k).astype(int))
        assert difference.max() <= 1, k
        compared += 1
    assert compared > len(images) / 2


def test_the_quantiser_is_that_of_jpeg_files():
    images = faces(24)
    got, records = surveil_batch(images, (0.0, 1.0), profile="C6", off=RANDOM)
    differences = [np.abs(got[k].astype(int) - slow(x, records, k).astype(int)) for k, x in enumerate(images)]
    assert np.mean(differences) < 1.5
    assert np.percentile(differences, 99) <= 8


@pytest.mark.parametrize("quality", [10, 40, 75, 95])
def test_compressed(quality):
    for image in faces(4):
        got = kernels.compressed(image / 255, quality) * 255
        error = np.abs(got - jpeg(image, quality))
        assert error.mean() < 1.0
        assert np.percentile(error, 99) <= 8


@pytest.mark.parametrize(("old", "new"), [(12, 48), (7, 31), (48, 12), (31, 7)])
def test_weights_are_those_of_the_single_one(old, new):
    x = np.random.default_rng(0).random((old, old, 3))
    area = kernels.weighted(x, kernels.area_weights(old, new), kernels.area_weights(old, new))
    np.testing.assert_allclose(area, area_downsample(x, new, new), atol=1e-12)
    if new > old:
        for kind, name in enumerate(("nearest", "bilinear", "bicubic")):
            weights = kernels.enlarge_weights(old, new, kind)
            big = kernels.weighted(x, weights, weights)
            np.testing.assert_allclose(big, upsample(x, new, new, name), atol=1e-5)
    for length in (1.0, 2.3, 7.0):
        np.testing.assert_allclose(kernels.line_kernel(length, 0.7), motion_kernel(length, 0.7), atol=1e-12)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_severity_is_the_identity(profile):
    images = faces(6)
    assert (surveil_batch(images, 0.0, profile=profile, off=QUIET)[0] == images).all()
    assert (surveil_batch(images, 0.9, profile=profile, off=STEPS)[0] == images).all()


def test_a_picture_is_a_function_of_its_own_seed():
    images, seeds = faces(8), np.arange(100, 108)
    whole, records = surveil_batch(images, (0.2, 0.9), seeds, "C7")
    order = np.array([5, 0, 3])
    part, own = surveil_batch(images[order], (0.2, 0.9), seeds[order], "C7")
    assert (part == whole[order]).all()
    assert (own.severity == records.severity[order]).all()
    one = surveil_batch(images[:1], (0.2, 0.9), seeds[:1], ["C7"])[0][0]
    assert (one == whole[0]).all()
    assert (surveil_batch(images, (0.2, 0.9), seeds + 1000, "C7")[0] != whole).any()


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_off_draws_nothing(step):
    shape, seeds = (50, 48, 48), np.arange(50)
    full, less = (draw_records(shape, 0.7, seeds, "C7", off)._asdict() for off in ((), (step,)))
    changed = {name for name in full if not np.array_equal(full[name], less[name])}
    own = {
        "motion": {"motion_px", "motion_angle"}, "defocus": {"defocus_px"}, "noise": {"photons", "noise"},
        "downsample": {"width_px"}, "balance": {"gains"},
    }  # fmt: skip
    assert changed == own.get(step, {step})


def test_records_are_distributed_as_those_of_the_single_one():
    count = 400
    image = faces(1)[0][:16, :16]
    for profile in ("C3", "C7"):
        records = draw_records((count, 16, 16), None, None, profile, ())
        single = [surveil(image, None, profile, s, ("jpeg",))[1] for s in range(count)]
        for name in ("severity", "motion_px", "noise", "photons", "defocus_px", "width_px"):
            ours, theirs = getattr(records, name), np.array([r[name] for r in single])
            tolerance = 4 * theirs.std() / np.sqrt(count) + 1e-9
            assert ours.mean() == pytest.approx(theirs.mean(), abs=tolerance), name
            assert ours.std() == pytest.approx(theirs.std(), rel=0.2), name
        gains = np.log([r["gains"] for r in single])
        assert np.log(records.gains).std() == pytest.approx(gains.std(), rel=0.15)
        assert (records.night > 0).mean() == pytest.approx(np.mean([r["night"] for r in single]), abs=0.1)
        weather = np.mean([r["weather"] != "clear" for r in single])
        assert (records.weather > 0).mean() == pytest.approx(weather, abs=0.1)


def test_quality_falls_with_severity_as_in_the_single_one():
    images = np.concatenate([faces(12)] * 4)
    before = images.astype(float)
    fidelity, sharpness = [], []
    for q in (0.0, 0.25, 0.5, 0.75, 1.0):
        got = surveil_batch(images, q, off=("night",))[0]
        errors = ((got.astype(float) - before) ** 2).mean((1, 2, 3))
        single = np.stack([surveil(x, q, "C3", s, ("night",))[0] for s, x in enumerate(images)])
        theirs = ((single.astype(float) - before) ** 2).mean((1, 2, 3))
        fidelity.append(np.mean(10 * np.log10(255**2 / errors)))
        assert fidelity[-1] == pytest.approx(np.mean(10 * np.log10(255**2 / theirs)), abs=1.2)
        sharpness.append(np.mean([laplacian_variance(x) for x in got]))
    assert (np.diff(fidelity) < 0).all()
    assert (np.diff(sharpness) < 0).all()


def test_noise_has_the_recorded_variance():
    grey = np.full((40, 48, 48, 3), 128, np.uint8)
    off = tuple(s for s in STEPS if s != "noise")
    got, r = surveil_batch(grey, 0.6, off=off)
    level = 128 / 255
    expected = np.sqrt(level / r.photons + r.noise**2)
    assert (got / 255).std((1, 2, 3)) == pytest.approx(expected, rel=0.06)
    assert (got / 255).mean() == pytest.approx(level, abs=0.003)


def test_wrong_use():
    images = faces(2)
    for bad in (images[0], images[..., :2], images.astype(float), images[:, :4]):
        with pytest.raises(ShapeError, match=r"images: expected \(B, H, W, 3\) uint8"):
            surveil_batch(bad, 0.5)
    with pytest.raises(ShapeError, match=r"severities: expected one or \(2,\), got \(3,\)"):
        surveil_batch(images, np.zeros(3))
    with pytest.raises(ShapeError, match=r"seeds: expected \(2,\)"):
        surveil_batch(images, 0.5, [1])
    with pytest.raises(ShapeError, match=r"profile: expected one or 2, got 1"):
        surveil_batch(images, 0.5, profile=["C1"])
    for severity in (1.5, (0.6, 0.4), np.array([0.5, np.nan])):
        with pytest.raises(ConfigError, match=r"severities .* are outside \[0, 1\]"):
            surveil_batch(images, severity)
    with pytest.raises(ConfigError, match=r"camera 'C9' is none of C1"):
        surveil_batch(images, 0.5, profile="C9")
    with pytest.raises(ConfigError, match=r"step 'rain' is none of motion"):
        surveil_batch(images, 0.5, off=("rain",))
