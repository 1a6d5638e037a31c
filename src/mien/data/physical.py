"""Sets of short videos of objects that collide, some of them charged: made as needed, or a copy of ComPhy.

Every ``stride``-th frame of a video is kept. Lengths in world units, x right and y up; a made picture shows
y in [-`VIEW`, `VIEW`].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError, DataError
from mien.core.seeds import derive
from mien.data.comphy import ComPhy, ComPhyClip
from mien.data.config import PhysicalData
from mien.data.video import read_video
from mien.synth.comphy_questions import QuestionGenerator, balanced
from mien.synth.comphy_scene import (
    FPS,
    HEIGHT,
    SHOWN,
    WIDTH,
    ComPhyScene,
    Thing,
    inside,
    things_of,
    to_pixels,
)
from mien.synth.comphy_set import REFERENCE_FRAMES, VIEW, WORLD, DrawnSet, draw_set, one_clip
from mien.synth.phys_render import Background, Rendered, render_clip
from mien.synth.phys_world import Trajectory

Array = NDArray[Any]
Frames = Callable[[Array], NDArray[np.uint8]]
PARTS = ("train", "val", "test")
ALL_SEEN = 1_000_000  # a clip without a hidden end


@dataclass(frozen=True, eq=False)
class PhysicalClip:
    """One video of N objects, every ``stride``-th frame of it.

    Attributes:
        things: what the objects are.
        items: (N,) their numbers in the target.
        place: (T, N, 2).
        visible: (T, N) centre within the picture.
        hits: (N, N) bool: pairs that collide within what is shown.
        shown: frames that are shown; those after are the future.
        pictures: frames with given numbers: (n,) -> (n, H, W, 3) uint8.
        stride: frames of the video between two of ours.
        segments: whose each pixel of such frames is (0 = nobody's, k + 1 = object k's); None: unknown.
    """

    things: tuple[Thing, ...]
    items: tuple[int, ...]
    place: Array
    visible: Array
    hits: Array
    shown: int
    pictures: Frames
    stride: int
    segments: Frames | None = None

    @property
    def dt(self) -> float:
        """Seconds between frames."""
        return self.stride / FPS

    def video(self, frames: int | None = None) -> NDArray[np.uint8]:
        """The first frames (T, H, W, 3); None = those that are shown."""
        return self.pictures(np.arange(self.shown if frames is None else frames))


@dataclass(frozen=True, eq=False)
class PhysicalSet:
    """A target, its references, and what is asked.

    Attributes:
        number: of the set in its split.
        target: the video asked about.
        references: videos of some of its objects.
        scene: what programs see of the target.
        questions: of this set.
        drawn: the simulation behind a made set.
    """

    number: int
    target: PhysicalClip
    references: tuple[PhysicalClip, ...]
    scene: ComPhyScene
    questions: tuple[dict[str, Any], ...]
    drawn: DrawnSet | None = None

    @property
    def clips(self) -> tuple[PhysicalClip, ...]:
        """The target, then its references."""
        return (self.target, *self.references)


def rows_to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pictures, -1, -3))).float() / 255


def physical_sets(data: PhysicalData, part: str) -> list[PhysicalSet]:
    """The sets of "train", "val" or "test"; made ones take 16 ms each. Pictures are drawn when asked for.

    Raises:
        ConfigError: no such part.
        DataError: files that cannot be read.
    """
    if part not in PARTS:
        raise ConfigError(f"no part {part!r}; one of {', '.join(PARTS)}")
    count = {"train": data.sets, "val": data.val_sets, "test": data.test_sets}[part]
    if data.kind == "comphy":
        return _read(data, part, count)
    drawn = [draw_set(derive(data.set_seed, "physical", part, k), data.refs) for k in range(count)]
    generated = [QuestionGenerator(d.scene, d.seed).generate(each=data.asked) for d in drawn]
    asked = balanced(generated, data.set_seed) if count > 1 else generated
    return [made_set(data, k, d, tuple(q)) for k, (d, q) in enumerate(zip(drawn, asked, strict=True))]


def lone_clips(data: PhysicalData, part: str, count: int) -> list[PhysicalClip]:
    """Made clips of three neutral objects that never touch: nothing in them tells a mass.

    As long as a reference. O(count).
    """
    seed = derive(data.set_seed, "physical", part, "alone")
    world = replace(WORLD, n_objects=3, charge_values=(0,), seed=seed)
    clips: list[PhysicalClip] = []
    first = 0
    while len(clips) < count:
        drawn = world.simulate(count, REFERENCE_FRAMES, first)
        alone = np.flatnonzero(~drawn.hits.any((1, 2, 3)))
        clips += [
            made_clip(data, one_clip(drawn, int(k)), range(3), derive(seed, first + int(k))) for k in alone
        ]
        first += count
    return clips[:count]


def made_set(
    data: PhysicalData, number: int, drawn: DrawnSet, questions: tuple[dict[str, Any], ...]
) -> PhysicalSet:
    """A simulated set as videos; pictures are drawn when asked for."""
    count = drawn.target.m.shape[1]
    target = made_clip(data, drawn.target, tuple(range(count)), derive(drawn.seed, "ground"), SHOWN)
    references = tuple(
        made_clip(data, r.clip, r.items, derive(drawn.seed, "ground", k))
        for k, r in enumerate(drawn.references)
    )
    return PhysicalSet(number, target, references, drawn.scene, questions, drawn)


def made_clip(
    data: PhysicalData, clip: Trajectory, items: Sequence[int], seed: int, shown: int = ALL_SEEN
) -> PhysicalClip:
    """A simulated clip as a video.

    Args:
        data: size of the pictures, stride, background.
        clip: one clip.
        items: its objects' numbers in the target.
        seed: of the background.
        shown: frames of the clip that are shown.
    """
    place = clip.x[0, :: data.stride]
    drawn = partial(_drawn, clip, data.size, data.stride, data.background, seed)
    return PhysicalClip(
        things_of(clip.objects, 0),
        tuple(items),
        place,
        inside(to_pixels(place, VIEW)),
        np.asarray(clip.hits[0, :shown].any(0)),
        min(len(place), -(-shown // data.stride)),
        lambda frames: drawn(frames).frames[0],
        data.stride,
        lambda frames: drawn(frames).segmentation[0],
    )


def _drawn(
    clip: Trajectory, size: tuple[int, int], stride: int, background: Background, seed: int, frames: Array
) -> Rendered:
    chosen = replace(clip, x=clip.x[:, frames * stride])
    return render_clip(chosen, size, VIEW, background, seed)


def _read(data: PhysicalData, part: str, count: int) -> list[PhysicalSet]:
    """Sets of a copy whose videos are there."""
    copy = ComPhy(data.require_root(), part, data.refs)
    found = []
    for place, number in enumerate(copy.numbers[:count]):
        item, name = copy[place], f"sim_{number:05d}"
        everything = tuple(range(len(item.target.things)))
        target = _read_clip(data, item.target, copy.root / copy.target / name, everything, SHOWN)
        references = tuple(
            _read_clip(data, clip, copy.root / copy.reference / name / str(k), items, ALL_SEEN)
            for k, (clip, items) in enumerate(zip(item.references, item.matches, strict=True))
        )
        found.append(PhysicalSet(number, target, references, item.scene, item.questions))
    return found


def video_of(folder: Path) -> Path:
    """The video of an annotation's folder: ``video.mp4`` in it, or ``FOLDER.mp4`` beside it.

    Raises:
        DataError: neither is there.
    """
    for path in (folder / "video.mp4", folder.with_name(folder.name + ".mp4")):
        if path.is_file():
            return path
    raise DataError(f"{folder}: no video.mp4 in it and no {folder.name}.mp4 beside it; put the video there")


def _read_clip(
    data: PhysicalData, clip: ComPhyClip, folder: Path, items: Sequence[int], shown: int
) -> PhysicalClip:
    place = clip.locations[:: data.stride, :, :2]
    n = len(clip.things)
    hits = np.zeros((n, n), bool)
    for event in clip.collisions:
        if (event.frame or 0) < shown:
            i, j = event.objects
            hits[i, j] = hits[j, i] = True
    return PhysicalClip(
        clip.things,
        tuple(items),
        place,
        np.ones(place.shape[:2], bool),
        hits,
        min(len(place), -(-shown // data.stride)),
        partial(read_frames, video_of(folder), data.size, data.stride),
        data.stride,
    )


def read_frames(path: Path, size: tuple[int, int], stride: int, frames: Array) -> NDArray[np.uint8]:
    """Frames ``stride * frames`` of a video, made small: (n, H, W, 3). O(length of the video).

    Raises:
        DataError: the video is damaged, of another shape than 2 : 3, or shorter.
    """
    wanted, found = {int(f) * stride for f in frames}, {}
    for number, frame in enumerate(read_video(path)):
        if number in wanted:
            found[number] = small_frame(frame.image, size, str(path))
        if number >= max(wanted):
            break
    if len(found) < len(wanted):
        raise DataError(f"{path}: ends before frame {max(wanted)}; the annotation is of a longer video")
    return np.stack([found[int(f) * stride] for f in frames])


def small_frame(image: NDArray[np.uint8], size: tuple[int, int], name: str) -> NDArray[np.uint8]:
    """A frame (H, W, 3) at the size (h, w) of our pictures. O(H W).

    Raises:
        DataError: another shape than 2 : 3, give or take a twentieth.
    """
    from PIL import Image

    height, width = image.shape[:2]
    if abs(width * HEIGHT - height * WIDTH) > height * WIDTH // 20:
        raise DataError(f"{name}: {width} x {height} pixels; {WIDTH} x {HEIGHT} or that shape is needed")
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX))


@dataclass(frozen=True)
class FrameBatch:
    """Single pictures (B, 3, H, W) in [0, 1]."""

    image: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device, *, channels_last: bool = False) -> FrameBatch:
        """The batch on another device."""
        form = torch.channels_last if channels_last else torch.contiguous_format
        return FrameBatch(self.image.to(device, memory_format=form))


@dataclass(frozen=True)
class FrameLoader:
    """Random frames of random clips, `_EACH` of a clip; the batch of a step depends on seed and step alone.

    Attributes:
        sets: whose clips.
        batch: pictures of a step.
        seed: of the choice.
    """

    sets: Sequence[PhysicalSet]
    batch: int
    seed: int

    def steps_per_epoch(self, world: int) -> int:
        """As many steps as show each clip once."""
        return max(1, sum(len(s.clips) for s in self.sets) * _EACH // self.batch)

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[FrameBatch]]:
        """One micro-batch a step."""
        clips = [clip for one in self.sets for clip in one.clips]
        count = max(1, self.batch // world)
        step = start
        while True:
            rng = np.random.default_rng(derive(self.seed, "frames", step, rank))
            pictures: list[NDArray[np.uint8]] = []
            for left in range(count, 0, -_EACH):
                clip = clips[int(rng.integers(len(clips)))]
                pictures.append(clip.pictures(rng.integers(clip.shown, size=min(left, _EACH))))
            yield [FrameBatch(rows_to_tensor(np.concatenate(pictures)))]
            step += 1


_EACH = 1  # frames of one clip in a batch
