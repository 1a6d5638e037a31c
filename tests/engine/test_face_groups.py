"""Missed and false matches by group, against pairs counted in loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mien.core.errors import ShapeError
from mien.engine.face_groups import errors_by_group, made_groups


def counted(e, who, group, name, threshold):
    """The slow twin: (missed, genuine, false, impostor)."""
    missed = genuine = false = impostor = 0
    for i in range(len(e)):
        for j in range(i):
            if group[i] == group[j] == name:
                cosine = float(e[i] @ e[j]) / math.sqrt(float(e[i] @ e[i]) * float(e[j] @ e[j]))
                if who[i] == who[j]:
                    genuine, missed = genuine + 1, missed + (cosine < threshold)
                else:
                    impostor, false = impostor + 1, false + (cosine >= threshold)
    return missed, genuine, false, impostor


def test_the_same_as_counting_pairs():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(12), 4)
    e = rng.normal(size=(12, 5))[who] + 0.6 * rng.normal(size=(48, 5))
    group = np.array(["a", "b", "c"])[who % 3]
    found = errors_by_group(3 * e, who, group, 0.4)
    assert [f.group for f in found] == ["a", "b", "c"]
    for f in found:
        missed, genuine, false, impostor = counted(e, who, group, f.group, 0.4)
        assert (f.people, f.genuine, f.impostor) == (4, genuine, impostor)
        assert f.missed == pytest.approx(missed / genuine)
        assert f.false == pytest.approx(false / impostor)


def test_a_group_of_one_has_no_false_matches():
    (one,) = errors_by_group(np.eye(3)[[0, 0]], [7, 7], ["x", "x"], 0.5)
    assert one[:4] == ("x", 1, 1, 0.0)
    assert math.isnan(one.false)


def test_bad_input_is_refused():
    with pytest.raises(ShapeError, match=r"features \(2, 3\), people \(1,\)"):
        errors_by_group(np.ones((2, 3)), [0], ["a", "a"], 0.5)
    with pytest.raises(ShapeError, match="more than one group"):
        errors_by_group(np.ones((2, 3)), [0, 0], ["a", "b"], 0.5)


def test_groups_of_made_people_are_those_of_their_seeds():
    groups = made_groups(0, 3200, 60)
    assert {name: sorted(set(g)) for name, g in groups.items()} == {
        "sex": ["men", "women"],
        "skin": ["dark", "light", "medium"],
        "age": ["older", "younger"],
    }
    again = made_groups(0, 3210, 5)
    assert all((groups[name][10:15] == again[name]).all() for name in groups)
