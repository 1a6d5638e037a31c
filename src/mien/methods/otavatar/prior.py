"""The prior: a tri-plane generator learnt from many views of many people, with the net that reads its latent.

It stands in for a generator that was trained as a GAN: w of a moment is read off one view, and what it draws is
compared with the other views of that moment, so w holds identity and expression alike.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mien.data.talking_loader import TalkingBatch
from mien.engine.task import Clock, Rng, StepOut, Task
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import look, pick_rays, ray_loss, shape_loss

_BETA = 0.99


class PriorTask(Task[TalkingBatch]):
    """L = colour + lambda_o opacity + lambda_d distance on random rays of all views of a moment.

    Args:
        net: what is trained; its controller is left as it is.
        config: weights and numbers.
        samples: moments of the training set, for free latents.
        moments: of one person.
    """

    def __init__(self, net: AvatarNet, config: OtavatarConfig, samples: int, moments: int) -> None:
        super().__init__()
        self.net, self.config, self.moments = net, config, moments
        net.controller.requires_grad_(False)
        self.free = None if net.encoder is not None else nn.Embedding(samples, config.z_dim)

    def loss(self, batch: TalkingBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss of moments (B, 1, V)."""
        own, net = self.config, self.net
        generator = rng.generator("rays", batch.images.device)
        w = self._codes(batch, rng)
        self._remember(w)
        planes = net.planes(w.expand(-1, net.generator.num_ws, -1))
        target = pick_rays(
            batch.images[:, 0], batch.depth[:, 0], batch.cameras[:, 0], batch.points[:, 0], own.rays,
            face=own.face, parts=own.parts, generator=generator,
        )  # fmt: skip
        out = look(planes, net.generator.decoder, target, own.settings(), own.samples, generator)
        colour = ray_loss(out, target).mean()
        opacity, depth = shape_loss(out, target)
        logs = {"colour": colour, "opacity": opacity, "depth": depth}
        total = colour + own.opacity * opacity + own.depth * depth
        return StepOut(total, {k: v.detach() for k, v in logs.items()})

    def _codes(self, batch: TalkingBatch, rng: Rng) -> Tensor:
        """(B, 1, W) of the moments: from the front view, or in a third of them from any view."""
        if self.free is not None:
            return self.net.codes(self.free(batch.person * self.moments + batch.moment[:, 0]))
        views = batch.images.shape[2]
        generator = rng.generator("view")
        any_view = torch.randint(views, (len(batch),), generator=generator)
        other = torch.rand(len(batch), generator=generator) < 1 / 3
        pick = torch.where(other, any_view, 0).to(batch.images.device)
        seen = batch.images[torch.arange(len(batch), device=pick.device), 0, pick, :3]
        return self.net.encode(2 * seen - 1)

    @torch.no_grad()
    def _remember(self, w: Tensor) -> None:
        """Running mean and deviation of w."""
        net = self.net
        net.w_avg.lerp_(w[:, 0].mean(0), 1 - _BETA)
        spread = (w[:, 0] - net.w_avg).square().mean(0)
        net.w_std.copy_((net.w_std.square() * _BETA + spread * (1 - _BETA)).sqrt())

    def exported(self) -> nn.Module:
        """The net."""
        return cast("nn.Module", self.net)
