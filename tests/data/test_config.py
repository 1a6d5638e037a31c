from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from mien.core.config import MethodConfig, Recipe, evolve, hash_recipe, recipe_from_dict, to_dict
from mien.core.errors import ConfigError, DataError
from mien.data.config import ClassificationData, ClassificationKind, DomainData, DomainKind

RGB = {"channels": 3, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
BASE = Recipe("x", MethodConfig(), ClassificationData())


@pytest.mark.parametrize("kind", get_args(ClassificationKind))
def test_every_kind_survives_a_file(kind):
    root = None if kind in ("fashion_lt", "people", "glyphs_lt", "debug") else "/data"
    recipe = replace(BASE, data=ClassificationData(kind=kind, root=root, size=32, **RGB))
    assert recipe_from_dict(to_dict(recipe), BASE) == recipe


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("size", 7, "data.size=7"),
        ("size", 5000, "data.size=5000"),
        ("imbalance", 0.5, "data.imbalance="),
        ("imbalance", float("nan"), "data.imbalance="),
        ("n_max", 0, "data.n_max=0"),
        ("val_per_class", -1, "data.val_per_class"),
        ("workers", -1, "data.workers"),
        ("workers", 1000, "data.workers"),
        ("mean", (0.5, 0.5), "need 1 value"),
        ("std", (), "need 1 value"),
        ("std", (0.0,), "data.std="),
        ("std", (-0.1,), "data.std="),
        ("std", (float("nan"),), "data.std="),
        ("std", (float("inf"),), "data.std="),
        ("mean", (float("nan"),), "data.mean="),
        ("mean", (float("inf"),), "data.mean="),
        ("channels", 3, "need 3 value"),
        ("root", "/somewhere", "root does not apply to 'fashion_lt', which needs no files"),
        ("imbalance", 10.0, "imbalance does not apply to kind='fashion_lt'"),
        ("n_max", 10, "n_max does not apply to kind='fashion_lt'"),
        ("people", 10, "people does not apply to kind='fashion_lt'"),
        ("test_per_class", 10, "test_per_class does not apply to kind='fashion_lt'"),
    ],
)
def test_values_that_are_refused(path, value, says):
    with pytest.raises(ConfigError, match=says):
        evolve(BASE, f"data.{path}", value)


@pytest.mark.parametrize("kind", ["imagenet_lt", "places_lt", "inat2018", "json"])
def test_sets_that_are_long_tailed_as_they_are(kind):
    ClassificationData(kind=kind, **RGB)
    with pytest.raises(ConfigError, match="imbalance does not apply"):
        ClassificationData(kind=kind, imbalance=100.0, **RGB)


@pytest.mark.parametrize(
    "kind", ["idx", "cifar10_lt", "cifar100_lt", "folder", "people", "glyphs_lt", "debug"]
)
def test_sets_that_are_cut_to_a_long_tail(kind):
    assert ClassificationData(kind=kind, imbalance=100.0, n_max=50).n_max == 50
    with pytest.raises(ConfigError, match=r"n_max needs data\.imbalance"):
        ClassificationData(kind=kind, n_max=50)


def test_where_the_copy_lies_does_not_change_the_hash():
    first, second = (
        replace(BASE, data=ClassificationData(kind="folder", root=r, workers=w))
        for r, w in (("/a", 0), ("/b", 8))
    )
    assert hash_recipe(first) == hash_recipe(second)
    assert hash_recipe(first) != hash_recipe(evolve(first, "data.subset_seed", 1))


def test_root(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"data\.kind='folder' reads your copy.*--data\.root DIR"):
        ClassificationData(kind="folder").require_root()
    with pytest.raises(DataError, match=r"missing: no such folder; give the folder"):
        ClassificationData(kind="folder", root=str(tmp_path / "missing")).require_root()
    (tmp_path / "list.json").write_text("{}")
    single = ClassificationData(kind="json", root=str(tmp_path / "list.json"))
    with pytest.raises(DataError, match="a file, not a folder"):
        single.require_root()
    assert single.require_root(may_be_file=True) == tmp_path / "list.json"
    assert ClassificationData(kind="folder", root=str(tmp_path)).require_root() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ClassificationData(kind="folder", root="~").require_root() == tmp_path


@pytest.mark.parametrize("kind", get_args(DomainKind))
def test_every_kind_of_domains_survives_a_file(kind):
    root = None if kind in ("emoji_dg", "digits_dg", "rotated_fashion", "debug") else "/data"
    base = Recipe("x", MethodConfig(), DomainData())
    recipe = replace(base, data=DomainData(kind=kind, root=root, held_out=("a", "b")))
    assert recipe_from_dict(to_dict(recipe), base) == recipe


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"size": 7}, "data.size=7"),
        ({"holdout": 0.95}, "data.holdout="),
        ({"workers": -1}, "data.workers"),
        ({"trial_seed": -1}, "data.trial_seed"),
        ({"held_out": ("a", "a")}, "none, one or two different domains"),
        ({"held_out": ("a", "b", "c")}, "none, one or two different domains"),
        ({"kind": "digits_dg", "concepts": "unseen"}, "applies to emoji_dg only"),
        ({"channels": 1}, "one per channel"),
        ({"kind": "digits_dg", "root": "/data"}, "does not apply to 'digits_dg', which needs no files"),
    ],
)
def test_domain_settings_out_of_range(fields, says):
    with pytest.raises(ConfigError, match=says):
        DomainData(**fields)
