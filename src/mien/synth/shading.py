"""Shading of skin, eyes, cloth and strands: lists of visible points in, linear radiance out.

Every kernel is one pass over the points it is given: O(points x (lobes + shadow maps)).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mien.synth.light import Light, Shadows, fibonacci, lit
from mien.synth.noise import noise, smoothstep

Array = NDArray[np.float32]
Index = NDArray[np.int32]


def pack_light(light: Light) -> Array:
    """Rows for the kernels: [top, bottom, 0], [key, colour, 0], then [direction, colour, s] of each lobe."""
    rows = [[*light.top, *light.bottom, 0.0], [*light.key, *light.color, 0.0]]
    rows += [[*d, *c, s] for d, c, s in light.lobes]
    return np.array(rows, np.float32)


def environment(light: Light, rows: int = 16) -> Array:
    """(rows, 2 rows, 3): light of the sky on a matt surface of each direction (latitude, longitude)."""
    k = fibonacci(256)
    sky = light.sky(k)
    theta = (np.arange(rows) + 0.5) / rows * np.pi
    phi = (np.arange(2 * rows) + 0.5) / rows * np.pi
    y = np.repeat(np.cos(theta), 2 * rows)
    r = np.repeat(np.sin(theta), 2 * rows)
    around = np.tile(phi, rows)
    d = np.stack([r * np.sin(around), y, r * np.cos(around)], 1)
    weight = np.maximum(d @ k.T, 0) * (4 / len(k))
    return (weight @ sky).reshape(rows, 2 * rows, 3).astype(np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _env(table: Array, x: float, y: float, z: float) -> tuple[float, float, float]:
    rows = table.shape[0]
    i = min(rows - 1, max(0, int(np.arccos(min(1.0, max(-1.0, y))) / np.pi * rows)))
    phi = np.arctan2(x, z)
    j = int((phi if phi >= 0 else phi + 2 * np.pi) / np.pi * rows)
    j = min(2 * rows - 1, max(0, j))
    return float(table[i, j, 0]), float(table[i, j, 1]), float(table[i, j, 2])


@njit(cache=True)  # type: ignore[untyped-decorator]
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


@njit(cache=True)  # type: ignore[untyped-decorator]
def gather(faces: Index, face: Index, bary: Array, values: Array) -> Array:
    """Interpolates per-vertex values (V, C) at points: face (N,), bary (N, 2) -> (N, C)."""
    out = np.empty((len(face), values.shape[1]), np.float32)
    for n in range(len(face)):
        a, b, c = faces[face[n]]
        w1, w2 = bary[n, 0], bary[n, 1]
        w0 = 1 - w1 - w2
        for k in range(values.shape[1]):
            out[n, k] = w0 * values[a, k] + w1 * values[b, k] + w2 * values[c, k]
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def vertex_normals(points: Array, faces: Index) -> Array:
    """Area-weighted unit normals (V, 3) of counter-clockwise faces. O(V + T)."""
    out = np.zeros_like(points)
    for t in range(len(faces)):
        a, b, c = faces[t]
        ux, uy, uz = points[b] - points[a]
        vx, vy, vz = points[c] - points[a]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            out[v, 0] += nx
            out[v, 1] += ny
            out[v, 2] += nz
    for v in range(len(out)):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + 1e-12
        out[v] /= length
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
def _ggx(nh: float, nv: float, nl: float, rough: float) -> float:
    a = rough * rough
    a2 = a * a
    d = a2 / (np.pi * (nh * nh * (a2 - 1) + 1) ** 2)
    k = a / 2
    g = 1 / ((nv * (1 - k) + k) * (nl * (1 - k) + k))
    return d * g / 4


@njit(cache=True)  # type: ignore[untyped-decorator]
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
    irradiance, specular = np.empty_like(position), np.zeros_like(position)
    wraps = (0.28, 0.10, 0.06)
    lx, ly, lz = light[1, 0], light[1, 1], light[1, 2]
    for n in range(len(position)):
        x, y, z = position[n]
        nx, ny, nz = normal[n]
        nl = nx * lx + ny * ly + nz * lz
        share = 0.0
        if nl > -0.3:
            share = lit(x + 0.02 * nx, y + 0.02 * ny, z + 0.02 * nz, mesh, hair, axes, centre, half, 0.03)
        for c in range(3):
            w = wraps[c]
            diffuse = max(0.0, (nl + w) / (1 + w) ** 1.6)
            irradiance[n, c] = sky[n, c] + light[1, 3 + c] * diffuse * share
        vx, vy, vz = eye[0] - x, eye[1] - y, eye[2] - z
        length = np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx / length, vy / length, vz / length
        nv = max(0.05, nx * vx + ny * vy + nz * vz)
        if nl > 0 and share > 0:
            hx, hy, hz = vx + lx, vy + ly, vz + lz
            length = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
            nh = max(0.0, (nx * hx + ny * hy + nz * hz) / length)
            vh = max(0.0, (vx * hx + vy * hy + vz * hz) / length)
            fresnel = 0.028 + 0.972 * (1 - vh) ** 5
            r = rough[n]
            lobe = 0.75 * _ggx(nh, nv, nl, r) + 0.25 * _ggx(nh, nv, nl, 0.62 * r)
            for c in range(3):
                specular[n, c] += light[1, 3 + c] * lobe * fresnel * nl * share * gloss[n] * np.pi
        mx, my, mz = 2 * nv * nx - vx, 2 * nv * ny - vy, 2 * nv * nz - vz
        sr, sg, sb = _sky(light, mx, my, mz)
        f = 0.028 + (max(1 - rough[n], 0.028) - 0.028) * (1 - nv) ** 5
        f *= max(0.0, ambient[n]) ** 1.5 * 0.75 * gloss[n]
        specular[n, 0] += f * sr
        specular[n, 1] += f * sg
        specular[n, 2] += f * sb
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


@njit(cache=True)  # type: ignore[untyped-decorator]
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
        x, y, z = position[n]
        nx, ny, nz = normal[n]
        nl = nx * light[1, 0] + ny * light[1, 1] + nz * light[1, 2]
        diffuse = max(0.0, (nl + wrap) / (1 + wrap))
        if diffuse > 0:
            diffuse *= lit(x + 0.03 * nx, y + 0.03 * ny, z + 0.03 * nz, mesh, hair, axes, centre, half, 0.04)
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
        table,
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
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
    table: Array,
) -> tuple[Array, Array]:
    out, outward = np.empty((len(at), 3), np.float32), np.empty((len(at), 3), np.float32)
    lx, ly, lz = light[1, 0], light[1, 1], light[1, 2]
    for n in range(len(at)):
        s = strand[n]
        p = min(int(at[n]), first[s + 1] - 2)
        t = at[n] - p
        x = points[p, 0] * (1 - t) + points[p + 1, 0] * t
        y = points[p, 1] * (1 - t) + points[p + 1, 1] * t
        z = points[p, 2] * (1 - t) + points[p + 1, 2] * t
        tx, ty, tz = points[p + 1] - points[p]
        length = np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9
        tx, ty, tz = tx / length, ty / length, tz / length
        nx, ny, nz = x - middle[0], y - middle[1], z - middle[2]
        dot = nx * tx + ny * ty + nz * tz
        nx, ny, nz = nx - dot * tx, ny - dot * ty, nz - dot * tz
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        nx, ny, nz = nx / length, ny / length, nz / length
        outward[n, 0], outward[n, 1], outward[n, 2] = nx, ny, nz
        vx, vy, vz = eye[0] - x, eye[1] - y, eye[2] - z
        length = np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx / length, vy / length, vz / length
        tl = tx * lx + ty * ly + tz * lz
        tv = tx * vx + ty * vy + tz * vz
        nl = nx * lx + ny * ly + nz * lz
        share = lit(x, y, z, mesh, hair, axes, centre, half, 0.05)
        along = min(1.0, (at[n] - first[s]) / max(1, first[s + 1] - first[s] - 1))
        er, eg, eb = _env(table, nx, ny, nz)
        sky = (er, eg, eb)
        open_ = (0.3 + 0.7 * layer[s]) * (0.55 + 0.45 * along)
        wrap = max(0.0, (nl + 0.35) / 1.35)
        diffuse = np.sqrt(max(0.0, 1 - tl * tl)) * wrap * share
        theta = 0.5 * (np.arcsin(min(1.0, max(-1.0, tl))) + np.arcsin(min(1.0, max(-1.0, tv))))
        a = (theta + 0.06 + shift[s]) / 0.12
        b = (theta - 0.10 + shift[s]) / 0.22
        white = 0.024 * np.exp(-0.5 * a * a) * share * wrap
        tinted = 1.6 * np.exp(-0.5 * b * b) * share * wrap
        if kind[s] == 1 or kind[s] == 2 or kind[s] == 3:
            white *= 0.28
            tinted *= 0.3
        if kind[s] == 4:
            open_ = 0.8
            white *= 3.0
        for c in range(3):
            k = color[s, c]
            own = k * (sky[c] * open_ + light[1, 3 + c] * diffuse)
            out[n, c] = own + light[1, 3 + c] * (white + tinted * k * np.sqrt(k) ** 0.5)
    return out, outward
