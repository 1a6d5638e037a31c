from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import ShapeError
from mien.methods.phycine.perception import Percepts
from mien.methods.phycine.tracks import (
    Tracks,
    assign,
    find_background,
    is_whole,
    last_seen,
    match_objects,
    object_tracks,
    pixel_places,
    relink,
)
from mien.synth import PhysWorld, render_clip
from mien.synth.phys_world import Objects, Trajectory


def test_pixels_lie_x_right_and_y_up():
    places = pixel_places(2, 4, 1.4)
    assert places[0, :, 0].tolist() == pytest.approx([-2.1, -0.7, 0.7, 2.1])
    assert places[:, 0, 1].tolist() == pytest.approx([0.7, -0.7])


def test_a_rendered_object_is_found_where_it_is():
    clip = PhysWorld(n_objects=1, speed=0.0).simulate(1, 1)
    drawn = render_clip(clip, (48, 72))
    masks = torch.stack([torch.tensor(drawn.segmentation == k).float() for k in (0, 1)], 2)
    video = torch.tensor(drawn.frames).permute(0, 1, 4, 2, 3) / 255
    tracks = object_tracks(Percepts(masks, torch.zeros(1, 1, 2, 1), video), video, half=2.4)
    assert tracks.place[0, 0, 1].numpy() == pytest.approx(clip.x[0, 0, 0], abs=0.03)


def test_a_slot_that_shows_a_part_of_an_object_grows_to_the_whole():
    clip = PhysWorld(n_objects=1, radius=0.4, speed=0.0, seed=1).simulate(1, 1)
    drawn = render_clip(clip, (48, 72), half=1.9)
    body = torch.tensor(drawn.segmentation == 1).float()[:, :, None]
    row = int(body[0, 0, 0].amax(1).nonzero()[0])
    part = body.clone()
    part[..., row + 3 :, :] = 0  # its upper edge
    masks = torch.cat([1 - part, part], 2)
    video = torch.tensor(drawn.frames).permute(0, 1, 4, 2, 3) / 255
    tracks = object_tracks(Percepts(masks, torch.zeros(1, 1, 2, 1), video), video, half=1.9)
    assert tracks.place[0, 0, 1].numpy() == pytest.approx(clip.x[0, 0, 0], abs=0.02)


def scene():
    """One clip, two frames of 8 x 12: slot 0 a red block, slot 1 the background, slot 2 gone in frame 1."""
    masks = torch.zeros(1, 2, 3, 8, 12)
    masks[0, :, 0, 2:4, 8:10] = 1
    masks[0, 0, 2, 4:6, 2:4] = 1
    masks[0, :, 1] = 1 - masks[0, :, 0] - masks[0, :, 2]
    video = torch.zeros(1, 2, 3, 8, 12)
    video[0, :, 0] = masks[0, :, 0]
    video[0, :, 1] = masks[0, :, 2]
    return Percepts(masks, torch.zeros(1, 2, 3, 4), video), video


def test_tracks_of_a_made_clip():
    percepts, video = scene()
    tracks = object_tracks(percepts, video, half=2.0)
    assert tracks.background.tolist() == [1] == find_background(percepts.masks).tolist()
    assert tracks.present[0].tolist() == [[True, False, True], [True, False, False]]
    assert tracks.place[0, 0, 0].tolist() == pytest.approx([1.5, 0.5])
    assert tracks.colour[0, 0, 0].tolist() == pytest.approx([1, 0, 0])
    assert tracks.area[0, 0, 0].item() == pytest.approx(1.0)
    assert tracks.place[0, 1, 2].tolist() == pytest.approx([-1.5, -0.5])  # where it was last seen


def test_two_slots_on_one_body_are_one_object():
    percepts, video = scene()
    masks = percepts.masks.clone()
    masks[:, :, 2], masks[:, :, 0] = 0, 0
    masks[:, :, 2, 2, 7:10], masks[:, :, 0, 3:5, 7:10] = 1, 1  # two parts of a block of nine pixels
    video[:, :, 0] = masks[:, :, 0] + masks[:, :, 2]
    masks[:, :, 1] = 1 - masks[:, :, 0] - masks[:, :, 2]
    video[:, :, 1] = 0
    tracks = object_tracks(percepts._replace(masks=masks), video, half=2.0, min_pixels=1)
    assert tracks.present[0].sum(1).tolist() == [1, 1]
    assert tracks.place[0, 0][tracks.present[0, 0]][0].tolist() == pytest.approx([1.25, 0.25])


def test_a_slot_that_shows_more_or_less_than_its_object_has_no_place():
    """Loop over frames: against the median of those around."""
    torch.manual_seed(0)
    area = 1 + 0.1 * torch.rand(1, 40, 2)
    area[0, 5:8, 0], area[0, 30, 1] = 2.0, 0.5
    area[..., 1] *= torch.linspace(1, 3, 40)  # it comes nearer
    present = torch.ones(1, 40, 2, dtype=torch.bool)
    present[0, 12:20, 0] = False
    found = is_whole(area, present)
    for t, k in itertools.product(range(40), range(2)):
        near = [area[0, s, k].item() for s in range(max(0, t - 12), min(40, t + 13)) if present[0, s, k]]
        usual = sorted(near)[(len(near) - 1) // 2]
        good = bool(present[0, t, k]) and abs(area[0, t, k].item() / usual - 1) < 0.2
        assert bool(found[0, t, k]) == good, (t, k)
    assert not found[0, 5:8, 0].any()
    assert found[0, :5, 0].all()
    assert found[0, 8:12, 0].all()
    assert not found[0, 30, 1]


def test_what_looks_like_the_background_or_is_cut_off_is_no_object():
    percepts, video = scene()
    same = object_tracks(percepts, torch.zeros_like(video), half=2.0)
    assert not same.present.any()
    cut = torch.roll(percepts.masks, 2, 4), torch.roll(video, 2, 4)  # the red block at the right edge
    tracks = object_tracks(percepts._replace(masks=cut[0]), cut[1], half=2.0)
    assert tracks.present[0].tolist() == [[False, False, True], [False, False, False]]


def test_last_seen_holds_values():
    present = torch.tensor([False, True, False, True])[None, :, None]
    values = torch.tensor([9.0, 1, 9, 2])[None, :, None]
    assert last_seen(values, present).flatten().tolist() == [0, 1, 1, 2]


def test_assign_leaves_dear_pairs_out():
    assert assign(np.array([[0.1, 0.2], [0.2, 5.0]]), 1.0) == [(0, 1), (1, 0)]
    assert assign(np.array([[5.0, 5.0]]), 1.0) == []
    assert assign(np.zeros((0, 3)), 1.0) == []


def moving(frames=6):
    """Three objects on straight lines; slot 3 is the background."""
    t = torch.arange(frames)[:, None, None] * 0.1
    start = torch.tensor([[-1.0, 0], [1, 0.1], [0, 1]])
    speed = torch.tensor([[3.0, 0], [-3, 0], [0, -1]])
    place = torch.cat([start + t * speed, torch.zeros(frames, 1, 2)], 1)[None]
    colour = torch.eye(4)[:, :3].expand(1, frames, 4, 3).clone()
    present = torch.tensor([True, True, True, False]).expand(1, frames, 4).clone()
    return Tracks(place, colour, colour, torch.ones(1, frames, 4), present, torch.tensor([3]))


@pytest.mark.parametrize("coloured", [True, False])
def test_relink_undoes_swaps(coloured):
    tracks = moving()
    if not coloured:
        tracks = replace(tracks, colour=torch.zeros_like(tracks.colour))  # by place and speed alone
    orders = torch.tensor(
        [[0, 1, 2, 3], [1, 0, 2, 3], [2, 1, 0, 3], [0, 2, 1, 3], [1, 2, 0, 3], [2, 0, 1, 3]]
    )
    swapped = tracks.reordered(orders[None])
    assert not torch.equal(swapped.place, tracks.place)
    again = relink(swapped)
    torch.testing.assert_close(again.place, tracks.place)
    torch.testing.assert_close(again.colour, tracks.colour)


def test_relink_keeps_a_slot_for_who_comes_back():
    tracks = moving()
    present = tracks.present.clone()
    present[0, 2:4, 2] = False
    again = relink(replace(tracks, present=present))
    torch.testing.assert_close(again.present, present)
    assert again.place[0, 3, 2].tolist() == pytest.approx(tracks.place[0, 1, 2].tolist())


def test_a_new_object_never_takes_the_slot_of_the_background():
    tracks = moving().reordered(torch.tensor([3, 0, 1, 2]).expand(1, 6, 4))  # the background is slot 0
    tracks = replace(tracks, background=torch.tensor([0]))
    tracks.present[0, :3, 3] = False
    order = torch.tensor([[0, 1, 2, 3]] * 3 + [[0, 3, 1, 2]] * 3)[None]
    again = relink(tracks.reordered(order))
    assert torch.equal(again.present, tracks.present)
    torch.testing.assert_close(again.place[again.present], tracks.place[tracks.present])
    assert not bool(again.present[:, :, 0].any())


def test_matching_is_over_the_whole_clip():
    tracks = moving()
    true = tracks.place[:, :, [2, 0, 1]] + torch.tensor([0.03, 0.04])
    visible = torch.ones(1, 6, 3, dtype=torch.bool)
    visible[0, 4:, 1] = False
    found = match_objects(tracks.place, tracks.present, true, visible)
    assert found.slot.tolist() == [[2, 0, 1]]
    torch.testing.assert_close(found.error[visible], torch.full((16,), 0.05))
    assert bool(found.error[~visible].isnan().all())


def test_an_object_without_a_slot_is_unmatched():
    tracks = moving()
    tracks.present[0, :, 1] = False
    true = tracks.place[:, :, :3]
    found = match_objects(tracks.place, tracks.present, true, torch.ones(1, 6, 3, dtype=torch.bool))
    assert found.slot.tolist() == [[0, -1, 2]]
    assert bool(found.error[0, :, 1].isnan().all())


def test_bad_input_is_one_clear_line():
    percepts, video = scene()
    with pytest.raises(ShapeError, match="masks"):
        object_tracks(percepts, video[..., :4])
    with pytest.raises(ShapeError, match="visible"):
        match_objects(
            moving().place, moving().present, torch.zeros(1, 6, 3), torch.ones(1, 6, 3, dtype=torch.bool)
        )


def test_looks_tell_shapes_and_materials_apart():
    """Fourfold moment of discs, diamonds and squares as drawn: about 0, above, below; metal is uneven."""
    found = {}
    for shape, material in itertools.product(range(3), range(2)):
        one = Objects(*(np.full((1, 1), v) for v in (1.0, 0.0, 0.4, 1, material, shape)))
        clip = Trajectory(
            np.zeros((1, 1, 1, 2)), np.zeros((1, 1, 1, 2)), one, np.zeros((1, 1, 1, 1), bool), 0.1
        )
        drawn = render_clip(clip, (96, 144), 1.9)
        masks = torch.stack([torch.tensor(drawn.segmentation == k).float() for k in (0, 1)], 2)
        video = torch.tensor(drawn.frames).permute(0, 1, 4, 2, 3) / 255
        tracks = object_tracks(Percepts(masks, torch.zeros(1, 1, 2, 1), video), video, half=1.9)
        found[shape, material] = tracks.look[0, 0, 1]
    metal, rubber = 0, 1
    for material in (metal, rubber):
        disc, diamond, square = (float(found[shape, material][6]) for shape in range(3))
        assert square < -0.15 < disc < 0.05 < 0.15 < diamond
    assert all(found[s, metal][3:6].mean() > found[s, rubber][3:6].mean() + 0.02 for s in range(3))
