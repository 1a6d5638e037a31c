from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import DataError, ShapeError
from mien.methods.otavatar.measure import (
    axis_depths,
    control_measures,
    leak_ratios,
    likeness,
    motion_measures,
    picture_measures,
    shape_errors,
    view_consistency,
)
from mien.methods.otavatar.rays import box_mask, project
from mien.synth.orbit import orbit_cameras
from mien.synth.star_heads import landmarks, render_stars

PEOPLE, COUNT, SIZE = 2, 3, 48


def truth():
    """Pictures, ray lengths, masks, cameras and projected landmarks of two heads from three sides."""
    rng = np.random.default_rng(0)
    identity = torch.from_numpy(rng.uniform(-1, 1, (PEOPLE, 12)).astype(np.float32)).repeat_interleave(
        COUNT, 0
    )
    expression = torch.zeros(PEOPLE * COUNT, 6)
    cameras = torch.from_numpy(np.tile(orbit_cameras([0.0, 0.2, -0.3]), (PEOPLE, 1)))
    seen = render_stars(identity, expression, cameras, SIZE, ambient=1.0)
    points = project(landmarks(identity, expression), cameras[:, None])[:, 0]
    whole = (seen.rgb.movedim(-1, 1) * 2 - 1, seen.depth, seen.mask.float(), cameras, points)
    return [x.unflatten(0, (PEOPLE, COUNT)) for x in whole]


def test_the_box_of_points_holds_the_centres_within_its_margin():
    points = torch.tensor([[[0.25, 0.5], [0.5, 0.75]]])
    found = box_mask(points, 8, margin=0.0)
    wanted = [[4 <= i < 6 and 2 <= j < 4 for j in range(8)] for i in range(8)]
    assert found.tolist() == [wanted]
    assert box_mask(points, 8, margin=0.07).sum() == 16
    assert box_mask(points + 2, 8).sum() == 0


def test_true_pictures_are_without_error():
    images, _, _, _, points = truth()
    found = picture_measures(images, images, points)
    assert np.isinf(found["psnr"]).all()
    assert found["ssim"] == pytest.approx(1, abs=1e-4)
    assert found["face_l1"].tolist() == found["mouth_l1"].tolist() == [0, 0]
    assert likeness(images, images, lambda x: x.flatten(1)) == pytest.approx(1, abs=1e-5)


def test_worked_errors_of_pictures():
    images, _, _, _, points = truth()
    images = images * 0.5
    moved = images.clone()
    moved[1] += 0.2  # 0.1 of [0, 1]: PSNR 20 dB
    found = picture_measures(moved, images, points)
    assert found["psnr"][1] == pytest.approx(20, abs=1e-3)
    assert found["face_l1"] == pytest.approx([0, 0.1], abs=1e-6)
    assert found["mouth_l1"] == pytest.approx([0, 0.1], abs=1e-6)


def test_an_error_in_the_mouth_counts_more_there():
    images, _, _, _, points = truth()
    moved = images.clone()
    at = (points[0, 0, 62] * SIZE).long()
    moved[0, 0, :, at[1], at[0]] = 1.0
    found = picture_measures(moved, images, points)
    assert found["mouth_l1"][0] > 3 * found["face_l1"][0] > 0
    assert found["mouth_l1"][1] == 0


def test_akd_is_in_pixels_of_64():
    images, _, _, _, points = truth()
    shift = torch.tensor([2.0, 0.0]) / 64

    def net(x):
        return points.flatten(0, 1) + shift

    found = motion_measures(images, points, net)
    assert found["akd"] == pytest.approx(1)  # (|2| + |0|) / 2
    for name, error in found.items():
        assert name == "akd" or error == pytest.approx(0, abs=1e-5)


def test_expression_errors_are_against_the_truth():
    images, _, _, _, points = truth()
    opened = points.clone()
    opened[1, :, 66, 1] += 0.05

    def net(x):
        return opened.flatten(0, 1)

    found = motion_measures(images, points, net)
    assert found["mouth_opening_error"][0] == 0
    assert found["mouth_opening_error"][1] > 0.1
    assert found["smile_width_error"].tolist() == [0, 0]


def test_leak_ratios_equal_their_slow_twin():
    codes = torch.randn(4, 3, 5, dtype=torch.float64)
    found = leak_ratios(codes)
    among = np.mean([float((codes[p, n] - codes[q, n]).square().sum())
                     for n in range(3) for p in range(4) for q in range(4) if p != q])  # fmt: skip
    for p in range(4):
        own = [
            float((codes[p, i] - codes[p, j]).square().sum()) for i in range(3) for j in range(3) if i != j
        ]
        assert found[p] == pytest.approx(np.mean(own) / among)


def test_limits_of_leak_ratios():
    people = torch.randn(200, 1, 8)
    assert leak_ratios(people.expand(-1, 2, -1)).max() == 0
    assert leak_ratios(torch.randn(2000, 2, 8)).mean() == pytest.approx(1, abs=0.05)
    with pytest.raises(DataError, match="equal"):
        leak_ratios(torch.ones(3, 2, 4))
    with pytest.raises(ShapeError, match="P >= 2"):
        leak_ratios(torch.ones(1, 2, 4))


def test_shape_errors_are_means_where_both_see_the_head():
    _, depth, mask, _, _ = truth()
    moved = depth.nan_to_num(posinf=9.0)
    moved[1] += 0.01
    assert shape_errors(moved, depth, mask) == pytest.approx([0, 0.01], abs=1e-5)
    assert shape_errors(moved, depth) == pytest.approx([0, 0.01], abs=1e-5)
    with pytest.raises(DataError, match="no pixel"):
        shape_errors(moved, depth, torch.zeros_like(mask))


def test_depth_along_the_axis_of_a_plane_is_flat():
    camera = torch.from_numpy(orbit_cameras(0.0)).double()
    at = (torch.arange(8, dtype=torch.float64) + 0.5) / 8 - 0.5
    x, y = at / 3.2, at[:, None] / 3.2
    lengths = 2.0 * (1 + x.square() + y.square()).sqrt()
    assert axis_depths(lengths[None], camera).numpy() == pytest.approx(2.0)


def test_true_views_agree_and_a_copied_view_does_not():
    images, depth, mask, cameras, _ = truth()
    true = view_consistency(images, depth.nan_to_num(posinf=3.0), cameras, mask)
    assert true["view_l1"].max() < 0.05
    assert true["view_share"].min() > 0.6
    copied = images[:, :1].expand_as(images).roll(5, -1)
    wrong = view_consistency(copied, depth.nan_to_num(posinf=3.0), cameras, mask)
    assert (wrong["view_l1"] > 2 * true["view_l1"]).all()
    with pytest.raises(ShapeError, match="2 views"):
        view_consistency(images[:, :1], depth[:, :1], cameras[:, :1], mask[:, :1])


def test_worked_measures_of_control():
    found = control_measures([0, 1, 2, 3], [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3], [5, 5, 5, 5]])
    assert found["spearman"] == pytest.approx([1, -1, 0.8, 0])
    assert found["kendall"] == pytest.approx([1, -1, 2 / 3, 0])
    assert found["rising"] == pytest.approx([1, 0, 2 / 3, 0])


def test_what_does_not_fit_is_named():
    images, _, _, _, points = truth()
    with pytest.raises(ShapeError, match="68, 2"):
        picture_measures(images, images, points[:, :, :60])
    with pytest.raises(DataError, match="must rise"):
        control_measures([0, 0, 1], [[0, 1, 2]])
    with pytest.raises(ShapeError, match="sweep"):
        control_measures([0, 1], [[0, 1, 2]])
