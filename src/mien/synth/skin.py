"""Skin colour from melanin and haemoglobin, painted in canonical space: no seams, follows every expression.

Canonical positions are those of the undeformed base mesh in decimetres (y up, face +z, subject's left +x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mien.synth.noise import fbm, noise, smoothstep, volume

Array = NDArray[np.float32]
LIPS, LIDS, EARS, MOUTH, SCALP, BROW, BEARD = range(7)
BASE = (0.80, 0.60, 0.50)
MELANIN = (0.60, 0.98, 1.28)
HAEMOGLOBIN = (0.10, 0.62, 0.50)


@dataclass(frozen=True)
class Skin:
    """What a person's skin is made of; amounts are dimensionless.

    Attributes:
        melanin: 0.08 (very light) to 2.6 (very dark).
        haemoglobin: 0.08 to 0.6.
        age: 0.5 = 25 years, 1 = old.
        blotch: strength of uneven colour, about 1.
        bags: darkness under the eyes, 0 to 1.
        freckles: amount, 0 for none.
        lips: extra haemoglobin of the lips.
        lips_dark: extra melanin of the lips.
        lid_makeup: extra melanin of the lids.
        african: 0 to 1, darkens the lips.
        moles: (x, y, radius) in dm on the front of the face.
        hair_color: linear RGB that scalp, brow and beard shadow take.
        scalp: how far the scalp takes the colour of hair where hair grows, 0 to 1.
        brow: how far the skin under the brows does.
        beard: shadow of a shaven beard, 0 to 1.
        seed: offset of the noise fields.
    """

    melanin: float
    haemoglobin: float
    age: float = 0.55
    blotch: float = 0.9
    bags: float = 0.3
    freckles: float = 0.0
    lips: float = 0.5
    lips_dark: float = 0.1
    lid_makeup: float = 0.0
    african: float = 0.0
    moles: tuple[tuple[float, float, float], ...] = ()
    hair_color: tuple[float, float, float] = (0.03, 0.018, 0.011)
    scalp: float = 0.88
    brow: float = 0.5
    beard: float = 0.0
    seed: float = 0.0


def skin_color(melanin: float, haemoglobin: float) -> tuple[float, float, float]:
    """Linear RGB albedo: base exp(-m k_m - h k_h)."""
    r, g, b = (
        c * math.exp(-melanin * m - haemoglobin * h)
        for c, m, h in zip(BASE, MELANIN, HAEMOGLOBIN, strict=True)
    )
    return r, g, b


def paint(skin: Skin, points: Array, masks: Array) -> Array:
    """Albedo of skin, linear RGB. O(points), about a microsecond each.

    Args:
        skin: the person.
        points: (N, 3) canonical, dm.
        masks: (N, 7) in [0, 1]: lips, lids, ears, mouth lining, scalp, brow, beard.

    Returns:
        (N, 3).
    """
    s = skin
    numbers = np.array(
        [
            s.melanin,
            s.haemoglobin,
            s.age,
            s.blotch,
            s.bags,
            s.freckles,
            s.lips,
            s.lips_dark,
            s.lid_makeup,
            s.african,
            s.scalp,
            s.brow,
            s.beard,
            s.seed,
        ],
        np.float32,
    )
    moles = np.array(s.moles, np.float32).reshape(-1, 3)
    return _paint(volume(), points, masks, numbers, moles, np.array(s.hair_color, np.float32))  # type: ignore[no-any-return]


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _bump(x: float, y: float, cx: float, cy: float, sx: float, sy: float) -> float:
    a, b = (x - cx) / sx, (y - cy) / sy
    return float(np.exp(-0.5 * (a * a + b * b)))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _paint(v: Array, points: Array, masks: Array, n: Array, moles: Array, hair: Array) -> Array:
    mel, hem, age, blotch, bags, freckles, lips, lips_dark, makeup, african = n[:10]
    scalp_amount, brow_amount, beard_amount, s = n[10:]
    out = np.empty((len(points), 3), np.float32)
    for i in range(len(points)):
        x, y, z = points[i]
        ax = abs(x)
        lo = fbm(v, x, y, z, 1.6, 2, s)
        md = fbm(v, x, y, z, 5.0, 3, s + 3)
        hi = fbm(v, x, y, z, 22.0, 2, s + 7)
        m = mel * (1 + 0.04 * lo * blotch + 0.03 * md * blotch + 0.03 * hi) + 0.01 * md
        h = hem * (1 + 0.13 * lo * blotch + 0.09 * md * blotch + 0.09 * hi)
        if z > 0.2:
            front = smoothstep(0.2, 0.7, z)
            h += front * 0.17 * _bump(ax, y, 0.42, 6.90, 0.20, 0.17) * (0.75 + 0.25 * lo)
            if z > 1.3:
                h += 0.16 * _bump(x, y, 0.0, 6.93, 0.16, 0.12) * smoothstep(1.3, 1.45, z)
            h += front * 0.10 * _bump(x, y, 0.0, 6.28, 0.20, 0.12)
            eye = front * _bump(ax, y, 0.31, 7.30, 0.24, 0.13)
            h += 0.09 * eye
            m += (0.04 + 0.06 * mel) * eye
            bag = front * bags * _bump(ax, y, 0.28, 7.12, 0.17, 0.07)
            m += 0.13 * bag * (0.6 + 0.5 * mel)
            h += 0.08 * bag
            m += front * 0.05 * _bump(x, y, 0.0, 7.85, 0.45, 0.22)
        h += 0.16 * masks[i, 2]
        if age > 0.6:
            spot = noise(v, x * 6.5 + s, y * 6.5 + s, z * 6.5 - s)
            m += 0.35 * (age - 0.6) * 1.6 * smoothstep(1.5, 2.3, spot)
        if freckles > 0 and z > 0.2:
            f = noise(v, x * 19 + s, y * 19, z * 19) + 0.35 * noise(v, x * 6, y * 6 + s, z * 6)
            around = (y - 7.0) / 0.33
            m += 0.38 * freckles * smoothstep(0.75, 1.6, f) * np.exp(-around * around)
        if z > 0.2:
            for k in range(len(moles)):
                d = np.sqrt((x - moles[k, 0]) ** 2 + (y - moles[k, 1]) ** 2)
                m += 1.3 * smoothstep(1.25 * moles[k, 2], 0.75 * moles[k, 2], d)
        lip = smoothstep(0.25, 0.75, masks[i, 0] + 0.06 * md * masks[i, 0])
        h += lip * lips
        m += lip * (0.1 + lips_dark * (african + 0.2))
        h += 0.05 * masks[i, 1]
        m += (0.06 + makeup) * masks[i, 1]
        inside = masks[i, 3]
        scalp = masks[i, 4] * scalp_amount
        brow = masks[i, 5] * brow_amount
        grain = noise(v, x * 95 + s, y * 95, z * 95 + s)
        beard = min(0.85, masks[i, 6] * 0.8 * beard_amount * (1 + 0.15 * grain)) * (1 - lip)
        for c in range(3):
            a = _B[c] * np.exp(-m * _M[c] - h * _H[c])
            if beard > 0:
                a += beard * (0.25 * a + 0.5 * (_GREY[c] + 0.5 * hair[c]) - a)
            a += scalp * (0.8 * hair[c] + 0.1 * a - a)
            a += brow * (0.9 * hair[c] + 0.012 - a)
            out[i, c] = a + inside * (_LINING[c] - a)
    return out


_B = np.array(BASE, np.float32)
_M = np.array(MELANIN, np.float32)
_H = np.array(HAEMOGLOBIN, np.float32)
_GREY = np.array([0.03, 0.029, 0.031], np.float32)
_LINING = np.array([0.30, 0.075, 0.07], np.float32)
