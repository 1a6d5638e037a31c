from __future__ import annotations

import numpy as np
import pytest

from mien.synth.grading import backdrop, grade, srgb, tone
from mien.synth.light import sample_light
from mien.synth.sheet import contact_sheet


def test_tone_and_srgb():
    x = np.array([0, 0.1, 0.5, 1.0, 3.0])
    np.testing.assert_allclose(tone(x), 1.18 * x * (1 + 0.1 * x) / (1 + 0.42 * x), rtol=1e-6)
    assert (np.diff(tone(np.linspace(0, 4, 100))) > 0).all()
    np.testing.assert_allclose(srgb(np.array([0.0, 0.0031308, 0.2140, 1.0])), [0, 0.04045, 0.5, 1], atol=1e-3)


def test_grade_shows_the_backdrop_where_nothing_is():
    part = np.zeros((8, 8), np.uint8)
    room = np.full((4, 4, 3), 0.25, np.float32)
    image = grade(np.full((8, 8, 3), 9.0, np.float32), part, room, 0, 2)
    assert image.dtype == np.uint8
    assert image.mean() / 255 == pytest.approx(float(srgb(np.array([0.25]))[0]), abs=0.01)
    bright = grade(np.full((8, 8, 3), 9.0, np.float32), part + 1, room, 0, 2)
    assert bright.mean() > 200
    assert np.array_equal(image, grade(np.full((8, 8, 3), 9.0, np.float32), part, room, 0, 2))


def test_backdrops():
    light = sample_light(0)
    room = backdrop(light, 1, 32)
    assert room.shape == (32, 32, 3)
    assert (room > 0).all()
    assert np.array_equal(room, backdrop(light, 1, 32))
    assert not np.array_equal(room, backdrop(light, 2, 32))


def test_contact_sheet():
    tiles = [np.full((4, 4, 3), 10 * k, np.uint8) for k in range(3)]
    sheet = contact_sheet(tiles, 2)
    assert sheet.shape == (12, 12, 3)
    assert (sheet[6:10, :4] == 20).all()
    assert (sheet[6:, 6:] == 255).all()


def test_a_pixel_is_the_mean_of_its_samples_after_the_tone_curve():
    """One sample of four shows the backdrop; flat pictures, so that the blur changes nothing."""
    radiance = np.zeros((64, 64, 3), np.float32)
    radiance[0::2, 0::2], radiance[0::2, 1::2], radiance[1::2, 0::2] = 0.2, 1.0, 3.0
    part = np.ones((64, 64), np.uint8)
    part[1::2, 1::2] = 0
    image = grade(radiance, part, np.full((32, 32, 3), 0.1, np.float32), 0, 2)
    linear = (tone(np.array([0.2, 1.0, 3.0])).sum() + 0.1) / 4
    assert image.mean() / 255 == pytest.approx(float(srgb(np.array([linear]))[0]), abs=1e-3)
    assert image.std() / 255 == pytest.approx(0.008, rel=0.1)  # sensor noise


def test_blur_keeps_the_light_of_a_spot():
    radiance, part = np.zeros((9, 9, 3), np.float32), np.ones((9, 9), np.uint8)
    black = grade(radiance, part, np.zeros((9, 9, 3), np.float32), 3, 1).astype(float)
    radiance[4, 4] = 0.7
    spot = grade(radiance, part, np.zeros((9, 9, 3), np.float32), 3, 1).astype(float)
    change = (spot - black)[..., 0]
    assert change[4, 4] > 3 * change[4, 5] > 3 * change[5, 5] > 0
    assert not change[4, 7:].any()
