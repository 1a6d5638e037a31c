"""Which slots are objects, where a path breaks, and that what is seen is kept as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.data.config import PhysicalData
from mien.data.physical import physical_sets
from mien.methods.phycine import sight
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.perception import Percepts
from mien.methods.phycine.sight import (
    kept_sight,
    linked,
    object_columns,
    perceive,
    see_sets,
    seen_of,
    true_sight,
    unbroken,
)
from mien.methods.phycine.threshold import ThresholdSegmenter
from mien.methods.phycine.tracks import Tracks, match_objects, pixel_places
from mien.synth.comphy_set import VIEW
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES

DATA = PhysicalData(height=48, stride=10, sets=2, val_sets=1, test_sets=1, refs=2)
CPU = torch.device("cpu")


def presence(*shares, frames=8):
    """One clip whose slots are present in the first so many frames: (1, T, K)."""
    return (torch.arange(frames)[:, None] < torch.tensor(shares))[None]


# -- which slots, which frames ------------------------------------------------------------------------------


def test_slots_are_sorted_by_how_often_they_show_something():
    assert object_columns(presence(0, 5, 8, 1, 3)).tolist() == [[2, 1, 4]]  # 1 of 8 is rare
    assert object_columns(presence(0, 0)).tolist() == [[0]]


def test_few_clips_keep_all_their_objects():
    clips = torch.cat([presence(8, 8, 0, 0), presence(8, 8, 8, 0)])
    assert object_columns(clips).shape == (2, 3)


def test_one_clip_in_fifty_may_have_more_objects():
    usual, fuller = presence(8, 8, 0), presence(8, 8, 8)
    assert object_columns(torch.cat([usual] * 49 + [fuller])).shape == (50, 2)
    assert object_columns(torch.cat([usual] * 48 + [fuller] * 2)).shape == (50, 3)
    assert object_columns(torch.cat([usual] * 48 + [fuller])).shape == (49, 3)


def test_no_path_goes_over_a_jump():
    x = torch.tensor([0.0, 0.1, 0.9, 1.0, 1.0, 3.0])
    place = torch.stack([x, torch.zeros(6)], -1).view(1, 6, 1, 2)
    present = torch.tensor([1, 1, 1, 1, 0, 1], dtype=torch.bool).view(1, 6, 1)
    kept = unbroken(place, present)[0, :, 0]
    assert kept.tolist() == [True, True, False, True, False, True]  # it may come back elsewhere


def tracks_of(place, present, look=None):
    zeros = torch.zeros(*present.shape, 3)
    return Tracks(
        place,
        zeros,
        zeros if look is None else look,
        zeros[..., 0],
        present,
        torch.zeros(len(present), dtype=torch.long),
    )


def test_a_look_is_the_mean_while_present():
    present = presence(0, 3, 4, frames=4)
    place = torch.zeros(1, 4, 3, 2)
    place[..., 1, :] = 2.0
    codes = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 3, 1) + torch.tensor([0.0, 10, 20])[:, None]
    seen = seen_of(tracks_of(place, present, codes), codes)
    assert seen.frames == 4
    assert seen.look[0, :, 0].tolist() == [21.5, 11.0]  # slot 2: 20 .. 23; slot 1: 10 .. 12
    assert seen.place[0, 0, :, 0].tolist() == [0, 2]
    assert seen.present[0].sum(0).tolist() == [4, 3]
    short = seen.until(2)
    assert (short.place.shape, short.code.shape) == ((1, 2, 2, 2), (1, 2, 2, 1))
    assert torch.equal(short.look, seen.look)
    assert len(seen.clips(slice(0, 0)).look) == 0


# -- made clips ---------------------------------------------------------------------------------------------


def test_the_oracle_sees_the_truth():
    clips = [c for s in physical_sets(DATA, "train") for c in s.clips]
    seen = true_sight(clips, 5)
    for b, clip in enumerate(clips):
        own = len(clip.things)
        assert np.array_equal(seen.present[b, :, :own], clip.visible[:5])
        assert seen.place[b, :, :own].numpy() == pytest.approx(clip.place[:5], abs=1e-6)
        assert not seen.present[b, :, own:].any()
        first = clip.things[0]
        on = [first.color, first.material, first.shape]
        words = [w for w, x in zip((*COLOURS, *MATERIALS, *SHAPES), seen.look[b, 0], strict=True) if x]
        assert words == on


def test_objects_are_found_where_they_are(monkeypatch):
    clips = [r for s in physical_sets(DATA, "train") for r in s.references]
    seen = perceive(ThresholdSegmenter(6), clips, 5, CPU)
    truth = true_sight(clips, 5)
    found = match_objects(seen.place, seen.present, truth.place, truth.present)
    assert float((found.slot >= 0)[truth.present.any(1)].float().mean()) > 0.9
    assert float(found.error.nanmedian()) < 0.05
    monkeypatch.setattr(sight, "FRAMES", 5)  # one clip at a time
    again = perceive(ThresholdSegmenter(6), clips, 5, CPU)
    assert torch.equal(again.place, seen.place)
    assert torch.equal(again.look, seen.look)


class Merging(torch.nn.Module):
    """Two discs that pass each other closely; in frames 9 and 10 one slot takes both."""

    def forward(self, video):
        red, blue = (video[:, :, c] > 0.5 for c in (0, 2))
        red, blue = red.clone(), blue.clone()
        red[:, 9:11] |= blue[:, 9:11]
        blue[:, 9:11] = False
        masks = torch.stack([~(red | blue), red, blue], 2).float()
        return Percepts(masks, torch.zeros(*masks.shape[:3], 4), video)


def test_a_slot_that_takes_two_objects_has_no_place_meanwhile():
    at = pixel_places(48, 72, VIEW)
    path = torch.stack([torch.linspace(-1.2, 1.2, 20), torch.full((20,), 0.17)], 1)
    true = torch.stack([path, -path], 1)[None]  # (1, T, 2, 2)
    discs = (true[..., None, None, :] - at).norm(dim=-1) < 0.16
    video = torch.stack([discs[:, :, 0], torch.zeros_like(discs[:, :, 0]), discs[:, :, 1]], 2).float()
    _, tracks = linked(Merging(), video)
    far = (tracks.place[:, :, 1:] - true).norm(dim=-1)
    assert far[tracks.present[..., 1:]].max() < 0.05
    assert not tracks.present[0, 9:11, 1:].any()
    assert tracks.present[0, :9, 1:].all()
    assert tracks.present[0, 11:, 1:].all()


def test_sets_must_be_alike():
    sets = physical_sets(DATA, "train")
    fewer = replace(sets[1], references=sets[1].references[:1])
    shorter = replace(sets[1], target=replace(sets[1].target, place=sets[1].target.place[:5]))
    for odd in (fewer, shorter):
        with pytest.raises(DataError, match=r"of one length, and each set must have as many references"):
            see_sets(torch.nn.Identity(), PhycineConfig(sight="true"), [sets[0], odd], CPU)


# -- what is kept -------------------------------------------------------------------------------------------


class Marked(torch.nn.Module):
    """A segmenter with a weight."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))
        self.look = ThresholdSegmenter(6)

    def forward(self, video):
        return self.look(video)


def test_what_is_seen_is_kept_and_read_again(home, monkeypatch):
    config, small = PhycineConfig(), replace(DATA, height=16, sets=1, refs=1)
    sets = physical_sets(small, "train")
    calls = []
    see = sight.see_sets
    monkeypatch.setattr(sight, "see_sets", lambda *given: calls.append(1) or see(*given))
    first = kept_sight(Marked(1.0), config, small, "train", sets)
    again = kept_sight(Marked(1.0), config, small, "train", sets)
    assert (len(calls), len(list((home / "sights").iterdir()))) == (1, 1)
    assert first.refs == again.refs == 1
    for part in ("targets", "references"):
        for name in ("place", "present", "look", "code"):
            a, b = (getattr(getattr(seen, part), name) for seen in (first, again))
            assert torch.equal(a, b)
            assert a.dtype == b.dtype
    fresh = see(Marked(1.0), config, sets, CPU)
    assert torch.equal(fresh.targets.place, again.targets.place)
    kept_sight(Marked(2.0), config, small, "train", sets)
    kept_sight(Marked(1.0), config, small, "val", sets)
    kept_sight(Marked(1.0), config, replace(small, background="textured"), "train", sets)
    kept_sight(Marked(1.0), replace(config, iterations=9), small, "train", sets)
    assert len(calls) == 5


def test_the_oracle_and_debug_sets_are_not_kept(home):
    small = replace(DATA, height=16, sets=1, refs=1)
    sets = physical_sets(small, "train")
    kept_sight(torch.nn.Identity(), PhycineConfig(sight="true"), small, "train", sets)
    kept_sight(Marked(1.0), PhycineConfig(), replace(small, kind="debug"), "train", sets)
    assert not (home / "sights").exists()
