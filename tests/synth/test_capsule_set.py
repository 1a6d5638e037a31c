"""Made sets of heads for capsules: conventions, packing, determinism."""

import io

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.capsule_set import PARTS, Heads3d, ParamHeadSet, packed, unpacked
from mien.synth.made_sets import made_set
from mien.synth.param_heads import focal_pixels, param_view


@pytest.fixture(scope="module")
def person():
    return list(Heads3d(1, 2, 48).views(0))


def test_rendered_heads_hold_coherent_truth(person):
    for seen in person:
        here = seen.depth > 0
        assert np.array_equal(here, seen.part > 0)
        assert 0.88 < seen.depth[here].min() < 0.96
        assert {PARTS[k] for k in np.unique(seen.part)} >= {"background", "skin", "nose", "mouth", "eyes"}
        assert np.rad2deg(np.abs(seen.view[:2])).max() <= 40
        eyes, mouth = seen.landmarks[:2], seen.landmarks[3:]
        assert eyes[0, 0] < eyes[1, 0]
        assert eyes[:, 1].max() < mouth[:, 1].min()
    assert not np.array_equal(person[0].view, person[1].view)


def test_normals_point_into_the_head_in_the_camera_of_capsules(person):
    seen, size = person[0], 48
    skin = (seen.part == PARTS.index("skin")) & (seen.normal[..., 2] > 0.5)
    at = (np.arange(size) - (size - 1) / 2) / focal_pixels(size)
    points = seen.depth[..., None] * np.stack([*np.meshgrid(at, at), np.ones((size, size))], -1)
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
    angle = np.degrees(np.arccos(np.clip((normal * seen.normal).sum(-1)[skin], -1, 1)))
    assert np.median(angle) < 8


def test_a_face_that_turns_to_positive_yaw_moves_its_nose_by_the_view(person):
    """R maps the face's own direction (0, 0, -1) to (-sin yaw cos pitch, sin pitch, ..)."""
    for seen in person:
        pitch, yaw = seen.view[:2]
        nose = seen.landmarks[2] - seen.landmarks[:2].mean(0)
        if abs(yaw) > 0.1:
            assert np.sign(nose[0]) == np.sign(-np.sin(yaw) * np.cos(pitch))


def test_light_comes_from_the_side_it_says():
    rows = [*Heads3d(2, 4, 32).views(1)]
    both = []
    for seen in rows:
        face = np.isin(seen.part, (1, 4))
        ratio = (seen.image.mean(-1) / 255) / np.maximum(seen.albedo.mean(-1), 0.1)
        turn = np.array([[np.cos(seen.view[1]), 0, np.sin(seen.view[1])]])
        tilt = (turn @ seen.light[2:])[0]
        bend = np.corrcoef(ratio[face], seen.normal[face][:, 0])[0, 1]
        both.append((tilt, bend))
    tilt, bend = np.array(both).T
    assert np.corrcoef(tilt, bend)[0, 1] > 0.5


def test_packing_keeps_what_it_says():
    seen = param_view(0, 0, 0, 24)
    back = unpacked(packed(seen))
    assert np.array_equal(back.image, seen.image)
    assert np.array_equal(back.depth > 0, seen.depth > 0)
    assert np.abs(back.depth - seen.depth).max() < 1e-4
    assert np.abs(back.normal - seen.normal).max() < 0.005
    assert np.abs(back.albedo - seen.albedo).max() < 0.003


def test_samples_are_a_function_of_settings_and_number():
    settings = ParamHeadSet(4, 2, 24)
    first, again = (next(settings.samples(2)).files for _ in range(2))
    assert first == again
    with np.load(io.BytesIO(first["npz"]), allow_pickle=False) as table:
        assert table["depth"].shape == (2, 24, 24)
    assert next(ParamHeadSet(4, 2, 24, first=2).samples(0)).files == first
    assert made_set("heads3d") is Heads3d
    with pytest.raises(ConfigError, match="yaw=90"):
        Heads3d(yaw=90)
