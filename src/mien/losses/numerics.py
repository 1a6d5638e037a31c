"""Numerics that the logit losses share: masses and divergences from log-sum-exps, never logs of sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.losses.sharded import (
    Group,
    Shard,
    block_buffer,
    logsumexp_,
    over_processes,
    row_blocks,
    sharded_logsumexp,
    sharded_sum,
    softmax_into,
)


def ramp(epoch: float, warmup: float) -> float:
    """min(epoch / warmup, 1): 0 in epoch 0, 1 from epoch ``warmup`` on; 1 without a warm-up.

    >>> [ramp(e, 10) for e in (0, 5, 10, 20)], ramp(0, 0)
    ([0.0, 0.5, 1.0, 1.0], 1.0)
    """
    return min(epoch / warmup, 1.0) if warmup > 0 else 1.0


def full_precision(z: Tensor) -> Tensor:
    """Half-precision logits as float32; others as they are."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def pick(z: Tensor, y: Tensor, shard: Shard | None = None) -> Tensor:
    """z_y of each row, (B, c) and (B,) -> (B,), wherever the column of y is held."""
    if shard is None:
        return z.gather(1, y[:, None])[:, 0]
    column = shard.local(y, z.shape[1])
    if not z.shape[1]:
        return sharded_sum(z.sum(1), shard.group)
    here = z.gather(1, column.clamp(min=0)[:, None])[:, 0]
    return sharded_sum(torch.where(column >= 0, here, 0.0), shard.group)


def _mean_difference(
    p: Tensor, zt: Tensor, zs: Tensor, log_t: Tensor, log_s: Tensor, shard: Shard | None
) -> Tensor:
    """sum_j p_j [(zt_j - log_t) - (zs_j - log_s)] over all processes, for p that sums to 1: (B, c) -> (B,).

    A log-sum-exp is alike on all processes, and may carry a gradient only into what is alike on all of them:
    it stands as a number within the sum, to keep the summands small, and as a function outside.
    """
    held_t, held_s = log_t.detach(), log_s.detach()
    local = (p * ((zt - held_t[:, None]) - (zs - held_s[:, None]))).sum(1)
    return sharded_sum(local, shard.group if shard else None) + (log_s - held_s) - (log_t - held_t)


def kl_divergence(zt: Tensor, zs: Tensor, shard: Shard | None = None) -> Tensor:
    """KL(softmax zt || softmax zs) of each row: (B, c) twice -> (B,). O(B c).

    With a shard no gradient reaches ``zt``.
    """
    group, zt = (shard.group, zt.detach()) if shard else (None, zt)
    log_t, log_s = sharded_logsumexp(zt, group), sharded_logsumexp(zs, group)
    return _mean_difference((zt - log_t[:, None]).exp(), zt, zs, log_t, log_s, shard)


def binary_kl(odds_t: Tensor, odds_s: Tensor) -> Tensor:
    """KL(b(P_t) || b(P_s)) of two coins given by their log odds d = log P - log(1 - P), elementwise.

    P_t (log P_t - log P_s) + (1 - P_t) (log(1 - P_t) - log(1 - P_s)), where log P = -softplus(-d) and
    log(1 - P) = -softplus(d), so that neither end loses digits.

    >>> round(float(binary_kl(torch.tensor(2.0), torch.tensor(0.0))), 4)
    0.3278
    """
    up, down = F.logsigmoid(odds_t), F.logsigmoid(-odds_t)
    return up.exp() * (up - F.logsigmoid(odds_s)) + down.exp() * (down - F.logsigmoid(-odds_s))


class GroupLogits(NamedTuple):
    """Logits split by a group of classes, different for each row.

    Attributes:
        inside: (B, K) logits of the group's classes; -inf in places without a class (here).
        log_in: (B,) logsumexp over the group.
        log_out: (B,) logsumexp over all other classes; -inf if there are none.
    """

    inside: Tensor
    log_in: Tensor
    log_out: Tensor

    @property
    def odds(self) -> Tensor:
        """(B,) log odds of the group; 0, with zero gradient, where the group is everything."""
        nothing = torch.isneginf(self.log_out)
        return self.log_in.masked_fill(nothing, 0.0) - self.log_out.masked_fill(nothing, 0.0)

    @property
    def log_mass(self) -> Tensor:
        """(B,) log P, the log of the group's share of the probability; 0 where the group is everything."""
        return F.logsigmoid(self.odds).masked_fill(torch.isneginf(self.log_out), 0.0)


class _Split(torch.autograd.Function):
    """For each of some groups its logits over T, and the log-sum-exp of all others, without a second matrix.

    The gradient is written once. Each group adds g_out exp(z_j / T - log_out) / T outside, g_in / T inside.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, group: Group, Ts: tuple[float, ...], *columns: Tensor) -> Any:
        """(B, c) logits, (B, K) columns here or -1 -> (B, K) each, then, over all processes, (B,) each."""
        held = z.shape[1]
        local, buffer = z.new_empty(len(Ts), len(z)), block_buffer(z, held + 1)
        for rows in row_blocks(z):
            part = buffer[: len(z[rows])]
            for out, column, T in zip(local, columns, Ts, strict=True):
                part[:, :held] = z[rows]
                # Unused places write to a spare column.
                part.scatter_(1, _or_spare(column[rows], held), -torch.inf)
                out[rows] = logsumexp_(part[:, :held], T)
        log_out = over_processes(local, group).unbind()
        inside = [_taken(z, column, T) for column, T in zip(columns, Ts, strict=True)]
        ctx.save_for_backward(z, *log_out, *columns)
        ctx.Ts = Ts
        return *inside, *log_out

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """See the class."""
        z, n = ctx.saved_tensors[0], len(ctx.Ts)
        log_outs, columns = ctx.saved_tensors[1 : n + 1], ctx.saved_tensors[n + 1 :]
        held = z.shape[1]
        dz, buffer = torch.empty_like(z), block_buffer(z, held + 1)
        for rows in row_blocks(z):
            part, total = buffer[: len(z[rows])], dz[rows].zero_()
            for g_in, g_out, log_out, column, T in zip(
                grads[:n], grads[n:], log_outs, columns, ctx.Ts, strict=True
            ):
                softmax_into(part[:, :held], z[rows], log_out[rows], T, g_out[rows] / T)
                part.scatter_(1, _or_spare(column[rows], held), g_in[rows] / T)
                total += part[:, :held]
        return dz, None, None, *[None] * n


def _or_spare(column: Tensor, held: int) -> Tensor:
    return column.masked_fill(column < 0, held)


def _taken(z: Tensor, column: Tensor, T: float) -> Tensor:
    """Z / T at columns (B, K); -inf where a place is unused or not here."""
    if not z.shape[1]:
        return z.new_full(column.shape, -torch.inf)
    return z.gather(1, column.clamp(min=0)).div_(T).masked_fill_(column < 0, -torch.inf)


def split_logits(
    z: Tensor, groups: Sequence[tuple[Tensor, float]], shard: Shard | None = None
) -> list[GroupLogits]:
    """Splits z / T into a group and the rest, for some groups, with neither masks nor copies of z.

    O(B c + B K) for each; their gradients are summed in one (B, c) matrix.

    Args:
        z: (B, c) logits of this process.
        groups: (B, K) columns of a group, numbered over all processes, -1 = an unused place; and its T.
        shard: which columns ``z`` holds; None = all.
    """
    columns = [index if shard is None else shard.local(index, z.shape[1]) for index, _ in groups]
    group = shard.group if shard else None
    found = _Split.apply(z, group, tuple(T for _, T in groups), *columns)
    return [
        GroupLogits(inside, sharded_logsumexp(inside, group), log_out)
        for inside, log_out in zip(found[: len(groups)], found[len(groups) :], strict=True)
    ]


def group_logits(z: Tensor, index: Tensor, shard: Shard | None = None, T: float = 1.0) -> GroupLogits:
    """`split_logits` of one group.

    Args:
        z: (B, c) logits of this process.
        index: (B, K) columns of the group, numbered over all processes; -1 = an unused place.
        shard: which columns ``z`` holds; None = all.
        T: temperature.
    """
    return split_logits(z, [(index, T)], shard)[0]


def cross_entropy(z: Tensor, y: Tensor, shard: Shard | None = None) -> Tensor:
    """Mean over rows of logsumexp(z) - z_y = log(1 + exp(d)), d = logsumexp of the others - z_y.

    Args:
        z: (B, c) logits of this process.
        y: (B,) columns of the labels, numbered over all processes.
        shard: which columns ``z`` holds; None = all.

    >>> round(float(cross_entropy(torch.tensor([[9.152583, 12.8, -19.2]]), torch.tensor([0]))), 4)
    3.6731
    """
    return label_entropy(group_logits(z, y[:, None], shard))


def label_entropy(label: GroupLogits) -> Tensor:
    """The mean cross-entropy, from logits split into the label and all others."""
    return -F.logsigmoid(label.log_in - label.log_out).mean()


def primary_kl(t: GroupLogits, s: GroupLogits, shard: Shard | None = None) -> Tensor:
    """KL of the two distributions within the group, each renormalised there: (B,). O(B K)."""
    used = ~torch.isneginf(t.inside)
    q = (t.inside - t.log_in[:, None]).exp()
    zt, zs = t.inside.masked_fill(~used, 0.0), s.inside.masked_fill(~used, 0.0)
    return _mean_difference(q, zt, zs, t.log_in, s.log_in, shard)


def secondary_kl(
    zt: Tensor, zs: Tensor, t: GroupLogits, s: GroupLogits, index: Tensor, shard: Shard | None = None
) -> Tensor:
    """KL of the two distributions outside the group, each renormalised there: (B,); 0 if that is empty.

    Args:
        zt: (B, c) teacher's logits over the temperature.
        zs: (B, c) student's logits over the temperature.
        t: `group_logits` of ``zt``.
        s: `group_logits` of ``zs``.
        index: (B, K) the group.
        shard: which columns the logits hold; None = all.
    """
    nothing = torch.isneginf(t.log_out)
    out_t, out_s = (g.log_out.masked_fill(nothing, 0.0) for g in (t, s))
    column = index if shard is None else shard.local(index, zt.shape[1])
    column = column.masked_fill(column < 0, zt.shape[1])
    # The group is taken out before exp, not after: exp may overflow there, and 0 inf would poison gradients.
    r = (F.pad(zt, (0, 1), value=-torch.inf).scatter_(1, column, -torch.inf) - out_t[:, None]).exp()
    return _mean_difference(r[:, :-1], zt, zs, out_t, out_s, shard)
