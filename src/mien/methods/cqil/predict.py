"""The liveness detector of far faces that a user holds: pictures, folders and videos in, verdicts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mien.core.errors import ConfigError, DataError, WeightsError
from mien.core.images import SUFFIXES, ImageInput
from mien.data.augment import prepare
from mien.data.pad_inputs import Box, Moment, face_boxes, face_crop, read_moments
from mien.data.surveil_loader import as_bytes
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.methods.cqil.config import PredictOptions
from mien.methods.cqil.evaluate import restore
from mien.methods.cqil.export import export_plan
from mien.methods.cqil.score import scored, track_scores
from mien.methods.cqil.task import configs
from mien.metrics import probability

LEAST = 0.25
"""Faces below this share of the model's side are too small: there is nothing to enlarge."""


class FrameScore(NamedTuple):
    """One judged frame.

    Attributes:
        frame: its number among those looked at.
        probability: of being live, calibrated on development pictures.
        quality: 0 to 1, as the model sees it; 1 where it reads none.
    """

    frame: int
    probability: float
    quality: float


@dataclass(frozen=True)
class SurveilResult:
    """One face, seen once or along a track: is it live, and how sure is that.

    Attributes:
        status: ok, and only that is judged; no_face, too_small, too_poor (no frame of the quality asked for).
        live: whether ``probability`` is at or above ``threshold``; None where it was not judged.
        probability: of being live, calibrated on development pictures, or tracks.
        threshold: in force.
        rule: how it was chosen.
        quality: mean of the judged frames, 0 to 1.
        level: image, or track: frames weighted by quality.
        frames: each judged frame.
        note: what makes the answer less sure, or nothing.
    """

    status: str
    live: bool | None = None
    probability: float | None = None
    threshold: float | None = None
    rule: str = ""
    quality: float | None = None
    level: str = "image"
    frames: tuple[FrameScore, ...] = ()
    note: str = ""


class Predictor(AbstractPredictor):
    """Judges faces with the net of a model folder.

    Args:
        folder: opened model folder.
        net: its net.

    >>> mien.load("cqil").predict("door.jpg", "corridor.mp4")[1].live        # doctest: +SKIP
    False
    """

    def __init__(self, folder: ModelFolder, net: nn.Module) -> None:
        self.folder, self.device = folder, default_device()
        self.net = net.to(self.device).eval()
        self.method, self.data = configs(folder.recipe)

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """Loads the weights."""
        return cls(folder, restore(folder))

    def predict(
        self,
        *inputs: ImageInput,
        options: PredictOptions | None = None,
        boxes: Sequence[Sequence[float] | None] | None = None,
    ) -> list[SurveilResult]:
        """One result for each input. O(frames forward).

        Args:
            inputs: a picture (path, bytes, PIL image, array, tensor), a video or a folder: the frames of one
                face's track.
            options: flags.
            boxes: left, top, right, bottom of each input's face, pixels of its first frame; None where it is
                not known.

        Raises:
            ConfigError: no input, or another number of boxes.
            DataError: a picture cannot be read, a folder without pictures, a box outside of the picture.
        """
        options = options or PredictOptions()
        if not inputs:
            raise ConfigError("no picture: give pictures, folders of pictures or videos")
        if boxes is not None and len(boxes) != len(inputs):
            raise ConfigError(
                f"{len(inputs)} inputs but {len(boxes)} boxes; give (left, top, right, bottom) or None each"
            )
        own = [options.box or None] * len(inputs) if boxes is None else list(boxes)
        return [self._one(x, box, options) for x, box in zip(inputs, own, strict=True)]

    def _one(self, given: ImageInput, box: Sequence[float] | None, options: PredictOptions) -> SurveilResult:
        moments, is_track = read_track(given, options.frames)
        found = face_boxes(moments, box, options.detector)
        looked = [self._look(m, b, options) for m, b in zip(moments, found, strict=True)]
        bad = [status for status in looked if isinstance(status, str)]
        good = [(k, x) for k, x in enumerate(looked) if not isinstance(x, str)]
        level = "track" if is_track else "image"
        threshold, rule = self._threshold(level, options)
        base = SurveilResult("ok", threshold=threshold, rule=rule, level=level)
        if is_track and bad:
            why = ", ".join(dict.fromkeys(bad))
            base = replace(base, note=f"{len(bad)} of {len(looked)} frames not judged: {why}")
        if not good:
            return replace(base, status=bad[0])
        said = scored(self.net, np.stack([x for _, x in good]), self.device)
        kept = np.flatnonzero(said.quality >= options.least_quality)
        if not len(kept):
            return replace(base, status="too_poor", quality=float(said.quality.mean()))
        odds, quality = said.odds[kept], said.quality[kept]
        each = self._probability(odds, "image")
        frames = tuple(
            FrameScore(good[k][0], float(p), float(q)) for k, p, q in zip(kept, each, quality, strict=True)
        )
        p = float(self._probability(track_scores(odds, quality, np.zeros(len(kept), np.int64)), level)[0])
        return replace(base, live=p >= threshold, probability=p, quality=float(quality.mean()), frames=frames)

    def _look(self, moment: Moment, box: Box | None, options: PredictOptions) -> NDArray[np.uint8] | str:
        """What the net sees, (S, S, 3), or why there is nothing to see."""
        if options.detector != "none" and box is None:
            return "no_face"
        size = self.data.size
        if (problem := moment.problem(box, LEAST * size)) is not None:
            return problem
        crop = face_crop(moment.pictures["rgb"], box, moment.shape, size)
        picture: NDArray[np.uint8] = as_bytes(prepare([crop], size, 3))[0]
        return picture

    def _probability(self, odds: NDArray[np.float64], level: str) -> NDArray[np.float64]:
        return probability(odds, self._known(level)["calibration"])

    def _threshold(self, level: str, options: PredictOptions) -> tuple[float, str]:
        if options.threshold is not None:
            return options.threshold, "given"
        known = self._known(level)
        return float(known["value"]), str(known["rule"])

    def _known(self, level: str) -> Mapping[str, Any]:
        """Calibration and threshold of pictures or tracks.

        Raises:
            WeightsError: the folder has none.
        """
        thresholds: Mapping[str, Mapping[str, Any]] = self.folder.facts.get("thresholds", {})
        if level not in thresholds:
            where = self.folder.weights.parent
            raise WeightsError(f"{where}: facts.json has no threshold of {level}s; train to the end again")
        return thresholds[level]


def read_track(given: ImageInput, frames: int) -> tuple[list[Moment], bool]:
    """Frames of a picture, a video or a folder of pictures (in order of name), and whether it is a track.

    Args:
        given: see `Predictor.predict`.
        frames: of a track, at most, evenly spread.

    Raises:
        DataError: not readable, or a folder without pictures.
    """
    if isinstance(given, (str, Path)) and (folder := Path(given)).is_dir():
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise DataError(f"{folder}: no pictures in this folder")
        at = np.unique(np.linspace(0, len(files) - 1, min(frames, len(files))).round().astype(int))
        return [m for k in at for m in read_moments({"rgb": files[k]})], True
    moments = read_moments({"rgb": given}, frames)
    return moments, len(moments) > 1


__all__ = ["FrameScore", "Predictor", "SurveilResult", "export_plan", "read_track"]
