"""The classifier a user holds."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import DataError
from mien.core.images import ImageInput, read_image
from mien.data.augment import stretch
from mien.data.labelled import LabelledImages, spread
from mien.engine.export import ExportPlan
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.methods.sagm.config import PredictOptions
from mien.methods.sagm.evaluate import own_splits, restore
from mien.methods.sagm.model import DomainNet
from mien.methods.sagm.task import configs


@dataclass(frozen=True)
class DomainResult:
    """One picture: the most probable class and calibrated probabilities."""

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    rule: str
    """How the class was chosen, and the temperature in force."""
    trained_on: tuple[str, ...]
    """Source domains: the probability is calibrated on them, not on the domain of this picture."""


class Predictor(AbstractPredictor):
    """Classifies pictures of any domain.

    Args:
        folder: opened model folder.
        net: its net.
    """

    def __init__(self, folder: ModelFolder, net: DomainNet) -> None:
        self.folder, self.device = folder, default_device()
        self.net = net.to(self.device).eval()
        self.classes: list[str] = list(folder.facts["classes"])

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """Loads the weights."""
        return cls(folder, restore(folder))

    @torch.inference_mode()
    def predict(self, *inputs: ImageInput, options: PredictOptions | None = None) -> list[DomainResult]:
        """One result for each picture (path, bytes, PIL image, array or tensor).

        Raises:
            DataError: a picture cannot be read.
        """
        if not inputs:
            return []
        data = configs(self.folder.recipe)[1]
        x = stretch([read_image(i) for i in inputs], data.size, data.channels)
        temperature = float(self.folder.facts["temperature"])
        p = (self.net(x.to(self.device)).double().cpu() / temperature).softmax(1)
        count = max(1, (options or PredictOptions()).top)
        return [self._result(row, temperature, count) for row in p]

    def _result(self, p: Tensor, temperature: float, count: int) -> DomainResult:
        top = p.argsort(descending=True)[:count].tolist()
        return DomainResult(
            self.classes[top[0]],
            float(p[top[0]]),
            tuple((self.classes[i], float(p[i])) for i in top),
            f"argmax, temperature {temperature:.3f} fitted on held-out pictures of the source domains",
            tuple(self.folder.facts["sources"]),
        )


def export_plan(predictor: Predictor, count: int) -> ExportPlan:
    """What ``mien export`` writes: one graph, from picture to logits, proved on the held-out domain."""
    data = configs(predictor.folder.recipe)[1]
    sources, targets = own_splits(predictor.folder)
    net: Any = copy.deepcopy(predictor.net).cpu()
    images = targets[0].inner if targets else sources[0].outer
    if not len(images):
        raise DataError(f"{predictor.folder.path}: no test pictures to prove the export on")
    chosen = spread(len(images), count)
    target = images.targets[chosen]
    outer: LabelledImages = sources[0].outer if len(sources[0].outer) else sources[0].inner

    def accuracy(logits: NDArray[Any]) -> float:
        return float((logits.argmax(1) == target).mean())

    return ExportPlan(
        {"classifier": net},
        stretch(images.pictures(chosen), data.size, data.channels),
        accuracy,
        "accuracy",
        stretch(outer.pictures(spread(len(outer), 128)), data.size, data.channels),
        bool(predictor.folder.facts["data"]["real"]),
    )
