"""How a head moves while somebody talks: visemes with co-articulation, blinks, gaze, smooth turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from mien.core.errors import ConfigError
from mien.core.seeds import derive

Array = NDArray[Any]  # of floats

VISEMES: dict[str, dict[str, float]] = {
    "rest": {},
    "aa": {"jawOpen": 0.60, "mouthLowerDownLeft": 0.25, "mouthLowerDownRight": 0.25},
    "eh": {"jawOpen": 0.32, "mouthStretchLeft": 0.25, "mouthStretchRight": 0.25},
    "ee": {"jawOpen": 0.14, "mouthSmileLeft": 0.40, "mouthSmileRight": 0.40},
    "oh": {"jawOpen": 0.42, "mouthFunnel": 0.60},
    "oo": {"jawOpen": 0.16, "mouthPucker": 0.75},
    "mm": {"mouthPressLeft": 0.45, "mouthPressRight": 0.45, "mouthClose": 0.05},
    "ff": {"jawOpen": 0.08, "mouthRollLower": 0.45, "mouthUpperUpLeft": 0.12, "mouthUpperUpRight": 0.12},
    "ss": {"jawOpen": 0.06, "mouthStretchLeft": 0.30, "mouthStretchRight": 0.30},
    "ll": {"jawOpen": 0.22, "mouthShrugUpper": 0.10},
}
"""Face actions of ten mouth shapes."""


@dataclass(frozen=True)
class Frame:
    """One moment: face actions, head rotation and gaze, radians."""

    actions: Mapping[str, float]
    yaw: float
    pitch: float
    roll: float
    gaze: tuple[float, float]


def talk(seed: int, frames: int, fps: float = 25.0, strength: float = 1.0, turn: float = 0.25) -> list[Frame]:
    """A talking, blinking, moving head. O(frames).

    Visemes last 80 - 220 ms and are smoothed by 60 ms; blinks are a Poisson process of 0.3 Hz and last
    160 ms; gaze jumps at 0.7 Hz; head pose is smooth noise of about 0.4 Hz.

    Args:
        seed: of the clip.
        frames: how many.
        fps: frames a second.
        strength: of the mouth and brows, 0 .. 1.
        turn: standard deviation of the yaw, radians.

    Raises:
        ConfigError: no frames, or a rate that is not positive.
    """
    if frames < 1 or fps <= 0:
        raise ConfigError(f"a clip of {frames} frames at {fps} a second")
    rng = np.random.default_rng(derive(seed, "talk"))
    names = sorted({n for v in VISEMES.values() for n in v})
    track = np.zeros((frames, len(names)))
    at = 0.0
    kinds = list(VISEMES)
    while at < frames:
        length = rng.uniform(0.08, 0.22) * fps
        shape = VISEMES[kinds[int(rng.integers(len(kinds)))]]
        loud = strength * rng.uniform(0.6, 1.0)
        for k in range(int(at), min(frames, int(at + length) + 1)):
            track[k] = [loud * shape.get(n, 0.0) for n in names]
        at += length
    track = gaussian_filter1d(track, 0.06 * fps, axis=0, mode="nearest")
    blink = _blinks(rng, frames, fps)
    brow = strength * np.clip(_smooth(rng, frames, fps, 0.35) * 0.35, 0, 0.9)
    smile = strength * np.clip(_smooth(rng, frames, fps, 0.2) * 0.3, 0, 0.8)
    pose = np.stack([_smooth(rng, frames, fps, 0.4) for _ in range(3)], 1) * np.array([turn, 0.08, 0.05])
    gaze = _jumps(rng, frames, fps)
    out = []
    for k in range(frames):
        actions = {n: float(v) for n, v in zip(names, track[k], strict=True) if v > 1e-3}
        actions |= {"eyeBlinkLeft": blink[k], "eyeBlinkRight": blink[k], "browInnerUp": float(brow[k])}
        for side in ("Left", "Right"):
            key = f"mouthSmile{side}"
            actions[key] = min(1.0, actions.get(key, 0.0) + float(smile[k]))
        yaw, pitch, roll = (float(np.clip(v, -0.9, 0.9)) for v in pose[k])
        out.append(Frame(actions, yaw, pitch, roll, (float(gaze[k, 0]), float(gaze[k, 1]))))
    return out


def _smooth(rng: np.random.Generator, frames: int, fps: float, hertz: float) -> Array:
    """Smooth noise of unit variance (before clipping) with a cut-off frequency."""
    sigma = fps / (2 * np.pi * hertz)
    pad = int(4 * sigma) + 1
    raw = gaussian_filter1d(rng.standard_normal(frames + 2 * pad), sigma, mode="nearest")[pad:-pad]
    return np.asarray(raw * np.sqrt(2 * np.sqrt(np.pi) * sigma))


def _blinks(rng: np.random.Generator, frames: int, fps: float) -> list[float]:
    out = np.zeros(frames)
    at = rng.exponential(1 / 0.3)
    t = np.arange(frames) / fps
    while at < frames / fps:
        out = np.maximum(out, np.clip(1.25 - np.abs(t - at) / 0.08, 0, 1))
        at += 0.25 + rng.exponential(1 / 0.3)
    return [float(v) for v in out]


def _jumps(rng: np.random.Generator, frames: int, fps: float) -> Array:
    out = np.zeros((frames, 2))
    at, where = 0.0, rng.normal(0, (0.10, 0.05))
    while at < frames:
        length = (0.3 + rng.exponential(1.1)) * fps
        out[int(at) : int(at + length) + 1] = where
        where = rng.normal(0, (0.14, 0.06))
        at += length
    return out
