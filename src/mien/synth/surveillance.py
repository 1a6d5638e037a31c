"""What a far surveillance camera does to a picture: steps by severity, each seeded and recorded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.synth.sensors import jpeg

Array = NDArray[Any]  # of floats
STEPS = ("motion", "defocus", "downsample", "noise", "night", "weather", "balance", "jpeg", "ghost")
"""Names of the steps, in order; up-sampling to the old size follows down-sampling at the end."""


@dataclass(frozen=True)
class CameraProfile:
    """Sub-ranges (low, high) in [0, 1] of a camera: of severity, and of each step's own share of it."""

    name: str
    severity: tuple[float, float]
    blur: tuple[float, float]
    noise: tuple[float, float]
    compression: tuple[float, float]
    night: float
    weather: float
    ghost: float


PROFILES: dict[str, CameraProfile] = {
    p.name: p
    for p in (
        CameraProfile("C1", (0.0, 0.5), (0.2, 0.6), (0.1, 0.5), (0.1, 0.5), 0.05, 0.05, 0.00),
        CameraProfile("C2", (0.1, 0.6), (0.1, 0.5), (0.3, 0.8), (0.2, 0.6), 0.15, 0.05, 0.05),
        CameraProfile("C3", (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), 0.20, 0.20, 0.10),
        CameraProfile("C4", (0.3, 0.8), (0.4, 1.0), (0.2, 0.6), (0.3, 0.8), 0.10, 0.30, 0.10),
        CameraProfile("C5", (0.3, 0.9), (0.2, 0.7), (0.5, 1.0), (0.2, 0.7), 0.40, 0.10, 0.05),
        CameraProfile("C6", (0.4, 1.0), (0.3, 0.8), (0.3, 0.9), (0.6, 1.0), 0.20, 0.20, 0.25),
        CameraProfile("C7", (0.5, 1.0), (0.5, 1.0), (0.4, 1.0), (0.4, 1.0), 0.30, 0.40, 0.15),
    )
}


def area_downsample(image: Array, rows: int, cols: int) -> Array:
    """Mean over the area that each new pixel covers: (H, W, C) -> (rows, cols, C), exact box filter."""
    tall = np.tensordot(_box(image.shape[0], rows), image, 1)
    return np.asarray(np.einsum("jw,iwc->ijc", _box(image.shape[1], cols), tall, optimize=True))


def _box(old: int, new: int) -> Array:
    """(new, old) shares of old cells in new ones."""
    edges = np.arange(new + 1) * old / new
    low = np.maximum(edges[:-1, None], np.arange(old)[None])
    high = np.minimum(edges[1:, None], np.arange(old)[None] + 1)
    return np.clip(high - low, 0, None) * new / old


def upsample(image: Array, rows: int, cols: int, kernel: str) -> Array:
    """(h, w, C) -> (rows, cols, C) by nearest, bilinear or bicubic interpolation of pixel centres."""
    from PIL import Image

    how = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR,
           "bicubic": Image.Resampling.BICUBIC}[kernel]  # fmt: skip
    planes = [
        np.asarray(Image.fromarray(image[..., c].astype(np.float32)).resize((cols, rows), how))
        for c in range(image.shape[2])
    ]
    return np.stack(planes, -1).astype(np.float64)


def motion_kernel(length: float, angle: float) -> Array:
    """A line of a length in pixels as a kernel that sums to 1; length 1 is the identity."""
    r = int(np.ceil(length / 2))
    out = np.zeros((2 * r + 1, 2 * r + 1))
    for t in np.linspace(-(length - 1) / 2, (length - 1) / 2, max(1, int(8 * length))):
        x, y = r + t * np.cos(angle), r + t * np.sin(angle)
        i, j = int(np.floor(y)), int(np.floor(x))
        for a in range(2):
            for b in range(2):
                if i + a <= 2 * r and j + b <= 2 * r:
                    out[i + a, j + b] += (1 - abs(y - i - a)) * (1 - abs(x - j - b))
    return out / out.sum()


def surveil(
    image: NDArray[np.uint8],
    severity: float | tuple[float, float] | None = None,
    profile: str = "C3",
    seed: int = 0,
    off: Collection[str] = (),
    *,
    lasting: int | None = None,
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """A picture as a surveillance camera delivers it, and the record of every parameter. O(pixels).

    Steps in order: motion blur of 1 + 12 q pixels, defocus sigma 2.5 q, area down-sampling to
    max(12, w (1 - .85 q)) pixels, Poisson and Gaussian noise (sigma .02 + .08 q), night mode, snow or fog,
    white balance and exposure, JPEG 95 - 75 q, ghosting, up-sampling by a random kernel. Sizes in pixels
    are for a picture 256 wide and scale with it. A step that is off draws no random numbers.

    Args:
        image: (H, W, 3) uint8.
        severity: q in [0, 1], or a range to draw from; None: the profile's range.
        profile: C1 .. C7.
        seed: same seed, same picture.
        off: names of `STEPS` to leave out.
        lasting: seed of what stays from frame to frame of a video: night, the kind of weather, white balance
            and exposure; None: drawn with the rest.

    Returns:
        The picture (H, W, 3) and its record (plain numbers).

    Raises:
        ConfigError: an unknown profile or step, or a severity outside [0, 1].
    """
    if profile not in PROFILES:
        raise ConfigError(f"camera {profile!r} is none of {', '.join(PROFILES)}")
    unknown = set(off) - set(STEPS)
    if unknown:
        raise ConfigError(f"step {sorted(unknown)[0]!r} is none of {', '.join(STEPS)}")
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 8:
        raise ConfigError(f"a picture of shape {image.shape} is not (H, W, 3) of at least 8 pixels a side")
    cam = PROFILES[profile]
    low, high = cam.severity if severity is None else np.broadcast_to(severity, 2)
    if not 0 <= low <= high <= 1:
        raise ConfigError(f"severity {severity} is outside [0, 1]")

    def stream(name: str) -> np.random.Generator:
        return np.random.default_rng(derive(seed, "surveil", name))

    def slow(name: str) -> np.random.Generator:
        return np.random.default_rng(derive(seed if lasting is None else lasting, "surveil", name))

    q = float(stream("severity").uniform(low, high))
    record: dict[str, Any] = {"profile": profile, "severity": q, "seed": seed}
    rows, cols = image.shape[:2]
    unit = cols / 256
    x = image.astype(np.float64) / 255

    if "motion" not in off:
        rng = stream("motion")
        length = 1 + 12 * q * unit * _within(rng, cam.blur)
        angle = float(rng.uniform(0, np.pi))
        if length > 1:
            kernel = motion_kernel(length, angle)[..., None]
            x = convolve(x, kernel, mode="nearest")
        record |= {"motion_px": length, "motion_angle": angle}
    if "defocus" not in off:
        sigma = 2.5 * q * unit * _within(stream("defocus"), cam.blur)
        if sigma > 0:
            x = gaussian_filter(x, (sigma, sigma, 0), mode="nearest")
        record["defocus_px"] = sigma
    small = (rows, cols)
    if "downsample" not in off:
        width = min(cols, max(12, round(cols * (1 - 0.85 * q))))
        small = (max(1, round(rows * width / cols)), width)
        if small != (rows, cols):
            x = area_downsample(x, *small)
        record["width_px"] = width
    if "noise" not in off:
        rng = stream("noise")
        share = _within(rng, cam.noise)
        peak, sigma = 255 * (1 - 0.9 * q * share), 0.02 + 0.08 * q * share
        x = rng.poisson(np.clip(x, 0, 1) * peak) / peak + rng.normal(0, sigma, x.shape)
        x = np.clip(x, 0, 1)
        record |= {"photons": peak, "noise": sigma}
    if "night" not in off:
        rng = slow("night")
        dark = bool(rng.random() < cam.night)
        if dark:
            grey = np.clip(x.mean(-1, keepdims=True), 0, 1) ** 0.5 * float(rng.uniform(0.7, 1.1))
            x = np.repeat(np.clip(grey, 0, 1), 3, -1)
        record["night"] = dark
    if "weather" not in off:
        rng = slow("weather")
        x, record["weather"] = _weather(x, q, cam.weather, rng, rng if lasting is None else stream("weather"))
    if "balance" not in off:
        rng = slow("balance")
        gains = np.exp(rng.normal(0, 0.08, 3) * (0.3 + 0.7 * q)) * np.exp(
            rng.normal(0, 0.15) * (0.3 + 0.7 * q)
        )
        x = np.clip(x * gains, 0, 1)
        record["gains"] = [float(g) for g in gains]
    if "jpeg" not in off:
        quality = round(95 - 75 * q * _within(stream("jpeg"), cam.compression))
        x = jpeg((x * 255 + 0.5).astype(np.uint8), quality) / 255
        record["jpeg"] = quality
    if "ghost" not in off:
        rng = stream("ghost")
        ghost = bool(rng.random() < cam.ghost)
        if ghost:
            shift = int(rng.integers(1, max(2, round(4 * unit * small[1] / cols)) + 1))
            moved = np.roll(x, shift, 1)
            x = x.copy()
            x[::2] = 0.6 * x[::2] + 0.4 * moved[::2]
        record["ghost"] = ghost
    if small != (rows, cols):
        kernel_name = str(stream("upsample").choice(["nearest", "bilinear", "bicubic"]))
        x = upsample(x, rows, cols, kernel_name)
        record["upsample"] = kernel_name
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8), record


def _within(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(rng.uniform(*bounds))


def _weather(
    x: Array, q: float, share: float, rng: np.random.Generator, moment: np.random.Generator
) -> tuple[Array, str]:
    """Snow streaks or fog x t + (1 - t) haze with t = 1 - .5 q, in a share of the pictures.

    ``rng`` draws the weather, ``moment`` where the flakes are.
    """
    if rng.random() >= share or q == 0:
        return x, "clear"
    if rng.random() < 0.5:
        t = 1 - 0.5 * q
        return x * t + (1 - t) * float(rng.uniform(0.7, 0.9)), "fog"
    rows, cols = x.shape[:2]
    flakes = np.zeros((rows, cols))
    count = moment.poisson(0.006 * q * rows * cols)
    down, across = moment.integers(0, rows, count), moment.integers(0, cols, count)
    flakes[down, across] = moment.uniform(0.4, 1.0, count)
    fall = motion_kernel(1 + 4 * moment.random(), moment.uniform(1.0, 2.1))
    streak = convolve(flakes, fall, mode="constant")
    cover = np.clip(streak * 1.6, 0, 0.9)[..., None]
    return x * (1 - cover) + cover * 0.95, "snow"


def laplacian_variance(image: NDArray[np.uint8]) -> float:
    """Sharpness: variance of the Laplacian of the grey picture (0 .. 255)."""
    grey = image.astype(np.float64).mean(-1)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    return float(convolve(grey, kernel, mode="nearest").var())
