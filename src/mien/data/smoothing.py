"""One-Euro filter: steady where a track rests, quick where it moves.

Source: Casiez, Roussel, Vogel, "1 Euro filter: a simple speed-based low-pass filter", CHI 2012.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, ShapeError

Floats = NDArray[np.floating[Any]]


def smoothing_factor(cutoff: ArrayLike, seconds: float) -> Floats:
    """Alpha = 1 / (1 + tau / dt), tau = 1 / (2 pi f_c): the share of the new value in a low-pass filter.

    Args:
        cutoff: Hz.
        seconds: since the value before.

    >>> float(smoothing_factor(1 / (2 * np.pi), 1.0))
    0.5
    """
    return np.asarray(1 / (1 + 1 / (2 * np.pi * np.asarray(cutoff, np.float64) * seconds)))


@dataclass
class OneEuro:
    """The filter as a stream: one call for each frame, numbers side by side filtered independently.

        dx = (x_t - y_(t-1)) / dt;  s_t = s_(t-1) + alpha(speed_cutoff) (dx - s_(t-1))
        y_t = y_(t-1) + alpha(min_cutoff + beta |s_t|) (x_t - y_(t-1));  y_0 = x_0, s_0 = 0

    Attributes:
        min_cutoff: Hz; lower is smoother at rest.
        beta: Hz a unit of speed (unit of the value a second); higher lags less in motion.
        speed_cutoff: Hz, of the speed.

    Raises:
        ConfigError: a cut-off that is not positive, or a negative beta.
    """

    min_cutoff: float = 1.0
    beta: float = 0.0
    speed_cutoff: float = 1.0
    _value: Floats | None = field(default=None, repr=False)
    _speed: Floats | None = field(default=None, repr=False)
    _time: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        if not (self.min_cutoff > 0 and self.speed_cutoff > 0 and self.beta >= 0):
            raise ConfigError(
                f"One-Euro needs cut-offs above 0 and beta >= 0, got {self.min_cutoff}, {self.speed_cutoff},"
                f" {self.beta}"
            )

    def __call__(self, value: ArrayLike, time: float) -> Floats:
        """The filtered value at a time in seconds, of the shape of the value.

        Raises:
            DataError: a time that does not come after the one before, or values that are no numbers.
            ShapeError: another shape than before.
        """
        x = np.asarray(value, np.float64)
        if not (np.isfinite(x).all() and np.isfinite(time)):
            raise DataError(f"value at {time} s is no number; leave that frame out")
        if self._value is None or self._speed is None:
            self._value, self._speed, self._time = x.copy(), np.zeros_like(x), time
            return self._value.copy()
        if x.shape != self._value.shape:
            raise ShapeError(f"expected values of shape {self._value.shape} as before, got {x.shape}")
        seconds = time - self._time
        if not seconds > 0:
            raise DataError(f"time {time} s does not come after {self._time} s; sort the frames")
        speed = (x - self._value) / seconds
        self._speed = self._speed + smoothing_factor(self.speed_cutoff, seconds) * (speed - self._speed)
        alpha = smoothing_factor(self.min_cutoff + self.beta * np.abs(self._speed), seconds)
        self._value, self._time = self._value + alpha * (x - self._value), time
        return np.asarray(self._value).copy()


def one_euro(
    values: ArrayLike,
    fps: float | None = None,
    *,
    times: ArrayLike | None = None,
    min_cutoff: float = 1.0,
    beta: float = 0.0,
    speed_cutoff: float = 1.0,
) -> Floats:
    """A whole track through `OneEuro`. Unwrap angles first (`numpy.unwrap`). O(T D).

    Args:
        values: (T, ...) one row for each frame.
        fps: frames a second, for even steps; or
        times: (T,) seconds, increasing.
        min_cutoff: see `OneEuro`.
        beta: see `OneEuro`.
        speed_cutoff: see `OneEuro`.

    Returns:
        The shape of ``values``, float64.

    Raises:
        ConfigError: both or neither of fps and times, or a setting out of range.
        ShapeError: no axis of time, or not as many times as rows.
        DataError: times that do not increase, or values that are no numbers.

    >>> one_euro([1.0, 1.0, 1.0], 25).tolist()
    [1.0, 1.0, 1.0]
    """
    track = np.asarray(values, np.float64)
    if track.ndim < 1:
        raise ShapeError("expected values (T, ...), got one number")
    if (fps is None) == (times is None) or (fps is not None and not fps > 0):
        raise ConfigError(f"give fps above 0, or times, and not both; got fps {fps}")
    at = np.arange(len(track)) / fps if fps is not None else np.asarray(times, np.float64)
    if at.shape != track.shape[:1]:
        raise ShapeError(f"expected times ({len(track)},), got {at.shape}")
    smooth = OneEuro(min_cutoff, beta, speed_cutoff)
    out = np.empty_like(track)
    for i, (row, moment) in enumerate(zip(track, at, strict=True)):
        out[i] = smooth(row, float(moment))
    return out
