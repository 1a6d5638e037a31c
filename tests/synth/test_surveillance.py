from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError
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


def example():
    """img[y, x] = ((3 x + 5 y) mod 11) / 10 on 16 x 16."""
    y, x = np.mgrid[0:16, 0:16]
    return ((3 * x + 5 * y) % 11 / 10)[..., None].repeat(3, 2)


def picture(size=64):
    return head(1, 0, size).rgb


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


@pytest.mark.parametrize("profile", PROFILES)
def test_no_severity_is_the_identity(profile):
    image = picture()
    for seed in range(5):
        got, record = surveil(image, 0.0, profile, seed, QUIET)
        assert np.array_equal(got, image)
        assert record["severity"] == 0


def test_box_filter_example():
    image = example()
    small = area_downsample(image, 4, 4)
    for i in range(4):
        for j in range(4):
            np.testing.assert_allclose(small[i, j], image[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean((0, 1)))
    out = upsample(small, 16, 16, "nearest")
    assert out[0, 0, 0] == pytest.approx(0.5125, abs=1e-6)
    assert out[5, 9, 0] == pytest.approx(0.5125, abs=1e-6)
    mse = float(np.mean((out - image) ** 2))
    assert mse == pytest.approx(0.0998340, abs=5e-8)
    assert 10 * np.log10(1 / mse) == pytest.approx(10.007216, abs=5e-6)


def test_area_downsample_keeps_the_mean_and_splits_pixels():
    image = np.random.default_rng(0).random((10, 7, 3))
    small = area_downsample(image, 4, 3)
    assert small.shape == (4, 3, 3)
    np.testing.assert_allclose(small.mean((0, 1)), image.mean((0, 1)))
    line = np.array([[[1.0], [2], [4]]])  # halves: 1 + 2 / 2 over 1.5, 2 / 2 + 4 over 1.5
    np.testing.assert_allclose(area_downsample(line, 1, 2)[0, :, 0], [2 / 1.5, 5 / 1.5])


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
def test_upsample_keeps_flat_pictures_and_means(kernel):
    assert upsample(np.full((4, 5, 3), 0.3), 16, 20, kernel) == pytest.approx(0.3, abs=1e-6)
    image = np.random.default_rng(0).random((8, 8, 3))
    big = upsample(image, 32, 32, kernel)
    assert big.shape == (32, 32, 3)
    assert big.mean() == pytest.approx(image.mean(), abs=0.02)


def test_motion_kernels():
    one = motion_kernel(1.0, 0.7)
    assert one.max() == pytest.approx(1)
    assert one.sum() == pytest.approx(1)
    across, along = motion_kernel(7.0, 0.0), motion_kernel(7.0, np.pi / 2)
    assert across.sum() == pytest.approx(1)
    assert np.count_nonzero(across.sum(1) > 1e-9) == 1  # a line along x
    np.testing.assert_allclose(across, along.T, atol=1e-9)
    assert 6 <= np.count_nonzero(across > 1e-6) <= 8
    for k in (across, motion_kernel(9.0, 0.9)):
        np.testing.assert_allclose(k, k[::-1, ::-1], atol=1e-9)  # no shift of the picture


def test_same_seed_same_output():
    image = picture()
    a, b = surveil(image, 0.6, "C6", 3), surveil(image, 0.6, "C6", 3)
    assert np.array_equal(a[0], b[0])
    assert a[1] == b[1]
    assert not np.array_equal(a[0], surveil(image, 0.6, "C6", 4)[0])
    assert a[0].shape == image.shape
    assert a[0].dtype == np.uint8


def test_input_is_not_changed():
    image = picture().copy()
    surveil(image, 0.9, "C7", 0)
    assert np.array_equal(image, picture())


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_off_draws_nothing(step):
    """The other steps' records are unchanged, and its own is missing."""
    image = picture()
    for seed in range(4):
        full, less = (surveil(image, 0.7, "C7", seed, off)[1] for off in ((), (step,)))
        own = {k for k in full if k not in less}
        assert own, step
        shared = {k: v for k, v in less.items() if k != "upsample"}  # none without down-sampling
        assert {k: full[k] for k in shared} == shared
        if step != "downsample":
            assert less["upsample"] == full["upsample"]


def test_all_off_is_the_identity():
    got, record = surveil(picture(), 0.9, "C7", 0, STEPS)
    assert np.array_equal(got, picture())
    assert set(record) == {"profile", "severity", "seed"}


def test_quality_falls_with_severity_on_average():
    images = [picture(), head(2).rgb, head(3).rgb]
    levels = (0.0, 0.25, 0.5, 0.75, 1.0)
    fidelity, sharpness = [], []
    for q in levels:
        made = [(surveil(x, q, "C3", seed, ("night",))[0], x) for x in images for seed in range(8)]
        fidelity.append(np.mean([psnr(a, x) for a, x in made]))
        sharpness.append(np.mean([laplacian_variance(a) for a, _ in made]))
    assert (np.diff(fidelity) < 0).all()
    assert (np.diff(sharpness) < 0).all()


def test_record_is_plain_numbers_of_the_documented_ranges():
    import json

    for seed in range(30):
        _, record = surveil(picture(), 0.8, "C3", seed)
        assert json.loads(json.dumps(record)) == record
        q, unit = record["severity"], 64 / 256
        assert q == 0.8
        assert 1 <= record["motion_px"] <= 1 + 12 * q * unit
        assert 0 <= record["defocus_px"] <= 2.5 * q * unit
        assert record["width_px"] == max(12, round(64 * (1 - 0.85 * q)))
        assert 255 * (1 - 0.9 * q) <= record["photons"] <= 255
        assert 0.02 <= record["noise"] <= 0.02 + 0.08 * q
        assert 95 - 75 * q <= record["jpeg"] <= 95
        assert record["weather"] in ("clear", "fog", "snow")
        assert record["upsample"] in ("nearest", "bilinear", "bicubic")


def test_rare_steps_come_as_often_as_the_profile_says():
    records = [surveil(picture()[:16, :16], (0.5, 1.0), "C3", seed)[1] for seed in range(300)]
    assert np.mean([r["night"] for r in records]) == pytest.approx(0.2, abs=0.07)
    assert np.mean([r["ghost"] for r in records]) == pytest.approx(0.1, abs=0.06)
    assert np.mean([r["weather"] != "clear" for r in records]) == pytest.approx(0.2, abs=0.07)
    assert all(0.5 <= r["severity"] <= 1 for r in records)


def test_severity_comes_from_the_profile_by_default():
    for name, cam in PROFILES.items():
        drawn = [surveil(picture()[:8, :8], None, name, seed)[1]["severity"] for seed in range(20)]
        assert cam.severity[0] <= min(drawn)
        assert max(drawn) <= cam.severity[1]
        assert np.ptp(drawn) > 0.2 * (cam.severity[1] - cam.severity[0])


def test_what_lasts_is_the_same_in_all_frames_of_a_video():
    image = picture()[:16, :16]
    for video in range(6):
        records = [surveil(image, 0.6, "C7", seed, lasting=video)[1] for seed in range(5)]
        for name in ("night", "weather", "gains"):
            assert all(r[name] == records[0][name] for r in records)
        assert len({r["motion_px"] for r in records}) == 5
    assert len({str(surveil(image, 0.6, "C7", 0, lasting=v)[1]["gains"]) for v in range(6)}) == 6
    snowy = next(v for v in range(50) if surveil(image, 0.9, "C7", 0, lasting=v)[1]["weather"] == "snow")
    off = tuple(s for s in STEPS if s != "weather")
    frames = [surveil(np.zeros((64, 64, 3), np.uint8), 0.9, "C7", s, off, lasting=snowy)[0] for s in range(2)]
    assert not np.array_equal(*frames)  # the flakes move


def test_night_is_grey():
    seed = next(s for s in range(50) if surveil(picture(), 0.1, "C5", s)[1]["night"])
    got, _ = surveil(picture(), 0.1, "C5", seed, ("balance", "jpeg", "noise"))
    assert np.abs(got[..., 0].astype(int) - got[..., 2]).max() <= 1


def test_wrong_use_is_refused():
    image = picture()
    with pytest.raises(ConfigError, match=r"camera 'C9' is none of C1, C2"):
        surveil(image, 0.5, "C9")
    with pytest.raises(ConfigError, match=r"step 'rain' is none of motion, defocus"):
        surveil(image, 0.5, off=("rain",))
    for severity in (-0.1, 1.1, (0.6, 0.4), float("nan")):
        with pytest.raises(ConfigError, match=r"severity .* is outside \[0, 1\]"):
            surveil(image, severity)
    for shape in ((64, 64), (64, 64, 4), (4, 64, 3)):
        with pytest.raises(ConfigError, match=r"is not \(H, W, 3\) of at least 8 pixels a side"):
            surveil(np.zeros(shape, np.uint8), 0.5)


def test_laplacian_variance():
    flat = np.full((8, 8, 3), 90, np.uint8)
    assert laplacian_variance(flat) == 0
    board = ((np.add.outer(np.arange(8), np.arange(8)) % 2) * 10).astype(np.uint8)[..., None].repeat(3, 2)
    assert laplacian_variance(board) > 900
