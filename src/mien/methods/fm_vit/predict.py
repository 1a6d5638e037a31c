"""The liveness detector a user holds: any of three cameras in, a calibrated probability out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from mien.core import io
from mien.core.config import suggest
from mien.core.errors import ConfigError, WeightsError
from mien.core.images import ImageInput, encode_png
from mien.data.augment import prepare
from mien.data.pad_images import LIVE, MODALITIES
from mien.data.pad_inputs import Box, Moment, face_boxes, face_crop, read_moments, sharpness
from mien.data.pad_loader import channels_of
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.methods.fm_vit.config import PredictOptions
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.export import export_plan
from mien.methods.fm_vit.flexible import FlexibleNet
from mien.methods.fm_vit.maps import overlay
from mien.methods.fm_vit.score import subset_name
from mien.methods.fm_vit.task import configs
from mien.metrics import probability

PadInput: TypeAlias = "ImageInput | Mapping[str, ImageInput]"
"""A colour picture or video, or modality -> picture or video."""
Seen = dict[str, Tensor]
"""Modality -> (1, C, S, S) in [0, 1]: one moment as the net sees it."""
_BLURRED = 0.5  # of the sharpness that 99 % of the development pictures have


@dataclass(frozen=True)
class PadResult:
    """One presentation: is it live, and how sure is that.

    Attributes:
        status: ok, and only that is judged; no_face (nothing there, or a detector found none); too_small;
            too_blurred.
        live: whether ``probability`` is at or above ``threshold``; None where it was not judged.
        probability: of being live, calibrated on development presentations with the same modalities.
        threshold: in force for these modalities.
        rule: how it was chosen.
        modalities: what was looked at.
        missing: what the model could also have used.
        frames: moments that were judged (their scores are averaged).
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
    frames: int = 0
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
        *inputs: PadInput,
        options: PredictOptions | None = None,
        boxes: Sequence[Sequence[float] | None] | None = None,
    ) -> list[PadResult]:
        """One result for each input. O(frames forward).

        Args:
            inputs: path (also of a video), bytes, PIL image, array or tensor of a colour picture; or
                modality -> such a picture.
            options: flags; its pictures are judged where there are no inputs.
            boxes: left, top, right, bottom of each input's face, pixels of its first modality in the order
                colour, depth, infrared; None where it is not known.

        Raises:
            ConfigError: no picture at all, or a modality that the model does not know.
            DataError: a picture cannot be read, or is not what its modality says; a box outside of it.
        """
        options = options or PredictOptions()
        given: Sequence[Any] = inputs or ([options.pictures()] if options.pictures() else [])
        if not given:
            raise ConfigError("no picture: give a colour picture, or --rgb, --depth, --ir FILE")
        if boxes is not None and len(boxes) != len(given):
            raise ConfigError(
                f"{len(given)} inputs but {len(boxes)} boxes; give (left, top, right, bottom) or None each"
            )
        own = [options.box or None] * len(given) if boxes is None else list(boxes)
        return [self._one(x, box, options, i) for i, (x, box) in enumerate(zip(given, own, strict=True))]

    def _one(
        self, given: PadInput, box: Sequence[float] | None, options: PredictOptions, number: int
    ) -> PadResult:
        files = self._files(given)
        moments = read_moments(files, options.frames)
        boxes = face_boxes(moments, box, options.detector)
        looked = [self._look(m, b, options) for m, b in zip(moments, boxes, strict=True)]
        good = [seen for status, seen in looked if status == "ok"]
        used = tuple(files)
        threshold, rule = self._threshold(used, options)
        left = tuple(m for m in self.method.modalities if m not in used)
        notes = dict.fromkeys(note for m in moments for note in m.notes)
        base = PadResult(
            "ok", threshold=threshold, rule=rule, modalities=used, missing=left, note="; ".join(notes)
        )
        bad = [status for status, _ in looked if status != "ok"]
        if not good:
            return replace(base, status=bad[0])
        if bad:
            notes[f"{len(bad)} of {len(looked)} frames not judged: {', '.join(dict.fromkeys(bad))}"] = None
            base = replace(base, note="; ".join(notes))
        x = {m: torch.cat([seen[m] for seen in good]).to(self.device) for m in used}
        return self._judged(replace(base, frames=len(good)), x, options, number)

    def _files(self, given: PadInput) -> dict[str, ImageInput]:
        """The pictures of one input in the order of the modalities.

        Raises:
            ConfigError: none, or of an unknown modality.
        """
        held = given if isinstance(given, Mapping) else {"rgb": given}
        known = list(self.method.modalities)
        for m in held:
            if m not in MODALITIES:
                raise ConfigError(f"no modality {m!r}{suggest(str(m), known)}")
            if m not in known:
                raise ConfigError(f"this model does not use {m!r} pictures; it uses {', '.join(known)}")
        files = {m: held[m] for m in MODALITIES if held.get(m) is not None}
        if not files:
            raise ConfigError(f"no picture: give one or more of {', '.join(known)}")
        return files

    @torch.inference_mode()
    def _judged(self, base: PadResult, x: Seen, options: PredictOptions, number: int) -> PadResult:
        """The result of the frames (n, C, S, S) of each modality."""
        out = self.net(x)
        p = self._probability(out["fused"], base.modalities)
        own = isinstance(self.net, FlexibleNet) and len(out["cls"]) > 1
        alone = [(m, self._probability(z, (m,))) for m, z in out["logits"].items()] if own else []
        maps: list[str] = []
        for m, r in out["relevance"].items() if options.maps is not None else ():
            file = Path(str(options.maps)) / f"{number:03d}_{m}.png"
            maps.append(str(io.write_bytes(file, encode_png(overlay(x[m][0].cpu(), r[0].cpu())))))
        live = None if base.threshold is None else p >= base.threshold
        return replace(base, live=live, probability=p, branches=tuple(alone), maps=tuple(maps))

    def _probability(self, logits: Tensor, subset: Sequence[str]) -> float:
        """Calibrated P(live) of the mean log odds of some frames."""
        s = (logits[:, LIVE] - logits[:, 1 - LIVE]).double().mean().cpu().numpy()
        return float(probability(np.array([s]), self._known(subset)["calibration"])[0])

    def _threshold(self, subset: Sequence[str], options: PredictOptions) -> tuple[float, str]:
        if options.threshold is not None:
            return options.threshold, "given"
        known = self._known(subset)
        return float(known["value"]), str(known["rule"])

    def _known(self, subset: Sequence[str]) -> Mapping[str, Any]:
        """Calibration and threshold of a subset.

        Raises:
            WeightsError: the folder has none.
        """
        thresholds: Mapping[str, Mapping[str, Any]] = self.folder.facts.get("thresholds", {})
        name = subset_name(subset)
        if name not in thresholds:
            where = self.folder.weights.parent
            raise WeightsError(f"{where}: facts.json has no threshold for {name}; train to the end again")
        return thresholds[name]

    def _look(self, moment: Moment, box: Box | None, options: PredictOptions) -> tuple[str, Seen]:
        """Status, and what the net sees; a face below half the model's size is too small."""
        pictures = moment.pictures
        if options.detector != "none" and box is None:
            return "no_face", {}
        size = self.data.size
        if (problem := moment.problem(box, size / 2)) is not None:
            return problem, {}
        seen = {
            m: prepare([face_crop(p, box, moment.shape, size)], size, channels_of(m))
            for m, p in pictures.items()
        }
        limits: Mapping[str, float] = self.folder.facts.get("sharpness", {})
        if any(float(sharpness(seen[m])) < _BLURRED * limits[m] for m in seen if m in limits):
            return "too_blurred", {}
        return "ok", seen


__all__ = ["PadResult", "Predictor", "export_plan"]
