from __future__ import annotations

import pytest
import torch

from mien.core.errors import ShapeError
from mien.methods.otavatar.expressions import (
    EXPRESSIONS,
    brow_raise,
    expression_of,
    eye_openings,
    mouth_opening,
    smile_width,
)
from mien.synth.star_heads import landmarks


def face(count=1, d=3):
    """Points with outer eye corners 2 apart."""
    points = torch.zeros(count, 68, d)
    points[:, 36, 0], points[:, 39, 0], points[:, 42, 0], points[:, 45, 0] = -1, -0.4, 0.4, 1
    return points


@pytest.mark.parametrize("d", [2, 3])
def test_worked_expressions(d):
    points = face(d=d)
    points[:, 62, 1], points[:, 66, 1] = 0.1, -0.3  # 0.4 over 2
    points[:, 48, 0], points[:, 54, 0] = -0.5, 0.5  # 1 over 2
    points[:, 37, 1], points[:, 38, 1] = 0.2, 0.4  # (0.2 + 0.4) / 2 over 2
    points[:, 43, 1], points[:, 44, 1] = 0.1, 0.1
    points[:, 17:22] = torch.tensor([-0.7, 0.5, 0.0][:d])
    points[:, 22:27] = torch.tensor([0.7, 0.3, 0.0][:d])
    assert mouth_opening(points).item() == pytest.approx(0.2)
    assert smile_width(points).item() == pytest.approx(0.5)
    assert eye_openings(points)[0].tolist() == pytest.approx([0.15, 0.05])
    assert brow_raise(points).item() == pytest.approx(0.2)
    assert expression_of(points)[0].tolist() == pytest.approx([0.2, 0.15, 0.05, 0.5, 0.2])
    assert len(EXPRESSIONS) == 5


def test_expressions_know_neither_size_nor_place():
    points = torch.randn(3, 68, 3, dtype=torch.float64)
    turned, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    moved = 7 * points @ turned + torch.tensor([1.0, 2, 3])
    assert expression_of(moved).numpy() == pytest.approx(expression_of(points).numpy())
    with pytest.raises(ShapeError, match="68, 2 or 3"):
        expression_of(points[:, :60])


def test_the_asked_expression_of_a_head_is_measured():
    how = torch.zeros(4, 6)
    how[1, 0], how[2, 1], how[3, 2] = 1.0, 1.0, 1.0
    found = expression_of(landmarks(torch.zeros(4, 12), how))
    assert found[1, 0] > found[0, 0] + 0.1
    assert found[2, 3] > found[0, 3] + 0.1
    assert found[3, 4] > found[0, 4] + 0.05
