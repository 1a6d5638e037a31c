"""Sums over classes that are spread over processes.

The convention everywhere: what leaves a reduction is the same on every process, and every process goes on to
compute the same loss from it. Then the gradient of a process's own columns needs no further communication.
A group of None means one process: no communication at all.
"""

from __future__ import annotations

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


class _LogSumExp(torch.autograd.Function):
    """Row by row; -inf, with zero gradient, where no column is left."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, group: Group) -> Tensor:
        """(B, c) of this process -> (B,) over all processes."""
        peak = z.amax(1) if z.shape[1] else z.new_full((len(z),), -torch.inf)
        if group is not None:
            dist.all_reduce(peak, dist.ReduceOp.MAX, group=group)
        peak = peak.masked_fill(torch.isneginf(peak), 0.0)
        total = (z - peak[:, None]).exp().sum(1)
        if group is not None:
            dist.all_reduce(total, group=group)
        out = peak + total.log()
        ctx.save_for_backward(z, out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The softmax of this process's columns times the gradient."""
        z, out = ctx.saved_tensors
        return (z - out.masked_fill(torch.isneginf(out), 0.0)[:, None]).exp() * grad[:, None], None


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


def sharded_logsumexp(z: Tensor, group: Group = None) -> Tensor:
    """Log sum_j exp z_j over the columns of all processes: (B, c) -> (B,); -inf if there are none. O(B c)."""
    out: Tensor = _LogSumExp.apply(z, group)
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
