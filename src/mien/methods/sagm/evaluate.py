"""The method's protocol: accuracy on held-out domains, sharpness of the training loss, selection rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F

from mien.core import io
from mien.core.errors import ConfigError, DataError, WeightsError
from mien.core.protocol import Evaluation
from mien.data.domain_readers import read_domains
from mien.data.domains import DomainSplit
from mien.data.holdout import hold_out
from mien.data.selection import select
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.kept import BEST, LAST, SWAD_FILE
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.methods.sagm.model import DomainNet, build_net
from mien.methods.sagm.sharpness import sharpness_report
from mien.methods.sagm.task import GAP_RADII, collect_logits, configs, training_batches

FILES = {"last": LAST, "iid": BEST, "swad": SWAD_FILE}
"""Which weights an `Evaluation`'s ``select`` means: last step, best look at the sources, SWAD's average."""


def restore(folder: ModelFolder, which: str = "last") -> DomainNet:
    """The trained net of a model folder, in eval mode.

    Raises:
        WeightsError: these weights were not kept.
    """
    method, data = configs(folder.recipe)
    # The file that a pretrained backbone came from is not needed again: all weights are in the folder.
    net = build_net(replace(method, pretrained=None), data, len(folder.facts["classes"]), 0)
    path = folder.path / FILES[which]
    if not path.is_file():
        raise WeightsError(f"{folder.path}: no {path.name}; it was trained without looks or without SWAD")
    load_weights(net, path)
    return net.eval()


def own_splits(folder: ModelFolder) -> tuple[list[DomainSplit], list[DomainSplit]]:
    """Sources and held-out domains of a model, whose classes must still be those it was trained on.

    Raises:
        DataError: the classes are others.
    """
    data = configs(folder.recipe)[1]
    domains = read_domains(data)
    found, trained = list(domains.sets[0].classes), list(folder.facts["classes"])
    if found != trained:
        odd = sorted(set(found) ^ set(trained))[:5]
        raise DataError(f"{folder.path}: its data now has other classes ({odd}); restore it or train again")
    return hold_out(domains, data)


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """`evaluate_many` of one model."""
    return evaluate_many([folder], evaluation)


def evaluate_many(folders: Sequence[ModelFolder], evaluation: Evaluation) -> Measured:
    """Models of different held-out domains: metrics are means over them, units are all test pictures in turn.

    ``evaluation.select``: last, iid (best look at the sources' outer parts) or swad; ``options``: ``rule`` =
    a selection rule of `mien.data.selection` instead, from the recorded looks (accuracy only, no units).
    """
    if rule := evaluation.options.get("rule"):
        return _selected(folders, str(rule))
    each = [_one(folder, evaluation) for folder in folders]
    names = dict.fromkeys(name for m in each for name in m.metrics)
    metrics = {n: float(np.mean([m.metrics[n] for m in each if n in m.metrics])) for n in names}
    units = {n: np.concatenate([m.units[n] for m in each]) for n in each[0].units}
    return Measured(metrics, units)


def _one(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """Accuracy and likelihood on the held-out domain's inner part; sharpness on training pictures."""
    method, data = configs(folder.recipe)
    sources, targets = own_splits(folder)
    net, device = restore(folder, evaluation.select), default_device()
    metrics: dict[str, float] = {}
    right, chance = [], []
    for split in targets or sources:
        # Without a held-out domain: what no training saw of the sources.
        images = split.inner if targets else split.outer
        z, y = collect_logits(net, images, data, device)
        right.append((z.argmax(1) == y).double().numpy())
        chance.append(z.double().softmax(1).gather(1, y[:, None])[:, 0].numpy())
        metrics[f"acc_{split.name}"] = float(right[-1].mean())
    units = {"acc": np.concatenate(right), "probability": np.concatenate(chance)}
    metrics = {"acc": float(np.mean(list(metrics.values()))), **metrics}
    metrics["nll"] = float(-np.log(np.maximum(units["probability"], 1e-12)).mean())
    if method.monitor:
        batches = training_batches(sources, data, method.monitor, device)
        for rho in GAP_RADII:
            report = sharpness_report(
                net, F.cross_entropy, batches, rho, directions=4 * (rho == GAP_RADII[0])
            )
            metrics |= {f"gap_{rho}": report["gap"], f"cosine_{rho}": report["cosine"]}
            metrics |= {"train_loss": report["loss"]}
            if "random_direction_increase" in report:
                metrics["random_increase"] = report["random_direction_increase"]
    records = looks(folder)
    if records and evaluation.select == "last" and len(targets) == 1:
        for rule in ("iid", "oracle"):
            metrics[f"acc_by_{rule}"] = select(records, rule).accuracy  # type: ignore[arg-type]
        if method.monitor:
            curve = [(r["scores"]["train_loss"], r["scores"]["gap_0.05"]) for r in records]
            metrics["gap_matched"] = matched_gap(curve)
    return Measured({k: v for k, v in metrics.items() if math.isfinite(v)}, units)


MATCHED = (1.6, 1.5, 1.4, 1.3, 1.2)
"""Training losses at which trainings of the small recipe are compared."""


def matched_gap(curve: Sequence[tuple[float, float]], losses: Sequence[float] = MATCHED) -> float:
    """The surrogate gap where the training loss first falls to each value, linear between looks; their mean.

    Args:
        curve: (training loss, gap) at each look, in order.
        losses: the losses at which trainings are compared.

    Returns:
        NaN if the training never came so far (or was there at its first look).
    """
    return float(np.mean([_gap_at(curve, value) for value in losses]))


def _gap_at(curve: Sequence[tuple[float, float]], value: float) -> float:
    for (loss, gap), (next_loss, next_gap) in pairwise(curve):
        if loss >= value >= next_loss:
            share = (loss - value) / max(loss - next_loss, 1e-12)
            return gap + share * (next_gap - gap)
    return math.nan


_NO_SCORE = ("event", "step", "source_out")  # the last would read as the outer part of a domain "source"


def looks(folder: ModelFolder) -> list[Mapping[str, Any]]:
    """The recorded looks of a run folder as records of `mien.data.selection`; none for shipped weights."""
    log = Path(folder.path) / "log.jsonl"
    if not log.is_file():
        return []
    held_out = list(configs(folder.recipe)[1].held_out)
    lines = [line for line in io.read_lines(log) if line["event"] == "validation"]
    return [
        {
            "step": line["step"],
            "held_out": held_out,
            "scores": {k: line[k] for k in line if k not in _NO_SCORE},
        }
        for line in lines
    ]


def _selected(folders: Sequence[ModelFolder], rule: str) -> Measured:
    """Mean over held-out domains of the accuracy at the look that a selection rule chooses."""
    records = [r for f in folders for r in looks(f)]
    targets = sorted({r["held_out"][0] for r in records if len(r["held_out"]) == 1})
    if not targets:
        raise ConfigError(f"rule {rule!r}: no recorded looks of runs with one held-out domain")
    found: dict[str, float] = {}
    for target in targets:
        own = [r for r in records if r["held_out"] == [target]]
        pairs = [r for r in records if len(r["held_out"]) == 2 and target in r["held_out"]]
        found[f"acc_{target}"] = select([*own, *pairs], rule).accuracy  # type: ignore[arg-type]
    return Measured({"acc": float(np.mean(list(found.values()))), **found})
