"""Sums over classes that are spread over processes.

The convention everywhere: what leaves a reduction is the same on every process, and every process goes on to
compute the same loss from it. Then the gradient of a process's own columns needs no further communication.
A group of None means one process: no communication at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

Group = Any
"""A ``torch.distributed.ProcessGroup`` (gloo, NCCL), or None."""


class Shard(NamedTuple):
    """Which columns of the (B, C) logits a process holds.

    Attributes:
        start: number of its first column.
        total: C, columns of all processes together.
        group: the processes; None = this one has all columns.
    """

    start: int
    total: int
    group: Group = None

    def local(self, columns: Tensor, held: int) -> Tensor:
        """Numbers of columns, any shape, as positions among the ``held`` columns here; -1 = not here."""
        inside = (columns >= self.start) & (columns < self.start + held)
        return torch.where(inside, columns - self.start, -1)


def group_size(group: Group) -> int:
    """Processes in the group."""
    return 1 if group is None else dist.get_world_size(group)


def row_blocks(z: Tensor) -> Iterator[slice]:
    """Rows of a (B, c) matrix in blocks that stay in a processor's cache, or that fill a GPU."""
    cells = 2**18 if z.device.type == "cpu" else 2**26
    rows = max(1, cells // max(1, z.shape[1]))
    return (slice(first, first + rows) for first in range(0, len(z), rows))


def block_buffer(z: Tensor, columns: int) -> Tensor:
    """Room for one of the `row_blocks` of ``z``, ``columns`` wide."""
    return z.new_empty(max((len(z[rows]) for rows in row_blocks(z)), default=0), columns)


def logsumexp_(z: Tensor, T: float) -> Tensor:
    """Log sum_j exp(z_j / T) of each row, (b, c) -> (b,), which overwrites ``z``; -inf where all are."""
    if not z.shape[1]:
        return z.new_full((len(z),), -torch.inf)
    peak = z.amax(1)
    peak = peak.masked_fill_(torch.isneginf(peak), 0.0)
    return z.sub_(peak[:, None]).div_(T).exp_().sum(1).log_().add_(peak, alpha=1 / T)


def over_processes(local: Tensor, group: Group) -> Tensor:
    """Log-sum-exp (B,) over all processes from each one's own."""
    if group is None:
        return local
    peak = local.clone()
    dist.all_reduce(peak, dist.ReduceOp.MAX, group=group)
    peak = peak.masked_fill_(torch.isneginf(peak), 0.0)
    total = (local - peak).exp_()
    dist.all_reduce(total, group=group)
    return total.log_().add_(peak)


def softmax_into(out: Tensor, z: Tensor, log_sum: Tensor, T: float, factor: Tensor) -> Tensor:
    """``out`` <- factor exp(z / T - log_sum) of each row; 0 where log_sum is -inf and the factor 0.

    Args:
        out: (b, c) to be overwritten.
        z: (b, c).
        log_sum: (b,).
        T: temperature.
        factor: (b,).
    """
    shift = log_sum.masked_fill(torch.isneginf(log_sum), 0.0)
    return torch.div(z, T, out=out).sub_(shift[:, None]).exp_().mul_(factor[:, None])


class _LogSumExp(torch.autograd.Function):
    """Row by row; -inf, with zero gradient, where no column is left."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, group: Group, T: float) -> Tensor:
        """(B, c) of this process -> (B,) over all processes."""
        local, buffer = z.new_empty(len(z)), block_buffer(z, z.shape[1])
        for rows in row_blocks(z):
            part = z[rows]
            local[rows] = logsumexp_(buffer[: len(part)].copy_(part), T)
        out = over_processes(local, group)
        ctx.save_for_backward(z, out)
        ctx.T = T
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """The softmax of this process's columns times the gradient."""
        z, out = ctx.saved_tensors
        dz = torch.empty_like(z)
        for rows in row_blocks(z):
            softmax_into(dz[rows], z[rows], out[rows], ctx.T, grad[rows] / ctx.T)
        return dz, None, None


class _Sum(torch.autograd.Function):
    """All-reduce whose result every process uses alike, so that the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        """Sum over processes, elementwise."""
        out = x.clone()
        dist.all_reduce(out, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The same gradient for each summand."""
        return grad, None


class _Gather(torch.autograd.Function):
    """All-gather of rows whose gradients are summed at their owner, times ``factor``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group, factor: float) -> Tensor:
        """(b, ...) of this process -> (B, ...) of all, in rank order."""
        counts = row_counts(len(x), x.device, group)
        rank = dist.get_rank(group)
        ctx.rows = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        ctx.group, ctx.factor = group, factor
        return _gathered(x, counts, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Sum over processes of the gradient of this process's rows."""
        grad = grad.contiguous().clone()
        dist.all_reduce(grad, group=ctx.group)
        return grad[ctx.rows] * ctx.factor, None, None


def row_counts(rows: int, device: torch.device, group: Group) -> list[int]:
    """Rows held by each process, in rank order."""
    if group is None:
        return [rows]
    mine = torch.tensor([rows], device=device)
    counts = [torch.empty_like(mine) for _ in range(group_size(group))]
    dist.all_gather(counts, mine, group=group)
    return [int(c) for c in counts]


def _gathered(x: Tensor, counts: list[int], group: Group) -> Tensor:
    """Rows of all processes; shorter parts are padded on the way."""
    padded = x.new_zeros((max(counts), *x.shape[1:]))
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded, group=group)
    return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])


def sharded_logsumexp(z: Tensor, group: Group = None, T: float = 1.0) -> Tensor:
    """Log sum_j exp(z_j / T) over the columns of all processes: (B, c) -> (B,); -inf if there are none.

    O(B c) time; no second matrix of that size but for the gradient.
    """
    out: Tensor = _LogSumExp.apply(z, group, T)
    return out


def sharded_sum(x: Tensor, group: Group = None) -> Tensor:
    """Sum of ``x``, any shape, over processes; d sum / d x = 1 on each."""
    if group is None:
        return x
    out: Tensor = _Sum.apply(x, group)
    return out


def gather_rows(x: Tensor, group: Group = None, factor: float = 1.0) -> Tensor:
    """Rows of all processes in rank order: (b, ...) -> (B, ...). Their numbers of rows may differ.

    Args:
        x: (b, ...) rows of this process.
        group: the processes.
        factor: multiplies the gradient, which is the sum of the processes' gradients; the number of
            processes where what lies below averages its gradients over them (DDP).
    """
    if group is None:
        return x
    if x.requires_grad:
        out: Tensor = _Gather.apply(x, group, factor)
        return out
    return _gathered(x, row_counts(len(x), x.device, group), group)
