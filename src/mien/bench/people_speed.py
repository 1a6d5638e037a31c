"""``mien bench people``: pictures of made people, all ground truth included, in CPU seconds of one process.

A person is made once and photographed ten times, as in sets of faces. The kernels that paint skin and shade
skin, cloth and strands are also run against the same formulas in plain NumPy, on the points of one picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mien.bench.speed import entry, interleave, process_peak, ratio
from mien.core.seeds import derive
from mien.synth import face, shading
from mien.synth import skin as skins
from mien.synth.face import Person, detail_for
from mien.synth.head import SHIRT, SKIN
from mien.synth.light import Light, Shadows
from mien.synth.looks import sample_shot
from mien.synth.noise import volume
from mien.synth.portraits import displacement, head_mesh, make_face, sample_actions
from mien.synth.raster import weights
from mien.synth.strands import Strands

Array = NDArray[Any]
Index = NDArray[np.int32]
SIZES = (64, 128, 256)
PICTURES = 10  # of one person
_FEW, _MANY = 5, 40  # persons after which memory is read


def photographs(person: Person, seed: int, size: int, count: int) -> dict[str, Array]:
    """CPU seconds (count,) of each stage of a person's pictures, and of the whole as ``photograph``.

    Args:
        person: who.
        seed: of the pictures.
        size: pixels a side.
        count: pictures.
    """
    seconds: dict[str, list[float]] = {"photograph": [], **{name: [] for name in face.STAGES}}
    for k in range(count):
        began = last = time.process_time()
        one = derive(seed, "nuisance", k)
        moved = displacement(sample_actions(one))
        scene = face.begin(head_mesh(), person, sample_shot(one), size, moved)
        for name, stage in face.STAGES.items():
            stage(scene)
            now = time.process_time()
            seconds[name].append(now - last)
            last = now
        seconds["photograph"].append(last - began)
    return {name: np.array(s) for name, s in seconds.items()}


def _person(seed: int, size: int) -> tuple[Person, float]:
    """A person and the CPU seconds that making it took."""
    began = time.process_time()
    person = make_face(seed, detail_for(size))
    return person, time.process_time() - began


def _memory(size: int, few: int, many: int) -> list[dict[str, Any]]:
    """Peaks after some persons and after many: they stay the same when nothing is kept."""
    entries, made = [], 0
    for count in (few, many):
        seconds = []
        while made < count:
            seed = derive(1, "identity", made)
            person, own = _person(seed, size)
            seconds.append(own + float(photographs(person, seed, size, 2)["photograph"].sum()))
            made += 1
        entries.append(entry(f"persons_{count}", np.array(seconds), process_peak()))
    return entries


class Points(NamedTuple):
    """What the kernels shade in one picture, with the light they shade it by."""

    person: skins.Skin
    canon: Array
    masks: Array
    skin: tuple[Array, ...]
    cloth: tuple[Array, ...]
    strand: tuple[Array, Index]
    strands: Strands
    middle: Array
    eye: Array
    light: Light
    shadows: Shadows


def points(seed: int = 3, size: int = 128) -> Points:
    """Visible points of one picture."""
    head = head_mesh()
    person = make_face(derive(0, "identity", seed), detail_for(size))
    shot = sample_shot(derive(seed, "bench"))
    scene = face.begin(head, person, shot, size, displacement())
    for stage in face.STAGES.values():
        stage(scene)
    assert scene.strands is not None
    assert scene.shadows is not None
    faces, _, _ = head.surfaces

    def seen(part: int) -> Array:
        rows, cols = (a.astype(np.int32) for a in np.nonzero(scene.part == part + 1))
        own = scene.ids[rows, cols]
        masks = np.concatenate([person.masks, np.zeros_like(person.masks)])
        both = np.concatenate([scene.moving, scene.kept.still[:, :4], masks], 1)
        got = shading.gather(faces, own, weights(scene.screen, faces, rows, cols, own), both)
        got[:, 3:6] /= np.linalg.norm(got[:, 3:6], axis=1, keepdims=True)
        return got

    skin, cloth = seen(SKIN), seen(SHIRT)
    rng = np.random.default_rng(seed)
    rough, gloss = rng.uniform(0.3, 0.6, len(skin)), rng.uniform(0.3, 0.9, len(skin))
    columns = [skin[:, :3], skin[:, 3:6], skin[:, 6:9], skin[:, 12], rough, gloss]
    paint = np.full((len(cloth), 3), 0.4)
    hit = scene.strand >= 0
    return Points(
        replace(person.looks.skin, age=0.7, freckles=0.6, beard=0.4),
        np.ascontiguousarray(skin[:, 9:12]),
        np.ascontiguousarray(skin[:, 13:20]),
        tuple(np.ascontiguousarray(c, np.float32) for c in columns),
        tuple(
            np.ascontiguousarray(c, np.float32) for c in (cloth[:, :3], cloth[:, 3:6], cloth[:, 6:9], paint)
        ),
        (scene.along[hit], scene.strand[hit]),
        scene.strands,
        np.asarray(person.neck + np.array([0, 1.6, 0.2]), np.float32),
        scene.camera,
        shot.light,
        scene.shadows,
    )


def shaded(p: Points) -> tuple[Array, ...]:
    """Paint, skin, cloth and strands by the kernels."""
    s = p.strands
    table = shading.environment(p.light)
    at, own = p.strand
    position, normal, sky, ambient, rough, gloss = p.skin
    place, facing, above, paint = p.cloth
    return (
        skins.paint(p.person, p.canon, p.masks),
        *shading.shade_skin(position, normal, sky, ambient, rough, gloss, p.eye, p.light, p.shadows),
        shading.shade_matt(place, facing, above, paint, p.light, p.shadows, 0.15),
        *shading.shade_strands(
            at, own, s.points, s.first, p.middle, s.color, s.layer, s.shift, s.kind, p.eye, p.light,
            p.shadows, table,
        ),
    )  # fmt: skip


def shaded_numpy(p: Points) -> tuple[Array, ...]:
    """The same in plain NumPy, a map of shadow at a time."""
    return (_numpy_paint(p), *_numpy_skin(p), _numpy_cloth(p), *_numpy_strands(p))


def _noise(x: Array, y: Array, z: Array) -> Array:
    v = volume()
    i, j, k = (np.floor(a).astype(int) for a in (x, y, z))
    a, b, c = (t * t * (3 - 2 * t) for t in (x - i, y - j, z - k))
    i0, j0, k0, i1, j1, k1 = (q & 63 for q in (i, j, k, i + 1, j + 1, k + 1))
    x00 = v[i0, j0, k0] * (1 - c) + v[i0, j0, k1] * c
    x01 = v[i0, j1, k0] * (1 - c) + v[i0, j1, k1] * c
    x10 = v[i1, j0, k0] * (1 - c) + v[i1, j0, k1] * c
    x11 = v[i1, j1, k0] * (1 - c) + v[i1, j1, k1] * c
    return np.asarray((x00 * (1 - b) + x01 * b) * (1 - a) + (x10 * (1 - b) + x11 * b) * a)


def _fbm(p: Array, f: float, octaves: int, s: float) -> Array:
    total = np.zeros(len(p))
    for o in range(octaves):
        t, scaled = s + 17.3 * o, p * (f * 2**o)
        total += 0.5**o * _noise(scaled[:, 0] + t, scaled[:, 1] + 1.7 * t, scaled[:, 2] + 2.3 * t)
    return np.asarray(total / np.sqrt(sum(0.25**o for o in range(octaves))))


def _step(a: float, b: float, x: Array) -> Array:
    t = np.clip((x - a) / (b - a), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _spot(x: Array, y: Array, at: tuple[float, float], size: tuple[float, float]) -> Array:
    return np.asarray(np.exp(-0.5 * (((x - at[0]) / size[0]) ** 2 + ((y - at[1]) / size[1]) ** 2)))


def _numpy_paint(p: Points) -> Array:
    """`skin.paint`."""
    s, q = p.person, p.canon.astype(np.float64)
    x, y, z = q.T
    side = np.abs(x)
    lips, lids, ears, mouth, scalp, brow, beard = p.masks.T.astype(np.float64)
    lo, md, hi = _fbm(q, 1.6, 2, s.seed), _fbm(q, 5.0, 3, s.seed + 3), _fbm(q, 22.0, 2, s.seed + 7)
    b, front = s.blotch, _step(0.2, 0.7, z)
    eye = front * _spot(side, y, (0.31, 7.30), (0.24, 0.13))
    bag = front * s.bags * _spot(side, y, (0.28, 7.12), (0.17, 0.07))
    nose = _spot(x, y, (0, 6.93), (0.16, 0.12)) * _step(1.3, 1.45, z)
    m = s.melanin * (1 + 0.04 * lo * b + 0.03 * md * b + 0.03 * hi) + 0.01 * md
    m += (0.04 + 0.06 * s.melanin) * eye + 0.13 * bag * (0.6 + 0.5 * s.melanin)
    m += front * 0.05 * _spot(x, y, (0, 7.85), (0.45, 0.22)) + (0.06 + s.lid_makeup) * lids
    h = s.haemoglobin * (1 + 0.13 * lo * b + 0.09 * md * b + 0.09 * hi)
    h += front * 0.17 * _spot(side, y, (0.42, 6.90), (0.20, 0.17)) * (0.75 + 0.25 * lo) + 0.16 * nose
    h += front * 0.10 * _spot(x, y, (0, 6.28), (0.20, 0.12)) + 0.09 * eye + 0.08 * bag
    h += 0.16 * ears + 0.05 * lids
    if s.age > 0.6:
        spots = _noise(x * 6.5 + s.seed, y * 6.5 + s.seed, z * 6.5 - s.seed)
        m += 0.35 * (s.age - 0.6) * 1.6 * _step(1.5, 2.3, spots)
    if s.freckles > 0:
        f = _noise(x * 19 + s.seed, y * 19, z * 19) + 0.35 * _noise(x * 6, y * 6 + s.seed, z * 6)
        m += 0.38 * s.freckles * _step(0.75, 1.6, f) * np.exp(-(((y - 7.0) / 0.33) ** 2)) * (z > 0.2)
    for cx, cy, r in s.moles:
        m += 1.3 * _step(1.25 * r, 0.75 * r, np.hypot(x - cx, y - cy)) * (z > 0.2)
    lip = _step(0.25, 0.75, lips + 0.06 * md * lips)
    h += lip * s.lips
    m += lip * (0.1 + s.lips_dark * (s.african + 0.2))
    grain = _noise(x * 95 + s.seed, y * 95, z * 95 + s.seed)
    shaved = (np.minimum(0.85, beard * 0.8 * s.beard * (1 + 0.15 * grain)) * (1 - lip))[:, None]
    hair = np.array(s.hair_color)
    a = np.array(skins.BASE) * np.exp(-np.outer(m, skins.MELANIN) - np.outer(h, skins.HAEMOGLOBIN))
    a += shaved * (0.25 * a + 0.5 * (np.array([0.03, 0.029, 0.031]) + 0.5 * hair) - a)
    a += (scalp * s.scalp)[:, None] * (0.8 * hair + 0.1 * a - a)
    a += (brow * s.brow)[:, None] * (0.9 * hair + 0.012 - a)
    return np.asarray(a + mouth[:, None] * (np.array([0.30, 0.075, 0.07]) - a))


def _lit(at: Array, shadows: Shadows, bias: float, smooth: bool) -> Array:
    """`light.lit` or, for strands, `light.lit_hair` at points (N, 3)."""
    n = shadows.mesh.shape[1]
    half, k = np.float32(shadows.half), np.float32(n / (2 * shadows.half))
    x, y, z = (at.astype(np.float32) - shadows.centre).T
    total = np.zeros(len(at), np.float32)
    for mesh, hair, a in zip(shadows.mesh, shadows.hair, shadows.axes, strict=True):
        j = (x * a[0, 0] + y * a[0, 1] + z * a[0, 2] + half) * k
        i = (x * a[1, 0] + y * a[1, 1] + z * a[1, 2] + half) * k
        h = x * a[2, 0] + y * a[2, 1] + z * a[2, 2] + np.float32(bias)
        if smooth:
            i, j = i - np.float32(0.5), j - np.float32(0.5)
        last = n - 1 if smooth else n
        inside = (i >= 0) & (j >= 0) & (i < last) & (j < last)
        i, j = np.where(inside, i, 0), np.where(inside, j, 0)
        top, left = i.astype(np.int32), j.astype(np.int32)
        if not smooth:
            over = np.maximum(mesh[top, left] - h, 0)
            depth = 30 * over + 9 * np.maximum(hair[top, left] - h, 0)
            total += np.where(inside, np.where(over < 0.4, np.exp(-depth), 0), 1)
            continue
        u, v = i - top, j - left
        seen, curl = np.zeros_like(h), np.zeros_like(h)
        for b in (0, 1):
            for c in (0, 1):
                w = (u if b else 1 - u) * (v if c else 1 - v)
                over = np.maximum(mesh[top + b, left + c] - h, 0)
                seen += w * np.where(over < 0.4, np.exp(-30 * over), 0)
                curl += w * np.maximum(hair[top + b, left + c] - h, 0)
        total += np.where(inside, seen * np.exp(-9 * curl), 1)
    return np.asarray(total / np.float32(len(shadows.mesh)))


def _unit(v: Array) -> Array:
    return np.asarray(v / (np.linalg.norm(v, axis=1, keepdims=True) + 1e-9))


def _ggx(nh: Array, nv: Array, nl: Array, rough: Array) -> Array:
    a = rough * rough
    spread = a * a / (np.pi * (nh * nh * (a * a - 1) + 1) ** 2)
    return np.asarray(spread / ((nv * (1 - a / 2) + a / 2) * (nl * (1 - a / 2) + a / 2)) / 4)


def _numpy_skin(p: Points) -> tuple[Array, Array]:
    position, normal, sky, ambient, rough, gloss = p.skin
    key, color = np.array(p.light.key, np.float32), np.array(p.light.color, np.float32)
    nl = normal @ key
    share = np.where(nl > -0.28, _lit(position + 0.02 * normal, p.shadows, 0.03, True), 0)
    wrap = np.array([0.28, 0.10, 0.06])
    diffuse = np.maximum(0, (nl[:, None] + wrap) / (1 + wrap) ** 1.6)
    irradiance = sky + color * diffuse * share[:, None]
    view = _unit(p.eye - position)
    nv = np.maximum(0.05, (normal * view).sum(1))
    middle = _unit(view + key)
    nh, vh = (np.maximum(0, (v * middle).sum(1)) for v in (normal, view))
    up = np.maximum(nl, 0)
    lobe = 0.75 * _ggx(nh, nv, up, rough) + 0.25 * _ggx(nh, nv, up, 0.62 * rough)
    shine = lobe * (0.028 + 0.972 * (1 - vh) ** 5) * up * share * gloss * np.pi
    mirror = p.light.sky(2 * nv[:, None] * normal - view)
    f = 0.028 + (np.maximum(1 - rough, 0.028) - 0.028) * (1 - nv) ** 5
    f = f * np.maximum(0, ambient) ** 1.5 * 0.75 * gloss
    return irradiance, shine[:, None] * color + f[:, None] * mirror


def _numpy_cloth(p: Points) -> Array:
    position, normal, sky, albedo = p.cloth
    key, color = np.array(p.light.key, np.float32), np.array(p.light.color, np.float32)
    diffuse = np.maximum(0, (normal @ key + 0.15) / 1.15)
    diffuse = diffuse * _lit(position + 0.03 * normal, p.shadows, 0.04, True)
    return np.asarray(albedo * (sky + color * diffuse[:, None]))


def _numpy_strands(p: Points) -> tuple[Array, Array]:
    s, (at, own) = p.strands, p.strand
    key, light = np.array(p.light.key, np.float32), np.array(p.light.color, np.float32)
    low = np.minimum(at.astype(np.int32), s.first[own + 1] - 2)
    along = s.points[low + 1] - s.points[low]
    place = s.points[low] + (at.astype(np.float64) - low)[:, None] * along
    tangent = _unit(along.astype(np.float64))
    out = place - p.middle
    out = _unit(out - (out * tangent).sum(1, keepdims=True) * tangent)
    view = _unit(p.eye - place)
    count = np.maximum(1, s.first[own + 1] - s.first[own] - 1)
    part = np.minimum(1, (at - s.first[own]) / count)
    kind = s.kind[own]
    open_ = np.where(kind == 4, 0.8, (0.3 + 0.7 * s.layer[own]) * (0.55 + 0.45 * part))
    wrap = np.maximum(0, (out @ key + 0.35) / 1.35) * _lit(place, p.shadows, 0.05, False)
    tl = np.clip(tangent @ key, -1, 1)
    theta = 0.5 * (np.arcsin(tl) + np.arcsin(np.clip((tangent * view).sum(1), -1, 1))) + s.shift[own]
    white = np.array(shading.WHITE)[kind] * np.exp(-0.5 * ((theta + 0.06) / 0.12) ** 2) * wrap
    tinted = np.array(shading.TINTED)[kind] * np.exp(-0.5 * ((theta - 0.10) / 0.22) ** 2) * wrap
    x, y, z = out.T
    squares = [np.ones(len(x)), x, y, z, x * y, y * z, x * z, y * y - 1 / 3, x * x - z * z]
    sky = np.maximum(0, np.stack(squares, 1) @ shading.harmonics(shading.environment(p.light)))
    color = s.color[own]
    matt = color * (sky * open_[:, None] + light * (np.sqrt(1 - tl * tl) * wrap)[:, None])
    return matt + light * (white[:, None] + tinted[:, None] * color * color**0.25), out


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]  # a core-second is of one core
def bench(
    persons: int = 24,
    repeats: int = 20,
    sizes: tuple[int, ...] = SIZES,
    memory: tuple[int, int] = (_FEW, _MANY),
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Pictures a core-second (persons made beforehand) and the kernels' gain over NumPy.

    Args:
        persons: photographed at each size.
        repeats: of the comparison with NumPy.
        sizes: pixels a side.
        memory: numbers of persons after which the peak is read.
    """
    entries, ratios = [], {}
    for size in sizes:  # compiles everything
        person, _ = _person(derive(0, "identity", 0), size)
        photographs(person, 0, size, 2)
    entries += _memory(min(sizes, key=lambda s: abs(s - 128)), *memory)
    made: dict[int, list[float]] = {size: [] for size in sizes}
    taken: dict[int, list[dict[str, Array]]] = {size: [] for size in sizes}
    for k in range(persons):
        seed = derive(0, "identity", k)
        for size in sizes:
            person, own = _person(seed, size)
            made[size].append(own)
            taken[size].append(photographs(person, seed, size, PICTURES))
    for size in sizes:
        identity = np.array(made[size])
        parts = {name: np.array([t[name].mean() for t in taken[size]]) for name in taken[size][0]}
        entries.append(entry(f"identity_{size}", identity))
        entries.append(entry(f"with_identity_{size}", parts["photograph"] + identity / PICTURES))
        entries += [entry(f"{name}_{size}", seconds) for name, seconds in parts.items()]
        ratios[f"images_per_core_second_{size}"] = float(1 / parts["photograph"].mean())
    one = points()
    runs: dict[str, Callable[[], object]] = {
        "shade_kernels": lambda: shaded(one),
        "shade_numpy": lambda: shaded_numpy(one),
    }
    seconds = interleave(runs, repeats)
    entries += [entry(name, s) for name, s in seconds.items()]
    ratios["speedup_over_numpy"] = ratio(seconds["shade_numpy"], seconds["shade_kernels"])
    return entries, ratios
