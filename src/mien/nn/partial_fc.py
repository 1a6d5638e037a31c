"""Partial FC: a margin classifier whose classes are spread over processes and sampled at each step.

Source: An et al., Killing two birds with one stone: efficient and robust training of face recognition CNNs by
Partial FC (arXiv 2203.15565, section 3). Departs from the released code: the softmax is a log-sum-exp and not
a floored probability, batches may differ between processes and steps, checkpoints hold all rows, and one
process or gloo do as well as NCCL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.core.seeds import derive
from mien.losses.numerics import cross_entropy
from mien.losses.sharded import Group, Shard, gather_rows, row_counts, sharded_sum
from mien.nn.margin_heads import AdaMargin, Margin, MarginHead, cosines

BLOCK = 1024
"""Rows that share a stream of random numbers: the start does not depend on the number of processes."""


def shard_rows(rank: int, world: int, classes: int) -> tuple[int, int]:
    """First class and number of classes of a process: C // R each, one more for the first C mod R.

    >>> [shard_rows(r, 3, 8) for r in range(3)]
    [(0, 3), (3, 3), (6, 2)]
    """
    each, more = divmod(classes, world)
    return rank * each + min(rank, more), each + (rank < more)


def starting_rows(start: int, count: int, features: int, seed: int, std: float = 0.01) -> Tensor:
    """Rows start .. start + count of a (C, D) matrix of N(0, std), made without the others. O(count D)."""
    out, done = torch.empty(count, features), 0
    for block in range(start // BLOCK, -(-(start + count) // BLOCK)):
        g = torch.Generator().manual_seed(derive(seed, "partial fc", block))
        rows = torch.randn(BLOCK, features, generator=g, device="cpu") * std
        rows = rows[max(0, start - block * BLOCK) : start + count - block * BLOCK]
        out[done : done + len(rows)] = rows
        done += len(rows)
    return out


def sample_rows(local: Tensor, held: int, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """Rows to keep: all positives, and uniformly drawn others up to int(rate held); ascending. O(held).

    Args:
        local: (B,) labels of the whole batch as rows of this process; -1 = elsewhere.
        held: rows of this process.
        rate: q.
        generator: of the draw; None = torch's own.

    >>> sample_rows(torch.tensor([4, -1, 0, 4]), 6, 0.5, torch.Generator().manual_seed(0))
    tensor([0, 1, 4])
    """
    positives: Tensor = local[local >= 0].unique()
    wanted = int(rate * held)
    if len(positives) >= wanted:
        return positives
    score = torch.rand(held, device=local.device, generator=generator)
    score[positives] = 2.0
    return score.topk(wanted).indices.sort().values


class ShardedLogits(NamedTuple):
    """Logits of the kept classes of this process, for the batch of all processes.

    Attributes:
        logits: (B, c).
        y: (B,) columns of the labels, numbered over the kept classes of all processes.
        shard: which of those columns are here.
        kept: (c,) rows of this process's weights; None = all.
        cosine: (B, c) without margin and scale.
    """

    logits: Tensor
    y: Tensor
    shard: Shard
    kept: Tensor | None
    cosine: Tensor


class PartialFC(nn.Module):
    """The mean cross-entropy of a margin softmax over C classes, C / R of them in each of R processes.

    Each process gives its own part of the batch; all get the loss of the whole batch. With sampling the
    softmax runs over the classes of the batch and a random share of the rest, in training mode.

    The weights of a process are its own: keep them out of DDP and give them their own optimiser state (with
    DDP over a model that holds them, add their name to the parameters to ignore). Their gradient is that of
    the mean over the whole batch, whatever the number of processes.

    `state_dict` holds this process's rows; `full_state_dict` holds all. `load_state_dict` takes either, the
    full one on any number of processes.

    Args:
        num_features: D.
        num_classes: C, over all processes.
        margin: `Margin` or `AdaMargin`; None = ArcFace's.
        sample_rate: q in (0, 1].
        group: processes; None = all of torch.distributed where it runs, else this one.
        averaged: what lies below averages its gradients over the processes (DDP does); False: it sums them.
        sparse: the gradient of sampled weights holds the kept rows only; for `RowSGD`.
        seed: of the start; the same weights for any number of processes.

    Attributes:
        weight: (C / R, D), this process's rows.
        start: class of its first row.

    Raises:
        ConfigError: ``sample_rate`` outside (0, 1] or no classes.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        margin: Margin | AdaMargin | None = None,
        *,
        sample_rate: float = 1.0,
        group: Group = None,
        averaged: bool = True,
        sparse: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < sample_rate <= 1 or num_classes < 1:
            raise ConfigError(
                f"sample_rate={sample_rate} must be in (0, 1] and num_classes={num_classes} above 0"
            )
        if group is None and dist.is_available() and dist.is_initialized():
            group = dist.group.WORLD
        self.rank, self.world = (
            (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))
        )
        self.group = group if self.world > 1 else None
        self.num_classes, self.sample_rate, self.sparse = num_classes, sample_rate, sparse
        self.factor = float(self.world) if averaged else 1.0
        self.start, count = shard_rows(self.rank, self.world, num_classes)
        self.weight = nn.Parameter(starting_rows(self.start, count, num_features, seed))
        self.margin = Margin(m2=0.5) if margin is None else margin
        self.register_load_state_dict_pre_hook(_take_own_rows)

    @classmethod
    def of(cls, head: MarginHead) -> PartialFC:
        """A trained head, spread over the processes (a teacher's, beside a student's of the same classes)."""
        classes, features = head.weight.shape
        layer = cls(features, classes, head.margin)
        with torch.no_grad():
            layer.weight.copy_(layer.own_rows(head.weight))
        return layer.to(head.weight)

    def forward(
        self, x: Tensor, y: Tensor, *, kept: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The loss of the whole batch, a scalar, alike on all processes.

        Args:
            x: (b, D) embeddings of this process; b may differ between processes.
            y: (b,) their classes, 0..C-1.
            kept: rows to keep here; None = drawn.
            generator: of the draw.

        Raises:
            DataError: a label outside 0..C-1.
            ShapeError: shapes that do not fit.
        """
        found = self.logits(x, y, kept=kept, generator=generator)
        return cross_entropy(found.logits, found.y, found.shard)

    def logits(
        self, x: Tensor, y: Tensor, *, kept: Tensor | None = None, generator: torch.Generator | None = None
    ) -> ShardedLogits:
        """The margin logits, for losses of their own; a teacher's must be asked with the student's ``kept``.

        Args:
            x: (b, D) embeddings of this process.
            y: (b,) their classes, 0..C-1.
            kept: rows to keep here; None = drawn.
            generator: of the draw.

        Raises:
            DataError: a label outside 0..C-1.
            ShapeError: shapes that do not fit.
        """
        if x.ndim != 2 or x.shape[1] != self.weight.shape[1] or y.shape != x.shape[:1]:
            got = f"{tuple(x.shape)} and {tuple(y.shape)}"
            raise ShapeError(f"expected embeddings (b, {self.weight.shape[1]}) and labels (b,), got {got}")
        x, y = gather_rows(x, self.group, self.factor), gather_rows(y, self.group)
        if ((y < 0) | (y >= self.num_classes)).any():
            raise DataError(
                f"labels must be in 0..{self.num_classes - 1}, got {int(y.min())}..{int(y.max())}"
            )
        local = Shard(self.start, self.num_classes, self.group).local(y, len(self.weight))
        if kept is None and self.training and self.sample_rate < 1:
            kept = sample_rows(local, len(self.weight), self.sample_rate, generator)
        weight: Tensor = self.weight
        if kept is not None:
            weight = F.embedding(kept, weight, sparse=self.sparse)
            local = torch.where(local >= 0, torch.searchsorted(kept, local), -1)
        with torch.autocast(x.device.type, enabled=False):
            cosine, norms = cosines(x, weight)
            z = self.margin(cosine, local, norms)
        counts = row_counts(len(weight), x.device, self.group)
        shard = Shard(sum(counts[: self.rank]), sum(counts), self.group)
        column = sharded_sum(torch.where(local >= 0, local + shard.start, 0), self.group)
        return ShardedLogits(z, column, shard, kept, cosine)

    def all_rows(self, rows: Tensor) -> Tensor:
        """This process's (C / R, ...) rows -> everybody's (C, ...): of weights or of an optimiser's momentum.

        Every process must call it.
        """
        return gather_rows(rows.detach().contiguous(), self.group)

    def own_rows(self, rows: Tensor) -> Tensor:
        """All (C, ...) rows -> this process's, a copy."""
        return rows[self.start : self.start + len(self.weight)].clone()

    def full_state_dict(self) -> dict[str, Tensor]:
        """`state_dict` with all C rows, for a file that any number of processes can load.

        Every process must call it; one of them writes.
        """
        state = {name: value.detach().clone() for name, value in self.state_dict().items()}
        return state | {"weight": self.all_rows(self.weight).clone()}


def _take_own_rows(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Lets a process load a file of all rows."""
    rows = state.get(f"{prefix}weight")
    if isinstance(module, PartialFC) and rows is not None and len(rows) == module.num_classes:
        state[f"{prefix}weight"] = module.own_rows(rows)


class RowSGD(torch.optim.Optimizer):
    """SGD that leaves rows without gradient alone: no momentum, no weight decay moves a class not sampled.

    v <- momentum v + g + weight_decay w, w <- w - lr v, on the rows of a sparse gradient; on all rows of a
    dense one, where it is torch's SGD.

    Args:
        params: parameters, for example of a `PartialFC` with ``sparse=True``.
        lr: step.
        momentum: of v.
        weight_decay: factor of w in the gradient.

    Raises:
        ConfigError: a negative number.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        if min(lr, momentum, weight_decay) < 0:
            raise ConfigError(f"lr={lr}, momentum={momentum}, weight_decay={weight_decay}: one is negative")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step; ``closure``, if given, computes the loss again and is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for options in self.param_groups:
            for p in options["params"]:
                self._move(p, options)
        return loss

    def _move(self, p: Tensor, options: dict[str, Any]) -> None:
        grad, state, momentum = p.grad, self.state[p], options["momentum"]
        if grad is None:
            return
        if momentum and "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        if not grad.is_sparse:
            step = grad.add(p, alpha=options["weight_decay"])
            if momentum:
                step = state["momentum_buffer"].mul_(momentum).add_(step)
            p.sub_(step, alpha=options["lr"])
            return
        grad = grad.coalesce()
        rows = grad.indices()[0]
        moved = p[rows]
        step = grad.values().add(moved, alpha=options["weight_decay"])
        if momentum:
            step.add_(state["momentum_buffer"][rows], alpha=momentum)
            state["momentum_buffer"][rows] = step
        p[rows] = moved.sub_(step, alpha=options["lr"])
