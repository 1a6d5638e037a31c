"""Discs that collide and carry charges, many clips at once: the world behind the physical-concepts sets.

Symplectic Euler with softened Coulomb forces and pair impulses; no walls, positions are never corrected.
Lengths in world units, times in seconds, frames as integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mien.core.errors import ConfigError
from mien.core.seeds import derive, uniform
from mien.synth.jit import njit

Array = NDArray[Any]
COLOURS = ("gray", "red", "blue", "green", "brown", "yellow", "cyan", "purple")
MATERIALS = ("metal", "rubber")
SHAPES = ("sphere", "cylinder", "cube")
"""ComPhy's words; drawn as disc, diamond and square, which all collide as discs."""
_TRIES = 200
_GAP = 0.05  # between objects at the start, world units


@dataclass(frozen=True, eq=False)
class Objects:
    """What N objects of B clips are; nothing of it changes.

    Attributes:
        mass: (B, N).
        charge: (B, N).
        radius: (B, N).
        colour: (B, N) indices into `COLOURS`.
        material: (B, N) into `MATERIALS`.
        shape: (B, N) into `SHAPES`.
    """

    mass: Array
    charge: Array
    radius: Array
    colour: Array
    material: Array
    shape: Array

    def __getitem__(self, clips: Any) -> Objects:
        """Those of some clips: a slice, numbers or a mask of the first axis; copies unless a slice."""
        return Objects(*(getattr(self, f.name)[clips] for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What happened.

    Attributes:
        x: (B, T, N, 2) places; frame 0 is the start.
        v: (B, T, N, 2) velocities.
        objects: what they are.
        hits: (B, T, N, N) bool, symmetric: the two collided in the step from frame t - 1 to t.
        dt: seconds of a frame.
    """

    x: Array
    v: Array
    objects: Objects
    hits: Array
    dt: float

    @property
    def m(self) -> Array:
        """(B, N) masses."""
        return self.objects.mass

    @property
    def q(self) -> Array:
        """(B, N) charges."""
        return self.objects.charge

    @property
    def collisions(self) -> Array:
        """(M, 4) of clip, frame, i < j, by clip and frame. O(B T N^2)."""
        return np.argwhere(np.triu(self.hits, 1))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _advance(x: Any, v: Any, m: Any, q: Any, radius: Any, numbers: Any, substeps: int, hits: Any) -> None:
    """One clip's frame: substeps of forces, motion, impulses. O(substeps N^2)."""
    h, k, eps, drag, restitution = numbers
    n = len(x)
    for _ in range(substeps):
        for i in range(n):
            ax, ay = 0.0, 0.0
            for j in range(n):
                if j != i and q[i] * q[j] != 0:
                    dx, dy = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1]
                    force = k * q[i] * q[j] / (dx * dx + dy * dy + eps * eps) ** 1.5
                    ax, ay = ax + force * dx, ay + force * dy
            v[i, 0] += h * (ax / m[i] - drag * v[i, 0])
            v[i, 1] += h * (ay / m[i] - drag * v[i, 1])
        for i in range(n):
            x[i, 0] += h * v[i, 0]
            x[i, 1] += h * v[i, 1]
        for i in range(n):
            for j in range(i + 1, n):
                nx, ny = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1]
                d = np.sqrt(nx * nx + ny * ny)
                if d >= radius[i] + radius[j] or d == 0:
                    continue
                nx, ny = nx / d, ny / d
                closing = (v[i, 0] - v[j, 0]) * nx + (v[i, 1] - v[j, 1]) * ny
                if closing >= 0:
                    continue
                impulse = -(1 + restitution) * closing / (1 / m[i] + 1 / m[j])
                v[i, 0] += impulse * nx / m[i]
                v[i, 1] += impulse * ny / m[i]
                v[j, 0] -= impulse * nx / m[j]
                v[j, 1] -= impulse * ny / m[j]
                hits[i, j] = hits[j, i] = True


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _simulate(
    x: Any, v: Any, m: Any, q: Any, radius: Any, numbers: Any, substeps: int, xs: Any, vs: Any, hits: Any
) -> None:
    for b in range(len(x)):
        xs[b, 0], vs[b, 0] = x[b], v[b]
        for t in range(1, xs.shape[1]):
            _advance(x[b], v[b], m[b], q[b], radius[b], numbers, substeps, hits[b, t])
            xs[b, t], vs[b, t] = x[b], v[b]


@dataclass(frozen=True)
class PhysWorld:
    """A world's laws, and how its clips begin.

    Attributes:
        n_objects: objects of a clip.
        shapes: that are drawn, of `SHAPES`.
        mass_values: equally often.
        charge_values: equally often.
        dt: seconds of a frame.
        substeps: of a frame.
        softening: eps of the force k q q d / (d^2 + eps^2)^1.5.
        restitution: share of the closing speed that a collision gives back.
        drag: a = -drag v.
        strength: k.
        half: places begin within [-half, half]^2.
        speed: standard deviation of each velocity's components.
        radius: of every object, independent of its mass.
        unique: no two objects of a clip look the same.
        seed: of `simulate`.
    """

    n_objects: int = 4
    shapes: Sequence[str] = SHAPES
    mass_values: Sequence[float] = (1, 5)
    charge_values: Sequence[float] = (-1, 0, 1)
    dt: float = 0.1
    substeps: int = 10
    softening: float = 0.3
    restitution: float = 1.0
    drag: float = 0.0
    strength: float = 1.0
    half: float = 1.6
    speed: float = 0.6
    radius: float = 0.3
    unique: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.n_objects <= 16 or self.substeps < 1 or not self.dt > 0:
            raise ConfigError(
                f"n_objects 1 .. 16, substeps >= 1, dt > 0 are needed; got {self.n_objects},"
                f" {self.substeps}, {self.dt}"
            )
        if not self.softening > 0 or not 0 <= self.restitution <= 1 or self.drag < 0:
            raise ConfigError(
                f"softening > 0, restitution 0 .. 1, drag >= 0 are needed; got {self.softening},"
                f" {self.restitution}, {self.drag}"
            )
        if not self.mass_values or not self.charge_values or min(self.mass_values) <= 0:
            raise ConfigError("mass_values must be above 0, charge_values not empty")
        unknown = [s for s in self.shapes if s not in SHAPES]
        if unknown or not self.shapes:
            raise ConfigError(f"shapes {unknown} are none of {', '.join(SHAPES)}")

    def simulate(self, batch: int, frames: int, first: int = 0) -> Trajectory:
        """Clips ``first`` .. ``first + batch`` of the seed, each the same whatever is drawn beside it.

        O(B T substeps N^2).
        """
        clips = np.arange(first, first + batch)
        objects = self.draw_objects(clips)
        return self.run(*self.draw_start(objects, clips), objects, frames)

    def draw_objects(self, clips: Array) -> Objects:
        """Looks, masses and charges of numbered clips (B,), independent of each other; O(B N)."""
        size = (len(clips), self.n_objects)
        kinds = np.array([SHAPES.index(s) for s in self.shapes])
        count = len(COLOURS) * len(MATERIALS) * len(kinds)
        if self.unique:
            looks = np.argsort(self._uniform(clips, "looks", count), 1)[:, : self.n_objects]
        else:
            looks = (self._uniform(clips, "looks", self.n_objects) * count).astype(int)
        values = [np.asarray(v, float) for v in (self.mass_values, self.charge_values)]
        drawn = [self._uniform(clips, name, self.n_objects) for name in ("mass", "charge")]
        mass, charge = (v[(u * len(v)).astype(int)] for v, u in zip(values, drawn, strict=True))
        return Objects(
            mass,
            charge,
            np.full(size, self.radius),
            looks % len(COLOURS),
            looks // len(COLOURS) % len(MATERIALS),
            kinds[looks // (len(COLOURS) * len(MATERIALS))],
        )

    def draw_start(self, objects: Objects, clips: Array) -> tuple[Array, Array]:
        """Places (B, N, 2), apart from each other, and velocities (B, N, 2) of numbered clips; O(B N^2).

        Raises:
            ConfigError: the objects do not fit.
        """
        batch, n = objects.mass.shape
        x, open_ = np.empty((batch, n, 2)), np.arange(batch)
        for again in range(_TRIES):
            drawn = self._uniform(clips[open_], f"place {again}", 2 * n).reshape(-1, n, 2)
            x[open_] = self.half * (2 * drawn - 1)
            gap = np.linalg.norm(x[open_, :, None] - x[open_, None], axis=-1)
            gap -= objects.radius[open_, :, None] + objects.radius[open_, None]
            gap[:, np.arange(n), np.arange(n)] = np.inf
            open_ = open_[gap.min((1, 2)) < _GAP]
            if not len(open_):
                break
        else:
            raise ConfigError(f"{n} objects of radius {self.radius} do not fit into half={self.half}")
        chance = self._uniform(clips, "velocity", 2 * n).reshape(batch, n, 2)
        return x, self.speed * ndtri(np.clip(chance, 1e-6, 1 - 1e-6))

    def _uniform(self, clips: Array, name: str, count: int) -> Array:
        """(B, count) numbers in [0, 1) of each clip."""
        return uniform(derive(self.seed, "phys_world", name), np.asarray(clips, np.uint64), count).astype(
            float
        )

    def run(self, x: Array, v: Array, objects: Objects, frames: int) -> Trajectory:
        """From a given start: what a counterfactual asks. O(B T substeps N^2).

        Args:
            x: (B, N, 2).
            v: (B, N, 2).
            objects: of the same B, N.
            frames: T, the start among them.

        Raises:
            ConfigError: shapes that do not fit.
        """
        x, v = np.array(x, float), np.array(v, float)
        if x.shape != v.shape or x.shape != (*objects.mass.shape, 2) or frames < 1:
            raise ConfigError(
                f"x and v must be (B, N, 2) for masses {objects.mass.shape} and frames >= 1; got {x.shape},"
                f" {v.shape}, {frames}"
            )
        batch, n = objects.mass.shape
        xs, vs = np.empty((2, batch, frames, n, 2))
        hits = np.zeros((batch, frames, n, n), bool)
        numbers = (self.dt / self.substeps, self.strength, self.softening, self.drag, self.restitution)
        mass, charge, radius = (np.asarray(a, float) for a in (objects.mass, objects.charge, objects.radius))
        _simulate(x, v, mass, charge, radius, tuple(map(float, numbers)), self.substeps, xs, vs, hits)
        return Trajectory(xs, vs, objects, hits, self.dt)


def changed(objects: Objects, clip: int, what: str, item: int, value: float) -> Objects:
    """One clip's objects with one number ("mass", "charge") of one of them changed."""
    one = objects[clip : clip + 1]
    numbers = getattr(one, what).copy()
    numbers[0, item] = value
    return replace(one, **{what: numbers})
