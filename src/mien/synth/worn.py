"""The surface of a worn mask: where it covers the face and how it is painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.synth.hair import step
from mien.synth.skin import Skin, paint

Array = NDArray[Any]  # of floats


@dataclass(frozen=True)
class Worn:
    """Paint of a mask.

    Attributes:
        skin: what is painted on it.
        tint: factor (3,) on the paint.
        low: darkest tone, a printer's gamut.
        gain: contrast.
        flat: 0 the paint .. 1 its mean tone only.
        tone: (3,) that mean tone.
        gloss: of the surface, 0 .. 1.5.
        rough: roughness of its highlight.
    """

    skin: Skin
    tint: tuple[float, float, float]
    low: float
    gain: float
    flat: float
    tone: tuple[float, float, float]
    gloss: float
    rough: float

    def color(self, canon: Array, masks: Array) -> Array:
        """Albedo (N, 3) at canonical points; around the eye holes a dark rim."""
        painted = self.low + self.gain * paint(self.skin, canon, masks)
        mixed = (1 - self.flat) * painted + self.flat * np.array(self.tone, np.float32)
        rim = 1 - 0.5 * step(1.55, 1.05, _hole(canon))
        return (mixed * np.array(self.tint, np.float32) * rim[:, None]).astype(np.float32)


def _hole(canon: Array) -> Array:
    """Below 1 inside the holes for the eyes."""
    x, y = (np.abs(canon[:, 0]) - 0.31) / 0.20, (canon[:, 1] - 7.285) / 0.115
    return np.sqrt(x * x + y * y)


def worn_region(canon: Array) -> Array:
    """How far a mask covers canonical points (N, 3): 1 on the face, 0 at the eyes, ears, neck."""
    x, y, z = np.abs(canon[:, 0]), canon[:, 1], canon[:, 2]
    face = step(0.30, 0.48, z) * step(6.12, 6.22, y) * step(8.06, 7.96, y) * step(0.72, 0.64, x)
    return np.asarray(face * step(0.95, 1.1, _hole(canon)))
