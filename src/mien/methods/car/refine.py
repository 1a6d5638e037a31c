"""Detail from normal maps: a surface in the view box follows the normals that the pictures show.

Source: CAR, Liao et al. (arXiv 2304.03903), second stage; the schedule, the trust in the maps and the terms
of the mesh variant are a reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from mien.core.errors import ConfigError, ShapeError
from mien.core.seeds import derive
from mien.methods.car.losses import POSED, FieldSamples, SdfLossPlan, Terms, sdf_loss
from mien.methods.car.view import eroded, facing, sample_map
from mien.nn.implicit import SDFNet, value_and_gradient
from mien.render.iso import marching_cubes
from mien.render.mesh_tools import face_pairs, largest_component, unique_edges
from mien.render.normal_maps import normal_maps, vertex_normals

TERMS = ("total", "surface", "normal", "eikonal", "off")
MESH_TERMS = ("total", "cloth", "edge", "consistency", "laplacian", "deform")


@dataclass(frozen=True)
class RefineSettings:
    """How a surface is refined.

    Attributes:
        kind: "sdf": the zero set of a small network moves; "mesh": the vertices do.
        iters: steps of Adam.
        points: N, surface samples of a step; N / 2 near and N / 4 box samples come with them ("sdf").
        lr: first learning rate ("sdf"); falls to a hundredth along a cosine.
        clip: largest gradient norm ("sdf").
        near: standard deviation of the near samples about the surface ("sdf").
        plan: weights of the losses ("sdf").
        every: steps after which the surface and its samples are taken anew ("sdf").
        resolution: cells of the surface's grid along [-1, 1] ("sdf").
        dims: widths of the network ("sdf").
        skips: its skip layers ("sdf").
        offset_lr: learning rate of the vertices, in mean edge lengths ("mesh").
        edge: weight of ((|e| - |e_0|) / l)^2, l the mean edge length ("mesh").
        consistency: weight of 1 - cos between neighbouring faces ("mesh").
        laplacian: weight of |(L d) / l|^2, d the vertices' offsets, L d_i = d_i - mean d_j ("mesh").
        deform: weight of |d|^2 ("mesh").
        erode: pixels at the mask's rim where the maps are not trusted.
    """

    kind: Literal["sdf", "mesh"] = "sdf"
    iters: int = 300
    points: int = 2000
    lr: float = 1e-3
    clip: float = 1.0
    near: float = 0.01
    plan: SdfLossPlan = POSED
    every: int = 500
    resolution: int = 96
    dims: tuple[int, ...] = (3, 64, 64, 64, 64, 1)
    skips: tuple[int, ...] = (2, 3, 4)
    offset_lr: float = 0.03
    edge: float = 1.0
    consistency: float = 0.1
    laplacian: float = 1.0
    deform: float = 0.1
    erode: int = 2

    def __post_init__(self) -> None:
        if self.kind not in ("sdf", "mesh"):
            raise ConfigError(f"kind {self.kind!r} is none of sdf, mesh")
        if self.iters < 0 or self.points < 4 or self.every < 1 or self.resolution < 8 or self.erode < 0:
            raise ConfigError(
                f"iters >= 0, points >= 4, every >= 1, resolution >= 8 and erode >= 0 are needed, got {self}"
            )
        weights = (self.edge, self.consistency, self.laplacian, self.deform)
        if min(self.lr, self.clip, self.offset_lr) <= 0 or min(self.near, *weights) < 0:
            raise ConfigError(f"learning rates and clip must be above 0, weights not below, got {self}")


class Maps(NamedTuple):
    """What pictures say of a surface in the view box.

    Attributes:
        front: (3, H, W) normals of the nearest surface: x right, y up, z to the viewer.
        back: (3, H, W) of the farthest surface at the same pixels, n_z < 0; None: unknown.
        mask: (H, W) booleans.
    """

    front: Tensor
    back: Tensor | None
    mask: Tensor


class Targets(NamedTuple):
    """Samples of a surface and the normals it should have.

    Attributes:
        points: (V, 3).
        normals: (V, 3) unit.
        trust: (V,) in [0, 1], weight of the normal.
        front: (V,) whether the front map shows the point.
    """

    points: Tensor
    normals: Tensor
    trust: Tensor
    front: Tensor


class Refined(NamedTuple):
    """A refined surface.

    Attributes:
        vertices: (V, 3) in the view box.
        faces: (T, 3) int32.
        history: term -> (steps,) its value before each step (`TERMS` or `MESH_TERMS`).
        theta: weights of the network, None for "mesh".
    """

    vertices: Tensor
    faces: Tensor
    history: dict[str, Tensor]
    theta: dict[str, Tensor] | None


class PosedRefiner:
    """Refines the surface of one person in the pose of the picture.

    Args:
        settings: how.
        seed: of the network's start and of the samples.

    >>> refiner = PosedRefiner(RefineSettings(iters=300))                          # doctest: +SKIP
    >>> surface = refiner.fit(vertices, faces, Maps(nf, nb, mask), init=theta)     # doctest: +SKIP
    """

    def __init__(self, settings: RefineSettings | None = None, seed: int = 0) -> None:
        self.settings, self.seed = settings or RefineSettings(), seed

    def fit(
        self, vertices: Tensor, faces: Tensor, maps: Maps, init: Mapping[str, Tensor] | None = None
    ) -> Refined:
        """The surface that agrees with the maps and stays near the coarse one.

        "sdf": O(iters N weights + extractions resolution^2 weights); "mesh": O(iters (T + H W)).

        Args:
            vertices: (V, 3) coarse mesh in the view box.
            faces: (T, 3), counter-clockwise seen from outside.
            maps: of the pictures.
            init: first weights of the network (of a `HyperNetwork`); None: a sphere.

        Raises:
            ShapeError: maps that do not fit together, or weights of another network.
            ConfigError: ``init`` for "mesh".
            DataError: the field lost its surface.
        """
        _check_maps(maps)
        if self.settings.kind == "mesh":
            if init is not None:
                raise ConfigError('init is a start of the network; kind="mesh" has none')
            return refine_mesh(vertices, faces, maps, self.settings)
        net = start_net(self.settings, init, self.seed).to(vertices.device)
        return refine_sdf(net, vertices, faces, maps, self.settings, self.seed)


def start_net(settings: RefineSettings, init: Mapping[str, Tensor] | None, seed: int = 0) -> SDFNet:
    """The network with given first weights, or near a sphere.

    Raises:
        ShapeError: weights of another network.
    """
    generator = torch.Generator().manual_seed(derive(seed, "sphere"))
    net = SDFNet(settings.dims, settings.skips, generator=generator)
    if init is not None:
        try:
            net.load_state_dict(dict(init))
        except RuntimeError as error:
            raise ShapeError(f"init does not fit a network of widths {settings.dims}: {error}") from None
    return net


def surface_targets(P: Tensor, F: Tensor, maps: Maps, erode: int = 2) -> Targets:
    """Vertices with the normals that the maps show there, else their own. O(T + H W).

    A map is trusted as much as it faces the vertex, |n_z|; not at all within ``erode`` pixels of the outline
    and where the vertex is hidden: there the vertex keeps its own normal.
    """
    normals, trust = vertex_normals(P, F), torch.ones(len(P), device=P.device)
    front = torch.zeros(len(P), dtype=torch.bool, device=P.device)
    for image, sign in ((maps.back, -1.0), (maps.front, 1.0)):
        if image is None:
            continue
        cosine = facing(P, F, maps.mask, erode=erode, sign=sign)
        shown = cosine > 0
        read = functional.normalize(sample_map(image, P), dim=-1)
        normals = torch.where(shown[:, None], read, normals)
        trust = torch.where(shown, cosine, trust)
        front = shown
    return Targets(P, normals, trust, front)


def sample_box(P: Tensor) -> tuple[Tensor, Tensor]:
    """Corners (3,) of the box of a surface: its extents +-0.1, in z +-0.2, within [-1, 1]."""
    rim = P.new_tensor([0.1, 0.1, 0.2])
    return (P.amin(0) - rim).clamp(min=-1), (P.amax(0) + rim).clamp(max=1)


def posed_loss(
    field: Callable[[Tensor], Tensor], surface: Targets, near: Tensor, box: Tensor, plan: SdfLossPlan = POSED
) -> tuple[Tensor, Terms]:
    """`sdf_loss` of a field at samples, surface points weighted by their trust. O(points weights).

    Args:
        field: (N, 3) -> (N, 1).
        surface: N samples.
        near: (K, 3) beside the surface.
        box: (M, 3) anywhere.
        plan: weights.
    """
    points = torch.cat([surface.points, near, box])
    s, gradient = value_and_gradient(field, points, create_graph=True)
    sizes = [len(surface.points), len(near), len(box)]
    parts = [FieldSamples(*x) for x in zip(s.split(sizes), gradient.split(sizes), strict=True)]
    return sdf_loss(parts[0], surface.normals, parts[1], parts[2], plan, surface.trust)


def refine_sdf(
    net: SDFNet, P: Tensor, F: Tensor, maps: Maps, settings: RefineSettings, seed: int = 0
) -> Refined:
    """See `PosedRefiner.fit`. Trains ``net`` in place."""
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.lr)
    generator = torch.Generator(P.device).manual_seed(derive(seed, "samples"))
    low, high = sample_box(P)
    targets, found = surface_targets(P, F, maps, settings.erode), []
    for step in range(settings.iters):
        if step and step % settings.every == 0:
            targets = surface_targets(*extract(net, low, high, settings.resolution), maps, settings.erode)
        at = _halves(targets.front, settings.points, generator)
        surface = Targets(*(x[at] for x in targets))
        noise = torch.randn(settings.points // 2, 3, generator=generator, device=P.device)
        chance = torch.rand(settings.points // 4, 3, generator=generator, device=P.device)
        near, box = surface.points[: len(noise)] + settings.near * noise, low + chance * (high - low)
        loss, terms = posed_loss(net, surface, near, box, settings.plan)
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / settings.iters)))
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(net.parameters(), settings.clip)
        optimizer.step()
        found.append(torch.stack([loss, *terms.values()]).detach())
    vertices, faces = extract(net, low, high, settings.resolution)
    theta = {name: value.detach().clone() for name, value in net.state_dict().items()}
    return Refined(vertices, faces, _history(found, TERMS, P), theta)


def _halves(front: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count,) random indices, half of them of front points, mixed; all of one kind if there is no other."""
    groups = [g for g in (torch.nonzero(front)[:, 0], torch.nonzero(~front)[:, 0]) if len(g)]
    picks = []
    for group in groups:
        share = count // len(groups) + (count % len(groups)) * (group is groups[0])
        picks.append(group[torch.randint(len(group), (share,), generator=generator, device=front.device)])
    return torch.cat(picks)[torch.randperm(count, generator=generator, device=front.device)]


def extract(net: SDFNet, low: Tensor, high: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """The largest part of the zero set in a box: (V, 3), (T, 3) int32. O(resolution^2 weights).

    Raises:
        DataError: there is none.
    """
    cells = torch.ceil((high - low) / 2 * resolution).clamp(min=1).long().tolist()
    found = marching_cubes(
        lambda x: net(x)[..., 0],
        low.tolist(),
        high.tolist(),
        cells,
        coarse=12,
        lipschitz=2.0,
        device=low.device,
    )
    vertices, faces = largest_component(found.vertices, found.faces)
    return vertices.to(low.device), faces.to(low.device)


def cloth_term(P: Tensor, F: Tensor, maps: Maps, trusted: Tensor) -> Tensor:
    """Mean |rendered - predicted| of the normals' components, front and back, differentiable in P.

    O(T + H W). Pixels weigh |n_z| of the map and count within ``trusted`` (H, W).
    """
    drawn = normal_maps(P[None], F, *maps.mask.shape)
    terms = []
    for image, own in ((maps.front, drawn.front[0]), (maps.back, drawn.back[0])):
        if image is not None:
            weight = image[2].abs() * (trusted & drawn.mask[0])
            gap = (own.permute(2, 0, 1) - image).abs().mean(0)
            terms.append((weight * gap).sum() / weight.sum().clamp(min=1e-6))
    return torch.stack(terms).mean()


def refine_mesh(P: Tensor, F: Tensor, maps: Maps, settings: RefineSettings) -> Refined:
    """See `PosedRefiner.fit`: an offset d for each vertex, by Adam on `MESH_TERMS`."""
    edges, pairs, trusted = unique_edges(F), face_pairs(F), eroded(maps.mask, settings.erode)
    i, j = torch.cat([edges, edges.flip(1)]).T
    degree = torch.bincount(i, minlength=len(P)).clamp(min=1)[:, None]
    first = (P[edges[:, 0]] - P[edges[:, 1]]).norm(dim=-1)
    unit = first.mean()
    weights = P.new_tensor([1.0, settings.edge, settings.consistency, settings.laplacian, settings.deform])
    offset, found = torch.zeros_like(P, requires_grad=True), []
    optimizer = torch.optim.Adam([offset], lr=settings.offset_lr * float(unit))
    for _ in range(settings.iters):
        moved = P + offset
        length = (moved[edges[:, 0]] - moved[edges[:, 1]]).norm(dim=-1)
        corners = moved[F.long()]
        face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        a, b = functional.normalize(face, dim=-1, eps=1e-20)[pairs].unbind(1)
        mean = torch.zeros_like(P).index_add(0, i, offset[j]) / degree
        terms = torch.stack([
            cloth_term(moved, F, maps, trusted),
            ((length - first) / unit).square().mean(),
            (1 - (a * b).sum(-1)).mean(),
            ((offset - mean) / unit).square().sum(-1).mean(),
            offset.square().sum(-1).mean(),
        ])  # fmt: skip
        loss = (weights * terms).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(torch.cat([loss.detach()[None], terms.detach()]))
    return Refined((P + offset).detach(), F, _history(found, MESH_TERMS, P), None)


def _history(rows: list[Tensor], names: tuple[str, ...], like: Tensor) -> dict[str, Tensor]:
    table = torch.stack(rows) if rows else like.new_zeros(0, len(names))
    return dict(zip(names, table.unbind(1), strict=True))


def _check_maps(maps: Maps) -> None:
    shape = (3, *maps.mask.shape)
    if maps.mask.dtype != torch.bool or any(m is not None and m.shape != shape for m in maps[:2]):
        raise ShapeError(
            f"normal maps must be {shape} like the mask of booleans, got {tuple(maps.front.shape)},"
            f" {None if maps.back is None else tuple(maps.back.shape)} and {maps.mask.dtype}"
        )
