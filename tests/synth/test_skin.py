from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mien.synth.skin import BEARD, BROW, LIPS, MOUTH, SCALP, Skin, paint, skin_color

FAIR = Skin(0.3, 0.3, blotch=0.0, bags=0.0)


def points(count=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform([-0.7, 6.2, 0.2], [0.7, 8.0, 1.6], (count, 3)).astype(np.float32)


def masks(count=400, **given):
    out = np.zeros((count, 7), np.float32)
    for name, value in given.items():
        out[:, {"lips": LIPS, "mouth": MOUTH, "scalp": SCALP, "brow": BROW, "beard": BEARD}[name]] = value
    return out


def test_color_by_hand():
    assert skin_color(0, 0) == (0.80, 0.60, 0.50)
    r, g, b = skin_color(1.0, 0.5)
    assert r == pytest.approx(0.80 * np.exp(-0.65))
    assert g == pytest.approx(0.60 * np.exp(-1.29))
    assert b == pytest.approx(0.50 * np.exp(-1.53))


def test_more_melanin_is_darker_everywhere_and_in_every_channel():
    p = points()
    painted = [paint(replace(FAIR, melanin=m), p, masks()) for m in (0.08, 0.3, 0.8, 1.6, 2.6)]
    for lighter, darker in pairwise(painted):
        assert (darker < lighter).all()


def test_haemoglobin_reddens():
    p = points()
    pale, red = (paint(replace(FAIR, haemoglobin=h), p, masks()) for h in (0.1, 0.6))
    assert (red[:, 1] / red[:, 0] < pale[:, 1] / pale[:, 0]).all()


def test_paint_is_an_albedo_near_the_tone():
    skin = Skin(0.6, 0.3)
    got = paint(skin, points(), masks())
    assert got.shape == (400, 3)
    assert got.dtype == np.float32
    assert (got > 0).all()
    assert (got < 0.85).all()
    np.testing.assert_allclose(np.median(got, 0), skin_color(0.6, 0.3), rtol=0.2)
    assert (got[:, 0] > got[:, 1]).all()  # red > green > blue
    assert (got[:, 1] > got[:, 2]).mean() > 0.99


def test_seed_moves_the_blotches_and_repeats():
    p, own = points(), Skin(0.6, 0.3, seed=3.0)
    assert np.array_equal(paint(own, p, masks()), paint(own, p, masks()))
    other = paint(replace(own, seed=4.0), p, masks())
    assert not np.array_equal(paint(own, p, masks()), other)


def test_masks_change_what_they_name():
    p = points()
    plain = paint(FAIR, p, masks())
    lips = paint(FAIR, p, masks(lips=1.0))
    assert (lips[:, 1] / lips[:, 0] < plain[:, 1] / plain[:, 0]).all()  # redder
    hair = np.array(FAIR.hair_color)
    for name in ("scalp", "brow"):
        assert (
            np.abs(paint(FAIR, p, masks(**{name: 1.0})) - hair).sum(1) < np.abs(plain - hair).sum(1)
        ).all()
    shaven = replace(FAIR, beard=0.5)
    assert (paint(shaven, p, masks(beard=1.0)) < paint(shaven, p, masks())).all()
    np.testing.assert_allclose(paint(FAIR, p, masks(mouth=1.0)), [[0.30, 0.075, 0.07]] * 400, atol=1e-5)


def test_moles_and_freckles_are_dark_spots():
    at = np.array([[0.2, 7.0, 1.2], [0.4, 7.0, 1.2], [0.2, 7.0, -0.5]], np.float32)
    mole = replace(FAIR, moles=((0.2, 7.0, 0.02),))
    change = paint(mole, at, masks(3)) - paint(FAIR, at, masks(3))
    assert change[0].max() < -0.02
    assert not change[1:].any()  # not beside it, nor on the back of the head
    freckled = paint(replace(FAIR, freckles=1.0), points(), masks()) - paint(FAIR, points(), masks())
    assert freckled.max() <= 1e-6
    assert 0.02 < (freckled[:, 1] < -0.01).mean() < 0.6
