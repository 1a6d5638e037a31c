"""The rendered set: disjoint people and devices, crops, and drawing once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.pad_images import MODALITIES
from mien.data.rendered_pad import EQUAL_PARTS, PadPlan, crop_face, is_drawn, presentations, rendered_pad


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


TINY = PadPlan(subjects=(2, 1, 1), each=(4, 4, 4), devices=(2, 1, 1), size=32)


def test_people_and_devices_of_the_splits_are_disjoint(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(home))
    assert not is_drawn(TINY)
    splits = rendered_pad(TINY, workers=1)
    assert is_drawn(TINY)
    people = [set(s.labels.subjects) for s in (splits.train, splits.dev, splits.test)]
    devices = [set(s.labels.devices) for s in (splits.train, splits.dev, splits.test)]
    for sets in (people, devices):
        assert not (sets[0] & sets[1])
        assert not (sets[0] & sets[2])
        assert not (sets[1] & sets[2])
    seen = splits.get("seen").labels
    assert set(seen.subjects) == people[2]
    assert set(seen.devices) <= devices[0]
    more = presentations(TINY.further(2), TINY.size, 1).labels
    assert len(set(more.subjects)) == 2
    assert not set(more.subjects) & set.union(*people)
    assert set(more.devices) == devices[2]
    labels = [*(s.labels for s in (splits.train, splits.dev, splits.test)), more]
    keys = np.concatenate([x.keys for x in labels])
    assert len(np.unique(keys)) == len(keys)


def test_the_three_pictures_of_a_sample_differ(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(home))
    splits = rendered_pad(TINY, workers=1)
    assert splits.train.modalities == MODALITIES
    assert len(splits.train) == 8
    for i in range(len(splits.train)):
        rgb, depth, ir = (splits.train.pictures(m, [i])[0].astype(float) for m in MODALITIES)
        assert rgb.shape == (32, 32, 3)
        assert depth.shape == ir.shape == (32, 32, 1)
        grey = rgb.mean(-1, keepdims=True)
        assert np.abs(grey - ir).mean() > 5
        assert np.abs(grey - depth).mean() > 5
        assert np.abs(ir - depth).mean() > 5


def test_it_is_drawn_once_and_alike(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIEN_HOME", str(home))
    first = rendered_pad(TINY, workers=1)
    calls: list[int] = []
    again = rendered_pad(TINY, done=lambda n, of: calls.append(n))
    assert again.fingerprint == first.fingerprint
    assert not calls
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    elsewhere = rendered_pad(TINY, workers=1)
    assert elsewhere.fingerprint == first.fingerprint
    for m in MODALITIES:
        assert np.array_equal(elsewhere.test.pictures(m, range(4)), first.test.pictures(m, range(4)))
    other = rendered_pad(replace(TINY, seed=1), workers=1)
    assert other.fingerprint != first.fingerprint


def test_prints_screens_and_masks_are_equal_parts() -> None:
    kinds = [name.split("_")[0] for name in EQUAL_PARTS]
    assert {k: kinds.count(k) for k in set(kinds)} == {"print": 15, "replay": 15, "mask": 15}


def test_a_crop_is_square_and_slides_into_the_picture() -> None:
    picture = np.zeros((40, 40), np.uint8)
    picture[30:, :] = 200  # the box reaches below the picture once it is enlarged
    out = crop_face(picture, (10, 20, 20, 40), 20, scale=1.5)
    assert out.shape == (20, 20)  # side 30: rows 10 .. 40
    assert (out[:13] == 0).all()
    assert (out[14:] == 200).all()


def test_a_crop_is_never_larger_than_the_picture() -> None:
    picture = np.arange(20 * 30, dtype=np.uint16).astype(np.uint8).reshape(20, 30)
    assert crop_face(picture, (0, 0, 30, 20), 10, scale=3.0).shape == (10, 10)
