"""Heads as formulas: a star-shaped surface around the origin, painted by direction, with exact ground truth.

The ray from the origin with unit direction u meets the surface at

    Rad(u) = ((u_x / a)^2 + (u_y / b)^2 + (u_z / c)^2)^(-1/2) + sum_k h_k exp(q_k (u . d_k - 1)),

an ellipsoid with bumps (nose, chin, ears, brows, cheeks, hair); twelve numbers tell people apart, six are the
expression (`mien.synth.star_faces` paints it). Units are those of
`mien.synth.orbit`: a cube of side 1, y up, the face looks along +z, cameras are EG3D's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core.seeds import derive
from mien.render.eg3d import eg3d_rays
from mien.synth.orbit import HeadPictures, blank_pictures, orbit_views
from mien.synth.star_faces import (
    EXPRESSIONS,
    EYE_HEIGHT,
    IDENTITIES,
    MOUTH_HEIGHT,
    landmark_directions,
    named,
    paint,
)

_CHUNK = 16  # pictures drawn at a time
_STEPS, _REFINE, _REACH = 28, 6, 0.5  # _REACH: nothing is farther from the origin
_LIGHT = (-0.45, 0.6, 0.8)


class Surface(NamedTuple):
    """Rad of B heads.

    Attributes:
        axes: (B, 3) a, b, c.
        directions: (B, K, 3) unit d of the bumps.
        sharpness: (K,) q.
        heights: (B, K) h.
    """

    axes: Tensor
    directions: Tensor
    sharpness: Tensor
    heights: Tensor


class StarPicture(NamedTuple):
    """Pictures of B heads.

    Attributes:
        rgb: (B, S, S, 3) in [0, 1], on white.
        mask: (B, S, S) bool, where a head is.
        depth: (B, S, S) distance along the ray; inf = background.
    """

    rgb: Tensor
    mask: Tensor
    depth: Tensor


class StarSet(NamedTuple):
    """The arrays of `mien.data.talking.TalkingHeads`, in its order."""

    images: NDArray[np.uint8]
    depth: NDArray[np.float16]
    cameras: NDArray[np.float32]
    points: NDArray[np.float32]
    tracks: NDArray[np.float32]
    moments: NDArray[np.int32]
    names: tuple[str, ...]
    people: tuple[int, ...]


def surface(identity: Tensor, expression: Tensor) -> Surface:
    """The surface of heads: identities (B, 12), expressions (B, 6).

    Raises:
        ShapeError: other shapes.
    """
    who, how = named(identity, expression)
    one = torch.ones_like(who["width"])
    axes = torch.cat([0.265 + 0.02 * who["width"], 0.35 + 0.02 * who["height"], 0.3 + 0.02 * who["depth"]], 1)
    drop = -1.05 - 0.35 * how["open"]
    bumps: list[tuple[tuple[Tensor | float, Tensor | float, float], float, Tensor]] = [
        ((0, -0.25, 1), 90, 0.055 + 0.015 * who["nose"]),  # tip of the nose
        ((0, -0.05, 1), 90, 0.025 + 0.01 * who["nose"]),  # its bridge
        ((0, drop, 1), 14, 0.02 + 0.012 * who["chin"] + 0.02 * how["open"]),  # chin
        ((0, MOUTH_HEIGHT, 1), 40, 0.012 + 0.03 * how["pucker"] - 0.02 * how["open"]),  # lips
    ]
    for side in (-1, 1):
        bumps += [
            ((side, -0.05, 0.06), 60, 0.05 + 0.02 * who["ears"]),
            ((side * 0.36, 0.42, 1), 50, 0.012 + 0.008 * who["ridge"] + 0.006 * how["brow"]),
            ((side * 0.38, EYE_HEIGHT, 1), 60, -0.018 * one),  # sockets
            ((side * 0.55, -0.4, 1), 25, 0.008 + 0.012 * who["cheeks"] + 0.016 * how["smile"]),
        ]
    bumps.append(((0, 1, -0.6), 2.5, 0.02 * one))  # hair
    directions = torch.stack([torch.cat([one * p for p in d], 1) for d, _, _ in bumps], 1)
    sharpness = one.new_tensor([q for _, q, _ in bumps])
    return Surface(axes, F.normalize(directions, dim=-1), sharpness, torch.cat([h for *_, h in bumps], 1))


def radius(u: Tensor, shape: Surface) -> Tensor:
    """Rad of unit directions (B, M, 3): (B, M). O(B M K)."""
    ellipsoid = (u / shape.axes[:, None]).norm(dim=-1).reciprocal()
    near = torch.exp(shape.sharpness * (u @ shape.directions.transpose(1, 2) - 1))
    return ellipsoid + (near @ shape.heights[..., None])[..., 0]


def outside(points: Tensor, shape: Surface) -> Tensor:
    """f(p) = |p| - Rad(p / |p|), above 0 outside: (B, M, 3) -> (B, M). O(B M K)."""
    far = points.norm(dim=-1)
    return far - radius(points / far.clamp(min=1e-9)[..., None], shape)


def normals(points: Tensor, shape: Surface) -> Tensor:
    """Unit gradient of f at points (B, M, 3) of the surface. O(B M K)."""
    with torch.enable_grad():
        at = points.detach().requires_grad_()
        (slope,) = torch.autograd.grad(outside(at, shape).sum(), at)
    return F.normalize(slope, dim=-1)


def hit_distances(origins: Tensor, directions: Tensor, shape: Surface) -> Tensor:
    """Distance along rays (B, M, 3) to the surface, inf where they miss it: (B, M). O(B M K).

    28 even steps through the ball of radius 1/2 find the first change of sign of f; secant steps follow.
    """
    middle = -(origins * directions).sum(-1)
    half = (_REACH**2 - (origins + middle[..., None] * directions).square().sum(-1)).clamp(min=0).sqrt()
    before = middle - half
    step, f_before = 2 * half / _STEPS, torch.full_like(middle, 1.0)
    low, high = torch.full_like(middle, torch.inf), torch.full_like(middle, torch.inf)
    f_low, f_high = torch.ones_like(middle), -torch.ones_like(middle)

    def value(t: Tensor) -> Tensor:
        return outside(origins + t[..., None] * directions, shape)

    for _ in range(_STEPS):
        after = before + step
        f_after = value(after)
        first = (f_before > 0) & (f_after <= 0) & high.isinf()
        low, high = torch.where(first, before, low), torch.where(first, after, high)
        f_low, f_high = torch.where(first, f_before, f_low), torch.where(first, f_after, f_high)
        before, f_before = after, f_after
    hit = high.isfinite()
    low, high = (torch.where(hit, t, middle) for t in (low, high))
    last, t, f_last, f = low, high, f_low, f_high
    for _ in range(_REFINE):
        change = f - f_last
        straight = t - f * (t - last) / torch.where(change == 0, torch.inf, change)
        last, f_last, t = t, f, straight.clamp(low, high)
        f = value(t)
    return torch.where(hit, t, torch.inf)


def landmarks(identity: Tensor, expression: Tensor) -> Tensor:
    """The 68 points of iBUG on the surface, (B, 68, 3). O(B K).

    Raises:
        ShapeError: other shapes than (B, 12) and (B, 6).
    """
    u = landmark_directions(identity, expression)
    return u * radius(u, surface(identity, expression))[..., None]


def render_stars(
    identity: Tensor,
    expression: Tensor,
    cameras: Tensor,
    size: int,
    *,
    turn: float = 0.0,
    ambient: float = 0.6,
) -> StarPicture:
    """One picture of each of B heads, a ray for each pixel's centre. O(B S^2 K).

    rgb = paint (ambient + (1 - ambient) max(0, n . l)), the light l is still in the world.

    Args:
        identity: (B, 12).
        expression: (B, 6).
        cameras: (B, 25).
        size: pixels a side.
        turn: of the heads, about the vertical, radians; as the yaw of `orbit_cameras`.
        ambient: share of the light that comes from everywhere.

    Raises:
        ShapeError: other shapes.
    """
    shape, rays = surface(identity, expression), eg3d_rays(cameras.to(identity), size)
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    to_head = identity.new_tensor([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])  # rows: axes of the head
    origins, directions = (x.flatten(1, 2) @ to_head.T for x in rays)
    depth = hit_distances(origins, directions, shape)
    mask = depth.isfinite()
    points = origins + depth.nan_to_num(posinf=0.0)[..., None] * directions
    light = to_head @ F.normalize(identity.new_tensor(_LIGHT), dim=0)
    shade = ambient + (1 - ambient) * (normals(points, shape) @ light).clamp(min=0)
    rgb = paint(F.normalize(points, dim=-1), identity, expression) * shade[..., None]
    rgb = torch.where(mask[..., None], rgb, torch.ones_like(rgb))
    return StarPicture(*(x.unflatten(1, (size, size)) for x in (rgb, mask, depth)))


def star_track(seed: int, frames: int, fps: float = 25.0) -> NDArray[np.float32]:
    """(T, 6) expressions of a clip: each number the mean of two sinusoids of 0.2 to 1.2 Hz, cut to its range.

    O(frames).
    """
    rng = np.random.default_rng(derive(seed, "star track"))
    shape = (2, 1, len(EXPRESSIONS))
    hertz, phase = rng.uniform(0.2, 1.2, shape), rng.uniform(0, 2 * np.pi, shape)
    waves = np.sin(2 * np.pi * hertz * np.arange(frames)[:, None] / fps + phase).mean(0)
    low, gain = np.array([[0, -1, -1, 0, 0, -1], [1.2, 1.3, 1.3, 1.5, 1.2, 1.3]])
    shift = np.array([0.2, 0, 0, -0.6, -0.1, 0])  # mostly open eyes, now and then a blink
    return np.clip(gain * waves + shift, low, 1).astype(np.float32)


def star_identity(who: int) -> NDArray[np.float32]:
    """(12,) numbers of a person, even in [-1, 1]."""
    rng = np.random.default_rng(derive(who, "looks"))
    return rng.uniform(-1, 1, len(IDENTITIES)).astype(np.float32)


def star_pictures(
    who: int, expressions: NDArray[np.float32], cameras: NDArray[np.float32], size: int
) -> HeadPictures:
    """Pictures of a person. O(N S^2 K).

    Args:
        who: seed of the person.
        expressions: (N, 6).
        cameras: (N, 25).
        size: S.
    """
    out, identity = blank_pictures(len(cameras), size), torch.from_numpy(star_identity(who))
    for at in range(0, len(cameras), _CHUNK):
        own = slice(at, at + _CHUNK)
        how, seen_from = (torch.from_numpy(np.ascontiguousarray(x[own])) for x in (expressions, cameras))
        same = identity.expand(len(how), -1)
        seen = render_stars(same, how, seen_from, size)
        out.images[own, ..., :3] = (255 * seen.rgb).round().numpy()
        out.images[own, ..., 3] = 255 * seen.mask.numpy()
        out.depth[own] = seen.depth.numpy()
        out.points[own] = landmarks(same, how).numpy()
    return out


def star_set(
    people: int = 200,
    moments: int = 6,
    views: int = 4,
    size: int = 64,
    seed: int = 0,
    *,
    first: int = 0,
    frames: int = 120,
) -> StarSet:
    """Star-shaped heads as `mien.data.talking.TalkingHeads` holds them. O(people moments views S^2 K).

    Args:
        people: how many.
        moments: of each person's clip.
        views: cameras of a moment, the first nearly in front.
        size: pixels a side.
        seed: of everybody.
        first: number of the first person.
        frames: of a clip.
    """
    whole = (people, moments, views)
    images, depth = np.empty((*whole, size, size, 4), np.uint8), np.empty((*whole, size, size), np.float16)
    cameras, points = np.empty((*whole, 25), np.float32), np.empty((people, moments, 68, 3), np.float32)
    tracks, chosen = np.empty((people, frames, len(EXPRESSIONS)), np.float32), np.empty(whole[:2], np.int32)
    who = tuple(derive(seed, "star", first + n) for n in range(people))
    for n, person in enumerate(who):
        rng = np.random.default_rng(derive(person, "views"))
        tracks[n] = star_track(person, frames)
        chosen[n] = np.sort(rng.choice(frames, moments, replace=False))
        cameras[n] = orbit_views(rng, whole[1:])
        seen = star_pictures(person, tracks[n, chosen[n]].repeat(views, 0), cameras[n].reshape(-1, 25), size)
        images[n], depth[n], shown = (x.reshape(*whole[1:], *x.shape[1:]) for x in seen)
        points[n] = shown[:, 0]
    return StarSet(images, depth, cameras, points, tracks, chosen, EXPRESSIONS, who)
