from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal

import pytest

from mien.core import io
from mien.core.config import (
    NO_HASH,
    DataConfig,
    MethodConfig,
    OptimConfig,
    Recipe,
    ScheduleConfig,
    check_range,
    evolve,
    evolve_all,
    from_dict,
    hash_dict,
    hash_recipe,
    read_recipe_file,
    recipe_from_dict,
    refuse_inapplicable,
    save_recipe,
    suggest,
    to_dict,
)
from mien.core.errors import ConfigError, DataError


@dataclass(frozen=True)
class ToyMethod(MethodConfig):
    width: int = 4
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"
    is_on: bool = True
    names: tuple[str, ...] = ()
    sizes: tuple[float, ...] = (1.0, 2.0)
    limit: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class ToyData(DataConfig):
    size: int = 8
    root: str | None = field(default=None, metadata=NO_HASH)


BASE = Recipe("toy", ToyMethod(), ToyData())
FULL = Recipe(
    "toy-full",
    ToyMethod(7, 1e-9, "b", False, ("é", 'q"\n'), (), 3, "x"),
    ToyData(16, "/some where"),
    OptimConfig("sam", 0.02, 1e-4, 0.8, "sgd", 0.1),
    ScheduleConfig(
        epochs=2.5, steps=7, batch=6, accumulate=3, milestones=(1.0, 1.5), grad_clip=1.0, ema=0.99
    ),
    seed=2**40,
)


def nested(path, value):
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def refused(path, value):
    """The message of the error that a recipe file with this one extra setting gives."""
    values = to_dict(BASE)
    place = values
    *parents, leaf = path.split(".")
    for part in parents:
        place = place[part]
    place[leaf] = value
    with pytest.raises(ConfigError) as caught:
        recipe_from_dict(values, BASE, where="config.toml")
    return str(caught.value)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("recipe", [BASE, FULL], ids=["defaults", "all set"])
def test_a_recipe_survives_a_file(recipe, tmp_path):
    save_recipe(tmp_path / "config.toml", "toy", recipe)
    method, values = read_recipe_file(tmp_path / "config.toml")
    again = recipe_from_dict(values, BASE)
    assert method == "toy"
    assert again == recipe
    assert type(again) is Recipe
    assert isinstance(again.method.sizes, tuple)
    assert hash_recipe(again) == hash_recipe(recipe)
    assert recipe_from_dict(to_dict(recipe), BASE) == recipe


def test_whole_numbers_do_for_floats_and_back():
    values = {"name": "x", "method": {"rate": 1, "width": 4.0}, "data": {}}
    found = recipe_from_dict(values, BASE).method
    assert isinstance(found.rate, float)
    assert isinstance(found.width, int)


def test_a_file_of_something_else(tmp_path):
    for text in ("a = 1\n", "mien_method = 3\n"):
        path = io.write_text(tmp_path / "config.toml", text)
        with pytest.raises(DataError, match="not a config of a mien run"):
            read_recipe_file(path)


def test_missing_parts_are_defaults_but_not_the_name():
    found = recipe_from_dict({"name": "x", "method": {}, "data": {}}, FULL)
    assert found == Recipe("x", ToyMethod(), ToyData())
    with pytest.raises(ConfigError):
        recipe_from_dict({"method": {}, "data": {}}, BASE)


# ---------------------------------------------------------------- what is refused


def test_unknown_keys_name_their_path_and_suggest():
    assert refused("method.widht", 3) == "config.toml: unknown key 'method.widht'; did you mean 'width'?"
    assert refused("optim.learning_rate_of_it", 3).startswith(
        "config.toml: unknown key 'optim.learning_rate_of_it'; known: adaptive, alpha"
    )
    assert refused("shedule", {}) == "config.toml: unknown key 'shedule'; did you mean 'schedule'?"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("method.width", "4"),
        ("method.width", 4.5),
        ("method.width", True),
        ("method.width", None),
        ("method.width", [4]),
        ("method.width", float("inf")),
        ("method.width", float("nan")),
        ("method.rate", "fast"),
        ("method.rate", False),
        ("method.is_on", 1),
        ("method.is_on", "yes"),
        ("method.kind", "c"),
        ("method.kind", 1),
        ("method.names", [1]),
        ("method.names", "abc"),
        ("method.sizes", ["1"]),
        ("method.sizes", 1.0),
        ("method.limit", "3"),
        ("method.limit", 1.5),
        ("method.label", 3),
        ("data.size", {}),
        ("optim.kind", "sdg"),
        ("schedule.milestones", ["first"]),
        ("seed", "zero"),
        ("name", 3),
    ],
)
def test_wrong_types_name_their_path(path, value):
    message = refused(path, value)
    assert message.startswith("config.toml: ")
    assert path in message
    assert "\n" not in message


@pytest.mark.parametrize("path", ["method", "data", "optim", "schedule"])
@pytest.mark.parametrize("value", [3, "x", [1]])
def test_a_section_that_is_none(path, value):
    assert path in refused(path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optim.lr", float("nan")),
        ("optim.lr", float("inf")),
        ("optim.lr", -0.1),
        ("optim.weight_decay", float("nan")),
        ("optim.momentum", 1.5),
        ("schedule.epochs", 0),
        ("schedule.epochs", float("nan")),
        ("schedule.steps", 0),
        ("schedule.batch", 0),
        ("schedule.accumulate", 0),
        ("schedule.ema", 2.0),
        ("schedule.lr_end", -0.1),
        ("schedule.gamma", 1.1),
        ("schedule.grad_clip", 0.0),
        ("schedule.grad_clip", float("nan")),
        ("schedule.warmup_epochs", -1),
        ("schedule.warmup_epochs", float("nan")),
        ("schedule.eval_every", float("nan")),
        ("schedule.checkpoint_every", -1),
        ("schedule.log_every", 0),
    ],
)
def test_values_out_of_range(path, value):
    assert f"{path}=" in refused(path, value)
    with pytest.raises(ConfigError, match=f"{path}="):
        evolve(BASE, path, value)


def test_milestones_are_numbers():
    with pytest.raises(ConfigError, match="milestones"):
        ScheduleConfig(milestones=(1.0, float("nan")))


def test_batch_is_split_evenly():
    with pytest.raises(ConfigError, match="batch=10 is not a multiple of accumulate=4"):
        ScheduleConfig(batch=10, accumulate=4)


def test_best_weights_need_looks_at_validation():
    with pytest.raises(ConfigError, match=r"needs schedule\.eval_every"):
        ScheduleConfig(select="best")
    assert ScheduleConfig(select="best", eval_every=1.0).select == "best"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "sgd", "rho": 0.1}, r"rho does not apply to kind='sgd', only to \['sam', 'asam'"),
        ({"kind": "adam", "base": "sgd"}, "base does not apply to kind='adam'"),
        ({"kind": "adamw", "momentum": 0.9}, "momentum does not apply to kind='adamw'"),
        ({"kind": "sam", "base": "adam", "momentum": 0.9}, "momentum does not apply"),
    ],
)
def test_fields_that_do_not_apply_to_the_kind(options, says):
    with pytest.raises(ConfigError, match=says):
        OptimConfig(**options)


def test_fields_that_do_apply():
    assert OptimConfig("sam", momentum=0.9, rho=0.1).rho == 0.1
    assert OptimConfig("sam", base="sgd", momentum=0.9).momentum == 0.9
    assert OptimConfig("sgd", momentum=0.0).momentum == 0.0


def test_check_range():
    check_range("a", "b", None, 0.0)
    check_range("a", "b", 0, 0.0, 1.0)
    check_range("a", "b", 1.0, 0.0, 1.0)
    for value in (-1e-9, 1.0001, float("nan")):
        with pytest.raises(ConfigError, match=r"a\.b="):
            check_range("a", "b", value, 0.0, 1.0)


def test_refuse_inapplicable_looks_at_set_fields_only():
    refuse_inapplicable(ToyMethod(), "a", {"limit": ("b",)})
    refuse_inapplicable(ToyMethod(limit=3), "b", {"limit": ("b",)})
    with pytest.raises(ConfigError, match=r"ToyMethod.limit does not apply to kind='a', only to \['b'\]"):
        refuse_inapplicable(ToyMethod(limit=3), "a", {"limit": ("b",)})


def test_nothing_in_a_file_names_code():
    """Strings stay strings, whatever they look like."""
    found = from_dict(ToyMethod, {"label": "os.system", "names": ["!!python/object:os.system"]})
    assert found.label == "os.system"
    assert found.names == ("!!python/object:os.system",)


# ---------------------------------------------------------------- evolve


def test_evolve_copies():
    found = evolve(BASE, "optim.lr", 0.2, name="other", seed=3)
    assert (found.optim.lr, found.name, found.seed) == (0.2, "other", 3)
    assert (BASE.optim.lr, BASE.name, BASE.seed) == (0.1, "toy", 0)
    assert evolve(BASE, "seed", 5).seed == 5
    assert evolve(found, "optim.lr", 0.1, name="toy", seed=0) == BASE


def test_evolve_refuses():
    with pytest.raises(ConfigError, match="unknown setting 'optm' in Recipe; did you mean 'optim'"):
        evolve(BASE, "optm.lr", 0.2)
    with pytest.raises(ConfigError, match="unknown setting 'rl' in OptimConfig"):
        evolve(BASE, "optim.rl", 0.2)
    with pytest.raises(ConfigError, match="does not apply"):
        evolve(BASE, "optim.rho", 0.2)


def test_evolve_all_checks_the_final_combination_only():
    found = evolve_all(
        BASE, {"optim.rho": 0.2, "optim.kind": "sam", "schedule.batch": 9, "schedule.accumulate": 3}
    )
    assert found.optim == OptimConfig("sam", rho=0.2)
    assert found.schedule.batch == 9
    assert evolve_all(BASE, {}) == BASE
    with pytest.raises(ConfigError, match="multiple"):
        evolve_all(BASE, {"schedule.batch": 9, "schedule.accumulate": 2})


def test_suggest():
    assert suggest("lambda", ["lam", "rho"]) == "; did you mean 'lam'?"
    assert suggest("zzz", ["b", "a"]) == "; known: a, b"


# ---------------------------------------------------------------- hash


def changed(config, name):
    """A copy with one field replaced by a marker, past all checks."""
    new = copy.copy(config)
    object.__setattr__(new, name, "another value")
    return new


def leaves(recipe):
    for section in fields(recipe):
        config = getattr(recipe, section.name)
        if is_dataclass(config):
            for f in fields(config):
                yield section.name, f


@pytest.mark.parametrize(
    ("section", "f"), list(leaves(FULL)), ids=lambda v: v if isinstance(v, str) else v.name
)
def test_hash_depends_on_every_field_that_changes_numbers(section, f):
    other = dataclasses.replace(FULL, **{section: changed(getattr(FULL, section), f.name)})
    is_same = hash_recipe(other) == hash_recipe(FULL)
    assert is_same == (f.metadata.get("hash") is False)


def test_fields_outside_the_hash():
    outside = {f"{section}.{f.name}" for section, f in leaves(FULL) if f.metadata.get("hash") is False}
    looks = {"schedule.eval_every", "schedule.eval_steps"}
    assert outside == {"data.root", "schedule.checkpoint_every", "schedule.log_every"} | looks


def test_hash_does_not_depend_on_name_and_seed():
    assert hash_recipe(dataclasses.replace(FULL, name="other", seed=9)) == hash_recipe(FULL)
    assert len(hash_recipe(FULL)) == 12
    assert int(hash_recipe(FULL), 16) >= 0


def test_when_the_best_weights_are_kept_looks_change_numbers():
    """How often one looks decides which weights there are to choose from."""
    first, second = (
        evolve_all(BASE, {"schedule.select": "best", "schedule.eval_every": e}) for e in (1.0, 2.0)
    )
    assert hash_recipe(first) != hash_recipe(second)
    first, second = (evolve(BASE, "schedule.eval_every", e) for e in (1.0, 2.0))
    assert hash_recipe(first) == hash_recipe(second)


def test_hash_tells_methods_apart():
    @dataclass(frozen=True)
    class OtherMethod(ToyMethod):
        pass

    assert hash_recipe(dataclasses.replace(BASE, method=OtherMethod())) != hash_recipe(BASE)


def test_an_unset_field_is_left_out_so_a_new_one_voids_no_result():
    assert "limit" not in to_dict(ToyMethod())
    assert to_dict(ToyMethod(limit=0))["limit"] == 0
    assert "root" not in to_dict(ToyData(root="/x"), hashed=True)


def test_hash_dict_does_not_depend_on_order():
    assert hash_dict({"a": 1, "b": [2]}) == hash_dict({"b": [2], "a": 1})
    assert hash_dict({"a": 1}) != hash_dict({"a": 1.5})
    assert hash_dict([1, 2]) != hash_dict([2, 1])
