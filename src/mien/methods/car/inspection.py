"""``mien inspect car``: sizes of the parts, and how each behaves on one made person."""

from __future__ import annotations

import torch
from torch import nn

from mien.core.errors import DataError
from mien.core.seeds import derive
from mien.data.clothed import ClothedPeople, clothed_in_memory
from mien.engine.folder import ModelFolder
from mien.engine.show import Inspection
from mien.methods.car.bodies import distance_to
from mien.methods.car.config import InspectOptions
from mien.methods.car.evaluate import Case, case_of, restore
from mien.methods.car.losses import FieldSamples
from mien.methods.car.net import CarNet, cues_of, refinement
from mien.methods.car.reconstruct import AvatarReconstructor
from mien.methods.car.refine import start_net
from mien.methods.car.skinning import blended_matrices, transform_points
from mien.methods.car.task import configs
from mien.methods.car.texture import Source
from mien.methods.car.view import to_view
from mien.nn.implicit import value_and_gradient
from mien.synth.clothed_set import CapsuleSet, ClothedSet

Facts = dict[str, float | int | str]


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Looks at one made person: capsules for a model of the debug recipe, else a rendered one (seconds).

    The field and the start of the refinement are looked at once their stages are trained.
    """
    maker, (_, data) = restore(folder), configs(folder.recipe)
    kind = CapsuleSet if data.kind == "debug" else ClothedSet
    made = kind(1, 1, data.size, derive(options.seed, "inspect"), points=options.points)
    people = clothed_in_memory(made, (0, 0, 1)).test
    case = case_of(people, 0, 0)
    facts: Facts = {"normals_angle_degrees": normals_angle(maker, case)}
    tables = {"parts": sizes(maker.net)}
    if maker.net.field is not None:
        facts |= field_facts(maker, people, case)
        tables["surface"] = surface_shares(maker, case)
    if maker.net.hyper is not None:
        facts |= start_facts(maker, case)
    return Inspection({k: round(v, 4) if isinstance(v, float) else v for k, v in facts.items()}, tables)


def sizes(net: CarNet) -> list[dict[str, object]]:
    """Weights of each part, and of the network that the refinement moves."""
    parts = {"normal nets": net.normal, "canonical field": net.field, "hyper-network": net.hyper}
    rows = [(name, part) for name, part in parts.items() if part is not None]
    return [
        {"part": name, "weights": count(part)}
        for name, part in [*rows, ("refined network", start_net(refinement(net.config), None))]
    ]


def count(part: nn.Module) -> int:
    """Numbers in its parameters."""
    return sum(p.numel() for p in part.parameters())


def normals_angle(maker: AvatarReconstructor, case: Case) -> float:
    """Mean angle between predicted and true normals of the front, degrees."""
    found = maker.normals(case.image, case.mask, case.body).front
    there = case.mask & (case.true_maps.front.square().sum(0) > 0.5)
    cosine = (found * case.true_maps.front).sum(0)[there].clamp(-1, 1)
    return float(torch.rad2deg(cosine.acos()).mean())


def field_facts(maker: AvatarReconstructor, people: ClothedPeople, case: Case) -> Facts:
    """The field of the true normals and the true pose: |s| on the surface, |grad s| and sign near it."""
    surface, near = (field_at(maker, people, case, name) for name in ("surface", "near"))
    truth = torch.from_numpy(people.pools["near_sdf"][0])
    slope = near.gradient[0].norm(dim=-1)
    right = (near.s[0, :, 0] < 0) == (truth < 0)
    return {
        "surface_error_cm": 100 * float(surface.s.abs().mean()),
        "slope_mean": float(slope.mean()),
        "slope_deviation": float(slope.std()),
        "sign_right": float(right.float().mean()),
    }


def field_at(maker: AvatarReconstructor, people: ClothedPeople, case: Case, name: str) -> FieldSamples:
    """Value and gradient at the points of a pool."""
    net, device = maker.net.need("sdf"), maker.device
    given = (people.pools[name], people.pools[f"{name}_weight"], people.transforms[:, 0])
    x, weights, transforms = (torch.from_numpy(a).float().to(device) for a in given)
    posed = transform_points(blended_matrices(weights, transforms), x)
    calib, depth = case.calib[None].to(device), case.body.maps(maker.size)[2][None].to(device)
    assert case.true_maps.back is not None
    net.filter(case.true_maps.front[None].to(device), case.true_maps.back[None].to(device))
    at = posed if net.space == "posed" else x
    body = case.body.to(device)
    near = distance_to(body.posed() if net.space == "posed" else body.vertices, body.faces)
    cues = cues_of(net, at, to_view(posed, calib), depth, [near])
    found = net.query(at, weights, transforms, calib, cues=cues, create_graph=False)
    return FieldSamples(*(v.detach().cpu() for v in found))


def start_facts(maker: AvatarReconstructor, case: Case) -> Facts:
    """The refinement's first network on the body that it was made of, in the view box: |s| and |grad s|."""
    body = case.body.to(maker.device)
    net = start_net(refinement(maker.net.config), maker.start(body)).to(maker.device)
    s, gradient = value_and_gradient(net, body.in_view())
    return {
        "start_error_box": float(s.detach().abs().mean()),
        "start_slope_mean": float(gradient.detach().norm(dim=-1).mean()),
    }


def surface_shares(maker: AvatarReconstructor, case: Case) -> list[dict[str, object]]:
    """Share of the vertices of the first surface by what is known of them; empty where there is none."""
    try:
        avatar = maker.reconstruct(case.image, case.mask, case.body, refine=False).avatar
    except DataError as error:
        return [{"source": f"no surface: {error}", "share": 0.0}]
    total = torch.bincount(avatar.provenance.long(), minlength=len(Source)).double() / len(avatar.posed)
    return [{"source": s.name.lower(), "share": round(float(total[s]), 4)} for s in Source]
