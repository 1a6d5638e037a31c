from __future__ import annotations

import pytest

from mien.core.errors import ConfigError
from mien.data.selection import select


def look(step, held_out, setting=None, **scores):
    return {"step": step, "held_out": list(held_out), "scores": scores, "setting": setting}


def one(step, a, b, t_in, t_out, **more):
    """A look with domain t held out: outer accuracies of a and b, both parts of t."""
    return look(step, "t", a_in=1.0, a_out=a, b_in=1.0, b_out=b, t_in=t_in, t_out=t_out, **more)


RUN = [one(1, 0.5, 0.5, 0.3, 0.9), one(2, 0.8, 0.4, 0.4, 0.2), one(3, 0.7, 0.5, 0.5, 0.1)]


def test_iid_takes_the_first_best_mean_of_the_sources():
    found = select(RUN, "iid")
    assert (found.step, found.accuracy) == (2, 0.4)
    assert found.value == pytest.approx(0.6)


def test_oracle_looks_at_the_held_out_domain_itself():
    found = select(RUN, "oracle")
    assert (found.step, found.accuracy, found.value) == (1, 0.3, 0.9)


def test_last_takes_the_last_step_of_the_best_setting():
    other = [one(3, 0.9, 0.9, 0.6, 0.0, setting="b")]
    assert select(RUN, "last").accuracy == 0.5
    assert select(RUN + other, "last").setting == "b"


def test_leave_one_out_reads_the_second_held_out_domain():
    pairs = [
        look(s, "t" + d, a_in=0.1, b_in=0.1, t_in=0.9, a_out=0, b_out=0, t_out=0)
        for s in (1, 2)
        for d in "ab"
    ]
    pairs += [look(3, "ta", a_in=0.8, b_in=0.0, t_in=0.0, a_out=0, b_out=0, t_out=0)]
    pairs += [look(3, "tb", a_in=0.0, b_in=0.6, t_in=0.0, a_out=0, b_out=0, t_out=0)]
    found = select(RUN + pairs, "loo")
    assert (found.step, found.accuracy) == (3, 0.5)
    assert found.value == pytest.approx(0.7)


def test_what_is_missing_is_said():
    with pytest.raises(ConfigError, match="rule 'loo' needs runs with 't'"):
        select(RUN, "loo")
    with pytest.raises(ConfigError, match="no selection rule 'best'"):
        select(RUN, "best")
    with pytest.raises(ConfigError, match="one held-out domain"):
        select([], "iid")
