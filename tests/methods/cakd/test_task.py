"""A student trains alone and with a transformer teacher; what taught it is not exported."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from mien.core import catalogue
from mien.core.catalogue import Entry
from mien.core.config import evolve_all
from mien.core.errors import ConfigError
from mien.core.protocol import Evaluation
from mien.data.config import FaceData
from mien.data.faces import read_faces
from mien.engine.folder import open_folder
from mien.engine.stages import train_recipe
from mien.engine.task import Clock, Rng
from mien.methods.cakd.config import RECIPES
from mien.methods.cakd.evaluate import evaluate_many, restore_distiller
from mien.methods.cakd.task import build

ENTRY = Entry("cakd", "face recognition", "2306.14662", "CAKD", "mien.methods.cakd")
COUNTS = {"people": 4, "val_people": 2, "test_people": 2, "per_identity": 3}
TINY = {
    **{f"data.{k}": v for k, v in COUNTS.items()},
    "data.kind": "debug",
    "data.size": 24,
    "method.embedding": 8,
    "schedule.batch": 4,
    "schedule.epochs": 2.0,
    "schedule.grad_clip": None,
}
KINDS = ["urfm", "fitnet", "kd", "rkd", "cckd", "sp", "ekd", "pca", "ofa"]


@pytest.fixture(scope="module")
def faces():
    return read_faces(FaceData("debug", 24, **COUNTS))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, faces):
    with pytest.MonkeyPatch.context() as patch:
        table = tuple(ENTRY if e.name == "cakd" else e for e in catalogue._TABLE)
        patch.setattr(catalogue, "_TABLE", table)
        folder = tmp_path_factory.mktemp("teacher") / "run"
        made = recipe("teacher", **{"method.backbone": "swin_micro"})
        train_recipe(ENTRY, made, folder, experiment=build(made, {}, faces))
        yield folder


def recipe(name, **changes):
    return evolve_all(RECIPES[name](), {**TINY, **changes})


def taught(faces, teacher, kind, **changes):
    own = {"method.distill": kind, "method.ramp": 0.0}
    if kind != "urfm":
        fields = ("prompts", "lam_feat", "lam_attn", "eta", "aux_student")
        own |= {f"method.{name}": None for name in fields}
    if kind not in ("urfm", "fitnet", "pca", "ofa"):
        own |= {"method.student_tap": None}
    made = recipe("small", **{**own, **changes})
    return made, build(made, {"teacher": teacher}, faces)


def first_loss(experiment):
    experiment.task.train()
    batch = next(experiment.source.stream(0, 0, 1))[0]
    return experiment.task.loss(batch, Clock(0, 6, 3), Rng(0))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_gradient_for_the_student(faces, teacher, kind):
    _, experiment = taught(faces, teacher, kind)
    out = first_loss(experiment)
    alone = first_loss(build(recipe("student"), {}, faces))
    out.loss.backward()
    grads = [p.grad for p in experiment.task.model.net.parameters()]
    assert all(torch.isfinite(g).all() for g in grads if g is not None)
    assert out.loss.item() != pytest.approx(alone.loss.item(), abs=1e-6)
    assert out.logs["ce"].item() == pytest.approx(alone.logs["ce"].item(), abs=1e-6)


def test_weights_of_zero_train_the_student_as_if_alone(tmp_path, faces, teacher):
    zero = {f"method.{k}": 0.0 for k in ("lam_feat", "lam_attn", "aux")} | {"method.prompts": 0}
    made, experiment = taught(faces, teacher, "urfm", **zero)
    train_recipe(ENTRY, made, tmp_path / "taught", {"teacher": teacher}, experiment=experiment)
    alone = recipe("student", **{"method.student_tap": None})
    train_recipe(ENTRY, alone, tmp_path / "alone", experiment=build(alone, {}, faces))
    a, b = (load_file(tmp_path / n / "weights.safetensors") for n in ("taught", "alone"))
    assert all(torch.equal(a[k], b[k]) for k in b)


def test_clipping_does_not_shorten_the_students_steps_for_what_learns_beside_it(tmp_path, faces, teacher):
    beside = {"method.lam_feat": 0.0, "method.lam_attn": 0.0, "method.aux": 100.0, "method.aux_student": 0.0}
    clip = {"schedule.grad_clip": 1.0}
    made, experiment = taught(faces, teacher, "urfm", **beside, **{"method.prompts": 0}, **clip)
    train_recipe(ENTRY, made, tmp_path / "taught", {"teacher": teacher}, experiment=experiment)
    alone = recipe("student", **clip)
    train_recipe(ENTRY, alone, tmp_path / "alone", experiment=build(alone, {}, faces))
    a, b = (load_file(tmp_path / n / "weights.safetensors") for n in ("taught", "alone"))
    for k in b:
        torch.testing.assert_close(a[k], b[k], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.1])
def test_the_teacher_does_not_change_and_the_export_holds_the_student_only(tmp_path, faces, teacher, eta):
    made, experiment = taught(faces, teacher, "urfm", **{"method.eta": eta})
    frozen = experiment.task.teacher
    before = {k: v.clone() for k, v in frozen.net.backbone.state_dict().items()}
    prompts = [p.detach().clone() for p in frozen.net.prompts]
    train_recipe(ENTRY, made, tmp_path / "s", {"teacher": teacher}, experiment=experiment)
    assert all(torch.equal(v, before[k]) for k, v in frozen.net.backbone.state_dict().items())
    assert all(p.grad is None for p in frozen.net.backbone.parameters())
    assert all(not torch.equal(p, q) for p, q in zip(frozen.net.prompts, prompts, strict=True))
    keys = load_file(tmp_path / "s" / "weights.safetensors")
    assert {k.split(".")[0] for k in keys} == {"net", "head"}
    found = restore_distiller(open_folder(teacher), open_folder(tmp_path / "s"))
    assert all(torch.equal(p, q) for p, q in zip(found.teacher.prompts, frozen.net.prompts, strict=True))
    # The centres and the table are shared, also after a round trip.
    assert found.parts.urfm_t.centres is found.parts.urfm_s.centres
    assert torch.equal(found.parts.urfm_s.centres, experiment.task.parts.urfm_s.centres)
    assert torch.equal(found.parts.urfm_s.fpe.table, experiment.task.parts.urfm_s.fpe.table)
    measured = evaluate_many([open_folder(teacher), open_folder(tmp_path / "s")], Evaluation("guard"))
    assert {"rank_1", "teacher_rank_1"} <= set(measured.metrics)


def test_a_kept_teacher_says_what_a_live_one_does(faces, teacher):
    _, kept = taught(faces, teacher, "urfm", **{"method.prompts": 0})
    assert kept.task.teacher.seen is not None
    for step in (0, 4):
        batch = next(kept.source.stream(step, 0, 1))[0]
        clock = Clock(step, 6, 3)
        packed = kept.task.teacher.look(batch, clock)
        kept.task.teacher.seen, seen = None, kept.task.teacher.seen
        live = kept.task.teacher.look(batch, clock)
        kept.task.teacher.seen = seen
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(packed, live, strict=True))


def test_landmarks_of_each_picture_need_a_set_that_has_them(faces, teacher):
    with pytest.raises(ConfigError, match=r"no landmarks"):
        taught(faces, teacher, "urfm", **{"method.landmarks": "image"})


def test_prompts_learn_at_their_own_rate(faces, teacher):
    made, experiment = taught(faces, teacher, "urfm", **{"method.parts_lr": 0.5})
    own, rest = experiment.task.param_groups(0.0)
    assert rest["lr"] == made.optim.lr * 0.5
    trained = {id(p) for g in (own, rest) for p in g["params"]}
    assert {id(p) for p in experiment.task.teacher.net.prompts} <= trained
    assert not {id(p) for p in experiment.task.teacher.net.backbone.parameters()} & trained


def test_a_missing_teacher_or_one_without_tokens_is_refused(tmp_path, faces):
    with pytest.raises(ConfigError, match=r"needs a teacher"):
        build(recipe("small"), {}, faces)


@pytest.mark.parametrize("logits", ["kd", "gkd"])
def test_logits_add_to_local_features(faces, teacher, logits, monkeypatch):
    gkd = Entry("gkd", "face recognition", "2304.04462", "GKD", "mien.methods.gkd")
    table = tuple(gkd if e.name == "gkd" else e for e in catalogue._TABLE)
    monkeypatch.setattr(catalogue, "_TABLE", table)
    _, plain = taught(faces, teacher, "urfm")
    _, more = taught(faces, teacher, "urfm", **{"method.logits": logits})
    assert first_loss(more).loss > first_loss(plain).loss


def test_a_distillation_that_was_cut_goes_on_to_the_same_bits(tmp_path, faces, teacher):
    made, whole = taught(faces, teacher, "urfm")
    train_recipe(ENTRY, made, tmp_path / "whole", {"teacher": teacher}, experiment=whole)
    for limit in (3, None):
        _, again = taught(faces, teacher, "urfm")
        train_recipe(ENTRY, made, tmp_path / "cut", {"teacher": teacher}, max_steps=limit, experiment=again)
    for name in ("weights", "distiller"):
        a, b = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "cut"))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
