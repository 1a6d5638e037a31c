"""Classifier heads with a margin: thin modules on `mien.nn.margins`.

A margin (`Margin`, `AdaMargin`) maps cosines to logits; a head owns the class weights. `PartialFC` takes the
same margins.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.nn.margins import (
    Gradient,
    Guard,
    adaface_logits,
    check_margin,
    margin_logits,
    relative_norms,
)

Init = Literal["normal", "xavier"]


class Margin(nn.Module):
    """`margin_logits` with fixed numbers: z_y = s (cos(m1 t_y + m2) - m3).

    Args:
        m1: factor of the angle.
        m2: added to the angle, radians.
        m3: taken from the cosine.
        scale: s.
        guard: "fallback" (needs m1 = 1), "clip" or "none"; None = "fallback" where m1 = 1, else "clip".
        gradient: "exact" or "straight_through".
        filter_above: threshold of the inter-class filter; 0 = off.

    Raises:
        ConfigError: see `check_margin`.
    """

    def __init__(
        self,
        m1: float = 1.0,
        m2: float = 0.0,
        m3: float = 0.0,
        *,
        scale: float = 64.0,
        guard: Guard | None = None,
        gradient: Gradient = "exact",
        filter_above: float = 0.0,
    ) -> None:
        super().__init__()
        chosen: Guard = guard or ("fallback" if m1 == 1 and m2 >= 0 else "clip")
        check_margin(m1, m2, chosen, gradient)
        self.m1, self.m2, self.m3, self.scale = m1, m2, m3, scale
        self.guard, self.gradient, self.filter_above = chosen, gradient, filter_above

    def forward(self, cosine: Tensor, y: Tensor, norms: Tensor) -> Tensor:
        """Cosines (B, C), labels (B,), lengths of the embeddings (B,), unused -> logits (B, C)."""
        return margin_logits(
            cosine,
            y,
            scale=self.scale,
            m1=self.m1,
            m2=self.m2,
            m3=self.m3,
            guard=self.guard,
            gradient=self.gradient,
            filter_above=self.filter_above,
        )


class AdaMargin(nn.Module):
    """AdaFace's margin: the length of an embedding, against running statistics, stands for image quality.

    In training mode each call first moves the statistics (a = ``t_alpha``, lengths clamped to [1e-3, 100]):
    mu <- a mean(n) + (1 - a) mu, sd <- a std(n) + (1 - a) sd. A batch of one leaves sd alone.

    Args:
        m: margin.
        h: spread of the quality.
        t_alpha: a; 0.01 in the published training, 1 = the batch's own statistics.
        scale: s.
        gradient: "exact" or "straight_through".

    Attributes:
        mean: buffer, starts at 20.
        std: buffer, starts at 100.

    Raises:
        ConfigError: an unknown gradient, or ``t_alpha`` outside [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        m: float = 0.4,
        h: float = 0.333,
        t_alpha: float = 0.01,
        *,
        scale: float = 64.0,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__()
        check_margin(1.0, 0.0, "clip", gradient)
        if not 0 <= t_alpha <= 1:
            raise ConfigError(f"t_alpha={t_alpha} is outside [0, 1]")
        self.m, self.h, self.t_alpha, self.scale = m, h, t_alpha, scale
        self.gradient: Gradient = gradient
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("std", torch.tensor(100.0))

    def forward(self, cosine: Tensor, y: Tensor, norms: Tensor) -> Tensor:
        """Cosines (B, C), labels (B,), lengths of the embeddings (B,) -> logits (B, C)."""
        norms = norms.detach().clamp(1e-3, 100.0)
        if self.training:
            self.mean.lerp_(norms.mean().to(self.mean), self.t_alpha)
            if len(norms) > 1:
                self.std.lerp_(norms.std().to(self.std), self.t_alpha)
        quality = relative_norms(norms, self.mean, self.std, self.h)
        return adaface_logits(cosine, y, quality, scale=self.scale, m=self.m, gradient=self.gradient)


class MarginHead(nn.Module):
    """Class weights with a margin: cos t_j = <x / ||x||, w_j / ||w_j||>, then the margin.

    Logits are float32 or better whatever autocast says: half precision cannot hold s cos t. O(B C D).

    Args:
        num_features: D.
        num_classes: C.
        margin: a `Margin` or `AdaMargin`.
        init: "normal" N(0, 0.01), or "xavier" (uniform).

    Raises:
        ConfigError: an unknown ``init``.
    """

    def __init__(
        self, num_features: int, num_classes: int, margin: Margin | AdaMargin, init: Init = "normal"
    ) -> None:
        super().__init__()
        if init not in get_args(Init):
            raise ConfigError(f"init={init!r} is unknown; known: {', '.join(get_args(Init))}")
        self.weight = nn.Parameter(torch.empty(num_classes, num_features))
        if init == "xavier":
            nn.init.xavier_uniform_(self.weight)
        else:
            nn.init.normal_(self.weight, 0.0, 0.01)
        self.margin = margin

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Embeddings (B, D), labels (B,) -> logits (B, C); without labels s cos t, no margin."""
        with torch.autocast(x.device.type, enabled=False):
            cosine, norms = cosines(x, self.weight)
            if y is None:
                return cosine * self.margin.scale
            out: Tensor = self.margin(cosine, y, norms)
            return out

    def both(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C) with the margin and without, from one product with the class weights."""
        with torch.autocast(x.device.type, enabled=False):
            cosine, norms = cosines(x, self.weight)
            return self.margin(cosine, y, norms), cosine * self.margin.scale


def cosines(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines (B, C) clamped to [-1, 1], and lengths (B,), of embeddings (B, D) and weights (C, D)."""
    x, weight = (t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in (x, weight))
    return F.linear(F.normalize(x), F.normalize(weight)).clamp(-1.0, 1.0), x.norm(dim=1)


class NormFace(MarginHead):
    """z = s cos t (arXiv 1704.06369).

    Args:
        num_features: D.
        num_classes: C.
        scale: s.
        init: as of `MarginHead`.
    """

    def __init__(
        self, num_features: int, num_classes: int, scale: float = 64.0, init: Init = "normal"
    ) -> None:
        super().__init__(num_features, num_classes, Margin(scale=scale), init)


class CosFace(MarginHead):
    """z_y = s (cos t_y - m) (arXiv 1801.09414, eq. 4; its m is 0.35, later practice 0.4).

    Args:
        num_features: D.
        num_classes: C.
        m: margin on the cosine.
        scale: s.
        filter_above: threshold of the inter-class filter; 0 = off.
        init: as of `MarginHead`.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        m: float = 0.4,
        scale: float = 64.0,
        filter_above: float = 0.0,
        init: Init = "normal",
    ) -> None:
        super().__init__(
            num_features, num_classes, Margin(m3=m, scale=scale, filter_above=filter_above), init
        )


class ArcFace(MarginHead):
    """z_y = s cos(t_y + m) (arXiv 1801.07698, eq. 3).

    Args:
        num_features: D.
        num_classes: C.
        m: margin on the angle, radians.
        scale: s.
        guard: beyond t_y + m = pi: "fallback", "clip" or "none".
        gradient: "exact" or "straight_through".
        filter_above: threshold of the inter-class filter; 0 = off.
        init: as of `MarginHead`.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        m: float = 0.5,
        scale: float = 64.0,
        guard: Guard = "fallback",
        gradient: Gradient = "exact",
        filter_above: float = 0.0,
        init: Init = "normal",
    ) -> None:
        margin = Margin(m2=m, scale=scale, guard=guard, gradient=gradient, filter_above=filter_above)
        super().__init__(num_features, num_classes, margin, init)


class CombinedMargin(MarginHead):
    """z_y = s (cos(m1 t_y + m2) - m3) (arXiv 1801.07698, eq. 4); (1, 0.3, 0.2) is a common mix.

    Args:
        num_features: D.
        num_classes: C.
        margins: (m1, m2, m3).
        scale: s.
        guard: as of `Margin`.
        gradient: "exact" or "straight_through".
        filter_above: threshold of the inter-class filter; 0 = off.
        init: as of `MarginHead`.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        margins: tuple[float, float, float] = (1.0, 0.3, 0.2),
        scale: float = 64.0,
        guard: Guard | None = None,
        gradient: Gradient = "exact",
        filter_above: float = 0.0,
        init: Init = "normal",
    ) -> None:
        margin = Margin(*margins, scale=scale, guard=guard, gradient=gradient, filter_above=filter_above)
        super().__init__(num_features, num_classes, margin, init)


class AdaFace(MarginHead):
    """A margin that follows the length of the embedding (arXiv 2204.00964), see `AdaMargin`.

    Args:
        num_features: D.
        num_classes: C.
        m: margin.
        h: spread of the quality.
        t_alpha: pace of the running statistics.
        scale: s.
        gradient: "exact" or "straight_through".
        init: as of `MarginHead`.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        m: float = 0.4,
        h: float = 0.333,
        t_alpha: float = 0.01,
        scale: float = 64.0,
        gradient: Gradient = "exact",
        init: Init = "normal",
    ) -> None:
        margin = AdaMargin(m, h, t_alpha, scale=scale, gradient=gradient)
        super().__init__(num_features, num_classes, margin, init)
