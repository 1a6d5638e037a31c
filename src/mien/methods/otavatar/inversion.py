"""Inversion: the identity code that, moved by known motion, draws the given pictures.

Source: OTAvatar (arXiv 2303.14662): Adam on w_id with the controller in the loop; here on random rays.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import TargetRays, look, ray_loss
from mien.render.eg3d import correct_intrinsics

Sampler = Callable[[int], TargetRays]
"""Step -> the rays of that step, (B F) moments: F frames of each of B people, one after another."""


@dataclass(frozen=True)
class InversionSettings:
    """How a code is sought.

    Attributes:
        steps: of Adam.
        lr: of the code, in units of the codes' standard deviation; falls to a tenth along a cosine.
        space: one code for all style slots, or one each.
        pull: weight of mean ((w - w_avg) / std)^2: keeps the code among those of known people.
        layout: weight of the distance of landmarks from where the start's are, where planes are warped: a
            code that is none of a person known draws what it likes by bending the face.
        camera: what else is corrected: nothing, focal length and centre, or all nine intrinsics (released).
        camera_lr: of the correction.
        clip: largest gradient norm of a person's code.
        samples: of a ray.
    """

    steps: int = 100
    lr: float = 0.05
    space: Literal["w", "w+"] = "w"
    pull: float = 1e-3
    layout: float = 1.0
    camera: Literal["off", "centre", "all"] = "off"
    camera_lr: float = 0.01
    clip: float = 1.0
    samples: int = 24

    def __post_init__(self) -> None:
        rates, weights = min(self.lr, self.camera_lr), min(self.pull, self.layout)
        if self.steps < 0 or rates <= 0 or weights < 0 or self.samples < 8:
            raise ConfigError(
                "steps >= 0, lr > 0, camera_lr > 0, pull >= 0, layout >= 0 and samples >= 8 are needed,"
                f" got {self}"
            )


@dataclass(frozen=True)
class Inversion:
    """What was found for B people.

    Attributes:
        w_id: (B, 1 or slots, W).
        scale: (B, 9) s of the intrinsics' correction K (1 + tanh(s)) + t.
        shift: (B, 9) t.
        losses: (steps, B) before each step.
    """

    w_id: Tensor
    scale: Tensor
    shift: Tensor
    losses: Tensor


def corrected(cameras: Tensor, scale: Tensor, shift: Tensor, kind: str) -> Tensor:
    """Cameras (B, ..., 25) with corrected intrinsics; ``kind`` as `InversionSettings.camera`."""
    if kind == "off":
        return cameras
    if kind == "centre":  # fx, cx, fy, cy only: skew stays 0 and the last row (0, 0, 1)
        keep = cameras.new_tensor([1.0, 0, 1, 0, 1, 1, 0, 0, 0])
        scale, shift = scale * keep, shift * keep
    middle = (1,) * (cameras.ndim - 2)
    s, t = (x.view(len(x), *middle, 9) for x in (scale, shift))
    k = correct_intrinsics(cameras[..., 16:].unflatten(-1, (3, 3)), s, t).flatten(-2)
    return torch.cat([cameras[..., :16], k], -1)


def code_loss(
    net: AvatarNet,
    w_id: Tensor,
    dw: Tensor | None,
    target: TargetRays,
    samples: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """(B,) mean colour error of each person's frames. O(B F (planes + M samples)).

    Args:
        net: the avatar's net.
        w_id: (B, 1 or slots, W).
        dw: (B F, sets slots, W), or None: no motion.
        target: rays of B F moments.
        samples: of a ray.
        generator: of random numbers.
    """
    frames = len(target.rgb) // len(w_id)
    ws = net.moved(w_id.repeat_interleave(frames, 0), dw)
    planes, settings, decoder = net.planes(ws), net.config.settings(), net.generator.decoder
    out = look(planes, decoder, target, settings, samples, generator)
    return ray_loss(out, target).view(-1, frames).mean(1)


def invert_codes(
    net: AvatarNet,
    sampler: Sampler,
    dw: Tensor | None,
    start: Tensor,
    settings: InversionSettings | None = None,
    *,
    seed: int = 0,
    callback: Callable[[int, Tensor], bool] | None = None,
) -> Inversion:
    """Codes of B people from F frames each, by Adam on rays. O(steps B F (planes + M samples)).

    Args:
        net: not changed.
        sampler: rays of a step.
        dw: (B F, sets slots, W) motion of the frames, or None.
        start: (B, 1 or slots, W) first code.
        settings: how.
        seed: of the samples along rays.
        callback: called with step and losses (B,) before each step; True = stop.

    Raises:
        ShapeError: frames that are no multiple of the people.
    """
    own = settings or InversionSettings()
    device = start.device
    spread = net.w_std.clamp(min=1e-6)
    first = start.detach()
    if own.space == "w+":
        first = first.expand(-1, net.generator.num_ws, -1)
    offset = torch.zeros_like(first, requires_grad=True)
    scale, shift = (torch.zeros(len(first), 9, device=device, requires_grad=True) for _ in range(2))
    groups: list[dict[str, Any]] = [{"params": [offset], "lr": own.lr}]
    if own.camera != "off":
        groups.append({"params": [scale, shift], "lr": own.camera_lr})
    optimizer = torch.optim.Adam(groups)
    rates = [g["lr"] for g in groups]
    generator, losses = torch.Generator(device).manual_seed(seed), []
    warp = net.generator.warp if own.layout else None
    places = None if warp is None else warp.landmarks(first[:, 0]).detach()
    with frozen(net):
        for step in range(own.steps):
            target = sampler(step)
            if len(target.rgb) % len(first):
                raise ShapeError(f"{len(target.rgb)} frames of {len(first)} people")
            factor = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / own.steps))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            each = len(target.rgb) // len(first)
            s, t = (x.repeat_interleave(each, 0) for x in (scale, shift))
            target = target._replace(cameras=corrected(target.cameras, s, t, own.camera))
            w = first + offset * spread
            loss = code_loss(net, w, dw, target, own.samples, generator)
            losses.append(loss.detach())
            if callback is not None and callback(step, losses[-1]):
                break
            far = ((w - net.w_avg) / spread).square().mean((1, 2))
            total = loss + own.pull * far
            if warp is not None and places is not None:
                total = total + own.layout * warp.misses(w[:, 0], places)
            optimizer.zero_grad()
            total.sum().backward()
            limit_rows(offset, own.clip)
            optimizer.step()
    w_id = (first + offset * spread).detach()
    found = torch.stack(losses) if losses else torch.zeros(0, len(first), device=device)
    return Inversion(w_id, scale.detach(), shift.detach(), found)


def limit_rows(parameter: Tensor, most: float) -> None:
    """Shortens the gradient of each row to at most ``most``, in place."""
    if parameter.grad is not None:
        norm = parameter.grad.flatten(1).norm(dim=1).clamp(min=1e-12)
        parameter.grad.mul_((most / norm).clamp(max=1).view(-1, *[1] * (parameter.ndim - 1)))


@contextlib.contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Inside, no parameter of the net asks for gradients."""
    asked = [(p, p.requires_grad) for p in net.parameters()]
    try:
        net.requires_grad_(False)
        yield
    finally:
        for p, wish in asked:
            p.requires_grad_(wish)
