"""``mien reproduce compose``: rows whose stages belong to methods."""

from __future__ import annotations

import json

import pytest

from mien.bench.compose import protocol
from mien.cli.main import main
from mien.core import io
from mien.core.catalogue import COMPOSE, method, owner, table_entry
from mien.core.config import evolve_all
from mien.core.errors import ConfigError
from mien.core.protocol import Row, Stage
from mien.methods.ncl.config import RECIPES as NCL
from mien.methods.sagm.config import RECIPES as SAGM_RECIPES


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The committed rows on three-step trainings."""
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MIEN_RESULTS", str(tmp_path / "results"))
    changes = {"optim.kind": "sagm", "optim.base": "sgd", "name": "with"}
    recipes = {"nclpp": NCL["debug"](), "nclpp_sagm": evolve_all(NCL["debug"](), changes)}
    rows = tuple(Row(i, i, (Stage(i, r),), (protocol.TEST,)) for i, r in recipes.items())
    monkeypatch.setattr(protocol, "ROWS", rows)
    return tmp_path


def test_compose_trains_with_the_methods_that_own_the_recipes(small, capsys):
    assert main(["reproduce", "compose", "--seeds", "0"]) == 0
    lines = io.read_lines(small / "results" / "compose.jsonl")
    assert [line["row"] for line in lines] == ["nclpp", "nclpp_sagm"]
    assert {line["method"] for line in lines} == {"compose"}
    assert len(list((small / "home/stages/ncl").iterdir())) == 2
    capsys.readouterr()
    assert main(["results", "compose", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["claims"][0]["id"] == "ncl_sagm"
    assert answer["claims"][0]["holds"] is None  # two seeds are missing
    assert main(["reproduce", "compose", "--seeds", "0"]) == 0
    assert "nothing was missing" in capsys.readouterr().err


def test_rows_differ_in_the_optimiser_only():
    rows = {row.id: row.stages[-1].recipe for row in protocol.ROWS if row.stages}
    plain, with_sagm = rows["nclpp"], rows["nclpp_sagm"]
    assert plain == NCL["small"]()
    assert evolve_all(with_sagm, {"optim": plain.optim, "name": plain.name}) == plain


def test_students_of_one_teacher_differ_in_what_is_distilled_only():
    rows = {row.id: row for row in protocol.ROWS}
    chains = [rows[name].stages for name in ("cakd", "gkd", "cakd_gkd")]
    assert len({stages[0].id for stages in chains}) == 1
    alone, logits, both = (stages[-1].recipe for stages in chains)
    assert (alone.data, alone.optim, alone.schedule) == (both.data, both.optim, both.schedule)
    assert alone.method.logits is None
    assert logits.method.lam_feat == logits.method.aux == 0
    assert both.method.logits == logits.method.logits == "gkd"
    assert owner(both, COMPOSE).name == "cakd"


def test_owner_of_a_recipe():
    assert owner(NCL["debug"](), COMPOSE) is not COMPOSE
    assert owner(NCL["debug"](), COMPOSE).name == "ncl"
    assert owner(SAGM_RECIPES["debug"](), COMPOSE).name == "sagm"
    assert table_entry("compose") is COMPOSE
    assert table_entry("ncl") == method("ncl")
    with pytest.raises(ConfigError, match="did you mean"):
        table_entry("ncll")
