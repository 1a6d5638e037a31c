"""Squares around faces: where they lie, and what is cut out."""

import numpy as np
import pytest

from mien.core.errors import ShapeError
from mien.data.squares import cut_square, middle_square, square_around


def test_squares():
    assert middle_square(40, 100) == (30.0, 0.0, 40.0)
    left, top, side = square_around((40, 100, 140, 200), 1.88, 0.18)
    assert (left + side / 2, side) == (90.0, 188.0)
    assert top + side / 2 == 150 - 18  # the middle of the head lies above that of the face


def test_a_square_inside_is_a_crop_and_beyond_is_white():
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    assert np.array_equal(cut_square(picture, (10, 5, 20), 20), picture[5:25, 10:30])
    wide = cut_square(picture, (-20, -10, 40), 40)
    assert np.array_equal(wide[10:, 20:], picture[:30, :20])
    assert (wide[:10] == 255).all()
    assert (wide[:, :20] == 255).all()
    assert (cut_square(picture[..., 0], (-20, -10, 40), 40, 0)[:, :20] == 0).all()
    with pytest.raises(ShapeError, match="does not meet the picture of 60 x 40"):
        cut_square(picture, (100, 0, 10), 8)


@pytest.mark.parametrize("square", [(-300, -300, 1000), (39.6, 59.7, 0.2), (-1e5, -1e5, 1.0001e5)])
def test_squares_far_larger_or_smaller_than_the_picture(square):
    picture = np.full((100, 80, 3), 7, np.uint8)
    cut = cut_square(picture, square, 24)
    assert cut.shape == (24, 24, 3)
    assert cut.min() == 7  # at least a pixel of it


def test_beyond_the_picture_its_border_may_be_repeated():
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    wide = cut_square(picture, (-20, -10, 40), 40, None)
    assert np.array_equal(wide[10:, 20:], picture[:30, :20])
    assert (wide[:10, 20:] == picture[:1, :20]).all()
    assert (wide[:10, :20] == picture[0, 0]).all()
