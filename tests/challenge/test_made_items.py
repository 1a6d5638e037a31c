from __future__ import annotations

import pytest

from mien.challenge import made_items
from mien.core.errors import ConfigError


def test_people_are_drawn_once_and_belong_to_one_split(tmp_path):
    steps = []
    found = made_items(tmp_path / "a", (1, 1, 1), size=32, watch=lambda done, of: steps.append((done, of)))
    assert {split: len(items) for split, items in found.items()} == {"train": 4, "dev": 4, "test": 4}
    tracks = [{i.track.split()[0] for i in items} for items in found.values()]
    assert all(len(t) == 1 for t in tracks)
    assert len(set.union(*tracks)) == 3
    assert steps == [(0, 3), (1, 3), (2, 3)]
    assert all(i.path.is_file() for items in found.values() for i in items)
    assert {i.live for items in found.values() for i in items} == {True, False}


def test_the_same_seed_gives_the_same_pictures(tmp_path):
    one, two = (made_items(tmp_path / n, (1, 1, 1), size=32) for n in "ab")
    assert [i.path.read_bytes() for i in one["test"]] == [i.path.read_bytes() for i in two["test"]]


def test_a_split_without_people_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"dev=0 is outside"):
        made_items(tmp_path, (1, 0, 1))
