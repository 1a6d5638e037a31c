"""``mien predict phycine``: clips in; objects with place, mass and charge out, and what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from mien.core import io
from mien.core.errors import ConfigError
from mien.data.physical import rows_to_tensor
from mien.data.video import write_video
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.methods.phycine.clips import ClipInput, read_clip
from mien.methods.phycine.config import PredictOptions
from mien.methods.phycine.evaluate import restore
from mien.methods.phycine.export import export_plan
from mien.methods.phycine.model import Phycine, PhysLatents, Rollout
from mien.methods.phycine.objects import FoundObject, factors, objects_of, thresholds_at_hand, thresholds_in
from mien.methods.phycine.pictures import beside, enlarged, frames_of, slot_frames
from mien.methods.phycine.slots import SlotVideo
from mien.methods.phycine.watch import STILL, WatchedClip, watch, with_references

Status = Literal["ok", "nothing_moves", "too_short", "no_object"]


@dataclass(frozen=True)
class ClipResult:
    """What a clip tells.

    Attributes:
        status: ok; nothing_moves: masses and charges are unknown; too_short: so they are, and nothing is
            predicted; no_object: nothing is written.
        frames: that were looked at.
        dt: seconds from one to the next.
        objects: those seen, the longest seen first.
        missed: pieces of the picture, of an object's size, that no slot explains (median over the frames).
        note: what to know about it.
        files: what was written.
    """

    status: Status
    frames: int
    dt: float
    objects: tuple[FoundObject, ...] = ()
    missed: int = 0
    note: str = ""
    files: tuple[str, ...] = ()


class Predictor(AbstractPredictor):
    """A trained PHYCINE.

    Args:
        folder: opened model folder.
        net: its net.

    Raises:
        ConfigError: a net that sees no pictures, or whose laws are not trained.

    >>> mien.load("phycine").predict("clip.mp4")[0].objects                         # doctest: +SKIP
    """

    def __init__(self, folder: ModelFolder, net: Phycine) -> None:
        config = net.config
        if config.sight == "true" or config.stage == "perception":
            raise ConfigError(
                f"{folder.path}: sight={config.sight!r}, stage={config.stage!r}; clips need a perception and"
                " trained laws: train phycine with another sight, to the stage laws"
            )
        self.folder, self.device = folder, default_device()
        self.net = net.to(self.device).eval().requires_grad_(False)
        self.thresholds = thresholds_in(folder.facts)

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """Loads the weights."""
        return cls(folder, restore(folder))

    def predict(self, *inputs: ClipInput, options: PredictOptions | None = None) -> list[ClipResult]:
        """Explains each clip; one result for each.

        Written to ``options.output``, with several inputs to a numbered folder each: slots.mp4 (the clip,
        what the slots draw, whose each pixel is), rollout.mp4 (what comes next; beside it what would come
        with ``intervene``) and latents.json. About a second for 40 frames.

        Args:
            inputs: see `ClipInput`; pictures are 2 : 3.
            options: flags.

        Raises:
            ConfigError: no input, or an intervention on an object that is not there.
            DataError: a clip that cannot be read, or of another shape.
        """
        options = options or PredictOptions()
        if not inputs:
            raise ConfigError("give a clip: a video, or a folder of frames")
        clips = [self.watch(x, options) for x in inputs]
        if options.together:
            clips[0] = with_references(self.net, clips[0], clips[1:])
        known = self.thresholds or thresholds_at_hand(clips)
        told = [objects_of(c, known, named=status_of(c) == "ok") for c in clips]
        changes = [
            factors(options.changes(), o) if c.latents else {} for c, o in zip(clips, told, strict=True)
        ]
        folder = Path(options.output)
        places = [folder] if len(clips) == 1 else [folder / f"{k:03d}" for k in range(len(clips))]
        return [self._shown(*row, options.steps) for row in zip(clips, told, changes, places, strict=True)]

    def watch(self, source: ClipInput, options: PredictOptions) -> WatchedClip:
        """One clip, looked at and explained."""
        frames = read_clip(source, self.net.size, self.net.dt, options.fps, options.seconds)
        return watch(self.net, rows_to_tensor(frames)[None].to(self.device))

    def _shown(
        self,
        clip: WatchedClip,
        objects: tuple[FoundObject, ...],
        changes: Mapping[str, Mapping[int, float]],
        folder: Path,
        steps: int,
    ) -> ClipResult:
        """Writes what a clip tells."""
        status, frames, dt = status_of(clip), clip.video.shape[1], self.net.dt
        if status == "no_object":
            return ClipResult(status, frames, dt, note="no object is seen")
        missed = clip.unexplained
        notes = [_reason(status, self.net, frames), _crowd(clip, self.net, missed)]
        files = [write_slots(clip, folder / "slots.mp4", 1 / dt)]
        if clip.latents is not None:
            can_draw = isinstance(self.net.perception, SlotVideo)
            rolled = self.rollouts(clip, steps, changes) if steps and can_draw else {}
            if rolled:
                files.append(write_rollouts(rolled, folder / "rollout.mp4", 1 / dt))
            elif steps:
                notes.append(f"nothing is predicted: sight={self.net.config.sight!r} cannot draw")
            told = latents_told(clip.latents, clip.slots, rolled, dt)
            files.append(io.write_json(folder / "latents.json", told))
        note = "; ".join(n for n in notes if n)
        return ClipResult(status, frames, dt, objects, missed, note, tuple(map(str, files)))

    def rollouts(
        self, clip: WatchedClip, steps: int, changes: Mapping[str, Mapping[int, float]]
    ) -> dict[str, Rollout]:
        """What comes after a clip: ``as it is`` and, where there are interventions, ``changed``.

        Objects that have left the picture neither feel nor act.
        """
        assert clip.latents is not None
        found = {"as it is": self.net.rollout(clip.latents, steps)}
        return found | ({"changed": self.net.rollout(clip.latents, steps, changes)} if changes else {})


def status_of(clip: WatchedClip) -> Status:
    """The first of no_object, too_short, nothing_moves that is so, else ok."""
    if not clip.slots:
        return "no_object"
    if clip.latents is None:
        return "too_short"
    return "nothing_moves" if clip.travelled < STILL else "ok"


def _reason(status: Status, net: Phycine, frames: int) -> str:
    if status == "too_short":
        return f"{frames} frames of {net.dt:.2g} s: masses and charges need {net.config.window + 1} or more"
    if status == "nothing_moves":
        return "nothing moves: masses and charges are unknown"
    return ""


def _crowd(clip: WatchedClip, net: Phycine, missed: int) -> str:
    if len(clip.slots) == net.config.slots - 1:
        return f"all {len(clip.slots)} slots for objects are in use: there may be more objects"
    return f"no slot explains {missed} pieces of the picture: objects may be missing" if missed else ""


def write_slots(clip: WatchedClip, path: Path, fps: float) -> Path:
    """The clip, what the slots draw, and whose each pixel is."""
    masks = slot_frames(clip.percepts.masks[0], clip.slots)
    shown = (frames_of(clip.video[0]), frames_of(clip.percepts.recon[0]), masks)
    return write_video(path, beside(*map(enlarged, shown)), fps).path


def write_rollouts(rolled: Mapping[str, Rollout], path: Path, fps: float) -> Path:
    """Predicted frames, those of all rollouts side by side."""
    shown = [enlarged(frames_of(r.frames[0])) for r in rolled.values()]
    return write_video(path, beside(*shown), fps).path


def latents_told(
    latents: PhysLatents, slots: Sequence[int], rolled: Mapping[str, Rollout], dt: float
) -> dict[str, Any]:
    """Means and deviations of the objects' latents, and the predicted paths, as plain values."""
    at = list(slots)
    posteriors = {
        name: {part: getattr(getattr(latents, name), part)[0, at].tolist() for part in ("mean", "std")}
        for name in ("ctx", "dyn", "mass", "charge")
    }
    paths = {
        name: {"place": r.place[0][:, at].tolist(), "velocity": r.velocity[0][:, at].tolist()}
        for name, r in rolled.items()
    }
    return {"slots": at, "dt": dt, **posteriors, "rollouts": paths}


__all__ = ["Predictor", "export_plan"]
