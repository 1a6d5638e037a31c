from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.phycine.threshold import (
    ThresholdSegmenter,
    describe,
    most_frequent_colour,
    pieces,
)

GREY, RED, BLUE, GREEN = (0.1, 0.1, 0.12), (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.8, 0.2)


def clip(*paths, frames=4, size=24, side=5):
    """(1, T, 3, S, S): squares of a colour, each at its start plus its step per frame."""
    video = torch.tensor(GREY).view(1, 1, 3, 1, 1).repeat(1, frames, 1, size, size)
    for colour, (x, y), (dx, dy) in paths:
        for t in range(frames):
            rows, columns = (slice(p + t * d, p + t * d + side) for p, d in ((y, dy), (x, dx)))
            video[0, t, :, rows, columns] = torch.tensor(colour).view(3, 1, 1)
    return video


def test_most_frequent_colour_ignores_the_minority():
    pixels = np.concatenate([np.tile(GREY, (60, 1)), np.tile(RED, (40, 1))])
    assert most_frequent_colour(pixels).tolist() == list(GREY)


def test_touching_colours_are_two_pieces_and_highlights_are_none():
    picture = np.tile(np.array(GREY), (12, 16, 1))
    picture[2:8, 2:6], picture[2:8, 6:10] = RED, BLUE
    picture[4, 3] = 1.0  # a highlight
    labels = pieces(picture, np.array(GREY), 0.1, 4)
    expected = np.zeros((12, 16), int)
    expected[2:8, 2:6], expected[2:8, 6:10] = labels[2, 2], labels[2, 6]
    assert sorted({int(labels[2, 2]), int(labels[2, 6])}) == [1, 2]
    assert np.array_equal(labels, expected)


def test_a_blended_edge_is_no_object():
    picture = np.tile(np.array(GREY), (12, 12, 1))
    picture[2:10, 2:10], picture[3:9, 3:9] = (np.array(GREY) + RED) / 2, RED
    labels = pieces(picture, np.array(GREY), 0.1, 4)
    assert labels.max() == 1
    assert int(labels.sum()) == 64


def test_pieces_of_an_empty_picture():
    picture = np.tile(np.array(GREY), (6, 6, 1))
    labels = pieces(picture, np.array(GREY), 0.1, 4)
    assert labels.max() == 0
    assert describe(picture, labels).shape == (0, 6)


def test_description_of_a_piece():
    picture, labels = np.zeros((4, 8, 3)), np.zeros((4, 8), int)
    labels[:2, 6:], picture[:2, 6:] = 1, RED
    assert describe(picture, labels)[0].tolist() == pytest.approx([0.75, -0.5, *RED, 4 / 32])


def test_slots_follow_their_objects():
    video = clip((RED, (1, 2), (4, 0)), (BLUE, (14, 13), (-4, 0)))  # they pass each other
    seen = ThresholdSegmenter(4)(video)
    assert seen.masks.shape == (1, 4, 4, 24, 24)
    torch.testing.assert_close(seen.masks.sum(2), torch.ones(1, 4, 24, 24))
    torch.testing.assert_close(seen.recon, video)
    for colour in (RED, BLUE):
        slot = [int((code[:, 2:5] - torch.tensor(colour)).norm(dim=1).argmin()) for code in seen.slots[0]]
        assert len(set(slot)) == 1
    assert seen.left_out.tolist() == [[0, 0, 0, 0]]


def test_an_object_that_comes_back_has_its_slot_again():
    video = clip((RED, (1, 2), (0, 0)), (BLUE, (14, 13), (0, 0)))
    hidden = video.clone()
    hidden[0, 1, :, 13:18, 14:19] = torch.tensor(GREY).view(3, 1, 1)
    seen, all_seen = ThresholdSegmenter(4)(hidden), ThresholdSegmenter(4)(video)
    torch.testing.assert_close(seen.masks[:, 2:], all_seen.masks[:, 2:])
    assert int((seen.masks[0, 1, 1:].sum((1, 2)) > 0).sum()) == 1


def test_more_objects_than_slots_are_reported():
    video = clip((RED, (1, 1), (0, 0)), (BLUE, (14, 13), (0, 0)), (GREEN, (1, 14), (0, 0)))
    seen = ThresholdSegmenter(3)(video)
    assert seen.left_out.tolist() == [[1, 1, 1, 1]]


def test_median_background_may_have_a_pattern():
    video = clip((RED, (1, 2), (6, 0)), frames=4, side=4)
    stripes = torch.zeros(24)
    stripes[::2] = 0.3
    video = torch.where(
        (video - torch.tensor(GREY).view(3, 1, 1)).abs().amax(2, keepdim=True) > 0, video, video + stripes
    )
    seen = ThresholdSegmenter(2, median=True)(video)
    assert seen.masks[0, :, 1].sum((1, 2)).tolist() == [16] * 4


def test_bad_input_is_one_clear_line():
    with pytest.raises(ConfigError, match="slots"):
        ThresholdSegmenter(1)
    with pytest.raises(ShapeError, match="B, T, 3"):
        ThresholdSegmenter()(torch.zeros(2, 3, 8, 8))
