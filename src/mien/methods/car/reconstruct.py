"""One photograph -> normals -> canonical field -> posed surface -> detail -> an avatar that can move.

Source: CAR, Liao et al. (arXiv 2304.03903). Skinning of the final surface, texture and provenance are ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mien.core.errors import DataError, ShapeError
from mien.methods.car.avatar import Avatar
from mien.methods.car.bodies import BodyParams, distance_to
from mien.methods.car.integration import closed_field, integrate_normals
from mien.methods.car.net import CarNet, cues_of, refinement
from mien.methods.car.refine import Maps, PosedRefiner, Refined
from mien.methods.car.skin_weights import NEIGHBOURS, inverse_distance_weights, smooth_weights
from mien.methods.car.skinning import blended_matrices, inverse_transform_points, transform_points
from mien.methods.car.texture import paint
from mien.methods.car.view import from_view, to_view
from mien.nn.hyper import one_of
from mien.render.iso import Surface, marching_cubes
from mien.render.mesh_tools import largest_component
from mien.render.normal_maps import vertex_normals

Start = Literal["hyper", "mean", "sphere"]
MARGIN = 0.2
"""Around the body's box, metres."""
LIPSCHITZ = 1.5
"""Largest slope of a learnt field that the octree allows for; a distance has 1."""
CLOSE = 8
"""Vertices of the coarse surface that a point of the refined one takes its skinning weights from."""
KEPT = 0.25
"""A mesh whose largest part has less than this share of the triangles is refused."""


class Coarse(NamedTuple):
    """The surface of the canonical field.

    Attributes:
        canonical: (V, 3) metres.
        faces: (T, 3) int32.
        weights: (V, J) skinning weights.
        posed: (V, 3) metres, in the photographed pose.
        evaluations: of the field.
    """

    canonical: Tensor
    faces: Tensor
    weights: Tensor
    posed: Tensor
    evaluations: int


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Everything between a photograph and its avatar.

    Attributes:
        avatar: the result.
        maps: normals that the picture is thought to show.
        coarse: the surface before refinement.
        refined: in the view box, None without refinement.
        seconds: stage -> how long it took.
    """

    avatar: Avatar
    maps: Maps
    coarse: Coarse
    refined: Refined | None
    seconds: Mapping[str, float] = field(default_factory=dict)


class AvatarReconstructor:
    """What a trained model does with a photograph.

    Args:
        net: trained to the stage hyper; put in eval mode.
        size: side of the square pictures it was trained on, pixels.

    >>> maker = AvatarReconstructor(net, 128)                                       # doctest: +SKIP
    >>> avatar = maker(picture, mask, body)                                         # doctest: +SKIP
    >>> avatar.export("me.glb")                                                     # doctest: +SKIP
    """

    def __init__(self, net: CarNet, size: int) -> None:
        self.net, self.size = net.eval().requires_grad_(False), size

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return next(self.net.parameters()).device

    def __call__(self, image: Tensor, mask: Tensor, body: BodyParams, **options: Any) -> Avatar:
        """The avatar of `reconstruct`."""
        return self.reconstruct(image, mask, body, **options).avatar

    def reconstruct(
        self,
        image: Tensor,
        mask: Tensor,
        body: BodyParams,
        *,
        maps: Maps | None = None,
        refine: bool = True,
        kind: Literal["sdf", "mesh"] = "mesh",
        start: Start = "hyper",
        iters: int | None = None,
        coarse: int | None = None,
        fine: int | None = None,
        seed: int = 0,
        told: Callable[[str], None] = lambda stage: None,
    ) -> Reconstruction:
        """Photograph to avatar. O(surface cells (log V + field) + refinement).

        Args:
            image: (3, S, S) in [0, 1].
            mask: (S, S) booleans: the person.
            body: estimated, in the picture.
            maps: normals, if they are known; default those of the nets.
            refine: the second stage; else the coarse surface is the result.
            kind: of the refinement: "mesh" moves vertices and keeps hands and feet; "sdf", as published,
                moves the zero set of a small network.
            start: first weights of the refinement's network ("sdf").
            iters: its steps; default those of the config.
            coarse: cells of the longest side of the coarse grid; default as trained for.
            fine: cells of the refined grid along [-1, 1].
            seed: of the refinement.
            told: called with the name of each stage before it begins.

        Raises:
            ShapeError: tensors that do not fit together.
            DataError: an empty or full mask, a body beside it, a surface in pieces.
        """
        clock = _Clock(told)
        body = body.to(self.device)
        image, mask = image.to(self.device), mask.to(self.device)
        check_person(image, mask, body, self.size)
        with clock("normals"):
            maps = self.normals(image, mask, body) if maps is None else maps
        with clock("coarse surface"):
            first = self.coarse(maps, body, coarse)
        view, faces, found = to_view(first.posed, body.calib), first.faces, None
        if refine:
            with clock("refinement"):
                changes = {k: v for k, v in {"iters": iters, "resolution": fine}.items() if v is not None}
                settings = refinement(self.net.config, kind=kind, **changes)
                theta = self.start(body, start) if kind == "sdf" else None
                found = PosedRefiner(settings, seed).fit(view, faces, maps, theta)
                view, faces = found.vertices, found.faces
        with clock("skin and colours"):
            avatar = self._avatar(image, mask, body, first, view, faces)
        return Reconstruction(avatar, maps, first, found, clock.seconds)

    @torch.no_grad()
    def normals(self, image: Tensor, mask: Tensor, body: BodyParams) -> Maps:
        """What the nets see: image (3, S, S) in [0, 1], mask (S, S) booleans."""
        front, back, _ = body.maps(self.size)
        inside = mask[None].float()
        seen = (2 * image - 1) * inside
        found = self.net.normal(seen[None], front[None], back[None], inside[None])
        nf, nb = (torch.nn.functional.normalize(n[0], dim=0) * inside for n in found)
        return Maps(nf, nb, mask)

    def field(self, maps: Maps, body: BodyParams) -> Callable[[Tensor], Tensor]:
        """The canonical field of a picture, (N, 3) metres -> (N,); posed space where the net is of that kind.

        A point's skinning weights are those of the nearest vertex of the body, as published. Costs a search
        among V vertices and the field for each point.
        """
        net = self.net.need("sdf")
        back = None if maps.back is None else maps.back[None]
        with torch.no_grad():
            read = net.filter(maps.front[None], back)
        depth = body.maps(self.size)[2][None]
        posed = net.space == "posed"
        near = distance_to(body.posed() if posed else body.vertices, body.faces)
        transforms, calib = body.transforms[None], body.calib[None]

        def at(points: Tensor) -> Tensor:
            net.maps = read  # another picture may have been read since
            weights = body.weights[near.nearest(points)][None]
            world = points[None]
            if not posed:
                world = transform_points(blended_matrices(weights, transforms), world)
            cues = cues_of(net, points[None], to_view(world, calib), depth, [near])
            found: Tensor = net.values(points[None], weights, transforms, calib, cues)
            return found[0, :, 0]

        return at

    def surface(
        self, maps: Maps, body: BodyParams, resolution: int | None = None, *, dense: bool = False
    ) -> Surface:
        """Zero set of `field` in the body's box: from an octree, or of the dense grid.

        Raises:
            DataError: there is none.
        """
        net = self.net.need("sdf")
        places = body.posed() if net.space == "posed" else body.vertices
        low, high = places.amin(0) - MARGIN, places.amax(0) + MARGIN
        cell = float((high - low).max()) / (resolution or self.net.config.coarse)
        cells = torch.ceil((high - low) / cell).long()
        high = low + cells * cell
        return marching_cubes(
            self.field(maps, body), low.tolist(), high.tolist(), cells.tolist(),
            coarse=None if dense or self.net.config.occupancy else 4, lipschitz=LIPSCHITZ,
            device=self.device,
        )  # fmt: skip

    def coarse(self, maps: Maps, body: BodyParams, resolution: int | None = None) -> Coarse:
        """The coarse person, canonical and posed.

        Raises:
            DataError: the field has no surface, or one in pieces.
        """
        found = self.surface(maps, body, resolution)
        points, faces = whole(found.vertices.to(self.device), found.faces.to(self.device))
        if self.net.need("sdf").space == "posed":
            weights, star = unposed(points, faces, body.posed(), body.weights, body.transforms)
            return Coarse(star, faces, weights, points, found.evaluations)
        weights = skin(points, faces, body.vertices, body.weights)
        blended = blended_matrices(weights[None], body.transforms[None])[0]
        return Coarse(points, faces, weights, transform_points(blended, points), found.evaluations)

    @torch.no_grad()
    def start(self, body: BodyParams, kind: Start = "hyper") -> dict[str, Tensor] | None:
        """First weights of the refinement, None for a sphere's.

        "hyper": of the hyper-network for the body in its pose. "mean": its shared base; full heads have none,
        there it is what they give for the body in the star pose, which tells nothing of the pose.
        """
        if kind == "sphere":
            return None
        hyper = self.net.need("hyper")
        if kind == "mean" and len(hyper.mean):
            return dict(hyper.mean_network())
        points = body.in_view() if kind == "hyper" else star_view(body)
        normals = vertex_normals(points[None], body.faces)[0]
        return dict(one_of(hyper(torch.cat([points, normals], -1)[None]), 0))

    def integrated(self, maps: Maps, body: BodyParams, resolution: int | None = None) -> Refined:
        """The surface of the normals alone, with the body as prior (ECON's way), in the view box."""
        assert maps.back is not None
        depth = body.maps(self.size)[2].double().cpu().numpy()
        pair = integrate_normals(
            maps.front.double().cpu().numpy(), maps.back.double().cpu().numpy(), maps.mask.cpu().numpy(),
            (depth[0], depth[1]),
        )  # fmt: skip
        found = marching_cubes(
            closed_field(pair), [-1.0] * 3, [1.0] * 3, resolution or self.net.config.fine, coarse=None
        )
        return Refined(*whole(found.vertices, found.faces), {}, None)

    def _avatar(
        self, image: Tensor, mask: Tensor, body: BodyParams, first: Coarse, view: Tensor, faces: Tensor
    ) -> Avatar:
        """Skins and paints the posed surface: its weights are those of the coarse surface nearby."""
        posed = from_view(view, body.calib)
        if faces is not first.faces:
            weights, canonical = unposed(posed, faces, first.posed, first.weights, body.transforms, CLOSE)
        else:
            weights, canonical = first.weights, in_star(posed, first.weights, body.transforms)
        looks = paint(view, canonical, faces, image, mask, body.vertices)
        return Avatar(
            canonical=canonical, posed=posed, faces=faces.int(), weights=weights, joints=body.joints,
            parents=torch.tensor(body.parents, dtype=torch.int32), transforms=body.transforms,
            body=body.vertices, body_faces=body.faces, colors=looks.colors, provenance=looks.provenance,
            uncertainty=looks.uncertainty, names=body.names,
        ).to("cpu")  # fmt: skip


class _Clock:
    """Seconds of named stages."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._told, self._name, self._began = told, "", 0.0

    def __call__(self, name: str) -> _Clock:
        self._name = name
        self._told(name)
        return self

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self._name] = time.perf_counter() - self._began


def check_person(image: Tensor, mask: Tensor, body: BodyParams, size: int) -> None:
    """Whether there is one whole person where the body is.

    Raises:
        ShapeError: picture and mask of another size.
        DataError: an empty or full mask; a person cut off; a body elsewhere.
    """
    if image.shape != (3, size, size) or mask.shape != (size, size) or mask.dtype != torch.bool:
        raise ShapeError(
            f"expected a picture (3, {size}, {size}) and a mask ({size}, {size}) of booleans, got"
            f" {tuple(image.shape)} and {tuple(mask.shape)} {mask.dtype}"
        )
    share = float(mask.float().mean())
    if share < 0.005:
        raise DataError("the mask is empty: nobody is in the picture")
    if share > 0.95:
        raise DataError("the mask is full: it must show where the person ends")
    inside = (body.in_view()[:, :2].abs() <= 1).all(1).float().mean()
    if float(inside) < 0.98:
        raise DataError(
            f"{100 * (1 - float(inside)):.0f} % of the body lie outside the picture; the whole person must be"
            " in it, with a margin"
        )
    drawn = body.maps(size)[2][0].isfinite()
    both = float((drawn & mask).sum() / (drawn | mask).sum().clamp(min=1))
    if both < 0.2:
        raise DataError(
            f"the body covers the mask by {both:.2f} (intersection over union); check that they belong"
            " together"
        )


def whole(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The largest part of a surface, which must be most of it.

    Raises:
        DataError: the surface is in pieces.
    """
    kept, own = largest_component(points, faces)
    if len(own) < KEPT * len(faces):
        raise DataError(
            f"the surface is in pieces: the largest has {100 * len(own) / len(faces):.0f} % of the triangles;"
            " check the mask and the body"
        )
    return kept, own


def in_star(posed: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Posed points (N, 3) in the star pose, by weights (N, J) and transforms (J, 4, 4). O(N J)."""
    return inverse_transform_points(blended_matrices(weights[None], transforms[None])[0], posed)


def unposed(
    posed: Tensor,
    faces: Tensor,
    near: Tensor,
    weights: Tensor,
    transforms: Tensor,
    neighbours: int = NEIGHBOURS,
) -> tuple[Tensor, Tensor]:
    """Skinning weights (N, J) of a posed mesh, from vertices ``near`` it, and its star pose (N, 3)."""
    own = skin(posed, faces, near, weights, neighbours)
    return own, in_star(posed, own, transforms)


def skin(
    points: Tensor, faces: Tensor, vertices: Tensor, weights: Tensor, neighbours: int = NEIGHBOURS
) -> Tensor:
    """Skinning weights (N, J) of a mesh from those of vertices nearby, smoothed once, float32."""
    own, near, known = (x.cpu().double().numpy() for x in (points, vertices, weights))
    found = inverse_distance_weights(own, near, known, neighbours)
    smooth = smooth_weights(found, faces.cpu().numpy())
    smooth = smooth / smooth.sum(1, keepdims=True)
    return torch.from_numpy(np.ascontiguousarray(smooth, np.float32)).to(points.device)


def star_view(body: BodyParams) -> Tensor:
    """(V, 3) the body in the star pose, at the scale and place of the picture's."""
    scale = torch.linalg.det(body.calib[:3, :3]).abs() ** (1 / 3)  # calib may turn as well
    middle = (body.vertices.amin(0) + body.vertices.amax(0)) / 2
    out: Tensor = (body.vertices - middle) * scale
    return out
