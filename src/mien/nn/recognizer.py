"""A face net with its class weights: what is trained; the net alone is what is used."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mien.core.config import suggest
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.nn.face_net import FaceNet
from mien.nn.face_nets import build_face_net
from mien.nn.margin_heads import AdaFace, ArcFace, CombinedMargin, CosFace, MarginHead, NormFace
from mien.nn.partial_fc import PartialFC
from mien.nn.recognizer_config import RecognizerConfig


def build_margin_head(config: RecognizerConfig, classes: int) -> MarginHead:
    """The margin head of a config, with weights from the global generator.

    Raises:
        ConfigError: no such head.
    """
    size = (config.embedding, classes)
    if config.head == "normface":
        return NormFace(*size, config.scale)
    if config.head == "combined":
        margins = cast("tuple[float, float, float]", config.margins or (1.0, 0.3, 0.2))
        return CombinedMargin(*size, margins, config.scale)
    kinds: dict[str, type[CosFace | ArcFace | AdaFace]] = {
        "cosface": CosFace,
        "arcface": ArcFace,
        "adaface": AdaFace,
    }
    if config.head not in kinds:
        raise ConfigError(f"head {config.head!r}{suggest(config.head, ['normface', 'combined', *kinds])}")
    return kinds[config.head](*size, config.margin, scale=config.scale)


def build_class_layer(config: RecognizerConfig, classes: int, seed: int) -> PartialFC:
    """The spread and sampled class layer of a config, with the margin of its head.

    Raises:
        ConfigError: no such head, or a rate outside (0, 1].
    """
    rate = 1.0 if config.sample is None else config.sample
    margin = build_margin_head(config, 1).margin
    return PartialFC(
        config.embedding, classes, margin, sample_rate=rate, sparse=rate < 1, seed=derive(seed, "classes")
    )


class Recognizer(nn.Module):
    """Faces to embeddings, and in training to class logits.

    Args:
        config: net and head.
        size: pixels a side.
        classes: training identities [C].
        seed: of the starting weights.
    """

    def __init__(self, config: RecognizerConfig, size: int, classes: int, seed: int) -> None:
        super().__init__()
        options = {"dropout": config.dropout} if config.dropout else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net: FaceNet = build_face_net(config.backbone, size, config.embedding, **options)
            self.head: MarginHead | PartialFC
            if config.sample is None:
                self.head = build_margin_head(config, classes)
            else:
                self.head = build_class_layer(config, classes, seed)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> embeddings (B, D), not normalised."""
        return cast("Tensor", self.net(x))

    def logits(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, C) with the margin at the labels (B,), and without it.

        Raises:
            ConfigError: the classes are sampled.
        """
        return self.whole_head.both(self.net(x), y)

    @property
    def whole_head(self) -> MarginHead:
        """The class weights of one process.

        Raises:
            ConfigError: they are sampled, or spread over processes.
        """
        if isinstance(self.head, PartialFC):
            raise ConfigError("all classes are needed in every step here; unset method.sample")
        return self.head
