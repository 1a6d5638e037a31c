from __future__ import annotations

import numpy as np

from mien.synth.looks import Macro, sample_looks, sample_shot


def people_of(ancestry, male=0.9, age=0.5, count=60):
    return [sample_looks(k, Macro(ancestry, male, age)) for k in range(count)]


def test_same_seed_same_looks():
    who = Macro((0.1, 0.2, 0.7), 0.2, 0.6)
    first = sample_looks(5, who)
    np.random.seed(1)  # noqa: NPY002
    assert sample_looks(5, who) == first
    assert sample_looks(6, who) != first
    assert sample_shot(5) == sample_shot(5)
    assert sample_shot(6) != sample_shot(5)


def test_complexion_goes_with_ancestry():
    african, asian, caucasian = (
        np.array([p.skin.melanin for p in people_of(tuple(np.eye(3)[k]))]) for k in range(3)
    )
    assert african.mean() > asian.mean() + 0.8 > caucasian.mean() + 1.0
    for m in (african, asian, caucasian):
        assert m.min() >= 0.08
        assert m.max() <= 2.6
        assert m.std() > 0.05


def test_beards_and_baldness_of_men_and_age():
    women = people_of((0, 0, 1.0), male=0.05)
    assert {p.beard for p in women} == {"none"}
    assert not any(p.skin.beard for p in women)
    assert not {p.style for p in women} & {"bald", "balding"}
    young, old = people_of((0, 0, 1.0), age=0.5), people_of((0, 0, 1.0), age=0.95)
    assert len({p.beard for p in young}) > 3
    assert "balding" not in {p.style for p in young}
    assert not any(p.grey for p in young)
    assert np.mean([p.grey for p in old]) > 0.5


def test_shots():
    shots = [sample_shot(k) for k in range(200)]
    assert 0.1 < np.mean([s.frames is not None for s in shots]) < 0.35
    assert 0.15 < np.std([s.yaw for s in shots]) < 0.3
    straight = sample_shot(3, frontal=True)
    assert (straight.yaw, straight.pitch, straight.roll) == (0, 0, 0)
    assert straight.light == sample_shot(3).light  # frontal only straightens the head
    assert {s.frames for s in (sample_shot(k, glasses=0) for k in range(30))} == {None}
