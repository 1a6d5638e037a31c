"""The head of formulas that the avatar's bench draws, and how a tiny net learns it."""

from __future__ import annotations

import pytest
import torch

from mien.bench import heads
from mien.render.eg3d import lookat_cam2world, pack_camera
from tests.bench.test_otavatar_speed import TINY


@pytest.fixture(scope="module")
def subject():
    return heads.subject(32, 120, TINY)


def test_the_true_picture_is_the_ellipsoids_outline(subject):
    """From the front: half axis over distance to the outline's plane, times the focal length."""
    k = torch.tensor([[3.2, 0, 0.5], [0, 3.2, 0.5], [0, 0, 1]])
    camera = pack_camera(lookat_cam2world(0.0, 0.0, 2.7, (0.0, 0.0, 0.0)), k)
    opacity = heads.true_picture(subject.net, camera, 64)[0, 3]
    a, b, c = heads.RADII
    for row, half in ((opacity[32], a), (opacity[:, 32], b)):
        wide = 2 * 64 * 3.2 * half / (2.7**2 - c**2) ** 0.5
        assert float(row.sum()) == pytest.approx(wide, rel=0.05)
    sigma, colour = heads.head_field(torch.tensor([[0.0, 0, 0], [a, 0, 0], [0.5, 0.5, 0.5]]))
    assert sigma.tolist() == pytest.approx([4, -1, -6], abs=1e-3)
    assert 0 <= float(colour.min()) <= float(colour.max()) <= 1


def test_motion_fills_the_windows(subject):
    windows = subject.windows
    assert windows.shape == (heads._FRAMES, subject.net.controller.coefficients, 2 * TINY.radius + 1)
    assert float(windows.std()) > 0
    dw = subject.net.controller(windows[:3])[0]
    assert dw.shape == (3, subject.net.generator.num_ws, TINY.w_dim)


def test_same_seed_same_head(subject):
    again = heads.subject(32, 120, TINY)
    assert all(
        torch.equal(x, y)
        for x, y in zip(subject.net.state_dict().values(), again.net.state_dict().values(), strict=True)
    )
    assert torch.equal(heads.invert(subject, 2), heads.invert(again, 2))
