from __future__ import annotations

import pytest

from mien.bench import partial_fc_speed
from mien.bench.benches import BENCHES
from mien.bench.partial_fc_speed import Size
from mien.core.errors import MienError

SMALL = Size(classes=20_001, features=16, batch=6, repeats=2)


@pytest.mark.ddp
def test_two_ranks_of_a_small_layer():
    entries, ratios = partial_fc_speed.bench(SMALL)
    assert [e["name"] for e in entries] == ["sampled_step_2_ranks", "full_step_2_ranks"]
    assert set(ratios) == {"step_over_full", "memory_per_rank_over_single", "memory_over_full"}
    assert 0.48 < ratios["memory_per_rank_over_single"] < 0.6
    assert ratios["memory_over_full"] < 0.8


def test_ranks_that_do_not_share_a_layer_are_an_error():
    def rank(pid, start, count, loss=1.0, world=2):
        return {"pid": pid, "world": world, "rows": [start, count], "loss": loss}

    alone, size = rank(9, 0, 10, world=1), Size(10)
    partial_fc_speed.check_ranks([rank(1, 0, 5), rank(2, 5, 5)], alone, size)
    for wrong in (
        [rank(1, 0, 5), rank(1, 5, 5)],
        [rank(1, 0, 10), rank(2, 0, 10)],
        [rank(1, 0, 5, world=1), rank(2, 5, 5)],
        [rank(1, 0, 5), rank(2, 5, 5, loss=1.1)],
    ):
        with pytest.raises(MienError, match="did not share one layer"):
            partial_fc_speed.check_ranks(wrong, alone, size)


def test_a_process_that_fails_is_named():
    with pytest.raises(MienError, match=r"a process failed: .*sample_rate=0"):
        partial_fc_speed.bench(SMALL._replace(rate=0.0))


def test_it_is_in_the_table():
    assert BENCHES["partial_fc"][0] == "mien.bench.partial_fc_speed"
