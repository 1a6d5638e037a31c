from __future__ import annotations

import copy

import pytest
import torch

from mien.core.errors import ConfigError
from mien.optim.swad import SWAD


def run(losses, per_segment=2, **options):
    """Iterates 1, 2, 3, ...; an evaluation after every ``per_segment`` of them."""
    w = torch.zeros(1)
    swad = SWAD([w], **options)
    step = 0
    for loss in losses:
        for _ in range(per_segment):
            step += 1
            w.fill_(step)
            swad.update()
        swad.evaluate(loss)
    return swad, w


def mean_of(segments, per_segment=2):
    steps = [s * per_segment + i + 1 for s in segments for i in range(per_segment)]
    return sum(steps) / len(steps)


def test_starts_when_the_oldest_of_three_is_the_smallest():
    falling, _ = run([5.0, 4.0, 3.0, 2.0])
    assert falling.average() is None
    swad, _ = run([5.0, 2.0, 2.1, 2.2])
    assert swad.threshold == pytest.approx(1.3 * 2.1)
    assert float(swad.average()[0]) == pytest.approx(mean_of([1, 2, 3]))


def test_all_iterates_until_the_loss_rises_for_six():
    losses = [5.0, 2.0, 2.1, 2.2] + [2.3] * 4 + [9.0] * 6 + [1.0] * 3
    swad, _ = run(losses)
    assert swad.is_over
    assert float(swad.average()[0]) == pytest.approx(mean_of(range(1, 8)))


def test_a_valley_that_never_ends_leaves_out_only_its_rising_tail():
    swad, _ = run([3.0, 1.0, 1.1, 1.2, 1.1, 7.0, 1.0, 8.0, 8.0])
    assert not swad.is_over
    assert float(swad.average()[0]) == pytest.approx(mean_of(range(1, 7)))


def test_long_runs_keep_few_copies():
    swad, _ = run([2.0, 1.0, 1.1, 1.2] + [1.1] * 30)
    assert len(swad._recent) <= 6
    assert float(swad.average()[0]) == pytest.approx(mean_of(range(1, 34)))


def test_loading_writes_the_average_or_nothing():
    swad, w = run([3.0, 2.0])
    assert not swad.load_average()
    assert float(w) == 4.0
    swad, w = run([1.0, 2.0, 3.0])
    assert swad.load_average()
    assert float(w) == mean_of([0, 1])  # the third is above 1.3 times their mean


def test_state_survives_a_file(tmp_path):
    losses = [5.0, 2.0, 2.1, 2.2, 2.3, 2.2, 2.4, 2.1, 9.0]
    whole, _ = run(losses)
    half, w = run(losses[:5])
    torch.save(half.state_dict(), tmp_path / "s")
    again = SWAD([w])
    again.load_state_dict(torch.load(tmp_path / "s", weights_only=True))
    step = 10
    for loss in losses[5:]:
        for _ in range(2):
            step += 1
            w.fill_(step)
            again.update()
        again.evaluate(loss)
    assert torch.equal(whole.average()[0], again.average()[0])
    assert copy.deepcopy(again.state_dict()).keys() == whole.state_dict().keys()


def test_options_are_checked_and_empty_segments_ignored():
    for wrong in ({"converge": 0}, {"converge": 7}, {"tolerance": float("nan")}):
        with pytest.raises(ConfigError):
            SWAD([torch.zeros(1)], **wrong)
    swad = SWAD([torch.zeros(1)])
    swad.evaluate(1.0)
    assert swad.average() is None
