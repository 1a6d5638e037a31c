"""`surveil` for batches of small pictures: compiled, and each picture a function of its own seed.

The steps, ranges and profiles are those of `mien.synth.surveillance`; random numbers come from a counter
(`mien.core.seeds.uniform`), so pictures differ from those of `surveil` of the same seed. Two steps are
approximated: photon noise is normal, and JPEG is its transform and quantiser without the file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, ShapeError
from mien.core.seeds import derive, uniform
from mien.synth import surveil_kernels as kernels
from mien.synth.jit import njit
from mien.synth.surveillance import PROFILES, STEPS, CameraProfile

Array = NDArray[Any]  # of floats
_CLEAR, _FOG, _SNOW = 0, 1, 2
_KERNELS = ("nearest", "bilinear", "bicubic")


class SurveilRecords(NamedTuple):
    """What was drawn for B pictures; all (B,) but ``gains``. Steps that are off have their neutral value.

    Attributes:
        seed: of each.
        severity: q in [0, 1].
        motion_px: length of the motion blur; 1: none.
        motion_angle: its direction, radians.
        defocus_px: sigma; 0: none.
        width_px: to which the picture was reduced.
        photons: at full scale; 0: no noise at all.
        noise: standard deviation of the read noise.
        night: gain of the grey picture; 0: day.
        weather: 0 clear, 1 fog, 2 snow.
        haze: grey of the fog.
        gains: (B, 3) of red, green, blue.
        jpeg: quality; 0: none.
        ghost: shift of the double image in pixels; 0: none.
        upsample: 0 nearest, 1 bilinear, 2 bicubic.
    """

    seed: NDArray[np.uint64]
    severity: Array
    motion_px: Array
    motion_angle: Array
    defocus_px: Array
    width_px: NDArray[np.int64]
    photons: Array
    noise: Array
    night: Array
    weather: NDArray[np.int64]
    haze: Array
    gains: Array
    jpeg: NDArray[np.int64]
    ghost: NDArray[np.int64]
    upsample: NDArray[np.int64]


def surveil_batch(
    images: NDArray[np.uint8],
    severities: ArrayLike | tuple[float, float] | None = None,
    seeds: ArrayLike | None = None,
    profile: str | Sequence[str] = "C3",
    off: Collection[str] = (),
) -> tuple[NDArray[np.uint8], SurveilRecords]:
    """Pictures as surveillance cameras deliver them, and what was drawn. O(B H W); .2 ms at 48 pixels.

    Args:
        images: (B, H, W, 3) uint8, at least 8 pixels a side.
        severities: q of all or (B,) of each; a tuple: a range to draw from; None: the profile's range.
        seeds: (B,) whole numbers; a picture is a function of its own. Default 0 .. B - 1.
        profile: C1 .. C7, of all or of each.
        off: names of `STEPS` to leave out; they draw nothing, and all others stay the same.

    Returns:
        The pictures (B, H, W, 3) and their records.

    Raises:
        ShapeError: pictures, severities, seeds or profiles that do not fit.
        ConfigError: an unknown profile or step, or a severity outside [0, 1].
    """
    x = np.ascontiguousarray(images)
    if x.ndim != 4 or x.shape[3] != 3 or x.dtype != np.uint8 or min(x.shape[1:3]) < 8:
        raise ShapeError(f"images: expected (B, H, W, 3) uint8 of 8 pixels a side, got {x.shape} {x.dtype}")
    records = draw_records(x.shape[:3], severities, seeds, profile, off)
    out = np.empty_like(x)
    _degrade(x, records, _streams("noise", records.seed), _streams("weather", records.seed), out)
    return out, records


def draw_records(
    shape: tuple[int, ...],
    severities: ArrayLike | tuple[float, float] | None,
    seeds: ArrayLike | None,
    profile: str | Sequence[str],
    off: Collection[str],
) -> SurveilRecords:
    """What `surveil_batch` draws for pictures (B, H, W): see there. O(B)."""
    if unknown := set(off) - set(STEPS):
        raise ConfigError(f"step {min(unknown)!r} is none of {', '.join(STEPS)}")
    count, _, cols = shape
    keys = np.arange(count, dtype=np.uint64) if seeds is None else np.asarray(seeds).astype(np.uint64)
    if keys.shape != (count,):
        raise ShapeError(f"seeds: expected ({count},), one for each picture, got {keys.shape}")
    draw = _Draw(keys, _profiles(profile, count), frozenset(off))
    q = draw.severity(severities)
    unit = cols / 256

    motion = draw("motion", 2)
    length = 1 + 12 * q * unit * draw.within("blur", motion[:, 0])
    sigma = 2.5 * q * unit * draw.within("blur", draw("defocus", 1)[:, 0])
    width = np.minimum(cols, np.maximum(12, np.round(cols * (1 - 0.85 * q)).astype(np.int64)))
    share = draw.within("noise", draw("noise", 1)[:, 0])
    night = draw("night", 2)
    weather = draw("weather", 3)
    is_bad = (weather[:, 0] < draw.of("weather")) & (q > 0)
    spread = (0.3 + 0.7 * q)[:, None]
    normal = _normals(draw("balance", 8))
    quality = np.round(95 - 75 * q * draw.within("compression", draw("jpeg", 1)[:, 0])).astype(np.int64)
    ghost = draw("ghost", 2)
    most = np.maximum(2, np.round(4 * unit * width / cols)).astype(np.int64)
    is_on = {step: step not in off for step in STEPS}
    zero = np.zeros(count)
    return SurveilRecords(
        keys,
        q,
        length if is_on["motion"] else zero + 1,
        np.pi * motion[:, 1] if is_on["motion"] else zero,
        sigma if is_on["defocus"] else zero,
        width if is_on["downsample"] else np.full(count, cols),
        255 * (1 - 0.9 * q * share) if is_on["noise"] else zero,
        0.02 + 0.08 * q * share if is_on["noise"] else zero,
        np.where(night[:, 0] < draw.of("night"), 0.7 + 0.4 * night[:, 1], 0) if is_on["night"] else zero,
        (is_bad * np.where(weather[:, 1] < 0.5, _FOG, _SNOW) * is_on["weather"]).astype(np.int64),
        0.7 + 0.2 * weather[:, 2],
        np.exp((0.08 * normal[:, :3] + 0.15 * normal[:, 3:]) * spread * is_on["balance"]),
        quality if is_on["jpeg"] else np.zeros(count, np.int64),
        ((ghost[:, 0] < draw.of("ghost")) * (1 + (ghost[:, 1] * most).astype(np.int64))) * is_on["ghost"],
        (draw("upsample", 1)[:, 0] * len(_KERNELS)).astype(np.int64),
    )


class _Draw:
    """Uniform numbers by the name of a step, for each picture's key; ranges of each picture's camera."""

    def __init__(self, keys: NDArray[np.uint64], cameras: list[CameraProfile], off: frozenset[str]) -> None:
        self.keys, self.cameras, self.off = keys, cameras, off

    def __call__(self, step: str, count: int) -> Array:
        return uniform(_stream(step), self.keys, count).astype(np.float64)

    def of(self, name: str) -> Array:
        return np.array([getattr(c, name) for c in self.cameras])

    def within(self, name: str, chance: Array) -> Array:
        low, high = self.of(name).reshape(-1, 2).T
        return np.asarray(low + (high - low) * chance)

    def severity(self, given: ArrayLike | tuple[float, float] | None) -> Array:
        """Severity of each picture."""
        count = len(self.keys)
        chance = self("severity", 1)[:, 0]
        if given is None:
            return self.within("severity", chance)
        if isinstance(given, tuple):
            low, high = given
            q = low + (high - low) * chance
            is_wrong = not 0 <= low <= high <= 1
        else:
            value = np.asarray(given, np.float64)
            if value.shape not in ((), (count,)):
                raise ShapeError(f"severities: expected one or ({count},), got {value.shape}")
            q = np.broadcast_to(value, count).copy()
            is_wrong = not ((q >= 0) & (q <= 1)).all()
        if is_wrong:
            raise ConfigError(f"severities {given} are outside [0, 1]")
        return np.asarray(q)


def _profiles(profile: str | Sequence[str], count: int) -> list[CameraProfile]:
    names = [profile] * count if isinstance(profile, str) else list(profile)
    if unknown := [n for n in names if n not in PROFILES]:
        raise ConfigError(f"camera {unknown[0]!r} is none of {', '.join(PROFILES)}")
    if len(names) != count:
        raise ShapeError(f"profile: expected one or {count}, got {len(names)}")
    return [PROFILES[n] for n in names]


def _stream(step: str) -> int:
    return derive(0, "surveil_batch", step)


def _streams(step: str, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(B,) keys of the streams that the compiled steps draw from."""
    from mien.core.seeds import mix64

    return mix64(mix64(keys) ^ np.uint64(_stream(f"{step} pixels")))


def _normals(chance: Array) -> Array:
    """(B, 2 n) uniform numbers as (B, n) normal ones (Box and Muller)."""
    radius = np.sqrt(-2 * np.log1p(-chance[:, ::2]))
    return np.asarray(radius * np.cos(2 * np.pi * chance[:, 1::2]))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _degrade(
    images: NDArray[np.uint8], r: SurveilRecords, grain: Any, flakes: Any, out: NDArray[np.uint8]
) -> None:
    rows, cols = images.shape[1:3]
    for k in range(len(images)):
        x = images[k] / 255.0
        if r.motion_px[k] > 1:
            x = kernels.convolved(x, kernels.line_kernel(r.motion_px[k], r.motion_angle[k]), True)
        if r.defocus_px[k] > 0.125:  # a narrower one has no second weight
            sigma = r.defocus_px[k]
            x = kernels.weighted(x, kernels.gauss_weights(rows, sigma), kernels.gauss_weights(cols, sigma))
        width = r.width_px[k]
        tall = max(1, int(np.round(rows * width / cols)))
        is_smaller = tall != rows or width != cols
        if is_smaller:
            x = kernels.weighted(x, kernels.area_weights(rows, tall), kernels.area_weights(cols, width))
        if r.photons[k] > 0:
            x = kernels.grainy(x, r.photons[k], r.noise[k], grain[k])
        if r.night[k] > 0:
            for i in range(tall):
                for j in range(width):
                    grey = min(max((x[i, j, 0] + x[i, j, 1] + x[i, j, 2]) / 3, 0.0), 1.0)
                    x[i, j] = min(np.sqrt(grey) * r.night[k], 1.0)
        if r.weather[k] == _FOG:
            t = 1 - 0.5 * r.severity[k]
            x = x * t + (1 - t) * r.haze[k]
        elif r.weather[k] == _SNOW:
            x = kernels.snowy(x, r.severity[k], flakes[k])
        x = np.minimum(x * r.gains[k], 1.0)
        if r.jpeg[k] > 0:
            x = kernels.compressed(x, r.jpeg[k])
        if r.ghost[k] > 0:
            x = _doubled(x, r.ghost[k])
        if is_smaller:
            kind = r.upsample[k]
            down = kernels.enlarge_weights(tall, rows, kind)
            x = kernels.weighted(x, down, kernels.enlarge_weights(width, cols, kind))
        out[k] = (np.minimum(np.maximum(x, 0.0), 1.0) * 255 + 0.5).astype(np.uint8)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _doubled(x: Array, shift: int) -> Array:
    """Every other line with a second image to its right."""
    rows, cols = x.shape[:2]
    out = x.copy()
    for i in range(0, rows, 2):
        for j in range(cols):
            for c in range(3):
                out[i, j, c] = 0.6 * x[i, j, c] + 0.4 * x[i, (j - shift) % cols, c]
    return out
