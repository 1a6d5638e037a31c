"""``mien bench phycine``: the world of colliding charges beside pymunk; clips simulated, drawn, explained.

pymunk (Chipmunk) has contacts but no charges: as its users do, we add those forces in Python before each
step. Both run the same clips with the same forces, steps and impulses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.bench.speed import entry, interleave, process_peak, ratio
from mien.core.errors import require
from mien.core.seeds import derive
from mien.data.physical import rows_to_tensor
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.model import Phycine
from mien.synth.comphy_set import VIEW
from mien.synth.phys_render import Rendered, render_clip
from mien.synth.phys_world import Objects, PhysWorld

Array = NDArray[Any]
_NO_PUSH = 1e6
"""Overlap below which Chipmunk corrects no positions."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        objects: of a clip.
        frames: of a clip.
        size: pixels a side.
        reference: clips that pymunk simulates.
        clips: that are drawn, and that the batched integrator simulates.
        batch: clips that are held at once where memory is read.
        batches: after which memory is read last; first after one.
        repeats: interleaved runs.
        explained: clips of 17 frames of 48 x 72 pixels that are inferred together.
    """

    objects: int = 5
    frames: int = 30
    size: int = 64
    reference: int = 20
    clips: int = 500
    batch: int = 250
    batches: int = 40
    repeats: int = 5
    explained: int = 8


def bench(plan: Plan | None = None) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Speed and memory of made clips, one process, one thread.

    ``simulate_speedup_over_pymunk``: seconds a clip of pymunk over ours. ``pymunk_difference``: largest
    distance of a place of the two after a third of the frames, world units (later, chaos magnifies rounding).
    ``simulate_clips_per_second``, ``render_clips_per_second``, ``clips_per_second``: simulated, drawn, both.
    ``clips_memory``: peak memory of the process after many batches over that after one.
    ``infer_clips_per_second``: pixels to masses and charges, untrained weights of the small size.

    Args:
        plan: how much; default `Plan`.

    Raises:
        MissingPackageError: no pymunk.
    """
    plan = plan or Plan()
    require("pymunk", extra="dev")
    memory = _memory(plan)  # first: nothing larger has been held yet
    world = PhysWorld(plan.objects, seed=derive(0, "bench", "phycine"))
    clips = world.simulate(plan.clips, plan.frames)
    few = clips.objects[: plan.reference]
    start = clips.x[: plan.reference, 0], clips.v[: plan.reference, 0], few
    runs = {
        "pymunk": lambda: pymunk_places(world, *start, plan.frames),
        "simulate": lambda: world.run(clips.x[:, 0], clips.v[:, 0], clips.objects, plan.frames),
        "render": lambda: render_clip(clips, plan.size),
        "infer": _inference(plan),
    }
    seconds = interleave(runs, plan.repeats, warmup=1)
    counts = {"pymunk": plan.reference, "infer": plan.explained}
    each = {n: s / counts.get(n, plan.clips) for n, s in seconds.items()}
    third = max(plan.frames // 3, 2)
    gap = clips.x[: plan.reference, :third] - pymunk_places(world, *start, third)
    rates = {f"{n}_clips_per_second": float(1 / np.median(each[n])) for n in ("simulate", "render", "infer")}
    return [entry(f"{n}_clip", s) for n, s in each.items()] + memory, {
        "simulate_speedup_over_pymunk": ratio(each["pymunk"], each["simulate"]),
        "pymunk_difference": float(np.linalg.norm(gap, axis=-1).max()),
        **rates,
        "clips_per_second": float(1 / np.median(each["simulate"] + each["render"])),
        "clips_memory": memory[1]["peak_mb"] / memory[0]["peak_mb"],
    }


def _inference(plan: Plan) -> Callable[[], object]:
    """Explains pictures of short clips."""
    clips = PhysWorld(3, seed=derive(0, "bench", "phycine", "infer")).simulate(plan.explained, 17)
    video = rows_to_tensor(render_clip(clips, (48, 72), VIEW).frames)
    model = Phycine(PhycineConfig()).eval()
    return lambda: model.infer(video)


def drawn_batch(plan: Plan, number: int) -> Rendered:
    """Clips of their own seed, simulated and drawn."""
    world = PhysWorld(plan.objects, seed=derive(0, "bench", "phycine", number))
    return render_clip(world.simulate(plan.batch, plan.frames), plan.size)


def _batches(plan: Plan, count: int) -> None:
    for number in range(count):
        drawn_batch(plan, number)


def _memory(plan: Plan) -> list[dict[str, Any]]:
    """Peaks after one batch and after many: they stay the same when nothing is kept."""
    out = []
    for count in (1, plan.batches):
        seconds = interleave({"batches": partial(_batches, plan, count)}, 1, warmup=0)["batches"]
        out.append(entry(f"clips_{count * plan.batch}", seconds, process_peak()))
    return out


def pymunk_places(world: PhysWorld, x: Array, v: Array, objects: Objects, frames: int) -> Array:
    """(B, T, N, 2) places by pymunk: the same forces, step and order as `PhysWorld.run`.

    O(B T substeps N^2), in Python.

    Args:
        world: the laws.
        x: (B, N, 2).
        v: (B, N, 2).
        objects: of the same B, N.
        frames: T, the start among them.

    Raises:
        MissingPackageError: no pymunk.
    """
    pymunk = require("pymunk", extra="dev")
    out = np.empty((len(x), frames, *x.shape[1:]))
    for b in range(len(x)):
        space = pymunk.Space()
        space.collision_slop = _NO_PUSH
        bodies = []
        for i in range(x.shape[1]):
            body = pymunk.Body(float(objects.mass[b, i]), math.inf)
            body.position, body.velocity = tuple(map(float, x[b, i])), tuple(map(float, v[b, i]))
            disc = pymunk.Circle(body, float(objects.radius[b, i]))
            disc.elasticity = math.sqrt(world.restitution)  # Chipmunk multiplies the two
            space.add(body, disc)
            bodies.append(body)
        charges = [float(q) for q in objects.charge[b]]
        out[b, 0] = x[b]
        for t in range(1, frames):
            for _ in range(world.substeps):
                _push(world, bodies, charges)
                space.step(world.dt / world.substeps)
            out[b, t] = [body.position for body in bodies]
    return out


def _push(world: PhysWorld, bodies: list[Any], charges: list[float]) -> None:
    """Forces of one step: v += h (F / m - drag v), each pair once."""
    h, soft, places = world.dt / world.substeps, world.softening**2, [b.position for b in bodies]
    force = [[0.0, 0.0] for _ in bodies]
    charged = [i for i, q in enumerate(charges) if q]
    for a, i in enumerate(charged):
        for j in charged[a + 1 :]:
            dx, dy = places[i][0] - places[j][0], places[i][1] - places[j][1]
            f = world.strength * charges[i] * charges[j] / (dx * dx + dy * dy + soft) ** 1.5
            force[i][0] += f * dx
            force[i][1] += f * dy
            force[j][0] -= f * dx
            force[j][1] -= f * dy
    for body, (fx, fy) in zip(bodies, force, strict=True):
        if fx or fy or world.drag:
            vx, vy = body.velocity
            body.velocity = (
                vx + h * (fx / body.mass - world.drag * vx),
                vy + h * (fy / body.mass - world.drag * vy),
            )
