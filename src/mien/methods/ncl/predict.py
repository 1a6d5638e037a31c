"""The classifier a user holds."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.core.images import ImageInput, read_image
from mien.data.augment import eval_zoom, prepare
from mien.data.labelled import LabelledImages, Picture, spread
from mien.engine.export import ExportPlan
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.methods.ncl.config import PredictOptions
from mien.methods.ncl.evaluate import expert_kl, read_own_splits, restore
from mien.methods.ncl.task import configs


@dataclass(frozen=True)
class ClassResult:
    """One picture: the most probable class, calibrated probabilities, and how far the experts disagree."""

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    expert_labels: tuple[str, ...]
    disagreement: float
    """Mean symmetrised KL between the experts' predictions; 0 with one expert."""
    inverted: bool
    mode: str
    rule: str
    """How the class was chosen: argmax, with the temperature and prior in force."""


class Predictor(AbstractPredictor):
    """Classifies pictures with the experts of a model folder.

    Args:
        folder: opened model folder.
        net: its experts.
    """

    def __init__(self, folder: ModelFolder, net: nn.Module) -> None:
        self.folder, self.device = folder, default_device()
        self.net = net.to(self.device).eval()
        self.classes: list[str] = list(folder.facts["classes"])

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """Loads the weights."""
        return cls(folder, restore(folder))

    def predict(self, *inputs: ImageInput, options: PredictOptions | None = None) -> list[ClassResult]:
        """One result for each picture (path, bytes, PIL image, array or tensor).

        Raises:
            DataError: a picture cannot be read.
            ConfigError: an option does not fit this model.
        """
        options = options or PredictOptions()
        pairs = [self._picture(read_image(x), options) for x in inputs]
        if not pairs:
            return []
        logits = self.logits([p for p, _ in pairs])
        return [self._result(logits[:, i], pairs[i][1], options) for i in range(len(pairs))]

    @torch.inference_mode()
    def logits(self, pictures: list[Picture]) -> Tensor:
        """Raw logits (K, N, C) of pictures that are already in the training set's convention."""
        _, data = configs(self.folder.recipe)
        x = prepare(pictures, data.size, data.channels, eval_zoom(data.augment))
        return self.net(x.to(self.device)).float().cpu()  # type: ignore[no-any-return]

    def seen(self, source: ImageInput, options: PredictOptions | None = None) -> Picture:
        """What the net sees of a picture: uint8 (size, size) or (size, size, 3)."""
        _, data = configs(self.folder.recipe)
        picture, _ = self._picture(read_image(source), options or PredictOptions())
        x = prepare([picture], data.size, data.channels, eval_zoom(data.augment))[0]
        pixels = (x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return pixels[..., 0] if data.channels == 1 else pixels

    def _picture(self, picture: Picture, options: PredictOptions) -> tuple[Picture, bool]:
        """Brings a user's picture into the training set's convention; second value: was it inverted."""
        _, data = configs(self.folder.recipe)
        if data.channels == 3:
            return picture, False
        inverted = options.invert == "always" or (
            options.invert == "auto" and _border(picture) > 127 and self._trained_on_dark()
        )
        picture = 255 - picture if inverted else picture
        return (square(trim(picture)) if self._trained_on_dark() else picture), inverted

    def _trained_on_dark(self) -> bool:
        return float(self.folder.facts.get("border", 255.0)) < 32

    def _result(self, logits: Tensor, inverted: bool, options: PredictOptions) -> ClassResult:
        chosen, temperature = self._choose(logits, options.mode)
        z = chosen / temperature + self._log_test_prior(options)
        probs = z.softmax(-1)
        top = probs.argsort(descending=True)[: max(1, options.top)].tolist()
        gap = float(expert_kl(logits[:, None])) if len(logits) > 1 else 0.0
        prior = "given test prior" if options.test_prior else "balanced test prior"
        return ClassResult(
            self.classes[top[0]],
            float(probs[top[0]]),
            tuple((self.classes[i], float(probs[i])) for i in top),
            tuple(self.classes[i] for i in logits.argmax(-1).tolist()),
            gap,
            inverted,
            options.mode,
            f"argmax, temperature {temperature:.3f} fitted on validation, {prior}",
        )

    def _choose(self, logits: Tensor, mode: str) -> tuple[Tensor, float]:
        fitted = self.folder.facts["temperature"]
        if mode == "ensemble":
            return logits.mean(0), float(fitted["ensemble"])
        if not mode.isdecimal() or int(mode) >= len(logits):
            raise ConfigError(
                f"--mode {mode!r}: use ensemble or the number of an expert, 0..{len(logits) - 1}"
            )
        return logits[int(mode)], float(fitted["single"][int(mode)])

    def _log_test_prior(self, options: PredictOptions) -> Tensor:
        """The post-hoc correction for another test distribution: z + ln pi (Bayes)."""
        if not options.test_prior:
            return torch.zeros(len(self.classes))
        prior = torch.tensor(options.test_prior, dtype=torch.float64)
        if len(prior) != len(self.classes) or not (prior > 0).all() or not torch.isfinite(prior).all():
            raise ConfigError(f"--test-prior needs {len(self.classes)} positive numbers, one per class")
        return (prior / prior.sum()).log().float()


def _border(picture: Picture) -> float:
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    return float(np.median(np.concatenate([e.reshape(-1) for e in edges])))


def trim(picture: Picture, tolerance: int = 24) -> Picture:
    """Cuts off margins that look like the border's median."""
    differs = np.abs(picture.astype(np.int16).mean(2) - _border(picture)) > tolerance
    rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
    if len(rows) < 2 or len(columns) < 2:
        return picture
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def square(picture: Picture) -> Picture:
    """Pads the shorter side with the darkest value, centred."""
    height, width = picture.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    out = np.zeros((side, side, picture.shape[2]), np.uint8)
    out[top : top + height, left : left + width] = picture
    return out


class Ensemble(nn.Module):
    """Mean of the experts' raw logits as one graph."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, H, W) in [0, 1] -> (B, C)."""
        return self.net(image).mean(0)  # type: ignore[no-any-return]


def export_plan(predictor: Predictor, count: int) -> ExportPlan:
    """What ``mien export`` writes: the ensemble and each expert, from picture to logits, no prior inside.

    They are measured on ``count`` test images, spread over the test set, and calibrated on validation images.
    """
    _, data = configs(predictor.folder.recipe)
    splits = read_own_splits(predictor.folder)
    net: Any = copy.deepcopy(predictor.net).cpu()
    graphs: dict[str, nn.Module] = {"ensemble": Ensemble(net)}
    if len(net.experts) > 1:
        graphs |= {f"expert{k}": net.export_expert(k) for k in range(len(net.experts))}
    chosen = spread(len(splits.test), count)
    held = spread(len(splits.val), 128)
    target = splits.test.targets[chosen]

    def images(split: LabelledImages, index: NDArray[np.int64]) -> Tensor:
        return prepare(split.pictures(index), data.size, data.channels, eval_zoom(data.augment))

    def accuracy(logits: NDArray[np.float32]) -> float:
        return float((logits.argmax(1) == target).mean())

    return ExportPlan(
        graphs, images(splits.test, chosen), accuracy, "accuracy", images(splits.val, held), splits.real
    )
