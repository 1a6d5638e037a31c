"""Group sizes over temperatures, and the temperature for a wanted size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.methods.gkd.groups import inspect_groups, temperature_for
from mien.methods.gkd.loss import EVERY, PRESETS, GroupSelector

ALL = GroupSelector(k_min=1, k_max=EVERY, t_group=4.0)
WORKED = torch.tensor([[8.0, 4.0, 2.0, 0.0, -2.0]])


def test_the_worked_example():
    y = torch.tensor([0])
    at_4 = inspect_groups(WORKED, y, ALL, 4.0)
    assert at_4.sizes.tolist() == [4]
    assert at_4.inside[0] == pytest.approx(0.954610, abs=1e-6)
    at_1 = inspect_groups(WORKED, y, GroupSelector(k_min=1, k_max=EVERY, t_group=1.0), 4.0)
    assert at_1.sizes.tolist() == [1]
    assert at_1.inside[0] == pytest.approx(0.552966, abs=1e-6)
    assert at_1.outside == 0


def test_a_label_outside_is_counted_and_takes_a_place():
    found = inspect_groups(WORKED, torch.tensor([4]), GroupSelector(k_min=2, k_max=2), 4.0)
    assert found.outside == 1
    assert found.inside[0] == pytest.approx(0.552966 + 0.045390, abs=1e-6)


def test_batches_change_nothing_where_sizes_are_each_pictures_own():
    z, y = torch.randn(50, 40) * 4, torch.randint(40, (50,))
    a, b = (inspect_groups(z, y, ALL, 4.0, batch=n) for n in (7, 50))
    assert np.array_equal(a.sizes, b.sizes)
    assert np.allclose(a.inside, b.inside)


@pytest.mark.parametrize("aim", [3.0, 20.0])
def test_the_temperature_for_a_size_gives_it(aim):
    torch.manual_seed(0)
    z, y = torch.randn(400, 200) * 5, torch.randint(200, (400,))
    t = temperature_for(z, y, PRESETS["recommended"], aim)
    sizes = inspect_groups(z, y, GroupSelector(k_min=1, k_max=EVERY, t_group=t), 4.0).sizes
    assert sizes.mean() == pytest.approx(aim, rel=0.05)
