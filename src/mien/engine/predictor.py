"""What a user holds: heavy work once when it is made, cheap calls many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import torch

from mien.engine.folder import ModelFolder
from mien.engine.zoo import load_folder


def default_device() -> torch.device:
    """CUDA when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class AbstractPredictor(ABC):
    """A trained model ready for use."""

    folder: ModelFolder
    device: torch.device

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path) -> Self:
        """From shipped weights, a run folder, or a hub id.

        Raises:
            WeightsError: nothing of that name, or not readable safely.
        """
        return cls.from_folder(load_folder(str(name_or_path)))

    @classmethod
    @abstractmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """From an opened model folder."""

    @abstractmethod
    def predict(self, *inputs: Any, options: Any = None) -> Any:
        """Results for the inputs, as frozen dataclasses."""
