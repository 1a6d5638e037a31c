"""Made talking heads for avatars: moments of people's clips, seen from several sides.

The pictures are drawn once into ``$MIEN_HOME/data/<fingerprint>`` (resumable), then mapped from disk.
"""

from __future__ import annotations

import io as streams
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core import io
from mien.core.errors import DataError
from mien.synth.maker import VERSION, make, mark_of, read_samples
from mien.synth.talking_set import TalkingSet

_LOOK = 2  # raised when `mien.synth.orbit` draws otherwise
_ARRAYS = ("images", "depth", "cameras", "points", "track", "moments", "names")


@dataclass(frozen=True)
class TalkingHeads:
    """P people, M moments of each, V views of a moment, in the units of a cube of side 1 around the head.

    Attributes:
        images: (P, M, V, S, S, 4) uint8: RGB on white, and how much of a pixel is no background.
        depth: (P, M, V, S, S) float16 distance along the ray; inf = background.
        cameras: (P, M, V, 25) of EG3D.
        points: (P, M, 68, 3) facial landmarks.
        tracks: (P, T, C) expression rows of the whole clips.
        moments: (P, M) frame of each moment.
        names: of the C actions.
        people: (P,) seeds, to draw more of the same persons.
    """

    images: NDArray[np.uint8]
    depth: NDArray[np.float16]
    cameras: NDArray[np.float32]
    points: NDArray[np.float32]
    tracks: NDArray[np.float32]
    moments: NDArray[np.int32]
    names: tuple[str, ...]
    people: tuple[int, ...]

    @property
    def size(self) -> int:
        """Pixels a side."""
        return int(self.images.shape[3])

    def part(self, first: int, count: int) -> TalkingHeads:
        """Some of the people."""
        own = slice(first, first + count)
        arrays = ("images", "depth", "cameras", "points", "tracks", "moments", "people")
        return replace(self, **{name: getattr(self, name)[own] for name in arrays})

    def strength(self, who: int) -> NDArray[np.float32]:
        """(M,) sum |expression| of a person's moments. O(M C)."""
        return np.asarray(np.abs(self.tracks[who, self.moments[who]]).sum(1))

    def windows(self, radius: int) -> NDArray[np.float32]:
        """(P, M, C, 2 radius + 1) rows of the frames around each moment; the ends of a clip are repeated.

        O(P M C radius).
        """
        frames = self.tracks.shape[1]
        at = np.clip(self.moments[..., None] + np.arange(-radius, radius + 1), 0, frames - 1)
        rows = self.tracks[np.arange(len(self.tracks))[:, None, None], at]
        return np.ascontiguousarray(rows.swapaxes(2, 3))


@dataclass(frozen=True)
class TalkingSplits:
    """Three sets of people who do not overlap.

    Attributes:
        train: to learn from.
        val: to choose settings with.
        test: to report on.
        fingerprint: of the settings.
    """

    train: TalkingHeads
    val: TalkingHeads
    test: TalkingHeads
    fingerprint: str


def talking_heads(
    settings: TalkingSet,
    parts: tuple[int, int, int],
    workers: int = 0,
    done: Callable[[int, int], None] = lambda n, of: None,
) -> TalkingSplits:
    """Talking heads, drawn when they are first asked for (0.015 s of a core a picture at 64 px).

    Args:
        settings: all people.
        parts: people to train, validate and test with; together ``settings.identities``.
        workers: processes that draw; 0: all cores.
        done: called with (finished, all) people while drawing.

    Raises:
        DataError: the cache holds something else.
    """
    folder = kept_at(settings)
    if not is_kept(settings):
        raw = folder.with_suffix(".drawn")
        make(settings, raw, workers or os.cpu_count() or 1, True, done)
        _assemble(settings, raw, folder)
        shutil.rmtree(raw)
    held = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    if len(held["images"]) != settings.identities:
        raise DataError(f"{folder}: {len(held['images'])} people, not {settings.identities}; delete it, it is"
                        " drawn again")  # fmt: skip
    return _splits(settings, parts, held)


def heads_in_memory(settings: TalkingSet, parts: tuple[int, int, int]) -> TalkingSplits:
    """The same heads as `talking_heads`, drawn anew and kept in memory: for a few. O(pictures size^2)."""
    drawn = (sample.files for n in range(settings.identities) for sample in settings.samples(n))
    return _splits(settings, parts, _collected(settings, drawn, lambda _, shape, kind: np.empty(shape, kind)))


def kept_at(settings: TalkingSet) -> Path:
    """Where the pictures of a set lie once they are drawn."""
    return io.home() / "data" / mark_of(settings, version=(VERSION, _LOOK))


def is_kept(settings: TalkingSet) -> bool:
    """Whether they lie there, whole."""
    return (kept_at(settings) / "names.npy").is_file()


def _splits(settings: TalkingSet, parts: tuple[int, int, int], held: Mapping[str, Any]) -> TalkingSplits:
    """The arrays of all people as three sets."""
    whole = TalkingHeads(
        held["images"],
        held["depth"],
        np.array(held["cameras"]),
        np.array(held["points"]),
        np.array(held["track"]),
        np.array(held["moments"]),
        tuple(str(n) for n in held["names"]),
        tuple(settings.who(n) for n in range(settings.identities)),
    )
    train, val, test = parts
    found = (whole.part(0, train), whole.part(train, val), whole.part(train + val, test))
    return TalkingSplits(*found, kept_at(settings).name)


def _assemble(settings: TalkingSet, raw: Path, folder: Path) -> None:
    """All people of a set as one file an array; ``names`` comes last and says that the others are whole.

    Memory O(one person).
    """
    folder.mkdir(parents=True, exist_ok=True)

    def on_disk(name: str, shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
        return np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape)

    written = _collected(settings, (files for _, files in read_samples(raw)), on_disk)
    names = written.pop("names")
    for array in written.values():
        array.flush()
    with io.new_file(folder / "names.npy") as part, part.open("wb") as stream:
        np.save(stream, names)


def _collected(
    settings: TalkingSet,
    samples: Iterable[Mapping[str, bytes]],
    hold: Callable[[str, tuple[int, ...], np.dtype[Any]], NDArray[Any]],
) -> dict[str, Any]:
    """The arrays of all people, read one by one; ``hold``: name, shape and kind -> an array to fill."""
    out: dict[str, Any] = {}
    for n, files in enumerate(samples):
        with np.load(streams.BytesIO(files["npz"]), allow_pickle=False) as file:
            for name in _ARRAYS[:-1]:
                if n == 0:
                    out[name] = hold(name, (settings.identities, *file[name].shape), file[name].dtype)
                out[name][n] = file[name]
            out["names"] = file["names"]
    return out
