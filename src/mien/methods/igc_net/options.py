"""Flags of ``mien predict igc_net`` and ``mien inspect igc_net`` (no torch here)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mien.core.config import check_box_option, check_range
from mien.core.errors import ConfigError

MeshKind = Literal["none", "obj", "ply", "glb"]


@dataclass(frozen=True)
class PredictOptions:
    """Flags of ``mien predict igc_net PHOTO ...``; each picture shows one face."""

    box: tuple[int, ...] = ()
    """Left, top, right, bottom of the face, from the brows to the chin, pixels; else a detector's; else the
    middle square of the picture is taken as the head."""
    detector: Literal["none", "mediapipe"] = "none"
    """Who looks for the face."""
    light: tuple[float, ...] = ()
    """Where a new light comes from: degrees to the viewer's right, degrees above."""
    yaw: tuple[float, ...] = ()
    """Views, degrees from the front, that the face is drawn from."""
    swap: str | None = None
    """Another picture, whose face gives the part ``--part``; for one PHOTO."""
    part: int | None = None
    """Number of the part that is swapped, from 0."""
    explode: bool = False
    """Also write the parts pulled apart, as a mesh."""
    mesh: MeshKind = "none"
    """Format of the face's mesh and of its parts'; none is written by default."""
    output: str | None = None
    """Folder for pictures and meshes; without it nothing is written."""

    def __post_init__(self) -> None:
        check_box_option(self.box)
        if len(self.light) not in (0, 2):
            shown = " ".join(map(str, self.light))
            raise ConfigError(f"--light {shown}: give two numbers, degrees to the right and degrees above")
        for angle in (*self.light, *self.yaw):
            check_range("predict", "light and yaw", angle, -80.0, 80.0)
        check_range("predict", "part", self.part, 0, 63)


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect igc_net``."""

    split: Literal["val", "test"] = "val"
    """Pictures that are looked at."""
    pictures: int = 100
    """How many, at most, evenly spread."""
    output: str = "out/igc_net"
    """Folder for the figure."""

    def __post_init__(self) -> None:
        check_range("inspect", "pictures", self.pictures, 2, 100_000)
