from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mien.core.protocol import Evaluation
from mien.engine.zoo import load_folder
from mien.methods.ncl.evaluate import accuracy_report, calibration_report, evaluate, expert_kl, per_class
from mien.methods.ncl.inspection import hard_pairs
from mien.methods.ncl.predict import spread, square, trim


def test_accuracy_report_against_loops():
    torch.manual_seed(0)
    logits, target = torch.randn(3, 40, 5), torch.randint(5, (40,))
    counts = np.array([500, 101, 100, 20, 19])
    report = accuracy_report(logits, target, counts)
    hits = [[float(logits[k, i].argmax() == target[i]) for i in range(40)] for k in range(3)]
    assert report.metrics["single_all"] == pytest.approx(np.mean(hits))
    assert report.metrics["single_expert_std"] == pytest.approx(np.std(np.mean(hits, axis=1)))
    together = [float(logits[:, i].mean(0).argmax() == target[i]) for i in range(40)]
    few = [h for h, t in zip(together, target.tolist(), strict=True) if counts[t] < 20]
    assert report.metrics["ensemble_few"] == pytest.approx(np.mean(few))
    medium = [np.mean([hits[k][i] for k in range(3)]) for i in range(40) if 20 <= counts[target[i]] <= 100]
    assert report.metrics["single_medium"] == pytest.approx(np.mean(medium))
    np.testing.assert_allclose(report.units["single"], np.mean(hits, axis=0))
    classes = per_class(logits, target)
    assert len(classes["single"]) == 5


def test_expert_kl_against_loops_and_zero_for_equal_experts():
    torch.manual_seed(1)
    logits = torch.randn(3, 6, 4)
    expected = []
    for i in range(6):
        pairs = []
        for a in range(3):
            for b in range(3):
                if a != b:
                    p, q = logits[a, i].softmax(-1), logits[b, i].softmax(-1)
                    pairs.append(float((p * (p / q).log()).sum()))
        expected.append(np.mean(pairs))
    np.testing.assert_allclose(expert_kl(logits), expected, rtol=1e-5)
    assert expert_kl(logits[:1].repeat(2, 1, 1)).abs().max() < 1e-12


def test_calibration_finds_the_temperature_that_was_put_in():
    torch.manual_seed(2)
    z = torch.randn(4000, 5) * 2
    target = torch.multinomial(z.softmax(-1), 1)[:, 0]
    report = calibration_report(3 * z, target, 3 * z, target)
    assert report["temperature"] == pytest.approx(3.0, rel=0.05)
    assert report["ece_calibrated"] < report["ece"]
    assert report["nll"] == pytest.approx(float(F.cross_entropy(3 * z, target)), rel=1e-5)


def test_shipped_models_measure_as_their_cards_say():
    """The cards are true, and the experts beat cross-entropy on rare classes of real pictures."""
    found = {}
    for name in ("ncl/small", "ncl/ce-small"):
        folder = load_folder(name)
        metrics = evaluate(folder, Evaluation("test")).metrics
        card = dict(
            [c.strip() for c in line.strip("| ").split("|")]
            for line in (folder.path / "card.md").read_text().splitlines()
            if line.startswith(("| single_", "| ensemble_"))
        )
        for key, value in card.items():
            assert metrics[key] == pytest.approx(float(value), abs=0.002), key
        found[name] = metrics
    assert found["ncl/small"]["ensemble_few"] > found["ncl/ce-small"]["ensemble_few"] + 0.05


def test_post_hoc_adjustment_moves_cross_entropy_to_the_tail():
    folder = load_folder("ncl/ce-small")
    plain = evaluate(folder, Evaluation("test")).metrics
    moved = evaluate(folder, Evaluation("test", options={"adjust": 1.0})).metrics
    assert moved["single_few"] > plain["single_few"] + 0.03
    assert "expert_kl" not in plain


def test_hard_pairs_names_the_confusion_that_is_there():
    target = torch.tensor([0] * 10 + [1] * 10)
    logits = F.one_hot(target, 4).float() * 2
    logits[:6] = torch.tensor([1.0, 0.0, 3.0, 0.0])
    pairs = hard_pairs(logits, target, 2, ["a", "b", "c", "d"])
    assert pairs[0]["picture of"] == "a"
    assert pairs[0]["taken for"] == "c"
    assert pairs[0]["rate"] == 0.6
    assert json.dumps(pairs)


def test_a_set_too_small_to_hold_anything_out(tmp_path, caplog):
    """A folder with one and three pictures of its two classes still trains, predicts and evaluates."""
    from mien.cli.main import main
    from tests.data.fixtures import write_picture

    for name, count in (("a", 1), ("b", 3)):
        for i in range(count):
            write_picture(tmp_path / "set" / name / f"{i}.png", i)
    words = ["--preset", "debug", "--data.kind", "folder", "--data.root", str(tmp_path / "set")]
    assert main(["train", "ncl", *words, "--output", str(tmp_path / "run")]) == 0
    facts = json.loads((tmp_path / "run" / "facts.json").read_text())
    assert facts["temperature"]["ensemble"] > 0
    picture = str(tmp_path / "set" / "a" / "0.png")
    assert main(["predict", "ncl", picture, "--weights", str(tmp_path / "run")]) == 0


def test_a_data_set_that_changed_is_refused(tmp_path, capsys):
    from mien.cli.main import main
    from tests.data.fixtures import write_picture

    for name in ("a", "b"):
        for i in range(6):
            write_picture(tmp_path / "set" / name / f"{i}.png", i)
    words = ["--preset", "debug", "--data.kind", "folder", "--data.root", str(tmp_path / "set")]
    run = str(tmp_path / "run")
    assert main(["train", "ncl", *words, "--output", run]) == 0
    (tmp_path / "set" / "a").rename(tmp_path / "set" / "z")
    for verb in ("eval", "inspect", "export"):
        assert main([verb, "ncl", "--weights", run]) == 1
        assert "trained on 2 classes" in capsys.readouterr().err


def test_trim_and_square():
    picture = np.zeros((20, 30, 1), np.uint8)
    picture[5:9, 10:25] = 200
    assert trim(picture).shape == (4, 15, 1)
    assert square(trim(picture)).shape == (15, 15, 1)
    blank = np.full((8, 8, 1), 9, np.uint8)
    assert trim(blank) is blank
    assert spread(10, 3).tolist() == [0, 4, 9]
    assert len(spread(5, 100)) == 5
