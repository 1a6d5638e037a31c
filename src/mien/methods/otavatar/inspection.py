"""``mien inspect otavatar``: what the directions of the code book do, and how well they are conditioned."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.engine.folder import ModelFolder
from mien.engine.show import Inspection
from mien.methods.otavatar.config import InspectOptions
from mien.methods.otavatar.controller import window
from mien.methods.otavatar.evaluate import restore
from mien.methods.otavatar.model import AvatarNet
from mien.synth.motion import expression_rows, perform

_NAMED = 3  # actions that a direction is described by


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Motion codes of a made performance, direction by direction. O(frames controller)."""
    net, actions = restore(folder), tuple(folder.facts["actions"])
    rows = np.zeros((options.frames, net.controller.coefficients), np.float32)
    rows[:, : len(actions)] = expression_rows(perform(options.seed, options.frames), actions)
    alpha = codes_of(net, rows)
    facts: dict[str, Any] = {
        "frames": options.frames,
        "directions": alpha.shape[2],
        "effective_directions": round(effective(alpha), 2),
        "condition": round(condition(net), 4),
        "length_rms": round(float(np.sqrt((alpha**2).sum(2).mean())), 4),
        "deviation_of_codes": round(float(net.w_std.norm()), 4),
    }
    return Inspection(facts, {"directions": directions(alpha.mean(1), rows[:, : len(actions)], actions)})


@torch.no_grad()
def codes_of(net: AvatarNet, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, slots, K) alpha of a track (T, C)."""
    windows = window(torch.from_numpy(rows), net.controller.radius)
    alpha: NDArray[np.float32] = net.controller.alpha(windows).numpy()
    return alpha


def condition(net: AvatarNet) -> float:
    """Largest over smallest singular value of the code book: 1 where its columns are at right angles."""
    values = torch.linalg.svdvals(net.controller.code_book.basis().detach())
    return float(values[0] / values[-1])


def effective(alpha: NDArray[np.float32]) -> float:
    """Exp of the entropy of the shares of variance along the principal axes of (T, slots, K): 1 .. K."""
    flat = alpha.reshape(-1, alpha.shape[2])
    values = np.clip(np.linalg.eigvalsh(np.cov(flat.T)), 1e-12, None)
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def directions(
    alpha: NDArray[np.float32], rows: NDArray[np.float32], actions: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Share of the motion of each direction, and the actions that go with it most; the largest share first.

    Args:
        alpha: (T, K).
        rows: (T, C) actions.
        actions: their names.
    """
    share = alpha.var(0) / alpha.var(0).sum()
    moving = rows.std(0) > 1e-4
    names = np.array(actions)[moving]
    a, b = (x - x.mean(0) for x in (alpha, rows[:, moving]))
    spread = np.linalg.norm(a, axis=0)[:, None] * np.linalg.norm(b, axis=0)
    together = (a.T @ b) / np.maximum(spread, 1e-12)
    table = []
    for k in np.argsort(-share):
        best = np.argsort(-np.abs(together[k]))[:_NAMED]
        told = ", ".join(f"{names[j]} {together[k, j]:+.2f}" for j in best)
        table.append({"direction": int(k), "share": round(float(share[k]), 4), "goes with": told})
    return table
