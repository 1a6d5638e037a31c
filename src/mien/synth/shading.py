"""Shading of skin, eyes, cloth and strands: lists of visible points in, linear radiance out.

Every kernel is one pass over the points it is given: O(points x (lobes + shadow maps)).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mien.synth.jit import njit
from mien.synth.light import Light, Shadows, fibonacci, lit, lit_hair
from mien.synth.noise import noise, smoothstep

Array = NDArray[np.float32]
Index = NDArray[np.int32]
# Strength of the white and of the tinted highlight by kind of strand: hair, brows, lashes, beard, glasses.
WHITE = (0.010, 0.0025, 0.0025, 0.0012, 0.03)
TINTED = (1.6, 0.48, 0.48, 0.25, 1.6)


def pack_light(light: Light) -> Array:
    """Rows for the kernels: [top, bottom, 0], [key, colour, 0], then [direction, colour, s] of each lobe."""
    rows = [[*light.top, *light.bottom, 0.0], [*light.key, *light.color, 0.0]]
    rows += [[*d, *c, s] for d, c, s in light.lobes]
    return np.array(rows, np.float32)


def environment(light: Light, rows: int = 16) -> Array:
    """(rows, 2 rows, 3): light of the sky on a matt surface of each direction (latitude, longitude)."""
    weight = _cosines(rows)[1]
    return (weight @ light.sky(fibonacci(256))).reshape(rows, 2 * rows, 3).astype(np.float32)


@lru_cache(4)
def _cosines(rows: int) -> tuple[Array, Array, Array]:
    """Directions of the cells of `environment`, their weights over the sky, and the fit of `harmonics`."""
    k = fibonacci(256)
    theta = (np.arange(rows) + 0.5) / rows * np.pi
    phi = (np.arange(2 * rows) + 0.5) / rows * np.pi
    y = np.repeat(np.cos(theta), 2 * rows)
    r = np.repeat(np.sin(theta), 2 * rows)
    around = np.tile(phi, rows)
    d = np.stack([r * np.sin(around), y, r * np.cos(around)], 1)
    weight = np.maximum(d @ k.T, 0) * (4 / len(k))
    basis = np.stack(
        [np.ones(len(d)), *d.T, d[:, 0] * d[:, 1], d[:, 1] * d[:, 2], d[:, 0] * d[:, 2],
         d[:, 1] ** 2 - 1 / 3, d[:, 0] ** 2 - d[:, 2] ** 2], 1
    )  # fmt: skip
    area = np.sqrt(r)[:, None]
    fit = np.linalg.pinv(basis * area) * area.T
    return d.astype(np.float32), weight.astype(np.float32), fit.astype(np.float32)


def harmonics(table: Array) -> Array:
    """(9, 3): the table of `environment` as a quadratic form of the direction.

    What a matt surface receives has almost nothing above the second degree, so a few products replace the
    look-up and its steps.
    """
    fit = _cosines(len(table))[2]
    return np.ascontiguousarray(fit @ table.reshape(-1, 3), np.float32)


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _dome(f: Array, c: int, x: float, y: float, z: float) -> float:
    """Value of `harmonics` in a direction."""
    flat = f[0, c] + f[1, c] * x + f[2, c] * y + f[3, c] * z
    bent = f[4, c] * x * y + f[5, c] * y * z + f[6, c] * x * z
    return float(flat + bent + f[7, c] * (y * y - 1 / 3) + f[8, c] * (x * x - z * z))


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _sky(light: Array, x: float, y: float, z: float) -> tuple[float, float, float]:
    t = 0.5 * (y + 1)
    r = t * light[0, 0] + (1 - t) * light[0, 3]
    g = t * light[0, 1] + (1 - t) * light[0, 4]
    b = t * light[0, 2] + (1 - t) * light[0, 5]
    for k in range(2, len(light)):
        s = light[k, 6]
        dot = x * light[k, 0] + y * light[k, 1] + z * light[k, 2]
        w = np.exp((dot - 1) / (0.5 * s * s))
        r += w * light[k, 3]
        g += w * light[k, 4]
        b += w * light[k, 5]
    return r, g, b


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def gather(faces: Index, face: Index, bary: Array, values: Array) -> Array:
    """Interpolates per-vertex values (V, C) at points: face (N,), bary (N, 2) -> (N, C)."""
    out = np.empty((len(face), values.shape[1]), np.float32)
    for n in range(len(face)):
        t = face[n]
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        w1, w2 = bary[n, 0], bary[n, 1]
        w0 = np.float32(1) - w1 - w2
        for k in range(values.shape[1]):
            out[n, k] = w0 * values[a, k] + w1 * values[b, k] + w2 * values[c, k]
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def vertex_normals(points: Array, faces: Index) -> Array:
    """Area-weighted unit normals (V, 3) of counter-clockwise faces. O(V + T)."""
    out = np.zeros_like(points)
    for t in range(len(faces)):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        x, y, z = points[a, 0], points[a, 1], points[a, 2]
        ux, uy, uz = points[b, 0] - x, points[b, 1] - y, points[b, 2] - z
        vx, vy, vz = points[c, 0] - x, points[c, 1] - y, points[c, 2] - z
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            v = faces[t, k]
            out[v, 0] += nx
            out[v, 1] += ny
            out[v, 2] += nz
    for v in range(len(out)):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + 1e-12
        out[v, 0] /= length
        out[v, 1] /= length
        out[v, 2] /= length
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def bump(
    v: Array, canon: Array, normal: Array, lips: Array, strength: float, age: float, fine: bool, s: float
) -> Array:
    """Normals bent by the gradient of pore, lip and wrinkle noise in canonical space (N, 3)."""
    out = np.empty_like(normal)
    for n in range(len(canon)):
        x, y, z = canon[n]
        gx, gy, gz = 0.0, 0.0, 0.0
        for layer in range(2 if fine else 1):
            f, step, w = (13.0, 0.012, 0.6) if layer == 0 else (30.0, 0.006, 0.9)
            w = w * strength * 14 * step
            here = noise(v, x * f + s, y * f, z * f)
            gx += w / step * (noise(v, (x + step) * f + s, y * f, z * f) - here) * step
            gy += w / step * (noise(v, x * f + s, (y + step) * f, z * f) - here) * step
            gz += w / step * (noise(v, x * f + s, y * f, (z + step) * f) - here) * step
        if lips[n] > 0.1:
            step = 0.006
            q = noise(v, x * 34, y * 8.5, z * 13.6)
            gx += 0.55 * lips[n] * strength * 14 * (noise(v, (x + step) * 34, y * 8.5, z * 13.6) - q)
        if age > 0.55 and z > 0:
            at = np.exp(-(((y - 7.85) / 0.22) ** 2)) + np.exp(-(((y - 5.9) / 0.3) ** 2))
            if at > 0.02:
                step = 0.012
                q = noise(v, x * 3.85, y * 11, z * 3.85)
                w = 9 * (age - 0.55) * at * strength * 2
                gy += w * (noise(v, x * 3.85, (y + step) * 11, z * 3.85) - q)
        nx, ny, nz = normal[n, 0] - gx, normal[n, 1] - gy, normal[n, 2] - gz
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        out[n, 0], out[n, 1], out[n, 2] = nx / length, ny / length, nz / length
    return out


def shade_skin(
    position: Array,
    normal: Array,
    sky: Array,
    ambient: Array,
    rough: Array,
    gloss: Array,
    eye: Array,
    light: Light,
    shadows: Shadows,
) -> tuple[Array, Array]:
    """Irradiance and specular radiance of skin.

    Args:
        position: (N, 3) dm.
        normal: (N, 3) unit.
        sky: (N, 3) irradiance of the sky.
        ambient: (N,) visibility of the sky, about 1 in the open.
        rough: (N,) GGX roughness of the main lobe.
        gloss: (N,) strength of the reflection (oil).
        eye: (3,) position of the camera.
        light: key light and sky.
        shadows: of the key light.

    Returns:
        (N, 3), (N, 3).
    """
    return _shade_skin(  # type: ignore[no-any-return]
        position,
        normal,
        sky,
        ambient,
        rough,
        gloss,
        np.asarray(eye, np.float32),
        pack_light(light),
        shadows.mesh,
        shadows.hair,
        shadows.axes,
        shadows.centre,
        shadows.half,
    )


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _fifth(x: float) -> float:
    square = x * x
    return square * square * x


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _ggx(nh: float, nv: float, nl: float, rough: float) -> float:
    a = rough * rough
    a2 = a * a
    d = a2 / (np.pi * (nh * nh * (a2 - 1) + 1) ** 2)
    k = a / 2
    g = 1 / ((nv * (1 - k) + k) * (nl * (1 - k) + k))
    return d * g / 4


_WRAP = (0.28, 0.10, 0.06)  # how far red, green, blue light bleeds over the terminator
_SPREAD = (1 / 1.28**1.6, 1 / 1.10**1.6, 1 / 1.06**1.6)
Six = tuple[float, float, float, float, float, float]


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def skin_point(
    x: float,
    y: float,
    z: float,
    nx: float,
    ny: float,
    nz: float,
    open_: float,
    rough: float,
    gloss: float,
    eye: Array,
    light: Array,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
) -> Six:
    """Irradiance of the key light and specular radiance of one point of skin; see `shade_skin`."""
    lx, ly, lz = light[1, 0], light[1, 1], light[1, 2]
    nl = nx * lx + ny * ly + nz * lz
    share = 0.0
    if nl > -0.28:
        share = lit(x + 0.02 * nx, y + 0.02 * ny, z + 0.02 * nz, mesh, hair, axes, centre, half, 0.03)
    ir = light[1, 3] * share * max(0.0, (nl + _WRAP[0]) * _SPREAD[0])
    ig = light[1, 4] * share * max(0.0, (nl + _WRAP[1]) * _SPREAD[1])
    ib = light[1, 5] * share * max(0.0, (nl + _WRAP[2]) * _SPREAD[2])
    vx, vy, vz = eye[0] - x, eye[1] - y, eye[2] - z
    inverse = 1 / np.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * inverse, vy * inverse, vz * inverse
    nv = max(0.05, nx * vx + ny * vy + nz * vz)
    key = 0.0
    if nl > 0 and share > 0:
        hx, hy, hz = vx + lx, vy + ly, vz + lz
        inverse = 1 / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
        nh = max(0.0, (nx * hx + ny * hy + nz * hz) * inverse)
        vh = max(0.0, (vx * hx + vy * hy + vz * hz) * inverse)
        fresnel = 0.028 + 0.972 * _fifth(1 - vh)
        lobe = 0.75 * _ggx(nh, nv, nl, rough) + 0.25 * _ggx(nh, nv, nl, 0.62 * rough)
        key = lobe * fresnel * nl * share * gloss * np.pi
    sr, sg, sb = _sky(light, 2 * nv * nx - vx, 2 * nv * ny - vy, 2 * nv * nz - vz)
    seen = max(0.0, open_)
    f = 0.028 + (max(1 - rough, 0.028) - 0.028) * _fifth(1 - nv)
    f *= seen * np.sqrt(seen) * 0.75 * gloss
    return (
        ir,
        ig,
        ib,
        light[1, 3] * key + f * sr,
        light[1, 4] * key + f * sg,
        light[1, 5] * key + f * sb,
    )


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _shade_skin(
    position: Array,
    normal: Array,
    sky: Array,
    ambient: Array,
    rough: Array,
    gloss: Array,
    eye: Array,
    light: Array,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
) -> tuple[Array, Array]:
    irradiance, specular = np.empty_like(position), np.empty_like(position)
    for n in range(len(position)):
        r, g, b, specular[n, 0], specular[n, 1], specular[n, 2] = skin_point(
            position[n, 0], position[n, 1], position[n, 2], normal[n, 0], normal[n, 1], normal[n, 2],
            ambient[n], rough[n], gloss[n], eye, light, mesh, hair, axes, centre, half,
        )  # fmt: skip
        irradiance[n, 0], irradiance[n, 1], irradiance[n, 2] = sky[n, 0] + r, sky[n, 1] + g, sky[n, 2] + b
    return irradiance, specular


def shade_matt(
    position: Array, normal: Array, sky: Array, albedo: Array, light: Light, shadows: Shadows, wrap: float
) -> Array:
    """Radiance (N, 3) of cloth, teeth, paper: sky and key light on a matt surface with a soft terminator."""
    return _shade_matt(  # type: ignore[no-any-return]
        position,
        normal,
        sky,
        albedo,
        pack_light(light),
        shadows.mesh,
        shadows.hair,
        shadows.axes,
        shadows.centre,
        shadows.half,
        wrap,
    )


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def matt_point(
    x: float,
    y: float,
    z: float,
    nx: float,
    ny: float,
    nz: float,
    wrap: float,
    light: Array,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
) -> float:
    """Share of the key light that one point of cloth takes; see `shade_matt`."""
    nl = nx * light[1, 0] + ny * light[1, 1] + nz * light[1, 2]
    diffuse = max(0.0, (nl + wrap) / (1 + wrap))
    if diffuse > 0:
        diffuse *= lit(x + 0.03 * nx, y + 0.03 * ny, z + 0.03 * nz, mesh, hair, axes, centre, half, 0.04)
    return diffuse


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _shade_matt(
    position: Array,
    normal: Array,
    sky: Array,
    albedo: Array,
    light: Array,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
    wrap: float,
) -> Array:
    out = np.empty_like(position)
    for n in range(len(position)):
        diffuse = matt_point(
            position[n, 0], position[n, 1], position[n, 2], normal[n, 0], normal[n, 1], normal[n, 2],
            wrap, light, mesh, hair, axes, centre, half,
        )  # fmt: skip
        for c in range(3):
            out[n, c] = albedo[n, c] * (sky[n, c] + light[1, 3 + c] * diffuse)
    return out


def shade_eyes(
    q: Array,
    view: Array,
    sky: Array,
    ambient: Array,
    gaze: Array,
    up: Array,
    iris: Array,
    radius: float,
    sclera: float,
    veins: float,
    light: Light,
    volume: Array,
) -> Array:
    """Radiance (N, 3) of an eyeball, analytic.

    Args:
        q: (N, 3) unit normals of the sphere.
        view: (N, 3) unit directions to the camera.
        sky: (N, 3) irradiance.
        ambient: (N,) visibility of the sky: the shadow of the lids.
        gaze: (3,) unit.
        up: (3,) unit, of the head.
        iris: (2, 3) inner and outer colour, linear RGB.
        radius: of the iris, radians.
        sclera: its brightness.
        veins: redness of its corners.
        light: key and sky.
        volume: noise.
    """
    return _shade_eyes(  # type: ignore[no-any-return]
        q,
        view,
        sky,
        ambient,
        np.asarray(gaze, np.float32),
        np.asarray(up, np.float32),
        np.asarray(iris, np.float32),
        radius,
        sclera,
        veins,
        pack_light(light),
        light.radius,
        volume,
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _shade_eyes(
    q: Array,
    view: Array,
    sky: Array,
    ambient: Array,
    gaze: Array,
    up: Array,
    iris: Array,
    radius: float,
    sclera: float,
    veins: float,
    light: Array,
    size: float,
    vol: Array,
) -> Array:
    out = np.empty_like(q)
    sx = up[1] * gaze[2] - up[2] * gaze[1]
    sy = up[2] * gaze[0] - up[0] * gaze[2]
    sz = up[0] * gaze[1] - up[1] * gaze[0]
    white = (0.80 * sclera, 0.74 * sclera, 0.70 * sclera)
    wx, wy, wz = light[1, 0] * 0.3 - 0.45, light[1, 1] * 0.3 + 0.5, 0.75
    length = np.sqrt(wx * wx + wy * wy + wz * wz)
    wx, wy, wz = wx / length, wy / length, wz / length
    for n in range(len(q)):
        x, y, z = q[n]
        dot = min(1.0, max(-1.0, x * gaze[0] + y * gaze[1] + z * gaze[2]))
        a = np.arccos(dot)
        rr = a / radius
        right = x * sx + y * sy + z * sz
        above = x * up[0] + y * up[1] + z * up[2]
        theta = np.arctan2(above, right)
        ct, st = np.cos(theta), np.sin(theta)
        fibre = 0.6 * noise(vol, 4 * ct + 9, 4 * st, rr) + 0.4 * noise(vol, 16 * ct, 16 * st + 5, 2 * rr)
        blend = smoothstep(0.35, 0.8, rr + 0.1 * fibre)
        ring = 1 - 0.75 * smoothstep(0.80, 1.02, rr)
        pupil = smoothstep(0.40, 0.34, rr)
        glow = 0.55 + 0.9 * min(1.0, max(0.0, -above / np.sin(radius)))
        side = abs(right)
        corner = smoothstep(0.35, 0.85, side)
        vein = veins * corner * smoothstep(0.4, 1.4, noise(vol, x * 14, y * 30, z * 14))
        edge = smoothstep(0.93, 1.06, rr)
        shade = min(1.0, max(0.25, 1.5 * ambient[n]))
        nl = max(0.0, x * light[1, 0] + y * light[1, 1] + z * light[1, 2])
        key = 0.75 * (0.25 + 0.75 * nl)
        bend = 0.55 if rr < 1 else 0.0
        cx, cy, cz = (
            x + bend * (x - dot * gaze[0]),
            y + bend * (y - dot * gaze[1]),
            z + bend * (z - dot * gaze[2]),
        )
        length = np.sqrt(cx * cx + cy * cy + cz * cz)
        cx, cy, cz = cx / length, cy / length, cz / length
        nv = cx * view[n, 0] + cy * view[n, 1] + cz * view[n, 2]
        mx, my, mz = 2 * nv * cx - view[n, 0], 2 * nv * cy - view[n, 1], 2 * nv * cz - view[n, 2]
        toward = 1 - (mx * light[1, 0] + my * light[1, 1] + mz * light[1, 2])
        reach = 0.03 + 0.12 * size
        spot = smoothstep(reach * 1.25, reach * 0.75, toward)
        window = smoothstep(0.055, 0.035, 1 - (mx * wx + my * wy + mz * wz))
        sr, sg, sb = _sky(light, mx, my, mz)
        mirror = (sr, sg, sb)
        for c in range(3):
            color = (iris[0, c] + (iris[1, c] - iris[0, c]) * blend) * (1 + 0.22 * fibre) * ring * glow
            color += pupil * (0.004 - color)
            w = white[c] * (1.0 if c == 0 else 1 - 0.10 * corner - 0.25 * vein)
            color += edge * (w - color)
            diffuse = color * (sky[n, c] + light[1, 3 + c] * key)
            extra = 0.55 * spot * light[1, 3 + c] + 0.35 * window * mirror[c] + 0.035 * mirror[c]
            out[n, c] = (diffuse + extra) * shade
    return out


def shade_strands(
    at: Array,
    strand: Index,
    points: Array,
    first: Index,
    middle: Array,
    color: Array,
    layer: Array,
    shift: Array,
    kind: NDArray[np.uint8],
    eye: Array,
    light: Light,
    shadows: Shadows,
    table: Array,
) -> tuple[Array, Array]:
    """Radiance and outward normals (N, 3) of strands: sky by layer, wrapped key light, two highlights.

    Args:
        at: (N,) point index + fraction.
        strand: (N,) strand index.
        points: as `Strands`.
        first: as `Strands`.
        color: as `Strands`.
        layer: as `Strands`.
        shift: as `Strands`.
        kind: as `Strands`.
        middle: (3,) of the head: strands face away from it.
        eye: (3,) camera.
        light: key.
        shadows: of the key.
        table: `environment`.
    """
    return _shade_strands(  # type: ignore[no-any-return]
        at,
        strand,
        points,
        first,
        np.asarray(middle, np.float32),
        color,
        layer,
        shift,
        kind,
        np.asarray(eye, np.float32),
        pack_light(light),
        shadows.mesh,
        shadows.hair,
        shadows.axes,
        shadows.centre,
        shadows.half,
        harmonics(table),
    )


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def strand_point(
    at: float,
    s: int,
    points: Array,
    first: Index,
    middle: Array,
    color: Array,
    layer: Array,
    shift: Array,
    kind: NDArray[np.uint8],
    eye: Array,
    light: Array,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
    dome: Array,
) -> Six:
    """Radiance and outward normal of one point of strand ``s``; see `shade_strands`."""
    p = min(int(at), first[s + 1] - 2)
    t = at - p
    tx, ty, tz = (
        points[p + 1, 0] - points[p, 0],
        points[p + 1, 1] - points[p, 1],
        points[p + 1, 2] - points[p, 2],
    )
    x, y, z = points[p, 0] + t * tx, points[p, 1] + t * ty, points[p, 2] + t * tz
    inverse = 1 / (np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9)
    tx, ty, tz = tx * inverse, ty * inverse, tz * inverse
    nx, ny, nz = x - middle[0], y - middle[1], z - middle[2]
    dot = nx * tx + ny * ty + nz * tz
    nx, ny, nz = nx - dot * tx, ny - dot * ty, nz - dot * tz
    inverse = 1 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
    along = min(1.0, (at - first[s]) / max(1, first[s + 1] - first[s] - 1))
    open_ = (0.3 + 0.7 * layer[s]) * (0.55 + 0.45 * along)
    if kind[s] == 4:
        open_ = 0.8
    nl = nx * light[1, 0] + ny * light[1, 1] + nz * light[1, 2]
    wrap = max(0.0, (nl + 0.35) / 1.35)
    diffuse, white, tinted = 0.0, 0.0, 0.0
    if wrap > 0:
        wrap *= lit_hair(x, y, z, mesh, hair, axes, centre, half, 0.05)
    if wrap > 0:
        vx, vy, vz = eye[0] - x, eye[1] - y, eye[2] - z
        inverse = 1 / np.sqrt(vx * vx + vy * vy + vz * vz)
        tl = min(1.0, max(-1.0, tx * light[1, 0] + ty * light[1, 1] + tz * light[1, 2]))
        tv = min(1.0, max(-1.0, (tx * vx + ty * vy + tz * vz) * inverse))
        diffuse = np.sqrt(1 - tl * tl) * wrap
        theta = 0.5 * (np.arcsin(tl) + np.arcsin(tv))
        a = (theta + 0.06 + shift[s]) / 0.12
        b = (theta - 0.10 + shift[s]) / 0.22
        white = WHITE[kind[s]] * np.exp(-0.5 * a * a) * wrap
        tinted = TINTED[kind[s]] * np.exp(-0.5 * b * b) * wrap
    r = _strand_color(0, color[s, 0], open_, diffuse, white, tinted, light, dome, nx, ny, nz)
    g = _strand_color(1, color[s, 1], open_, diffuse, white, tinted, light, dome, nx, ny, nz)
    b = _strand_color(2, color[s, 2], open_, diffuse, white, tinted, light, dome, nx, ny, nz)
    return r, g, b, nx, ny, nz


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _strand_color(
    c: int,
    k: float,
    open_: float,
    diffuse: float,
    white: float,
    tinted: float,
    light: Array,
    dome: Array,
    nx: float,
    ny: float,
    nz: float,
) -> float:
    sky = max(0.0, _dome(dome, c, nx, ny, nz))
    shine = white + tinted * k * np.sqrt(np.sqrt(k))
    return k * (sky * open_ + light[1, 3 + c] * diffuse) + light[1, 3 + c] * shine


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _shade_strands(
    at: Array,
    strand: Index,
    points: Array,
    first: Index,
    middle: Array,
    color: Array,
    layer: Array,
    shift: Array,
    kind: NDArray[np.uint8],
    eye: Array,
    light: Array,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
    dome: Array,
) -> tuple[Array, Array]:
    out, outward = np.empty((len(at), 3), np.float32), np.empty((len(at), 3), np.float32)
    for n in range(len(at)):
        out[n, 0], out[n, 1], out[n, 2], outward[n, 0], outward[n, 1], outward[n, 2] = strand_point(
            at[n], strand[n], points, first, middle, color, layer, shift, kind, eye, light, mesh, hair, axes,
            centre, half, dome,
        )  # fmt: skip
    return out, outward
