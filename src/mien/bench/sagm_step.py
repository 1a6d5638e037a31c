"""``mien bench sagm``: a step of the SAM family over a plain (ERM) step, in time and in memory.

A two-pass optimiser needs two forward-backward passes, so 2 is the floor of ``*_over_erm`` but for the part
of a plain step that is not a pass. What is above the two passes is reported on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from mien.bench.speed import entry, interleave, peak_bytes, ratio
from mien.engine.task import total_parameters
from mien.optim.sam import GSAM, SAGM, SAM

Nets = Mapping[str, Callable[[], nn.Module]]


def _resnet18() -> nn.Module:
    import timm

    net: nn.Module = timm.create_model("resnet18", num_classes=10)
    return net


def _vit_tiny() -> nn.Module:
    import timm

    net: nn.Module = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=64)
    return net


NETS: Nets = {"resnet18": _resnet18, "vit_tiny": _vit_tiny}
KINDS: dict[str, Callable[[Optimizer], Optimizer]] = {
    "erm": lambda base: base,
    "sam": lambda base: SAM(None, base),
    "gsam": lambda base: GSAM(None, base),
    "sagm": lambda base: SAGM(None, base),
}
OVER = (("sagm", "erm"), ("sam", "erm"), ("gsam", "erm"))
BUILDS = 4
"""Nets that SAGM and SAM are compared on, both on each: where one lies in memory moves its time by 2 %."""


def bench(
    repeats: int = 15, nets: Nets = NETS, batch: int = 32, size: int = 64
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Whole steps (forward, backward, optimiser) around SGD with momentum, at ``size`` pixels.

    Ratio keys, each also with ``_NET`` for one net; without it the worst of the nets:

    ``sagm_over_erm``, ``sam_over_erm``, ``gsam_over_erm``, ``sagm_over_sam``: time of a step over another's;
    the last, which is near 1, from `BUILDS` times as many steps, each ``repeats`` on nets built anew.
    ``overhead_over_passes``: (SAGM step - two forward-backward passes) / ERM step.
    ``memory_over_erm``: (peak tensor bytes of a SAGM step - those of an ERM step) / bytes of the parameters,
    with everything that SAGM keeps from step to step counted: 2 = one gradient and one copy of the weights.
    """
    entries, ratios = [], {}
    for name, make in nets.items():
        runs = {kind: _stepper(make(), wrap, batch, size) for kind, wrap in KINDS.items()}
        steps = {kind: step for kind, (step, _) in runs.items()}
        seconds = interleave({**steps, "pass": runs["erm"][1]}, repeats)
        peaks = {kind: _peak(make(), wrap, batch, size) for kind, wrap in KINDS.items()}
        entries += [entry(f"{kind}_{name}", s, peaks.get(kind)) for kind, s in seconds.items()]
        for ours, reference in OVER:
            ratios[f"{ours}_over_{reference}_{name}"] = ratio(seconds[ours], seconds[reference])
        ratios[f"sagm_over_sam_{name}"] = _sagm_over_sam(make, batch, size, repeats)
        above = seconds["sagm"] - 2 * seconds["pass"]
        ratios[f"overhead_over_passes_{name}"] = ratio(above, seconds["erm"])
        ratios[f"memory_over_erm_{name}"] = (peaks["sagm"] - peaks["erm"]) / _bytes(make())
    keys = [*(f"{a}_over_{b}" for a, b in OVER), "sagm_over_sam", "overhead_over_passes", "memory_over_erm"]
    worst = {key: max(ratios[f"{key}_{name}"] for name in nets) for key in keys}
    return entries, {**worst, **ratios}


def _sagm_over_sam(make: Callable[[], nn.Module], batch: int, size: int, repeats: int) -> float:
    """Median over ``repeats`` pairs of neighbouring steps on each of `BUILDS` nets.

    Both step the same weights, from the same momentum: two nets, alike but for their places in memory, would
    differ by as much as is to be told.
    """
    ours, reference = [], []
    for _ in range(BUILDS):
        net = make()
        base = _base(net)
        steps = {kind: _step_of(net, KINDS[kind](base), batch, size)[0] for kind in ("sam", "sagm")}
        seconds = interleave(steps, repeats)
        ours.append(seconds["sagm"])
        reference.append(seconds["sam"])
    return ratio(np.concatenate(ours), np.concatenate(reference))


def _stepper(
    net: nn.Module, wrap: Callable[[Optimizer], Optimizer], batch: int, size: int
) -> tuple[Callable[[], object], Callable[[], Tensor]]:
    """A whole step, and the forward-backward pass in it."""
    return _step_of(net, wrap(_base(net)), batch, size)


def _base(net: nn.Module) -> Optimizer:
    return SGD(net.parameters(), 1e-3, momentum=0.9)


def _step_of(
    net: nn.Module, optimizer: Optimizer, batch: int, size: int
) -> tuple[Callable[[], object], Callable[[], Tensor]]:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(batch, 3, size, size, generator=g), torch.randint(10, (batch,), generator=g)
    net.train()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss

    return (lambda: optimizer.step(closure)), closure  # type: ignore[arg-type]


def _peak(net: nn.Module, wrap: Callable[[Optimizer], Optimizer], batch: int, size: int) -> int:
    """Peak of one step; the base has its momentum already, the wrapper is new, so that its memory counts."""
    base = _base(net)
    plain, _ = _step_of(net, base, batch, size)
    plain()
    base.zero_grad()
    step, _ = _step_of(net, wrap(base), batch, size)
    return peak_bytes(step)


def _bytes(net: nn.Module) -> int:
    return 4 * total_parameters(net.parameters())
