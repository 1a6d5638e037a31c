from __future__ import annotations

import json

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.clevrer import Clevrer
from mien.synth.comphy_scene import Event

OBJECTS = [
    {"object_id": 0, "color": "gray", "material": "metal", "shape": "cube"},
    {"object_id": 1, "color": "blue", "material": "rubber", "shape": "sphere"},
]


def told(**changes):
    frames = [
        {
            "frame_id": t,
            "objects": [
                {"object_id": i, "location": [t, i, 0.2], "inside_camera_view": t >= 40 * i} for i in range(2)
            ],
        }
        for t in range(128)
    ]
    frames[5]["objects"].pop()
    return {
        "scene_index": 10000,
        "object_property": OBJECTS,
        "motion_trajectory": frames,
        "collision": [{"object_ids": [0, 1], "frame_id": 77, "location": [0, 0, 0]}],
    } | changes


def put(root, annotation, number=10000):
    folder = root / "annotation_validation" / "annotation_10000-11000"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"annotation_{number}.json").write_text(json.dumps(annotation))


@pytest.fixture
def copy(tmp_path):
    put(tmp_path, told())
    for number in (10000, 10001, 15000):
        path = tmp_path / "videos" / f"video_{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    asked = {"question_id": 0, "question_type": "descriptive", "question": "?", "answer": "3"}
    scene = {"scene_index": 10000, "video_filename": "video_10000.mp4", "questions": [asked]}
    (tmp_path / "validation.json").write_text(json.dumps([scene]))
    return tmp_path


def test_a_copy_is_read(copy):
    found = Clevrer(copy, "validation")
    assert (len(found), found.numbers) == (2, (10000, 10001))
    video = found[0]
    assert video.path == copy / "videos" / "video_10000.mp4"
    assert [t[:3] for t in video.things] == [("gray", "metal", "cube"), ("blue", "rubber", "sphere")]
    assert video.collisions == (Event("collision", (0, 1), 77),)
    assert video.locations.shape == (128, 2, 3)
    assert video.locations[9].tolist() == [[9, 0, 0.2], [9, 1, 0.2]]
    assert np.isnan(video.locations[5, 1]).all()
    assert video.visible.sum(0).tolist() == [128, 88]
    assert video.questions[0]["answer"] == "3"
    assert (found[1].things, found[1].questions, found[1].locations.size) == (None, (), 0)
    assert Clevrer(copy, "test").numbers == (15000,)


def test_what_is_missing_is_named(copy):
    with pytest.raises(DataError, match="no such folder"):
        Clevrer(copy / "nowhere", "train")
    with pytest.raises(DataError, match=r"no video_00000\.mp4 \.\. 09999"):
        Clevrer(copy, "train")
    with pytest.raises(ConfigError, match="split='val'"):
        Clevrer(copy, "val")


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ([], "not an annotation"),
        (told(object_property=None), "no list 'object_property'"),
        (told(object_property=OBJECTS[::-1]), "must list object_id 0, 1, 2"),
        (told(object_property=OBJECTS[:1]), r"motion_trajectory\[0\]: object 1"),
        (told(motion_trajectory=told()["motion_trajectory"][:100]), "has 100 frames, not frame_id 0 .. 127"),
        (told(collision=[{"object_ids": [0, 2], "frame_id": 3}]), r"collision\[0\] needs two of the objects"),
        (told(collision=[{"object_ids": [0, 1]}]), "no proper 'frame_id'"),
    ],
)
def test_annotations_that_cannot_be_are_refused(copy, annotation, message):
    put(copy, annotation)
    with pytest.raises(DataError, match=message):
        Clevrer(copy, "validation")[0]


def test_a_location_must_be_three_numbers(copy):
    wrong = told()
    wrong["motion_trajectory"][3]["objects"][0]["location"] = [0, "x", 0]
    put(copy, wrong)
    with pytest.raises(DataError, match=r"motion_trajectory\[3\]: object 0 at \[0, 'x', 0\]"):
        Clevrer(copy, "validation")[0]
