"""``mien inspect phycine``: the learned forces beside the true ones of the made world, and identities."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core import figures, io
from mien.core.errors import ConfigError
from mien.engine.folder import ModelFolder
from mien.engine.show import Inspection
from mien.methods.phycine.config import InspectOptions
from mien.methods.phycine.evaluate import restore
from mien.methods.phycine.laws import Laws, pairs_of
from mien.synth.comphy_set import WORLD

Array = NDArray[np.float64]
SPEEDS = (0.25, 0.5, 1.0)
"""Closing speeds at which collisions are looked at, world units a second."""
FAR = 3.0
"""World units up to which forces are looked at."""
TOUCH = 2 * WORLD.radius
"""World units between the centres of two objects that touch."""


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Forces of a pair by distance and closing speed, scores of their forms, identities, a figure.

    Raises:
        ConfigError: a model without forces.
    """
    net = restore(folder)
    if not isinstance(net.laws, Laws):
        raise ConfigError(f"{folder.path}: dynamics={net.config.dynamics!r} has no forces to look at")
    distance = np.linspace(0.1, FAR, options.points)
    pushes = {speed: collision_push(net.laws, distance, speed) for speed in SPEEDS}
    facts: dict[str, Any] = identities(net.laws, options.clips, options.seed)
    strength = None
    if net.laws.charge == "product":
        strength = charge_strength(net.laws, distance)
        facts |= agreement(distance, strength)
    rows = [
        {
            "closing speed": speed,
            "learned where they touch": round(float(np.interp(TOUCH, distance, push)), 4),
            "true where they touch": 2 * speed,
            "learned at twice that distance": round(float(np.interp(2 * TOUCH, distance, push)), 4),
        }
        for speed, push in pushes.items()
    ]
    picture = plot_forces(distance, pushes, strength, net.dt)
    file = io.write_bytes(Path(options.output) / "forces.png", picture)
    return Inspection(
        {**facts, "figure": str(file)}, {"collision, velocity change over reduced mass": rows}, (file,)
    )


def _facing(distance: Array, speed: float) -> tuple[Tensor, Tensor]:
    """Places and velocities (n, 2, 2) of two objects that move towards each other."""
    p, v = torch.zeros(2, len(distance), 2, 2)
    p[:, 0, 0] = torch.from_numpy(distance)
    v[:, 0, 0] = -speed
    return p, v


@torch.no_grad()
def collision_push(laws: Laws, distance: Array, speed: float) -> Array:
    """(n,) force along the normal over the reduced mass, a frame; of an elastic one 2 |closing speed|."""
    p, v = _facing(distance, speed)
    nothing = torch.zeros(len(distance), 2)
    force = laws.pair_forces(pairs_of(p, v), nothing, nothing).push[:, 0, 0]
    m = laws.masses(nothing)
    return (force * m.sum(1) / m.prod(1)).double().numpy()


@torch.no_grad()
def charge_strength(laws: Laws, distance: Array) -> Array:
    """(n,) repulsion of two equal charges z_c = 1 at rest, of a frame."""
    p, v = _facing(distance, 0.0)
    nothing = torch.zeros(len(distance), 2)
    pull = laws.pair_forces(pairs_of(p, v), nothing, nothing + 1).pull
    assert pull is not None
    return pull[:, 0, 0].double().numpy()


def true_strength(distance: Array) -> Array:
    """K d / (d^2 + eps^2)^(3/2) of two unit charges of the made world."""
    return np.asarray(WORLD.strength * distance / (distance**2 + WORLD.softening**2) ** 1.5)


def scale_to(learned: Array, true: Array) -> float:
    """The factor of ``learned`` that comes nearest to ``true``: charges are known up to a scale.

    >>> scale_to(np.array([1.0, 2.0]), np.array([3.0, 6.0]))
    3.0
    """
    return float(learned @ true / max(float(learned @ learned), 1e-12))


def agreement(distance: Array, learned: Array) -> dict[str, float]:
    """Correlation and relative error of scaled strengths where objects are apart (beyond `TOUCH`)."""
    apart = distance >= TOUCH
    a, b = learned[apart], true_strength(distance[apart])
    error = np.linalg.norm(scale_to(a, b) * a - b) / np.linalg.norm(b)
    return {
        "charge_law_correlation": round(float(np.corrcoef(a, b)[0, 1]), 4),
        "charge_law_error": round(float(error), 4),
    }


@torch.no_grad()
def identities(laws: Laws, clips: int, seed: int) -> dict[str, float]:
    """Largest violation of what holds by construction, on random starts of four objects. O(clips).

    momentum: sum of m dv; flip: dv with all charges turned; neutral: dv of no charges against laws without.
    """
    generator = torch.Generator().manual_seed(seed)
    p, v = (torch.randn(clips, 4, 2, generator=generator) for _ in range(2))
    z_m, z_c = (torch.randn(clips, 4, generator=generator) for _ in range(2))
    change = laws(p, v, z_m, z_c)
    momentum = (laws.masses(z_m)[..., None] * change).sum(1)
    flipped = laws(p, v, z_m, -z_c) - change
    bare = copy.deepcopy(laws)
    bare.charge = "none"
    neutral = laws(p, v, z_m, 0 * z_c) - bare(p, v, z_m, z_c)
    told = {"momentum": momentum, "flip": flipped, "neutral": neutral}
    return {f"{name}_violation": float(x.abs().max()) for name, x in told.items()}


def plot_forces(distance: Array, pushes: dict[float, Array], strength: Array | None, dt: float) -> bytes:
    """Collisions by distance and closing speed, and the strength of charges, learned and true, as a PNG.

    Args:
        distance: (n,).
        pushes: closing speed -> (n,).
        strength: (n,); None: there is none.
        dt: seconds of a frame.
    """
    figure, axes = figures.new_figure(1 + (strength is not None), 1, 5.2, 3.8)
    for (speed, push), colour in zip(pushes.items(), figures.COLOURS, strict=False):
        reach = TOUCH + speed * dt  # they touch within the frame
        axes[0].plot(distance, push, color=colour, label=f"closing at {speed:g}")
        axes[0].plot(distance, np.where(distance < reach, 2 * speed, 0), color=colour, ls=":", lw=1)
    axes[0].axvline(TOUCH, color="0.6", lw=1)
    axes[0].set(
        title="collision (dotted: true)", xlabel="distance of centres, world units",
        ylabel="velocity change, units/s", xlim=(0, 2), ylim=(0, 3 * max(pushes)),
    )  # fmt: skip
    axes[0].legend(frameon=False)
    if strength is not None:
        apart = distance >= TOUCH
        true = true_strength(distance)
        scale = scale_to(strength[apart], true[apart])
        axes[1].plot(distance, scale * strength, color=figures.COLOURS[0], label="learned, scaled")
        axes[1].plot(distance, true, color=figures.COLOURS[1], ls=":", label="true")
        axes[1].axvspan(0, TOUCH, color="0.93", zorder=0)
        axes[1].set(
            title="charges (grey: nearer than objects get)", xlabel="distance of centres, world units",
            ylabel="force of two unit charges", xlim=(0, FAR), ylim=(0, 1.6 * float(true[apart].max())),
        )  # fmt: skip
        axes[1].legend(frameon=False)
    return figures.png(figure)
