from __future__ import annotations

import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.ravdess import parse_ravdess, read_ravdess
from tests.data.avatar_fixtures import write_ravdess


def test_a_name_is_the_label():
    clip = parse_ravdess("Actor_12/02-01-06-01-02-01-12.mp4")
    assert clip[1:] == ("video", "speech", "fearful", "normal", "Dogs are sitting by the door", 1, 12)
    assert not clip.is_male
    song = parse_ravdess("01-02-05-02-01-02-03.mp4")
    assert song[1:] == ("audio-video", "song", "angry", "strong", "Kids are talking by the door", 2, 3)
    assert song.is_male


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("01-01-01-01-01-01.mp4", "not named MM-CH-EM-IN-ST-RP-AC"),
        ("01-01-09-01-01-01-01.mp4", r"emotion 09 is not within 01 \.\. 08"),
        ("04-01-01-01-01-01-01.mp4", r"modality 04"),
        ("01-01-01-01-01-01-25.mp4", r"actor 25 is not within 01 \.\. 24"),
        ("01-01-01-02-01-01-01.mp4", "neutral has no strong intensity"),
        ("Actor_02/01-01-02-02-01-01-01.mp4", "in the folder of another"),
    ],
)
def test_names_that_are_wrong(name, said):
    with pytest.raises(DataError, match=said):
        parse_ravdess(name)


@pytest.mark.parametrize("below", ["", "Video_Speech"])
def test_splits_have_no_actor_in_common(tmp_path, below):
    write_ravdess(tmp_path / below)
    write_ravdess(tmp_path / below, modality=2)
    actors = {s: {c.actor for c in read_ravdess(tmp_path, s)} for s in ("train", "dev", "test")}
    assert actors == {"train": set(range(1, 19)), "dev": {19, 20}, "test": {21, 22, 23, 24}}
    assert len(read_ravdess(tmp_path)) == 48
    assert {c.modality for c in read_ravdess(tmp_path, modality="video")} == {"video"}


def test_sets_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"no folders Actor_01 \.\. Actor_24"):
        read_ravdess(tmp_path)
    write_ravdess(tmp_path, [1])
    with pytest.raises(DataError, match="no audio-video clip of test actors"):
        read_ravdess(tmp_path, "test")
    with pytest.raises(ConfigError, match="no split"):
        read_ravdess(tmp_path, "val")
    with pytest.raises(ConfigError, match="no modality 'audio' with pictures"):
        read_ravdess(tmp_path, modality="audio")
