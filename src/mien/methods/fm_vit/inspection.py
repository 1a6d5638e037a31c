"""``mien inspect fm_vit``: does every branch pull its weight, or does an easy modality starve another?

A net that is trained on all modalities at once may learn the easiest one and leave the branch of another
untrained, which shows when that one is all there is. So every branch is looked at alone and in the joint run,
where it also hears its peers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.core import figures, io
from mien.core.errors import ConfigError, DataError
from mien.data.labelled import spread
from mien.data.pad_images import LIVE, PadArrays, PadImages
from mien.data.pad_loader import pad_batches, seen_by
from mien.data.pads import read_pad
from mien.data.surveil_loader import as_bytes
from mien.engine.degradation import degradation_sweep, pad_measure, plot_sweep, severities_of, sweep_rows
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.show import Inspection
from mien.methods.fm_vit.config import InspectOptions
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.score import Scores, clip_scores, live_logits
from mien.methods.fm_vit.task import configs
from mien.metrics import auc

STARVES, ABLE = 0.6, 0.8
"""A branch starves whose AUC alone is below the first while another's is above the second."""


@dataclass(frozen=True, eq=False)
class Joint:
    """What a net says of N presentations that it sees with all its modalities.

    Attributes:
        branches: (M, N) log odds of being live of each branch.
        fused: (N,) those of the decision, the mean of the branches'.
        entropy: (M, N) see `relevance_entropy`; None where the net gives no relevance.
        one_exit: whether the net has a single head, so that its "branches" are the decision itself.
    """

    branches: Scores
    fused: Scores
    entropy: NDArray[np.float64] | None
    one_exit: bool


def relevance_entropy(relevance: Tensor) -> Tensor:
    """-sum_j r_j ln r_j / ln N: 1 where all patches are looked at alike, 0 where one is. O(B N).

    Args:
        relevance: (B, N), rows that sum to 1.

    Returns:
        (B,).
    """
    entropy: Tensor = -torch.xlogy(relevance, relevance).sum(-1) / np.log(relevance.shape[-1])
    return entropy


def balanced_accuracy(scores: Scores, live: NDArray[np.bool_]) -> float:
    """Mean of the shares of live faces with log odds >= 0 and of attacks below. O(n).

    Args:
        scores: (n,) log odds of being live.
        live: (n,).
    """
    return float(((scores[live] >= 0).mean() + (scores[~live] < 0).mean()) / 2)


def decision_shares(branches: Scores, fused: Scores) -> dict[str, NDArray[np.float64]]:
    """How much of the decision z >= 0, z = the mean of M branches' log odds z^m, is whose. O(M n).

    Args:
        branches: (M, n) z^m.
        fused: (n,) z.

    Returns:
        Each (M,): ``agrees``, how often z^m >= 0 says the same as z >= 0; ``flips``, how often z without z^m
        would say the opposite (none where M = 1); ``weight``, mean of |z^m| / sum_n |z^n|.
    """
    count, decided = len(branches), fused >= 0
    size = np.abs(branches)
    without = (branches.sum(0) - branches) / max(1, count - 1)
    flips = (without >= 0) != decided
    return {
        "agrees": ((branches >= 0) == decided).mean(1),
        "flips": flips.mean(1) if count > 1 else np.zeros(1),
        "weight": (size / np.maximum(size.sum(0), 1e-300)).mean(1),
    }


def starving(alone: Mapping[str, float]) -> list[str]:
    """The modalities whose AUC alone is below `STARVES` while another's is above `ABLE`.

    Args:
        alone: modality -> AUC.
    """
    best = max(alone.values())
    return [m for m, value in alone.items() if value < STARVES and best > ABLE]


@torch.no_grad()  # not inference mode: a net that is moved there could not be trained on
def joint_run(
    net: nn.Module, images: PadImages, modalities: Sequence[str], size: int, device: torch.device
) -> Joint:
    """All presentations with all modalities at once; the forward passes of N presentations."""
    net = net.to(device).eval()
    branches, fused, entropy = [], [], []
    for batch, _ in pad_batches(images, modalities, size):
        out = net({m: x.to(device) for m, x in batch.items()})
        branches.append(_odds(torch.stack([out["logits"][m] for m in modalities])))
        fused.append(_odds(out["fused"]))
        if out["relevance"]:
            each = [relevance_entropy(out["relevance"][m].double()) for m in modalities]
            entropy.append(torch.stack(each).cpu().numpy())
    rows = np.concatenate(branches, 1)
    return Joint(
        rows,
        np.concatenate(fused),
        np.concatenate(entropy, 1) if entropy else None,
        len(rows) > 1 and bool((rows == rows[0]).all()),
    )


def _odds(z: Tensor) -> Scores:
    z = z.double()
    return np.asarray((z[..., LIVE] - z[..., 1 - LIVE]).cpu().numpy())


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Every branch of one model alone and in the joint run, and a warning where one starves.

    Raises:
        DataError: the presentations that are looked at are all live or all attacks.
    """
    method, data = configs(folder.recipe)
    names, whole = method.modalities, read_pad(data).get(options.split)
    images = whole.subset(spread(len(whole), options.samples))
    live = images.labels.live
    if live.all() or not live.any():
        raise DataError(
            f"split {options.split}: one class only among {len(live)} presentations; more --samples"
        )
    if options.degrade:
        return inspect_degraded(folder, images, options)
    net, device = restore(folder), default_device()
    alone = {m: live_logits(net, images, (m,), data.size, device) for m in names}
    joint = joint_run(net, images, names, data.size, device)
    able = {m: float(auc(s, live)) for m, s in alone.items()}
    facts: dict[str, Any] = {
        "split": options.split,
        "presentations": len(images),
        "live": int(live.sum()),
        "auc together": round(float(auc(joint.fused, live)), 4),
        "accuracy together": round(balanced_accuracy(joint.fused, live), 4),
    }
    if joint.one_exit:
        facts["branches"] = "one exit for all modalities, so none has a say of its own in the joint run"
    if hungry := starving(able):
        facts["warning"] = _warning(hungry, able)
    rows = _rows(names, alone, joint, live)
    files: tuple[Path, ...] = ()
    if options.plot:
        pictures = plot_scores({**{f"{m} alone": s for m, s in alone.items()}, "together": joint.fused}, live)
        files = (io.write_bytes(Path(options.plot), pictures),)
    return Inspection(facts, {"by branch": rows}, files)


def inspect_degraded(folder: ModelFolder, images: PadImages, options: InspectOptions) -> Inspection:
    """ACER at the threshold of clean development colour, and AUC, against severity; colour is all it sees.

    Raises:
        ConfigError: the model was trained without colour, or needs more than it.
    """
    method, data = configs(folder.recipe)
    net, device = restore(folder), default_device()
    needed = getattr(net, "required_modalities", ())
    if "rgb" not in method.modalities or set(needed) - {"rgb"}:
        names = ", ".join(needed or method.modalities)
        raise ConfigError(f"{folder.path}: needs {names}; --degrade wants a model that works on colour alone")

    def scores(pictures: NDArray[np.uint8]) -> Scores:
        odds = live_logits(net, PadArrays({"rgb": pictures}, images.labels), ("rgb",), data.size, device)
        return clip_scores(odds, images.labels.videos)[0]

    clean = as_bytes(seen_by(images, ("rgb",), np.arange(len(images)), data.size)["rgb"])
    _, first = clip_scores(np.zeros(len(images)), images.labels.videos)
    threshold = float(folder.facts["thresholds"]["rgb"]["logit"])
    measure = pad_measure(scores, images.labels.live[first], threshold)
    points = degradation_sweep(measure, clean, images.labels.keys, severities_of(options.levels))
    facts = {"split": options.split, "presentations": len(first), "modality": "rgb"}
    files: tuple[Path, ...] = ()
    if options.plot:
        files = (io.write_bytes(Path(options.plot), plot_sweep(points, f"{folder.recipe.name}, colour")),)
    return Inspection(facts, {"degradation": sweep_rows(points)}, files)


def _warning(hungry: Sequence[str], able: Mapping[str, float]) -> str:
    found = ", ".join(f"{m} {value:.2f}" for m, value in able.items())
    return (
        f"{' and '.join(hungry)} starves (AUC alone: {found}); let it run alone more often"
        " (--subsets each), train longer, or teach it by its peers (--peer 0.5)"
    )


def _rows(
    names: Sequence[str], alone: Mapping[str, Scores], joint: Joint, live: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    shares = decision_shares(joint.branches, joint.fused)
    rows = []
    for i, m in enumerate(names):
        row: dict[str, Any] = {
            "branch": m,
            "AUC alone": float(auc(alone[m], live)),
            "accuracy alone": balanced_accuracy(alone[m], live),
        }
        if not joint.one_exit:
            own = joint.branches[i]
            row |= {
                "AUC in joint run": float(auc(own, live)),
                "accuracy in joint run": balanced_accuracy(own, live),
            }
            row |= {name: float(v[i]) for name, v in shares.items()}
        if joint.entropy is not None:
            row["relevance entropy"] = float(joint.entropy[i].mean())
        rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def plot_scores(scores: Mapping[str, Scores], live: NDArray[np.bool_], bins: int = 40) -> bytes:
    """Histograms of the log odds of live faces and of attacks, one panel for each row, as a PNG.

    Args:
        scores: title -> (n,).
        live: (n,).
        bins: of each.
    """
    figure, axes = figures.new_figure(columns=len(scores), width=3.2, height=2.8)
    for ax, (title, own) in zip(axes, scores.items(), strict=True):
        low, high = np.quantile(own, [0.005, 0.995])
        edges = np.linspace(low, max(high, low + 1e-6), bins + 1)
        for label, chosen, colour in (
            ("attack", ~live, figures.COLOURS[1]),
            ("live", live, figures.COLOURS[0]),
        ):
            density, _ = np.histogram(own[chosen].clip(edges[0], edges[-1]), edges, density=True)
            ax.stairs(density, edges, fill=True, alpha=0.5, color=colour, label=label)
        ax.axvline(0, color="0.3", lw=1, ls="--")
        ax.set(title=f"{title}, AUC {float(auc(own, live)):.2f}", xlabel="log odds of live", yticks=[])
    axes[0].set(ylabel="density")
    axes[-1].legend(frameon=False)
    return figures.png(figure)
