"""How a head moves while somebody talks: visemes with co-articulation, blinks, gaze, smooth turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


KEYS: tuple[Mapping[str, float], ...] = (
    {},
    {"mouthSmile": 0.9, "cheekSquint": 0.6, "eyeSquint": 0.3},
    {"jawOpen": 0.9, "mouthLowerDown": 0.4},
    {"jawOpen": 0.6, "mouthSmile": 0.8, "cheekSquint": 0.7, "mouthUpperUp": 0.5},
    {"jawOpen": 0.5, "browInnerUp": 0.9, "browOuterUp": 0.8, "eyeWide": 0.9},
    {"browDown": 0.9, "eyeSquint": 0.5, "mouthFrown": 0.6, "noseSneer": 0.4},
    {"browInnerUp": 0.9, "mouthFrown": 0.9, "mouthShrugLower": 0.6},
    {"mouthPucker": 1.0},
    {"mouthFunnel": 0.9, "jawOpen": 0.4},
    {"mouthLeft": 0.8, "mouthDimpleLeft": 0.5},
    {"mouthRight": 0.8, "mouthDimpleRight": 0.5},
    {"eyeBlink": 1.0},
    {"mouthRollLower": 0.8, "mouthRollUpper": 0.7, "mouthPress": 0.5},
    {"cheekPuff": 0.8},
    {"noseSneer": 0.8, "mouthUpperUp": 0.7, "browDown": 0.4},
)
"""Expressions that a face goes between; a name without a side stands for both."""
GAZE_REACH = (0.5, 0.35)
"""Angle of the eyes, to the side and up, at which an eyeLook action is 1, radians."""


def perform(seed: int, frames: int, fps: float = 25.0, turn: float = 0.25) -> list[Frame]:
    """A face that goes through strong expressions while it talks, blinks and looks around. O(frames).

    Key expressions of `KEYS` last 0.3 - 0.8 s at 40 - 100 % and are smoothed by 100 ms; speech (`talk` at
    60 %) fades where the key expression moves the jaw.

    Args:
        seed: of the clip.
        frames: how many.
        fps: frames a second.
        turn: standard deviation of the yaw, radians.

    Raises:
        ConfigError: no frames, or a rate that is not positive.
    """
    spoken = talk(seed, frames, fps, 0.6, turn)
    rng = np.random.default_rng(derive(seed, "perform"))
    keys = [both_sides(k) for k in KEYS]
    names = sorted({n for k in keys for n in k})
    track, at = np.zeros((frames, len(names))), 0
    while at < frames:
        length = max(1, round(rng.uniform(0.3, 0.8) * fps))
        key, level = keys[int(rng.integers(len(keys)))], rng.uniform(0.4, 1.0)
        track[at : at + length] = [level * key.get(n, 0.0) for n in names]
        at += length
    track = np.clip(gaussian_filter1d(track, 0.1 * fps, axis=0, mode="nearest"), 0, 1)
    jaw = track[:, names.index("jawOpen")]
    out = []
    for k, frame in enumerate(spoken):
        actions = {n: float(v) for n, v in zip(names, track[k], strict=True) if v > 1e-3}
        for n, v in frame.actions.items():
            quiet = 1.0 if n.startswith(("eye", "brow")) else max(0.0, 1 - 2 * float(jaw[k]))
            actions[n] = min(1.0, max(actions.get(n, 0.0), quiet * v))
        out.append(Frame(actions, frame.yaw, frame.pitch, frame.roll, frame.gaze))
    return out


def both_sides(actions: Mapping[str, float]) -> dict[str, float]:
    """Names without a side as both sides."""
    single = ("jawOpen", "browInnerUp", "cheekPuff", "mouthPucker", "mouthFunnel", "mouthShrugLower",
              "mouthLeft", "mouthRight", "mouthRollLower", "mouthRollUpper")  # fmt: skip
    out = dict[str, float]()
    for name, value in actions.items():
        whole = name in single or name.endswith(("Left", "Right"))
        out |= {n: value for n in ([name] if whole else [f"{name}Left", f"{name}Right"])}
    return out


def expression_rows(frames: Sequence[Frame], names: Sequence[str]) -> NDArray[np.float32]:
    """(T, len(names)) actions of a clip; the gaze as eyeLook actions (`GAZE_REACH`). O(T names)."""
    out = np.zeros((len(frames), len(names)), np.float32)
    at = {n: k for k, n in enumerate(names)}
    for row, frame in zip(out, frames, strict=True):
        for name, value in frame.actions.items():
            row[at[name]] = value
        left, up = (np.clip(g / reach, -1, 1) for g, reach in zip(frame.gaze, GAZE_REACH, strict=True))
        for name, value in (
            ("eyeLookOutLeft", left), ("eyeLookInRight", left), ("eyeLookInLeft", -left),
            ("eyeLookOutRight", -left), ("eyeLookUpLeft", up), ("eyeLookUpRight", up),
            ("eyeLookDownLeft", -up), ("eyeLookDownRight", -up),
        ):  # fmt: skip
            row[at[name]] = max(0.0, value)
    return out


def read_expression(row: Array, names: Sequence[str]) -> tuple[dict[str, float], tuple[float, float]]:
    """Actions and gaze (radians) of one row of `expression_rows`; values are cut to 0 .. 1. O(names)."""
    values = {n: float(v) for n, v in zip(names, np.clip(row, 0, 1), strict=True)}
    look = {n: values.pop(n, 0.0) for n in names if n.startswith("eyeLook")}
    pairs = (
        ("OutLeft", "InRight", "InLeft", "OutRight"),
        ("UpLeft", "UpRight", "DownLeft", "DownRight"),
    )
    gaze = [
        0.5 * sum(s * look.get(f"eyeLook{n}", 0.0) for n, s in zip(p, (1, 1, -1, -1), strict=True)) * reach
        for p, reach in zip(pairs, GAZE_REACH, strict=True)
    ]
    return {n: v for n, v in values.items() if v > 1e-4}, (gaze[0], gaze[1])


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
