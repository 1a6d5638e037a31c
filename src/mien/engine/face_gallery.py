"""Known people to search among."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, require
from mien.core.images import SUFFIXES
from mien.core.io import new_file
from mien.data.face_folder import made_people

EXACT = 100_000
"""Vectors up to which every one is compared; beyond, a graph index (faiss) is asked."""
_LINKS, _BREADTH = 32, 128
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Gallery:
    """Embeddings of known people.

    Attributes:
        names: of the person of each vector.
        vectors: (N, D) float32 of length 1.
        note: what a reader should know, or nothing.
    """

    names: tuple[str, ...]
    vectors: NDArray[np.float32]
    note: str = ""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def rule(self) -> str:
        """How it is searched."""
        return "every vector compared" if len(self) <= EXACT else f"HNSW graph of {_LINKS} links, approximate"

    def save(self, path: Path, model: str) -> Path:
        """Writes names and vectors (not pictures), whole or not at all. They identify people: keep them safe.

        Args:
            path: the .npz.
            model: SHA-256 of the weights that embedded them.
        """
        with new_file(path) as part, part.open("wb") as stream:
            np.savez(
                stream,
                names=np.array(self.names),
                vectors=self.vectors,
                note=self.note,
                model=np.array(model),
            )
        return path

    def search(self, queries: NDArray[np.float32], count: int) -> list[tuple[tuple[str, float], ...]]:
        """The nearest people of each query with the cosine of their nearest picture.

        O(N D) for a query with up to `EXACT` vectors, else about O(D log N) after O(N D log N) once.

        Args:
            queries: (Q, D) of length 1.
            count: people wanted.
        """
        # A person's other pictures may fill the first places: ask for more until there are enough people.
        wanted, total = min(len(self), 4 * count), min(count, len(set(self.names)))
        while True:
            near, cosines = self.nearest(queries, wanted)
            found = [_people(self.names, n, c, count) for n, c in zip(near, cosines, strict=True)]
            if wanted == len(self) or all(len(f) >= total for f in found):
                return found
            wanted = min(len(self), 4 * wanted)

    def nearest(
        self, queries: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(Q, count) places and cosines of the nearest vectors, nearest first.

        Raises:
            MissingPackageError: more than `EXACT` vectors and no faiss.
        """
        if len(self) > EXACT:
            self._index.hnsw.efSearch = max(_BREADTH, 2 * count)
            cosines, places = self._index.search(np.ascontiguousarray(queries, np.float32), count)
            return np.asarray(places, np.int64), np.asarray(cosines, np.float32)
        parts = [_exact(queries[i : i + _BLOCK], self.vectors, count) for i in range(0, len(queries), _BLOCK)]
        return np.concatenate([p for p, _ in parts]), np.concatenate([c for _, c in parts])

    @cached_property
    def _index(self) -> Any:
        faiss = require("faiss", extra="search")
        index = faiss.IndexHNSWFlat(self.vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 80
        index.add(np.ascontiguousarray(self.vectors, np.float32))
        return index


def _exact(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    scores = queries @ vectors.T
    part = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    own = np.take_along_axis(scores, part, 1)
    order = np.lexsort((part, -own), axis=1)
    return np.take_along_axis(part, order, 1).astype(np.int64), np.take_along_axis(own, order, 1)


def _people(
    names: Sequence[str], near: NDArray[np.int64], cosines: NDArray[np.float32], count: int
) -> tuple[tuple[str, float], ...]:
    best: dict[str, float] = {}
    for place, cosine in zip(near.tolist(), cosines.tolist(), strict=True):
        if place >= 0:
            best.setdefault(names[place], cosine)
    return tuple(best.items())[:count]


def read_gallery(path: Path, model: str) -> Gallery:
    """What `Gallery.save` wrote.

    Args:
        path: the .npz.
        model: SHA-256 of the weights that will be searched with.

    Raises:
        DataError: missing, damaged, or of another model.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names, vectors = file["names"], file["vectors"]
            note, owner = str(file["note"]), str(file["model"])
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path of the gallery") from None
    except Exception as error:  # damaged archives raise nearly anything
        raise DataError(f"{path}: damaged, or no saved gallery ({error})") from None
    is_sound = names.ndim == 1 and names.dtype.kind == "U" and vectors.dtype == np.float32
    if not is_sound or vectors.ndim != 2 or len(vectors) != len(names) or not np.isfinite(vectors).all():
        raise DataError(f"{path}: names and vectors do not belong together; write it again")
    if owner != model:
        raise DataError(f"{path}: was embedded by another model, so nothing is alike; write it with this one")
    return Gallery(tuple(names.tolist()), vectors, note)


def gallery_files(folder: Path) -> list[tuple[str, Path]]:
    """Name and file of every picture of a gallery: folders of people, and pictures named after theirs.

    Of a made set (``mien data make faces``) the people's folders are taken, not its picture of them all.

    Raises:
        DataError: no such folder, or no pictures in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of people or of pictures, or a saved .npz")
    folder = made_people(folder) or folder
    files = [
        (path.stem if path.parent == folder else path.relative_to(folder).parts[0], path)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not files:
        raise DataError(f"{folder}: no pictures there; give a folder of people, or of pictures")
    return files
