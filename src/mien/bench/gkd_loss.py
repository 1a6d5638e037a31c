"""``mien bench gkd``: the loss of GKD, forward and backward, beside its dense-mask form and beside plain KD.

The dense form is what one writes from the paper with masks over all classes, as the released code does: the
same groups (found by one top-k), softmaxes of whole and of masked logits, `kl_div`. All three losses have the
same cross-entropy with the labels and are checked to agree where they must.

Logits are those of cosine heads at s = 64 over C classes and 512 features: other classes' cosines are
normal with standard deviation 0.05, the label's are about 0.75 (teacher) and 0.6 (student). ``plain`` are
these, where most groups are as small as allowed; ``margin`` has 0.4 taken from the label's, as the released
code distils, where most groups are as large as allowed (10,000).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.bench.speed import entry, interleave, one_thread, peak_bytes, ratio
from mien.core.errors import MienError
from mien.losses import KDLoss
from mien.methods.gkd.loss import PRESETS, GKDLoss, GroupSelector, on_grid

SCALE, MARGIN, SPREAD, TARGETS = 64.0, 0.4, 0.05, (0.6, 0.75)
T, ALPHA, BETA = 4.0, 1.0, 4.0
RECOMMENDED = ("plain", "margin")
CASES = {**dict.fromkeys(RECOMMENDED, "recommended"), "adaptive": "release-adaptive"}
"""Selector of each case; ``adaptive`` takes plain logits and is run at the first size only."""


class Logits(NamedTuple):
    """One batch: student's (with gradient) and teacher's (B, C), labels (B,)."""

    student: Tensor
    teacher: Tensor
    y: Tensor


def make_logits(classes: int, batch: int, *, margin: bool) -> Logits:
    """See the module.

    Args:
        classes: C.
        batch: B.
        margin: with the margin at the label.
    """
    g = torch.Generator().manual_seed(0)
    y, rows = torch.randint(classes, (batch,), generator=g), torch.arange(batch)
    made = []
    for target in TARGETS:
        z = torch.randn(batch, classes, generator=g).mul_(SPREAD)
        z[rows, y] = target + 0.08 * torch.randn(batch, generator=g) - (MARGIN if margin else 0.0)
        made.append(z.mul_(SCALE))
    return Logits(made[0].requires_grad_(), made[1], y)


def dense_mask(select: GroupSelector, zs: Tensor, zt: Tensor, y: Tensor) -> Tensor:
    """The groups as a (B, C) mask."""
    scores = (zt if select.source == "teacher" else zs).detach()
    classes = scores.shape[1]
    most = min(10_000, classes // 2) if select.k_max is None else min(select.k_max, classes)
    p = F.softmax(scores / select.t_group, dim=1)
    if select.reduce == "batch":
        total = p.sum(0).sort(descending=True).values.double().cumsum(0)
        k = (total < select.rate * len(y)).sum() + 1
        most = int(on_grid(k, select.k_min, most, select.k_step))
        order = scores.topk(most, dim=1).indices
        lengths = torch.full_like(y, most)
    else:
        best = p.topk(most, dim=1)
        order = best.indices
        k = (best.values.double().cumsum(1) < select.rate).sum(1) + 1
        lengths = on_grid(k, min(select.k_min, most), most, select.k_step)
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask.scatter_(1, order, torch.arange(most) < lengths[:, None])
    last, label = order.gather(1, lengths[:, None] - 1), y[:, None]
    mask.scatter_(1, last, mask.gather(1, label))  # the label takes the last place where it has none
    return mask.scatter_(1, label, True)


def dense_loss(select: GroupSelector, zs: Tensor, zt: Tensor, y: Tensor) -> Tensor:
    """CE + T^2 (alpha B + beta Pr) by masks over all classes."""
    mask = dense_mask(select, zs, zt, y)
    others = ~mask

    def both(p: Tensor) -> Tensor:
        return torch.stack([(p * mask).sum(1), (p * others).sum(1)], 1)

    b_s, b_t = both(F.softmax(zs / T, dim=1)), both(F.softmax(zt / T, dim=1))
    binary = F.kl_div(b_s.log(), b_t, reduction="batchmean")
    q_s = F.log_softmax(zs / T - 1000.0 * others, dim=1)
    q_t = F.softmax(zt / T - 1000.0 * others, dim=1)
    primary = F.kl_div(q_s, q_t, reduction="batchmean")
    return F.cross_entropy(zs, y) + T**2 * (ALPHA * binary + BETA * primary)


def bench(
    sizes: tuple[int, ...] = (85_742, 1_000_000), batch: int = 128, repeats: tuple[int, ...] = (5, 2)
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Time, and peak memory beyond the two matrices of logits, of forward and backward on one thread.

    Ratio keys, for each size, each also with ``_CASE`` for one case; without it the worst of "recommended":

    ``time_over_dense_C``, ``memory_over_dense_C``: GKD over its dense form.
    ``time_over_kd_C``, ``memory_over_kd_C``: GKD over plain KD of the same logits.
    ``mean_k_C_CASE``: classes in a group.

    Args:
        sizes: C.
        batch: B.
        repeats: for each size.

    Raises:
        MienError: GKD and its dense form disagree.
    """
    entries: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for classes, n in zip(sizes, repeats, strict=True):
        for case in CASES if classes == sizes[0] else RECOMMENDED:
            logits = make_logits(classes, batch, margin=case == "margin")
            found, of_case = _case(logits, PRESETS[CASES[case]], n)
            entries += [{**e, "name": f"{e['name']}_{case}_{classes}"} for e in found]
            ratios |= {f"{key}_{classes}_{case}": value for key, value in of_case.items()}
        for key in ("time_over_dense", "memory_over_dense", "time_over_kd", "memory_over_kd"):
            ratios[f"{key}_{classes}"] = max(ratios[f"{key}_{classes}_{case}"] for case in RECOMMENDED)
    return entries, ratios


def _case(
    logits: Logits, select: GroupSelector, repeats: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    gkd, kd = GKDLoss(ALPHA, BETA, T=T, selector=select, warmup_epochs=0), KDLoss(T=T)
    losses: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "gkd": lambda *batch: gkd(*batch)[0],
        "dense": partial(dense_loss, select),
        "kd": lambda *batch: kd(*batch)[0],
    }
    runs = {name: partial(_step, loss, logits) for name, loss in losses.items()}
    peaks = {"kd": _first(runs["kd"], logits)[0]}
    peaks["gkd"], value, grad = _first(runs["gkd"], logits)
    peaks["dense"], reference, wanted = _first(runs["dense"], logits)
    _check_agreement(value, reference, grad, wanted)
    del grad, wanted
    with one_thread():
        seconds = interleave(runs, repeats, warmup=0)
    logits.student.grad = None
    ratios = {"mean_k": float(select(*logits).lengths.double().mean())}
    for other in ("dense", "kd"):
        ratios[f"time_over_{other}"] = ratio(seconds["gkd"], seconds[other])
        ratios[f"memory_over_{other}"] = peaks["gkd"] / peaks[other]
    return [entry(name, s, peaks[name]) for name, s in seconds.items()], ratios


def _step(loss: Callable[[Tensor, Tensor, Tensor], Tensor], logits: Logits) -> float:
    """One forward and backward into a new gradient."""
    logits.student.grad = None
    value = loss(*logits)
    value.backward()
    return value.item()


def _first(run: Callable[[], float], logits: Logits) -> tuple[int, float, Tensor]:
    """Peak memory beyond the logits, loss and gradient."""
    logits.student.grad = None
    values: list[float] = []
    peak = peak_bytes(lambda: values.append(run()), known=logits)
    grad, logits.student.grad = logits.student.grad, None
    assert grad is not None
    return peak, values[0], grad


def _check_agreement(value: float, reference: float, grad: Tensor, wanted: Tensor) -> None:
    """In float32: where a mass is at the rate, K may differ by one, so not exactly. Overwrites ``grad``."""
    apart = abs(value - reference) / abs(reference)
    slope = float(grad.sub_(wanted).norm() / wanted.norm())
    if not apart < 1e-3 or not slope < 0.05:
        raise MienError(
            f"bench gkd: loss and gradient differ from the dense form's by {apart:.2g}, {slope:.2g}"
        )
