"""``mien bench car``: one photograph to the GLB of an avatar, stage by stage; octree beside dense grid.

The person is made and unseen in training. The model is the shipped one; where none is shipped, an untrained
net of the same size: its field starts as a sphere as large as a person, which shows nobody, and its
vertices are refined (an untrained hyper-network gives no surface).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mien.bench.speed import entry, interleave, process_peak, ratio, threads
from mien.core.seeds import derive
from mien.core.shipped import shipped
from mien.data.clothed import clothed_in_memory
from mien.methods.car.config import CarConfig
from mien.methods.car.evaluate import Case, case_of
from mien.methods.car.net import CarNet
from mien.methods.car.reconstruct import AvatarReconstructor
from mien.render.iso import Surface
from mien.synth.clothed_set import CapsuleSet, ClothedSet

_WEIGHTS = "car/small"
_SEED = derive(0, "bench", "car")
KINDS = {"clothed": ClothedSet, "debug": CapsuleSet}
RADIUS = 0.4
"""Radius in metres of the untrained field's sphere: its 2 m^2 are those of a person."""
CLOSE = 1e-6
"""Metres: vertices of two surfaces that are this near are the same."""


@dataclass(frozen=True)
class Plan:
    """How large everything is.

    Attributes:
        coarse: cells of the longest side of the grid.
        fine: cells of the refined surface along [-1, 1].
        iters: of the refinement; None = as trained for.
        repeats: interleaved runs of both grids.
        photographs: how often the whole way is timed.
        threads: of torch.
        size: pixels of the photograph of a net that is not shipped.
        kind: of the person: "clothed", or "debug", capsules.
        config: another net than the shipped one.
    """

    coarse: int = 128
    fine: int = 128
    iters: int | None = None
    repeats: int = 3
    photographs: int = 3
    threads: int = 2
    size: int = 128
    kind: Literal["clothed", "debug"] = "clothed"
    config: CarConfig | None = None


def bench(plan: Plan | None = None) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Seconds, memory and evaluations of a reconstruction.

    ``photo_to_glb_seconds``: median of the whole way, files included. ``peak_gb``: largest memory of the
    process by then. ``octree_evaluations_speedup``: points that the dense grid of the body's box asks the
    field for, over those of the octree; ``octree_cube_speedup``: the same for a dense cube of that many cells
    a side. ``octree_seconds_speedup``: of both on the same box. ``octree_difference``: largest distance of a
    vertex of either surface to the other's nearest vertex, metres; ``octree_identical``: 1 if all agree.

    Entries name the model.

    Args:
        plan: how large; default `Plan`.
    """
    plan = plan or Plan()
    with threads(plan.threads):
        maker, source = model(plan)
        case = person(plan, maker.size)
        kind: Literal["sdf", "mesh"] = "sdf" if source == _WEIGHTS else "mesh"
        entries, ratios = _photographs(maker, case, plan, kind)
        found, more = _grids(maker, case, plan)
    return [e | {"model": source} for e in (*entries, *found)], {**ratios, **more}


def model(plan: Plan) -> tuple[AvatarReconstructor, str]:
    """The shipped model, or an untrained one, and its name."""
    if _WEIGHTS in shipped() and plan.config is None:
        from mien.engine.zoo import load_folder
        from mien.methods.car.evaluate import restore

        return restore(load_folder(_WEIGHTS)), _WEIGHTS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        net = CarNet(plan.config or CarConfig(radius=RADIUS), len(KINDS[plan.kind].rig().names))
    return AvatarReconstructor(net, plan.size), "untrained: the field starts as a sphere"


def person(plan: Plan, size: int) -> Case:
    """A photograph of a made person whom no training saw. Some 15 s for a clothed one."""
    settings = KINDS[plan.kind](1, 1, size, _SEED, unseen=1, points=4)
    return case_of(clothed_in_memory(settings, (0, 0, 1)).test, 0, 0)


def _photographs(
    maker: AvatarReconstructor, case: Case, plan: Plan, kind: Literal["sdf", "mesh"]
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The whole way, after one run that compiles kernels."""
    stages: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:

        def whole() -> None:
            found = maker.reconstruct(
                case.image,
                case.mask,
                case.body,
                kind=kind,
                coarse=plan.coarse,
                fine=plan.fine,
                iters=plan.iters,
            )
            found.avatar.export(Path(folder) / "person.glb")
            for name, seconds in found.seconds.items():
                stages.setdefault(name, []).append(seconds)

        seconds = interleave({"photo_to_glb": whole}, plan.photographs, warmup=1)["photo_to_glb"]
    peak = process_peak()
    entries = [entry("photo_to_glb", seconds, peak)]
    entries += [entry(name.replace(" ", "_"), np.array(s[1:])) for name, s in stages.items()]
    return entries, {"photo_to_glb_seconds": float(np.median(seconds)), "peak_gb": peak / 2**30}


def _grids(
    maker: AvatarReconstructor, case: Case, plan: Plan
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The canonical surface from the octree and from the dense grid of the same box."""
    maps = maker.normals(case.image, case.mask, case.body)
    found: dict[str, Surface] = {}

    def draw(name: str, dense: bool) -> None:
        found[name] = maker.surface(maps, case.body, plan.coarse, dense=dense)

    runs = {"octree": lambda: draw("octree", False), "dense": lambda: draw("dense", True)}
    seconds = interleave(runs, plan.repeats, warmup=0)
    entries = [entry(n, s) | {"evaluations": found[n].evaluations} for n, s in seconds.items()]
    gap = difference(found["octree"], found["dense"])
    few = found["octree"].evaluations
    return entries, {
        "octree_evaluations_speedup": found["dense"].evaluations / few,
        "octree_cube_speedup": (plan.coarse + 1) ** 3 / few,
        "octree_seconds_speedup": ratio(seconds["dense"], seconds["octree"]),
        "octree_difference": gap,
        "octree_identical": float(gap <= CLOSE),
    }


def difference(a: Surface, b: Surface) -> float:
    """Largest distance of a vertex of either to the nearest of the other (Hausdorff), metres. O(V log V)."""
    from scipy.spatial import cKDTree

    points = [s.vertices.double().numpy() for s in (a, b)]
    return max(float(cKDTree(q).query(p)[0].max()) for p, q in (points, points[::-1]))
