"""What the three stages learn. Source: CAR, Liao et al. (arXiv 2304.03903); weights as on its page."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mien.data.clothed_loader import HyperBatch, NormalBatch, SdfBatch
from mien.engine.task import Clock, PartTask, Rng, StepOut
from mien.methods.car.bodies import BodyDistance
from mien.methods.car.losses import (
    CANONICAL,
    POSED,
    FieldSamples,
    occupancy_loss,
    sdf_loss,
    sign_loss,
)
from mien.methods.car.model import CanonicalSDF
from mien.methods.car.net import CarNet, cues_of
from mien.methods.car.skinning import (
    blended_matrices,
    inverse3,
    inverse_transform_points,
    transform3,
    transform_points,
)
from mien.methods.car.view import UP, to_view
from mien.nn.hyper import HyperNetwork, call_each
from mien.nn.implicit import SDFNet, value_and_gradient

DEEP = 0.03
"""Metres inside the surface from which a point is surely inside."""
SPREAD, CLEAR = 0.2, 0.03
"""Deviation of points around the surface, and how far outside of it they count, metres."""


class NormalTask(PartTask[NormalBatch]):
    """L = mean |N_hat - N| over the mask, front and back.

    Args:
        net: whose normal nets are trained.
    """

    net: CarNet

    def __init__(self, net: CarNet) -> None:
        super().__init__(net, net.normal)

    def loss(self, batch: NormalBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss of pictures, and the mean angle in degrees."""
        body = batch.body_normals
        found = torch.stack(self.net.normal(batch.image, body[:, 0], body[:, 1], batch.mask), 1)
        there = (batch.normals.square().sum(2) > 0.5).float()
        count = there.sum().clamp(min=1)
        loss = ((found - batch.normals).abs().mean(2) * there).sum() / count
        with torch.no_grad():
            cosine = nn.functional.cosine_similarity(found, batch.normals, dim=2).clamp(-1, 1)
            angle = torch.rad2deg((cosine.acos() * there).sum() / count)
        return StepOut(loss, {"angle": angle})


class SdfTask(PartTask[SdfBatch]):
    """L of `sdf_loss` at drawn points, plus signs where they are sure (page of CAR, P5).

        L_sign = mean relu(d / 2 - s) over points at d outside + mean relu(s) over deep ones

    The published losses know no outside beyond 5 cm: shells grow there. True normals go in; at test time
    predicted ones do, as published. With ``occupancy`` the loss is that of the labels of all points.

    Args:
        net: whose field is trained.
    """

    net: CarNet

    def __init__(self, net: CarNet) -> None:
        super().__init__(net, net.need("sdf"))

    def loss(self, batch: SdfBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss of pictures with points."""
        own, field = self.net.config, cast("CanonicalSDF", self.net.field)
        field.filter(batch.normals[:, 0], batch.normals[:, 1])
        away = points_around(batch, own.around, rng.generator("around", batch.surface.device))
        counts = [x.shape[1] for x in (batch.surface, batch.near, batch.box, away.points)]
        x = torch.cat([batch.surface, batch.near, batch.box, away.points], 1)
        weights = torch.cat([batch.surface_weight, batch.near_weight, batch.box_weight, away.weights], 1)
        matrices = blended_matrices(weights, batch.transforms)
        posed, moves = transform_points(matrices, x), batch.transforms
        normals = posed_normals(matrices[:, : counts[0]], batch.surface_normal)
        if own.space == "posed":
            x = posed
        elif own.as_given:
            moves = batch.given_transforms
            given = blended_matrices(weights, moves)
            x, normals = inverse_transform_points(given, posed), star_normals(given[:, : counts[0]], normals)
        else:
            normals = batch.surface_normal
        cues = cues_of(field, x, to_view(posed, batch.calib), batch.depth, self._bodies(batch))
        labels = torch.cat([batch.near_sdf, batch.box_sdf], 1)
        if own.occupancy:
            s = field.query(x, weights, moves, batch.calib, cues=cues, create_graph=True).s[:, counts[0] :]
            known = torch.cat([labels < 0, ~away.outside], 1)
            loss = occupancy_loss(s, known)
            return StepOut(loss, {"occupancy": loss.detach()})
        found = field.query(x, weights, moves, batch.calib, cues=cues, create_graph=True)
        parts = [FieldSamples(*p) for p in zip(*(v.split(counts, 1) for v in found), strict=True)]
        loss, terms = sdf_loss(parts[0], normals, parts[1], parts[2], CANONICAL)
        if own.sign:
            inside = torch.cat([parts[1].s, parts[2].s], 1)[labels < -DEEP]
            outside = (parts[3].s[..., 0] - away.distance / 2)[away.outside & (away.distance > CLEAR)]
            terms["sign"] = sign_loss(outside, inside, 0.0)
            loss = loss + own.sign * terms["sign"]
        return StepOut(loss, {k: v.detach() for k, v in terms.items()})

    def _bodies(self, batch: SdfBatch) -> list[BodyDistance]:
        """The given bodies of a batch, in the space of the field."""
        if not self.net.config.residual:
            return []
        bodies = batch.star if self.net.config.space == "canonical" else batch.posed
        return [BodyDistance(*b.split(3, 1)) for b in bodies]


class Around(NamedTuple):
    """Points further from a surface than its near samples.

    Attributes:
        points: (B, M, 3) star pose.
        weights: (B, M, J) skinning weights of the nearest surface sample.
        distance: (B, M) to it, metres: a little more than that to the surface.
        outside: (B, M) whether they are on the side of its normal.
    """

    points: Tensor
    weights: Tensor
    distance: Tensor
    outside: Tensor


def points_around(batch: SdfBatch, count: int, generator: torch.Generator) -> Around:
    """Surface samples + N(0, `SPREAD`^2), with what the other samples say of them. O(B M N)."""
    surface, normals = batch.surface, batch.surface_normal
    size, device = (len(surface), count), surface.device
    pick = torch.randint(surface.shape[1], size, generator=generator, device=device)
    noise = torch.randn(*size, 3, generator=generator, device=device)
    x = _rows(surface, pick) + SPREAD * noise
    distance, nearest = torch.cdist(x, surface).min(-1)
    outside = ((x - _rows(surface, nearest)) * _rows(normals, nearest)).sum(-1) > 0
    return Around(x, _rows(batch.surface_weight, nearest), distance, outside)


def star_normals(matrices: Tensor, normals: Tensor) -> Tensor:
    """The way back of `posed_normals`, normalize(A^T n)."""
    return nn.functional.normalize(transform3(matrices[..., :3, :3].mT, normals), dim=-1)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows index (B, M) of (B, N, C): (B, M, C)."""
    return table.gather(1, index[..., None].expand(-1, -1, table.shape[2]))


def posed_normals(matrices: Tensor, normals: Tensor) -> Tensor:
    """Canonical normals (B, N, 3) in posed space, normalize(A^-T n) of the blended A (B, N, 4, 4)."""
    moved = transform3(inverse3(matrices[..., :3, :3]).mT, normals)
    return nn.functional.normalize(moved, dim=-1)


class HyperTask(PartTask[HyperBatch]):
    """The fields that the hyper-network makes fit the bodies that it saw: `sdf_loss` with `POSED`.

    Args:
        net: whose hyper-network is trained.
    """

    net: CarNet

    def __init__(self, net: CarNet) -> None:
        super().__init__(net, net.need("hyper"))
        config = net.config
        self.template = SDFNet(config.dims, config.dims_skips).requires_grad_(False)

    def loss(self, batch: HyperBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss of bodies (B, V, 6)."""
        count = self.net.config.points
        body = in_view(batch.body)
        generator = rng.generator("points", body.device)
        pick = torch.randint(body.shape[1], (len(body), count), generator=generator, device=body.device)
        surface = _rows(body, pick)
        noise = torch.randn(*surface.shape[:2], 3, generator=generator, device=body.device)
        box = 2 * torch.rand(len(body), count // 8, 3, generator=generator, device=body.device) - 1
        x = torch.cat([surface[..., :3], surface[..., :3] + 0.05 * noise, box], 1)
        some = torch.randperm(body.shape[1], generator=generator, device=body.device)[: self.net.config.seen]
        theta = cast("HyperNetwork", self.net.hyper)(body[:, some])
        found = value_and_gradient(lambda p: call_each(self.template, theta, p), x, create_graph=True)
        counts = [count, count, box.shape[1]]
        parts = [FieldSamples(*p) for p in zip(*(v.split(counts, 1) for v in found), strict=True)]
        loss, terms = sdf_loss(parts[0], surface[..., 3:], parts[1], parts[2], POSED)
        return StepOut(loss, {k: v.detach() for k, v in terms.items()})


def in_view(body: Tensor) -> Tensor:
    """Points and normals (B, V, 6) of the box (y down) in the view box (y up)."""
    return body * body.new_tensor([*UP, *UP])
