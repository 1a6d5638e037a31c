"""The estimated body: the mean human found again from its own silhouette, and refusals."""

from __future__ import annotations

import pytest
import torch

from mien.core.errors import DataError
from mien.methods.car.estimate import (
    Pose,
    estimate_body,
    mean_human,
    placed,
    silhouette,
    standing,
)
from mien.methods.car.pose_fit import PoseFitSettings, overlap
from mien.synth.clothed_set import calibration

SIZE = 64


def mask_of(arms=55.0, legs=8.0, shift=(0.1, 0.05, 0.0), half=1.0):
    human = mean_human()
    middle = (human.vertices.amin(0) + human.vertices.amax(0)) / 2
    pose = Pose(standing(arms, legs), torch.tensor(shift) - middle, torch.from_numpy(calibration(half)))
    return silhouette(pose, SIZE)


def test_mean_human_is_a_person_of_common_size():
    human = mean_human()
    height = float(human.vertices[:, 1].max() - human.vertices[:, 1].min())
    assert 1.4 < height < 1.8  # metres; the legs are spread
    assert len(human.names) == 19
    left = human.joints[human.names.index("wrist.L")]
    right = human.joints[human.names.index("wrist.R")]
    torch.testing.assert_close(left, right * torch.tensor([-1.0, 1.0, 1.0]), atol=0.01, rtol=0)
    assert float(left[0]) > 0.4
    assert abs(float(left[1] - human.joints[human.names.index("upperarm01.L"), 1])) < 0.02


def test_arms_go_down_and_legs_together():
    human = mean_human()
    down = placed(standing(75.0, 20.0), torch.ones(SIZE, SIZE, dtype=torch.bool))
    wide = torch.nonzero(mask_of(0.0, 0.0)).amax(0) - torch.nonzero(mask_of(0.0, 0.0)).amin(0)
    slim = torch.nonzero(mask_of(75.0, 20.0)).amax(0) - torch.nonzero(mask_of(75.0, 20.0)).amin(0)
    assert int(slim[1]) < 0.6 * int(wide[1])
    assert down.rotations.shape == (len(human.names), 3, 3)


def test_placed_as_high_as_the_mask():
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[12:52, 20:30] = True
    rows, columns = torch.nonzero(silhouette(placed(standing(75.0, 20.0), mask), SIZE)).unbind(1)
    assert abs(int(rows.min()) - 12) <= 1
    assert abs(int(rows.max()) - 51) <= 1
    assert abs(float(columns.float().mean()) - 24.5) < 1.5


@pytest.mark.parametrize("arms", [65.0, 10.0])
def test_its_own_silhouette_is_found_again(arms):
    mask = mask_of(arms)
    first = max(
        overlap(silhouette(placed(standing(a, b), mask), SIZE), mask)
        for a in (75.0, 55.0, 0.0)
        for b in (8.0, 20.0)
    )
    found = estimate_body(mask, settings=PoseFitSettings(steps=25))
    assert found.overlap > max(0.85, first)
    drawn = torch.isfinite(found.body.maps(SIZE)[2][0])
    assert overlap(drawn, mask) == pytest.approx(found.overlap, abs=0.02)


def test_what_is_no_standing_person_is_refused():
    block = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    block[30:40, 5:60] = True
    with pytest.raises(DataError, match=r"covers the mask by 0\.\d\d .* less than 0\.6: .* --body FILE"):
        estimate_body(block)
    with pytest.raises(DataError, match="the mask is empty"):
        estimate_body(torch.zeros(SIZE, SIZE, dtype=torch.bool))
