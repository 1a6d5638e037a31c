"""The field of an avatar at one moment: pictures from any camera, and its surface."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.methods.otavatar.generator import TriPlaneGenerator
from mien.render.iso import marching_cubes
from mien.render.mesh_io import Mesh, linear_rgb
from mien.render.plane_settings import PlaneSettings
from mien.render.triplane import PlaneRender, density, query_planes, render_planes
from mien.render.triplane_fast import BakedField, bake_planes, render_baked
from mien.synth.orbit import CUBE

LEVEL = 10.0
"""Density of the surface, 1 / side of the cube: half of the light is gone within 7 % of the side."""


def as_bytes(rgb: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) in [-1, 1] -> uint8 (H, W, 3). O(pixels)."""
    x = ((rgb.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(x.permute(1, 2, 0).cpu().numpy())


class AvatarField:
    """Planes of one moment; what does not depend on the camera is made once.

    Args:
        generator: that draws.
        ws: (1, slots, W) style codes.
        settings: how the field is read.
    """

    def __init__(self, generator: TriPlaneGenerator, ws: Tensor, settings: PlaneSettings) -> None:
        self.generator, self.ws, self.settings = generator, ws, settings
        with torch.no_grad():
            self.planes = generator.planes(ws)

    @cached_property
    def _baked(self) -> BakedField:
        return bake_planes(self.planes, self.generator.decoder.plain(), self.settings)

    def render(self, camera: Tensor, size: int) -> PlaneRender:
        """What a camera (25,) sees: the compiled march on the CPU, else two passes. O(size^2 samples)."""
        c = camera[None].to(self.planes)
        if self.planes.device.type == "cpu":
            return render_baked(self._baked, c, size)
        with torch.no_grad():
            return render_planes(self.planes, self.generator.decoder, c, size, self.settings)

    def picture(self, camera: Tensor, size: int) -> NDArray[np.uint8]:
        """uint8 (size, size, 3); through super-resolution where ``size`` is what that gives."""
        enlarge = self.generator.super_resolution
        if enlarge is None or size != enlarge.size:
            return as_bytes(self.render(camera, size).rgb[0])
        raw = self.render(camera, enlarge.side)
        with torch.no_grad():
            return as_bytes(enlarge(raw.rgb, raw.features, self.ws)[0])

    def mesh(self, resolution: int = 96, level: float = LEVEL) -> Mesh:
        """The surface of equal density with the field's colours there, metres. O(resolution^3).

        Args:
            resolution: cells along a side of the cube.
            level: density, 1 / side.

        Raises:
            DataError: the field is nowhere so dense.
        """
        plan, half = self.settings, self.settings.box / 2

        def field(points: Tensor) -> Tensor:
            sigma, _ = query_planes(self.planes, self.generator.decoder, points[None], plan)
            return density(sigma, plan.density_scale)[0, :, 0]

        found = marching_cubes(
            field, [-half] * 3, [half] * 3, resolution, level, coarse=None, inside="above",
            device=self.planes.device,
        )  # fmt: skip
        with torch.no_grad():
            at = found.vertices[None].to(self.planes)
            colour = query_planes(self.planes, self.generator.decoder, at, plan)[1][0, :, :3].clamp(0, 1)
        return Mesh(
            found.vertices.numpy() * np.float32(CUBE / 10),
            found.faces.numpy(),
            linear_rgb(colour.cpu().numpy()).astype(np.float32),
        )
