"""What training minimises, and when: first one capsule is the whole face, then there are parts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.data.capsule_loader import CapsuleBatch
from mien.engine.task import Clock, Rng, StepOut, Task
from mien.methods.igc_net import losses
from mien.methods.igc_net.baselines import Autoencoder2d
from mien.methods.igc_net.capsules import Light, ObjectCapsule, codes_of
from mien.methods.igc_net.config import IgcNetConfig
from mien.methods.igc_net.features import PrincipalFeatures, face_features
from mien.methods.igc_net.foreground import foreground_guess
from mien.methods.igc_net.losses import SemanticBasis
from mien.methods.igc_net.model import IGCNet, Rendering
from mien.methods.igc_net.watchers import mend

CYCLE_YAW, CYCLE_PITCH = 40.0, 17.0  # degrees, within which own pictures are turned
WARP_EVERY = 4  # steps between looks at warped pictures; their loss counts as often
_DEPTH_UNIT = 0.02  # scene units; a fifth of half the range of depth
_SLOPE_UNIT = 0.005


class Phase(NamedTuple):
    """Where in the schedule a step is.

    Attributes:
        single: one capsule is the whole face.
        hard: the end, with hard assembling.
        tau: softness of assembling.
    """

    single: bool
    hard: bool
    tau: float


def phase_at(config: IgcNetConfig, progress: float) -> Phase:
    """The phase at ``progress`` in [0, 1).

    >>> phase_at(IgcNetConfig(warmup=0.2, harden=0.2), 0.1).single
    True
    """
    single = config.parts == 1 or progress < config.warmup
    hard = progress >= 1 - config.harden
    return Phase(single, hard, config.tau_end if hard else config.tau_start)


class CapsuleTask(Task[CapsuleBatch]):
    """All networks of a net, and the basis of its semantics.

    Args:
        net: what is trained.
        features: of pixels, fitted to training pictures.
        centres: (M, C) start of the basis; None: random.
        lr: of the optimiser; the common depth moves at a rate of its own.
    """

    def __init__(
        self, net: IGCNet, features: PrincipalFeatures, centres: Tensor | None = None, lr: float = 1e-3
    ) -> None:
        super().__init__()
        self.net, self.features, self.lr = net, features, lr
        self.basis = SemanticBasis(net.config.parts, 2 * len(features.axes))
        if centres is not None:
            self.basis.weight.data.copy_(centres)

    def exported(self) -> IGCNet:
        """The net."""
        return self.net

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The common depth learns slowly: what all faces share is known from all of them."""
        slow = [] if self.net.guess is None else [self.net.guess]
        apart = {id(p) for p in slow}
        rest = [p for p in self.parameters() if id(p) not in apart]
        groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": weight_decay}]
        if slow:
            rate = self.lr * self.net.config.common_rate
            groups.append({"params": slow, "lr": rate, "weight_decay": 0.0})
        return groups

    def loss(self, batch: CapsuleBatch, clock: Clock, rng: Rng) -> StepOut:
        """Sum of all terms that apply in this phase."""
        net, c, image = self.net, self.net.config, batch.image
        phase = phase_at(c, clock.progress)
        net.tau.fill_(phase.tau)
        if c.mend_every and clock.step and clock.step % c.mend_every == 0 and not phase.hard:
            mend(net, image, phase.single, clock.step)
        obj = net.encode(image, single=phase.single)
        drawn, guess = net.render(obj), foreground_guess(image)
        terms = {"picture": self.picture(obj, drawn, image, guess)}
        if c.background:
            seen = 1 - drawn.visibility[:, 0]
            terms["foreground"] = c.foreground * losses.silhouette_loss(seen, guess, obj.view)
        if clock.progress >= c.views_from:
            late = clock.progress >= c.warmup
            terms |= self.views(obj, late, rng.generator("turns"))
        terms["shape"] = self.shape(obj)
        if not phase.single:
            terms |= self.parts(drawn, image, guess)
            if phase.hard and c.entropy:
                terms["entropy"] = c.entropy * losses.presence_entropy(obj.visibility)
            if c.equivariance and clock.step % WARP_EVERY == 0:
                warped = self.warped(image, drawn.visibility, rng.generator("warps"))
                terms["equivariance"] = WARP_EVERY * c.equivariance * warped
        total = torch.stack(list(terms.values())).sum()
        return StepOut(total, {name: value.detach() for name, value in terms.items()})

    def picture(self, obj: ObjectCapsule, drawn: Rendering, image: Tensor, guess: Tensor) -> Tensor:
        """L_rec of the object, and of the mirrored one."""
        flip = self.net.config.flip
        own, other = (None, None) if obj.confidence is None else obj.confidence.split(1, 1)
        error = self.unlike(drawn, image, guess, own)
        if not flip:
            return error
        return error + flip * self.unlike(self.net.render(obj, flip=True), image, guess, other)

    def unlike(self, drawn: Rendering, image: Tensor, guess: Tensor, sigma: Tensor | None) -> Tensor:
        """L_ph + L_pe where a face is guessed and drawn; elsewhere the picture explains itself."""
        there = guess if not self.net.config.background else guess * (1 - drawn.visibility[:, 0].detach())
        there = there * drawn.mask
        own = there[:, None]
        face = own * drawn.face + (1 - own) * image
        error = losses.photometric_loss(face, image, sigma, there)
        return error + self.net.config.perceptual * losses.perceptual_loss(
            face, image, sigma=sigma, mask=there
        )

    def views(self, obj: ObjectCapsule, late: bool, generator: torch.Generator) -> dict[str, Tensor]:
        """What views are like in a crowd; what own pictures from random sides must say: view and face."""
        net, c, terms = self.net, self.net.config, {}
        if c.crowd:
            terms["crowd"] = c.crowd * losses.view_prior(obj.view, math.radians(c.spread))
        contrast = c.contrast if late else 0.0
        if not c.cycle and not contrast:
            return terms
        view = random_views(len(obj.view), generator).to(obj.view)
        turned = elsewhere(net, obj, view) * 2 - 1
        if c.cycle:
            terms["cycle"] = c.cycle * (net.view(turned) - view)[:, :2].abs().mean()
        if contrast:
            known, again = (torch.cat(codes, 1) for codes in (codes_of(obj), net.embeddings(turned)))
            terms["contrast"] = contrast * losses.contrast_loss(known, again)
        return terms

    def shape(self, obj: ObjectCapsule) -> Tensor:
        """What is known of depth beforehand: near the dome, smooth beside it, alike in all faces."""
        c, depth = self.net.config, obj.depth
        total = c.smooth * losses.depth_smoothness(depth, 2 * self.net.renderer.margin)
        total = total + c.alike * depth.var(0, correction=0).mean() / _DEPTH_UNIT**2
        if self.net.guess is None:
            return total
        return total + losses.dome_prior(
            depth - self.net.dome, c.near_dome / _DEPTH_UNIT**2, c.like_dome / _SLOPE_UNIT**2
        )

    def parts(self, drawn: Rendering, image: Tensor, guess: Tensor) -> dict[str, Tensor]:
        """Semantics and spread of parts in the input view."""
        c, shares = self.net.config, drawn.visibility[:, 1:]
        terms = {"concentration": c.concentration * losses.concentration_loss(shares)}
        if c.semantic:
            phi, basis = self.features(face_features(image, guess)), self.basis()
            found = losses.semantic_consistency_loss(shares, phi, basis, guess)
            terms["semantic"] = c.semantic * found + c.orthogonal * losses.orthogonality(basis)
            terms["assign"] = c.assign * losses.assignment_loss(shares, phi, basis, guess)
        return terms

    def warped(self, image: Tensor, visibility: Tensor, generator: torch.Generator) -> Tensor:
        """L_eqv of the pictures under random warps."""
        net = self.net
        grid = losses.random_warp(len(image), image.shape[-1], generator).to(image)
        moved = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
        return losses.equivariance_loss(net.render(net.encode(moved)).visibility, visibility, grid)


@torch.no_grad()
def elsewhere(net: IGCNet, obj: ObjectCapsule, view: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) of faces from other sides, each in the light and before the ground of the next.

    With its own ground a face would be known by that.
    """
    drawn = net.render(obj, view, Light(*(v.roll(1, 0) for v in obj.light)))
    if obj.background is None:
        return drawn.image
    behind = drawn.visibility[:, :1]
    return (1 - behind) * drawn.face + behind * obj.background.albedo.roll(1, 0)


def random_views(count: int, generator: torch.Generator) -> Tensor:
    """Views (n, 6) turned evenly within `CYCLE_PITCH` up and down and `CYCLE_YAW` aside."""
    reach = torch.tensor([math.radians(CYCLE_PITCH), math.radians(CYCLE_YAW)])
    turns = (2 * torch.rand(count, 2, generator=generator) - 1) * reach
    return torch.cat([turns, torch.zeros(count, 4)], 1)


class FlatTask(Task[CapsuleBatch]):
    """A 2-D autoencoder that sees the same pictures: mean absolute difference and that of features.

    Args:
        net: what is trained.
        perceptual: weight of the features.
    """

    def __init__(self, net: Autoencoder2d, perceptual: float) -> None:
        super().__init__()
        self.net, self.perceptual = net, perceptual

    def exported(self) -> Autoencoder2d:
        """The net."""
        return self.net

    def loss(self, batch: CapsuleBatch, clock: Clock, rng: Rng) -> StepOut:
        """Of whole pictures: there is no background to tell apart."""
        image = batch.image
        back = (self.net(image * 2 - 1) + 1) / 2
        error = losses.photometric_loss(back, image)
        unlike = losses.perceptual_loss(back, image)
        return StepOut(error + self.perceptual * unlike, {"picture": error.detach()})
