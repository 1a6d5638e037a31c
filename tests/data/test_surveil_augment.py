"""What training does to far faces: whole pixels move, moire beats, live faces become attacks."""

import numpy as np
import pytest
import torch

from mien.data.surveil_augment import (
    SHIFT,
    augmented,
    heavy,
    mirror_shift,
    print_colours,
    random_crop,
    simulated_attacks,
    swirl_moire,
)


def pictures(n: int = 6, size: int = 20) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_mirror_and_shift_move_whole_pixels() -> None:
    x = pictures(2)
    middle = torch.tensor([[0.5, 0.5, 0.9], [0.5, 0.5, 0.1]])
    found = mirror_shift(x, middle)
    assert torch.equal(found[0], x[0])
    assert torch.equal(found[1], x[1].flip(2))
    down = mirror_shift(x[:1], torch.tensor([[0.999, 0.5, 0.9]]))[0]
    far = round(SHIFT * 20)
    assert torch.equal(down[:, : 20 - far], x[0, :, far:])
    assert torch.equal(down[:, -1], x[0, :, -1])  # the border is repeated


def test_a_crop_of_everything_is_the_picture() -> None:
    x = pictures(1)
    whole = random_crop(x, torch.tensor([[1.0, 0.3, 0.8, 0.5]]))
    torch.testing.assert_close(whole, x, atol=1e-5, rtol=0)
    part = random_crop(torch.ones(1, 3, 20, 20), torch.tensor([[0.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(part, torch.ones_like(part))


def test_a_swirl_that_does_not_turn_is_the_identity_and_the_middle_stays() -> None:
    x = pictures(1, 21)
    torch.testing.assert_close(swirl_moire(x, torch.zeros(1)), x, atol=1e-5, rtol=0)
    turned = swirl_moire(x, torch.full((1,), 0.05))
    torch.testing.assert_close(turned[..., 10, 10], x[..., 10, 10], atol=1e-5, rtol=0)
    assert not torch.allclose(turned, x, atol=1e-2)


def test_a_swirl_beats_against_a_grid() -> None:
    """A fine grid gets a slow pattern that it did not have."""
    grid = (torch.arange(64) % 2).float().expand(1, 3, 64, 64).clone()
    beat = swirl_moire(grid, torch.full((1,), 0.01), share=0.5)
    slow = torch.nn.functional.avg_pool2d(beat, 4)
    assert float(torch.nn.functional.avg_pool2d(grid, 4).std()) == pytest.approx(0, abs=1e-6)
    assert float(slow.std()) > 0.01


def test_only_live_faces_become_attacks() -> None:
    x, target = pictures(6), torch.tensor([0, 0, 0, 1, 1, 1])
    u = torch.rand(6, 8, generator=torch.Generator().manual_seed(1))
    u[:, 0] = torch.tensor([0.1, 0.4, 0.9, 0.1, 0.4, 0.9])
    found, labels = simulated_attacks(x, target, u)
    assert labels.tolist() == [1, 1, 0, 1, 1, 1]
    changed = (found != x).flatten(1).any(1)
    assert changed.tolist() == [True, True, False, False, False, False]


def test_colours_of_a_print_stay_colours() -> None:
    x = pictures(3)
    same = print_colours(x, torch.full((3, 6), 0.5))
    torch.testing.assert_close(same, x, atol=1e-6, rtol=0)
    other = print_colours(x, torch.rand(3, 6))
    assert 0 <= float(other.min()) <= float(other.max()) <= 1


@pytest.mark.parametrize("kind", ["none", "flip", "crop", "heavy", "moire"])
def test_each_picture_has_its_own_stream(kind: str) -> None:
    x, target = pictures(4), torch.tensor([0, 1, 0, 1])
    keys = np.array([3, 1, 4, 15], np.uint64)
    first, labels = augmented(kind, x, target, keys, 7)
    assert first.shape == x.shape
    again, _ = augmented(kind, x[2:], target[2:], keys[2:], 7)
    assert torch.equal(again, first[2:])
    assert labels.shape == target.shape
    if kind not in ("none",):
        assert not torch.equal(augmented(kind, x, target, keys, 8)[0], first)


def test_the_long_chain_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    heavy(pictures(2), np.array([1, 2], np.uint64), 0)
    assert torch.equal(torch.rand(1), expected)
