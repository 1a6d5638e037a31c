"""``mien export otavatar``: the graphs which together draw a talking head outside of Python.

    controller: window (B, C, L) -> dw (B, slots, W), which is added to the identity's codes;
    planes: style codes ws (B, slots, W) -> planes (B, 3, C, P, P), once a frame;
    field: planes and points (B, M, 3) -> (B, M, 1 + F): raw density, then features, once a sample of a ray;
    enlarge (where it is trained): raw features (B, F, h, h) in [-1, 1] and ws -> picture (B, 3, S, S).

What lies between is arithmetic: ws = w_id + dw, within 5 deviations of the mean code; the march along rays.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.engine.export import ExportPlan, Signature
from mien.methods.otavatar.controller import MotionController, window
from mien.methods.otavatar.drawing import bake
from mien.methods.otavatar.generator import SuperResolution, TriPlaneGenerator
from mien.methods.otavatar.model import AvatarNet
from mien.render.plane_settings import PlaneSettings
from mien.render.triplane import query_planes
from mien.render.triplane_fast import render_baked
from mien.synth.body import people
from mien.synth.motion import expression_rows, perform
from mien.synth.orbit import orbit_cameras

if TYPE_CHECKING:
    from mien.methods.otavatar.predict import Predictor

MOST = 16
"""Moments that the graphs are compared on: planes are large."""
POINTS = 2048
"""Points of a moment."""
CALIBRATION = 32
"""Moments of another clip that int8 graphs are calibrated on."""


class ControllerGraph(nn.Module):
    """Windows (B, C, L) -> dw (B, slots, W); the basis of the code book is computed once, before.

    Args:
        controller: without scaling of the identity.

    Raises:
        ConfigError: with it.
    """

    signature = Signature(("window",), "dw")
    basis: Tensor

    def __init__(self, controller: MotionController) -> None:
        super().__init__()
        if controller.sets != 1:
            raise ConfigError("a controller with plus_scaling has two outputs; export one without")
        self.controller = controller
        self.register_buffer("basis", controller.code_book.basis().detach().clone())

    def forward(self, windows: Tensor) -> Tensor:
        """Dw = Q alpha."""
        return self.controller.alpha(windows) @ self.basis.T


class PlanesGraph(nn.Module):
    """Style codes (B, slots, W) -> planes (B, 3, C, P, P)."""

    signature = Signature(("ws",), "planes")

    def __init__(self, generator: TriPlaneGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, ws: Tensor) -> Tensor:
        """As `TriPlaneGenerator.planes`."""
        return self.generator.planes(ws)


class FieldGraph(nn.Module):
    """Planes (B, 3, C, P, P) and points (B, M, 3) -> (B, M, 1 + F): raw density, then features."""

    signature = Signature(("planes", "points"), "field", {"points": (1,)})

    def __init__(self, generator: TriPlaneGenerator, settings: PlaneSettings) -> None:
        super().__init__()
        self.decoder, self.settings = generator.decoder, settings

    def forward(self, planes: Tensor, points: Tensor) -> Tensor:
        """As `mien.render.query_planes`."""
        return torch.cat(query_planes(planes, self.decoder, points, self.settings), -1)


class EnlargeGraph(nn.Module):
    """Raw features (B, F, h, h), the colours first, and style codes -> picture (B, 3, S, S) in [-1, 1]."""

    signature = Signature(("features", "ws"), "picture")

    def __init__(self, enlarge: SuperResolution) -> None:
        super().__init__()
        self.enlarge = enlarge

    def forward(self, features: Tensor, ws: Tensor) -> Tensor:
        """As `SuperResolution`."""
        return cast("Tensor", self.enlarge(features[:, :3], features, ws))


def graphs_of(net: AvatarNet) -> dict[str, nn.Module]:
    """The graphs of a net, by name; copies on the CPU."""
    own = copy.deepcopy(net).cpu().eval().requires_grad_(False)
    found = {
        "controller": ControllerGraph(own.controller),
        "planes": PlanesGraph(own.generator),
        "field": FieldGraph(own.generator, own.config.settings()),
    }
    enlarge = own.generator.super_resolution
    return found if enlarge is None else {**found, "enlarge": EnlargeGraph(enlarge)}


def made_windows(controller: MotionController, frames: int, seed: int) -> Tensor:
    """(T, C, L) windows of a face that goes through strong expressions; rows that are no actions are 0."""
    rows = torch.from_numpy(expression_rows(perform(seed, frames), people().actions))
    spare = controller.coefficients - rows.shape[1]
    return window(F.pad(rows, (0, spare)), controller.radius)  # fewer rows than actions: the first ones


@torch.inference_mode()
def inputs_of(net: AvatarNet, count: int, seed: int) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """Inputs of `graphs_of`: motion of a made clip, the mean person moved by it, points of the cube."""
    own = copy.deepcopy(net).cpu().eval()
    windows = made_windows(own.controller, 4 * count, seed)[::4].contiguous()
    ws = own.moved(own.w_avg.expand(count, 1, -1), own.controller(windows)[0])
    generator = torch.Generator().manual_seed(derive(seed, "points"))
    points = own.config.settings().box * (torch.rand(count, POINTS, 3, generator=generator) - 0.5)
    given = {"controller": windows, "planes": ws, "field": (own.planes(ws), points)}
    enlarge = own.generator.super_resolution
    if enlarge is not None:
        front = torch.from_numpy(orbit_cameras([0.0] * count))
        given["enlarge"] = (render_baked(bake(own, ws), front, enlarge.side).features, ws)
    return cast("dict[str, Tensor | tuple[Tensor, ...]]", given)


def export_plan(predictor: Predictor, count: int) -> ExportPlan:
    """What ``mien export`` writes, compared on made motion of the mean person; there is no task metric.

    Args:
        predictor: the model; its ``net`` is looked at.
        count: moments, at most; never more than `MOST`.
    """
    net = predictor.net
    held = inputs_of(net, CALIBRATION, derive(0, "export", "calibration"))
    given = inputs_of(net, max(2, min(count, MOST)), derive(0, "export", "inputs"))
    return ExportPlan(graphs_of(net), given, None, "none", held, real=False)
