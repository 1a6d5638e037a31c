"""Made sets in ComPhy's layout with their videos: ``video.mp4`` beside each annotation's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mien.core.errors import DataError
from mien.data.video import write_video
from mien.synth.comphy_scene import FPS, HEIGHT, WIDTH
from mien.synth.comphy_set import TARGET, VIEW, ComPhySet
from mien.synth.phys_render import render_clip
from mien.synth.phys_world import Trajectory


def draw_video(clip: Trajectory, folder: Path) -> None:
    """``video.mp4`` of one clip, 480 x 320 pixels, 25 frames a second. O(T H W)."""
    write_video(folder / "video.mp4", render_clip(clip, (HEIGHT, WIDTH), VIEW).frames[0], FPS)


def make_comphy(
    settings: ComPhySet, output: Path, done: Callable[[int, int], None] = lambda n, of: None
) -> Path:
    """Writes a made split: annotations, videos, tracks, questions. Splits can share a folder.

    The questions come last: where they are missing, the same call goes over all files again.

    Args:
        settings: the split.
        output: its folder; made if need be.
        done: called with (finished, all) videos.

    Raises:
        DataError: the folder holds something else, or this split already.
        MienError: the disk is full; written files are whole.
        MissingPackageError: without PyAV (extra ``data``).
    """
    if output.is_dir() and any(output.iterdir()) and not (output / TARGET).is_dir():
        raise DataError(f"{output}: not empty and no set of ComPhy's layout; choose another --output")
    if (output / f"{settings.split}.json").exists():
        raise DataError(f"{output}: holds a {settings.split} split already; choose another --output")
    count, total = 0, settings.n_sets * (1 + settings.n_ref)

    def draw(clip: Trajectory, folder: Path) -> None:
        nonlocal count
        draw_video(clip, folder)
        count += 1
        done(count, total)

    return settings.write(output, draw)
