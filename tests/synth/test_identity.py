from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.body import people
from mien.synth.identity import HEAD_SHAPES, SINGLE, TWO_SIDED, directions, macro_weights, sample_identity
from mien.synth.looks import Macro

KNOWN = frozenset(people().shapes)


def macro(age=0.5, male=0.3):
    return Macro((0.2, 0.3, 0.5), male, age)


@pytest.mark.parametrize("age", [0.0, 0.3, 0.41, 1.2])
def test_adults_only(age):
    with pytest.raises(ConfigError, match=r"age=.* is outside \[0\.42, 1\] .*adults only"):
        macro_weights(macro(age), 0.5, 0.5)


@pytest.mark.parametrize(("name", "given"), [("muscle", (1.1, 0.5, 0.5)), ("weight", (0.5, -0.1, 0.5)),
                                             ("height", (0.5, 0.5, 2.0))])  # fmt: skip
def test_macro_values_out_of_range(name, given):
    with pytest.raises(ConfigError, match=rf"{name}=.* is outside \[0, 1\]"):
        macro_weights(macro(), *given)
    with pytest.raises(ConfigError, match=r"male=1\.5 is outside \[0, 1\]"):
        macro_weights(macro(male=1.5), 0.5, 0.5)


def test_macro_weights_by_hand():
    w = macro_weights(Macro((0.0, 0.25, 0.75), 0.8, 0.75), 0.5, 0.75, 1.0)
    expected = {"asian-male-young": 0.25 * 0.8 * 0.5, "caucasian-female-old": 0.75 * 0.2 * 0.5,
                "universal-male-young-averagemuscle-averageweight": 0.8 * 0.5 * 0.5,
                "universal-male-young-averagemuscle-maxweight": 0.8 * 0.5 * 0.5,
                "height-male-old-averagemuscle-maxweight-maxheight": 0.8 * 0.5 * 0.5}  # fmt: skip
    for name, value in expected.items():
        assert w[name] == pytest.approx(value), name
    assert not any("african" in n or "minweight" in n or "minheight" in n for n in w)
    assert set(w) <= KNOWN


def test_macro_weights_are_partitions_of_one():
    rng = np.random.default_rng(0)
    for _ in range(20):
        who = Macro(tuple(rng.dirichlet([1.0] * 3)), rng.random(), rng.uniform(0.42, 1))
        w = macro_weights(who, rng.random(), rng.random(), rng.random())
        assert sum(v for n, v in w.items() if n.startswith("universal")) == pytest.approx(1)
        assert sum(v for n, v in w.items() if n.split("-")[0] in ("african", "asian", "caucasian")) == (
            pytest.approx(1)
        )


def test_300_people_are_adults_of_known_shapes_and_sane_sizes():
    human = people()
    heights = []
    for seed in range(300):
        who = sample_identity(seed, KNOWN)
        assert 0.42 <= who.macro.age <= 1
        assert sum(who.macro.ancestry) == pytest.approx(1)
        assert set(who.shape) <= KNOWN
        assert not any("child" in n or "baby" in n for n in who.shape)
        if seed < 40:
            body = human.shaped(who.shape)  # refuses weights out of range
            skin = np.unique(human.faces["body"])
            heights.append(0.1 * np.ptp(body[skin, 1]))
    assert min(heights) > 1.4  # no child among them
    assert max(heights) < 2.1


def test_who_does_not_depend_on_numpys_global_state():
    first = sample_identity(3, KNOWN)
    np.random.seed(9)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert sample_identity(3, KNOWN) == first
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert sample_identity(4, KNOWN) != first


def test_lscale_scales_the_local_shapes_only():
    wide, none = sample_identity(3, KNOWN, lscale=1.0), sample_identity(3, KNOWN, lscale=0.5)
    local = {n for stem in SINGLE for n in directions(stem, KNOWN)}
    for name, weight in wide.shape.items():
        expected = 0.5 * weight if name in local or name.startswith(("l-", "r-")) else weight
        assert none.shape[name] == pytest.approx(expected, abs=1e-12), name
    assert wide.macro == none.macro
    assert all(f"head-{n}" in wide.shape for n in HEAD_SHAPES)


def test_faces_are_almost_symmetric():
    pairs = []
    for seed in range(100):
        shape = sample_identity(seed, KNOWN).shape

        def signed(side, stem, shape=shape):
            low, high = directions(f"{side}-{stem}", KNOWN)
            return shape.get(high, 0) - shape.get(low, 0)

        pairs += [(signed("l", s), signed("r", s)) for s in TWO_SIDED]
    left, right = np.array(pairs).T
    assert np.corrcoef(left, right)[0, 1] > 0.9
    assert (left != right).all()


def test_directions():
    assert directions("nose-hump", KNOWN) == ("nose-hump-decr", "nose-hump-incr")
    assert directions("eyebrows-trans:up", KNOWN) == ("eyebrows-trans-down", "eyebrows-trans-up")
    with pytest.raises(ConfigError, match=r"no pair of shapes nose-wings-\.\."):
        directions("nose-wings", KNOWN)
