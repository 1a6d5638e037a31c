"""The method's protocol: people never trained on, rendered and real; and the identity of the three terms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mien.core.errors import ConfigError
from mien.core.protocol import Evaluation
from mien.data.augment import prepare
from mien.data.faces import read_faces
from mien.data.labelled import LabelledImages, spread
from mien.engine.faces import evaluate_faces, restore
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.losses import kl_divergence
from mien.methods.gkd.loss import GKDLoss, gkd_terms
from mien.methods.gkd.task import build_loss, configs
from mien.nn.recognizer import Recognizer

IDENTITY_PICTURES = 512


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """Rank-1, EER, AUC, TAR at FAR 1e-2 and 1e-3 of all pairs; units are people."""
    return evaluate_faces(folder, evaluation)


def evaluate_many(folders: Sequence[ModelFolder], evaluation: Evaluation) -> Measured:
    """`evaluate` of the last of a chain, and of the teacher before it under names with ``teacher_``.

    With the split ``train``: `term_identity` of the two on training pictures.
    """
    teacher, student = folders[0], folders[-1]
    if evaluation.split == "train":
        return term_identity(teacher, student)
    last, first = evaluate(student, evaluation), evaluate(teacher, evaluation)
    metrics = {**last.metrics, **{f"teacher_{k}": v for k, v in first.metrics.items()}}
    units = {**last.units, **{f"teacher_{k}": v for k, v in first.units.items()}}
    extra = {**last.extra}
    if "intervals" in extra:
        more = {f"teacher_{k}": v for k, v in first.extra["intervals"].items()}
        extra["intervals"] = {**extra["intervals"], **more}
    return Measured(metrics, units, extra)


@torch.no_grad()  # not inference mode: a net that is moved there could not be trained on
def class_logits(
    model: Recognizer, images: LabelledImages, size: int, margin: bool, batch: int = 256
) -> Tensor:
    """(N, C) class logits of training pictures in float32, without their mirror images."""
    device = default_device()
    model, rows = model.to(device).eval(), []
    for first in range(0, len(images), batch):
        places = range(first, min(first + batch, len(images)))
        x = prepare(images.pictures(places), size, 3).to(device)
        y = torch.from_numpy(images.targets[first : first + len(places)]).to(device)
        rows.append(model.whole_head(model(x), y if margin else None).cpu())
    return torch.cat(rows)


def term_identity(teacher: ModelFolder, student: ModelFolder) -> Measured:
    """``kd`` = KL(p_t || p_s) and ``kd_from_terms`` = B + P_t Pr + (1 - P_t) Se, float64, by picture.

    Also what the groups hold: ``k``, ``p_teacher``, ``p_student``.

    Raises:
        ConfigError: the student was not taught by GKD.
    """
    method, data = configs(student.recipe)
    loss = build_loss(method)
    if not isinstance(loss, GKDLoss):
        raise ConfigError(f"{student.path}: was not taught by gkd, so it has no groups")
    whole = read_faces(data).train
    images = whole.subset(spread(len(whole), IDENTITY_PICTURES))
    margin = method.kd_logits == "margin"
    zt, zs = (class_logits(restore(f), images, data.size, margin).double() for f in (teacher, student))
    y = torch.from_numpy(images.targets)
    mask = loss.selector(zs, zt, y)
    terms = gkd_terms(zs, zt, mask, loss.T, secondary=True)
    p = terms["p_teacher"]
    total = terms["binary"] + p * terms["primary"] + (1 - p) * terms["secondary"]
    kd = kl_divergence(zt / loss.T, zs / loss.T)
    units = {"kd": kd, "kd_from_terms": total, "k": mask.lengths, "p_teacher": p}
    units["p_student"] = terms["p_student"]
    means = {k: float(v.double().mean()) for k, v in units.items()}
    # Kept as one number of each picture: packing per-unit values would round them.
    return Measured({**means, "identity_gap": float((kd - total).abs().max()), "zero": 0.0})
