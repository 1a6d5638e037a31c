"""CLEVRER: videos of 128 frames with objects, motion, collisions and questions.

``video_00000-01000/video_00000.mp4`` and ``annotation_00000-01000/annotation_00000.json``, at any depth below
the root; questions in ``train.json``, ``validation.json``, ``test.json``.

Source: Yi et al., CLEVRER: collision events for video representation and reasoning, ICLR 2020.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.io import read_json
from mien.data.comphy import read_pair, read_things, records, split_questions
from mien.synth.comphy_scene import Event, Thing

Array = NDArray[Any]
FRAMES = 128
SPLITS = {"train": range(10000), "validation": range(10000, 15000), "test": range(15000, 20000)}
_NAME = re.compile(r"(?:video|annotation)_(\d{5})\.(?:mp4|json)", re.ASCII)


class ClevrerVideo(NamedTuple):
    """One video.

    Attributes:
        number: of the video.
        path: of the mp4, None where there is none.
        things: its objects, all of mass 1, charge 0; None without an annotation, as in the test split.
        collisions: as annotated.
        locations: (T, N, 3) world units, NaN where an object is not listed.
        visible: (T, N) within the camera's view.
        questions: as the file lists them; none without a file.
    """

    number: int
    path: Path | None
    things: tuple[Thing, ...] | None
    collisions: tuple[Event, ...]
    locations: Array
    visible: Array
    questions: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Clevrer:
    """A split of a copy of CLEVRER; annotations are read when asked for, videos are not opened.

    Attributes:
        root: folder of the copy.
        split: "train", "validation" or "test".
    """

    root: Path
    split: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser())
        if self.split not in SPLITS:
            raise ConfigError(f"split={self.split!r}: one of {', '.join(SPLITS)}")
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; give the folder of your copy of CLEVRER")
        if not self.numbers:
            numbers = SPLITS[self.split]
            raise DataError(
                f"{self.root}: no video_{numbers[0]:05d}.mp4 .. {numbers[-1]:05d}, nor annotations of them"
            )

    @cached_property
    def files(self) -> dict[str, dict[int, Path]]:
        """Videos (".mp4") and annotations (".json") of this split, by number. O(files below the root)."""
        found: dict[str, dict[int, Path]] = {".mp4": {}, ".json": {}}
        for path in sorted(self.root.rglob("*_*.*")):
            if (named := _NAME.fullmatch(path.name)) and int(named[1]) in SPLITS[self.split]:
                found[path.suffix][int(named[1])] = path
        return found

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of which a video or an annotation is there."""
        return tuple(sorted(self.files[".mp4"].keys() | self.files[".json"].keys()))

    @cached_property
    def questions(self) -> dict[int, tuple[dict[str, Any], ...]]:
        """Questions by video, if ``ROOT/SPLIT.json`` is there."""
        return split_questions(self.root, self.split)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> ClevrerVideo:
        """A video by its place. O(frames objects).

        Raises:
            DataError: an annotation that is broken or says what cannot be.
        """
        number = self.numbers[place]
        video, told = (self.files[kind].get(number) for kind in (".mp4", ".json"))
        asked = self.questions.get(number, ())
        if told is None:
            empty = np.empty((0, 0, 3))
            return ClevrerVideo(number, video, None, (), empty, np.empty((0, 0), bool), asked)
        return ClevrerVideo(number, video, *read_annotation(told), asked)


def read_annotation(path: Path) -> tuple[tuple[Thing, ...], tuple[Event, ...], Array, Array]:
    """Objects, collisions, locations (128, N, 3), visibility (128, N) of an annotation.

    Raises:
        DataError: broken, or with objects, frames and collisions that do not fit each other.
    """
    told = read_json(path)
    where = str(path)
    if not isinstance(told, dict):
        raise DataError(f"{path}: not an annotation (object_property, motion_trajectory, collision)")
    listed = records(told.get("object_property"), where, "object_property", object_id=int)
    if [o["object_id"] for o in listed] != list(range(len(listed))):
        raise DataError(f"{path}: object_property must list object_id 0, 1, 2 ... in order")
    things = read_things(listed, where, "object_property")
    frames = records(told.get("motion_trajectory"), where, "motion_trajectory", frame_id=int, objects=list)
    if [f["frame_id"] for f in frames] != list(range(FRAMES)):
        raise DataError(f"{path}: motion_trajectory has {len(frames)} frames, not frame_id 0 .. {FRAMES - 1}")
    locations = np.full((FRAMES, len(things), 3), np.nan)
    visible = np.zeros((FRAMES, len(things)), bool)
    for frame in frames:
        what = f"motion_trajectory[{frame['frame_id']}]"
        for entry in records(frame["objects"], where, what, object_id=int, location=list):
            item, at = entry["object_id"], entry["location"]
            numbers = len(at) == 3 and all(isinstance(x, (int, float)) for x in at)
            if not 0 <= item < len(things) or not numbers:
                raise DataError(f"{path}: {what}: object {item} at {at}; needs a known object, three numbers")
            locations[frame["frame_id"], item] = at
            visible[frame["frame_id"], item] = entry.get("inside_camera_view", True)
    return things, _collisions(told.get("collision"), where, len(things)), locations, visible


def _collisions(listed: Any, where: str, count: int) -> tuple[Event, ...]:
    told = records(listed, where, "collision", object_ids=list, frame_id=int)
    return tuple(
        Event("collision", read_pair(e["object_ids"], f"{where}: collision[{place}]", count), e["frame_id"])
        for place, e in enumerate(told)
    )
