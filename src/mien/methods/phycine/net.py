"""The parts of a trained PHYCINE: what sees, and what explains."""

from __future__ import annotations

from torch import nn

from mien.core.errors import ConfigError
from mien.methods.phycine.concepts import FitSettings
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.iodine import Iodine
from mien.methods.phycine.laws import Laws
from mien.methods.phycine.slots import SlotVideo
from mien.methods.phycine.threshold import ThresholdSegmenter

TRAINED = ("slots", "iodine")
ORDER = ("perception", "laws", "answers")


class PhycineNet(nn.Module):
    """Perception and laws of a config.

    Args:
        config: sizes.
        size: (H, W) of the pictures.
    """

    def __init__(self, config: PhycineConfig, size: tuple[int, int]) -> None:
        super().__init__()
        self.config, self.size = config, size
        self.perception = _perception(config, size)
        self.laws = Laws(config.hidden, charge=config.charge, mass=config.mass)

    @property
    def slots(self) -> SlotVideo:
        """The perception, if it is slot attention.

        Raises:
            ConfigError: it is another one.
        """
        if not isinstance(self.perception, SlotVideo):
            raise ConfigError(f"method.sight={self.config.sight!r} has no decoder of slots; use 'slots'")
        return self.perception


def _perception(config: PhycineConfig, size: tuple[int, int]) -> nn.Module:
    if config.sight == "slots":
        return SlotVideo(
            size, config.slots, config.dim, config.width, config.iterations, starts=config.starts
        )
    if config.sight == "iodine":
        return Iodine(size, config.slots, config.dim, config.width, rounds=config.iterations)
    if config.sight == "threshold":
        return ThresholdSegmenter(config.slots)
    return nn.Identity()


def fit_settings(config: PhycineConfig) -> FitSettings:
    """How the masses and charges of a clip are found."""
    return FitSettings(
        window=config.window,
        noise=config.noise,
        infer_steps=config.infer_steps,
        infer_lr=config.infer_lr,
        pull_mass=config.pull_mass,
        pull_charge=config.pull_charge,
        spread=config.spread,
    )
