"""Skin colour from melanin and haemoglobin, painted in canonical space: no seams, follows every expression.

Canonical positions are those of the undeformed base mesh in decimetres (y up, face +z, subject's left +x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.synth.jit import njit
from mien.synth.noise import fbm, noise, smoothstep, volume

Array = NDArray[np.float32]
LIPS, LIDS, EARS, MOUTH, SCALP, BROW, BEARD = range(7)
BASE = (0.80, 0.60, 0.50)
MELANIN = (0.60, 0.98, 1.28)
HAEMOGLOBIN = (0.10, 0.62, 0.50)
_B = np.array(BASE, np.float32)
_M = np.array(MELANIN, np.float32)
_H = np.array(HAEMOGLOBIN, np.float32)
_GREY = np.array([0.03, 0.029, 0.031], np.float32)
_LINING = np.array([0.30, 0.075, 0.07], np.float32)


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
    moles = np.array(skin.moles, np.float32).reshape(-1, 3)
    hair = np.array(skin.hair_color, np.float32)
    return _paint(volume(), points, masks, numbers(skin), moles, hair)  # type: ignore[no-any-return]


def numbers(skin: Skin) -> Array:
    """The amounts of a skin as the kernels take them (14,)."""
    s = skin
    return np.array(
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


def broad(skin: Skin, points: Array, masks: Array) -> Array:
    """What of the paint is smooth enough to be interpolated between vertices. O(points).

    Args:
        skin: the person.
        points: (N, 3) canonical, dm.
        masks: (N, 7) as for `paint`.

    Returns:
        (N, 3): melanin and haemoglobin without fine noise, medium noise.
    """
    return _broad(volume(), points, masks, numbers(skin))  # type: ignore[no-any-return]


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _bump(x: float, y: float, cx: float, cy: float, sx: float, sy: float) -> float:
    a, b = (x - cx) / sx, (y - cy) / sy
    return float(np.exp(-0.5 * (a * a + b * b)))


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _regions(
    x: float, y: float, z: float, lo: float, lids: float, ears: float, n: Array
) -> tuple[float, float]:
    """Melanin and haemoglobin by region of the head; lo: slow noise."""
    mel, hem, blotch, bags, makeup = n[0], n[1], n[3], n[4], n[8]
    ax = abs(x)
    m = mel * (1 + 0.04 * lo * blotch)
    h = hem * (1 + 0.13 * lo * blotch)
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
    h += 0.16 * ears + 0.05 * lids
    m += (0.06 + makeup) * lids
    return m, h


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def coat(
    v: Array,
    x: float,
    y: float,
    z: float,
    m: float,
    h: float,
    md: float,
    hi: float,
    grain: float,
    lips: float,
    mouth: float,
    scalp: float,
    brow: float,
    beard: float,
    n: Array,
    moles: Array,
    hair: Array,
) -> tuple[float, float, float]:
    """Linear RGB of one point: fine noise, spots, freckles, moles, lips, hair under the skin.

    Args:
        v: noise.
        x: canonical position.
        y: canonical position.
        z: canonical position.
        m: melanin without fine noise.
        h: haemoglobin without fine noise.
        md: medium noise.
        hi: fine noise.
        grain: noise of a beard's shadow.
        lips: mask.
        mouth: mask.
        scalp: mask.
        brow: mask.
        beard: mask.
        n: `numbers`.
        moles: (M, 3) x, y, radius.
        hair: (3,) linear RGB.
    """
    mel, hem, age, blotch, freckles, s = n[0], n[1], n[2], n[3], n[5], n[13]
    m += mel * (0.03 * md * blotch + 0.03 * hi) + 0.01 * md
    h += hem * (0.09 * md * blotch + 0.09 * hi)
    if age > 0.6:
        spot = noise(v, x * 6.5 + s, y * 6.5 + s, z * 6.5 - s)
        m += 0.35 * (age - 0.6) * 1.6 * smoothstep(1.5, 2.3, spot)
    if z > 0.2:
        if freckles > 0:
            f = noise(v, x * 19 + s, y * 19, z * 19) + 0.35 * noise(v, x * 6, y * 6 + s, z * 6)
            around = (y - 7.0) / 0.33
            m += 0.38 * freckles * smoothstep(0.75, 1.6, f) * np.exp(-around * around)
        for k in range(len(moles)):
            dx, dy, r = x - moles[k, 0], y - moles[k, 1], moles[k, 2]
            far = dx * dx + dy * dy
            if far < 1.5625 * r * r:
                m += 1.3 * smoothstep(1.25 * r, 0.75 * r, np.sqrt(far))
    lip = 0.0
    if lips > 0.1:
        lip = smoothstep(0.25, 0.75, lips + 0.06 * md * lips)
        h += lip * n[6]
        m += lip * (0.1 + n[7] * (n[9] + 0.2))
    shaved = min(0.85, beard * 0.8 * n[12] * (1 + 0.15 * grain)) * (1 - lip)
    scalp, brow = scalp * n[10], brow * n[11]
    r = _coated(0, m, h, shaved, scalp, brow, mouth, hair)
    g = _coated(1, m, h, shaved, scalp, brow, mouth, hair)
    b = _coated(2, m, h, shaved, scalp, brow, mouth, hair)
    return r, g, b


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _coated(
    c: int, m: float, h: float, shaved: float, scalp: float, brow: float, mouth: float, hair: Array
) -> float:
    a = _B[c] * np.exp(-m * _M[c] - h * _H[c])
    if shaved > 0:
        a += shaved * (0.25 * a + 0.5 * (_GREY[c] + 0.5 * hair[c]) - a)
    a += scalp * (0.8 * hair[c] + 0.1 * a - a)
    a += brow * (0.9 * hair[c] + 0.012 - a)
    return a + mouth * (_LINING[c] - a)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _broad(v: Array, points: Array, masks: Array, n: Array) -> Array:
    out = np.empty((len(points), 3), np.float32)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        lo = fbm(v, x, y, z, 1.6, 2, n[13])
        m, h = _regions(x, y, z, lo, masks[i, 1], masks[i, 2], n)
        out[i, 0], out[i, 1] = m, h
        out[i, 2] = fbm(v, x, y, z, 5.0, 3, n[13] + 3)
    return out


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _paint(v: Array, points: Array, masks: Array, n: Array, moles: Array, hair: Array) -> Array:
    s = n[13]
    out = np.empty((len(points), 3), np.float32)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        lo = fbm(v, x, y, z, 1.6, 2, s)
        md = fbm(v, x, y, z, 5.0, 3, s + 3)
        hi = fbm(v, x, y, z, 22.0, 2, s + 7)
        grain = 0.0
        if masks[i, 6] > 0:
            grain = noise(v, x * 95 + s, y * 95, z * 95 + s)
        m, h = _regions(x, y, z, lo, masks[i, 1], masks[i, 2], n)
        q = masks[i]
        out[i, 0], out[i, 1], out[i, 2] = coat(
            v, x, y, z, m, h, md, hi, grain, q[0], q[3], q[4], q[5], q[6], n, moles, hair
        )
    return out
