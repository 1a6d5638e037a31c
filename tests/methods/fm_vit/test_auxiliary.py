from __future__ import annotations

import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.fm_vit import patch_values


@pytest.mark.parametrize(("size", "patch", "cells"), [(16, 8, 4), (8, 4, 4), (12, 6, 3), (32, 8, 1)])
def test_values_equal_their_loop(size, patch, cells):
    image = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = patch_values(image, patch, cells)
    grid, cell = size // patch, patch // cells
    assert found.shape == (2, grid**2, cells**2)
    for b in range(2):
        for n in range(grid**2):
            for c in range(cells**2):
                top = n // grid * patch + c // cells * cell
                left = n % grid * patch + c % cells * cell
                wanted = image[b, :, top : top + cell, left : left + cell].mean()
                torch.testing.assert_close(found[b, n, c], wanted)


def test_patches_come_in_the_order_of_the_tokens():
    image = torch.zeros(1, 1, 8, 8)
    image[..., :4, 4:] = 1  # upper right: the second patch
    assert patch_values(image, 4).mean(2).tolist() == [[0, 1, 0, 0]]


def test_cells_must_divide_the_patch():
    with pytest.raises(ConfigError, match="a patch, here 6, that 4 divides"):
        patch_values(torch.zeros(1, 1, 12, 12), 6)
