"""The loss of GKD as pure functions, then one thin module.

Source: Grouped Knowledge Distillation for Deep Face Recognition (arXiv 2304.04462) and its released code. For
each image the classes are split into a group Psi that holds most of the probability and always the label, and
the rest. With p = softmax(z / T), P the mass of Psi, q = p / P on Psi and r = p / (1 - P) on the rest,

    KL(p_t || p_s) = B + P_t Pr + (1 - P_t) Se,
    B = KL([P_t, 1 - P_t] || [P_s, 1 - P_s]), Pr = KL(q_t || q_s), Se = KL(r_t || r_s),

and the loss is CE(zs, y) + w(epoch) T^2 (alpha B + beta Pr + lam Se), with lam = 0 in the paper.

Shapes: B images, C classes, K places of a group. A group is (B, K) column numbers, never a (B, C) mask. With
a `Shard` the logits are this process's columns, and columns and labels are numbered over all processes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.losses.logit import LogitLoss, Logs
from mien.losses.numerics import (
    GroupLogits,
    binary_kl,
    full_precision,
    group_logits,
    label_entropy,
    pick,
    primary_kl,
    secondary_kl,
    split_logits,
)
from mien.losses.sharded import (
    Shard,
    block_buffer,
    gather_rows,
    row_blocks,
    sharded_logsumexp,
    softmax_into,
)

Source = Literal["teacher", "student"]
Reduce = Literal["sample", "batch"]

EVERY = 2**62
"""A ``k_max`` that allows all classes."""
FIRST_K = 64
"""How many columns are looked for first where K may be larger."""


@dataclass(frozen=True, eq=False)
class GroupMask:
    """The group of each image.

    Attributes:
        index: (B, K) columns by falling score; -1 = an unused place.
        lengths: (B,) classes in each group.
        outside: (B,) True where the label was not among the ``lengths`` best and took the last place.
    """

    index: Tensor
    lengths: Tensor
    outside: Tensor


def group_masses(logits: Tensor, T: float, shard: Shard | None = None) -> Tensor:
    """mass_c = sum_i softmax(z_i / T)_c over the batch: (B, C) -> (C,). O(B C)."""
    log_sum = sharded_logsumexp(logits, shard.group if shard else None, T)
    masses, buffer = logits.new_zeros(logits.shape[1]), block_buffer(logits, logits.shape[1])
    for rows in row_blocks(logits):
        z = logits[rows]
        masses += softmax_into(buffer[: len(z)], z, log_sum[rows], T, torch.ones_like(log_sum[rows])).sum(0)
    return masses


def smallest_k(masses: Tensor, rate: float) -> Tensor:
    """The smallest K whose first K masses sum to at least ``rate``: (..., N) sorted -> (...) in 1..N.

    >>> smallest_k(torch.tensor([0.55, 0.21, 0.12, 0.08, 0.04]), 0.93)
    tensor(4)
    """
    short = (masses.double().cumsum(-1) < rate).sum(-1)
    return (short + 1).clamp(max=masses.shape[-1])


def on_grid(k: Tensor, k_min: int, k_max: int, k_step: int) -> Tensor:
    """The first of k_min, k_min + k_step, ... that is at least k, cut off at k_max.

    >>> on_grid(torch.tensor([1, 2, 101, 102, 290]), 1, 300, 100)
    tensor([  1, 101, 101, 201, 300])
    """
    steps = (k - k_min).clamp(min=0) + k_step - 1
    return (k_min + steps.div(k_step, rounding_mode="floor") * k_step).clamp(max=k_max)


def top_columns(scores: Tensor, k: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The k largest scores of some rows and their columns, (R, k) twice, by falling score.

    A tournament: of s columns to a block, the k best blocks hold the k best columns. With s = sqrt(c / k),
    O(B c) comparisons and two selections among about sqrt(c k) scores instead of one among c.
    """
    held = scores.shape[1]
    size = math.isqrt(held // max(k, 1))
    if size < 4:  # no gain
        found = (scores if len(rows) == len(scores) else scores[rows]).topk(k, dim=1)
        return found.values, found.indices
    blocks = held // size
    champions = scores[:, : size * blocks].unflatten(1, (size, blocks)).amax(1)[rows]
    best = champions.topk(k, dim=1, sorted=False).indices
    members = blocks * torch.arange(size, device=scores.device) + best[:, :, None]
    left_over = torch.arange(size * blocks, held, device=scores.device).expand(len(rows), -1)
    columns = torch.cat([members.flatten(1), left_over], 1)
    found = scores[rows[:, None], columns].topk(k, dim=1)
    return found.values, columns.gather(1, found.indices)


def best_columns(
    scores: Tensor, k: int, shard: Shard | None = None, rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The k largest scores over all processes of some rows and their columns, (R, k) twice, by falling score.

    Each process offers its own k best, O(k) numbers a row instead of O(C).

    Args:
        scores: (B, c) of this process.
        k: how many.
        shard: which columns ``scores`` holds; None = all.
        rows: (R,) which rows; None = all.
    """
    rows = torch.arange(len(scores), device=scores.device) if rows is None else rows
    if shard is None or shard.group is None:
        return top_columns(scores, k, rows)
    mine, at = top_columns(scores, min(k, scores.shape[1]), rows)
    values = gather_rows(mine.T.contiguous(), shard.group).T
    columns = gather_rows((at + shard.start).T.contiguous(), shard.group).T
    best = values.topk(k, dim=1)
    return best.values, columns.gather(1, best.indices)


def with_label(index: Tensor, lengths: Tensor, y: Tensor) -> GroupMask:
    """Cuts each row to its length, and gives the label the last place where it has none. O(B K).

    Args:
        index: (B, K) columns by falling score.
        lengths: (B,) in 1..K.
        y: (B,) labels.

    >>> with_label(torch.tensor([[0, 1, 2]]), torch.tensor([2]), torch.tensor([3])).index
    tensor([[ 0,  3, -1]])
    """
    places = torch.arange(index.shape[1], device=index.device)
    index = index.masked_fill(places >= lengths[:, None], -1)
    outside = ~(index == y[:, None]).any(1)
    last = (places == lengths[:, None] - 1) & outside[:, None]
    return GroupMask(torch.where(last, y[:, None], index), lengths, outside)


@dataclass(frozen=True)
class GroupSelector:
    """Chooses the groups: the K best classes of each image, the label always among them. No gradient.

    K is counted on the scores as they are, before the label is put in. The defaults are ours; `PRESETS` has
    the paper's reading and the released code's (whose batch rule crashes where no size on its grid reaches
    the rate, and here takes all classes).

    Args:
        source: whose logits are the scores.
        t_group: temperature of the softmax whose mass is counted; 1 is sharper than a distillation at 4.
        rate: mass that the group shall hold.
        reduce: "sample": a K for each image; "batch": one K, from the class masses summed over the batch.
        k_min: smallest K.
        k_max: largest K; None = min(10,000, C // 2).
        k_step: K is rounded up to k_min plus a multiple of this.

    Raises:
        ConfigError: an unknown option, or a number out of range.

    >>> zt = torch.tensor([[8.0, 4.0, 2.0, 0.0, -2.0]])
    >>> GroupSelector(t_group=4, k_min=1, k_max=EVERY)(zt, zt, torch.tensor([0])).lengths
    tensor([4])
    """

    source: Source = "teacher"
    t_group: float = 2.0
    rate: float = 0.93
    reduce: Reduce = "sample"
    k_min: int = 5
    k_max: int | None = None
    k_step: int = 1

    def __post_init__(self) -> None:
        for name, value, known in (
            ("source", self.source, get_args(Source)),
            ("reduce", self.reduce, get_args(Reduce)),
        ):
            if value not in known:
                raise ConfigError(f"{name}={value!r} is unknown; known: {', '.join(known)}")
        if self.t_group <= 0 or not 0 < self.rate <= 1:
            raise ConfigError(f"t_group={self.t_group} must be above 0 and rate={self.rate} in (0, 1]")
        if self.k_min < 1 or self.k_step < 1 or (self.k_max is not None and self.k_max < self.k_min):
            raise ConfigError(
                f"needs 1 <= k_min <= k_max and k_step >= 1, got {self.k_min}, {self.k_max}, {self.k_step}"
            )

    @torch.no_grad()
    def __call__(self, zs: Tensor, zt: Tensor, y: Tensor, shard: Shard | None = None) -> GroupMask:
        """Logits of student and teacher (B, C), labels (B,) -> groups. O(B C + B K log K)."""
        scores = full_precision((zt if self.source == "teacher" else zs).detach())
        total = scores.shape[1] if shard is None else shard.total
        most = min(10_000, max(1, total // 2)) if self.k_max is None else min(self.k_max, total)
        least = min(self.k_min, most)
        if least == most:
            lengths = torch.full_like(y, most)
            return with_label(best_columns(scores, most, shard)[1], lengths, y)
        if self.reduce == "batch":
            k = on_grid(self._batch_k(scores, shard), least, most, self.k_step)
            lengths = torch.full_like(y, int(k))
            return with_label(best_columns(scores, int(k), shard)[1], lengths, y)
        return self._per_sample(scores, y, least, most, shard)

    def _per_sample(self, scores: Tensor, y: Tensor, least: int, most: int, shard: Shard | None) -> GroupMask:
        """Most images need few of the allowed places: k grows for those whose k best hold too little."""
        log_sum = sharded_logsumexp(scores, shard.group if shard else None, self.t_group)
        found, lengths = y.new_empty(len(y), 0), torch.zeros_like(y)
        rows, k = torch.arange(len(y), device=y.device), min(most, max(FIRST_K, least))
        while len(rows):
            values, columns = best_columns(scores, k, shard, rows)
            masses = (values / self.t_group - log_sum[rows, None]).exp()
            wanted = (masses.double().cumsum(1) < self.rate).sum(1) + 1
            wanted = on_grid(torch.where(wanted > k, most, wanted), least, most, self.k_step)
            found = F.pad(found, (0, k - found.shape[1]), value=-1)
            found[rows], lengths[rows] = columns, wanted
            rows, k = rows[wanted > k], min(most, 16 * k)
        return with_label(found[:, : int(lengths.max())], lengths, y)

    def _batch_k(self, scores: Tensor, shard: Shard | None) -> Tensor:
        """K of the batch rule: the smallest whose summed class masses reach rate B."""
        masses = gather_rows(group_masses(scores, self.t_group, shard), shard.group if shard else None)
        return smallest_k(masses.sort(descending=True).values, self.rate * len(scores))


PRESETS: dict[str, GroupSelector] = {
    "recommended": GroupSelector(),
    "paper": GroupSelector(t_group=4.0, k_min=1, k_max=EVERY),
    "release-fixed": GroupSelector("student", k_min=10_000, k_max=10_000),
    "release-adaptive": GroupSelector(
        "student", t_group=1.0, reduce="batch", k_min=1, k_max=EVERY, k_step=100
    ),
}
"""Selectors by name. "paper" measures the mass at the T of the loss (4 by default). The released code goes
with beta = 8 for the fixed size and 4 for the adaptive one."""


def group_terms(
    t: GroupLogits, s: GroupLogits, secondary: Tensor | None = None, shard: Shard | None = None
) -> dict[str, Tensor]:
    """The terms of `gkd_terms` from the logits of both nets, split; no ``secondary`` = 0."""
    return {
        "binary": binary_kl(t.odds, s.odds),
        "primary": primary_kl(t, s, shard),
        "secondary": torch.zeros_like(s.log_in) if secondary is None else secondary,
        "p_teacher": t.log_mass.exp(),
        "p_student": s.log_mass.exp(),
    }


def gkd_terms(
    zs: Tensor, zt: Tensor, mask: GroupMask, T: float, secondary: bool = True, shard: Shard | None = None
) -> dict[str, Tensor]:
    """``binary, primary, secondary, p_teacher, p_student``, each (B,); T^2 is not applied.

    binary + p_teacher primary + (1 - p_teacher) secondary = KL(p_t || p_s) for any group. Where the group is
    everything, binary and secondary are 0 and primary is that KL. O(B C + B K); without ``secondary`` two
    logsumexps over the classes for each net are all that touches them.

    Args:
        zs: (B, C) student's logits.
        zt: (B, C) teacher's logits.
        mask: the groups.
        T: temperature.
        secondary: compute that term; else it is 0.
        shard: which columns the logits hold; None = all. With one no gradient reaches ``zt``.

    Raises:
        ShapeError: shapes that do not fit.

    >>> zs, zt = torch.tensor([[5.0, 4, 1, 0, 0]]), torch.tensor([[8.0, 4, 2, 0, -2]])
    >>> mask = with_label(torch.tensor([[0, 1]]), torch.tensor([2]), torch.tensor([0]))
    >>> {k: round(16 * float(v), 4) for k, v in gkd_terms(zs, zt, mask, 4.0).items() if k[1] != "_"}
    {'binary': 0.3923, 'primary': 0.9755, 'secondary': 0.6761}
    """
    if zs.ndim != 2 or zs.shape != zt.shape or mask.index.shape[:1] != zs.shape[:1]:
        got = f"{tuple(zs.shape)}, {tuple(zt.shape)} and {tuple(mask.index.shape)}"
        raise ShapeError(f"expected logits (B, C) twice and groups (B, K), got {got}")
    zs, zt = full_precision(zs), full_precision(zt.detach() if shard else zt)
    s, t = group_logits(zs, mask.index, shard, T), group_logits(zt, mask.index, shard, T)
    rest = secondary_kl(zt / T, zs / T, t, s, mask.index, shard) if secondary else None
    return group_terms(t, s, rest, shard)


class TeacherCache(NamedTuple):
    """What the binary and primary terms need of a teacher: its groups' logits and the mass of the rest.

    Attributes:
        mask: the groups.
        values: (B, K) logits of the groups, not divided by T. float16 keeps them to 0.03 at 64.
        log_out: (B,) logsumexp of the other classes' logits / T.
        T: that temperature.
    """

    mask: GroupMask
    values: Tensor
    log_out: Tensor
    T: float


def cache_teacher(zt: Tensor, y: Tensor, selector: GroupSelector, T: float) -> TeacherCache:
    """Keeps K + 1 of a teacher's C numbers for each image. O(B C).

    Args:
        zt: (B, C) teacher's logits.
        y: (B,) labels.
        selector: with source "teacher".
        T: temperature of the loss.

    Raises:
        ConfigError: a selector that needs the student.
    """
    if selector.source != "teacher":
        raise ConfigError("a cache needs groups of the teacher (source='teacher')")
    zt = full_precision(zt.detach())
    mask = selector(zt, zt, y)
    split = group_logits(zt, mask.index, T=T)
    return TeacherCache(mask, zt.gather(1, mask.index.clamp(min=0)), split.log_out, T)


def cached_logits(cache: TeacherCache, dtype: torch.dtype) -> GroupLogits:
    """The teacher's logits over T, split, as a cache holds them."""
    inside = (cache.values.to(dtype) / cache.T).masked_fill(cache.mask.index < 0, -torch.inf)
    return GroupLogits(inside, sharded_logsumexp(inside), cache.log_out.to(dtype))


def cached_terms(zs: Tensor, cache: TeacherCache) -> dict[str, Tensor]:
    """`gkd_terms` from a cache, equal to the dense ones but for ``secondary``, which is 0. O(B C).

    Args:
        zs: (B, C) student's logits, all classes.
        cache: of the same images.
    """
    zs = full_precision(zs)
    return group_terms(cached_logits(cache, zs.dtype), group_logits(zs, cache.mask.index, T=cache.T))


class GKDLoss(LogitLoss):
    """L = ce CE + w(epoch) T^2 mean(alpha B + beta Pr + lam Se).

    Args:
        alpha: weight of the binary term.
        beta: weight of the primary term.
        lam: weight of the secondary term; 0 in the paper.
        T: temperature.
        selector: chooses the groups; None = `PRESETS` "recommended".
        warmup_epochs: w = min(epoch / this, 1), 0 in epoch 0.
        ce: weight of the cross-entropy with the labels.

    Logs, each a scalar: ``ce, kd, kd_weight, binary, primary, secondary`` (T^2 not applied), ``p_teacher,
    p_student``, ``k`` (mean size of a group), ``outside`` (share of images whose label was not among the K
    best) and ``teacher_target`` (the teacher's mean probability of the label at T = 1; below 0.5 it teaches
    "not y", which margin-modified logits of a small teacher do; not known with a cache).
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 4.0,
        lam: float = 0.0,
        T: float = 4.0,
        selector: GroupSelector | None = None,
        warmup_epochs: float = 10,
        ce: float = 1.0,
    ) -> None:
        super().__init__(T, warmup_epochs, ce)
        self.alpha, self.beta, self.lam = alpha, beta, lam
        self.selector = selector or PRESETS["recommended"]

    def distill(self, zs: Tensor, zt: Tensor, y: Tensor, shard: Shard | None) -> tuple[Tensor, Logs]:
        """T^2 mean(alpha B + beta Pr + lam Se)."""
        mask = self.selector(zs, zt, y, shard)
        t = group_logits(zt, mask.index, shard, self.T)
        s, logs = self._student(zs, mask, y, shard)
        rest = None
        if self.lam:
            rest = secondary_kl(zt / self.T, zs / self.T, t, s, mask.index, shard)
        kd, more = self._weighted(group_terms(t, s, rest, shard), mask)
        with torch.no_grad():
            log_p = pick(zt, y, shard) - sharded_logsumexp(zt, shard.group if shard else None)
            logs["teacher_target"] = log_p.exp().mean()
        return kd, logs | more

    def _student(
        self, zs: Tensor, mask: GroupMask, y: Tensor, shard: Shard | None = None
    ) -> tuple[GroupLogits, Logs]:
        """The student's logits split by the groups, and the cross-entropy: one gradient for both."""
        if not self.ce:
            return group_logits(zs, mask.index, shard, self.T), {}
        found, label = split_logits(zs, [(mask.index, self.T), (y[:, None], 1.0)], shard)
        return found, {"ce": label_entropy(label)}

    def from_cache(self, zs: Tensor, cache: TeacherCache, y: Tensor, epoch: float = 0) -> tuple[Tensor, Logs]:
        """The same loss without a teacher at hand.

        Args:
            zs: (B, C) student's logits.
            cache: `cache_teacher` of the same images.
            y: (B,) labels.
            epoch: counted from 0.

        Raises:
            ConfigError: a cache of another temperature, or lam, which needs all of the teacher's logits.
            ShapeError: shapes that do not fit.
        """
        if cache.T != self.T or self.lam:
            raise ConfigError(
                f"the cache is of T={cache.T} and has no secondary term; got {self.T}, {self.lam}"
            )
        if zs.ndim != 2 or not len(zs) == len(y) == len(cache.log_out):
            got = f"{tuple(zs.shape)}, {len(y)} and {len(cache.log_out)}"
            raise ShapeError(f"expected logits (B, C), labels and cache of the same B, got {got}")

        def term(z: Tensor) -> tuple[Tensor, Logs]:
            s, logs = self._student(z, cache.mask, y)
            kd, more = self._weighted(group_terms(cached_logits(cache, z.dtype), s), cache.mask)
            return kd, logs | more

        return self.total(zs, term, y, epoch)

    def _weighted(self, terms: dict[str, Tensor], mask: GroupMask) -> tuple[Tensor, Logs]:
        logs = {name: value.mean() for name, value in terms.items()}
        kd = self.alpha * logs["binary"] + self.beta * logs["primary"]
        if self.lam:
            kd = kd + self.lam * logs["secondary"]
        logs |= {"k": mask.lengths.float().mean(), "outside": mask.outside.float().mean()}
        return self.T**2 * kd, logs
