from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import ConfigError, DataError
from mien.data.face_detector import NOBODY, FoundFace
from mien.methods.otavatar import crops as module
from mien.methods.otavatar.config import PredictOptions
from mien.methods.otavatar.crops import look_at
from mien.methods.otavatar.portrait import FACE_SIDE, matte, silhouette
from mien.render.alignment import TEMPLATE
from tests.methods.otavatar.avatars import person


def seen(*pictures, **options):
    return look_at(list(pictures), PredictOptions(**options), 32)


@pytest.fixture
def found(monkeypatch):
    """What a detector says."""
    answers = []
    monkeypatch.setattr(module, "find_faces", lambda pictures: [answers.pop(0) for _ in pictures])
    return answers


def face(count=1, points=TEMPLATE):
    return FoundFace(count, np.array([40.0, 40.0, 60.0, 60.0]), points)


def test_without_a_box_the_middle_square_is_taken():
    wide = np.pad(person(64), ((0, 0), (20, 20), (0, 0)))
    crops = seen(wide, mask="none")
    assert crops.status == "ok"
    assert np.array_equal(crops.pictures[0][:, 1:-1], seen(person(64), mask="none").pictures[0][:, 1:-1])
    assert crops.masks is None
    assert np.array_equal(crops.source, crops.pictures[0])


def test_a_box_is_enlarged_to_head_and_shoulders():
    wide = np.pad(person(64), ((40, 40), (40, 40), (0, 0)), constant_values=255)
    height = 64 / FACE_SIDE
    top = 40 + 32 + 0.18 * height - height / 2
    box = tuple(round(v) for v in (72 - height / 2, top, 72 + height / 2, top + height))
    crops = seen(wide, box=box, mask="none")
    inside = np.abs(crops.pictures[0].astype(int) - seen(person(64), mask="none").pictures[0])
    assert inside.mean() < 12
    with pytest.raises(DataError, match="outside of the picture"):
        seen(wide, box=(900, 900, 950, 950))


def test_the_detectors_answers(found):
    picture = np.pad(person(100), ((0, 0), (0, 0), (0, 0)))
    turned = TEMPLATE + np.array([[0, 0], [0, 0], [40, 0], [0, 0], [0, 0]])
    for answer, status in (
        (NOBODY, "no_face"),
        (face(2), "several_faces"),
        (face(points=turned), "profile"),
        (face(), "ok"),
    ):
        found.append(answer)
        crops = seen(picture, detector="mediapipe")
        assert crops.status == status
        assert len(crops.pictures) == (status == "ok")
    found.append(NOBODY)
    assert seen(picture, detector="mediapipe", box=(40, 40, 60, 60)).status == "ok"  # a box needs no detector


def test_flat_and_small_pictures():
    assert seen(np.full((64, 64, 3), 90, np.uint8)).status == "no_face"
    assert seen(person(15)).status == "too_small"
    assert seen(person(16)).status == "ok"
    assert seen(person(64), box=(20, 20, 26, 26)).status == "too_small"
    assert seen(person(), person(12)).status == "too_small"
    assert seen(person(3000)).pictures[0].shape == (32, 32, 3)


def test_masks(tmp_path):
    dark = np.zeros((64, 64, 3), np.uint8)
    dark[16:48, 16:48] = person(32)
    crops = seen(dark, mask="ellipse")
    assert np.array_equal(crops.masks[0], silhouette(32))
    assert np.array_equal(seen(dark).masks[0], matte(crops.pictures[0]))
    assert (crops.source[0, 0] == 255).all()
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    own = seen(dark, mask=str(tmp_path / "m.png"))
    assert own.masks[0][:, :15].min() == 1
    assert own.masks[0][:, 17:].max() == 0
    assert (own.source[:, 17:] == 255).all()
    with pytest.raises(DataError, match="64 x 64 pixels, the portrait has 50 x 50"):
        seen(person(50), mask=str(tmp_path / "m.png"))
    with pytest.raises(ConfigError, match="one mask, but 2 pictures"):
        seen(dark, dark, mask=str(tmp_path / "m.png"))
