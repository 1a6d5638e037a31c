"""``mien bench ncl``: the NCL++ loss, forward and backward, over plain cross-entropy on the same logits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.bench.speed import entry, interleave, peak_bytes, ratio
from mien.methods.ncl.loss import NCLLoss

EXPERTS, COPIES, BATCH = 3, 2, 64


def bench(
    sizes: tuple[int, ...] = (100, 1000, 8142), repeats: int = 15
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """K = 3 experts, M = 2 copies, B = 64 images, hard set 0.3 C, gather-based."""
    entries, ratios = [], {}
    for classes in sizes:
        torch.manual_seed(0)
        counts = [max(1, int(1000 * 500 ** (-c / classes))) for c in range(classes)]
        nested = NCLLoss(counts, intra=True, copies=COPIES)
        logits = torch.randn(EXPERTS, COPIES * BATCH, classes, requires_grad=True)
        target = torch.randint(classes, (BATCH,)).repeat(COPIES)

        def ours(nested: NCLLoss = nested, z: Tensor = logits, y: Tensor = target) -> None:
            nested(z, y)["loss"].backward()

        def plain(z: Tensor = logits, y: Tensor = target) -> None:
            torch.stack([F.cross_entropy(expert, y) for expert in z]).sum().backward()

        seconds = interleave({"ours": ours, "plain": plain}, repeats)
        memory = {name: peak_bytes(f) for name, f in (("ours", ours), ("plain", plain))}
        entries.append(entry(f"ncl_loss_C{classes}", seconds["ours"], memory["ours"]))
        entries.append(entry(f"cross_entropy_C{classes}", seconds["plain"], memory["plain"]))
        ratios[f"loss_time_C{classes}"] = ratio(seconds["ours"], seconds["plain"])
        ratios[f"loss_memory_C{classes}"] = memory["ours"] / memory["plain"]
    return entries, ratios
