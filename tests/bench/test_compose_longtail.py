"""Long-tailed people: known ones by thirds, unseen ones by pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.bench.compose import longtail, protocol
from mien.cli.main import main
from mien.core import io
from mien.core.config import evolve_all
from mien.core.protocol import Row, Stage
from mien.methods.ncl.model import MultiExpertNet

TINY = {
    "method.backbone": "smallconv-4",
    "data.size": 16,
    "data.people": 4,
    "data.n_max": 3,
    "data.imbalance": 3.0,
    "data.val_per_class": 1,
    "data.test_per_class": 2,
    "schedule.steps": 3,
    "schedule.batch": 4,
    "schedule.warmup_epochs": 0.0,
}


def people_rows():
    return [r for r in protocol.ROWS if r.evals[0].split == protocol.PEOPLE]


def test_known_people_against_loops():
    torch.manual_seed(0)
    people, each, experts = 7, 3, 2
    counts = np.array([9, 7, 7, 4, 3, 2, 2])
    target = np.repeat(np.arange(people), each)
    logits = torch.randn(experts, people * each, people)
    measured = longtail.known_people(logits, target, counts)
    share = []
    for p in range(people):
        own = np.flatnonzero(target == p)
        share.append(np.mean([float(logits[k, i].argmax() == p) for k in range(experts) for i in own]))
    np.testing.assert_allclose(measured.units["known"], share, atol=1e-12)
    assert measured.metrics["known"] == pytest.approx(np.mean(share))
    assert measured.metrics["known_many"] == pytest.approx(np.mean(share[:3]))
    assert measured.metrics["known_few"] == pytest.approx(np.mean(share[5:]))
    np.testing.assert_allclose(measured.units["known_few"], share[5:], atol=1e-12)
    together = [float(logits[:, i].mean(0).argmax() == target[i]) for i in range(people * each)]
    assert measured.metrics["known_ensemble"] == pytest.approx(np.mean(together))
    assert measured.units["expert_kl"].shape == (people,)
    assert "expert_kl" not in longtail.known_people(logits[:1], target, counts).metrics


def test_thirds_go_by_training_pictures_whatever_the_order():
    counts = np.array([2, 9, 4])
    logits = torch.eye(3)[None]
    logits[0, 1] = torch.tensor([1.0, 0, 0])  # person 1, of whom there are most, is taken for person 0
    metrics = longtail.known_people(logits, np.arange(3), counts).metrics
    assert (metrics["known_many"], metrics["known_medium"], metrics["known_few"]) == (0.0, 1.0, 1.0)


def test_features_are_what_the_classifier_sees():
    torch.manual_seed(0)
    net = MultiExpertNet("smallconv-4", 2, 5, shared_stages=1).eval()
    x = torch.rand(3, 3, 16, 16)
    for k in range(2):
        assert torch.equal(net.experts[k].head(longtail.Features(net, k)(x)), net(x)[k])


def test_rows_differ_in_what_the_hypothesis_names_alone():
    rows = {r.id: r.stages[-1].recipe for r in people_rows()}
    assert list(rows) == ["people_ce", "people_bsce", "people_independent", "people_nclpp"]
    assert len({(r.data, r.optim, r.schedule) for r in rows.values()}) == 1
    together, alone = rows["people_nclpp"].method, rows["people_independent"].method
    assert (alone.experts, alone.copies) == (together.experts, together.copies)
    assert (alone.inter, alone.intra, alone.n_hard) == (False, False, 0)
    assert alone.weight == 2.0  # full and hard terms of the other
    claims = [c for c in protocol.CLAIMS if c.id.startswith("people")]
    assert {i for c in claims for i in c.rows} == set(rows)


def test_rows_are_trained_and_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("MIEN_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(longtail, "UNSEEN", 3)
    monkeypatch.setattr(longtail, "EACH", 2)
    small = tuple(
        Row(r.id, r.label, tuple(Stage(s.id, evolve_all(s.recipe, TINY)) for s in r.stages), r.evals)
        for r in people_rows()[-2:]
    )
    monkeypatch.setattr(protocol, "ROWS", small)
    assert main(["reproduce", "compose", "--seeds", "0"]) == 0
    lines = io.read_lines(tmp_path / "results" / "compose.jsonl")
    assert [line["row"] for line in lines] == ["people_independent", "people_nclpp"]
    for line in lines:
        assert set(protocol.SHOWN) & set(line["metrics"]) == {
            "known", "known_many", "known_few", "known_ensemble", "unseen_rank_1", "unseen_tar_0.01",
        }  # fmt: skip
        assert line["units"]["known"]["n"] == 4
        assert line["units"]["unseen_tar_0.01"]["n"] == 3
