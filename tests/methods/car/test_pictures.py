"""Drawn pictures: sides, colours, places."""

from __future__ import annotations

import numpy as np
import torch

from mien.core.figures import COLOURS
from mien.methods.car.looks import rgb_of
from mien.methods.car.pictures import both_sides, byte, normals_picture
from mien.methods.car.refine import Maps


def plate():
    """A square in the right half, two-sided: its front at z = 0.1 is red, its back at -0.1 blue."""
    corners = torch.tensor([[0.25, -0.5], [0.75, -0.5], [0.75, 0.5], [0.25, 0.5]])
    front, back = (torch.cat([corners, torch.full((4, 1), z)], 1) for z in (0.1, -0.1))
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6]], dtype=torch.int32)
    colors = torch.tensor([[1.0, 0, 0]] * 4 + [[0.0, 0, 1]] * 4)
    return torch.cat([front, back]), faces, colors


def test_front_and_back():
    view, faces, colors = plate()
    front, back = np.hsplit(both_sides(view, faces, colors, 16), 2)
    assert front[8, 12].tolist() == [255, 0, 0]
    assert front[8, 4].tolist() == [255, 255, 255]
    assert back[8, 3].tolist() == [0, 0, 255]  # from behind it is on the left
    assert back[8, 12].tolist() == [255, 255, 255]
    lit = both_sides(view, faces, colors, 16, lit=True)
    assert 100 < lit[8, 12, 0] <= 255  # it faces the sky's front
    assert lit[8, 12, 1:].tolist() == [0, 0]


def test_bytes_and_normals():
    assert byte(torch.tensor([-1.0, 0.5, 2.0])).tolist() == [0, 128, 255]
    assert (255 * rgb_of([COLOURS[0]])).round().tolist() == [[0, 114, 178]]
    front = torch.zeros(3, 4, 4)
    front[2] = 1
    picture = normals_picture(Maps(front, -front, torch.ones(4, 4, dtype=torch.bool)))
    assert picture.shape == (4, 8, 3)
    assert picture[0, 0].tolist() == [128, 128, 255]
    assert picture[0, 7].tolist() == [128, 128, 0]
    assert normals_picture(Maps(front, None, front[0] > 0)).shape == (4, 4, 3)
