"""Made clothed people for avatars from one picture: drawn once, then held in memory.

They lie in ``$MIEN_HOME/data/<fingerprint>`` as `mien.synth.maker` writes them (resumable).
"""

from __future__ import annotations

import io as streams
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core import io
from mien.core.errors import DataError
from mien.render.mesh_io import Mesh
from mien.synth.clothed_people import Rig
from mien.synth.clothed_poses import skinned
from mien.synth.clothed_set import ClothedSet
from mien.synth.maker import VERSION, make, mark_of, read_samples

Array = NDArray[Any]
_LOOK = 1  # raised when `mien.synth.clothed_set` draws otherwise
_PICTURES = ("images", "masks", "normals", "body_normals", "calib", "transforms", "given_transforms")
_MESH = ("points", "faces", "weights")
POOLS = ("surface", "surface_normal", "surface_weight", "near", "near_sdf", "near_weight", "box", "box_sdf",
         "box_weight")  # fmt: skip


@dataclass(frozen=True)
class ClothedMesh:
    """A clothed person in the star pose: points (N, 3) metres, faces (T, 3), skinning weights (N, J)."""

    points: Array
    faces: Array
    weights: Array

    def posed(self, transforms: Array) -> Mesh:
        """The mesh moved by transforms (J, 4, 4). O(N J)."""
        return Mesh(skinned(self.points, self.weights, transforms), self.faces)

    @property
    def canonical(self) -> Mesh:
        """The mesh as it is."""
        return Mesh(self.points, self.faces)


@dataclass(frozen=True)
class ClothedPeople:
    """P people with M pictures of each. Spaces and units: `mien.synth.clothed_set`.

    Attributes:
        rig: what all share.
        images: (P, M, S, S, 3) uint8.
        masks: (P, M, S, S) uint8, 0 or 255.
        normals: (P, M, 2, S, S, 3) uint8 colours of the front and back of the clothed surface.
        body_normals: the same of the given body.
        calib: (P, M, 4, 4) posed space -> box.
        transforms: (P, M, J, 4, 4) star pose -> posed space.
        given_transforms: those of the given body.
        body: (P, V, 3) in the star pose.
        given: (P, V, 3) the body that a method is given.
        pools: name of `POOLS` -> (P, N, ..) training points in the star pose, their sdf or weights.
        meshes: P clothed meshes.
    """

    rig: Rig
    images: Array
    masks: Array
    normals: Array
    body_normals: Array
    calib: Array
    transforms: Array
    given_transforms: Array
    body: Array
    given: Array
    pools: Mapping[str, Array]
    meshes: tuple[ClothedMesh, ...]

    def __len__(self) -> int:
        """How many pictures."""
        return int(np.prod(self.images.shape[:2]))

    @property
    def size(self) -> int:
        """Pixels a side."""
        return int(self.images.shape[2])

    def at(self, place: int) -> tuple[int, int]:
        """Person and picture of a place in 0 .. len - 1."""
        return divmod(place, int(self.images.shape[1]))

    def part(self, first: int, count: int) -> ClothedPeople:
        """Some of the people."""
        own = slice(first, first + count)
        arrays = {name: getattr(self, name)[own] for name in (*_PICTURES, "body", "given", "meshes")}
        return replace(self, **arrays, pools={k: v[own] for k, v in self.pools.items()})

    def posed_mesh(self, person: int, picture: int) -> Mesh:
        """The true clothed surface of a picture, metres, camera frame."""
        return self.meshes[person].posed(self.transforms[person, picture])

    def posed_body(self, person: int, picture: int, *, given: bool = True) -> Array:
        """(V, 3) the given or the true body of a picture, metres, camera frame."""
        body, moves = (self.given, self.given_transforms) if given else (self.body, self.transforms)
        return skinned(body[person], self.rig.body_weights, moves[person, picture])

    def maps(self, place: int) -> dict[str, Array]:
        """Picture, mask and maps of a place, as they are kept."""
        p, m = self.at(place)
        return {
            "image": self.images[p, m],
            "mask": self.masks[p, m],
            "normals": self.normals[p, m],
            "body_normals": self.body_normals[p, m],
            "calib": self.calib[p, m],
        }

    def points(self, place: int, counts: tuple[int, int, int], rng: np.random.Generator) -> dict[str, Array]:
        """Drawn surface, near and box points of a place, with repeats, and the joints' transforms."""
        p, m = self.at(place)
        out = draw_points({k: v[p] for k, v in self.pools.items()}, counts, rng)
        moves = {name: getattr(self, name)[p, m] for name in ("transforms", "given_transforms")}
        return {**out, **moves}

    def body_points(self, place: int) -> tuple[Array, Array, Array]:
        """Posed vertices (V, 3) of the given body, its faces, and calib of a place."""
        p, m = self.at(place)
        return self.posed_body(p, m), self.rig.body_faces, self.calib[p, m]

    def star_body(self, place: int) -> tuple[Array, Array]:
        """The given body of a place in the star pose, and its faces."""
        return self.given[self.at(place)[0]], self.rig.body_faces


def draw_points(
    pools: Mapping[str, Array], counts: tuple[int, int, int], rng: np.random.Generator
) -> dict[str, Array]:
    """Random rows of the surface, near and box pools of one person. O(sum of counts)."""
    out: dict[str, Array] = {}
    for name, count in zip(("surface", "near", "box"), counts, strict=True):
        rows = rng.integers(len(pools[name]), size=count)
        out |= {k: v[rows] for k, v in pools.items() if k == name or k.startswith(f"{name}_")}
    return out


@dataclass(frozen=True)
class ClothedSplits:
    """People to train, validate and test with; test people are outside the ranges of the others."""

    train: ClothedPeople
    val: ClothedPeople
    test: ClothedPeople
    fingerprint: str


def clothed_people(
    settings: ClothedSet,
    parts: tuple[int, int, int],
    workers: int = 0,
    done: Callable[[int, int], None] = lambda n, of: None,
) -> ClothedSplits:
    """Clothed people, drawn when they are first asked for.

    Args:
        settings: all people.
        parts: people to train, validate and test with; together ``settings.identities``.
        workers: processes that draw; 0: all cores.
        done: called with (finished, all) people while drawing.

    Raises:
        DataError: the cache holds something else or is damaged.
    """
    folder = kept_at(settings)
    if not is_kept(settings):
        make(settings, folder, workers or os.cpu_count() or 1, False, done)
    return _splits(settings, parts, (files for _, files in read_samples(folder)))


def clothed_in_memory(settings: ClothedSet, parts: tuple[int, int, int]) -> ClothedSplits:
    """The same people as `clothed_people`, drawn anew: for a few."""
    drawn = (sample.files for n in range(settings.identities) for sample in settings.samples(n))
    return _splits(settings, parts, drawn)


def kept_at(settings: ClothedSet) -> Path:
    """Where the people of a set lie once they are drawn."""
    return io.home() / "data" / mark_of(settings, version=(VERSION, _LOOK))


def is_kept(settings: ClothedSet) -> bool:
    """Whether they lie there, whole."""
    return (kept_at(settings) / "card.md").is_file()


def _splits(
    settings: ClothedSet, parts: tuple[int, int, int], samples: Iterable[Mapping[str, bytes]]
) -> ClothedSplits:
    """The people of a set as three splits. Memory O(all people)."""
    tables = [_table(files["npz"], kept_at(settings)) for files in samples]
    if len(tables) != settings.identities:
        raise DataError(
            f"{kept_at(settings)}: {len(tables)} people, not {settings.identities}; delete it, it is drawn"
            " again"
        )
    arrays = {name: np.stack([t[name] for t in tables]) for name in (*_PICTURES, "body", "given")}
    whole = ClothedPeople(
        rig=settings.rig(),
        **arrays,
        pools={name: np.stack([t[name] for t in tables]) for name in POOLS},
        meshes=tuple(ClothedMesh(*(t[name] for name in _MESH)) for t in tables),
    )
    train, val, test = parts
    found = (whole.part(0, train), whole.part(train, val), whole.part(train + val, test))
    return ClothedSplits(*found, kept_at(settings).name)


def _table(data: bytes, place: Path) -> dict[str, Array]:
    """The arrays of one person."""
    try:
        with np.load(streams.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in (*_PICTURES, *_MESH, "body", "given", *POOLS)}
    except (KeyError, ValueError, OSError) as error:
        raise DataError(
            f"{place}: a person's file is damaged ({error}); delete it, it is drawn again"
        ) from error
    except Exception as error:  # zipfile's own
        raise DataError(
            f"{place}: a person's file is no npz ({error}); delete it, it is drawn again"
        ) from error
