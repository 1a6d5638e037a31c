"""The whole chain on three-step trainings: shared stages, resumption, verdicts, generated tables."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mien.bench import store, tables
from mien.bench.reproduce import measure, other_data, reproduce, run_facts, train_chain
from mien.core import io
from mien.core.catalogue import method
from mien.core.config import evolve_all
from mien.core.errors import ConfigError, DataError, MienError
from mien.core.protocol import Claim, Equal, Evaluation, PairedGain, Row, Stage
from mien.engine.stages import chain_key, is_finished, locked, stage_key, train_recipe, train_stages
from mien.engine.task import Measured
from mien.methods.ncl.config import RECIPES

TEST = Evaluation("test")
ONE = Stage("one", RECIPES["debug"]())
TWO = Stage("two", evolve_all(RECIPES["debug"](), {"name": "other", "method.inter": False}))
ROWS = (
    Row("a", "first", (ONE,), (TEST,)),
    Row("b", "second", (TWO,), (TEST,)),
    Row("c", "first again, adjusted", (ONE,), (replace(TEST, options={"adjust": 1.0}),), "all"),
)
CLAIMS = (
    Claim("same", "mechanism", "a row equals itself", ("a", "a"), "single", Equal()),
    Claim("more", "paper", "first beats second", ("a", "b"), "single", PairedGain()),
    Claim("whole", "extra", "a metric without units", ("a", "b"), "recall", PairedGain(), unit="recall"),
)


class Toy:
    """ncl with a small protocol of its own."""

    name, title, paper, measured = "toy", "a toy", "0000.00000", True

    def __init__(self, version=1):
        self.version = version

    def load(self, module):
        if module == "protocol":
            return SimpleNamespace(
                ROWS=ROWS,
                CLAIMS=CLAIMS,
                SEEDS=(0, 1),
                PROTOCOL_VERSION=self.version,
                SHOWN={"single_all": ("single, %", 100.0), "expert_kl": ("KL", 1.0)},
                MAIN="a",
            )
        return method("ncl").load(module)


@pytest.fixture(autouse=True)
def catalogued(monkeypatch):
    """The toy is in the catalogue."""
    monkeypatch.setattr(
        "mien.engine.folder.method_entry", lambda name: Toy() if name == "toy" else method(name)
    )


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def test_rows_are_measured_once_and_share_stages(results, home):
    said = []
    assert reproduce(Toy(), ROWS, (0, 1), said.append) == 6
    trained = [s for s in said if s.startswith("training")]
    assert len(trained) == 4  # two stages, two seeds; the third row reuses the first one's
    assert reproduce(Toy(), ROWS, (0, 1), said.append) == 0
    lines = io.read_lines(results / "toy.jsonl")
    assert len(lines) == 6
    assert {
        "method",
        "row",
        "eval",
        "seed",
        "key",
        "data",
        "metrics",
        "units",
        "commit",
        "seconds",
        "machine",
    } <= set(lines[0])
    table = store.load_table(Toy())
    assert table.missing("all") == []
    verdicts = {c["id"]: c for c in store.claims_json(table)}
    assert verdicts["same"]["holds"] is True
    assert verdicts["same"]["interval"] == [0.0, 0.0]
    assert verdicts["more"]["seeds"] == 2
    low, high = verdicts["more"]["interval"]
    assert low <= verdicts["more"]["value"] <= high
    rows = {r["id"]: r for r in store.rows_json(table)}
    assert rows["a"]["metrics"]["single_all"]["n"] == 2
    assert rows["c"]["metrics"]["single_all"]["n"] == 2
    raw = [r["metrics"]["single_all"] for r in lines if r["row"] == "a"]
    assert rows["a"]["metrics"]["single_all"]["mean"] == pytest.approx(np.mean(raw))


def test_another_protocol_version_voids_old_lines(results):
    reproduce(Toy(), ROWS[:1], (0,), lambda _: None)
    assert store.load_table(Toy()).records[("a", "test")]
    void = store.load_table(Toy(version=2))
    assert not void.records[("a", "test")]
    claim = store.claims_json(void)[1]
    assert claim["holds"] is None
    assert "lacks seeds [0, 1]" in claim["reason"]


def test_rows_on_different_data_have_no_verdict(results):
    reproduce(Toy(), ROWS[:2], (0, 1), lambda _: None)
    path = results / "toy.jsonl"
    lines = io.read_lines(path)
    lines[0]["data"] = "other"
    path.write_text("".join(json.dumps(r) + "\n" for r in lines))
    assert "different data" in store.claims_json(store.load_table(Toy()))[1]["reason"]


def test_results_on_other_data_are_stale_and_measured_again(results):
    reproduce(Toy(), ROWS[:1], (0,), lambda _: None)
    assert other_data(store.load_table(Toy())) == []
    path = results / "toy.jsonl"
    path.write_text(path.read_text().replace(io.read_lines(path)[0]["data"], "ffffffffffff"))
    assert "measured on other data" in other_data(store.load_table(Toy()))[0]
    assert reproduce(Toy(), ROWS[:1], (0,), lambda _: None) == 1
    assert other_data(store.load_table(Toy())) == []


def test_missing_rows_are_named(results):
    reproduce(Toy(), ROWS[:1], (0,), lambda _: None)
    table = store.load_table(Toy())
    assert table.missing() == ["a (seeds 1)", "b (seeds 0, 1)"]
    assert table.missing("all")[-1] == "c (seeds 0)"


def test_choose_rows():
    assert [r.id for r in store.choose_rows(ROWS, "claims")] == ["a", "b"]
    assert [r.id for r in store.choose_rows(ROWS, "all")] == ["a", "b", "c"]
    assert [r.id for r in store.choose_rows(ROWS, "c,a")] == ["a", "c"]
    with pytest.raises(ConfigError, match="no row 'x'"):
        store.choose_rows(ROWS, "x")


def test_keys_follow_what_is_computed():
    seeded = Stage("other-id", evolve_all(ONE.recipe, {"name": "x", "seed": 5, "schedule.log_every": 7}))
    assert chain_key((ONE,)) == chain_key((seeded,))
    assert chain_key((ONE,)) != chain_key((TWO,))
    student = Stage("student", ONE.recipe, {"teacher": "one"})
    assert chain_key((ONE, student)) != chain_key((ONE,))
    changed = Stage("one", TWO.recipe)
    assert chain_key((ONE, student)) != chain_key((changed, student))
    assert chain_key(()) == "none"
    assert stage_key(student, {"one": "k"}) != stage_key(student, {"one": "l"})


def test_a_stage_that_was_cut_short_goes_on(home):
    stage = Stage("s", evolve_all(RECIPES["debug"](), {"schedule.steps": 6, "schedule.checkpoint_every": 2}))
    (model,), fingerprint = train_chain(Toy(), (stage,), 0, lambda _: None, None)
    assert is_finished(model.path)
    assert len(fingerprint) == 12
    whole = io.sha256(model.weights)
    (model.path / "weights.safetensors").unlink()
    (again,), _ = train_chain(Toy(), (stage,), 0, lambda _: None, None)
    assert io.sha256(again.weights) == whole


def test_a_folder_of_other_settings_is_refused(tmp_path):
    entry = method("ncl")
    train_recipe(entry, ONE.recipe, tmp_path)
    with pytest.raises(ConfigError, match="other settings"):
        train_recipe(entry, TWO.recipe, tmp_path)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    with locked(tmp_path / "run"), pytest.raises(MienError, match="another process"):
        with locked(tmp_path / "run"):
            pass
    with locked(tmp_path / "run"):
        assert True


def test_documents_are_generated_and_checked(results, tmp_path, monkeypatch):
    reproduce(Toy(), ROWS[:2], (0, 1), lambda _: None)
    io.append_line(results / "toy.facts.jsonl", {"name": "x", "text": "a measured thing", "value": "old"})
    io.append_line(results / "toy.facts.jsonl", {"name": "x", "text": "a measured thing", "value": "42"})
    (tmp_path / "README.md").write_text(
        "before\n<!-- results:toy:rows -->\nold\n<!-- end results -->\n"
        "<!-- results:toy:claims -->\n<!-- end results -->\n"
        "<!-- results:toy:facts -->\n<!-- end results -->\n"
        "<!-- results:all:overview -->\n<!-- end results -->\n"
        "<!-- results:all:verdicts -->\n<!-- end results -->\n"
        "<!-- results:paper:costs -->\n<!-- end results -->\nafter\n"
    )
    cost = {"name": "toy/paper", "cells": {"recipe": "`toy --preset paper`", "GPU hours": "12"}}
    io.append_line(results / "paper.costs.jsonl", {**cost, "cells": {"recipe": "old"}})
    io.append_line(results / "paper.costs.jsonl", cost)
    monkeypatch.setattr(tables, "root", lambda: tmp_path)
    loaded = [store.load_table(Toy())]
    assert tables.stale_documents(loaded) == ["README.md: not regenerated, run mien results --write"]
    assert tables.write_documents(loaded) == [tmp_path / "README.md"]
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| first | 2 |" in text
    assert "`same`" in text
    assert "| a measured thing | 42 |" in text
    assert "[`toy`]" in text
    assert "| system | holds | does not hold | open |" in text
    assert "| recipe | GPU hours |\n|---|---|\n| `toy --preset paper` | 12 |\n<!--" in text
    assert tables.stale_documents(loaded) == []
    (tmp_path / "README.md").write_text("<!-- results:nope:rows -->\n<!-- end results -->")
    with pytest.raises(DataError, match="nope:rows"):
        tables.stale_documents(loaded)


def test_verdicts_by_kind_and_outcome(monkeypatch):
    claims = [
        {"id": "a", "kind": "mechanism", "holds": True},
        {"id": "b", "kind": "paper", "holds": False},
        {"id": "c", "kind": "extra", "holds": None},
        {"id": "d", "kind": "paper", "holds": True},
    ]
    monkeypatch.setattr(tables, "claims_json", lambda table: claims)
    entry = SimpleNamespace(name="toy", measured=True)
    (line,) = tables.verdict_rows([SimpleNamespace(entry=entry)])
    assert line == {"system": "`toy`", "holds": "**`a`**, `d`", "does not hold": "`b`", "open": "`c`"}
    entry.measured = False
    assert tables.verdict_rows([SimpleNamespace(entry=entry)])[0]["open"] == "not measured yet"


def test_tables_without_results_say_so():
    assert tables.markdown([]) == "(no results yet)\n"


def test_commit_of_a_checkout_or_nothing(monkeypatch):
    assert isinstance(store.commit(), str)
    monkeypatch.setenv("PATH", "")
    assert store.commit() == ""


class Chained(Toy):
    """Remembers which earlier stages a build was given; rows may be training-free."""

    def __init__(self):
        super().__init__()
        self.given = []

    def load(self, module):
        if module == "task":
            real = method("ncl").load("task")

            def build(recipe, uses):
                self.given.append({slot: path.exists() for slot, path in uses.items()})
                return real.build(recipe, {})

            return SimpleNamespace(build=build)
        if module == "evaluate":
            return SimpleNamespace(
                evaluate=lambda model, evaluation: Measured({"model": float(model is not None)})
            )
        return super().load(module)


STUDENT = Stage("student", TWO.recipe, {"teacher": "one"})


def test_later_stages_get_the_folders_of_earlier_ones(tmp_path):
    entry = Chained()
    train_chain(entry, (ONE, STUDENT), 0, lambda _: None, None)
    assert entry.given == [{}, {"teacher": True}]
    train_stages(entry, (ONE, STUDENT), tmp_path / "run", {})
    assert is_finished(tmp_path / "run")
    assert is_finished(tmp_path / "run" / "stages" / "one")
    entry.given.clear()
    train_stages(entry, (ONE, STUDENT), tmp_path / "again", {"one": tmp_path / "run" / "stages" / "one"})
    assert entry.given == [{"teacher": True}]
    with pytest.raises(ConfigError, match="toy has: one"):
        train_stages(entry, (ONE, STUDENT), tmp_path / "x", {"two": tmp_path})


def test_a_row_without_training_is_evaluated(results):
    free = Row("a", "no training", (), (TEST,))
    record = None
    entry = Chained()
    models, data = train_chain(entry, free.stages, 0, lambda _: None, None)
    assert models == []
    assert data == "none"
    measured = measure(entry, free, models, TEST)
    record = store.make_record("toy", free, TEST, 0, 1, data, measured)
    assert record["metrics"] == {"model": 0.0}
    assert run_facts([])["seconds"] == 0.0


def test_a_row_of_all_its_models_and_a_bench_row(results, monkeypatch):
    """``models="all"``: the method sees every stage, in order; a bench row has no model at all."""
    from mien.bench import reproduce as module
    from mien.engine.stages import needed, row_key

    seen = []
    both = Row("a", "both", (ONE, TWO), (TEST,), models="all")
    evaluate = SimpleNamespace(evaluate_many=lambda models, e: seen.append([m.path for m in models]))
    entry = SimpleNamespace(name="toy", load=lambda name: evaluate)
    folders = [SimpleNamespace(path=p) for p in ("one", "two")]
    measure(entry, both, folders, TEST)
    assert seen == [["one", "two"]]
    assert row_key(both) != row_key(replace(both, stages=(TWO,)))
    assert row_key(replace(both, models="last")) == chain_key((ONE, TWO))
    assert needed((ONE, TWO)) == (TWO,)
    assert needed((ONE, replace(TWO, uses={"slot": "one"}))) == (ONE, replace(TWO, uses={"slot": "one"}))
    monkeypatch.setattr(module, "run_bench", lambda name: {"ratios": {"time": 1.5}})
    free = Row("b", "bench", (), (Evaluation("cost", "bench", "bench", {"name": "x"}),))
    assert measure(entry, free, [], free.evals[0]).metrics == {"time": 1.5}


def test_a_metric_that_is_missing_gives_no_verdict(results):
    reproduce(Toy(), ROWS[:2], (0, 1), lambda _: None)
    claim = Claim("odd", "extra", "not measured", ("a", "b"), "nowhere", PairedGain())
    verdict = store.load_table(Toy()).verdict(claim)
    assert verdict.holds is None
    assert "not finite" in verdict.reason


def _filled(claims, extra=None, metrics=None):
    """A table of two rows on two seeds, with made values of three units."""

    def record(row, seed):
        values = np.array([1.0, 1.0, 0.0]) if row == "a" else np.array([0.0, 1.0, 0.0])
        return {
            "metrics": {"single": float(values.mean())} if metrics is None else metrics,
            "units": {"single": store.pack_units(values)},
            "extra": extra or {},
            "data": "d",
        }

    records = {(r.id, "test"): {s: record(r.id, s) for s in (0, 1)} for r in ROWS[:2]}
    return store.Table(Toy(), ROWS[:2], claims, (0, 1), records)


@pytest.mark.parametrize(("gain", "holds"), [(-1.0, True), (0.9, None)])
def test_a_claim_that_requires_another_is_void_without_it(gain, holds):
    claims = (
        Claim("first", "extra", "a is far better", ("a", "b"), "single", PairedGain(above=gain)),
        Claim("same", "paper", "a equals a", ("a", "a"), "single", Equal(), requires="first"),
    )
    verdict = _filled(claims).verdict(claims[1])
    assert verdict.holds is holds
    if holds is None:
        assert verdict.reason.startswith("void: first does not hold")


def test_rows_show_the_intervals_of_their_evaluation():
    table = _filled((), extra={"intervals": {"single": [0.25, 0.75]}}, metrics={"single": 0.5})
    assert table.intervals(ROWS[0], TEST) == {"single": (0.25, 0.75)}
    assert tables._cell({"mean": 0.5, "std": 0.1, "n": 2}, 100.0, (0.25, 0.75)) == "50.0 ± 10.0 [25.0, 75.0]"


def test_an_evaluation_that_could_not_be_made_says_so():
    table = _filled((), extra={"left_out": "no such package"}, metrics={})
    assert table.left_out(ROWS[0], TEST) == "no such package"
    lines = tables.metric_rows(table)
    assert [line["single, %"] for line in lines] == ["-", "-"]


def test_data_that_would_be_drawn_first_are_not_drawn_for_a_check(results, monkeypatch):
    reproduce(Toy(), ROWS, (0,), lambda _: None)
    monkeypatch.setattr("mien.bench.reproduce.row_data", lambda *_: "other")
    assert len(other_data(store.load_table(Toy()))) == 3
    task = method("ncl").load("task")
    monkeypatch.setattr(task, "at_hand", lambda recipe: False, raising=False)
    assert other_data(store.load_table(Toy())) == []


def test_complete_rows_are_not_drawn_again(results, monkeypatch):
    reproduce(Toy(), ROWS, (0,), lambda _: None)
    monkeypatch.setattr(method("ncl").load("task"), "at_hand", lambda recipe: False, raising=False)
    monkeypatch.setattr("mien.bench.reproduce.row_data", lambda *_: pytest.fail("the set would be drawn"))
    assert reproduce(Toy(), ROWS, (0,), lambda _: None) == 0


def test_rows_without_a_common_measurement_stand_apart():
    lines = [
        {"row": "a", "x": "1", "y": "-", "z": "-"},
        {"row": "b", "x": "-", "y": "2", "z": "-"},
        {"row": "c", "x": "-", "y": "-", "z": "-"},
        {"row": "d", "x": "3", "y": "-", "z": "4"},
    ]
    first, second = tables.apart(lines, ["x", "y", "z"])
    assert [line["row"] for line in first] == ["a", "c", "d"]
    assert list(first[0]) == ["row", "x", "z"]
    assert second == [{"row": "b", "y": "2"}]
    bridge = {"row": "e", "x": "1", "y": "1", "z": "-"}
    assert tables.apart([*lines, bridge], ["x", "y", "z"]) == [[*lines, bridge]]
