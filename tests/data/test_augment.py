from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError
from mien.core.seeds import derive, keys_of, uniform
from mien.data.augment import (
    Affine,
    NoAugment,
    PerPicture,
    build_augment,
    eval_zoom,
    prepare,
    seeded,
    stretch,
)
from tests.data.fixtures import pixels

KEYS = keys_of([f"{i}.png" for i in range(6)])
GREY = list(pixels(0, 6, 16, 16, 1))
COLOUR = list(pixels(1, 6, 16, 16, 3))
KINDS = ("none", "affine", "cifar", "imagenet")


def as_tensor(picture):
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


def global_state():
    array = np.random.get_state()[1].tolist()  # noqa: NPY002, RUF100
    return random.getstate(), array, torch.get_rng_state().tolist()


# ---------------------------------------------------------------- test-time preparation


def test_a_picture_of_the_right_size_is_not_resampled():
    found = prepare(COLOUR, 16, 3)
    assert torch.equal(found, torch.stack([as_tensor(p) for p in COLOUR]))


def test_centre_crop_of_the_longer_side():
    wide, tall = pixels(2, 8, 13, 3), pixels(3, 15, 8, 3)
    assert torch.equal(prepare([wide], 8, 3)[0], as_tensor(wide)[:, :, 2:10])
    assert torch.equal(prepare([tall], 8, 3)[0], as_tensor(tall)[:, 3:11])


def test_zoom_crops_the_border():
    found = prepare([pixels(4, 20, 20, 3)], 16, 3, zoom=1.25)
    assert torch.equal(found[0], as_tensor(pixels(4, 20, 20, 3))[:, 2:18, 2:18])
    assert prepare([pixels(4, 50, 31, 3)], 16, 3, zoom=256 / 224).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (100, 99), (7, 7), (1, 1), (1, 300)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_picture_fits(shape, channels):
    found = prepare([pixels(5, *shape, 3)], 16, channels)
    assert found.shape == (1, channels, 16, 16)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1


def test_one_colour_stays_through_resampling():
    flat = np.full((50, 33, 3), (10, 100, 255), dtype=np.uint8)
    found = prepare([flat], 16, 3)[0]
    torch.testing.assert_close(
        found, torch.tensor([10.0, 100.0, 255.0])[:, None, None].expand_as(found) / 255
    )


def test_channels():
    assert torch.equal(prepare(GREY, 16, 3), prepare(GREY, 16, 1).expand(-1, 3, -1, -1))
    luma = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]] * 3, dtype=np.uint8)
    found = prepare([luma], 3, 1)[0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([0.299, 0.587, 0.114]))


def test_eval_zoom():
    assert eval_zoom("imagenet") == 256 / 224
    assert {eval_zoom(k) for k in ("none", "affine", "cifar")} == {1.0}


# ---------------------------------------------------------------- every augmentation


@pytest.mark.parametrize("pictures", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_range(kind, channels, pictures):
    found = build_augment(kind, 16, channels)(pictures, KEYS, 0, 2)
    assert found.shape == (12, channels, 16, 16)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_depends_on_picture_key_seed_and_copy_only(kind):
    """Not on the place in the batch, the batch size, or the number of copies."""
    augment = build_augment(kind, 16, 3)
    whole = augment(COLOUR, KEYS, 5, 2)
    assert torch.equal(augment(COLOUR, KEYS, 5, 2), whole)
    order = [4, 0, 5, 2, 1, 3]
    turned = augment([COLOUR[i] for i in order], KEYS[order], 5, 2)
    assert torch.equal(turned, whole[order + [6 + i for i in order]])
    alone = augment(COLOUR[3:4], KEYS[3:4], 5, 3)
    assert torch.equal(alone[:2], whole[[3, 9]])


@pytest.mark.parametrize("kind", ["affine", "cifar", "imagenet"])
def test_copies_epochs_and_keys_differ(kind):
    augment = build_augment(kind, 16, 3)
    same = [COLOUR[0]] * 6
    found = augment(same, KEYS, 5, 2)
    assert len({row.numpy().tobytes() for row in found}) > 9  # of 12, some may agree by chance
    other = augment(same, KEYS, 6, 2)
    assert sum(torch.equal(a, b) for a, b in zip(found, other, strict=True)) <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_copy_major(kind):
    augment = build_augment(kind, 16, 1)
    both, first = augment(GREY, KEYS, 1, 2), augment(GREY, KEYS, 1, 1)
    assert torch.equal(both[:6], first)
    if kind == "none":
        assert torch.equal(both[6:], first)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_and_global_randomness_are_left_alone(kind):
    pictures = [p.copy() for p in COLOUR]
    before = global_state()
    build_augment(kind, 16, 3)(pictures, KEYS, 0, 2)
    assert global_state() == before
    assert all(np.array_equal(a, b) for a, b in zip(pictures, COLOUR, strict=True))


@pytest.mark.parametrize("kind", ["cifar", "imagenet"])
def test_global_randomness_does_not_matter(kind):
    augment = build_augment(kind, 16, 3)
    first = augment(COLOUR, KEYS, 3, 1)
    with seeded(99):
        assert torch.equal(augment(COLOUR, KEYS, 3, 1), first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(9, 30), (30, 9), (40, 40)])
def test_pictures_of_other_sizes(kind, shape):
    pictures = [pixels(i, *shape, 3) for i in range(3)]
    assert build_augment(kind, 16, 3)(pictures, KEYS[:3], 0, 1).shape == (3, 3, 16, 16)


def test_kinds_of_the_config_all_exist():
    from typing import get_args, get_type_hints

    from mien.data.config import ClassificationData

    assert set(get_args(get_type_hints(ClassificationData)["augment"])) == set(KINDS)
    with pytest.raises(
        ConfigError, match="unknown augmentation 'autoaugment'; known: none, affine, flip, cifar, imagenet"
    ):
        build_augment("autoaugment", 16, 3)


def test_no_augmentation_is_preparation():
    assert torch.equal(NoAugment(16, 1)(COLOUR, KEYS, 0, 1), prepare(COLOUR, 16, 1))


# ---------------------------------------------------------------- affine


def twin_affine(augment, picture, key, seed, copy):
    """Slow bilinear sampling, pixel by pixel, outside = 0."""
    u = uniform(derive(seed, "copy", copy), np.array([key], dtype=np.uint64), 7)[0].tolist()
    r = [2 * v - 1 for v in u]
    n, source = augment.size, picture[:, :, 0] / 255
    angle, zoom = augment.angle * r[0], 1 + augment.scale * r[1]
    mirror = -1.0 if augment.flip and r[4] < 0 else 1.0
    side = round(augment.hole * n)
    left, top = (math.floor(u[5 + i] * n) - side // 2 for i in range(2))
    out = np.zeros((n, n))
    for row in range(n):
        for column in range(n):
            if top <= row < top + side and left <= column < left + side:
                continue
            x, y = (2 * column + 1) / n - 1, (2 * row + 1) / n - 1
            x *= mirror
            u_in = zoom * (math.cos(angle) * x - math.sin(angle) * y) + 2 * augment.shift * r[2]
            v_in = zoom * (math.sin(angle) * x + math.cos(angle) * y) + 2 * augment.shift * r[3]
            px, py = ((v + 1) * n / 2 - 0.5 for v in (u_in, v_in))
            for i in (math.floor(py), math.floor(py) + 1):
                for j in (math.floor(px), math.floor(px) + 1):
                    if 0 <= i < n and 0 <= j < n:
                        out[row, column] += source[i, j] * (1 - abs(py - i)) * (1 - abs(px - j))
    return out


def test_affine_equals_its_loop():
    augment = Affine(16, 1, angle=0.4, scale=0.3, shift=0.2)
    found = augment(GREY, KEYS, 11, 2)
    for copy in range(2):
        for i in range(6):
            wanted = twin_affine(augment, GREY[i], int(KEYS[i]), 11, copy)
            assert np.abs(found[6 * copy + i, 0].numpy() - wanted).max() < 2e-5


def test_affine_with_all_knobs_off_is_preparation():
    still = Affine(16, 3, angle=0.0, scale=0.0, shift=0.0, flip=False, hole=0.0)
    torch.testing.assert_close(
        still(COLOUR, KEYS, 0, 2), prepare(COLOUR, 16, 3).repeat(2, 1, 1, 1), atol=1e-5, rtol=0
    )


def test_half_of_the_pictures_are_mirrored():
    mirror = Affine(16, 1, angle=0.0, scale=0.0, shift=0.0, hole=0.0)
    keys = np.arange(400, dtype=np.uint64)
    found = mirror([GREY[0]] * 400, keys, 0, 1)
    plain = prepare(GREY[:1], 16, 1)[0]
    is_plain = (found - plain).abs().amax((1, 2, 3)) < 1e-4
    is_turned = (found - plain.flip(-1)).abs().amax((1, 2, 3)) < 1e-4
    assert (is_plain ^ is_turned).all()
    assert 150 < int(is_turned.sum()) < 250


def test_hole_has_its_size_and_may_cross_the_border():
    white = [np.full((16, 16, 1), 255, dtype=np.uint8)] * 300
    holed = Affine(16, 1, angle=0.0, scale=0.0, shift=0.0, hole=0.25)(
        white, np.arange(300, dtype=np.uint64), 0, 1
    )
    removed = (holed < 0.5).sum((1, 2, 3))
    assert removed.max() == 16
    assert removed.min() >= 4
    middles = (holed < 0.5).float().mean(0)[0]
    assert (middles > 0).all()


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 2**62), st.integers(1, 3))
def test_affine_rows_follow_their_pictures(order, seed, copies):
    augment = Affine(16, 1)
    whole = augment(GREY, KEYS, seed, copies)
    turned = augment([GREY[i] for i in order], KEYS[list(order)], seed, copies)
    places = [6 * m + i for m in range(copies) for i in order]
    assert torch.equal(turned, whole[places])


# ---------------------------------------------------------------- per picture


def test_cifar_hole_is_black_and_within_its_size():
    """Cutout on a white picture: everything that is exactly 0 besides the padding of the crop."""
    white = [np.full((32, 32, 3), 255, dtype=np.uint8)] * 20
    found = PerPicture("cifar", 32, 3)(white, np.arange(20, dtype=np.uint64), 0, 1)
    black = (found == 0).all(1)
    for picture in black:
        rows, columns = picture.any(1).sum(), picture.any(0).sum()
        assert rows >= 8
        assert columns >= 8


def test_seeded_repeats_and_restores():
    before = global_state()
    draws = []
    for _ in range(2):
        with seeded(2**62 + 1):
            draws.append((random.random(), np.random.rand(), float(torch.rand(()))))  # noqa: NPY002, RUF100
        assert global_state() == before
    assert draws[0] == draws[1]
    with seeded(4):
        assert random.random() != draws[0][0]


def test_seeded_restores_after_an_error():
    before = global_state()
    with pytest.raises(ZeroDivisionError), seeded(3):
        torch.rand(3), random.random(), np.random.rand(), 1 / 0  # noqa: NPY002, RUF100
    assert global_state() == before


def test_stretch_changes_the_sides_and_crops_nothing():
    picture = np.zeros((10, 20, 3), np.uint8)
    picture[:, -1] = 255  # the last column must still be there
    out = stretch([picture, picture[:, :10]], 10, 3)
    assert out.shape == (2, 3, 10, 10)
    assert out[0, :, :, -1].min() > 0.2
    assert out[0, :, :, 0].max() == 0
    grey = stretch([picture[..., :1]], 20, 3)
    assert torch.equal(grey[0, 0], grey[0, 1])


def test_domainbed_augments_by_key_and_turn():
    augment = build_augment("domainbed", 16, 3)
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    keys = np.array([1, 2, 1], np.uint64)
    a, b, c = augment([picture] * 3, keys, 7, 1)
    assert a.shape == (3, 16, 16)
    assert 0 <= float(a.min()) <= float(a.max()) <= 1
    assert torch.equal(a, c)
    assert not torch.equal(a, b)
    assert not torch.equal(a, augment([picture], keys[:1], 8, 1)[0])


def test_flip_mirrors_half_of_the_pictures_and_only_mirrors():
    from mien.data.augment import Flip

    ramp = np.tile(np.arange(8, dtype=np.uint8)[None, :, None] * 30, (8, 1, 3))
    x = Flip(8, 3)([ramp] * 200, np.arange(200, dtype=np.uint64), 0, 2)
    assert x.shape == (400, 3, 8, 8)
    rising = x[:, 0, 0, 0] < x[:, 0, 0, -1]
    assert 0.4 < rising.float().mean() < 0.6
    assert torch.equal(x[rising][0], x[~rising][0].flip(2))
    assert torch.equal(x, Flip(8, 3)([ramp] * 200, np.arange(200, dtype=np.uint64), 0, 2))
