"""The method's protocol: people never trained on; and whether the prompts cost the teacher anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.core.protocol import Evaluation
from mien.engine.checkpoint import load_weights
from mien.engine.faces import evaluate_faces, face_configs, measure_people, restore, test_people
from mien.engine.folder import ModelFolder
from mien.engine.task import Measured
from mien.methods.cakd.model import prompted
from mien.methods.cakd.prompts import Prompted
from mien.methods.cakd.task import DISTILLER, PromptsOnly, build_parts, configs
from mien.nn.recognizer import Recognizer


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """Rank-1, EER, AUC, TAR at FAR 1e-2 and 1e-3 of all pairs; units are people."""
    return evaluate_faces(folder, evaluation)


def evaluate_many(folders: Sequence[ModelFolder], evaluation: Evaluation) -> Measured:
    """`evaluate` of the last of a chain, and of the teacher before it under names with ``teacher_``.

    With the evaluation ``guard``: of the teacher with the prompts that the last run learned, and without.
    """
    teacher, student = folders[0], folders[-1]
    plain = evaluate(teacher, evaluation)
    if evaluation.id == "guard":
        net = Embedding(restore_distiller(teacher, student).teacher)
        data = face_configs(student.recipe)[1]
        last = measure_people(net, test_people(data, evaluation.split), data.size)
    else:
        last = evaluate(student, evaluation)
    extra = dict(last.extra)
    if "intervals" in extra:
        more = {f"teacher_{k}": v for k, v in plain.extra["intervals"].items()}
        extra["intervals"] = {**extra["intervals"], **more}
    return Measured(
        {**last.metrics, **{f"teacher_{k}": v for k, v in plain.metrics.items()}},
        {**last.units, **{f"teacher_{k}": v for k, v in plain.units.items()}},
        extra,
    )


class Embedding(nn.Module):
    """A prompted teacher as a recogniser."""

    def __init__(self, net: Prompted) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, E)."""
        out: Tensor = self.net(x)[0]
        return out


@dataclass(frozen=True, eq=False)
class Trained:
    """Both nets of a finished distillation, and what learned beside them."""

    teacher: Prompted
    student: Recognizer
    parts: nn.Module


def restore_distiller(teacher: ModelFolder, student: ModelFolder) -> Trained:
    """Teacher with its prompts, student and mappings of a finished run, in eval mode.

    Raises:
        ConfigError: the student was not distilled, or its run kept nothing beside it.
    """
    method, _ = configs(student.recipe)
    path = student.path / f"{DISTILLER}.safetensors"
    if method.distill == "none" or not path.is_file():
        raise ConfigError(f"{student.path}: no {path.name}; only a distilled student's run has one")
    model = restore(student)
    net = prompted(restore(teacher).net, method)
    with torch.random.fork_rng(devices=[]):
        parts = build_parts(method, net, model, len(student.facts["classes"]))
    load_weights(nn.ModuleDict({"parts": parts, "prompts": PromptsOnly(net)}), path)
    return Trained(net.eval(), model, parts.eval())
