"""A motion that drives an avatar: face actions, head pose and camera of every frame of a clip.

The pose is that of a head before a still camera: R = Y(yaw) X(pitch) Z(roll) turns the head about its middle
(yaw > 0: to the subject's left, pitch > 0: down, as `mien.synth.face.rotation`), ``translation`` shifts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError, MienError, ShapeError
from mien.data.hdtf import Hdtf, split_coefficients
from mien.data.smoothing import one_euro
from mien.methods.otavatar.head_pose import Pose, head_cameras, head_pose, turned_head
from mien.methods.otavatar.track_files import read_mat, read_npz, write_npz
from mien.render.tracking import euler_rotations, tracker_to_camera
from mien.synth.face import ORBIT_FOCAL as FOCAL

Floats = NDArray[np.float32]
_GAP = 1.5  # of the median step: a longer one holds dropped frames


@dataclass(frozen=True, eq=False)
class MotionTrack:
    """T frames of motion, checked when made.

    Attributes:
        expression: (T, C) face actions in 0 .. 1, or coefficients of a face model.
        angles: (T, 3) pitch, yaw, roll of the head, radians.
        translation: (T, 3) shift of the head's middle: to the right of the picture, up, to the camera; in
            sides of the avatar's cube.
        focal: (T,) focal length, picture sides.
        fps: frames a second.
        names: of the C actions; () = coefficients without names.
        times: (T,) seconds of the frames where the steps are uneven; None = even steps.
        notes: what was mended.

    Raises:
        DataError: no frames, times that do not increase, or values that are no numbers (the first frame with
            one is named).
        ShapeError: arrays that do not belong together.
        ConfigError: a rate that is not positive.
    """

    expression: Floats
    angles: Floats
    translation: Floats
    focal: Floats
    fps: float
    names: tuple[str, ...] = ()
    times: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frames = len(self.expression)
        shapes = [np.shape(a) for a in (self.angles, self.translation, self.focal)]
        if self.expression.ndim != 2 or shapes != [(frames, 3), (frames, 3), (frames,)]:
            raise ShapeError(
                "a track is expression (T, C), angles (T, 3), translation (T, 3), focal (T,); got "
                f"{self.expression.shape} and {', '.join(map(str, shapes))}"
            )
        if not frames:
            raise DataError("a track of no frames; give a longer clip")
        if self.names and len(self.names) != self.expression.shape[1]:
            raise ShapeError(f"{self.expression.shape[1]} actions but {len(self.names)} names of actions")
        if not (self.fps > 0 and np.isfinite(self.fps)):
            raise ConfigError(f"fps must be above 0, got {self.fps}")
        rows = np.column_stack([self.expression, self.angles, self.translation, self.focal])
        if not (fine := np.isfinite(rows).all(1)).all():
            raise DataError(
                f"frame {int(np.argmin(fine))} of the track holds values that are no numbers"
                f" ({int((~fine).sum())} such frames); leave them out and give times, or track the clip again"
            )
        if self.times is not None and (self.times.shape != (frames,) or not (np.diff(self.times) > 0).all()):
            raise DataError(f"times must be {frames} numbers that increase; sort the frames")

    def __len__(self) -> int:
        return len(self.expression)

    @classmethod
    def of(
        cls,
        expression: NDArray[Any],
        pose: Pose | None = None,
        fps: float = 25.0,
        names: Sequence[str] = (),
        times: NDArray[np.float64] | None = None,
    ) -> Self:
        """A track of rows (T, C) and a pose; without one the head looks straight ahead."""
        rows = np.asarray(expression, np.float32)
        count = len(rows)
        own = pose or Pose(np.zeros((count, 3)), np.zeros((count, 3)), np.full(count, FOCAL))
        angles, translation, focal = (np.asarray(a, np.float32) for a in own)
        return cls(rows, angles, translation, focal, float(fps), tuple(names), times)

    @classmethod
    def from_talk(
        cls, seed: int, frames: int, kind: Literal["talk", "perform"] = "talk", fps: float = 25.0
    ) -> Self:
        """A made motion: somebody who talks, or goes through strong expressions. O(T C).

        Raises:
            ConfigError: no frames, or no such kind.
        """
        from mien.synth.body import people
        from mien.synth.motion import expression_rows, perform, talk

        if kind not in ("talk", "perform"):
            raise ConfigError(f"no motion {kind!r}; talk or perform")
        made, names = (talk if kind == "talk" else perform)(seed, frames, fps), people().actions
        angles = np.array([(f.pitch, f.yaw, f.roll) for f in made])
        still = Pose(angles, np.zeros((frames, 3)), np.full(frames, FOCAL))
        return cls.of(expression_rows(made, names), still, fps, names)

    @classmethod
    def from_mat(cls, path: str | Path, fps: float = 25.0) -> Self:
        """The coarse track of a clip, ``coeff`` (T, 257 or more) of a .mat file as Deep3DFaceRecon's.

        Expression and rotation are taken, the latter as v' = Rz Ry Rx v; the shift is that of the tracker's
        own crop and is left out. O(T).

        Raises:
            DataError: missing, damaged, or without these numbers.
        """
        found = split_coefficients(read_mat(Path(path), "coeff", 257))
        turned = turned_head(euler_rotations(found.angles).transpose(0, 2, 1))
        return cls.of(found.expression, turned, fps)

    @classmethod
    def from_hdtf(cls, found: Hdtf, clip: str, fps: float = 25.0) -> Self:
        """A clip of the packed set: its coarse expression, and the head pose of its fine camera. O(T).

        Raises:
            DataError: no such clip, or its track is damaged.
        """
        own = found.clip(clip)
        cameras = tracker_to_camera(*found.condition(own))
        return cls.of(found.coefficients(own).expression, head_pose(cameras), fps)

    @classmethod
    def from_npz(cls, path: str | Path) -> Self:
        """What `to_npz` wrote; nothing in it is executed.

        Raises:
            DataError: missing, damaged, or no track.
            LimitError: larger than `max_array_bytes`.
        """
        path = Path(path)
        file = read_npz(path)
        try:
            pose = Pose(*(file[k] for k in Pose._fields))
            names = [str(n) for n in file["names"]]
            return cls.of(file["expression"], pose, float(file["fps"]), names, file.get("times"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: not a motion track ({error}); write it with MotionTrack.to_npz"
            ) from None
        except MienError as error:
            raise DataError(f"{path}: {error}") from None

    def to_npz(self, path: str | Path) -> Path:
        """Writes the track, whole or not at all; read by `from_npz`."""
        arrays = {k: getattr(self, k) for k in ("expression", *Pose._fields)}
        arrays |= {"fps": np.float64(self.fps), "names": np.array(self.names, np.str_)}
        if self.times is not None:
            arrays["times"] = self.times
        return write_npz(Path(path), arrays)

    def window(self, t: int, radius: int = 13, pose_rows: int = 0) -> Floats:
        """(C + pose_rows, 2 radius + 1): rows of the frames around frame t, its ends repeated. O(C radius).

        Args:
            t: frame.
            radius: frames on each side.
            pose_rows: how many of (pitch, yaw, roll, x, y, z) follow the expression.
        """
        at = np.clip(np.arange(t - radius, t + radius + 1), 0, len(self) - 1)
        pose = np.concatenate([self.angles[at], self.translation[at]], 1)[:, :pose_rows]
        return np.ascontiguousarray(np.concatenate([self.expression[at], pose], 1).T)

    def cameras(self) -> Floats:
        """(T, 25): the cameras that see a head at rest as the still camera sees this moving one."""
        return head_cameras(Pose(self.angles, self.translation, self.focal))

    def first(self, frames: int) -> Self:
        """The first frames only, all if there are fewer."""
        own = slice(0, frames)
        times = None if self.times is None else self.times[own]
        return replace(self, **{k: getattr(self, k)[own] for k in ("expression", *Pose._fields)}, times=times)

    def resampled(self, fps: float | None = None) -> Self:
        """Even steps by linear interpolation; dropped frames are so filled, and noted. O(T C).

        Args:
            fps: frames a second; default the track's own.

        Raises:
            ConfigError: a rate that is not positive.
        """
        rate = self.fps if fps is None else fps
        if not rate > 0:
            raise ConfigError(f"fps must be above 0, got {rate}")
        old = np.arange(len(self)) / self.fps if self.times is None else self.times
        new = old[0] + np.arange(int((old[-1] - old[0]) * rate + 1e-6) + 1) / rate

        def at(values: Floats) -> Floats:
            rows = values.reshape(len(self), -1).T
            return np.stack([np.interp(new, old, r) for r in rows], 1).astype(np.float32)

        return replace(
            self,
            expression=at(self.expression),
            angles=at(_unwrapped(self.angles)),
            translation=at(self.translation),
            focal=at(self.focal)[:, 0],
            fps=float(rate),
            times=None,
            notes=self.notes + _gaps(old),
        )

    def smoothed(self, min_cutoff: float = 2.0, beta: float = 0.5) -> Self:
        """Expression and pose through the One-Euro filter (`mien.data.smoothing`). O(T C)."""
        times = np.arange(len(self)) / self.fps if self.times is None else self.times

        def smooth(values: Floats) -> Floats:
            return one_euro(values, times=times, min_cutoff=min_cutoff, beta=beta).astype(np.float32)

        return replace(
            self,
            expression=smooth(self.expression),
            angles=smooth(_unwrapped(self.angles)),
            translation=smooth(self.translation),
        )

    def named(self, names: Sequence[str]) -> Self:
        """The actions in the order of ``names``; those that the track does not have rest at 0, and are noted.

        Raises:
            DataError: the track moves an action that is not among them.
        """
        own = {name: k for k, name in enumerate(self.names)}
        moved = [n for n, k in own.items() if n not in names and self.expression[:, k].any()]
        if moved:
            raise DataError(f"the track moves {', '.join(moved[:3])}, which this avatar does not know")
        rows = np.zeros((len(self), len(names)), np.float32)
        known = [(k, own[n]) for k, n in enumerate(names) if n in own]
        for k, j in known:
            rows[:, k] = self.expression[:, j]
        missing = len(names) - len(known)
        notes = (f"{missing} of {len(names)} actions are not in the track and rest",) if missing else ()
        return replace(self, expression=rows, names=tuple(names), notes=self.notes + notes)


def _unwrapped(angles: Floats) -> Floats:
    return np.unwrap(angles, axis=0).astype(np.float32)


def _gaps(times: NDArray[np.float64]) -> tuple[str, ...]:
    """A note on the frames that are missing between others."""
    steps = np.diff(times)
    if not len(steps):
        return ()
    usual = float(np.median(steps))
    long = steps[steps > _GAP * usual]
    if not len(long):
        return ()
    lost = int(np.round(long / usual).sum()) - len(long)
    return (f"{lost} dropped frames in {len(long)} gaps (longest {long.max():.2f} s) interpolated",)
