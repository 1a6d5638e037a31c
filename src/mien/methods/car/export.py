"""``mien export car``: two graphs, which hold all that is learnt of a first surface.

    normals: image (B, 3, S, S) in [-1, 1] times the mask, body (B, 6, S, S) normals of the naked body's front
        and back, mask (B, 1, S, S) -> front and back normals (B, 6, S, S);
    sdf: normals (B, 6, S, S), points (B, N, 3) in the star pose, matrices (B, N, 4, 4) that pose them,
        calib (B, 4, 4), front (B, N, 1) share of the front map, distance (B, N, 1) to the body -> signed
        distance (B, N, 1), metres.

What lies between is arithmetic: skinning weights of the nearest vertex, the body's depth and distance,
marching cubes.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mien.core.seeds import derive
from mien.data.clothed import clothed_in_memory
from mien.engine.export import ExportPlan, Signature
from mien.methods.car.bodies import distance_to
from mien.methods.car.evaluate import case_of
from mien.methods.car.model import BodyCues, CanonicalSDF, NormalNet
from mien.methods.car.net import CarNet, cues_of
from mien.methods.car.skinning import blended_matrices, transform_points
from mien.methods.car.view import to_view
from mien.synth.clothed_set import CapsuleSet

if TYPE_CHECKING:
    from mien.methods.car.predict import Predictor

MOST = 16
"""Pictures that the graphs are compared on."""
POINTS = 2048
"""Points of each."""
CALIBRATION = 16
"""Pictures of other people that int8 graphs are calibrated on."""


class NormalsGraph(nn.Module):
    """Image, body normals and mask -> normals of front and back (B, 6, S, S).

    Args:
        net: both nets.
    """

    def __init__(self, net: NormalNet) -> None:
        super().__init__()
        self.net = net
        self.signature = Signature(("image", "body", "mask"), "normals")

    def forward(self, image: Tensor, body: Tensor, mask: Tensor) -> Tensor:
        """As `NormalNet`."""
        return torch.cat(self.net(image, body[:, :3], body[:, 3:], mask), 1)


class SdfGraph(nn.Module):
    """Normals and points -> signed distance (B, N, 1).

    Args:
        net: the field.
    """

    signature = Signature(
        ("normals", "points", "matrices", "calib", "front", "distance"),
        "sdf",
        {"points": (1,), "matrices": (1,), "front": (1,), "distance": (1,)},
    )

    def __init__(self, net: CanonicalSDF) -> None:
        super().__init__()
        self.net = net

    def forward(
        self,
        normals: Tensor,
        points: Tensor,
        matrices: Tensor,
        calib: Tensor,
        front: Tensor,
        distance: Tensor,
    ) -> Tensor:
        """As `CanonicalSDF.values`."""
        self.net.filter(normals[:, :3], normals[:, 3:])
        held = self.net.inputs_with(points, matrices, calib, BodyCues(front))
        s = self.net.field_at(points, held, calib)
        return s + distance if self.net.residual else s + 0 * distance


def graphs_of(net: CarNet) -> dict[str, nn.Module]:
    """The graphs of a net, by name; copies on the CPU.

    Raises:
        ConfigError: a net without a field.
    """
    net.need("sdf")
    own = copy.deepcopy(net).cpu().eval().requires_grad_(False)
    return {"normals": NormalsGraph(own.normal), "sdf": SdfGraph(cast("CanonicalSDF", own.field))}


def inputs_of(net: CarNet, size: int, count: int, seed: int) -> dict[str, tuple[Tensor, ...]]:
    """Inputs of `graphs_of`: pictures of people of capsules, points near their surfaces."""
    made = CapsuleSet(count, 1, size, seed, points=POINTS)
    people = clothed_in_memory(made, (0, 0, count)).test
    rows: list[tuple[Tensor, ...]] = []
    for k in range(count):
        case = case_of(people, k, 0)
        front, back, depth = case.body.maps(size)
        inside = case.mask[None].float()
        x, weights = (torch.from_numpy(people.pools[n][k]).float() for n in ("near", "near_weight"))
        matrices = blended_matrices(weights[None], torch.from_numpy(people.transforms[k]))
        posed = transform_points(matrices, x)
        near = distance_to(case.body.vertices, case.body.faces)
        cues = cues_of(net.need("sdf"), x[None], to_view(posed, case.calib), depth[None], [near])
        share = x.new_ones(len(x), 1) if cues.front is None else cues.front[0]
        rows.append((
            (2 * case.image - 1) * inside, torch.cat([front, back]), inside,
            torch.cat([n for n in case.true_maps[:2] if n is not None]), x, matrices[0], case.calib, share,
            near(x)[0],
        ))  # fmt: skip
    image, body, mask, *rest = (torch.stack(column) for column in zip(*rows, strict=True))
    return {"normals": (image, body, mask), "sdf": tuple(rest)}


def export_plan(predictor: Predictor, count: int) -> ExportPlan:
    """What ``mien export`` writes, compared on made people; there is no task metric.

    Args:
        predictor: the model; its ``net`` and ``size`` are looked at.
        count: pictures, at most; never more than `MOST`.

    Raises:
        ConfigError: a model that was trained to the stage normal only.
    """
    net, size = predictor.net, predictor.size
    graphs = graphs_of(net)
    held = inputs_of(net, size, CALIBRATION, derive(0, "export", "calibration"))
    given = inputs_of(net, size, max(2, min(count, MOST)), derive(0, "export", "inputs"))
    return ExportPlan(graphs, given, None, "none", held, real=False)
