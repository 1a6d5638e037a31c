"""Measurements of ``mien reproduce compose`` that need no training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.bench import reproduce as bench
from mien.bench.compose import crossed, gate, parts, protocol, replay
from mien.bench.compose.faces import at_template
from mien.bench.compose.protocol import SPLIT
from mien.cli.main import main
from mien.core import io
from mien.core.catalogue import COMPOSE
from mien.core.errors import ConfigError
from mien.core.protocol import Evaluation
from mien.data.rendered_faces import masked
from mien.engine.task import Measured
from mien.render.alignment import TEMPLATE
from mien.synth.face import detail_for
from mien.synth.orbit import studio
from mien.synth.portraits import make_face, photograph


def test_faces_come_to_the_standard_place():
    places = np.array([[20.0, 24], [42, 25], [31, 36], [23, 47], [40, 47]])
    picture = np.zeros((64, 64, 3), np.uint8)
    for x, y in places.astype(int):
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    (found,) = at_template(picture[None], places[None], 32)
    assert found.shape == (32, 32, 3)
    target = np.round((TEMPLATE + 0.5) * (32 / 112) - 0.5).astype(int)
    assert all(found[y, x, 0] > 100 for x, y in target)
    assert (found[0] == masked(np.zeros((1, 32, 32, 3), np.uint8))[0, 0]).all()  # no background


def _probes(n: int = 40) -> gate.Probes:
    severity = np.arange(n) / n
    person = np.arange(n) % 8
    return gate.Probes(np.zeros((n, 8, 8, 3), np.uint8), person, severity, (severity < 0.6).astype(float))


def test_gate_keeps_the_better_half(monkeypatch):
    monkeypatch.setattr(gate, "probes", lambda seed, people: _probes())
    best, any_half = gate.gate(0, "truth", 8), gate.gate(0, "chance", 8)
    assert best.metrics["gate_rank_1"] == 1.0
    assert best.metrics["gate_errors_out"] == 1.0
    assert best.metrics["gate_all"] == pytest.approx(0.6)
    assert best.units["right"].mean() == pytest.approx(best.metrics["gate_rank_1"])
    assert any_half.metrics["gate_rank_1"] < 1
    assert best.extra["rank_1_by_refused_tenths"][0] == pytest.approx(0.6)
    with pytest.raises(ConfigError, match=r"gate by='luck' is none of chance, sharpness, cqil, truth"):
        gate.gate(0, "luck", 8)


def test_draws_are_of_their_seed_and_purpose():
    a = gate.drawn(0, "chance", 50)
    assert (a == gate.drawn(0, "chance", 50)).all()
    assert abs(np.corrcoef(a, gate.drawn(1, "chance", 50))[0, 1]) < 0.4
    assert abs(np.corrcoef(a, gate.drawn(0, "severity", 50))[0, 1]) < 0.4


def test_losses_that_are_alike():
    a = np.array([0.1, 0.5, 0.2])
    assert parts._alike(a, 3 * a + 1) == pytest.approx(1.0)
    assert parts._alike(a, np.ones(3)) == 0.0


def test_screens_differ_in_what_they_show_alone():
    person = make_face(3, detail_for(replay.SIDE))
    own = photograph(person, studio(3), replay.SIDE)
    other = replace(own, rgb=np.roll(own.rgb, 6, 1))
    seen, changed = (replay.presented(v, person, 3, 0, 32) for v in (own, other))
    assert seen["rgb"].shape == (32, 32, 3)
    apart = {m: np.abs(seen[m].astype(int) - changed[m]).mean() for m in seen}
    assert apart["rgb"] > 3
    assert apart["depth"] < 3  # the noise of the sensor
    assert apart["ir"] < 8  # some of the light that it sees is the screen's


def test_only_two_things_are_shown():
    with pytest.raises(ConfigError, match=r"replay shows 'mask'; own or avatar"):
        replay.replay(0, "mask", 1)


def test_shipped_rows_are_measured_once_and_know_their_weights(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MIEN_RESULTS", str(tmp_path / "results"))
    row = next(r for r in protocol.ROWS if r.id == "gate_cqil")
    monkeypatch.setattr(protocol, "ROWS", (row,))
    asked = []

    def measured(evaluation, seed):
        asked.append((evaluation.options["by"], seed))
        return Measured({"gate_rank_1": 0.5 + seed / 10}, {"right": np.full(4, 0.5 + seed / 10)})

    monkeypatch.setattr(crossed, "measured", measured)
    assert main(["reproduce", "compose", "--seeds", "0", "1"]) == 0
    assert main(["reproduce", "compose", "--seeds", "0", "1"]) == 0
    assert asked == [("cqil", 0), ("cqil", 1)]
    assert "nothing was missing" in capsys.readouterr().err
    lines = io.read_lines(tmp_path / "results" / "compose.jsonl")
    assert {line["data"] for line in lines} == {crossed.fingerprint(row.evals[0])}
    assert bench.row_data(COMPOSE, row) == lines[0]["data"]


def test_every_shipped_row_names_a_measurement():
    rows = [r for r in protocol.ROWS if r.evals[0].split == SPLIT]
    assert {r.evals[0].options["what"] for r in rows} == set(crossed.WEIGHTS)
    assert not any(r.stages for r in rows)
    with pytest.raises(ConfigError, match=r"no measurement 'x' with shipped weights; there are gate"):
        crossed.measured(Evaluation("test", SPLIT, options={"what": "x"}), 0)
