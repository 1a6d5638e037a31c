"""The method's protocol on a split: accuracy by shot group, disagreement, calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import DataError
from mien.core.protocol import Evaluation
from mien.core.seeds import derive
from mien.data.augment import build_augment
from mien.data.config import ClassificationData
from mien.data.labelled import LabelledImages, Splits
from mien.data.readers import read_splits
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.methods.ncl.loss import log_prior
from mien.methods.ncl.model import MultiExpertNet
from mien.methods.ncl.task import build_net, collect_logits, configs
from mien.metrics.classification import (
    calibration_error,
    fit_temperature,
    grouped_mean,
    mean_class_recall,
    symmetric_kl,
)


def restore(folder: ModelFolder) -> MultiExpertNet:
    """The trained experts of a model folder, in eval mode."""
    method, data = configs(folder.recipe)
    with torch.random.fork_rng(devices=[]):
        # The file that pretrained backbones came from is not needed again: all weights are in the folder.
        net = build_net(replace(method, pretrained=None), data, len(folder.facts["classes"]))
    load_weights(net, folder.weights)
    return net.eval()


def read_own_splits(folder: ModelFolder) -> Splits:
    """The data set of a model, which must still have the classes that the model was trained on.

    Raises:
        DataError: the classes are others, or in another order.
    """
    splits = read_splits(configs(folder.recipe)[1])
    trained, found = list(folder.facts["classes"]), list(splits.train.classes)
    if trained != found:
        odd = sorted(set(trained) ^ set(found))[:5] or "the same names in another order"
        raise DataError(
            f"{folder.path}: trained on {len(trained)} classes, its data now has {len(found)} others ({odd});"
            " restore the data set or train again"
        )
    return splits


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """Accuracy of single experts (their mean) and of the ensemble, by shot group of *training* counts.

    Options of the evaluation: ``adjust`` = tau of post-hoc logit adjustment z - tau ln n (Menon et al. 2021).
    """
    _, data = configs(folder.recipe)
    splits = read_own_splits(folder)
    net, device = restore(folder), default_device()
    images = splits.get(evaluation.split)
    logits, target = collect_logits(net, images, data, device)
    val_logits, val_target = collect_logits(net, splits.val, data, device)
    counts = splits.train.counts()
    adjust = float(evaluation.options.get("adjust", 0.0)) * log_prior([int(n) for n in counts])
    logits, val_logits = logits - adjust, val_logits - adjust
    measured = accuracy_report(logits, target, counts)
    units = dict(measured.units)
    metrics = dict(measured.metrics) | calibration_report(
        logits.mean(0), target, val_logits.mean(0), val_target
    )
    if len(logits) > 1:
        units["expert_kl"] = expert_kl(logits).numpy()
    units["copy_kl"] = copy_kl(net, images, data, device).numpy()
    metrics |= {name: float(np.mean(units[name])) for name in ("expert_kl", "copy_kl") if name in units}
    return Measured(metrics, units, {"per_class": per_class(logits, target)})


def accuracy_report(logits: Tensor, target: Tensor, counts: NDArray[np.int64]) -> Measured:
    """single_* and ensemble_* of raw logits ``(K, N, C)``; units are test images."""
    single = (logits.argmax(-1) == target).double()
    together = (logits.mean(0).argmax(-1) == target).double().numpy()
    mean = single.mean(0).numpy()
    labels = target.numpy()
    metrics = {f"single_{k}": v for k, v in grouped_mean(mean, labels, counts).items()}
    metrics["single_expert_std"] = float(single.mean(1).std(unbiased=False))
    metrics |= {f"ensemble_{k}": v for k, v in grouped_mean(together, labels, counts).items()}
    metrics["recall"] = mean_class_recall(logits.mean(0).argmax(-1), target, logits.shape[-1])
    return Measured(metrics, {"single": mean, "ensemble": together})


def calibration_report(
    logits: Tensor, target: Tensor, val_logits: Tensor, val_target: Tensor
) -> dict[str, float]:
    """nll, ece (15 bins), the temperature fitted on the validation split, and ece with it."""
    temperature = fit_temperature(val_logits, val_target)
    return {
        "nll": float(F.cross_entropy(logits, target)),
        "ece": calibration_error(logits, target),
        "temperature": temperature,
        "ece_calibrated": calibration_error(logits / temperature, target),
    }


def expert_kl(logits: Tensor) -> Tensor:
    """Mean symmetrised KL of prior-free predictions over pairs of experts: ``(K, N, C) -> (N,)``."""
    pairs = [(a, b) for a in range(len(logits)) for b in range(a)]
    return torch.stack([symmetric_kl(logits[a], logits[b]) for a, b in pairs]).mean(0)


@torch.inference_mode()
def copy_kl(
    net: MultiExpertNet, images: LabelledImages, data: ClassificationData, device: torch.device
) -> Tensor:
    """Symmetrised KL between two augmentations of an image in one expert, mean over experts: ``(N,)``."""
    augment = build_augment(data.augment, data.size, data.channels)
    rows = []
    for first in range(0, len(images), 256):
        index = np.arange(first, min(first + 256, len(images)))
        x = augment(images.pictures(index), images.keys[index], derive(0, "copy_kl"), 2)
        logits = net(x.to(device)).float().cpu().unflatten(1, (2, -1))
        rows.append(symmetric_kl(logits[:, 0], logits[:, 1]).mean(0))
    return torch.cat(rows)


def per_class(logits: Tensor, target: Tensor) -> dict[str, list[float]]:
    """Accuracy of each class: single (mean over experts) and ensemble."""
    single = (logits.argmax(-1) == target).double().mean(0)
    together = (logits.mean(0).argmax(-1) == target).double()
    classes = range(logits.shape[-1])
    return {
        "single": [float(single[target == c].mean()) for c in classes],
        "ensemble": [float(together[target == c].mean()) for c in classes],
    }
