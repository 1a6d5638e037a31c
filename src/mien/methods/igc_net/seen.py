"""What is said of many pictures in their own views: by a net, or by a baseline that looks at none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.data.capsule_files import CapsuleSet
from mien.data.capsule_loader import capsule_batches
from mien.methods.igc_net.baselines import (
    Autoencoder2d,
    KMeansParts,
    box_grid,
    constant_depth,
    dome_depth,
    label_maps,
    mean_depth,
)
from mien.methods.igc_net.capsules import Light, ObjectCapsule, codes_of
from mien.methods.igc_net.features import PrincipalFeatures, offline_features
from mien.methods.igc_net.foreground import foreground_guess
from mien.methods.igc_net.model import IGCNet
from mien.render.canonical import Renderer

Array = NDArray[Any]
MAP_SIDE = 12
"""Side to which canonical maps are averaged to serve as a code."""
CODES = ("object", "shape", "albedo", "parts", "maps")
"""Codes of a picture: both embeddings, each alone, codes of all parts one after another, canonical maps."""
DEPTHS = ("constant", "mean", "dome")
GROUPS = ("kmeans", "kmeans_place", "boxes")
BASELINES = (*DEPTHS, *GROUPS)
"""What is measured without any training; ``kmeans_place`` also knows where a pixel is."""
PLACE = 3.0
"""Weight of a pixel's place, in [-1, 1], beside descriptors of deviation 1."""
FITTED_ON = 256
"""Training pictures, evenly spread, that descriptors and clusters are fitted to."""
CLUSTERED = 20_000
"""Pixels of theirs, at most, that are clustered."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Answers for n pictures; None or missing: it says nothing of that.

    Attributes:
        depth: (n, S, S) scene units, of the view.
        valid: (n, S, S) where there is a surface.
        normal: (n, S, S, 3) of the view.
        maps: (n, M + 1, S, S) shares of background and parts.
        view: (n, 6).
        light: (n, 5) ambient, diffuse, direction.
        codes: name -> (n, D).
        error: (n,) mean absolute difference of picture and reconstruction.
    """

    depth: Array | None = None
    valid: Array | None = None
    normal: Array | None = None
    maps: Array | None = None
    view: Array | None = None
    light: Array | None = None
    codes: Mapping[str, Array] = field(default_factory=dict)
    error: Array | None = None

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(n, S, S) part of each pixel, 0 = background."""
        return None if self.maps is None else np.asarray(self.maps.argmax(1), np.int64)


def light_numbers(light: Light) -> Tensor:
    """(B, 5) ambient, diffuse and direction, as made sets tell a light."""
    return torch.cat([light.ambient[:, None], light.diffuse[:, None], light.direction], 1)


@torch.no_grad()
def all_codes(net: IGCNet, obj: ObjectCapsule) -> dict[str, Tensor]:
    """The codes (B, D) of `CODES`."""
    f_s, f_a = codes_of(obj)
    there = 1 - obj.visibility[:, :1]
    maps = torch.cat([(obj.depth[:, None] - 1) / net.renderer.margin, obj.albedo], 1) * there
    return {
        "object": torch.cat([f_s, f_a], 1),
        "shape": f_s,
        "albedo": f_a,
        "parts": torch.cat([e for p in obj.parts for e in (p.code_shape, p.code_albedo)], 1),
        "maps": F.adaptive_avg_pool2d(maps, MAP_SIDE).flatten(1),
    }


@torch.no_grad()
def see(net: IGCNet, faces: CapsuleSet, batch: int = 64) -> Seen:
    """What a net says of a set. Memory O(n M S^2)."""
    device, rows = net.tau.device, list[dict[str, Array]]()
    for given in capsule_batches(faces, batch):
        image = given.image.to(device)
        obj = net.encode(image)
        shown = net.render(obj)
        found = {
            "depth": shown.depth, "valid": shown.mask, "normal": shown.normal,
            "maps": shown.visibility.half(), "view": obj.view, "light": light_numbers(obj.light),
            "error": (shown.image - image).abs().mean((1, 2, 3)),
        }  # fmt: skip
        found |= {f"code {name}": code for name, code in all_codes(net, obj).items()}
        rows.append({name: value.cpu().numpy() for name, value in found.items()})
    held = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    codes = {name: held.pop(f"code {name}") for name in CODES}
    return Seen(**held, codes=codes)


@torch.no_grad()
def see_flat(net: Autoencoder2d, faces: CapsuleSet, batch: int = 64) -> Seen:
    """The codes of a 2-D autoencoder, under the name of the object's, and how well pictures come back."""
    device, codes, errors = next(net.parameters()).device, [], []
    for given in capsule_batches(faces, batch):
        image = given.image.to(device) * 2 - 1
        codes.append(net.encode(image).cpu().numpy())
        errors.append(((net(image) - image).abs().mean((1, 2, 3)) / 2).cpu().numpy())
    return Seen(codes={"object": np.concatenate(codes)}, error=np.concatenate(errors))


def baseline(name: str, train: CapsuleSet, faces: CapsuleSet, parts: int, seed: int = 0) -> Seen:
    """What a baseline of `BASELINES` says of a set; it may look at the training pictures, and at their depth.

    Args:
        name: which.
        train: training pictures.
        faces: those that it is asked about.
        parts: how many it makes, of those that make parts.
        seed: of clusters.
    """
    size, count = faces.pictures.shape[1], len(faces)
    if name in GROUPS:
        return Seen(maps=_groups(name, train, faces, parts, seed))
    if name == "mean":
        assert train.depth is not None
        depth = np.broadcast_to(mean_depth(train.depth), (count, size, size))
    else:
        depth = constant_depth(count, size) if name == "constant" else dome_depth(count, size)
    own = torch.from_numpy(np.ascontiguousarray(depth))
    normal = Renderer(size).get_normal_from_depth(own).numpy()
    return Seen(depth, np.ones(depth.shape, np.bool_), normal)


def rows_and_columns(parts: int) -> tuple[int, int]:
    """The most nearly square grid of so many boxes, higher than wide.

    >>> rows_and_columns(6)
    (3, 2)
    """
    columns = next(c for c in range(int(parts**0.5), 0, -1) if parts % c == 0)
    return parts // columns, columns


def _groups(name: str, train: CapsuleSet, faces: CapsuleSet, parts: int, seed: int) -> Array:
    size = faces.pictures.shape[1]
    if name == "boxes":
        grid = box_grid(size, *rows_and_columns(parts))
        return np.broadcast_to(grid, (len(faces), *grid.shape))
    place = PLACE if name == "kmeans_place" else 0.0
    chosen = train.some(np.unique(np.linspace(0, len(train) - 1, FITTED_ON).astype(np.int64)))
    image = torch.cat([b.image for b in capsule_batches(chosen)])
    descriptors = offline_features(image)
    features = PrincipalFeatures(descriptors.shape[1]).fit(descriptors)
    rows = _described(features, image, place)[foreground_guess(image).numpy() > 0.5]
    clusters = KMeansParts(rows[:: len(rows) // CLUSTERED + 1], parts, seed)
    labels = [
        clusters.segment(_described(features, b.image, place), foreground_guess(b.image).numpy() > 0.5)
        for b in capsule_batches(faces)
    ]
    return label_maps(np.concatenate(labels), parts)


def _described(features: PrincipalFeatures, image: Tensor, place: float) -> Array:
    """(B, S, S, C) features of pixels, with their place if it counts."""
    maps = features(offline_features(image))
    if place:
        at = place * torch.linspace(-1, 1, image.shape[-1])
        y, x = torch.meshgrid(at, at, indexing="ij")
        maps = torch.cat([maps, torch.stack([x, y]).expand(len(image), -1, -1, -1)], 1)
    return np.asarray(maps.movedim(1, -1).numpy())
