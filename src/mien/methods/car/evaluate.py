"""The protocol: people of shapes, clothes and poses that no training saw, each from one picture.

Distances are CAR's (10,000 even samples, nearest vertex), in centimetres, in posed and in canonical space;
the body that a method is given is a noisy one.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.data.clothed import ClothedPeople
from mien.data.clothed_loader import map_tensors
from mien.data.clothed_sets import read_clothed
from mien.data.config import USER_CLOTHED
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.task import Measured
from mien.methods.car.bodies import BodyParams, body_of
from mien.methods.car.net import CarNet, refinement
from mien.methods.car.reconstruct import CLOSE, AvatarReconstructor, Start, unposed
from mien.methods.car.refine import Maps, PosedRefiner
from mien.methods.car.task import configs
from mien.methods.car.view import from_view, to_view
from mien.metrics.surfaces import both_ways, is_watertight, normal_error
from mien.render.mesh_io import Mesh
from mien.render.normal_maps import normal_maps

Values = NDArray[np.float64]
SHAPES = ("refined", "coarse", "body", "integration")
_BY_STAGE = {"normal": "body", "sdf": "coarse", "hyper": "refined"}
SCRATCH = 2
"""A start from a sphere gets so many times the steps of the others."""


class Case(NamedTuple):
    """One picture of the protocol.

    Attributes:
        image: (3, S, S) in [0, 1].
        mask: (S, S) booleans.
        body: given.
        true_maps: the true normals.
        posed: true surface, metres, camera frame.
        canonical: true surface in the star pose.
        calib: (4, 4).
    """

    image: Tensor
    mask: Tensor
    body: BodyParams
    true_maps: Maps
    posed: Mesh
    canonical: Mesh
    calib: Tensor


def case_of(people: ClothedPeople, person: int, picture: int, *, true_body: bool = False) -> Case:
    """A picture of a made person; the body is the noisy one, or the true one."""
    place = person * people.images.shape[1] + picture
    tensors = map_tensors(people.maps(place))
    mask = tensors["mask"][0] > 0.5
    shape, moves = (people.body, people.transforms) if true_body else (people.given, people.given_transforms)
    rig, calib = people.rig, tensors["calib"]
    joints = torch.zeros(len(rig.names), 3)  # the set does not hold them, and nothing is measured by them
    body = body_of(
        vertices=shape[person], faces=rig.body_faces, weights=rig.body_weights, joints=joints,
        transforms=moves[person, picture], calib=calib, parents=rig.parents, names=rig.names,
    )  # fmt: skip
    normals = tensors["normals"]
    return Case(
        (tensors["image"] + 1) / 2, mask, body, Maps(normals[0], normals[1], mask),
        people.posed_mesh(person, picture), people.meshes[person].canonical, calib,
    )  # fmt: skip


def restore(folder: ModelFolder) -> AvatarReconstructor:
    """The trained model of a folder."""
    method, data = configs(folder.recipe)
    net = CarNet(method, int(folder.facts["joints"]))
    load_weights(net, folder.weights)
    return AvatarReconstructor(net, data.size)


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """One row of the protocol, on the split ``test`` or ``val``.

    Options: ``shape``: one of `SHAPES`, by default the most that the model can do; ``maps``,
    ``body``: "true" instead of the predicted and the given;
    ``kind``: of the refinement; ``pictures`` of each person; ``starts``: compare starts of the refinement.

    Raises:
        DataError: a split that there is not, or a set without truth.
        ConfigError: no such shape.
    """
    method, data = configs(folder.recipe)
    if data.kind in USER_CLOTHED:
        raise DataError(f"data.kind={data.kind!r}: this protocol needs a made set, which knows the truth")
    options = dict(evaluation.options)
    shape = str(options.get("shape", _BY_STAGE[method.stage]))
    if shape not in SHAPES:
        raise ConfigError(f"no shape {shape!r}; one of {', '.join(SHAPES)}")
    splits = read_clothed(data)
    people = {"test": splits.test, "val": splits.val}.get(evaluation.split)
    if people is None:
        raise DataError(f"no evaluation {evaluation.split!r}; there are test and val")
    maker, rows = restore(folder), []
    for person in range(people.images.shape[0]):
        found: list[dict[str, float]] = []
        for picture in range(min(int(options.get("pictures", 1)), people.images.shape[1])):
            case = case_of(people, person, picture, true_body=options.get("body") == "true")
            if options.get("starts"):
                found.append(compared_starts(maker, case))
            else:
                found.append(measured(maker, case, shape, options))
        rows.append({k: float(np.mean([f[k] for f in found])) for k in found[0]})
    units = {k: np.array([r[k] for r in rows]) for k in rows[0]}
    units |= {f"less_{k}": -v for k, v in units.items()}
    return Measured({k: float(np.mean(v)) for k, v in units.items()}, units)


def measured(maker: AvatarReconstructor, case: Case, shape: str, options: dict[str, Any]) -> dict[str, float]:
    """Errors of one picture's reconstruction; of the refined one also those before."""
    body = case.body
    if shape == "body":
        return errors(body.posed(), body.vertices, body.faces, case)
    maps = case.true_maps if options.get("maps") == "true" else maker.normals(case.image, case.mask, body)
    if shape == "integration":
        view = maker.integrated(maps, body)
        posed = from_view(view.vertices, body.calib)
        _, canonical = unposed(posed, view.faces, body.posed(), body.weights, body.transforms)
        return errors(posed, canonical, view.faces, case)
    first = maker.coarse(maps, body)
    before = errors(first.posed, first.canonical, first.faces, case)
    if shape == "coarse":
        return before
    kind = "mesh" if options.get("kind") == "mesh" else "sdf"
    settings = refinement(maker.net.config, kind=kind)
    theta = maker.start(body, "hyper") if kind == "sdf" else None
    found = PosedRefiner(settings).fit(to_view(first.posed, body.calib), first.faces, maps, theta)
    posed = from_view(found.vertices, body.calib)
    _, canonical = unposed(posed, found.faces, first.posed, first.weights, body.transforms, CLOSE)
    after = errors(posed, canonical, found.faces, case)
    return after | {f"coarse_{k}": v for k, v in before.items()}


def errors(posed: Tensor, canonical: Tensor, faces: Tensor, case: Case) -> dict[str, float]:
    """Distances in cm and normal errors of a surface in both spaces, and of its front in the picture.

    front: mean (1 - cos) / 2 between the normals that the picture shows of both; front_angle: their angle.
    """
    out: dict[str, float] = {}
    for suffix, points, truth in (("", posed, case.posed), ("_canonical", canonical, case.canonical)):
        own = Mesh(points.detach().cpu().numpy(), faces.cpu().numpy())
        there, back = both_ways(own, truth, protocol="car")
        out |= {f"chamfer{suffix}": (there + back) / 2, f"p2s{suffix}": there}
        out[f"normal{suffix}"] = normal_error(own, truth, protocol="car")
    out |= front_errors(to_view(posed, case.calib), faces, case.true_maps)
    out["watertight"] = float(is_watertight(Mesh(posed.detach().cpu().numpy(), faces.cpu().numpy())))
    return out


def front_errors(view: Tensor, faces: Tensor, truth: Maps) -> dict[str, float]:
    """Errors of the normals of the front-visible part, over pixels where both surfaces are."""
    drawn = normal_maps(view[None], faces, *truth.mask.shape)
    both = drawn.mask[0] & truth.mask & (truth.front.square().sum(0) > 0.5)
    cosine = (drawn.front[0] * truth.front.permute(1, 2, 0)).sum(-1)[both].clamp(-1, 1)
    if not len(cosine):
        return {"front": 0.5, "front_angle": 90.0}
    return {
        "front": float((1 - cosine).mean() / 2),
        "front_angle": float(torch.rad2deg(cosine.acos()).mean()),
    }


_WINDOW = 20  # steps over which a loss is averaged


def smoothed(losses: Tensor) -> Values:
    """(steps,) mean of each loss and up to 19 before it."""
    x = losses.double().cpu().numpy()
    total = np.concatenate([[0.0], x.cumsum()])
    first = np.maximum(np.arange(len(x)) + 1 - _WINDOW, 0)
    last = np.arange(1, len(x) + 1)
    return np.asarray((total[last] - total[first]) / (last - first))


def steps_to(losses: Tensor, goal: float) -> int | None:
    """The first step whose smoothed loss is at most the goal (once a whole window is in), or None."""
    hit = np.flatnonzero(smoothed(losses)[_WINDOW - 1 :] <= goal)
    return int(hit[0]) + _WINDOW if len(hit) else None


def compared_starts(maker: AvatarReconstructor, case: Case) -> dict[str, float]:
    """Steps and seconds of each start to the final loss of a start from a sphere, which gets twice the steps.

    A start that does not get there counts as many steps as the sphere has. All look at the samples of the
    coarse surface to the end: taken anew from the own surface they are fitted at once, and the loss of a run
    that is long enough for that falls below what a shorter one can reach.
    """
    body, iters = case.body, maker.net.config.iters
    maps = maker.normals(case.image, case.mask, body)
    first = maker.coarse(maps, body)
    view, out = to_view(first.posed, body.calib), dict[str, float]()
    goal, scratch, each = 0.0, SCRATCH * iters, 0.0
    kinds: tuple[Start, ...] = ("sphere", "mean", "hyper")
    for kind in kinds:
        began = time.perf_counter()
        theta = maker.start(body, kind)
        ready = time.perf_counter()
        steps = scratch if kind == "sphere" else iters
        settings = refinement(maker.net.config, iters=steps, every=scratch)
        found = PosedRefiner(settings).fit(view, first.faces, maps, theta)
        losses = found.history["total"]
        if kind == "sphere":
            goal, taken = float(smoothed(losses)[-1]), scratch
            each = (time.perf_counter() - ready) / scratch
        else:
            taken = steps_to(losses, goal) or scratch
        out |= {f"{kind}_steps": float(taken), f"{kind}_seconds": ready - began + taken * each}
        out[f"{kind}_loss"] = float(smoothed(losses)[-1])
        out[f"{kind}_first"] = float(losses[0])
        out[f"{kind}_50"] = float(smoothed(losses)[min(50, len(losses)) - 1])
        out |= {
            f"{kind}_{k}": v for k, v in front_errors(found.vertices, found.faces, case.true_maps).items()
        }
    return out
