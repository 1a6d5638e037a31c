from __future__ import annotations

import pytest
import torch

from mien.core.errors import ShapeError
from mien.methods.phycine.iodine import Iodine
from mien.methods.phycine.perception import Percepts, check_video
from mien.methods.phycine.slots import SlotVideo
from mien.methods.phycine.threshold import ThresholdSegmenter


@pytest.mark.parametrize(
    "perception",
    [
        SlotVideo(16, 3, 4, 8),
        SlotVideo(16, 3, 4, 8, carried=True),
        SlotVideo(16, 3, 4, 8, learned=False),
        Iodine(16, 3, 4, 8),
        Iodine(16, 3, 4, 8, rounds=1, small=False),
        ThresholdSegmenter(3),
    ],
    ids=["alone", "carried", "random", "iodine", "published decoder", "threshold"],
)
def test_every_perception_has_one_interface(perception):
    video = torch.rand(2, 3, 3, 16, 16)
    with torch.no_grad():
        seen = perception(video)
    assert seen.masks.shape == (2, 3, 3, 16, 16)
    assert seen.slots.shape[:3] == (2, 3, 3)
    assert seen.recon.shape == video.shape
    torch.testing.assert_close(seen.masks.sum(2), torch.ones(2, 3, 16, 16))
    for bad in (video[0], video[:, :, :2]):
        with pytest.raises(ShapeError, match="video"):
            perception(bad)


@pytest.mark.parametrize("perception", [SlotVideo(16, 3, 4, 8), Iodine(16, 3, 4, 8)])
def test_frames_of_another_size_are_refused(perception):
    with pytest.raises(ShapeError, match="16 x 16 pixels, got 8 x 20"):
        perception(torch.zeros(1, 1, 3, 8, 20))


def test_slots_of_each_frame_can_be_reordered():
    masks = torch.arange(6.0).view(1, 2, 3, 1, 1)
    slots = torch.arange(12.0).view(1, 2, 3, 2)
    moved = Percepts(masks, slots, torch.zeros(1, 2, 3, 1, 1)).reordered(
        torch.tensor([[[2, 0, 1], [0, 1, 2]]])
    )
    assert moved.masks.flatten().tolist() == [2, 0, 1, 3, 4, 5]
    assert moved.slots[0, 0, 0].tolist() == [4, 5]


def test_an_empty_video_is_refused():
    with pytest.raises(ShapeError, match="not empty"):
        check_video(torch.zeros(0, 1, 3, 8, 8))
