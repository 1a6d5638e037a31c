"""``mien predict otavatar``: portraits in, avatars that talk out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import torch

from mien.core import io
from mien.core.errors import ConfigError, DataError
from mien.core.images import ImageInput, encode_png, read_image
from mien.data.pad_clips import is_video
from mien.data.video import write_video
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.methods.otavatar.avatar import Frame, OneShotAvatar
from mien.methods.otavatar.config import PredictOptions
from mien.methods.otavatar.crops import Crops, look_at
from mien.methods.otavatar.export import export_plan
from mien.methods.otavatar.head_pose import Orbit
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.motion_track import MotionTrack
from mien.methods.otavatar.state import AvatarState, load_state
from mien.metrics import psnr
from mien.render.mesh_io import save_mesh
from mien.synth.body import people

PersonInput: TypeAlias = "ImageInput | list[ImageInput]"
"""A portrait, or a list of pictures of one person."""
_MADE_FRAMES = 100
_WARM = 10  # first frames that a speed leaves out


@dataclass(frozen=True)
class AvatarResult:
    """One person.

    Attributes:
        status: ok, and only then anything is written; no_face, several_faces, too_small, profile.
        files: what was written.
        frames: of the video.
        seconds_invert: of the inversion; None for an avatar that was loaded.
        fps: frames a second from the controller's input to the picture, one at a time: the median without the
            first ten; inversion, files and encoding are not counted.
        psnr: dB between the portrait, on white, and the avatar seen the same way; None for a loaded one.
        note: what was mended or left out.
    """

    status: str
    files: tuple[str, ...] = ()
    frames: int = 0
    seconds_invert: float | None = None
    fps: float | None = None
    psnr: float | None = None
    note: str = ""


class Predictor(OneShotAvatar, AbstractPredictor):
    """The avatar of a model folder: `OneShotAvatar` with `predict`.

    Args:
        folder: opened model folder.
        net: its net.
        names: of the actions its controller knows.

    >>> mien.load("otavatar").predict("me.png")[0].files                            # doctest: +SKIP
    """

    def __init__(self, folder: ModelFolder, net: AvatarNet, names: Sequence[str]) -> None:
        super().__init__(net.to(default_device()), folder.recipe.data.size, names)  # type: ignore[attr-defined]
        self.folder = folder

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """Loads the weights."""
        names = tuple(folder.facts.get("actions", people().actions))
        config: Any = folder.recipe.method
        net = AvatarNet(config, folder.recipe.data.size, len(names) + config.pose_rows)  # type: ignore[attr-defined]
        load_weights(net, folder.weights)
        return cls(folder, net, names)

    def predict(self, *inputs: PersonInput, options: PredictOptions | None = None) -> list[AvatarResult]:
        """Inverts each portrait, then lets it move and turns it; one result for each input.

        Written to ``options.output``, with several inputs to a numbered folder each: avatar.safetensors,
        source.png, reconstruction.png, video.mp4, turntable.mp4 and mesh.glb.

        Args:
            inputs: a portrait (path, bytes, PIL image, array or tensor), or a list of pictures of one person.
            options: flags; its state is used where there are no inputs.

        Raises:
            ConfigError: nothing to work on, or flags that exclude each other.
            DataError: a picture or the driving track cannot be used.
            WeightsError: a state of another net.
        """
        options = options or PredictOptions()
        if bool(inputs) == bool(options.state):
            raise ConfigError(
                "give a portrait, or --state FILE of an earlier run" + " (not both)" * bool(inputs)
            )
        if len(inputs) > 1 and (options.also or options.box):
            raise ConfigError(f"--also and --box belong to one portrait, {len(inputs)} are given")
        track = read_track(options)
        folder = Path(options.output)
        if options.state is not None:
            return [self._shown(load_state(options.state, self.net), track, options, folder)]
        places = [folder] if len(inputs) == 1 else [folder / f"{k:03d}" for k in range(len(inputs))]
        return [self._one(x, track, options, p) for x, p in zip(inputs, places, strict=True)]

    def _one(
        self, given: PersonInput, track: MotionTrack | None, options: PredictOptions, folder: Path
    ) -> AvatarResult:
        sources = [*(given if isinstance(given, list) else [given]), *options.also]
        crops = look_at([read_image(x) for x in sources], options, self.size)
        if crops.status != "ok":
            return AvatarResult(crops.status)
        began = time.perf_counter()
        state = self.invert(
            list(crops.pictures), mask=crops.masks, steps=options.steps, space=options.space,
            pti_steps=options.pti_steps, pti_lr=options.pti_lr, pti_keep=options.pti_keep,
            pti_own=options.pti_own, refine=options.refine, seed=options.seed,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        return self._shown(state, track, options, folder, crops, seconds)

    def _shown(
        self,
        state: AvatarState,
        track: MotionTrack | None,
        options: PredictOptions,
        folder: Path,
        crops: Crops | None = None,
        seconds: float | None = None,
    ) -> AvatarResult:
        """Writes what a person looks like."""
        view, value = self.view(state), None
        files = [state.save(folder / "avatar.safetensors")]
        if crops is not None:
            source = crops.source
            files.append(io.write_bytes(folder / "source.png", encode_png(source)))
            value = picture_psnr(view, source)
        files.append(io.write_bytes(folder / "reconstruction.png", encode_png(view)))
        taken = list[float]()
        count, speed, notes = 0, None, tuple[str, ...]()
        if track is not None:
            even = track.resampled() if track.times is not None else track
            moves = self.animate(
                state, even, camera=Orbit() if options.camera == "orbit" else options.camera,
                retarget=options.retarget, parts=options.parts, size=options.size,
            )  # fmt: skip
            video = write_video(folder / "video.mp4", timed(moves, taken), even.fps)
            files.append(video.path)
            count, speed, notes = video.frames, frame_rate(taken), even.notes
        turn = write_video(folder / "turntable.mp4", self.turntable(state, size=options.size), 25.0)
        files.append(turn.path)
        if options.mesh:
            found = self.mesh(state)
            files.append(save_mesh(folder / "mesh.glb", found.vertices, found.faces, colors=found.colors))
        return AvatarResult("ok", tuple(map(str, files)), count, seconds, speed, value, "; ".join(notes))


def read_track(options: PredictOptions) -> MotionTrack | None:
    """The driving motion of the flags; None where there is none.

    Raises:
        DataError: it cannot be read; a video has to be tracked first.
    """
    if options.driving == "none":
        return None
    if options.driving in ("talk", "perform"):
        made = options.frames or _MADE_FRAMES
        track = MotionTrack.from_talk(options.seed, made, options.driving)  # type: ignore[arg-type]
    else:
        track = _track_file(Path(options.driving))
        track = track if options.frames is None else track.first(options.frames)
    return track.smoothed() if options.smooth else track


def _track_file(path: Path) -> MotionTrack:
    if is_video(path):
        raise DataError(
            f"{path}: a video; track it first: python tools/track.py {path} track.npz, then give"
            " --driving track.npz"
        )
    readers = {".npz": MotionTrack.from_npz, ".mat": MotionTrack.from_mat}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: no motion; give a track (.npz, .mat), or talk, perform or none")
    return readers[path.suffix.lower()](path)


def picture_psnr(a: Frame, b: Frame) -> float:
    """PSNR of two pictures (H, W, 3), dB."""
    x, y = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (a, b))
    return float(psnr(x, y, data_range=255.0)[0])


def timed(frames: Iterable[Frame], seconds: list[float]) -> Iterator[Frame]:
    """The frames, and how long each took, appended to ``seconds``."""
    source = iter(frames)
    while True:
        began = time.perf_counter()
        frame = next(source, None)
        if frame is None:
            return
        seconds.append(time.perf_counter() - began)
        yield frame


def frame_rate(seconds: Sequence[float]) -> float | None:
    """Frames a second: 1 / median without the first ten (of a short clip, of all); None without frames.

    >>> frame_rate([5.0] * 10 + [0.1, 0.05, 0.02])
    20.0
    """
    kept = seconds[_WARM:] or seconds
    return 1 / statistics.median(kept) if kept else None


__all__ = ["Predictor", "export_plan"]
