"""Pictures of the loss surface."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mien.core import figures


def plot_slices(at: NDArray[np.float64], surfaces: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Contours of `loss_slice` surfaces side by side on one colour scale, and their cuts along the gradient.

    Args:
        at: (points,) offsets.
        surfaces: name -> (points, points) losses, first index along the gradient.

    Returns:
        A PNG.
    """
    count = len(surfaces)
    figure, axes = figures.new_figure(count + 1, 1, width=4.2, height=3.8)
    low = min(float(s.min()) for s in surfaces.values())
    high = max(float(s.max()) for s in surfaces.values())
    levels = np.geomspace(max(low, 1e-3), max(high, 2e-3), 16)
    for ax, (name, surface) in zip(axes, surfaces.items(), strict=False):
        drawn = ax.contourf(at, at, surface, levels=levels, cmap="viridis", extend="both", norm="log")
        ax.plot(0, 0, "o", color="white", markersize=5)
        ax.set(title=name, xlabel="random direction", ylabel="along the gradient")
        ax.set_aspect("equal")
    bar = figure.colorbar(drawn, ax=axes[count - 1], label="training loss")
    ticks = np.geomspace(levels[0], levels[-1], 4)
    bar.set_ticks(ticks.tolist(), labels=[f"{t:.2g}" for t in ticks])
    bar.minorticks_off()
    last = axes[count]
    for (name, surface), colour in zip(surfaces.items(), figures.COLOURS, strict=False):
        last.plot(at, surface[:, len(at) // 2], label=name, color=colour)
    last.set(title="cut along the gradient", xlabel="distance from the weights", ylabel="training loss")
    last.legend(frameon=False)
    return figures.png(figure)
