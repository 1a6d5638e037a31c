from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.core.images import read_image
from mien.methods.cakd import Grid, heat_maps, overlap, receptive_png

STUDENT, TEACHER = Grid(3, 3, 16, 48), Grid(5, 5, 9, 48)


def one_token(grid, at, extra=0):
    """Attention of one centre, two heads, on one token."""
    attn = torch.zeros(2, 1, grid.height * grid.width + extra)
    attn[..., at] = 1
    return attn


def test_a_map_lies_where_its_token_lies():
    # (B, L, S, S) of a batch; the ViT's grid ends 3 pixels before the picture does.
    for grid, at, centre in ((STUDENT, 5, (40, 24)), (TEACHER, 7, (22.5, 13.5)), (TEACHER, 12, (22.5, 22.5))):
        found = heat_maps(one_token(grid, at)[None], grid)
        assert found.shape == (1, 1, 48, 48)
        assert found.sum().item() == pytest.approx(1)
        v, u = divmod(int(found.argmax()), 48)
        assert abs(u + 0.5 - centre[0]) <= grid.stride / 2
        assert abs(v + 0.5 - centre[1]) <= grid.stride / 2
    assert not heat_maps(torch.rand(2, 4, 25), TEACHER)[:, 45:].any()


def test_heads_are_averaged_and_prompts_left_out():
    attn = torch.rand(3, 4, 9)
    found = heat_maps(attn, STUDENT)
    torch.testing.assert_close(found, heat_maps(attn.mean(0, keepdim=True), STUDENT))
    torch.testing.assert_close(heat_maps(torch.cat([attn, torch.rand(3, 4, 2)], 2), STUDENT), found)
    assert not heat_maps(one_token(STUDENT, 10, extra=2), STUDENT).any()


def test_overlap():
    a, b = heat_maps(one_token(STUDENT, 0), STUDENT), heat_maps(one_token(STUDENT, 8), STUDENT)
    torch.testing.assert_close(overlap(a, a), torch.ones(1))
    assert overlap(a, b).item() == 0.0
    assert 0.3 < overlap(a, heat_maps(one_token(TEACHER, 6), TEACHER)).item() < 0.9


def test_the_picture():
    face = np.full((48, 48, 3), 128, np.uint8)
    png = receptive_png(face, torch.rand(2, 4, 9, 28), TEACHER, torch.rand(4, 9, 9), STUDENT)
    drawn = read_image(png)
    assert drawn.shape[1] > drawn.shape[0] > 200
    assert drawn.std() > 10
    one = read_image(receptive_png(face, torch.rand(4, 9, 28), TEACHER, torch.rand(4, 9, 9), STUDENT, [3]))
    assert one.shape[1] < drawn.shape[1]
    same = [receptive_png(face, *(torch.ones(1, 2, 28), TEACHER, torch.ones(1, 2, 9), STUDENT)) for _ in "ab"]
    assert same[0] == same[1]


def test_wrong_arguments():
    face, t, s = np.zeros((48, 48, 3), np.uint8), torch.rand(4, 9, 28), torch.rand(4, 9, 9)
    with pytest.raises(ConfigError, match=r"centres \[9\] must be among 0..8"):
        receptive_png(face, t, TEACHER, s, STUDENT, [9])
    with pytest.raises(ShapeError, match="9 centres of the teacher, 8 of the student"):
        receptive_png(face, t, TEACHER, s[:, 1:], STUDENT)
    with pytest.raises(ConfigError, match="pictures of 48 and 112 pixels"):
        receptive_png(face, t, TEACHER, s, Grid(3, 3, 37, 112))
    with pytest.raises(ShapeError, match=r"N >= 25, got \(4, 9, 9\)"):
        heat_maps(s, TEACHER)
