"""The visible surfaces of a head: which cloth shows, then shading in one pass over the samples.

Per-vertex values come in two tables: what moves (position, normal, sky light: 9 columns) and what stays with
the person (`STILL`: canonical position, sky visibility, pigments, masks, paint).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.synth.jit import njit
from mien.synth.noise import fbm, gradient, noise, smoothstep
from mien.synth.shading import matt_point, skin_point, strand_point
from mien.synth.skin import coat
from mien.synth.strands import BEARD, BROWS, GLASSES

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
Parts = NDArray[np.uint8]
# Columns of the table that stays: canonical x, y, z; visibility of the sky; melanin, haemoglobin, medium
# noise (`skin.broad`); masks of lips, mouth, scalp, brow, beard; paint; darkness of hollows.
STILL = 16
COLLARS = ("crew", "v", "scoop")
VERTEX, COARSE, EVERY = range(3)  # how much of the paint is computed for each sample
_TEETH, _TONGUE, _SHIRT = 3, 4, 5
_TONES = np.array([[0.72, 0.66, 0.54], [0.42, 0.14, 0.13]], np.float32)
_PORE = 0.35  # how far pores bend the normal: more looks wet and blotchy


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _weights(screen: Array, a: int, b: int, c: int, px: float, py: float) -> tuple[float, float]:
    """Perspective-correct weights of vertices b, c at a pixel centre."""
    x0, y0, x1, y1, x2, y2 = (
        screen[a, 0],
        screen[a, 1],
        screen[b, 0],
        screen[b, 1],
        screen[c, 0],
        screen[c, 1],
    )
    e1 = (px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)
    e2 = (x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    u0, u1, u2 = (area - e1 - e2) / screen[a, 2], e1 / screen[b, 2], e2 / screen[c, 2]
    s = 1 / (u0 + u1 + u2)
    return u1 * s, u2 * s


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def covers(x: float, y: float, z: float, collar: int) -> bool:
    """Whether cloth covers a canonical point: crew, V or scoop in front, one line at the back."""
    x = abs(x)
    if collar == 1:
        front = min(5.05 + 1.1 * x, 5.42 + 0.42 * x)
    elif collar == 2:
        front = min(5.12 + 0.9 * x * np.sqrt(x), 5.38 + 0.42 * x)
    else:
        front = 5.40 + 0.45 * x
    w = smoothstep(0.5, -0.05, z)
    return bool(y < front * (1 - w) + (5.48 + 0.45 * x) * w)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def dress(
    screen: Array,
    faces: Index,
    first: int,
    canon: Array,
    height: Array,
    collar: int,
    zc: Array,
    idc: Index,
    zbuf: Array,
    ids: Index,
) -> None:
    """Lays the garment over the skin where the collar leaves it; shoulders that poke through give way.

    Args:
        screen: (V, 3) pixel x, y, depth of all vertices.
        faces: (T, 3) of all surfaces.
        first: the garment's first face; its ids count from 0.
        canon: (V, `STILL`) still values, canonical position first.
        height: (T,) mean canonical height of a face.
        collar: index into `COLLARS`.
        zc: (S, S) of the garment.
        idc: (S, S) of the garment.
        zbuf: (S, S) of the skin, written.
        ids: (S, S), written with faces of the garment.
    """
    rows, cols = ids.shape
    for i in range(rows):
        for j in range(cols):
            t = idc[i, j]
            if t < 0:
                continue
            t += first
            below = zbuf[i, j]
            wins = zc[i, j] < below
            if not wins:
                skin = ids[i, j]
                wins = skin >= 0 and height[skin] < 5.75 and zc[i, j] < below * np.float32(0.88)
            if not wins:
                continue
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            w1, w2 = _weights(screen, a, b, c, j + 0.5, i + 0.5)
            w0 = 1 - w1 - w2
            x = w0 * canon[a, 0] + w1 * canon[b, 0] + w2 * canon[c, 0]
            y = w0 * canon[a, 1] + w1 * canon[b, 1] + w2 * canon[c, 1]
            z = w0 * canon[a, 2] + w1 * canon[b, 2] + w2 * canon[c, 2]
            if covers(x, y, z, collar):
                zbuf[i, j] = min(zc[i, j], below)
                ids[i, j] = t


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _pores(
    v: Array,
    x: float,
    y: float,
    z: float,
    lips: float,
    strength: float,
    age: float,
    fine: bool,
    s: float,
) -> tuple[float, float, float]:
    """Gradient in canonical space by which pores, lines of the lips and wrinkles bend the normal."""
    gx, gy, gz = gradient(v, x * 13 + s, y * 13, z * 13)
    w = strength * 14 * 0.6 * 0.012 * 13 * _PORE
    gx, gy, gz = w * gx, w * gy, w * gz
    if fine:
        ax, ay, az = gradient(v, x * 30 + s, y * 30, z * 30)
        w = strength * 14 * 0.9 * 0.006 * 30 * _PORE
        gx, gy, gz = gx + w * ax, gy + w * ay, gz + w * az
    if lips > 0.1 and fine:
        step = 0.006
        q = noise(v, x * 34, y * 8.5, z * 13.6)
        gx += 0.55 * lips * strength * 14 * (noise(v, (x + step) * 34, y * 8.5, z * 13.6) - q)
    if age > 0.55 and z > 0:
        a, b = (y - 7.85) / 0.22, (y - 5.9) / 0.3
        at = np.exp(-a * a) + np.exp(-b * b)
        if at > 0.02:
            step = 0.012
            q = noise(v, x * 3.85, y * 11, z * 3.85)
            w = 9 * (age - 0.55) * at * strength * 2
            gy += w * (noise(v, x * 3.85, (y + step) * 11, z * 3.85) - q)
    return gx, gy, gz


Nine = tuple[float, float, float, float, float, float, float, float, float]


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _interpolate(
    moving: Array, still: Array, a: int, b: int, c: int, v1: float, v2: float, got: Array
) -> None:
    """Both tables at a point of a face."""
    w0, w1, w2 = np.float32(1 - v1 - v2), np.float32(v1), np.float32(v2)
    for q in range(9):
        got[q] = w0 * moving[a, q] + w1 * moving[b, q] + w2 * moving[c, q]
    for q in range(STILL):
        got[9 + q] = w0 * still[a, q] + w1 * still[b, q] + w2 * still[c, q]
    size = np.sqrt(got[3] * got[3] + got[4] * got[4] + got[5] * got[5]) + np.float32(1e-9)
    for q in range(3, 6):
        got[q] /= size


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _skin(
    got: Array,
    level: int,
    vol: Array,
    skin: Array,
    moles: Array,
    beard_hair: Array,
    oil: float,
    mean_sky: Array,
    eye: Array,
    light: Array,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
) -> Nine:
    """Irradiance, specular radiance, albedo of a point of skin from interpolated values."""
    nx, ny, nz, x, y, z = got[3], got[4], got[5], got[9], got[10], got[11]
    open_, lips, mouth = got[12], got[16], got[17]
    if level == VERTEX:
        red, green, blue = got[21], got[22], got[23]
        fx, fy, fz = nx, ny, nz
    else:
        age, seed = skin[2], skin[13]
        md, grain = got[15], 0.0
        if level == EVERY:
            md = fbm(vol, x, y, z, 5.0, 3, seed + 3)
            hi = fbm(vol, x, y, z, 22.0, 2, seed + 7)
            if got[20] > 0:
                grain = noise(vol, x * 95 + seed, y * 95, z * 95 + seed)
        else:
            hi = 0.9 * noise(vol, x * 22 + seed + 7, y * 22 + 1.7 * seed, z * 22 + 2.3 * seed)
        red, green, blue = coat(
            vol, x, y, z, got[13], got[14], md, hi, grain, lips, mouth, got[18], got[19], got[20], skin,
            moles, beard_hair,
        )  # fmt: skip
        strength = 0.007 + 0.018 * max(0.0, age - 0.5)
        gx, gy, gz = _pores(vol, x, y, z, lips, strength, age, level == EVERY, seed)
        fx, fy, fz = nx - gx, ny - gy, nz - gz
        inverse = 1 / (np.sqrt(fx * fx + fy * fy + fz * fz) + 1e-9)
        fx, fy, fz = fx * inverse, fy * inverse, fz * inverse
    rough = 0.50 - 0.12 * lips
    if z > 1.0 and abs(x) < 0.5:
        u = x / 0.18
        rough -= 0.05 * oil * np.exp(-u * u)
    ir, ig, ib, sr, sg, sb = skin_point(
        got[0], got[1], got[2], fx, fy, fz, open_, rough, oil * (1 - 0.8 * mouth), eye, light, mesh, hair,
        axes, centre, half,
    )  # fmt: skip
    ir, ig, ib = got[6] + ir, got[7] + ig, got[8] + ib
    if abs(x) < 0.27 and 6.70 < y < 7.0 and z > 1.15:
        dark = 1 - 0.88 * smoothstep(0.22, 0.03, open_)  # nostrils
        ir, ig, ib = ir * dark, ig * dark, ib * dark
    extra = float(got[24])
    if mouth > 0:
        inner = _depth_in(z)
        ir += mouth * (inner * (0.55 * mean_sky[0] + 0.6 * ir) - ir)
        ig += mouth * (inner * (0.55 * mean_sky[1] + 0.6 * ig) - ig)
        ib += mouth * (inner * (0.55 * mean_sky[2] + 0.6 * ib) - ib)
        extra += mouth * (1 - extra)
    return ir * extra, ig * extra, ib * extra, sr, sg, sb, red, green, blue


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _depth_in(z: float) -> float:
    """Light in the open mouth by canonical depth."""
    return float(0.1 + 0.9 * min(1.0, max(0.0, (z - 0.80) / 0.5)) ** 1.2)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _one_piece(
    i: int, j: int, k: int, ids: Index, zbuf: Array, strand: Index, clear: NDArray[np.bool_], material: Parts
) -> bool:
    """Whether all samples of a pixel see skin without a step in depth."""
    near, far = zbuf[i, j], zbuf[i, j]
    for y in range(i, i + k):
        for x in range(j, j + k):
            t, s = ids[y, x], strand[y, x]
            if t < 0 or material[t] != 0 or (s >= 0 and not clear[s]):
                return False
            near, far = min(near, zbuf[y, x]), max(far, zbuf[y, x])
    return bool(near > far * 1.004)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def shade_surface(
    ids: Index,
    zbuf: Array,
    strand: Index,
    clear: NDArray[np.bool_],
    screen: Array,
    faces: Index,
    material: Parts,
    moving: Array,
    still: Array,
    level: int,
    blocks: bool,
    vol: Array,
    skin: Array,
    moles: Array,
    beard_hair: Array,
    oil: float,
    mean_sky: Array,
    shirt: Array,
    collar: int,
    stripes: float,
    eye: Array,
    light: Array,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
    k: int,
    radiance: Array,
    under: Array,
    paint: Array,
    part: Parts,
    normal_map: Array,
    albedo_map: Array,
    canon_map: Array,
) -> None:
    """Shades skin, teeth, tongue and cloth; leaves eyeballs to `shading.shade_eyes`. O(samples).

    Args:
        ids: (S, S) faces, -1 none.
        zbuf: (S, S) of -1 / depth.
        strand: (S, S) strands before them, -1 none.
        clear: (strands,) through which the surface shows.
        screen: (V, 3) pixel x, y, depth.
        faces: (T, 3).
        material: (T,).
        moving: (V, 9) position, normal, irradiance of the sky.
        still: (V, `STILL`).
        level: VERTEX, COARSE or EVERY.
        blocks: one evaluation for the samples of a pixel where they all see one piece of skin.
        vol: noise.
        skin: `skin.numbers`.
        moles: (M, 3).
        beard_hair: (3,) colour of hair under the skin.
        oil: gloss of the skin.
        mean_sky: (3,) irradiance of the whole head.
        shirt: (3,) its colour.
        collar: index into `COLLARS`.
        stripes: their strength.
        eye: (3,) camera.
        light: `shading.pack_light`.
        mesh: shadow maps.
        hair: shadow maps.
        axes: of the maps.
        centre: of the maps.
        half: of the maps.
        k: samples a pixel side.
        radiance: (S, S, 3), written; of skin only the specular part unless level is VERTEX.
        under: (4, S, S) irradiance of skin and where it is, written unless level is VERTEX.
        paint: (S, S, 3) albedo of skin, written unless level is VERTEX.
        part: (S, S), written.
        normal_map: (S / k, S / k, 3), written at the middle samples.
        albedo_map: (S / k, S / k, 3), written at the middle samples.
        canon_map: (S / k, S / k, 3), written at the middle samples.
    """
    rows, cols = ids.shape
    pick = k // 2
    got = np.empty(9 + STILL, np.float32)
    for i0 in range(0, rows, k):
        for j0 in range(0, cols, k):
            oi, oj = i0 // k, j0 // k
            whole = blocks and _one_piece(i0, j0, k, ids, zbuf, strand, clear, material)
            if whole:
                t = ids[i0 + pick, j0 + pick]
                a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
                v1, v2 = _weights(screen, a, b, c, j0 + pick + 0.5, i0 + pick + 0.5)
                _interpolate(moving, still, a, b, c, v1, v2, got)
                for q in range(3):
                    normal_map[oi, oj, q], canon_map[oi, oj, q] = got[3 + q], got[9 + q]
                v1, v2 = _weights(screen, a, b, c, j0 + 0.5 * k, i0 + 0.5 * k)
                v1, v2 = min(1.0, max(0.0, v1)), min(1.0, max(0.0, v2))
                if v1 + v2 > 1:
                    v1, v2 = v1 / (v1 + v2), v2 / (v1 + v2)
                _interpolate(moving, still, a, b, c, v1, v2, got)
                ir, ig, ib, sr, sg, sb, red, green, blue = _skin(
                    got, level, vol, skin, moles, beard_hair, oil, mean_sky, eye, light, mesh, hair, axes,
                    centre, half,
                )  # fmt: skip
                albedo_map[oi, oj, 0], albedo_map[oi, oj, 1], albedo_map[oi, oj, 2] = red, green, blue
                for i in range(i0, i0 + k):
                    for j in range(j0, j0 + k):
                        part[i, j] = 1
                        under[0, i, j], under[1, i, j], under[2, i, j], under[3, i, j] = ir, ig, ib, 1
                        paint[i, j, 0], paint[i, j, 1], paint[i, j, 2] = red, green, blue
                        radiance[i, j, 0], radiance[i, j, 1], radiance[i, j, 2] = sr, sg, sb
                continue
            for i in range(i0, i0 + k):
                for j in range(j0, j0 + k):
                    t = ids[i, j]
                    if t < 0 or (strand[i, j] >= 0 and not clear[strand[i, j]]):
                        continue
                    a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
                    v1, v2 = _weights(screen, a, b, c, j + 0.5, i + 0.5)
                    _interpolate(moving, still, a, b, c, v1, v2, got)
                    what = material[t]
                    part[i, j] = what + 1
                    at = i - i0 == pick and j - j0 == pick
                    if at:
                        for q in range(3):
                            normal_map[oi, oj, q], canon_map[oi, oj, q] = got[3 + q], got[9 + q]
                    if what == 0:
                        ir, ig, ib, sr, sg, sb, red, green, blue = _skin(
                            got, level, vol, skin, moles, beard_hair, oil, mean_sky, eye, light, mesh, hair,
                            axes, centre, half,
                        )  # fmt: skip
                        if level == VERTEX:
                            sr, sg, sb = sr + red * ir, sg + green * ig, sb + blue * ib
                        else:
                            under[0, i, j], under[1, i, j], under[2, i, j], under[3, i, j] = ir, ig, ib, 1
                            paint[i, j, 0], paint[i, j, 1], paint[i, j, 2] = red, green, blue
                        radiance[i, j, 0], radiance[i, j, 1], radiance[i, j, 2] = sr, sg, sb
                        if at:
                            albedo_map[oi, oj, 0], albedo_map[oi, oj, 1] = red, green
                            albedo_map[oi, oj, 2] = blue
                    elif what == _TEETH or what == _TONGUE:
                        inner = _depth_in(got[11])
                        for q in range(3):
                            own = _TONES[what - _TEETH, q]
                            radiance[i, j, q] = own * inner * (0.6 * got[6 + q] + 0.55 * mean_sky[q])
                            if at:
                                albedo_map[oi, oj, q] = own
                    elif what == _SHIRT:
                        y = got[10]
                        band = stripes if np.sin(y * 24) > 0.2 else 0.0
                        edge = 0.0 if covers(got[9], y + 0.10, got[11], collar) else 1.0
                        shade = 1 + 0.05 * np.sin(y * 160) - 0.6 * band - 0.22 * edge
                        key = matt_point(
                            got[0], got[1], got[2], got[3], got[4], got[5], 0.15, light, mesh, hair, axes,
                            centre, half,
                        )  # fmt: skip
                        for q in range(3):
                            radiance[i, j, q] = shirt[q] * shade * (got[6 + q] + light[1, 3 + q] * key)
                            if at:
                                albedo_map[oi, oj, q] = shirt[q]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)  # type: ignore[untyped-decorator]
def _blurred(image: Array, taps: Array, out: Array) -> None:
    """Separable blur of (H + 2 r, W + 2 r) with 2 r + 1 taps -> (H, W)."""
    rows, cols = out.shape
    tmp = np.empty((image.shape[0], cols), np.float32)
    for i in range(image.shape[0]):
        for j in range(cols):
            tmp[i, j] = 0
        for t in range(len(taps)):
            w = taps[t]
            for j in range(cols):
                tmp[i, j] += w * image[i, j + t]
    for i in range(rows):
        for j in range(cols):
            out[i, j] = 0
        for t in range(len(taps)):
            w = taps[t]
            for j in range(cols):
                out[i, j] += w * tmp[i + t, j]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def scatter(under: Array, paint: Array, sigmas: Array, radiance: Array) -> None:
    """Adds paint x irradiance blurred within the skin, each colour by its own width. O(samples sigma).

    Args:
        under: (4, S, S) irradiance and mask, 0 outside.
        paint: (S, S, 3) albedo.
        sigmas: (3,) in samples; below 0.3 nothing is blurred.
        radiance: (S, S, 3), written.
    """
    mask = under[3]
    size = len(mask)
    top, bottom, left, right = size, -1, size, -1
    for i in range(size):
        for j in range(size):
            if mask[i, j] > 0:
                top, bottom = min(top, i), max(bottom, i)
                left, right = min(left, j), max(right, j)
    if bottom < 0:
        return
    rows, cols = bottom - top + 1, right - left + 1
    for c in range(3):
        r = int(np.ceil(2.6 * sigmas[c]))
        if sigmas[c] <= 0.3:
            for i in range(top, bottom + 1):
                for j in range(left, right + 1):
                    radiance[i, j, c] += paint[i, j, c] * under[c, i, j]
            continue
        taps = np.empty(2 * r + 1, np.float32)
        for t in range(2 * r + 1):
            taps[t] = np.exp(-0.5 * ((t - r) / sigmas[c]) ** 2)
        taps /= taps.sum()
        padded = np.zeros((2, rows + 2 * r, cols + 2 * r), np.float32)
        padded[0, r : r + rows, r : r + cols] = under[c, top : bottom + 1, left : right + 1]
        padded[1, r : r + rows, r : r + cols] = mask[top : bottom + 1, left : right + 1]
        blurred = np.empty((2, rows, cols), np.float32)
        _blurred(padded[0], taps, blurred[0])
        _blurred(padded[1], taps, blurred[1])
        for i in range(rows):
            for j in range(cols):
                if mask[top + i, left + j] > 0:
                    value = blurred[0, i, j] / max(np.float32(0.05), blurred[1, i, j])
                    radiance[top + i, left + j, c] += paint[top + i, left + j, c] * value


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def lay_strands(
    strand: Index,
    along: Array,
    zbuf: Array,
    ids: Index,
    brow: float,
    beard: float,
    focal: float,
    points: Array,
    first: Index,
    middle: Array,
    color: Array,
    layer: Array,
    shift: Array,
    width: Array,
    kind: Parts,
    eye: Array,
    light: Array,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
    dome: Array,
    k: int,
    radiance: Array,
    part: Parts,
    normal_map: Array,
    albedo_map: Array,
    canon_map: Array,
) -> None:
    """Shades the strands seen; brows and beards let skin through, glasses as far as they miss a sample.

    Args:
        strand: (S, S) index, -1 none.
        along: (S, S) point index + fraction.
        zbuf: (S, S) of -1 / depth.
        ids: (S, S) surface behind, -1 none.
        brow: opacity of brows before skin.
        beard: of beards.
        focal: samples.
        points: as `Strands`.
        first: as `Strands`.
        middle: (3,) of the head.
        color: as `Strands`.
        layer: as `Strands`.
        shift: as `Strands`.
        width: as `Strands`.
        kind: as `Strands`.
        eye: (3,) camera.
        light: `shading.pack_light`.
        mesh: shadow maps.
        hair: shadow maps.
        axes: of the maps.
        centre: of the maps.
        half: of the maps.
        dome: `shading.harmonics`.
        k: samples a pixel side.
        radiance: (S, S, 3), written.
        part: (S, S), written.
        normal_map: (S / k, S / k, 3), written at the middle samples.
        albedo_map: (S / k, S / k, 3), written at the middle samples.
        canon_map: (S / k, S / k, 3), written at the middle samples.
    """
    rows, cols = strand.shape
    pick = k // 2
    for i in range(rows):
        for j in range(cols):
            s = strand[i, j]
            if s < 0:
                continue
            own = kind[s]
            r, g, b, nx, ny, nz = strand_point(
                along[i, j], s, points, first, middle, color, layer, shift, kind, eye, light, mesh, hair,
                axes, centre, half, dome,
            )  # fmt: skip
            share = 1.0
            if ids[i, j] >= 0:
                if own == BROWS:
                    share = brow
                elif own == BEARD:
                    share = beard
                elif own == GLASSES:
                    share = min(1.0, max(0.3, -focal * width[s] * zbuf[i, j]))
            radiance[i, j, 0] += share * (r - radiance[i, j, 0])
            radiance[i, j, 1] += share * (g - radiance[i, j, 1])
            radiance[i, j, 2] += share * (b - radiance[i, j, 2])
            part[i, j] = 7 + own
            if i % k == pick and j % k == pick:
                oi, oj = i // k, j // k
                normal_map[oi, oj, 0], normal_map[oi, oj, 1], normal_map[oi, oj, 2] = nx, ny, nz
                for q in range(3):
                    albedo_map[oi, oj, q] = color[s, q]
                    canon_map[oi, oj, q] = 0
