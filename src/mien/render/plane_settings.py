"""How a tri-plane field is read and marched: plain data, free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mien.core.errors import ConfigError

PlaneAxes = Literal["corrected", "eg3d"]
Aggregate = Literal["mean", "sum"]
Pdf = Literal["exact", "eg3d"]

AXES: dict[str, tuple[tuple[int, int], ...]] = {  # coordinates of a point that are (u, v) of each plane
    "corrected": ((0, 1), (0, 2), (2, 1)),
    "eg3d": ((0, 1), (0, 2), (2, 0)),  # as released: the third is the second transposed, y-z is missing
}


@dataclass(frozen=True)
class PlaneSettings:
    """Conventions of the planes and numbers of the ray march; the defaults are EG3D's for faces.

    Attributes:
        axes: "corrected": planes (x, y), (x, z), (z, y). "eg3d": as released, (x, y), (x, z), (z, x), which
            released weights need.
        aggregate: "mean" over the planes (the released code) or "sum" (the article).
        box: side of the cube that the planes span, metres.
        limits: first and last distance along the rays, or "auto": where each ray meets the box.
        coarse: samples of the first pass, spread evenly.
        fine: samples of the second pass, drawn where the first saw something; 0: no second pass.
        pdf: "exact", or "eg3d": as released, half an interval too near the camera.
        disparity: even in 1 / distance, not in distance.
        jitter: where in its interval a coarse sample lies when nothing is drawn, 0 .. 1.
        density_scale: k of the density k softplus(sigma - 1), 1 / metre.
        white_back: what is left of the light is white (else black).
        chunk: rays of one picture evaluated at a time.
    """

    axes: PlaneAxes = "corrected"
    aggregate: Aggregate = "mean"
    box: float = 1.0
    limits: tuple[float, float] | Literal["auto"] = (2.25, 3.3)
    coarse: int = 48
    fine: int = 48
    pdf: Pdf = "exact"
    disparity: bool = False
    jitter: float = 0.5
    density_scale: float = 1.0
    white_back: bool = False
    chunk: int = 1024

    def __post_init__(self) -> None:
        for name, kind in (("axes", PlaneAxes), ("aggregate", Aggregate), ("pdf", Pdf)):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(f"{name} {getattr(self, name)!r} is none of {', '.join(get_args(kind))}")
        if self.limits != "auto" and not 0 <= self.limits[0] < self.limits[1]:
            raise ConfigError(f"limits must be 'auto' or 0 <= first < last, got {self.limits}")
        if self.coarse < 2 or self.fine < 0 or self.chunk < 1:
            raise ConfigError(
                f"coarse must be >= 2, fine >= 0, chunk >= 1; got {self.coarse}, {self.fine}, {self.chunk}"
            )
        if self.fine and self.coarse < (4 if self.pdf == "eg3d" else 2):
            raise ConfigError(f"pdf 'eg3d' needs 4 coarse samples at least, got {self.coarse}")
        if not (self.box > 0 and self.density_scale > 0 and 0 <= self.jitter <= 1):
            raise ConfigError("box and density_scale must be above 0, jitter within 0 .. 1")


@dataclass(frozen=True)
class FastSettings:
    """What the march without gradients leaves out.

    Attributes:
        samples: even samples between the limits; only those near a surface cost anything.
        cells: cells along a side of the box of the grid of density; 0: none, everything is evaluated.
        threshold: optical density, 1 / metre, up to which a cell counts as empty.
        leap: samples to go on by at a time inside occupied cells, while the field is thin; 1: all are used.
        refine: optical thickness of a leap above which its samples are used.
        stop: share of the light below which a ray ends.
        dim: weight below which an interval adds no colour.
    """

    samples: int = 48
    cells: int = 16
    threshold: float = 0.1
    leap: int = 4
    refine: float = 0.01
    stop: float = 0.03
    dim: float = 1e-3

    def __post_init__(self) -> None:
        if self.samples < 2 or not 0 <= self.cells <= 256:
            raise ConfigError(f"samples >= 2 and cells 0 .. 256 are needed, got {self.samples}, {self.cells}")
        if self.leap < 1 or not (self.refine > 0 and self.threshold >= 0):
            raise ConfigError(f"leap >= 1, refine > 0, threshold >= 0 are needed, got {self}")
        if not (0 <= self.stop < 1 and 0 <= self.dim < 1):
            raise ConfigError(f"stop and dim must be within 0 .. 1, got {self.stop} and {self.dim}")
