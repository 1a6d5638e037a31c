"""Errors by group of people, on a few tracks of the shipped model's set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.core.config import evolve
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.surveil_images import SurveilImages
from mien.data.surveil_pictures import faces_of_tracks, numbers_of_tracks
from mien.data.surveil_sets import made_set
from mien.engine.zoo import load_folder
from mien.methods.cqil.by_people import errors_by_people
from mien.methods.cqil.task import configs
from mien.synth.surveil_frames import track_frames
from mien.synth.surveil_set import plan


@pytest.fixture(scope="module")
def folder():
    return load_folder("cqil/small")


def drawn(settings, kinds=(0, 0, 1, 7)):
    """Two frames of the first track of a video of each of these labels."""
    videos = {}
    for video in plan(settings):
        videos.setdefault(video.label, []).append(video)
    chosen = [videos[label].pop(0) for label in kinds]
    pictures, rows = [], []
    for n, video in enumerate(chosen):
        number = int(numbers_of_tracks([(video.name, video.numbers[0])])[0])
        for frame in track_frames(video.tracks[0], 2, settings.size):
            pictures.append(frame.picture)
            rows.append((video.label, number, video.subject, frame.number, n))
    label, track, subject, number, place = np.array(rows, np.int64).T
    ones = np.ones(len(rows), np.int64)
    return chosen, SurveilImages(
        np.stack(pictures), label, label == 0, track, subject, ones, ones, number, ones / 2,
        np.array([f"{p}/{k}.jpg" for p, k in zip(place, number, strict=True)]),
    )  # fmt: skip


def test_pictures_and_tracks_have_their_thresholds_and_are_counted_once(folder):
    videos, images = drawn(made_set(configs(folder.recipe)[1]))
    found = errors_by_people(folder, images)
    assert list(found) == ["images", "tracks"]
    assert (found["images"][0].live, found["images"][0].attacks) == (4, 4)
    assert (found["tracks"][0].live, found["tracks"][0].attacks) == (2, 2)
    assert found["images"][0].people == len({v.subject for v in videos[:2]})
    for rates in found.values():
        for attribute in ("sex", "skin", "age"):
            assert sum(r.live for r in rates if r.attribute == attribute) == rates[0].live


def test_a_live_track_shows_who_stands_there_and_an_attack_whom_it_shows(folder):
    settings = made_set(configs(folder.recipe)[1])
    seeds = faces_of_tracks(settings)
    videos = plan(settings)
    assert len(seeds) == sum(len(v.tracks) for v in videos)
    for video in videos[:: len(videos) // 20]:
        for number in numbers_of_tracks([(video.name, k) for k in video.numbers]).tolist():
            if video.label == 0:
                assert seeds[number] == derive(settings.seed, "subject", video.subject)
            else:
                assert seeds[number] == video.tracks[0].shown
    shown = {seeds[int(numbers_of_tracks([(v.name, v.numbers[0])])[0])] for v in videos if v.label}
    assert not shown & {derive(settings.seed, "subject", n) for n in range(1, 102)}


def test_groups_are_known_of_made_people_only(folder):
    with pytest.raises(ConfigError, match=r"groups are known of made people only, not of kind='debug'"):
        errors_by_people(replace(folder, recipe=evolve(folder.recipe, "data.kind", "debug")))
