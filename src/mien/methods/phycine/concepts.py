"""Masses and charges from paths alone: latents and laws that together explain how objects move.

Level 3 of the bottom-up inference. It sees places, never appearance. Places are noisy, so velocity changes
are not compared frame by frame: inside every window of W frames the path must be a straight line plus what
the laws' kicks add up to,

  r = P (p - S k + L l),  k_s the laws' velocity change at frame s, l_s what of it came late (`Kicks`),
  S_ts = (t - s)+ dt,  L_ts = dt where t > s,  P = I - projection on (1, t).

W = 3 is the velocity change of one step; a longer window averages the noise of places away. It is what
`rollout` does, so that laws that explain a path also go on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError, DataError
from mien.methods.phycine.laws import Kicks, kicks_of


@dataclass(frozen=True)
class FitSettings:
    """How laws and latents are found.

    Attributes:
        window: frames of a window.
        noise: of places, world units: residuals below count as little.
        steps: of the laws together with the training clips' latents.
        lr: of the laws.
        latent_lr: of the latents; both fall to a tenth.
        infer_steps: of the latents of new clips, the laws at rest.
        infer_lr: of those.
        pull_mass: weight of z_m^2.
        pull_charge: weight of z_c^2.
        spread: standard deviation with which charges begin: 0 is a saddle of their product.
    """

    window: int = 4
    noise: float = 0.002
    steps: int = 300
    lr: float = 3e-3
    latent_lr: float = 3e-2
    infer_steps: int = 150
    infer_lr: float = 5e-2
    pull_mass: float = 1e-4
    pull_charge: float = 1e-5
    spread: float = 0.3

    def __post_init__(self) -> None:
        if self.window < 3 or not self.noise > 0 or self.steps < 0 or self.infer_steps < 0:
            raise ConfigError(
                f"window >= 3, noise > 0, steps >= 0 are needed; got {self.window}, {self.noise},"
                f" {self.steps}, {self.infer_steps}"
            )


class Latents(NamedTuple):
    """What is found of each object of each clip: (B, N) each.

    Attributes:
        mass: z_m, the logarithm of the mass up to a common factor of those that met.
        charge: z_c, up to a common sign and scale.
    """

    mass: Tensor
    charge: Tensor


def kick_maps(window: int, dt: float) -> tuple[Tensor, Tensor]:
    """S and L, (W, W) each: how far kicks of a frame have moved an object by another, and their lag less."""
    t = torch.arange(window, dtype=torch.float64)
    after = t[:, None] - t[None]
    return after.clamp_min(0).float() * dt, (after > 0).float() * dt


def window_maps(window: int, dt: float) -> tuple[Tensor, Tensor, Tensor]:
    """P, P S and P L, (W, W) each: what a straight line does not explain, of places, kicks and lags."""
    t = torch.arange(window, dtype=torch.float64)
    line = torch.stack([torch.ones_like(t), t], 1)
    project = torch.eye(window, dtype=torch.float64) - line @ torch.linalg.pinv(line)
    return project.float(), *((project @ x.double()).float() for x in kick_maps(window, dt))  # type: ignore[return-value]


def velocities(path: Tensor, dt: float) -> Tensor:
    """(B, T - 1, N, 2) of frames 1 .. T - 1: from the frame before, so that nothing is seen too soon."""
    return (path[:, 1:] - path[:, :-1]) / dt


def unexplained(
    laws: nn.Module, path: Tensor, present: Tensor, latents: Latents, window: int, dt: float
) -> tuple[Tensor, Tensor]:
    """Vectors r of each window and object, (B, T - W, N, 2, W), and where it is present in all of a window.

    O(B T (N^2 + N W^2)).

    Args:
        laws: velocity changes.
        path: (B, T, N, 2).
        present: (B, T, N) bool.
        latents: (B, N) each.
        window: W.
        dt: seconds of a frame.
    """
    project, kicked, late = (x.to(path) for x in window_maps(window, dt))
    kicks, seen = seen_kicks(laws, path, present, latents, dt)
    places, change, lag = (x.unfold(1, window, 1) for x in (path[:, 1:], *kicks))
    return places @ project.T - change @ kicked.T + lag @ late.T, seen.unfold(1, window, 1).all(-1)


def seen_kicks(
    laws: nn.Module, path: Tensor, present: Tensor, latents: Latents, dt: float
) -> tuple[Kicks, Tensor]:
    """Kicks (B, T - 1, N, 2) of frames 1 .. T - 1 of paths (B, T, N, 2), and who is seen in them."""
    seen = present[:, 1:] & present[:, :-1]
    moving = velocities(path, dt)
    return kicks_of(laws, path[:, 1:], moving, latents.mass[:, None], latents.charge[:, None], seen), seen


def residuals(
    laws: nn.Module, path: Tensor, present: Tensor, latents: Latents, window: int, dt: float
) -> Tensor:
    """Lengths of r of `unexplained`, (B, T - W, N); 0 where an object is absent."""
    r, whole = unexplained(laws, path, present, latents, window, dt)
    return torch.where(whole, (r.square().sum((-1, -2)) + 1e-12).sqrt(), 0.0)


def calmest(path: Tensor, present: Tensor, window: int, share: float) -> Tensor:
    """(B,) bool: the part of the clips that bends least. O(B T N W^2).

    A clip's bend is the median over its windows of |P p|, what a straight line does not explain: a collision
    is in few windows, a force between charges in all of them.
    """
    project = window_maps(window, 1.0)[0].to(path)
    places = path.unfold(1, window, 1)
    r = (places @ project.T).square().sum((-1, -2)).sqrt()
    whole = present.unfold(1, window, 1).all(-1)
    bend = torch.where(whole, r, torch.nan).flatten(1).nanmedian(1).values.nan_to_num(torch.inf)
    return bend.argsort(stable=True).argsort() < max(1, round(share * len(bend)))


def misfit(
    laws: nn.Module, path: Tensor, present: Tensor, latents: Latents, settings: FitSettings, dt: float
) -> Tensor:
    """(B,) mean of sqrt(|r|^2 + noise^2) - noise, and the pull of the latents to 0."""
    r = residuals(laws, path, present, latents, settings.window, dt)
    bent = (r.square() + settings.noise**2).sqrt() - settings.noise
    pull = settings.pull_mass * latents.mass.square() + settings.pull_charge * latents.charge.square()
    return bent.mean((1, 2)) + pull.mean(1)


def check_paths(path: Tensor, present: Tensor, window: int) -> None:
    """One clear line where nothing can be found in paths.

    Raises:
        DataError: other shapes, clips not longer than a window, or places that are not finite.
    """
    if path.ndim != 4 or path.shape[-1] != 2 or present.shape != path.shape[:3]:
        raise DataError(f"paths must be (B, T, N, 2) with (B, T, N) present, got {tuple(path.shape)}")
    if path.shape[1] <= window:
        raise DataError(f"clips of {path.shape[1]} frames are too short for a window of {window}")
    if not bool(path.isfinite().all()):
        raise DataError("paths hold numbers that are not finite")


def first_latents(path: Tensor, spread: float, generator: torch.Generator) -> Latents:
    """z_m = 0, z_c ~ N(0, spread^2) of the objects of paths; leaves of the search."""
    size = (path.shape[0], path.shape[2])
    charge = (spread * torch.randn(size, generator=generator)).to(path.device)
    return Latents(torch.zeros_like(charge).requires_grad_(), charge.requires_grad_())


def fit(
    path: Tensor,
    present: Tensor,
    settings: FitSettings,
    laws: nn.Module,
    *,
    dt: float = 0.1,
    seed: int = 0,
) -> tuple[Latents, list[float]]:
    """Laws (changed in place) and the clips' latents together; losses of each step. O(steps B T N^2).

    Raises:
        DataError: paths that are too short, or not finite.
    """
    check_paths(path, present, settings.window)
    latents = first_latents(path, settings.spread, torch.Generator().manual_seed(seed))
    groups = [
        {"params": laws.parameters(), "lr": settings.lr},
        {"params": list(latents), "lr": settings.latent_lr},
    ]
    optimizer = torch.optim.Adam(groups)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 0.1 ** (k / max(settings.steps, 1)))
    losses = []
    for _ in range(settings.steps):
        loss = misfit(laws, path, present, latents, settings, dt).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
        losses.append(float(loss.detach()))
    return Latents(*(z.detach() for z in latents)), losses


def slopes(loss: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Gradient of a loss with respect to leaves; 0 for one that it does not depend on."""
    found = torch.autograd.grad(loss, list(leaves), allow_unused=True)
    return [torch.zeros_like(z) if g is None else g for z, g in zip(leaves, found, strict=True)]


def infer(
    laws: nn.Module,
    path: Tensor,
    present: Tensor,
    settings: FitSettings,
    *,
    dt: float = 0.1,
    seed: int = 0,
) -> Latents:
    """Latents of new clips, the laws at rest. Clips do not know each other. O(steps B T N^2).

    Raises:
        DataError: paths that are too short, or not finite.
    """
    check_paths(path, present, settings.window)
    latents = first_latents(path, settings.spread, torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(list(latents), lr=settings.infer_lr)
    for _ in range(settings.infer_steps):
        loss = misfit(laws, path, present, latents, settings, dt).sum()
        for z, g in zip(latents, slopes(loss, latents), strict=True):
            z.grad = g
        optimizer.step()
    return Latents(*(z.detach() for z in latents))


def spreads(
    laws: nn.Module, path: Tensor, present: Tensor, latents: Latents, settings: FitSettings, dt: float = 0.1
) -> Latents:
    """Standard deviations (Laplace, diagonal): 1 / sqrt(1 + curvature of the misfit in units of the noise).

    Curvature by central differences, one object at a time; the 1 is the prior N(0, 1). O(N B T N^2).
    """
    step, scale = 0.05, path.shape[1] * path.shape[2] / settings.noise
    settings, found = replace(settings, pull_mass=0.0, pull_charge=0.0), []
    with torch.no_grad():
        here = misfit(laws, path, present, latents, settings, dt)
        for which in range(2):
            curvature = torch.zeros_like(latents[which])
            for k in range(path.shape[2]):
                ends = []
                for sign in (-1, 1):
                    moved = [z.clone() for z in latents]
                    moved[which][:, k] += sign * step
                    ends.append(misfit(laws, path, present, Latents(*moved), settings, dt))
                curvature[:, k] = (ends[0] + ends[1] - 2 * here) / step**2
            found.append((1 + scale * curvature.clamp_min(0)).rsqrt())
    return Latents(*found)


def product_of_gaussians(means: Tensor, stds: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the product of R Gaussians, over the first axis: precisions add up."""
    precision = stds.square().reciprocal()
    total = precision.sum(0)
    return (precision * means).sum(0) / total, total.rsqrt()


def same_sign(charges: Tensor, stds: Tensor) -> Tensor:
    """Charges (R, N) of R clips of the same objects with each clip's sign turned to fit those before it.

    A clip fixes charges up to one sign; the better of both, weighted by precision, is kept. O(R N).
    """
    turned = [charges[0]]
    for r in range(1, len(charges)):
        mean, std = product_of_gaussians(torch.stack(turned), stds[:r])
        weight = (std.square() + stds[r].square()).reciprocal()
        against = (weight * mean * charges[r]).sum() < 0
        turned.append(-charges[r] if bool(against) else charges[r])
    return torch.stack(turned)
