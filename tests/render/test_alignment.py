from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.render.alignment import TEMPLATE, align_face, five_of_68, similarity, template, warp

FIVE = np.array([[200, 220], [280, 210], [245, 260], [212, 305], [277, 297]], float)


def test_worked_example():
    expected = [[0.457033, -0.034558, -46.011550], [0.034558, 0.457033, -54.587112]]
    np.testing.assert_allclose(similarity(FIVE, template(112)), expected, atol=5e-7)


def test_template_onto_itself_and_doubled():
    eye = np.eye(2, 3)
    np.testing.assert_allclose(similarity(TEMPLATE, TEMPLATE), eye, atol=1e-12)
    np.testing.assert_allclose(similarity(2 * TEMPLATE, TEMPLATE), 0.5 * eye, atol=1e-12)


def test_recovers_a_similarity_and_is_the_least_squares_one():
    rng = np.random.default_rng(0)
    angle, scale, move = 0.7, 1.8, np.array([3.0, -5.0])
    r = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = scale * FIVE @ r.T + move
    np.testing.assert_allclose(similarity(FIVE, target), np.c_[scale * r, move], atol=1e-9)
    noisy = target + rng.normal(0, 3, target.shape)
    # a x - b y + c, b x + a y + d is linear in its four numbers
    x, y = FIVE.T
    one, zero = np.ones(5), np.zeros(5)
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, c, d = np.linalg.lstsq(rows, noisy.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(FIVE, noisy), [[a, -b, c], [b, a, d]], atol=1e-9)


def test_never_reflects():
    mirrored = FIVE * [-1, 1]
    m = similarity(FIVE, mirrored)
    assert np.linalg.det(m[:, :2]) > 0
    np.testing.assert_allclose(m[0, :2], [m[1, 1], -m[1, 0]], atol=1e-12)


def test_one_point_has_no_similarity():
    with pytest.raises(DataError, match=r"landmarks are all one point"):
        similarity(np.ones((5, 2)), TEMPLATE)


def test_sizes():
    np.testing.assert_allclose(template(112), TEMPLATE)
    np.testing.assert_allclose(template(224), 2 * TEMPLATE)
    np.testing.assert_allclose(template(128), TEMPLATE + np.array([8, 0]))
    np.testing.assert_allclose(template(256), 2 * TEMPLATE + np.array([16, 0]))
    for size in (0, -112, 100, 160):
        with pytest.raises(ConfigError, match=rf"aligned size {size} is not a multiple of 112 or 128"):
            template(size)


def test_warp_moves_whole_pixels_and_is_black_outside():
    image = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
    same = warp(image, np.eye(2, 3), 10)
    assert np.array_equal(same, image[:10])
    shifted = warp(image, np.array([[1.0, 0, 2], [0, 1, 3]]), 10)  # output (u, v) shows input (u - 2, v - 3)
    assert np.array_equal(shifted[3:, 2:], image[:7, :8])
    assert not shifted[:3].any()
    assert not shifted[:, :2].any()


def test_warp_is_bilinear():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, 2:] = 200
    half = warp(image, np.array([[1.0, 0, 0.5], [0, 1, 0]]), 4)
    assert half[1, 2].tolist() == [100] * 3


@pytest.mark.parametrize("size", [112, 128, 224])
def test_aligned_landmarks_lie_on_the_template(size):
    image = np.zeros((400, 400, 3), np.uint8)
    eye = (slice(217, 224), slice(197, 204))  # a patch about the left eye (200, 220)
    image[eye] = 255
    face = align_face(image, FIVE, size)
    assert face.shape == (size, size, 3)
    assert face.dtype == np.uint8
    weight = face[..., 0].astype(float)
    rows, cols = np.mgrid[0:size, 0:size]
    centre = np.array([(cols * weight).sum(), (rows * weight).sum()]) / weight.sum()
    m = similarity(FIVE, template(size))
    np.testing.assert_allclose(centre, m[:, :2] @ FIVE[0] + m[:, 2], atol=0.2)


def test_five_of_68():
    points = np.random.default_rng(0).normal(size=(2, 68, 3))
    five = five_of_68(points)
    assert five.shape == (2, 5, 3)
    np.testing.assert_allclose(five[:, 0], (points[:, 36] + points[:, 39]) / 2)
    np.testing.assert_allclose(five[:, 1], (points[:, 42] + points[:, 45]) / 2)
    np.testing.assert_allclose(five[:, 2:], points[:, [30, 48, 54]])
