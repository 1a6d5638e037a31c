"""A face net with its class weights: what is trained; the net alone is what is used."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mien.core.config import suggest
from mien.core.errors import ConfigError
from mien.methods.gkd.config import GkdConfig
from mien.nn import ArcFace, CosFace, NormFace, build_face_net
from mien.nn.face_net import FaceNet
from mien.nn.margin_heads import MarginHead


def build_head(config: GkdConfig, classes: int) -> MarginHead:
    """The margin head of a config."""
    if config.head == "normface":
        return NormFace(config.embedding, classes, config.scale)
    kinds: dict[str, type[CosFace] | type[ArcFace]] = {"cosface": CosFace, "arcface": ArcFace}
    if config.head not in kinds:
        raise ConfigError(f"head {config.head!r}{suggest(config.head, ['normface', *kinds])}")
    return kinds[config.head](config.embedding, classes, config.margin, config.scale)


class Recognizer(nn.Module):
    """Faces to embeddings, and in training to class logits.

    Args:
        config: net and head.
        size: pixels a side.
        classes: training identities.
        seed: of the starting weights.
    """

    def __init__(self, config: GkdConfig, size: int, classes: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net: FaceNet = build_face_net(config.backbone, size, config.embedding)
            self.head = build_head(config, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> embeddings (B, D), not normalised."""
        return cast("Tensor", self.net(x))

    def logits(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, C) with the margin at the labels (B,), and without it."""
        e = self.net(x)
        return self.head(e, y), self.head(e)
