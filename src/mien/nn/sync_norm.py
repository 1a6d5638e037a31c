"""Batch normalisation over the pictures of all processes, on processors too.

`torch.nn.SyncBatchNorm` refuses tensors that are not on a GPU; without it two processes would normalise each
half of a batch by itself, and would not train what one process trains.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of tensors in main memory over all processes.

    y = w (x - m) / sqrt(v + eps) + b, with the mean m and the variance v of each channel over the pictures of
    all processes. Running statistics take v n / (n - 1), as `torch.nn.BatchNorm2d` has it. O(elements), and
    one message of 2 C numbers forward and one back. Processes may hold different numbers of pictures.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ShapeError(f"batch normalisation: expected (B, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape and type."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        out, mean, variance, count = _Normalise.apply(input, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self._track(mean, variance * (count / (count - 1)))
        return out  # type: ignore[no-any-return]

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


class _Normalise(torch.autograd.Function):
    """Statistics of processes r with n_r values: m = sum n_r m_r / n, v = sum n_r (v_r + (m_r - m)^2) / n."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The normalised values, and mean, variance (C,) and number of values over all processes."""
        z, axes = _wide(x), _axes(x)
        var, mean = torch.var_mean(z, axes, correction=0)
        count = mean.new_full((1,), z.numel() / z.shape[1])
        own = torch.cat([mean, var, count])
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        means, variances, counts = torch.stack(parts).split([len(mean), len(mean), 1], dim=1)
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        var = (counts * (variances + (means - mean).square())).sum(0) / total
        scale = (var + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale, total)
        ctx.has_bias = bias is not None
        y = (z - _lifted(mean, x)) * _lifted(scale, x)
        y = y if weight is None else y * _lifted(weight, x)
        y = y if bias is None else y + _lifted(bias, x)
        ctx.mark_non_differentiable(mean, var, total)
        return y.to(x.dtype), mean, var, total

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient w (g - mean(g) - u mean(g u)) / sqrt(v + eps); u are the normalised values."""
        x, weight, mean, scale, total = ctx.saved_tensors
        g, axes = _wide(grad), _axes(x)
        u = (_wide(x) - _lifted(mean, x)) * _lifted(scale, x)
        own = torch.stack([g.sum(axes), (g * u).sum(axes)])
        both = own.clone()
        dist.all_reduce(both)
        both /= total
        dx = (g - _lifted(both[0], x) - u * _lifted(both[1], x)) * _lifted(scale, x)
        dx = dx if weight is None else dx * _lifted(weight, x)
        dw = None if weight is None else own[1].to(weight.dtype)
        return dx.to(x.dtype), dw, own[0].to(grad.dtype) if ctx.has_bias else None, None


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _axes(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


def _lifted(values: Tensor, x: Tensor) -> Tensor:
    """(C,) beside (B, C, ...)."""
    return values.view(1, -1, *[1] * (x.ndim - 2))


class SyncBatchNormAct(SyncBatchNorm):
    """The same before timm's activation (`timm.layers.BatchNormAct2d`)."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and type."""
        return self.act(self.drop(super().forward(input)))  # type: ignore[no-any-return]


def synchronised(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with every batch normalisation over all processes; parameters, buffers and names stay.

    On a processor the layers are changed in place; on a GPU they are exchanged for torch's own. Both forms
    need processes that have met.

    Raises:
        ConfigError: a kind of layer that is not known here.
    """
    from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm

    if device.type != "cpu":
        return convert_sync_batchnorm(module)  # type: ignore[no-any-return]
    known: dict[type, type[SyncBatchNorm]] = dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), SyncBatchNorm
    )
    known[BatchNormAct2d] = SyncBatchNormAct
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and not isinstance(part, SyncBatchNorm):
            if type(part) not in known:
                name = type(part).__name__
                raise ConfigError(f"cannot spread {name} over processes; set schedule.sync_bn=False")
            part.__class__ = known[type(part)]  # the same fields, another forward
    return module
