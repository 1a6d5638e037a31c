"""Flags of ``mien predict otavatar`` and ``mien inspect otavatar`` (no torch here)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mien.core.config import check_box_option, check_range
from mien.core.errors import ConfigError


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect otavatar``."""

    frames: int = 500
    """Frames of the made performance that the controller is driven with."""
    seed: int = 0
    """Of the performance."""

    def __post_init__(self) -> None:
        check_range("inspect", "frames", self.frames, 10, 100_000)


@dataclass(frozen=True)
class PredictOptions:
    """Flags of ``mien predict otavatar PORTRAIT ...``; each portrait is a person of its own."""

    also: tuple[str, ...] = ()
    """More pictures of the one person whose PORTRAIT is given; they share one identity code."""
    state: str | None = None
    """avatar.safetensors of an earlier run, instead of a portrait."""
    driving: str = "talk"
    """Track (.npz of tools/track.py, .mat of Deep3DFaceRecon), or a made motion: talk, perform; none."""
    camera: Literal["driving", "source", "orbit"] = "driving"
    """The driver's head pose, the portrait's, or an orbit."""
    retarget: Literal["absolute", "relative"] = "absolute"
    """relative: the portrait's expression and pose, plus what changes in the driving motion."""
    parts: Literal["all", "mouth", "eyes"] = "all"
    """Part of the face that is driven."""
    frames: int | None = None
    """Frames of a made motion (default 100), or of a track at most (default all)."""
    smooth: bool = False
    """Smooth the driving motion (One-Euro)."""
    seed: int = 0
    """Of a made motion and of the inversion."""
    mesh: bool = False
    """Also write mesh.glb."""
    steps: int = 100
    """Steps of the inversion."""
    space: Literal["w", "w+"] = "w"
    """One code for all layers, or one each: closer to the portrait, less sure from other sides."""
    pti_steps: int = 80
    """Steps of tuning to the portrait (PTI), at most 1000; 50 as released. Without them (0, quick) a person
    unlike those of the training is a blur."""
    pti_lr: float = 0.0
    """Rate at which they bend the generator; 3e-4 as released; 0: only the person's own planes are learnt."""
    pti_keep: float = 1.0
    """Weight of what keeps other sides and motion as they are meanwhile; 0 as released."""
    pti_own: float = 0.15
    """Rate of the person's own planes, which hold what no generator draws; 0 as released: none."""
    refine: Literal["off", "centre", "all"] = "off"
    """What of the portrait's intrinsics is corrected: focal length and centre, or all nine."""
    box: tuple[int, ...] = ()
    """Left, top, right, bottom of the face, from the brows to the chin, pixels; else a detector's; else the
    middle square of the portrait is taken as head and shoulders."""
    detector: Literal["none", "mediapipe"] = "none"
    """Who looks for the face."""
    mask: str = "matte"
    """What of the portrait is the person: matte (by its colours, around the middle), ellipse, none (it is on
    white), or a picture, white = person."""
    size: int = 128
    """Side of the videos, pixels."""
    output: str = "out/otavatar"
    """Folder for what is written."""

    def __post_init__(self) -> None:
        check_range("predict", "frames", self.frames, 1, 1_000_000)
        check_range("predict", "steps", self.steps, 0, 100_000)
        check_range("predict", "pti_steps", self.pti_steps, 0, 1000)
        check_range("predict", "pti_lr", self.pti_lr, 0.0, 1.0)
        check_range("predict", "pti_keep", self.pti_keep, 0.0, 1e6)
        check_range("predict", "pti_own", self.pti_own, 0.0, 1.0)
        if self.pti_steps and not (self.pti_lr or self.pti_own):
            raise ConfigError("--pti-lr 0 --pti-own 0 tune nothing; give --pti-steps 0")
        check_range("predict", "size", self.size, 16, 1024)
        check_box_option(self.box)

    def pictures(self) -> dict[str, str]:
        """What takes the place of portraits: an avatar that was made before."""
        return {} if self.state is None else {"state": self.state}
