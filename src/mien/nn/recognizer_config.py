"""What every recogniser of faces can be set to (no torch here)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mien.core.config import MethodConfig, check_range
from mien.core.errors import ConfigError

HeadKind = Literal["normface", "cosface", "arcface", "adaface", "combined"]


@dataclass(frozen=True)
class RecognizerConfig(MethodConfig):
    """A face net and the margin head that it is trained with; symbols of the papers in brackets."""

    backbone: str = "mbf_tiny"
    """One of `mien.nn.FACE_NETS`."""
    embedding: int = 64
    """Length of the embedding [D]."""
    head: HeadKind = "cosface"
    """Margin head."""
    scale: float = 32.0
    """Scale of the logits [s]."""
    margin: float = 0.3
    """Margin of cosface and adaface (on the cosine) and of arcface (radians) [m]."""
    margins: tuple[float, ...] = ()
    """combined: its three numbers [m1, m2, m3]; (1, 0.3, 0.2) if empty."""
    dropout: float = 0.0
    """Before the last layer of a residual net."""
    sample: float | None = None
    """Share of the classes in each step's softmax, over processes [q]; none: a plain head with all."""

    def __post_init__(self) -> None:
        check_range("method", "embedding", self.embedding, 2, 8192)
        check_range("method", "scale", self.scale, 1e-3, 1e4)
        check_range("method", "margin", self.margin, 0.0, 1.5)
        check_range("method", "dropout", self.dropout, 0.0, 0.99)
        check_range("method", "sample", self.sample, 1e-6, 1.0)
        if self.margins and (self.head != "combined" or len(self.margins) != 3):
            raise ConfigError(f"method.margins={list(self.margins)}: three numbers, for head='combined' only")
