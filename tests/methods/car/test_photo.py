"""A user's photograph: masks, squares, and the matrix between the boxes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mien.core.errors import DataError, LimitError
from mien.methods.car.photo import (
    MARGIN,
    crop_matrix,
    cut,
    one_person,
    person_square,
    plain_mask,
    read_mask,
    read_photo,
)
from mien.methods.car.skinning import transform_points


def scene(height=60, width=90, box=(10, 50, 30, 50)):
    """A dark block (top, bottom, left, right) on a light, slightly noisy ground, and where it is."""
    rng = np.random.default_rng(0)
    picture = np.full((height, width, 3), 200, np.uint8) + rng.integers(0, 9, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), bool)
    mask[box[0] : box[1], box[2] : box[3]] = True
    picture[mask] = (40, 60, 80)
    return picture, mask


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def test_square_around_the_person():
    picture, mask = scene()
    assert person_square(mask) == (16.0, 6.0, 48.0)  # 40 high: 40 (1 + 2 MARGIN) = 48 around (40, 30)
    photo = read_photo(picture, mask.astype(np.uint8) * 255, 48)
    assert photo.status == "ok"
    assert photo.image.shape == (3, 48, 48)
    where = torch.nonzero(photo.mask)
    assert where.amin(0).tolist() == [4, 14]
    assert where.amax(0).tolist() == [43, 33]
    assert torch.equal((photo.image * 255).round()[:, photo.mask][:, 0], torch.tensor([40.0, 60.0, 80.0]))


def test_crop_matrix_meets_the_pixels():
    """A point of the picture's box lands where its pixel does in the square."""
    shape, square = (60, 90), (16.0, 6.0, 48.0)
    pixel = torch.tensor([[16.0, 6.0], [64.0, 54.0], [40.0, 30.0], [20.5, 11.25]])
    box = (2 * pixel - torch.tensor([90.0, 60.0])) / 90
    points = torch.cat([box, torch.full((4, 1), 0.1)], 1)
    got = transform_points(crop_matrix(shape, square), points)
    want = (pixel - torch.tensor([16.0, 6.0])) / 48 * 2 - 1
    torch.testing.assert_close(got[:, :2], want)
    torch.testing.assert_close(got[:, 2], torch.full((4,), 0.1 * 90 / 48))  # lengths keep their ratio


def test_plain_background_and_holes():
    picture, mask = scene()
    assert np.array_equal(plain_mask(picture), mask)
    picture[20:30, 35:40] = 203  # the background's colour inside the person is the person
    assert np.array_equal(plain_mask(picture), mask)
    picture[:, :20] = 10
    with pytest.raises(DataError, match=r"the background is not plain.*give --mask FILE"):
        plain_mask(picture)


def test_grey_pictures():
    picture, mask = scene()
    grey = picture[..., 0]
    photo = read_photo(grey, "auto", 32)
    assert photo.status == "ok"
    assert torch.equal(photo.image[0], photo.image[2])
    assert np.array_equal(read_mask(grey, np.repeat(grey[..., None], 3, 2), "plain"), mask)


def test_opacity_is_a_mask():
    picture, mask = scene()
    noise = np.random.default_rng(1).integers(0, 256, picture.shape, np.uint8)  # no plain background
    cut_out = png(np.dstack([noise, 255 * mask.astype(np.uint8)]))
    assert np.array_equal(read_mask(cut_out, noise, "auto"), mask)
    assert np.array_equal(read_mask(Image.open(io.BytesIO(cut_out)), noise, "alpha"), mask)
    with pytest.raises(DataError, match="opaque everywhere"):
        read_mask(png(picture), picture, "alpha")
    opaque = png(np.dstack([picture, np.full(mask.shape, 255, np.uint8)]))
    assert np.array_equal(read_mask(opaque, picture, "auto"), mask)  # by its plain background


def test_states_of_a_mask():
    _, mask = scene()
    assert one_person(mask)[1] == "ok"
    assert one_person(np.zeros_like(mask))[1] == "no_person"
    two = mask.copy()
    two[10:50, 60:66] = True  # 30 % of the other
    assert one_person(two)[1] == "several_persons"
    speck = mask.copy()
    speck[0:5, 80:90] = True  # 6 %, also at the rim
    own, status = one_person(speck)
    assert status == "ok"
    assert np.array_equal(own, mask)
    for rows, columns in (
        (slice(0, 50), slice(30, 50)),
        (slice(10, 60), slice(30, 50)),
        (slice(10, 50), slice(70, 90)),
    ):
        rim = np.zeros_like(mask)
        rim[rows, columns] = True
        assert one_person(rim)[1] == "cropped"
    with pytest.raises(DataError, match="the mask is full"):
        one_person(np.ones_like(mask))


def test_pictures_that_cannot_be_used(monkeypatch):
    picture, _ = scene()
    assert read_photo(np.zeros((1, 1, 3), np.uint8), "auto", 32).status == "no_person"
    assert read_photo(picture, "auto", 256).status == "too_small"
    assert read_photo(np.full((40, 40, 3), 90, np.uint8), "plain", 32).status == "no_person"
    with pytest.raises(DataError, match="the mask has 30 x 20 pixels, the picture 90 x 60"):
        read_photo(picture, np.zeros((20, 30), np.uint8), 32)
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        read_photo("none.png", "auto", 32)
    monkeypatch.setenv("MIEN_MAX_IMAGE_PIXELS", "5000")
    with pytest.raises(LimitError, match=r"60 x 90 pixels"):
        read_photo(picture, "auto", 32)


def test_square_beyond_the_picture_repeats_the_rim():
    picture = np.arange(16, dtype=np.uint8).reshape(4, 4) * 10
    assert np.array_equal(cut(picture, (0.0, 0.0, 4.0), 4), picture)
    out = cut(picture, (-4.0, 0.0, 8.0), 8)
    assert (out[:4, :4] == picture[:, :1]).all()
    assert np.array_equal(out[:4, 4:], picture)
    assert MARGIN == 0.1


def test_a_known_mask_goes_before_a_plain_background():
    picture, mask = scene()
    known = np.zeros(mask.shape, np.uint8)
    known[:, :40] = 255
    np.testing.assert_array_equal(read_mask(picture, picture, "auto", known), known > 127)
    np.testing.assert_array_equal(read_mask(picture, picture, "plain", known), mask)
    given = np.uint8(255) * mask
    np.testing.assert_array_equal(read_mask(picture, picture, given, known), mask)
    opacity = png(np.dstack([picture, given]))
    np.testing.assert_array_equal(read_mask(opacity, picture, "auto", known), mask)
