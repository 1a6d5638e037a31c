from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

import mien.core.search as search
from mien.core.errors import ConfigError, DataError
from mien.core.search import Choice, LogUniform, PowerOfTwo, Uniform, apply, check_space, draw, read_space
from mien.methods.ncl.config import RECIPES


def many(sampler, count=2000):
    rng = np.random.default_rng(0)
    return [sampler.sample(rng) for _ in range(count)]


def test_docstring():
    assert doctest.testmod(search).failed == 0


def test_log_uniform_is_uniform_in_the_exponent():
    values = many(LogUniform(-5, -3.5))
    logs = np.log10(values)
    assert -5 <= logs.min() < -4.99
    assert -3.51 < logs.max() <= -3.5
    assert np.mean(logs) == pytest.approx(-4.25, abs=0.03)
    assert all(type(v) is float for v in values)
    assert 1 <= min(many(LogUniform(0, 3, base=2))) < 1.01


def test_uniform_choice_and_power_of_two():
    values = many(Uniform(2, 4))
    assert 2 <= min(values) < max(values) <= 4
    assert np.mean(values) == pytest.approx(3, abs=0.05)
    picked = many(Choice((0.0, "a", True)))
    assert all(0.28 < picked.count(v) / len(picked) < 0.39 for v in (0.0, "a", True))
    powers = many(PowerOfTwo(3, 5.5))
    assert (min(powers), max(powers)) == (8, 45)
    assert all(type(v) is int for v in powers)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Uniform(2, 1),
        lambda: LogUniform(float("nan"), 1),
        lambda: LogUniform(0, 1, base=1.0),
        lambda: PowerOfTwo(0, math.inf),
        lambda: Choice(()),
        lambda: Choice([1, 2]),
    ],
)
def test_samplers_check_their_options(make):
    with pytest.raises(ConfigError):
        make()


def test_draws_are_functions_of_seed_trial_and_path():
    space = {"optim.lr": LogUniform(-4, -2), "optim.weight_decay": LogUniform(-6, -2)}
    assert draw(space, 100, 3) == draw(dict(reversed(space.items())), 100, 3)
    assert draw(space, 100, 3) != draw(space, 100, 4)
    assert draw(space, 100, 3) != draw(space, 101, 3)
    more = {"method.lam": Uniform(0, 1), **space}
    assert {k: draw(more, 100, 3)[k] for k in space} == draw(space, 100, 3)
    assert draw(space, 100, 0) == {}


def test_draws_never_change():
    """Golden: a change of these makes a search that was cut short impossible to go on with."""
    space = {
        "optim.lr": LogUniform(-4, -2),
        "schedule.batch": PowerOfTwo(3, 6),
        "method.lam": Choice((1, 2, 3)),
    }
    assert draw(space, 100, 1) == {
        "optim.lr": pytest.approx(GOLDEN_LR, rel=1e-12),
        "schedule.batch": GOLDEN_BATCH,
        "method.lam": GOLDEN_LAM,
    }


GOLDEN_LR, GOLDEN_BATCH, GOLDEN_LAM = 0.00032401456748015414, 24, 3


def test_apply_sets_nested_values_and_checks_types():
    recipe = RECIPES["debug"]()
    got = apply(recipe, {"optim.lr": 1, "schedule.batch": 32, "method.lam_intra": 0.3})
    assert (got.optim.lr, got.schedule.batch, got.method.lam_intra) == (1.0, 32, 0.3)
    assert type(got.method) is type(recipe.method)
    assert apply(recipe, {}) == recipe
    assert apply(got, {"method.lam_intra": None}).method.lam_intra is None
    assert apply(recipe, {"optim.momentum": 0.5}).optim.momentum == 0.5
    for path, value, text in [
        ("schedule.batch", 3.5, "expected int"),
        ("optim.lr", "fast", "expected float"),
        ("optim.kind", "lion", "lion"),
        ("optim.rho", 0.1, "does not apply to kind='sgd'"),
        ("method.hard_ratio", 2.0, "outside"),
    ]:
        with pytest.raises(ConfigError, match=text):
            apply(recipe, {path: value})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("schedule.steps", "same budget"),
        ("schedule.epochs", "same budget"),
        ("seed", "--seed"),
        ("optim.lrr", "did you mean 'optim.lr'"),
        ("optim", "no setting 'optim'"),
    ],
)
def test_spaces_may_not_name(path, text):
    with pytest.raises(ConfigError, match=text):
        check_space({path: Uniform(0, 1)}, RECIPES["debug"]())


def test_an_empty_space():
    with pytest.raises(ConfigError, match="empty"):
        check_space({}, RECIPES["debug"]())


def written(tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return path


def test_a_space_file(tmp_path):
    path = written(
        tmp_path,
        """
        [space]
        "optim.lr" = {kind = "log_uniform", low = -5, high = -3.5}
        optim.kind = {kind = "choice", values = ["sgd", "adam"]}
        [space.schedule]
        batch = {kind = "power_of_two", low = 3, high = 5.5}
        warmup_epochs = {kind = "uniform", low = 0, high = 1}
        """,
    )
    assert read_space(path) == {
        "optim.lr": LogUniform(-5, -3.5),
        "optim.kind": Choice(("sgd", "adam")),
        "schedule.batch": PowerOfTwo(3, 5.5),
        "schedule.warmup_epochs": Uniform(0, 1),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = 1", "needs one table"),
        ("[space]\nlr = 1", "is no sampler"),
        ('[space]\nlr = {kind = "unifrom", low = 0, high = 1}', "did you mean 'uniform'"),
        ('[space]\nlr = {kind = "uniform", low = 0, hihg = 1}', "did you mean 'high'"),
        ('[space]\nlr = {kind = "uniform", low = 0}', "needs low, high"),
        ('[space]\nlr = {kind = "uniform", low = 1, high = 0}', "low <= high"),
        ('[space]\nlr = {kind = "uniform", low = "a", high = 0}', "must be numbers"),
        ('[space]\nlr = {kind = "choice", values = []}', "at least one"),
        ('[space]\nlr = {kind = "choice", values = 3}', "at least one"),
    ],
)
def test_bad_space_files_name_the_place(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_space(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_file_that_is_no_toml(tmp_path):
    with pytest.raises(DataError, match="not valid TOML"):
        read_space(written(tmp_path, "[space"))
