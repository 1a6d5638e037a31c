"""HDTF in OTAvatar's packing as talking heads to train on: one camera, real pictures decoded when asked for.

The fine track gives the camera; the coarse one the motion: 64 expression coefficients, three angles, three of
translation. Clips take the place of people. Depth is not known (NaN).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core.errors import DataError
from mien.core.seeds import derive
from mien.data.hdtf import Hdtf, HdtfClip, read_hdtf
from mien.data.talking import TalkingHeads, TalkingSplits
from mien.render.tracking import tracker_to_camera

Floats = NDArray[np.float32]
EXPRESSION = 64
NAMES = (
    *(f"expression_{k:02d}" for k in range(EXPRESSION)),
    *(f"angle_{axis}" for axis in "xyz"),
    *(f"translation_{axis}" for axis in "xyz"),
)
"""The 70 rows of a window; the last six are the pose."""
_NEAR = 16.0  # mean difference of a channel, grey levels, up to which a pixel is the backdrop; JPEG is noisy


@dataclass(frozen=True, eq=False)
class ClipPictures:
    """Pictures of chosen frames, read as the array (P, M, 1, S, S, 4) would be.

    Attributes:
        found: the packed split.
        clips: P of its clips.
        moments: (P, M) frames.
        side: S.
        backdrop: colour that the matting left behind the person; None: everything counts as the person.
    """

    found: Hdtf
    clips: tuple[HdtfClip, ...]
    moments: NDArray[np.int32]
    side: int
    backdrop: tuple[int, int, int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array that it stands for."""
        return (*self.moments.shape, 1, self.side, self.side, 4)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, at: Any) -> Any:
        """Some of the clips (a slice), or the pictures at (clips, moments, cameras): one JPEG each."""
        if isinstance(at, slice):
            return replace(self, clips=self.clips[at], moments=self.moments[at])
        who, moment, camera = np.broadcast_arrays(*at)
        if camera.any():
            raise IndexError(f"there is one camera, number 0; got {int(camera.max())}")
        out = np.empty((*who.shape, self.side, self.side, 4), np.uint8)
        for place in np.ndindex(who.shape):
            p, m = int(who[place]), int(moment[place])
            picture = self.found.frame(self.clips[p], int(self.moments[p, m]))
            out[place] = on_white(picture, self.side, self.backdrop)
        return out


@dataclass(frozen=True, eq=False)
class ClipRows:
    """Motion of clips of any length, read as the array (P, T, 70) would be.

    Attributes:
        rows: (T, 70) of each clip.
    """

    rows: tuple[Floats, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        """Some of the clips (a slice), or rows of one clip: (clip, frames)."""
        if isinstance(at, slice):
            return ClipRows(self.rows[at])
        who, frames = at
        return self.rows[who][frames]


@dataclass(frozen=True)
class HdtfHeads(TalkingHeads):
    """`TalkingHeads` whose pictures are `ClipPictures` and whose tracks are `ClipRows`."""

    def strength(self, who: int) -> Floats:
        """(M,) sum |expression| of a clip's moments, without the pose. O(M)."""
        return np.asarray(np.abs(self.tracks[who, self.moments[who]][:, :EXPRESSION]).sum(1))

    def windows(self, radius: int) -> Floats:
        """(P, M, 70, 2 radius + 1), as `TalkingHeads.windows`."""
        out = np.empty((*self.moments.shape, len(NAMES), 2 * radius + 1), np.float32)
        around = np.arange(-radius, radius + 1)
        for who, rows in enumerate(cast("ClipRows", self.tracks).rows):
            at = np.clip(self.moments[who][:, None] + around, 0, len(rows) - 1)
            out[who] = rows[at].swapaxes(1, 2)
        return out


def on_white(
    picture: NDArray[np.uint8], side: int, backdrop: tuple[int, int, int] | None = None
) -> NDArray[np.uint8]:
    """A picture (H, W, 3) as (side, side, 4): RGB on white, and how much of a pixel is no backdrop. O(H W).

    >>> on_white(np.zeros((2, 2, 3), np.uint8), 1, (0, 0, 0))[0, 0].tolist()
    [255, 255, 255, 0]
    """
    solid = np.ones(picture.shape[:2], bool)
    if backdrop is not None:
        solid = np.abs(picture.astype(np.float32) - backdrop).mean(2) > _NEAR
    whole = np.dstack([np.where(solid[..., None], picture, 255), 255 * solid]).astype(np.uint8)
    if whole.shape[:2] == (side, side):
        return whole
    how = Image.Resampling.BOX if min(whole.shape[:2]) >= side else Image.Resampling.BILINEAR
    layers = [
        np.asarray(Image.fromarray(layer).resize((side, side), how)) for layer in np.moveaxis(whole, 2, 0)
    ]
    return np.stack(layers, 2)


def points_at_centre(uv: Floats, cameras: Floats) -> Floats:
    """Places of pictures as points of the cube, all as deep as its middle. O(T N).

    With (x, y) = ((u, v) - c) / f and z = -(R^T o)_z: p = o + R (x z, y z, z), which is seen at (u, v).

    Args:
        uv: (T, N, 2) picture sides.
        cameras: (T, 25), without skew.

    Returns:
        (T, N, 3).
    """
    pose, k = cameras[:, :16].reshape(-1, 4, 4), cameras[:, 16:].reshape(-1, 3, 3)
    turn, origin = pose[:, :3, :3], pose[:, :3, 3]
    depth = -np.einsum("ti,ti->t", turn[:, :, 2], origin)
    focal = np.stack([k[:, 0, 0], k[:, 1, 1]], 1)
    xy = (uv - k[:, None, :2, 2]) / focal[:, None]
    local = np.concatenate([xy, np.ones_like(xy[..., :1])], 2) * depth[:, None, None]
    return np.asarray(origin[:, None] + np.einsum("tij,tnj->tni", turn, local), np.float32)


def even_moments(frames: int, count: int) -> NDArray[np.int32]:
    """``count`` frames from the first to the last of a clip, evenly; a short clip repeats some.

    >>> even_moments(5, 3).tolist(), even_moments(2, 3).tolist()
    ([0, 2, 4], [0, 0, 1])
    """
    return np.linspace(0, frames - 1, count).astype(np.int32)


def read_clips(
    found: Hdtf,
    clips: Sequence[HdtfClip],
    size: int,
    moments: int,
    backdrop: tuple[int, int, int] | None = None,
) -> HdtfHeads:
    """Tracks and cameras of clips; no picture is read. O(frames), 280 bytes a frame are kept.

    Args:
        found: the packed split.
        clips: of it.
        size: side of the pictures, pixels.
        moments: frames of each clip that are shown.
        backdrop: see `ClipPictures`.

    Raises:
        DataError: a track is missing or damaged.
    """
    rows, cameras, points = [], [], []
    chosen = np.stack([even_moments(c.frames, moments) for c in clips])
    for clip, at in zip(clips, chosen, strict=True):
        coarse = found.coefficients(clip)
        rows.append(np.concatenate([coarse.expression, coarse.angles, coarse.translation], 1))
        seen = tracker_to_camera(*found.condition(clip))[at].astype(np.float32)
        cameras.append(seen[:, None])
        points.append(points_at_centre(found.keypoints(clip)[at] / found.resolution, seen))
    pictures = ClipPictures(found, tuple(clips), chosen, size, backdrop)
    unknown = np.broadcast_to(np.float16(np.nan), pictures.shape[:-1])
    people = tuple(derive(0, "person", clip.person) for clip in clips)
    held = (
        cast(Any, pictures),
        unknown,
        np.stack(cameras),
        np.stack(points),
        cast(Any, ClipRows(tuple(rows))),
    )
    return HdtfHeads(*held, chosen, NAMES, people)


def split_people(
    clips: Sequence[HdtfClip], count: int, seed: int
) -> tuple[tuple[HdtfClip, ...], tuple[HdtfClip, ...]]:
    """Clips to train on and clips of ``count`` held-out persons, drawn by their names. O(clips log clips).

    Raises:
        DataError: too few persons.
    """
    names = sorted({c.person for c in clips}, key=lambda name: (derive(seed, "val", name), name))
    if not 0 < count < len(names):
        raise DataError(
            f"{len(names)} persons in the train list cannot lend {count} for validation; set data.val_people"
        )
    held = set(names[:count])
    return tuple(c for c in clips if c.person not in held), tuple(c for c in clips if c.person in held)


def hdtf_heads(
    root: str | Path,
    size: int = 64,
    moments: int = 6,
    val_people: int = 24,
    seed: int = 0,
    *,
    resolution: int | None = None,
    backdrop: tuple[int, int, int] | None = None,
) -> TalkingSplits:
    """The packed set as talking heads: train list, persons of it held out for validation, test list.

    Args:
        root: folder of the lists.
        size: side of the pictures, pixels; larger ones are averaged.
        moments: frames of each clip.
        val_people: persons of the train list that are held out.
        seed: of which.
        resolution: see `read_hdtf`.
        backdrop: see `ClipPictures`.

    Raises:
        DataError: files that are missing or damaged, or too few persons.
    """
    train, test = (read_hdtf(root, split, resolution) for split in ("train", "test"))
    learnt, held = split_people(train.clips, val_people, seed)
    parts = ((train, learnt), (train, held), (test, test.clips))
    names = [[(c.name, c.frames) for c in own] for _, own in parts]
    record = [train.resolution, size, moments, backdrop, names]
    learn, choose, report = (read_clips(found, own, size, moments, backdrop) for found, own in parts)
    return TalkingSplits(learn, choose, report, hashlib.sha256(repr(record).encode()).hexdigest()[:16])
