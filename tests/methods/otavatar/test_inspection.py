"""Inspection: shares and names of directions that are known."""

from __future__ import annotations

import numpy as np
import pytest

from mien.methods.otavatar.inspection import codes_of, condition, directions, effective
from tests.methods.otavatar.tiny import tiny_net


def test_directions_are_named_by_the_actions_they_follow() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((200, 3)).astype(np.float32)
    alpha = np.stack([0.1 * rows[:, 2], -rows[:, 0]], 1)
    table = directions(alpha, rows, ("jaw", "brow", "smile"))
    assert [row["direction"] for row in table] == [1, 0]
    assert table[0]["goes with"].startswith("jaw -1.00")
    assert table[1]["goes with"].startswith("smile +1.00")
    assert table[0]["share"] == pytest.approx(0.99, abs=0.01)


def test_effective_directions_of_equal_and_of_single_motion() -> None:
    rng = np.random.default_rng(1)
    even = rng.standard_normal((4000, 1, 4)).astype(np.float32)
    assert effective(even) == pytest.approx(4, abs=0.05)
    assert effective(even[:, :, :1] * np.ones(4, np.float32)) == pytest.approx(1, abs=0.01)


def test_code_book_at_right_angles_is_well_conditioned() -> None:
    assert condition(tiny_net()) == pytest.approx(1, abs=1e-5)
    assert condition(tiny_net(code_book="linear")) > 1.05
    assert codes_of(tiny_net(), np.zeros((5, 3), np.float32)).shape == (5, tiny_net().controller.slots, 4)
