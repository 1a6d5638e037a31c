from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.core.errors import DataError
from mien.data.pad_crop import scaled_box, scaled_crop


def test_the_worked_number():
    assert scaled_box(500, 400, (300, 200, 100, 120), 2.7) == (215, 75, 485, 399)


@pytest.mark.parametrize(
    ("box", "scale", "expected"),
    [
        ((200, 150, 100, 120), 1.0, (200, 150, 300, 270)),
        ((0, 0, 100, 120), 2.0, (0, 0, 200, 240)),
        ((420, 300, 80, 100), 2.0, (339, 199, 499, 399)),
        ((-20, 150, 100, 100), 1.0, (0, 150, 100, 250)),
        ((200, 150, 100, 120), 50.0, (83, 0, 416, 399)),  # s' = 399 / 120 = 3.325
        ((100, 10, 300, 380), 4.0, (92, 0, 407, 399)),
    ],
)
def test_slides_and_limits(box, scale, expected):
    assert scaled_box(500, 400, box, scale) == expected


@given(
    st.integers(8, 700),
    st.integers(8, 700),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(1, 300),
    st.floats(1, 300),
    st.floats(0.5, 5),
)
def test_it_stays_in_the_picture_and_keeps_its_shape(width, height, u, v, w, h, scale):
    x, y = u * (width - 1), v * (height - 1)
    x0, y0, x1, y1 = scaled_box(width, height, (x, y, w, h), scale)
    assert 0 <= x0 <= x1 <= width - 1
    assert 0 <= y0 <= y1 <= height - 1
    factor = min(scale, (width - 1) / w, (height - 1) / h)
    assert abs((x1 - x0) - factor * w) <= 1
    assert abs((y1 - y0) - factor * h) <= 1


def test_the_crop_is_inclusive_on_both_ends():
    picture = np.arange(400 * 500).reshape(400, 500)
    crop = scaled_crop(picture, (300, 200, 100, 120), 2.7)
    assert crop.shape == (399 - 75 + 1, 485 - 215 + 1)
    assert crop[0, 0] == 75 * 500 + 215
    assert crop[-1, -1] == 399 * 500 + 485
    assert scaled_crop(np.zeros((40, 50, 3)), (10, 10, 9, 9), 2).shape == (19, 19, 3)


@pytest.mark.parametrize(
    ("box", "scale", "words"),
    [
        ((10, 10, 0, 5), 2.7, "no face to crop"),
        ((10, 10, 5, -1), 2.7, "no face to crop"),
        ((10, 10, 5, np.nan), 2.7, "no face to crop"),
        ((10, 10, 5, 5), 0, "no face to crop"),
        ((50, 10, 5, 5), 1, "lies outside of the picture of 50 x 40 pixels"),
        ((-9, 10, 5, 5), 1, "lies outside"),
    ],
)
def test_no_box_is_an_error_not_the_whole_frame(box, scale, words):
    with pytest.raises(DataError, match=words):
        scaled_box(50, 40, box, scale)
