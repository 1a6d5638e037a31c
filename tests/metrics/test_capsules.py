"""Depth masks, normals, landmarks from parts, matched segments, pose, retrieval across views."""

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics import scale_invariant_depth_error
from mien.metrics.capsules import (
    columns_corr,
    comparison_mask,
    eroded_mask,
    landmark_nme,
    landmark_nme_from_parts,
    light_corr,
    mean_angle_deviation,
    part_centroids,
    pose_corr,
    rank_one_across_views,
    seg_iou_matched,
)


def spots(places: np.ndarray, size: int = 24) -> np.ndarray:
    """Maps (n, 1 + K, S, S): K soft spots at places (n, K, 2), background first."""
    grid = np.arange(size)
    x = np.exp(-0.5 * ((grid - places[..., :1]) / 1.5) ** 2)
    y = np.exp(-0.5 * ((grid - places[..., 1:]) / 1.5) ** 2)
    parts = y[..., :, None] * x[..., None, :]
    return np.concatenate([np.full_like(parts[:, :1], 0.1), parts], 1)


def test_worked_side_and_mad_and_the_blindness_to_scale():
    pred, target = torch.tensor([[[1, 1.02, 0.97, 1.05]]]), torch.tensor([[[1.01, 1, 1, 1]]])
    assert float(scale_invariant_depth_error(pred, target)) == pytest.approx(0.0300034, abs=1e-6)
    assert float(scale_invariant_depth_error(1.3 * pred, target)) == pytest.approx(0.0300034, abs=1e-6)
    up, aside = torch.tensor([[[[0, 0, 1.0]]]]), torch.tensor([[[[0.1, 0, 1.0]]]])
    assert float(mean_angle_deviation(up, aside)) == pytest.approx(5.710593, abs=1e-5)
    assert float(mean_angle_deviation(up, 7 * up)) == 0
    assert float(mean_angle_deviation(up, -up)) == pytest.approx(180)


def test_mad_equals_its_slow_twin_within_a_mask():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 5, 6, 3))
    mask = rng.random((2, 5, 6)) > 0.4
    slow = []
    for k in range(2):
        angles = []
        for i in range(5):
            for j in range(6):
                if mask[k, i, j]:
                    cos = a[k, i, j] @ b[k, i, j] / np.linalg.norm(a[k, i, j]) / np.linalg.norm(b[k, i, j])
                    angles.append(np.degrees(np.arccos(cos)))
        slow.append(np.mean(angles))
    fast = mean_angle_deviation(torch.tensor(a), torch.tensor(b), torch.tensor(mask))
    assert np.allclose(fast.numpy(), slow)
    with pytest.raises(DataError, match="mask"):
        mean_angle_deviation(torch.tensor(a), torch.tensor(b), torch.zeros(2, 5, 6))
    with pytest.raises(ShapeError, match=r"\(B, H, W, 3\)"):
        mean_angle_deviation(torch.tensor(a), torch.tensor(b[..., :2]))


def test_masks_lose_one_pixel_and_the_border():
    mask = torch.zeros(1, 7, 7)
    mask[0, 0:5, 2:7] = 1
    eroded = eroded_mask(mask)
    assert eroded.nonzero()[:, 1:].tolist() == [[i, j] for i in (1, 2, 3) for j in (3, 4, 5)]
    other = torch.ones(1, 7, 7)
    other[0, 2, 4] = 0
    assert not comparison_mask(mask, other).any()


def test_worked_nme():
    true = np.array([[30.0, 40], [70, 42], [50, 60], [36, 80], [66, 80]])
    error = np.array([[1, 0], [0, 2], [-1, 1], [2, 0], [0, -1]])
    assert landmark_nme([true + error], [true])[0] == pytest.approx(0.0370248, abs=1e-7)
    true[1] = true[0]
    with pytest.raises(DataError, match="picture 0"):
        landmark_nme([true], [true])


def test_centroids_soft_and_hard():
    maps = np.zeros((1, 3, 4, 5))
    maps[0, 0] = 0.4
    maps[0, 1, 1, 2], maps[0, 1, 3, 4] = 0.9, 0.3
    soft = part_centroids(maps, "soft")
    assert np.allclose(
        soft, [[2 * 0.75 + 4 * 0.25, 2.0, 1 * 0.75 + 3 * 0.25, 1.5]]
    )  # an empty part: the middle
    assert np.allclose(part_centroids(maps, "hard"), [[2, 2, 1, 1.5]])
    assert part_centroids(maps, "hard", background=None).shape == (1, 6)
    with pytest.raises(ConfigError, match="soft, hard"):
        part_centroids(maps, "mean")
    with pytest.raises(ConfigError, match="layers"):
        part_centroids(maps, "soft", 3)


def test_landmarks_that_are_linear_in_the_parts_are_found():
    rng = np.random.default_rng(1)
    places = rng.uniform(7, 17, (30, 3, 2))
    marks = np.stack([places[:, 0], places[:, 1], 0.5 * (places[:, 0] + places[:, 2])], 1)
    marks[:, 1, 0] += 12
    maps = spots(places)
    own = landmark_nme_from_parts(maps[:20], marks[:20], maps[20:], marks[20:])
    constant = np.broadcast_to(maps[:1], maps.shape)
    none = landmark_nme_from_parts(constant[:20], marks[:20], constant[20:], marks[20:])
    assert (own.parts, own.centroid) == (3, "soft")
    assert own.nme < 0.02 < 0.1 < none.nme
    mean = landmark_nme(np.broadcast_to(marks[:20].mean(0), marks[20:].shape), marks[20:])
    assert np.allclose(none.images, mean)  # parts that never move leave the mean


def test_segments_are_matched_on_train_and_scored_on_test():
    rng = np.random.default_rng(2)
    true = rng.integers(0, 4, (6, 8, 8))
    renamed = np.array([0, 3, 1, 2])[true]
    perfect = seg_iou_matched(true[:3], renamed[:3], true[3:], renamed[3:])
    assert perfect.mean == perfect.foreground == 1
    assert perfect.match == {3: 1, 1: 2, 2: 3}
    swapped = seg_iou_matched(true[:3], renamed[:3], true[3:], true[3:])
    assert swapped.mean < 0.2  # names were learnt from the other pictures
    assert swapped.foreground == 1


def test_segments_equal_a_slow_twin():
    rng = np.random.default_rng(3)
    true, pred = rng.integers(0, 3, (4, 9, 9)), rng.integers(0, 4, (4, 9, 9))
    found = seg_iou_matched(true[:2], pred[:2], true[2:], pred[2:])
    for k in (1, 2):
        (own,) = [j for j, i in found.match.items() if i == k]
        a, b = true[2:] == k, pred[2:] == own
        assert found.parts[k - 1] == pytest.approx((a & b).sum() / (a | b).sum())
    front = (true[2:] > 0) & (pred[2:] > 0)
    assert found.foreground == pytest.approx(front.sum() / ((true[2:] > 0) | (pred[2:] > 0)).sum())
    assert found.images.shape == (2,)


def test_two_halves_may_be_one_part():
    true = np.zeros((2, 4, 4), np.int64)
    true[:, 1, :] = 1
    halves = true.copy()
    halves[:, 1, 2:] = 2
    assert seg_iou_matched(true[:1], halves[:1], true[1:], halves[1:]).mean == 0.5
    assert seg_iou_matched(true[:1], halves[:1], true[1:], halves[1:], "many").mean == 1
    with pytest.raises(DataError, match="no true part"):
        seg_iou_matched(0 * true, halves, true, halves)
    with pytest.raises(ShapeError, match="integers"):
        seg_iou_matched(true, halves + 0.5, true, halves)


def test_correlations():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 50, 4))
    slow = [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(4)]
    assert np.allclose(columns_corr(a, b), slow)
    pose = pose_corr(np.c_[a[:, :2], np.zeros(50)], np.c_[-3 * a[:, 0], 2 * a[:, 1] + 1, a[:, 2]])
    assert pose["pitch"] == pytest.approx(-1)
    assert pose["yaw"] == pytest.approx(1)
    assert np.isnan(pose["roll"])
    assert light_corr(np.c_[a, a[:, 0]], np.c_[a, a[:, 0]]) == pytest.approx(
        dict.fromkeys(("ambient", "diffuse", "x", "y"), 1.0)
    )


def test_retrieval_is_told_by_the_difference_of_views():
    who, yaw = np.repeat([0, 1, 2], 2), np.tile([0.0, 40.0], 3)
    right = rank_one_across_views(np.eye(3)[who], who, yaw, (0, 15, 60))
    assert [r.probes for r in right] == [0, 6]
    assert np.isnan(right[0].rank_1)
    assert right[1].rank_1 == 1
    assert right[1].chance == pytest.approx(1 / 3)
    by_view = rank_one_across_views(np.eye(2)[(yaw > 0).astype(int)], who, yaw, (0, 15, 60))
    assert by_view[1].rank_1 == 0  # every score is equal: ties count against
    with pytest.raises(ConfigError, match="rising"):
        rank_one_across_views(np.eye(3)[who], who, yaw, (15, 0))
