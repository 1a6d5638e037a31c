"""Distillation of embeddings, with the call of the logit losses: ``loss(es, et, y, epoch) -> (loss, logs)``.

Sources: FitNet, Romero et al. (arXiv 1412.6550, eq. 3); RKD, Park et al. (arXiv 1904.05068, eq. 4 to 9);
CCKD, Peng et al. (arXiv 1904.01802); SP, Tung & Mori (arXiv 1907.09682); EKD, Huang et al.
(Evaluation-oriented knowledge distillation, CVPR 2022).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.losses.numerics import full_precision, ramp

Logs = dict[str, Tensor]


def relative_distances(x: Tensor) -> Tensor:
    """Euclidean distances over the mean of those above 0, RKD eq. 5: (B, D) -> (B, B). O(B^2 D)."""
    d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    positive = d > 0
    return d / (d.sum() / positive.sum().clamp(min=1)).clamp(min=1e-12)


def relative_angles(x: Tensor) -> Tensor:
    """Cosines of the angles at each point i between j and k, RKD eq. 7: (B, D) -> (B, B, B). O(B^3 D)."""
    e = F.normalize(x[None] - x[:, None], dim=2)
    return e @ e.transpose(1, 2)


def rbf_correlation(x: Tensor, gamma: float, order: int) -> Tensor:
    """exp(-gamma |x_i - x_j|^2) of unit rows, its Taylor series in x_i . x_j up to an order. O(B^2 D).

    K_ij = exp(-2 gamma) sum_{p=0}^{order} (2 gamma)^p / p! (x_i . x_j)^p.

    Args:
        x: (B, D), normalised here.
        gamma: inverse width of the kernel.
        order: last power.

    Returns:
        (B, B).
    """
    x = F.normalize(x)
    s = 2 * gamma * (x @ x.T)
    powers = sum((s**p / math.factorial(p) for p in range(1, order + 1)), start=torch.ones_like(s))
    return math.exp(-2 * gamma) * powers


def normalized_gram(x: Tensor) -> Tensor:
    """All products x x^T, each row brought to unit length: (B, D) -> (B, B). O(B^2 D)."""
    return F.normalize(x @ x.T)


def pair_similarities(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of all pairs i < j: those of one identity (P,), and those of two (N,). O(B^2 D)."""
    x = F.normalize(x)
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    s = (x @ x.T)[i, j]
    same = y[i] == y[j]
    return s[same], s[~same]


def thresholds(negatives: Tensor, anchors: tuple[int, ...]) -> Tensor:
    """Thresholds with false-positive rates 1 / a: the (N // a)-th largest of N similarities, (A,)."""
    ordered = negatives.sort(descending=True).values
    return ordered[[min(len(ordered) // a, len(ordered) - 1) for a in anchors]]


def soft_rank(similarity: Tensor, anchors: Tensor, t: float) -> Tensor:
    """How many thresholds a pair passes, softly: sum_a sigmoid((s - threshold_a) / t); (P,), (A,) -> (P,)."""
    return ((similarity[:, None] - anchors) / t).sigmoid().sum(1)


def _pair(es: Tensor, et: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if es.ndim != 2 or et.ndim != 2 or len(es) != len(et) or y.shape != es.shape[:1]:
        got = f"{tuple(es.shape)}, {tuple(et.shape)} and {tuple(y.shape)}"
        raise ShapeError(f"expected embeddings (B, D), (B, E) and labels (B,), got {got}")
    return full_precision(es), full_precision(et.detach())


def _out(loss: Tensor, logs: Logs, weight: float) -> tuple[Tensor, Logs]:
    return weight * loss, {k: v.detach() for k, v in logs.items()}


class HintLoss(nn.Module):
    """FitNet: mean square of r(es) - et; r is a linear map where the widths differ.

    Args:
        student: width of the student's embedding or map.
        teacher: width of the teacher's.
        maps: for maps (B, C, H, W) of equal height and width; r is then a 1x1 convolution.
        weight: factor.
        warmup_epochs: the factor grows from 0 in epoch 0; 0 = at once.
    """

    takes = "embeddings"

    def __init__(
        self,
        student: int,
        teacher: int,
        maps: bool = False,
        weight: float = 1.0,
        warmup_epochs: float = 0,
    ) -> None:
        super().__init__()
        self.regressor: nn.Module = nn.Identity()
        if student != teacher:
            self.regressor = nn.Conv2d(student, teacher, 1) if maps else nn.Linear(student, teacher)
        self.maps, self.weight, self.warmup_epochs = maps, weight, warmup_epochs

    def forward(self, es: Tensor, et: Tensor, y: Tensor, epoch: float = 0) -> tuple[Tensor, Logs]:
        """Student (B, D), teacher (B, E), labels (B,), unused -> scalar and logs.

        Raises:
            ShapeError: shapes that do not fit.
        """
        found = self.regressor(es)
        if found.shape != et.shape or found.ndim != (4 if self.maps else 2):
            raise ShapeError(f"student {tuple(found.shape)} (mapped) and teacher {tuple(et.shape)} differ")
        loss = F.mse_loss(full_precision(found), full_precision(et.detach()))
        return _out(loss, {"hint": loss}, self.weight * ramp(epoch, self.warmup_epochs))


class RKDLoss(nn.Module):
    """RKD: Huber loss between relative distances, and between angles, of student and teacher.

    Args:
        distance: weight of the distances.
        angle: weight of the angles; 0 spares their O(B^3).
        warmup_epochs: the loss grows from 0 in epoch 0; 0 = at once.
        normalize: unit embeddings first (the paper leaves them as they are).
    """

    takes = "embeddings"

    def __init__(
        self, distance: float = 25.0, angle: float = 50.0, warmup_epochs: float = 0, normalize: bool = False
    ) -> None:
        super().__init__()
        self.distance, self.angle = distance, angle
        self.warmup_epochs, self.normalize = warmup_epochs, normalize

    def forward(self, es: Tensor, et: Tensor, y: Tensor, epoch: float = 0) -> tuple[Tensor, Logs]:
        """Student (B, D), teacher (B, E), labels (B,), unused -> scalar and logs.

        Raises:
            ShapeError: shapes that do not fit.
        """
        with torch.autocast(es.device.type, enabled=False):
            es, et = _pair(es, et, y)
            if self.normalize:
                es, et = F.normalize(es), F.normalize(et)
            logs = {"rkd_distance": F.smooth_l1_loss(relative_distances(es), relative_distances(et))}
            loss = self.distance * logs["rkd_distance"]
            if self.angle:
                logs["rkd_angle"] = F.smooth_l1_loss(relative_angles(es), relative_angles(et))
                loss = loss + self.angle * logs["rkd_angle"]
        return _out(loss, logs, ramp(epoch, self.warmup_epochs))


class CCKDLoss(nn.Module):
    """CCKD: mean square difference of the correlations of all pairs of a batch, with a Gaussian kernel.

    The part of the paper that is new there; its loss also has a cross-entropy and a KD term.

    Args:
        gamma: inverse width of the kernel.
        order: of its Taylor series.
        weight: factor.
        warmup_epochs: the factor grows from 0 in epoch 0; 0 = at once.

    Raises:
        ConfigError: gamma not above 0, or an order below 1.
    """

    takes = "embeddings"

    def __init__(
        self, gamma: float = 0.4, order: int = 2, weight: float = 1.0, warmup_epochs: float = 0
    ) -> None:
        super().__init__()
        if gamma <= 0 or order < 1:
            raise ConfigError(f"gamma={gamma} must be above 0, order={order} at least 1")
        self.gamma, self.order, self.weight, self.warmup_epochs = gamma, order, weight, warmup_epochs

    def forward(self, es: Tensor, et: Tensor, y: Tensor, epoch: float = 0) -> tuple[Tensor, Logs]:
        """Student (B, D), teacher (B, E), labels (B,), unused -> scalar and logs.

        Raises:
            ShapeError: shapes that do not fit.
        """
        with torch.autocast(es.device.type, enabled=False):
            es, et = _pair(es, et, y)
            ks, kt = (rbf_correlation(e, self.gamma, self.order) for e in (es, et))
            loss = F.mse_loss(ks, kt)
        return _out(loss, {"cckd": loss}, self.weight * ramp(epoch, self.warmup_epochs))


class SPLoss(nn.Module):
    """SP: mean square difference of the row-normalised similarities of all pairs of a batch.

    Args:
        weight: factor; 3000 in the paper.
        warmup_epochs: the factor grows from 0 in epoch 0; 0 = at once.
    """

    takes = "embeddings"

    def __init__(self, weight: float = 3000.0, warmup_epochs: float = 0) -> None:
        super().__init__()
        self.weight, self.warmup_epochs = weight, warmup_epochs

    def forward(self, es: Tensor, et: Tensor, y: Tensor, epoch: float = 0) -> tuple[Tensor, Logs]:
        """Student (B, ...), teacher (B, ...), embeddings or maps, labels (B,), unused -> scalar and logs.

        Raises:
            ShapeError: shapes that do not fit.
        """
        with torch.autocast(es.device.type, enabled=False):
            es, et = _pair(es.flatten(1), et.flatten(1), y)
            loss = F.mse_loss(normalized_gram(es), normalized_gram(et))
        return _out(loss, {"sp": loss}, self.weight * ramp(epoch, self.warmup_epochs))


class EKDLoss(nn.Module):
    """EKD: pairs shall pass the same thresholds of the student as of the teacher.

    A threshold has false-positive rate 1/a over the batch's pairs of two identities; both nets keep running
    means of theirs (moved in training mode). Loss: the mean square of the difference of `soft_rank`, over all
    pairs of one identity, and over the student's ``topk`` most similar pairs of two.

    Args:
        topk: pairs of two identities.
        t: temperature of the sigmoid.
        anchors: a.
        positive: weight of pairs of one identity.
        negative: weight of pairs of two.
        momentum: pace of the running means.
        warmup_epochs: the loss grows from 0 in epoch 0; 0 = at once.

    Raises:
        ConfigError: t, topk or an anchor not above 0.
    """

    takes = "embeddings"
    student: Tensor
    teacher: Tensor
    started: Tensor

    def __init__(
        self,
        topk: int = 2000,
        t: float = 0.01,
        anchors: tuple[int, ...] = (10, 100, 1000, 10_000, 100_000, 1_000_000),
        positive: float = 0.02,
        negative: float = 0.01,
        momentum: float = 0.01,
        warmup_epochs: float = 0,
    ) -> None:
        super().__init__()
        if t <= 0 or topk < 1 or not anchors or min(anchors) < 1:
            raise ConfigError(f"t={t}, topk={topk} and anchors={anchors} must be above 0")
        self.topk, self.t, self.anchors = topk, t, anchors
        self.positive, self.negative = positive, negative
        self.momentum, self.warmup_epochs = momentum, warmup_epochs
        self.register_buffer("student", torch.zeros(len(anchors)))
        self.register_buffer("teacher", torch.zeros(len(anchors)))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, es: Tensor, et: Tensor, y: Tensor, epoch: float = 0) -> tuple[Tensor, Logs]:
        """Student (B, D), teacher (B, E), labels (B,) -> scalar and logs. O(B^2 (D + log B)).

        Raises:
            ShapeError: shapes that do not fit.
        """
        with torch.autocast(es.device.type, enabled=False):
            es, et = _pair(es, et, y)
            (same_s, other_s), (same_t, other_t) = pair_similarities(es, y), pair_similarities(et, y)
            if self.training and len(other_s):
                self._follow(other_s.detach(), other_t)
            hard = other_s.detach().topk(min(self.topk, len(other_s))).indices
            logs = {
                "ekd_same": self._difference(same_s, same_t),
                "ekd_other": self._difference(other_s[hard], other_t[hard]),
            }
            loss = self.positive * logs["ekd_same"] + self.negative * logs["ekd_other"]
        return _out(loss, logs, ramp(epoch, self.warmup_epochs))

    def _difference(self, s: Tensor, t: Tensor) -> Tensor:
        if not len(s):
            return s.sum()
        rank_s = soft_rank(s, self.student.to(s), self.t)
        return F.mse_loss(rank_s, soft_rank(t, self.teacher.to(t), self.t))

    def _follow(self, other_s: Tensor, other_t: Tensor) -> None:
        """Moves the running thresholds.

        Departs from the released code: they start at the first batch's values, not at 0, where 300 steps
        would pass before they mean anything.
        """
        for mine, values in ((self.student, other_s), (self.teacher, other_t)):
            found = thresholds(values, self.anchors).to(mine)
            mine.lerp_(found, self.momentum if self.started else 1.0)
        self.started.fill_(True)
