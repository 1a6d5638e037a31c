"""The prior: a tri-plane generator learnt from many views of many people, with the net that reads its latent.

It stands in for a generator that was trained as a GAN: one w draws all views of a moment, so it holds
identity and expression alike.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.data.talking_loader import TalkingBatch
from mien.engine.task import Clock, Rng, StepOut, Task
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.controller import orthonormal_columns
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import look, pick_rays, ray_loss, shape_loss

_BETA = 0.99


class PriorTask(Task[TalkingBatch]):
    """L = colour + lambda_o opacity + lambda_d distance on random rays of all views of a moment.

    Where w comes from (``latent``): ``mixed``: z is a fixed random orthogonal mix of the numbers that the
    moment was drawn from, so that no axis of W is identity or expression; they are thrown away afterwards;
    the encoder learns meanwhile to read w off a view. ``encoder``: it is read off a view from the start.
    ``free``: z of each moment is learnt.

    Args:
        net: what is trained; its controller and super-resolution are left as they are.
        config: weights and numbers.
        numbers: (P, I) of the training people, for ``mixed``.
        lr: of the generator.
        people: P.
        moments: of one person.
    """

    numbers: Tensor
    mix: Tensor | None

    def __init__(
        self,
        net: AvatarNet,
        config: OtavatarConfig,
        lr: float,
        people: int,
        moments: int,
        numbers: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.net, self.config, self.lr, self.moments = net, config, lr, moments
        for still in (net.controller, net.generator.super_resolution):
            if still is not None:
                still.requires_grad_(False)
        self.free = nn.Embedding(people * moments, config.z_dim) if config.latent == "free" else None
        self.register_buffer("mix", None)
        if config.latent == "mixed":
            if numbers is None:
                raise ConfigError(
                    "method.latent='mixed' needs the numbers that people are made of; use 'encoder'"
                )
            count = numbers.shape[1] + net.controller.coefficients
            if count > config.z_dim:
                raise ConfigError(f"method.z_dim={config.z_dim} is below the {count} numbers of a moment")
            self.register_buffer("numbers", numbers, persistent=False)
            self.mix = orthonormal_columns(torch.randn(config.z_dim, count))

    @torch.no_grad()
    def place(self, rows: Tensor, points: Tensor) -> None:
        """Tells a warped generator the landmarks of all moments, as far as a linear map can.

        Args:
            rows: (P, M, C) expressions.
            points: (P, M, 68, 3) landmarks.
        """
        warp = self.net.generator.warp
        if warp is None:
            return
        warp.mean.copy_(points.mean((0, 1)))
        if self.mix is not None:  # else codes are not known yet
            who = torch.arange(len(rows)).repeat_interleave(rows.shape[1])
            warp.fit(self._mixed(who, rows.flatten(0, 1))[:, 0], points.flatten(0, 1))

    def loss(self, batch: TalkingBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss of moments (B, 1, V)."""
        own, net = self.config, self.net
        generator = rng.generator("rays", batch.images.device)
        w, read = self._codes(batch, rng)
        self._remember(w)
        planes = net.planes(w.expand(-1, net.generator.num_ws, -1))
        target = pick_rays(
            batch.images[:, 0], batch.depth[:, 0], batch.cameras[:, 0], batch.points[:, 0], own.rays,
            face=own.face, parts=own.parts, detail=own.detail or 0.0, generator=generator,
        )  # fmt: skip
        out = look(planes, net.generator.decoder, target, own.settings(), own.samples, generator)
        colour = ray_loss(out, target, own.squared or 0.0).mean()
        opacity, depth = shape_loss(out, target)
        logs = {"colour": colour, "opacity": opacity, "depth": depth}
        total = colour + own.opacity * opacity + own.depth * depth
        if net.generator.warp is not None:
            logs["align"] = net.generator.warp.misses(w[:, 0], batch.points[:, 0]).mean()
            total = total + own.align_weight * logs["align"]
        if read is not None:
            logs["read"] = ((read - w.detach()) / net.w_std.clamp(min=1e-3)).square().mean()
            total = total + own.read * logs["read"]
        return StepOut(total, {k: v.detach() for k, v in logs.items()})

    def _codes(self, batch: TalkingBatch, rng: Rng) -> tuple[Tensor, Tensor | None]:
        """(B, 1, W) of the moments, and what the encoder reads if that is learnt apart."""
        net, moment = self.net, batch.moment[:, 0]
        if self.free is not None:
            z = self.free(batch.person * self.moments + moment)
            return net.codes(z, batch.cameras[:, 0, 0]), None
        read = net.encode(2 * self._view(batch, rng) - 1)
        if self.mix is None:
            return read, None
        now = batch.windows[:, 0, :, batch.windows.shape[-1] // 2]
        return self._mixed(batch.person, now), read

    def _mixed(self, person: Tensor, rows: Tensor) -> Tensor:
        """(B, 1, W) of people (B,) with expressions (B, C)."""
        assert self.mix is not None
        return self.net.codes(torch.cat([self.numbers[person], 4 * rows], 1) @ self.mix.T)

    def _view(self, batch: TalkingBatch, rng: Rng) -> Tensor:
        """(B, 3, S, S) the front view, or in a third of the moments any view."""
        generator, count = rng.generator("view"), len(batch)
        any_view = torch.randint(batch.images.shape[2], (count,), generator=generator)
        other = torch.rand(count, generator=generator) < 1 / 3
        pick = torch.where(other, any_view, 0).to(batch.images.device)
        return batch.images[torch.arange(count, device=pick.device), 0, pick, :3]

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The encoder apart: its layers are not equalised, so it learns at a tenth of the rate."""
        own = [] if self.net.encoder is None else list(self.net.encoder.parameters())
        apart = {id(p) for p in own}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in apart]
        groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": weight_decay}]
        return groups + ([{"params": own, "weight_decay": weight_decay, "lr": 0.1 * self.lr}] if own else [])

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
