"""The method's protocol: every subset of modalities at its own threshold, chosen by one rule for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.data.pad_images import PadImages, PadLabels
from mien.data.pads import further_people, read_pad
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.methods.fm_vit.fusion import cost
from mien.methods.fm_vit.nets import build_net
from mien.methods.fm_vit.score import (
    THRESHOLD_RULE,
    Scores,
    clip_scores,
    live_logits,
    subset_name,
    subsets_of,
)
from mien.methods.fm_vit.task import configs
from mien.metrics import PadReport, by_subject, class_balanced, pad_report, placements

FURTHER = 300
"""People of the split ``further``."""


@dataclass(frozen=True)
class SubsetScores:
    """Scores of one subset of modalities on a test set, one for each clip.

    Attributes:
        scores: (n,) log odds of being live.
        labels: of the n clips.
        report: rates at the threshold of this subset.
    """

    scores: Scores
    labels: PadLabels
    report: PadReport

    @property
    def errors(self) -> NDArray[np.bool_]:
        """(n,) live ones refused, attacks accepted."""
        return np.asarray((self.scores >= self.report.threshold.value) != self.labels.live)


class FlexibleModalEvaluator:
    """Tests one model with every subset of its modalities.

    For each subset the threshold is chosen on development presentations seen with the same subset, by one
    rule; O(subsets (N forward + N log N)).

    Args:
        model: images of any of its modalities -> dict with ``fused`` logits.
        dev: presentations for thresholds.
        test: presentations that are measured.
        subsets: "all", or names of modalities joined by "+".
        size: side of the model's input.
        rule: how thresholds are chosen (see `mien.metrics.pad_report`).
        modalities: what the model can see; default what ``test`` has.
        device: where it runs.
    """

    def __init__(
        self,
        model: nn.Module,
        dev: PadImages,
        test: PadImages,
        subsets: Literal["all"] | Sequence[str] = "all",
        *,
        size: int,
        rule: str = THRESHOLD_RULE,
        modalities: Sequence[str] | None = None,
        device: torch.device | None = None,
    ) -> None:
        known = {subset_name(s): s for s in subsets_of(modalities or test.modalities)}
        wanted = list(known) if subsets == "all" else list(subsets)
        if odd := [s for s in wanted if s not in known]:
            raise ConfigError(f"no subset {odd[0]!r} of modalities; there are {', '.join(known)}")
        self.model, self.dev, self.test = model, dev, test
        self.subsets = {name: known[name] for name in wanted}
        self.size, self.rule, self.device = size, rule, device or default_device()

    def run(self) -> dict[str, SubsetScores]:
        """Subset -> scores and report."""
        return {name: self._one(subset) for name, subset in self.subsets.items()}

    def _one(self, subset: Sequence[str]) -> SubsetScores:
        (dev, dev_labels), (scores, labels) = (self._clips(x, subset) for x in (self.dev, self.test))
        report = pad_report(
            scores, labels.live, labels.species, threshold=self.rule, dev=(dev, dev_labels.live), draws=0
        )
        return SubsetScores(scores, labels, report)

    def _clips(self, images: PadImages, subset: Sequence[str]) -> tuple[Scores, PadLabels]:
        logits = live_logits(self.model, images, subset, self.size, self.device)
        scores, first = clip_scores(logits, images.labels.videos)
        return scores, images.labels.subset(first)


def summary(table: Mapping[str, SubsetScores]) -> Measured:
    """Metrics and values by subject of a table of subsets.

    ``right`` = 1 - ACER with APCER over all attacks; ``one_*``: means over single modalities, ``every_*``
    over all subsets.
    """
    metrics: dict[str, float] = {}
    units: dict[str, NDArray[np.float64]] = {}
    for name, found in table.items():
        live, who = found.labels.live, found.labels.subjects
        units[f"right_{name}"] = by_subject(class_balanced((~found.errors).astype(float), live), who)
        units[f"auc_{name}"] = by_subject(class_balanced(placements(found.scores, live), live), who)
        report = found.report
        metrics |= {
            f"tpr_1e-2_{name}": conservative_tpr(report, 1e-2),
            f"acer_{name}": report.acer_pooled.value, f"acer_max_{name}": report.acer_max.value,
            f"auc_{name}": report.auc.value, f"bpcer_{name}": report.bpcer.value,
            f"eer_{name}": report.eer.value,
        }  # fmt: skip
    alone = [name for name in table if "+" not in name]
    for kind in ("right", "auc"):
        units[f"every_{kind}"] = np.mean([units[f"{kind}_{n}"] for n in table], axis=0)
        if alone:
            units[f"one_{kind}"] = np.mean([units[f"{kind}_{n}"] for n in alone], axis=0)
    metrics |= {k: float(v.mean()) for k, v in units.items() if k not in metrics}
    extra: dict[str, Any] = {
        "species": {n: {k: round(v.value, 4) for k, v in f.report.apcer.items()} for n, f in table.items()},
        "devices": {n: by_device(f) for n, f in table.items()},
        "threshold_rule": next(iter(table.values())).report.threshold.text if table else "",
        "reports": {n: f.report.to_dict() for n, f in table.items()},
        "tables": report_tables(table),
        "remarks": remarks(table),
    }
    return Measured(metrics, units, extra)


def conservative_tpr(report: PadReport, target: float) -> float:
    """The largest share of live faces accepted with at most this share of attacks."""
    return next(p.tpr for p in report.tpr_at_fpr if (p.target, p.definition) == (target, "conservative"))


def report_tables(table: Mapping[str, SubsetScores]) -> dict[str, list[dict[str, str]]]:
    """The report of every subset as two tables of text, rates in %.

    A rate at a share of attacks that the test set cannot resolve (fewer than 1 / share of them) has a mark.
    """
    shown, species = list[dict[str, str]](), list[dict[str, str]]()
    for name, found in table.items():
        r = found.report
        row = {
            "modalities": name,
            "APCER max": per_cent(r.apcer_max.value),
            "worst": r.worst if r.apcer_max.value else "-",
            "APCER pooled": per_cent(r.apcer_pooled.value),
            "BPCER": per_cent(r.bpcer.value),
            "ACER max": per_cent(r.acer_max.value),
            "ACER pooled": per_cent(r.acer_pooled.value),
            "AUC": per_cent(r.auc.value),
        }
        for p in r.tpr_at_fpr:
            if p.definition == "conservative":
                row[f"TPR@FPR={p.target:g}"] = per_cent(p.tpr) + ("" if p.resolvable else "*")
        shown.append(row)
        species.append({"modalities": name, **{k: per_cent(v.value) for k, v in r.apcer.items()}})
    return {"error rates, %": shown, "APCER of each species, %": species} if table else {}


def per_cent(rate: float) -> str:
    """Two digits."""
    return f"{100 * rate:.2f}"


def remarks(table: Mapping[str, SubsetScores]) -> list[str]:
    """The rule of the thresholds, what the tables' words mean, and what the reports warn of, once each."""
    if not table:
        return []
    first = next(iter(table.values())).report
    out = [
        f"threshold: {first.threshold.text}, chosen for each subset of modalities on development"
        " presentations with the same subset; APCER max: of the worst species (ISO/IEC 30107-3), pooled: of"
        " all attacks",
    ]
    if not all(p.resolvable for p in first.tpr_at_fpr):
        out.append(f"*: not resolvable with {first.attacks} attacks (fewer than 1 / FPR)")
    told = [(n, w) for n, f in table.items() for w in f.report.warnings if "cannot be resolved" not in w]
    return [*out, *(f"{name}: {text}" for name, text in told)]


def by_device(found: SubsetScores) -> dict[str, float]:
    """ACER (APCER over all attacks) of each device at the common threshold."""
    out = {}
    for device in np.unique(found.labels.devices):
        own = found.labels.devices == device
        live, wrong = found.labels.live[own], found.errors[own]
        if 0 < live.sum() < len(live):
            out[str(device)] = round(float((wrong[live].mean() + wrong[~live].mean()) / 2), 4)
    return out


def restore(folder: ModelFolder) -> nn.Module:
    """The trained net of a model folder, in eval mode."""
    method, data = configs(folder.recipe)
    net = build_net(method, data.size, 0, load=False)
    load_weights(net, folder.weights)
    return net.eval()


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """All subsets of the model's modalities on a split: test, dev, seen (training devices) or unseen species.

    ``further``: ``people`` others before the test devices, `FURTHER` unless told.

    The split ``cost`` needs no data: operations and parameters, beside a fixed fusion of three modalities.

    Raises:
        DataError: no such split, or one without any of the model's modalities.
    """
    method, data = configs(folder.recipe)
    if evaluation.split == "cost":
        return Measured(cost(method, data.size))
    splits = read_pad(data)
    if evaluation.split == "further":
        test: PadImages = further_people(data, int(evaluation.options.get("people", FURTHER)))
    else:
        test = splits.get(evaluation.split)
    seen = [m for m in method.modalities if m in test.modalities]
    if not seen:
        has = ", ".join(test.modalities)
        raise DataError(
            f"{evaluation.split}: it has {has}, the model sees {', '.join(method.modalities)} only"
        )
    return summary(
        FlexibleModalEvaluator(restore(folder), splits.dev, test, size=data.size, modalities=seen).run()
    )
