"""Batches for the stages of clothed reconstruction: normals, signed distances, hyper-network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.loader import StepSampler
from mien.render.normal_maps import depth_pair, vertex_normals

Array = NDArray[Any]
Stage = Literal["normal", "sdf", "hyper"]
Batch = TypeVar("Batch", bound="_Batch")
KEPT = 512
"""Places whose bodies stay in memory, a megabyte each at most."""


class ClothedSource(Protocol):
    """What is asked of a set of pictures of clothed people."""

    def __len__(self) -> int: ...

    def maps(self, place: int) -> dict[str, Array]:
        """``image`` (S, S, 3), ``mask`` (S, S), ``normals`` and ``body_normals`` (2, S, S, 3), ``calib``."""

    def points(self, place: int, counts: tuple[int, int, int], rng: np.random.Generator) -> dict[str, Array]:
        """Drawn `mien.data.clothed.POOLS`, and ``transforms`` (J, 4, 4)."""

    def body_points(self, place: int) -> tuple[Array, Array, Array]:
        """Posed body vertices (V, 3), faces (T, 3), calib (4, 4)."""

    def star_body(self, place: int) -> tuple[Array, Array]:
        """The given body in the star pose: vertices (V, 3), faces (T, 3)."""


class _Batch:
    def to(self: Batch, device: torch.device, *, channels_last: bool = False) -> Batch:
        """The batch on another device."""
        return type(self)(*(getattr(self, f.name).to(device) for f in fields(self)))  # type: ignore[arg-type]


@dataclass(frozen=True)
class NormalBatch(_Batch):
    """B pictures to learn normals from.

    Attributes:
        image: (B, 3, S, S) in [-1, 1], 0 outside the mask.
        mask: (B, 1, S, S) in [0, 1].
        normals: (B, 2, 3, S, S) of the front and back, unit, 0 outside the mask.
        body_normals: (B, 2, 3, S, S) of the given body, 0 in its background.
    """

    image: Tensor
    mask: Tensor
    normals: Tensor
    body_normals: Tensor

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class SdfBatch(_Batch):
    """B pictures with points in the star pose.

    Attributes:
        image, mask, normals, body_normals: as in `NormalBatch`.
        calib: (B, 4, 4).
        depth: (B, 2, S, S) z in the box of the given body's nearest and farthest surface, NaN beside it;
            (B, 2, 0, 0) where it was not asked for.
        star, posed: (B, V, 6) the given body in the star pose and the picture's, metres, with its unit
            normals; (B, 0, 6) likewise.
        transforms: (B, J, 4, 4) star pose -> posed space.
        given_transforms: those of the given body.
        surface, surface_normal: (B, N, 3).
        near, box: (B, N', 3), (B, N'', 3); near_sdf, box_sdf: (B, N'), (B, N'') metres, negative inside.
        surface_weight, near_weight, box_weight: (B, .., J) skinning weights.
    """

    image: Tensor
    mask: Tensor
    normals: Tensor
    body_normals: Tensor
    calib: Tensor
    depth: Tensor
    star: Tensor
    posed: Tensor
    transforms: Tensor
    given_transforms: Tensor
    surface: Tensor
    surface_normal: Tensor
    surface_weight: Tensor
    near: Tensor
    near_sdf: Tensor
    near_weight: Tensor
    box: Tensor
    box_sdf: Tensor
    box_weight: Tensor

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class HyperBatch(_Batch):
    """B given bodies.

    Attributes:
        body: (B, V, 6) vertices in the box, and their unit normals in its axes.
    """

    body: Tensor

    def __len__(self) -> int:
        return len(self.body)


def mirrored(maps: dict[str, Array]) -> dict[str, Array]:
    """Picture, mask, normals and calib of the scene mirrored left to right, all alike. O(S^2).

    Normals keep their side and change the sign of x; calib is multiplied by diag(-1, 1, 1, 1), so points find
    their pixels without being moved themselves.
    """
    out = {k: v[..., ::-1, :] for k, v in maps.items() if k not in ("mask", "calib")}
    for name in ("normals", "body_normals"):
        x = 255 - out[name][..., :1]
        out[name] = np.concatenate([x, out[name][..., 1:]], -1)
    flipped = np.diag([-1.0, 1, 1, 1]).astype(np.float32) @ maps["calib"]
    return {**out, "mask": maps["mask"][:, ::-1], "calib": flipped}


def map_tensors(maps: dict[str, Array]) -> dict[str, Tensor]:
    """Kept maps of one picture as the tensors of `NormalBatch`, and ``calib``. O(S^2)."""
    mask = torch.from_numpy(np.ascontiguousarray(maps["mask"]))[None].float() / 255
    scaled = {
        name: torch.from_numpy(np.ascontiguousarray(maps[name])).movedim(-1, -3).float() / 127.5 - 1
        for name in ("image", "normals", "body_normals")
    }
    return {
        "image": scaled["image"] * mask,
        "mask": mask,
        "normals": _unit(scaled["normals"]) * (mask > 0),
        "body_normals": _unit(scaled["body_normals"]),
        "calib": torch.from_numpy(np.ascontiguousarray(maps["calib"])),
    }


def _unit(normals: Tensor) -> Tensor:
    """Unit normals of decoded colours (2, 3, S, S); 0 where the length says background."""
    length = normals.norm(dim=1, keepdim=True)
    return torch.where(length > 0.5, normals / length.clamp(min=1e-6), torch.zeros_like(normals))


def body_in_box(points: Array, faces: Array, calib: Array) -> Tensor:
    """(V, 6) posed vertices in the box, and their normals in its axes, (C^-T n) / |C^-T n|. O(V + T)."""
    own, matrix = torch.as_tensor(points), torch.as_tensor(calib)
    placed = own @ matrix[:3, :3].T + matrix[:3, 3]
    normal = vertex_normals(own[None], torch.as_tensor(faces))[0] @ torch.linalg.inv(matrix[:3, :3])
    return torch.cat([placed, torch.nn.functional.normalize(normal, dim=-1)], -1)


def _in_metres(points: Array, faces: Array) -> Tensor:
    """(V, 6) vertices of a body as they are, and their normals."""
    return body_in_box(points, faces, np.eye(4, dtype=np.float32))


def depth_of(points: Array, faces: Array, calib: Tensor, size: int) -> Tensor:
    """(2, S, S) z in the box of a posed body's nearest and farthest surface, NaN beside it. O(T + S^2)."""
    placed = torch.as_tensor(points) @ calib[:3, :3].T + calib[:3, 3]
    placed = placed * placed.new_tensor([1.0, -1.0, 1.0])
    return torch.cat(depth_pair(placed[None], torch.as_tensor(faces), size, size))


class _Steps(Dataset[Any]):
    """Turns a step's (epoch, place) pairs into its batch."""

    def __init__(self, loader: ClothedLoader) -> None:
        self.loader = loader

    def __getitems__(self, pairs: list[tuple[int, int]]) -> list[Any]:
        return [self.loader.batch_of(pairs)]


@dataclass(frozen=True)
class ClothedLoader:
    """The training stream of a stage.

    Attributes:
        source: pictures.
        batch: pictures of a step.
        seed: of the run.
        stage: normal, sdf or hyper.
        counts: surface, near and box points of a picture (sdf).
        flip: mirror every other picture, drawn by (seed, epoch, place).
        workers: processes that read.
        body: batches of sdf tell of the given body: depth, star.
        kept: what the bodies of the first `KEPT` places come to, which no epoch changes.
    """

    source: ClothedSource
    batch: int
    seed: int
    stage: Stage
    counts: tuple[int, int, int] = (1000, 1000, 256)
    flip: bool = False
    workers: int = 0
    body: bool = False
    kept: dict[tuple[str, int, bool], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Checks the stage.

        Raises:
            ConfigError: no such stage.
        """
        if self.stage not in get_args(Stage):
            raise ConfigError(f"no stage {self.stage!r}; one of {', '.join(get_args(Stage))}")

    def __len__(self) -> int:
        return len(self.source)

    def batch_of(self, pairs: list[tuple[int, int]]) -> NormalBatch | SdfBatch | HyperBatch:
        """The batch of (epoch, place) pairs."""
        if self.stage == "hyper":
            return HyperBatch(torch.stack([self._once("hyper", k, False, self._in_box) for _, k in pairs]))
        rows = [self._row(epoch, place) for epoch, place in pairs]
        kind: type[NormalBatch | SdfBatch] = NormalBatch if self.stage == "normal" else SdfBatch
        return kind(*(torch.stack([row[f.name] for row in rows]) for f in fields(kind)))

    def _row(self, epoch: int, place: int) -> dict[str, Tensor]:
        rng = np.random.default_rng(derive(self.seed, "clothed", epoch, place))
        maps, flip = self.source.maps(place), self.flip and rng.random() < 0.5
        if flip:
            maps = mirrored(maps)
        out = map_tensors(maps)
        if self.stage == "sdf":
            drawn = self.source.points(place, self.counts, rng)
            out |= {k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in drawn.items()}
            out.setdefault("given_transforms", out["transforms"])
            out |= {"depth": torch.zeros(2, 0, 0), "star": torch.zeros(0, 6), "posed": torch.zeros(0, 6)}
            if self.body:
                size, calib = out["mask"].shape[-1], out["calib"]
                star, posed = self.source.star_body, lambda k: self.source.body_points(k)[:2]
                out |= {
                    "depth": self._once("depth", place, flip, lambda k: depth_of(*posed(k), calib, size)),
                    "star": self._once("star", place, False, lambda k: _in_metres(*star(k))),
                    "posed": self._once("posed", place, False, lambda k: _in_metres(*posed(k))),
                }
        return out

    def _in_box(self, place: int) -> Tensor:
        return body_in_box(*self.source.body_points(place))

    def _once(self, what: str, place: int, flip: bool, make: Callable[[int], Tensor]) -> Tensor:
        """``make(place)``, which is the same in every epoch; kept while there is room."""
        key = (what, place, flip)
        found = self.kept.get(key)
        if found is None:
            found = make(place)
            if place < KEPT:
                self.kept[key] = found
        return found

    def steps_per_epoch(self, world: int) -> int:
        """Optimiser steps in one pass."""
        return len(StepSampler(len(self), self.batch, 0, 0, world, 0).sizes)

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[Any]]:
        """Batches of step ``start``, ``start + 1``, ... for this process."""
        sampler = StepSampler(len(self), self.batch, self.seed, rank, world, start)
        loader: DataLoader[Any] = DataLoader(
            _Steps(self), batch_sampler=sampler, num_workers=self.workers, collate_fn=list
        )
        return iter(loader)
