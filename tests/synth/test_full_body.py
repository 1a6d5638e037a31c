from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.body import people
from mien.synth.dressed import covered_core, dress
from mien.synth.full_body import make_body, photograph_body, sample_view
from mien.synth.garment import Garment
from mien.synth.landmarks import COCO, PARTS
from mien.synth.poses import KINDS, sample_pose

SHORT = (
    Garment("skirt", (0.5, 0.1, 0.1), length=0.0, flare=0.35, seed=4),
    Garment("shirt", (0.1, 0.5, 0.1), folds=2.0, seed=5),
)
"""As little as an outfit may be."""


@lru_cache(None)
def body(seed):
    return make_body(seed)


@lru_cache(None)
def taken(seed, kind="rest", yaw=0.0, **more):
    return photograph_body(
        body(seed), sample_pose(seed, kind), replace(sample_view(seed, 96, 48, yaw), **more)
    )


def bare(picture):
    """Pixels of skin whose canonical position lies on torso or hips."""
    skin = picture.layer == 1
    return int(covered_core(10 * picture.canon[skin]).sum())


@pytest.mark.parametrize("seed", range(6))
def test_no_picture_shows_torso_or_hips(seed):
    for k, kind in enumerate(KINDS):
        view = sample_view(seed + k, 96, 48)  # any yaw
        if k % 2:
            view = replace(view, focal=35.0, pitch=0.4 * (-1) ** seed)
        picture = photograph_body(body(seed), sample_pose(seed, kind), view, 1)
        assert (picture.layer == 1).sum() > 10
        assert bare(picture) == 0


@pytest.mark.parametrize("yaw", [0.0, 1.6, 3.1])
def test_the_shortest_clothes_show_no_more(yaw):
    short = dress(people(), body(1).dressed.shaped, SHORT)
    for kind in ("walking", "arms"):
        view = sample_view(3, 96, 48, yaw)
        picture = photograph_body(body(1), sample_pose(8, kind), view, 1, short)
        assert (picture.layer == 1).sum() > 50
        assert bare(picture) == 0


def test_same_seed_same_bytes():
    a = photograph_body(make_body(0), sample_pose(0, "rest"), sample_view(0, 96, 48, 0.0))
    b = taken(0)
    for name in vars(a):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


@pytest.mark.parametrize("yaw", [0.0, 2.0])
def test_ground_truth_is_coherent(yaw):
    p = taken(0, "walking", yaw)
    there = p.layer > 0
    assert p.rgb.shape == (96, 48, 3)
    assert p.rgb.dtype == np.uint8
    assert 0.05 < there.mean() < 0.6
    assert np.array_equal(there, p.part > 0)
    assert np.array_equal(there, np.isfinite(p.depth))
    assert p.part.max() <= len(PARTS)
    np.testing.assert_allclose(np.linalg.norm(p.normal[there], axis=1), 1, atol=1e-4)
    assert (p.normal[there & (p.layer < 100)][:, 2] > -1e-6).all()  # orthographic: it faces the camera
    assert not p.normal[~there].any()
    assert (p.alpha[there] > 0).all()
    assert p.alpha[~there].mean() < 0.1
    assert (p.albedo[there] >= 0).all()
    back = np.isfinite(p.depth_back)
    solid = back & there & (p.layer < 100)
    assert (p.depth_back[solid] >= p.depth[solid] - 1e-4).all()
    assert np.mean(p.depth_back[solid] - p.depth[solid]) > 0.03
    np.testing.assert_allclose(np.linalg.norm(p.normal_back[back], axis=1), 1, atol=1e-4)
    assert (p.normal_back[back][:, 2] <= 1e-6).all()


def test_depth_is_that_of_the_posed_mesh():
    """Points of the mesh project to pixels whose depth lies between theirs and the camera."""
    p = taken(0, span=2.0)
    used = np.unique(body(0).dressed.faces)
    x, y, z = p.points[used].T
    i, j = (48 - y * 48).astype(int), (24 + x * 48).astype(int)  # 48 pixels a metre
    inside = (j >= 1) & (j < 47)
    assert inside.mean() > 0.8
    around = np.stack([p.depth[i[inside] + a, j[inside] + b] for a in (-1, 0, 1) for b in (-1, 0, 1)])
    assert (around.min(0) <= -z[inside] + 0.01).mean() > 0.95  # fingers are thinner than a pixel
    front = np.abs(around - (-z[inside])).min(0) < 0.005
    assert 0.3 < front.mean() < 0.9  # about half of the mesh is seen


def test_front_and_back_views_agree():
    """Turned by half a turn, the back view's depth is the front view's hidden side, mirrored."""
    front, back = taken(2, "rest", 0.0), taken(2, "rest", float(np.pi))
    mirrored = back.depth_back[:, ::-1]
    both = np.isfinite(front.depth) & np.isfinite(mirrored) & (front.layer < 100)
    assert both.sum() > 200
    assert np.median(np.abs(front.depth[both] + mirrored[both])) < 0.01


def test_keypoints_and_parts_agree():
    p = taken(0)
    at = dict(zip(COCO, p.keypoints, strict=True))
    for side in ("left", "right"):
        for name, part in (("wrist", ("hand", "lower_arm")), ("knee", ("upper_leg", "lower_leg"))):
            x, y, _ = at[f"{side}_{name}"]
            i, j = int(y), int(x)
            around = set((p.part[i - 2 : i + 3, j - 2 : j + 3] - 1).ravel().tolist())
            assert around & {PARTS.index(f"{side}_{q}") for q in part}, (side, name)
    assert at["left_shoulder"][0] > at["right_shoulder"][0]  # seen from the front, its left is right
    turned = dict(zip(COCO, taken(0, "rest", float(np.pi)).keypoints, strict=True))
    assert turned["left_shoulder"][0] < turned["right_shoulder"][0]
    heights = [at[n][1] for n in ("nose", "left_shoulder", "left_hip", "left_knee", "left_ankle")]
    assert (np.diff(heights) > 0).all()


def test_transforms_pose_the_joints():
    p = taken(1, "walking", 0.7)
    rest = 0.1 * people().joints(body(1).dressed.shaped)
    posed = np.einsum("jab,jb->ja", p.transforms[:, :3, :3], rest) + p.transforms[:, :3, 3]
    np.testing.assert_allclose(posed, p.joints, atol=1e-4)


def test_head_is_that_of_the_portraits():
    from mien.synth.face import CHEAP
    from mien.synth.portraits import make_face

    assert body(3).person.looks == make_face(3, CHEAP).looks


@pytest.mark.parametrize("name", ["height", "width"])
def test_sizes_out_of_range_are_refused(name):
    for size in (15, 4096):
        with pytest.raises(ConfigError, match=rf"{name}={size} is outside \[16, 2048\] pixels"):
            replace(sample_view(0), **{name: size})
