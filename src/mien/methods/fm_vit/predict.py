"""The liveness detector a user holds: any of three cameras in, a calibrated probability out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.core import io
from mien.core.errors import ConfigError, DataError
from mien.core.images import ImageInput, encode_png
from mien.data.augment import prepare
from mien.data.face_detector import find_faces
from mien.data.pad_images import LIVE, MODALITIES
from mien.data.pad_inputs import Box, face_crop, read_moment, sharpness
from mien.data.pad_loader import channels_of
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.methods.fm_vit.config import PredictOptions
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.maps import overlay
from mien.methods.fm_vit.score import probability, subset_name
from mien.methods.fm_vit.task import configs

Moment = Mapping[str, NDArray[np.uint8]]
"""Modality -> (H, W, 3 or 1) uint8, of one moment."""
_FLAT = 2.0  # standard deviation of grey levels below which a picture shows nothing
_BLURRED = 0.5  # of the sharpness that 99 % of the development pictures have


@dataclass(frozen=True)
class PadResult:
    """One presentation: is it live, and how sure is that.

    Attributes:
        status: ok; no_face (nothing there, or a detector found none); too_small; too_blurred. Only ok is judged.
        live: whether ``probability`` is at or above ``threshold``; None where it was not judged.
        probability: of being live, calibrated on development presentations with the same modalities.
        threshold: in force for these modalities.
        rule: how it was chosen.
        modalities: what was looked at.
        missing: what the model could also have used.
        frames: pictures of a video that were judged (their scores are averaged).
        branches: probability that each modality's own branch gives.
        maps: files of where each modality was looked at.
        note: what makes the answer less sure, or nothing.
    """

    status: str
    live: bool | None = None
    probability: float | None = None
    threshold: float | None = None
    rule: str = ""
    modalities: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    frames: int = 1
    branches: tuple[tuple[str, float], ...] = ()
    maps: tuple[str, ...] = ()
    note: str = ""


class Predictor(AbstractPredictor):
    """Judges presentations with the net of a model folder.

    Args:
        folder: opened model folder.
        net: its net.

    >>> mien.load("fm_vit").predict({"rgb": "a.png", "ir": "b.png"})[0].live        # doctest: +SKIP
    True
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
        *inputs: ImageInput | Mapping[str, ImageInput],
        options: PredictOptions | None = None,
        boxes: Sequence[Box | None] | None = None,
    ) -> list[PadResult]:
        """One result for each input: a colour picture or video, or a mapping of modalities to pictures.

        Args:
            inputs: path, bytes, PIL image, array or tensor of a colour picture; or modality -> picture.
            options: flags; its pictures are judged where there are no inputs.
            boxes: left, top, right, bottom of each input's face, pixels of its first modality.

        Raises:
            ConfigError: no picture at all, or a modality that the model does not know.
            DataError: a picture cannot be read, or is not what its modality says.
        """
        options = options or PredictOptions()
        given: Sequence[Any] = inputs or ([options.pictures()] if options.pictures() else [])
        if not given:
            raise ConfigError("no picture: give a colour picture, or --rgb, --depth, --ir FILE")
        if boxes is not None and len(boxes) != len(given):
            raise ConfigError(f"{len(given)} inputs but {len(boxes)} boxes")
        own = [options.box] * len(given) if boxes is None else list(boxes)
        return [self._one(x, box, options, i) for i, (x, box) in enumerate(zip(given, own, strict=True))]

    def _one(self, given: Any, box: Box | None, options: PredictOptions, number: int) -> PadResult:
        files = dict(given) if isinstance(given, Mapping) else {"rgb": given}
        unknown = [m for m in files if m not in self.method.modalities]
        if unknown:
            has = ", ".join(self.method.modalities)
            raise ConfigError(f"this model does not use {unknown[0]!r} pictures; it uses {has}")
        if not files:
            raise ConfigError(f"no picture: give one or more of {', '.join(self.method.modalities)}")
        moments = read_moment({m: files[m] for m in MODALITIES if m in files}, options.frames)
        looked = [self._look(moment, box, options) for moment in moments]
        good = [(status, crops) for status, crops in looked if status == "ok"]
        used = tuple(m for m in MODALITIES if m in files)
        threshold, rule = self._threshold(used, options)
        base = PadResult(
            "ok", threshold=threshold, rule=rule, modalities=used,
            missing=tuple(m for m in self.method.modalities if m not in used), frames=len(good),
        )  # fmt: skip
        if not good:
            return replace(base, status=looked[0][0])
        x = {
            m: prepare([c[m] for _, c in good], self.data.size, channels_of(m)).to(self.device) for m in used
        }
        return self._judged(base, x, options, number)

    @torch.inference_mode()
    def _judged(
        self, base: PadResult, x: dict[str, Tensor], options: PredictOptions, number: int
    ) -> PadResult:
        out = self.net(x)
        p = float(self._probability(out["fused"], base.modalities))
        alone = {m: float(self._probability(z, (m,))) for m, z in out["logits"].items()}
        maps: list[str] = []
        if options.maps is not None:
            for m, r in out["relevance"].items():
                picture = overlay(x[m][0].cpu(), r[0].cpu())
                file = Path(options.maps) / f"{number:03d}_{m}.png"
                maps.append(str(io.write_bytes(file, encode_png(picture))))
        return replace(
            base, live=None if base.threshold is None else p >= base.threshold, probability=p,
            branches=tuple(alone.items()) if len(alone) > 1 else (), maps=tuple(maps),
        )  # fmt: skip

    def _probability(self, logits: Tensor, subset: Sequence[str]) -> float:
        """Calibrated P(live) of the mean log odds of some frames."""
        s = (logits[:, LIVE] - logits[:, 1 - LIVE]).double().mean().cpu().numpy()
        known = self.folder.facts["thresholds"][subset_name(subset)]
        return float(probability(np.array([s]), known["calibration"])[0])

    def _threshold(self, subset: Sequence[str], options: PredictOptions) -> tuple[float, str]:
        if options.threshold is not None:
            return options.threshold, "given"
        known = self.folder.facts["thresholds"][subset_name(subset)]
        return float(known["value"]), str(known["rule"])

    def _look(self, moment: Moment, box: Box | None, options: PredictOptions) -> tuple[str, Moment]:
        """Status, and crops as the net sees them."""
        first = next(iter(moment))
        if any(picture.astype(np.float32).std() < _FLAT for m, picture in moment.items() if m != "depth"):
            return "no_face", moment
        if box is None and options.detector == "mediapipe":
            found = find_faces([moment[first]])[0]
            if not found.is_found:
                return "no_face", moment
            box = found.box
        height, width = moment[first].shape[:2]
        side = min(height, width) if box is None else max(box[2] - box[0], box[3] - box[1])
        if side < self.data.size / 2:
            return "too_small", moment
        crops = {m: face_crop(p, box, (height, width), self.data.size) for m, p in moment.items()}
        limits = self.folder.facts.get("sharpness", {})
        for m, least in limits.items():
            if m in crops and sharpness(crops[m]) < _BLURRED * least:
                return "too_blurred", moment
        return "ok", crops


__all__ = ["PadResult", "Predictor"]
_ = DataError
