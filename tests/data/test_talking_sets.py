"""Talking heads of a config: kinds, splits, pictures drawn once, and drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.data import talking
from mien.data.config import TalkingData
from mien.data.talking import kept_at
from mien.data.talking_sets import identity_numbers, is_drawn, read_talking, redraw
from mien.synth.star_faces import EXPRESSIONS
from mien.synth.star_heads import star_identity, star_set
from mien.synth.talking_set import StarHeadSet, TalkingSet
from tests.data.avatar_fixtures import TRAIN, write_hdtf

FEW = {"people": 2, "val_people": 2, "test_people": 2, "moments": 2, "views": 2, "size": 16, "workers": 1}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    return tmp_path


def test_stars_are_drawn_once_and_are_those_of_the_formulas(home, monkeypatch):
    data = TalkingData("stars", **FEW)
    assert not is_drawn(data)
    found = read_talking(data)
    assert is_drawn(data)
    assert (found.train.names, found.train.images.shape) == (EXPRESSIONS, (2, 2, 2, 16, 16, 4))
    whole = star_set(6, 2, 2, 16)
    for part, first in ((found.train, 0), (found.val, 2), (found.test, 4)):
        own = slice(first, first + 2)
        assert np.array_equal(part.images, whole.images[own])
        assert np.array_equal(part.depth, whole.depth[own])
        assert np.array_equal(part.tracks, whole.tracks[own])
        assert np.array_equal(part.points, whole.points[own])
        assert part.people == whole.people[own]
    monkeypatch.setattr(talking, "make", None)  # nothing is drawn again
    assert read_talking(data).fingerprint == found.fingerprint


def test_drawing_goes_on_where_it_was_cut_off(home, monkeypatch):
    """The people of finished shards are not drawn twice."""
    monkeypatch.setattr(StarHeadSet, "shard_people", 2)
    drawn, draw = [], StarHeadSet.samples

    def cut(self, number):
        drawn.append(number)
        if number == 3 and drawn.count(3) == 1:
            raise KeyboardInterrupt
        return draw(self, number)

    monkeypatch.setattr(StarHeadSet, "samples", cut)
    data = TalkingData("stars", **FEW)
    with pytest.raises(KeyboardInterrupt):
        read_talking(data)
    assert not is_drawn(data)
    found = read_talking(data)
    assert drawn == [0, 1, 2, 3, 2, 3, 4, 5]
    assert np.array_equal(found.test.images, star_set(2, 2, 2, 16, first=4).images)


def test_each_setting_has_its_own_place(home):
    sets = [
        TalkingSet(6, 2, 2, 16),
        StarHeadSet(6, 2, 2, 16),
        StarHeadSet(7, 2, 2, 16),
        StarHeadSet(6, 2, 2, 32),
    ]
    assert len({kept_at(s) for s in sets}) == 4


def test_debug_is_a_few_people_in_memory(home):
    data = TalkingData("debug", **FEW)
    assert is_drawn(data)
    found = read_talking(data)
    assert not list(home.iterdir())
    assert found.val.images.shape == (2, 2, 2, 16, 16, 4)
    assert found.train.strength(0).shape == (2,)
    assert len({*found.train.people, *found.val.people, *found.test.people}) == 6
    with pytest.raises(ConfigError, match="400 pictures at most, not 25728"):
        TalkingData("debug")


def test_hdtf_is_read_from_its_root(tmp_path):
    root = write_hdtf(tmp_path / "set", [TRAIN[0], TRAIN[2], "WRA_Eve_004"])
    data = TalkingData("hdtf", size=16, moments=2, val_people=2, root=str(root), resolution=512)
    assert is_drawn(data)
    found = read_talking(data)
    assert len(found.train.images) + len(found.val.images) == 3
    assert len(set(found.val.people)) == 2
    assert len(found.test.images) == 3
    assert identity_numbers(data, found.train) is None
    with pytest.raises(ConfigError, match="cannot be drawn again"):
        redraw(data, found.test, 0, np.zeros((1, 70)), np.zeros((1, 25)), 16)
    with pytest.raises(ConfigError, match=r"--data\.root DIR"):
        read_talking(TalkingData("hdtf"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "stars", "root": "x"}, "root does not apply"),
        ({"kind": "rendered", "resolution": 512}, "resolution does not apply"),
        ({"kind": "rendered", "backdrop": (0, 0, 0)}, "backdrop does not apply"),
        ({"kind": "hdtf", "people": 10}, "data.people does not apply"),
        ({"kind": "hdtf", "views": 2}, "data.views does not apply"),
    ],
)
def test_fields_of_other_kinds_are_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        TalkingData(**settings)


@pytest.mark.parametrize("kind", ["stars", "debug"])
def test_redrawn_pictures_are_those_of_the_set(home, kind):
    data = TalkingData(kind, **FEW)
    heads = read_talking(data).val
    rows = heads.tracks[1, heads.moments[1]]
    images, points = redraw(data, heads, 1, rows, heads.cameras[1, :, 0], 16)
    assert np.array_equal(images, heads.images[1, :, 0])
    assert np.array_equal(points, heads.points[1])
    large, _ = redraw(data, heads, 1, np.zeros_like(rows[:1]), heads.cameras[1, :1, 1], 24)
    assert large.shape == (1, 24, 24, 4)


def test_numbers_tell_people_apart():
    """Stars: what they are drawn from, of mean 0 and deviation 1 over the people."""
    data = TalkingData("stars", **FEW)
    heads = talking.heads_in_memory(StarHeadSet(6, 2, 1, 16), (4, 1, 1)).train
    numbers = identity_numbers(data, heads)
    assert numbers.shape == (4, 12)
    rows = np.array([star_identity(who) for who in heads.people])
    assert np.allclose(numbers, (rows - rows.mean(0)) / rows.std(0), atol=1e-5)
    assert np.abs(rows).max() <= 1
