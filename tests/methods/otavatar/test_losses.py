from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.otavatar.losses import (
    LEFT_EYE,
    MOUTH,
    RIGHT_EYE,
    Region,
    crops,
    density_variation_loss,
    edge_features,
    gram,
    identity_loss,
    local_loss,
    monotone_density_loss,
    norm_hinge,
    perceptual_loss,
    pixel_loss,
    region_boxes,
    regulariser_points,
)


def pictures(side=16, count=2, seed=0):
    torch.manual_seed(seed)
    return [torch.rand(count, 3, side, side, dtype=torch.float64) * 2 - 1 for _ in range(2)]


def test_pixel_loss_equals_its_loop():
    pred, target = (3 * v for v in pictures(4))
    total = 0.0
    for index in np.ndindex(*pred.shape):
        d = abs(float(pred[index] - target[index]))
        total += d * d / 2 if d < 1 else d - 0.5
    assert pixel_loss(pred, target).item() == pytest.approx(total / pred.numel())


def face(count=1, side=64):
    """68 points, of which mouth and eyes fill known boxes."""
    points = torch.full((count, 68, 2), side / 2)
    boxes = ((MOUTH, (24, 40, 40, 48)), (RIGHT_EYE, (16, 20, 26, 24)), (LEFT_EYE, (38, 20, 48, 24)))
    for region, (x0, y0, x1, y1) in boxes:
        for k, i in enumerate(region.landmarks):
            points[:, i] = torch.tensor([(x0, y0), (x1, y1), (x0, y1), (x1, y0)][k % 4], dtype=torch.float)
    return points


def test_boxes_have_the_margin_of_the_size():
    found = region_boxes(face(2), MOUTH, 64)
    assert found.tolist() == [[24 - 1.25, 40 - 1.25, 40 + 1.25, 48 + 1.25]] * 2
    assert region_boxes(face(), LEFT_EYE, 512).tolist() == [[38 - 20, 20 - 20, 48 + 20, 24 + 20]]


def test_a_crop_of_whole_pixels_is_the_pixels():
    image = pictures(8, count=2)[0]
    boxes = torch.tensor([[2.0, 3, 6, 7], [0, 0, 4, 4]])
    found = crops(image, boxes, 4)
    torch.testing.assert_close(found[0], image[0, :, 3:7, 2:6])
    torch.testing.assert_close(found[1], image[1, :, :4, :4])


def test_local_loss_sees_mouth_and_eyes_and_the_released_form_only_the_mouth():
    target = torch.zeros(1, 3, 64, 64)
    points = face()
    mouth, eye, cheek = (target.clone() for _ in range(3))
    mouth[..., 36:52, 20:44] = 0.5
    eye[..., 14:30, 10:32] = 0.5
    cheek[..., 0:4, :] = 0.5
    loss = lambda p, form: local_loss(p, target, points, form=form).item()  # noqa: E731
    assert loss(mouth, "correct") == pytest.approx(0.5)
    assert loss(eye, "correct") == pytest.approx(0.5)
    assert loss(mouth, "released") == pytest.approx(0.5)
    assert loss(eye, "released") == 0
    assert loss(cheek, "correct") == 0


def test_only_the_correct_form_teaches_the_eyes():
    points = face()
    for form, is_taught in (("correct", True), ("released", False)):
        pred = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        local_loss(pred, torch.zeros(1, 3, 64, 64), points, form=form).backward()
        assert bool(pred.grad[..., 20:24, 16:26].abs().sum() > 0) is is_taught
        assert pred.grad[..., 40:48, 24:40].abs().sum() > 0


def test_identity_loss_is_one_minus_cosine():
    pred, target = pictures(4)
    embed = lambda x: x.flatten(1)[:, :7]  # noqa: E731
    a, b = embed(pred), embed(target)
    cosines = [float(p @ q / (p.norm() * q.norm())) for p, q in zip(a, b, strict=True)]
    assert identity_loss(pred, target, embed).item() == pytest.approx(1 - sum(cosines) / 2)
    assert identity_loss(pred, 3 * pred, embed).item() == pytest.approx(0, abs=1e-12)
    assert identity_loss(pred, -pred, embed).item() == pytest.approx(2)


def test_gram_equals_its_loop():
    maps = pictures(3)[0]
    for b, i, j in np.ndindex(2, 3, 3):
        by_hand = sum(float(maps[b, i, y, x] * maps[b, j, y, x]) for y, x in np.ndindex(3, 3)) / (3 * 3 * 3)
        assert gram(maps)[b, i, j].item() == pytest.approx(by_hand)


def test_perceptual_loss_in_its_own_words():
    pred, target = pictures(8)
    features = lambda x: [x, x[:, :2, ::2] ** 2]  # noqa: E731
    halved = lambda x: x.unflatten(3, (-1, 2)).mean(4).unflatten(2, (-1, 2)).mean(3)  # noqa: E731
    content = style = 0.0
    for p, t in ((pred, target), (halved(pred), halved(target))):
        content += sum((f - g).abs().mean() for f, g in zip(features(p), features(t), strict=True))
    for f, g in zip(features(pred), features(target), strict=True):
        style += (gram(f) - gram(g)).abs().mean()
    found = perceptual_loss(pred, target, features, scales=2, style_weight=250)
    torch.testing.assert_close(found, content + 250 * style)
    assert perceptual_loss(pred, pred, features).item() == 0


def test_edges_are_the_l1_of_pictures_and_gradients():
    pred, target = pictures(8)
    d = pred - target
    by_hand = (
        d.abs().mean()
        + (d[..., 1:] - d[..., :-1]).abs().mean()
        + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    )
    found = perceptual_loss(pred, target, edge_features, scales=1, style_weight=0)
    torch.testing.assert_close(found, by_hand)
    shifted = perceptual_loss(pred + 0.25, pred, edge_features, scales=3, style_weight=0)
    assert shifted.item() == pytest.approx(3 * 0.25)  # a constant has no gradient


def test_no_gradient_reaches_the_target():
    pred, target = (v.requires_grad_() for v in pictures(8))
    embed = lambda x: x.flatten(1)  # noqa: E731
    loss = identity_loss(pred, target, embed) + perceptual_loss(pred, target, edge_features)
    loss.backward()
    assert pred.grad.abs().sum() > 0
    assert target.grad is None


def test_gradients():
    pred, target = pictures(4)
    pred.requires_grad_()
    smooth = lambda x: [x**3, x[:, :2]]  # noqa: E731
    assert torch.autograd.gradcheck(lambda p: perceptual_loss(p, target, smooth), (pred,))
    assert torch.autograd.gradcheck(lambda p: identity_loss(p, target, lambda x: x.flatten(1)), (pred,))
    mouth = Region((0, 1), 0.1, 3)
    points = torch.tensor([[[0.6, 1.2], [2.9, 3.1]]] * 2, dtype=torch.float64)
    local = lambda p: local_loss(p, target, points, mouth=mouth, eyes=())  # noqa: E731
    assert torch.autograd.gradcheck(local, (pred,))


def test_points_fill_the_box_or_mostly_miss_it():
    g = torch.Generator().manual_seed(0)
    inside = regulariser_points(4000, 0.8, generator=g)
    assert inside.shape == (4000, 3)
    assert inside.abs().max() <= 0.4
    assert inside.abs().max() > 0.39
    released = regulariser_points(4000, 1.0, form="released", generator=g)
    missed = (released.abs() > 0.5).any(1).double().mean().item()
    assert missed == pytest.approx(7 / 8, abs=0.02)
    assert released.abs().max() > 0.98


def test_density_variation_of_a_slope():
    points = regulariser_points(20_000, generator=torch.Generator().manual_seed(0))
    slope = lambda p: 3 * p[:, :1]  # noqa: E731
    found = density_variation_loss(slope, points, generator=torch.Generator().manual_seed(1))
    assert found.item() == pytest.approx(0.25 * 3 * 0.004 * (2 / np.pi) ** 0.5, rel=0.02)
    again = density_variation_loss(slope, points, generator=torch.Generator().manual_seed(1))
    assert torch.equal(found, again)
    assert density_variation_loss(lambda p: torch.ones(len(p)), points).item() == 0


def test_density_may_only_grow_backwards():
    points = regulariser_points(100, generator=torch.Generator().manual_seed(0)).double()
    assert monotone_density_loss(lambda p: -p[:, 2], points).item() == 0  # more behind: right
    found = monotone_density_loss(lambda p: 5 * p[:, 2:], points, box=2.0)
    assert found.item() == pytest.approx(5 * 2 / 256)
    sigma = lambda p: torch.sin(40 * p[:, 2])  # noqa: E731
    by_hand = np.mean([max(0.0, np.sin(40 * z) - np.sin(40 * (z - 1 / 256))) for z in points[:, 2].tolist()])
    assert monotone_density_loss(sigma, points).item() == pytest.approx(by_hand)


def test_norm_hinge():
    alpha = torch.zeros(2, 3, 4)
    assert norm_hinge(alpha).item() == 10
    alpha[..., 0] = 12
    assert norm_hinge(alpha).item() == 0
    alpha[0] = 0
    assert norm_hinge(alpha).item() == 4
    assert norm_hinge(alpha, least=7).item() == 1


def test_wrong_input_is_named():
    a, b = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 4, 4)
    with pytest.raises(ShapeError, match="must be alike"):
        pixel_loss(a, b)
    with pytest.raises(ShapeError, match=r"at least 68, 2"):
        local_loss(a, a, torch.zeros(1, 5, 2))
    with pytest.raises(ShapeError, match="2 sets of landmarks for 1"):
        local_loss(a, a, torch.zeros(2, 68, 2))
    with pytest.raises(ConfigError, match="form='wrong'"):
        local_loss(a, a, torch.zeros(1, 68, 2), form="wrong")
    with pytest.raises(ConfigError, match="form='wrong'"):
        regulariser_points(3, form="wrong")
    with pytest.raises(ConfigError, match="scales=0"):
        perceptual_loss(a, a, edge_features, scales=0)
    with pytest.raises(ShapeError, match="halved 4 times"):
        perceptual_loss(a, a, edge_features, scales=5)
