"""Decoupling by inverting: the controller learns motion while identity codes are inverted with it.

    w_id = argmin over w of mean_f |render(G(w + dw(m_f))) - x_f|,   then   dw learns on the same frames

Two frames share w_id, so it can only hold what they have in common; what moves is left to dw.

Source: OTAvatar (arXiv 2303.14662), its training as released, on rays instead of pictures.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mien.core.config import OptimConfig
from mien.data.talking_loader import TalkingBatch
from mien.engine.task import Clock, ManualTask, StepOut, UpdateContext
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.inversion import code_loss, limit_rows
from mien.methods.otavatar.losses import norm_hinge
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import TargetRays, pick_rays

_FOLLOWED = 32
"""People whose moments the controller follows in a step."""
_FIRST = 2e-3
"""Rate at which it follows before all else."""


class SaidMotion(NamedTuple):
    """What the encoder says of people's moments, and what they were driven with.

    Attributes:
        codes: (P, M, W) read off front views.
        windows: (P, M, C, L).
    """

    codes: Tensor
    windows: Tensor

    def missed(self, net: AvatarNet, people: Tensor) -> Tensor:
        """How far the controller's motion is from what the codes of some people say. O(B M L width^2).

            mean |(dw_m - mean_m dw_m) - (w_m - mean_m w_m)|^2 / std^2

        A person's mean is taken off both: it is identity, which is none of the controller's business.

        Args:
            net: controller and deviations.
            people: (B,) which.
        """
        here = net.w_std.device
        codes, windows = self.codes[people].to(here), self.windows[people].to(here)
        dw, _ = net.controller(windows.flatten(0, 1))
        moved = dw[:, : net.generator.num_ws].mean(1).unflatten(0, codes.shape[:2])
        odd = (moved - moved.mean(1, keepdim=True)) - (codes - codes.mean(1, keepdim=True))
        missed: Tensor = (odd / net.w_std.clamp(min=1e-6)).square().mean()
        return missed

    def teach(self, net: AvatarNet, steps: int, seed: int) -> None:
        """Steps of the controller on `missed` alone, by AdamW at `_FIRST`, which falls along a cosine.

        O(steps M L width^2), 14 ms a step of six moments each.
        """
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(net.controller.parameters(), _FIRST)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = _FIRST * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.zero_grad()
            some = torch.randint(len(self.codes), (2 * _FOLLOWED,), generator=generator)
            self.missed(net, some).backward()
            nn.utils.clip_grad_norm_(net.controller.parameters(), 1.0)
            optimizer.step()


class MotionTask(ManualTask[TalkingBatch]):
    """One update: codes of B people from two frames each, then the controller on these frames.

    ``mode`` dbi: both frames with their motion; naive: the code is of the first frame alone, without motion,
    and the controller learns the second.

    Args:
        net: generator and encoder are left as they are.
        config: how.
        optim: of the controller.
        bank: first codes that are kept and learnt, (P, W) of each person, or (P M, W) of each moment if
            naive; None = every update starts anew.
        moments: M of a person.
        said: what the encoder reads of them, for ``follow``.
    """

    def __init__(
        self,
        net: AvatarNet,
        config: OtavatarConfig,
        optim: OptimConfig,
        bank: Tensor | None = None,
        moments: int = 1,
        said: SaidMotion | None = None,
    ) -> None:
        super().__init__()
        self.net, self.config, self.optim, self.moments, self.said = net, config, optim, moments, said
        net.requires_grad_(False)
        net.controller.requires_grad_(True)
        self.bank = None if bank is None else nn.Embedding.from_pretrained(bank, freeze=False, sparse=True)

    def configure(self) -> dict[str, Optimizer]:
        """AdamW of the controller; of the bank a sparse Adam, which moves only the codes of a step."""
        own, betas = self.optim, (0.9 if self.config.beta1 is None else self.config.beta1, 0.999)
        found: dict[str, Optimizer] = {
            "main": torch.optim.AdamW(
                self.net.controller.parameters(), own.lr, betas, weight_decay=own.weight_decay
            )
        }
        if self.bank is not None:
            spread = float(self.net.w_std.mean())
            found["bank"] = torch.optim.SparseAdam(list(self.bank.parameters()), lr=self._inner_lr * spread)
        return found

    @property
    def naive(self) -> bool:
        """The code is of one frame, without motion."""
        return self.config.mode == "naive"

    @property
    def _inner_lr(self) -> float:
        return 0.05 if self.config.inner_lr is None else self.config.inner_lr

    def update(self, batch: TalkingBatch, clock: Clock, context: UpdateContext) -> StepOut:
        """One update on B people with two moments each."""
        if self.bank is not None:
            return self._with_bank(batch, clock, context)
        return self._inverting(batch, clock, context)

    def _with_bank(self, batch: TalkingBatch, clock: Clock, context: UpdateContext) -> StepOut:
        """Kept codes and the controller learn together, one step each."""
        assert self.bank is not None
        generator = self._generator(clock)
        which = batch.person * self.moments + batch.moment[:, 0] if self.naive else batch.person
        w_id = self.bank(which)[:, None]
        loss, logs = self._losses(w_id, batch, generator)
        self._step(context, loss, ("main", "bank"))
        return StepOut(loss.detach(), logs)

    def _inverting(self, batch: TalkingBatch, clock: Clock, context: UpdateContext) -> StepOut:
        """Codes from the start by inner steps of three kinds, then the controller."""
        own, net = self.config, self.net
        generator = self._generator(clock)
        steps, last = own.inner_steps or 20, own.controller_steps or 6
        with torch.no_grad():
            start = self._start(batch)
        spread = net.w_std.clamp(min=1e-6)
        offset = torch.zeros_like(start, requires_grad=True)
        codes = torch.optim.Adam([offset], lr=self._inner_lr)
        inner = own.inner or "successively"
        for k in range(steps):
            w_id = start + offset * spread
            turn = _turn(inner, k, steps, last, naive=self.naive)
            loss, _ = self._losses(w_id, batch, generator, only=turn)
            codes.zero_grad()
            context.optimizers["main"].zero_grad()
            context.backward(loss)
            if turn in ("codes", "both"):
                limit_rows(offset, 1.0)
                codes.step()
            if turn in ("controller", "both"):
                self._descend(context, ("main",))
        w_id = (start + offset * spread).detach()
        for _ in range(last if self.naive else 1):
            loss, logs = self._losses(w_id, batch, generator, only="controller")
            self._step(context, loss, ("main",))
        return StepOut(loss.detach(), logs)

    def _start(self, batch: TalkingBatch) -> Tensor:
        """(B, 1, W): what the encoder reads off the front views, less the motion that is known by now."""
        net = self.net
        first = batch.images[:, :1] if self.naive else batch.images
        frames = first.shape[1]
        w = net.encode(2 * first[:, :, 0, :3].flatten(0, 1) - 1)
        if not self.naive:
            dw, _ = net.controller(batch.windows.flatten(0, 1))
            w = w - dw[:, : net.generator.num_ws].mean(1, keepdim=True)
        mean: Tensor = w.unflatten(0, (-1, frames)).mean(1)
        return mean

    def _losses(
        self, w_id: Tensor, batch: TalkingBatch, generator: torch.Generator, only: str = "both"
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean colour error of the frames that ``only`` learns from: codes, controller, or both.

        Where planes are warped, the landmarks that the codes say count as well; with ``follow`` also the
        motion that the encoder reads of `_FOLLOWED` people.
        In dbi the first ``frames`` of the two teach the code, both teach the controller; naive: the first,
        drawn without motion, teaches the code, and the second the controller.
        """
        own, net = self.config, self.net
        dw, alpha = net.controller(self._windows(batch, generator).flatten(0, 1))
        frames = batch.images.shape[1]
        moved: list[Tensor | None] = list(dw.unflatten(0, (-1, frames)).unbind(1))
        holding = 1 if self.naive else own.frames or frames
        if self.naive:
            moved[0] = None
        errors, misses = [], []
        for k, motion in enumerate(moved):
            teaches_code, teaches_motion = k < holding, motion is not None
            if not (teaches_code if only == "codes" else teaches_motion or only == "both"):
                continue
            code = w_id if teaches_code and only != "controller" else w_id.detach()
            target = self._rays(batch, slice(k, k + 1), generator)
            errors.append(code_loss(net, code, motion, target, own.samples, generator).mean())
            if net.generator.warp is not None:
                w = net.moved(code, motion)[:, 0]
                misses.append(net.generator.warp.misses(w, batch.points[:, k]).mean())
        total = torch.stack(errors).mean()
        logs = {"length": alpha.detach().norm(dim=-1).mean(), "colour": total.detach()}
        if misses:
            missed = torch.stack(misses).mean()
            logs["align"] = missed.detach()
            total = total + own.align_weight * missed
        if own.follow and self.said is not None and only != "codes":
            some = torch.randint(
                len(self.said.codes), (_FOLLOWED,), generator=generator, device=generator.device
            )
            missed = self.said.missed(net, some.cpu())
            logs["follow"] = missed.detach()
            total = total + own.follow * missed
        if own.norm:
            total = total + own.norm * norm_hinge(alpha)
        return total, logs

    def _windows(self, batch: TalkingBatch, generator: torch.Generator) -> Tensor:
        """(B, F, C, L); in a share of the samples the pose rows of all frames are held at the first one's."""
        rows, share = self.config.pose_rows, self.config.pose_dropout
        if not rows or not share:
            return batch.windows
        held = batch.windows.clone()
        middle = batch.windows.shape[-1] // 2
        held[:, :, -rows:] = batch.windows[:, :1, -rows:, middle : middle + 1]
        drop = torch.rand(len(batch), generator=generator, device=generator.device) < share
        return torch.where(drop.to(held.device)[:, None, None, None], held, batch.windows)

    def _rays(self, batch: TalkingBatch, frames: slice, generator: torch.Generator) -> TargetRays:
        """Rays of the first view of some frames."""
        own = self.config
        images, depth, cameras = (
            x[:, frames, :1].flatten(0, 1) for x in (batch.images, batch.depth, batch.cameras)
        )
        points = batch.points[:, frames].flatten(0, 1)
        return pick_rays(
            images, depth, cameras, points, own.rays,
            face=own.face, parts=own.parts, detail=own.detail or 0.0, generator=generator,
        )  # fmt: skip

    def _generator(self, clock: Clock) -> torch.Generator:
        """The engine seeds torch's generator before every update; draws here come from it."""
        device = self.net.w_avg.device
        return torch.Generator(device).manual_seed(int(torch.randint(2**62, ())))

    def _step(self, context: UpdateContext, loss: Tensor, names: tuple[str, ...]) -> None:
        for name in names:
            context.optimizers[name].zero_grad()
        context.backward(loss)
        self._descend(context, names)

    def _descend(self, context: UpdateContext, names: tuple[str, ...]) -> None:
        nn.utils.clip_grad_norm_(self.net.controller.parameters(), 1.0)
        for name in names:
            context.optimizers[name].step()

    def exported(self) -> nn.Module:
        """The net."""
        return cast("nn.Module", self.net)


def _turn(inner: str, step: int, steps: int, last: int, *, naive: bool) -> str:
    """Who learns in an inner step: codes, controller, or both."""
    if naive:
        return "codes"
    if inner == "together":
        return "both"
    if inner == "alternatively":
        return "controller" if step % 10 == 9 else "codes"
    return "codes" if step < steps - last else "controller"
