"""What a forward pass on a subset of the modalities costs, and how many weights it needs."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mien.methods.fm_vit.flexible import FlexibleNet, check_modalities


def flops(model: FlexibleNet, subset: Sequence[str]) -> int:
    """Floating-point operations for one sample: twice the multiply-adds of all matrix products.

    Counted on the meta device: nothing is computed.

    Args:
        model: any `FlexibleNet`.
        subset: the modalities present.

    Raises:
        ConfigError: no modality, or one the net does not know.
    """
    net, images = _on_meta(model, subset)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(images)
    return int(counter.get_total_flops())


def parameters(model: FlexibleNet, subset: Sequence[str]) -> int:
    """Number of weights that the fused logits of a subset depend on: what a device with it has to hold.

    Args:
        model: any `FlexibleNet`.
        subset: the modalities present.

    Raises:
        ConfigError: no modality, or one the net does not know.
    """
    net, images = _on_meta(model, subset)
    for p in net.parameters():
        p.requires_grad_()
    net(images)["fused"].sum().backward()
    return sum(p.numel() for p in net.parameters() if p.grad is not None)


def _on_meta(model: FlexibleNet, subset: Sequence[str]) -> tuple[FlexibleNet, dict[str, Tensor]]:
    """The net, in evaluation mode, and one sample, both without values."""
    net = copy.deepcopy(model).to("meta").eval()
    shape = (1, 3, model.img_size, model.img_size)
    return net, {m: torch.empty(shape, device="meta") for m in check_modalities(subset)}
