from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

import mien
from mien.core import catalogue
from mien.core.catalogue import Entry, method, methods, ready, recipe_names
from mien.core.errors import ConfigError

PAPERS = {
    "ncl": "2306.16709",
    "sagm": "2303.10353",
    "gkd": "2304.04462",
    "cakd": "2306.14662",
    "fm_vit": "2305.03277",
    "cqil": "2304.07580",
    "igc_net": "2303.10896",
    "otavatar": "2303.14662",
    "car": "2304.03903",
    "phycine": "2303.01869",
}


def test_ten_systems_with_their_papers(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ())
    assert {name: entry.paper for name, entry in methods().items()} == PAPERS
    assert mien.list_methods() == list(PAPERS)
    assert all(entry.name == name and entry.family and entry.title for name, entry in methods().items())


@pytest.mark.parametrize("name", ready())
def test_ready_methods_have_the_torch_free_modules(name):
    entry = method(name)
    config, protocol = entry.load("config"), entry.load("protocol")
    assert {"small", "debug"} <= set(config.RECIPES)
    assert any(r.startswith("paper") for r in config.RECIPES)
    assert recipe_names(name) == list(config.RECIPES)
    for needed in ("PROTOCOL_VERSION", "SEEDS", "MAIN", "SHOWN", "ROWS", "CLAIMS"):
        assert hasattr(protocol, needed)
    assert hasattr(config, "PredictOptions")


def test_ncl_is_ready():
    assert "ncl" in ready()


def test_unknown_name_suggests():
    with pytest.raises(ConfigError, match="no method 'nlc'; did you mean 'ncl'"):
        method("nlc")
    with pytest.raises(ConfigError, match=r"no method 'zzzzzz'; known: .*ncl"):
        method("zzzzzz")


def test_method_that_this_version_lacks():
    with pytest.raises(ConfigError, match=r"later \(Title\) is not part of this version.*ready: .*ncl"):
        Entry("later", "family", "0000.00000", "Title").load("config")


def test_plug_ins_add_methods_but_replace_none(monkeypatch):
    points = [EntryPoint(n, f"their.{n}", "mien.methods") for n in ("mine", "ncl")]
    asked = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: asked.append(group) or points)
    table = catalogue.methods()
    assert asked == ["mien.methods"]
    assert table["mine"] == Entry("mine", "plug-in", "", "mine", "their.mine")
    assert table["ncl"].package == "mien.methods.ncl"
    assert "mine" in ready()
