"""The whole model: its three parts, each built once its stage is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.car.bodies import BodyDistance
from mien.methods.car.config import CarConfig, Stage
from mien.methods.car.losses import POSED
from mien.methods.car.model import (
    BodyCues,
    CanonicalSDF,
    Feature,
    HyperNetwork,
    NormalNet,
    in_front,
)
from mien.methods.car.refine import RefineSettings
from mien.methods.car.view import UP
from mien.nn.implicit import SDFNet

ORDER: tuple[Stage, ...] = ("normal", "sdf", "hyper")


class CarNet(nn.Module):
    """Normals of a picture, the canonical field, start weights of the refinement.

    Attributes:
        normal: front and back normals.
        field: the canonical signed distance, from stage sdf on; else None.
        hyper: from stage hyper on; else None.

    Args:
        config: sizes and stage.
        joints: of the body.
    """

    def __init__(self, config: CarConfig, joints: int) -> None:
        super().__init__()
        reached = ORDER.index(config.stage)
        self.config = config
        self.normal = NormalNet(config.normal_kind, body=config.normal_body)
        self.field = make_field(config, joints) if reached >= 1 else None
        self.hyper = make_hyper(config) if reached >= 2 else None

    def need(self, part: Stage) -> Any:
        """The field or the hyper-network.

        Raises:
            ConfigError: the model was trained up to an earlier stage.
        """
        found = self.field if part == "sdf" else self.hyper
        if found is None:
            raise ConfigError(f"this model was trained up to stage {self.config.stage!r}, {part!r} is needed")
        return found


def make_field(config: CarConfig, joints: int) -> CanonicalSDF:
    """The field of a config."""
    return CanonicalSDF(
        cast("Sequence[Feature]", config.features), hidden=config.hidden, skips=config.skips,
        channels=config.channels, stacks=config.stacks, depth=config.depth, inputs=config.inputs,
        joints=joints, radius=config.radius, octaves=config.octaves,
        normal_transport=config.normal_transport, two_sided=config.two_sided, space=config.space,
        total_gradient=config.total_gradient, residual=config.residual,
    )  # fmt: skip


def make_hyper(config: CarConfig) -> HyperNetwork:
    """The hyper-network of a config; small ones start near a sphere."""
    return HyperNetwork(
        SDFNet(config.dims, config.dims_skips), width=config.width, hidden=config.heads,
        skip=config.heads_skip, factorized=config.factorized, rank=config.rank,
        start_at_target=not config.heads_skip,
    )  # fmt: skip


MESH_ITERS = 100
"""Steps of a refinement that moves vertices."""


def refinement(config: CarConfig, **changes: Any) -> RefineSettings:
    """How this model's surfaces are refined; ``iters`` of the config are those of the kind "sdf"."""
    given: dict[str, Any] = {
        "iters": config.iters, "resolution": config.fine, "dims": config.dims, "skips": config.dims_skips,
        "points": config.refine_points, "lr": config.refine_lr, "plan": replace(POSED, off=config.refine_off),
    }  # fmt: skip
    if changes.get("kind") == "mesh":
        given["iters"] = min(config.iters, MESH_ITERS)
    return RefineSettings(**{**given, **changes})


def cues_of(
    net: CanonicalSDF, x: Tensor, x_view: Tensor, depth: Tensor, body: Sequence[BodyDistance]
) -> BodyCues:
    """What the body tells of points, as far as the field asks.

    Args:
        net: the field.
        x: (B, N, 3) metres, in the space of the field.
        x_view: (B, N, 3) the same points in the view box.
        depth: (B, 2, H, W) z of the body's nearest and farthest surface there.
        body: of each of the B pictures, in the space of the field.
    """
    front = distance = slope = None
    if net.two_sided and "normal" in net.features:
        down = x_view * x_view.new_tensor(UP)
        with torch.no_grad():
            front = in_front(down, depth[:, 0], depth[:, 1])
    if net.residual:
        found = [own(points) for own, points in zip(body, x, strict=True)]
        distance, slope = (torch.stack(v) for v in zip(*found, strict=True))
    return BodyCues(front, distance, slope=slope)
