"""A mobile net for passive liveness of 80-pixel crops, of the size of the MiniFASNets.

The released nets of that name (minivision, Silent-Face-Anti-Spoofing) are MobileFaceNets with most inner
channels pruned: 0.414 to 0.435 M weights at 80 x 80. This is a plain form without a pruning list.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.nn.mobilefacenet import MobileFaceNet


class MiniFASNet(nn.Module):
    """MobileFaceNet of 64 and 128 channels with few inner ones, then classes.

    0.42 M weights, 49 M multiply-adds at 80 x 80. ``net.taps`` names the maps that an auxiliary head may use
    in training (Fourier spectrum, depth).

    Args:
        num_classes: 2: attack and live.
        size: side of the input, pixels.
        embedding: features before the classes.
        dropout: share of the features left out in training.

    Raises:
        ConfigError: fewer than 2 classes, dropout outside [0, 1), or a size below 16.

    >>> sum(p.numel() for p in MiniFASNet().parameters())
    420162
    """

    def __init__(
        self, num_classes: int = 2, *, size: int = 80, embedding: int = 128, dropout: float = 0.2
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout={dropout} must be at least 0 and below 1")
        self.net = MobileFaceNet((1, 3, 4, 2), 2, size=size, embedding=embedding, base=32)
        self.size, self.num_features, self.dropout = size, embedding, dropout
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """A new last layer.

        Raises:
            ConfigError: fewer than 2 classes.
        """
        if num_classes < 2:
            raise ConfigError(f"num_classes={num_classes} must be at least 2")
        self.num_classes = num_classes
        self.classifier = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, embedding)."""
        out: Tensor = self.net(x)
        return out

    def forward_head(self, x: Tensor) -> Tensor:
        """(B, embedding) -> (B, classes)."""
        out: Tensor = self.classifier(F.dropout(x, self.dropout, self.training))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> logits (B, classes); softmax of column 1 is the liveness score.

        Raises:
            ShapeError: the input has another size.
        """
        return self.forward_head(self.forward_features(x))
