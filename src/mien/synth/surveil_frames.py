"""Face tracks of a surveillance camera: a presentation in a place, frame by frame, in quality that varies.

The camera sways, the head moves and comes nearer, and the severity of the degradation walks along the track,
so that one track has frames of high and of low quality.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core.seeds import derive
from mien.synth.surveil_cast import FILL, STATIC, Cast, Cutout, cutouts
from mien.synth.surveil_scenes import SIDE, SurveilScene, surveil_scene
from mien.synth.surveillance import PROFILES, surveil

Array = NDArray[Any]  # of floats
HEAD = (16 / 48, 40 / 48)
"""Smallest and largest height of a head, as a share of the picture."""
_NATURAL = 0.25  # a head's height as a share of a cutout rendered with `FILL`
WORST = 0.85
"""Largest severity; above it nobody could tell a face."""
NIGHT, BEHIND = 0.2, 0.15
"""How often it is dark, and how often a panel hangs behind a person."""


@dataclass(frozen=True)
class Track:
    """What one face track shows.

    Attributes:
        label: index into `mien.synth.surveil_cast.KINDS`.
        person: seed of who stands there.
        shown: seed of whose face an instrument shows.
        scene: number of the place.
        camera: 1 to 7.
        seed: everything else of this track.
        lasting: seed of what its video's tracks share: night, weather, white balance.
    """

    label: int
    person: int
    shown: int
    scene: int
    camera: int
    seed: int
    lasting: int


@dataclass(frozen=True, eq=False)
class TrackFrame:
    """One picture of a track.

    Attributes:
        picture: (S, S, 3) uint8.
        number: of the frame in its track.
        head: height of the presented head, pixels.
        light: "day" or "night".
        record: of `surveil`: severity and all that was drawn.
    """

    picture: NDArray[np.uint8]
    number: int
    head: float
    light: str
    record: dict[str, Any]


def track_frames(track: Track, frames: int, size: int) -> Iterator[TrackFrame]:
    """The frames of a track; some 25 ms each at 48 pixels.

    Args:
        track: what it shows.
        frames: how many.
        size: pixels a side.
    """
    place = surveil_scene(track.scene)
    rng = np.random.default_rng(derive(track.seed, "track"))
    low, high = np.log(HEAD)
    heads = _walk(rng, frames, float(rng.uniform(low, high)), 0.12).clip(low, high)
    heads = np.exp(heads) * size
    across = _walk(rng, frames, 0.5, 0.035)
    down = _walk(rng, frames, 0.45, 0.025)
    view = _View.drawn(rng, frames)
    severity = severities(rng, track.camera, frames)
    night = np.random.default_rng(derive(track.lasting, "dark"))
    is_dark = bool(night.random() < NIGHT)
    gain = night.uniform(0.35, 0.6) * np.exp(night.normal(0, 0.06, 3)) if is_dark else np.ones(3)
    panel = _panel(track, rng) if track.label < STATIC and rng.random() < BEHIND else None
    off = () if place.light.kind == "outdoor" else ("weather",)
    numbers = 1 + 10 * np.cumsum(rng.choice([1, 2], frames, p=[0.85, 0.15])) - 10
    cast = Cast(track.label, track.person, track.shown, track.seed, place.light)
    fill = float(np.clip(FILL * heads.mean() / (2 * size) / _NATURAL, FILL, 0.62))
    for k, cut in enumerate(cutouts(cast, frames, 2 * size, fill)):
        behind = view.of(place, k, size)
        if panel is not None:
            behind = laid(behind, panel, (float(heads[k]), float(across[k]), float(down[k])))
        image = laid(behind, cut, (float(heads[k]), float(across[k]), float(down[k])))
        shown = (np.clip(image * gain, 0, 1) * 255 + 0.5).astype(np.uint8)
        seed = derive(track.seed, "frame", k)
        picture, record = surveil(
            shown, float(severity[k]), f"C{track.camera}", seed, off, lasting=track.lasting
        )
        is_night = is_dark or bool(record.get("night"))
        yield TrackFrame(picture, int(numbers[k]), float(heads[k]), "night" if is_night else "day", record)


def severities(rng: np.random.Generator, camera: int, frames: int) -> Array:
    """(frames,) severity in [0, `WORST`]: around a level of the camera's range, with half a swing or one."""
    level = WORST * rng.uniform(*PROFILES[f"C{camera}"].severity)
    swing, turns, start = rng.uniform(0.2, 0.4), rng.uniform(0.5, 1.0), rng.uniform(0, 2 * np.pi)
    t = np.arange(frames) / max(frames, 8)
    wave = swing * np.sin(start + 2 * np.pi * turns * t)
    return np.asarray(np.clip(level + wave + rng.normal(0, 0.05, frames), 0, WORST))


def _walk(rng: np.random.Generator, frames: int, start: float, step: float) -> Array:
    """A smooth random walk with steps of about ``step``."""
    moves = np.convolve(rng.normal(0, step, frames + 2), np.ones(3) / 3, "valid")
    return np.asarray(start + np.cumsum(moves) - moves[0])


@dataclass(frozen=True)
class _View:
    """Which part of a place each frame sees: left, top, side, in pixels of its picture."""

    boxes: Array

    @classmethod
    def drawn(cls, rng: np.random.Generator, frames: int) -> _View:
        side = float(rng.uniform(0.4, 0.75)) * SIDE
        sway = np.stack([_walk(rng, frames, 0.0, 0.012 * SIDE) for _ in range(2)], 1)
        corner = rng.uniform(0, SIDE - side, 2) + sway
        return cls(np.concatenate([corner.clip(0, SIDE - side), np.full((frames, 1), side)], 1))

    def of(self, place: SurveilScene, frame: int, size: int) -> Array:
        left, top, side = self.boxes[frame]
        return _resized(place.picture, (left, top, left + side, top + side), size)


def _resized(image: Array, box: tuple[float, float, float, float], size: int) -> Array:
    """A part of an image (H, W, C) as (size, size, C), averaged where it shrinks."""
    planes = [
        Image.fromarray(np.ascontiguousarray(image[..., c], np.float32)).resize(
            (size, size), Image.Resampling.BILINEAR, box
        )
        for c in range(image.shape[2])
    ]
    return np.stack([np.asarray(p) for p in planes], -1)


def laid(behind: Array, cut: Cutout, where: tuple[float, float, float]) -> Array:
    """A cutout over a picture (S, S, 3).

    Args:
        behind: the picture.
        cut: what comes before it; a body that the cutout ends goes on downwards.
        where: height of its face in pixels, x and y of the face's middle as shares of S.
    """
    size, side = len(behind), len(cut.alpha)
    tall, x, y = where
    scale = cut.face[2] * side / tall  # pixels of the cutout a pixel of the picture
    left, top = side * cut.face[0] - scale * x * size, side * cut.face[1] - scale * y * size
    layer = np.concatenate([cut.rgb * cut.alpha[..., None], cut.alpha[..., None]], -1)
    reach = scale * size
    rim = int(np.ceil(max(0.0, -left, -top, left + reach - side, top + reach - side))) + 1
    layer = np.pad(layer, ((0, rim), (0, 0), (0, 0)), mode="edge" if cut.goes_on else "constant")
    layer = np.pad(layer, ((rim, 0), (rim, rim), (0, 0)))
    seen = _resized(layer, (left + rim, top + rim, left + rim + reach, top + rim + reach), size)
    return np.asarray(behind * (1 - seen[..., 3:]) + seen[..., :3])


def _panel(track: Track, rng: np.random.Generator) -> Cutout:
    """A piece of another place behind the head, so that a rectangle around a face tells nothing."""
    other = surveil_scene(1 + (track.scene + int(rng.integers(1, 40))) % 40).picture
    left, top = rng.integers(0, SIDE // 2, 2)
    part = other[top : top + SIDE // 2, left : left + SIDE // 2]
    row, col = np.mgrid[0 : len(part), 0 : len(part)] / len(part)
    edge = float(rng.uniform(0, 0.04))
    inside = np.maximum(np.abs(row - 0.5), np.abs(col - 0.5)) < 0.5 - edge
    rim = np.where(inside[..., None], part, float(rng.uniform(0.0, 0.9)))
    wide = float(rng.uniform(0.28, 0.45))
    return Cutout(rim, np.ones(part.shape[:2]), (0.5 + rng.normal(0, 0.06), 0.5 + rng.normal(0, 0.06), wide))


def jpeg_bytes(picture: NDArray[np.uint8]) -> bytes:
    """A picture as the set's files have it: JPEG of quality 95 without chroma subsampling."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()
