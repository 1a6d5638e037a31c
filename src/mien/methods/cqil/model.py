"""CQIL: a live face or not, from features that do not know how good the picture is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.core.seeds import derive
from mien.data.pad_images import LIVE
from mien.losses.numerics import full_precision
from mien.methods.cqil.loss import Contrast, CqilOut, reverse_gradient
from mien.methods.cqil.superres import SuperResolver, halvings, shrink
from mien.nn.backbones import build_backbone

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, as timm's weights expect it."""


class Normalized(nn.Module):
    """A backbone behind the normalisation of its pictures: [0, 1] -> features (B, C).

    Args:
        backbone: see `mien.nn.build_backbone`.
        pretrained: file of timm weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: str, pretrained: str | None = None) -> None:
        super().__init__()
        self.net = build_backbone(backbone, pretrained=pretrained)
        self.num_features = int(self.net.num_features)  # type: ignore[arg-type]
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, C)."""
        return self.net((x - self.mean) / self.std)  # type: ignore[no-any-return]


class CQIL(nn.Module):
    """Pictures in [0, 1] -> `CqilOut`: x, or S(x) if small -> h = f(x) -> d = W_d h, u = W_u h.

    Live or attack is c(d), severity r(u); an adversary looks for it in d, a(GRL(d)). With ``split="rest"``
    d is what W_u does not read of h, `rest_of`.

    Parts that are switched off do not exist: without ``sqn`` d = h, and there is neither r nor a. Each part's
    first weights have a seed of their own, so that switching one changes no other.

    Args:
        backbone: ``small-resnet-16-32-64-96`` and others of `mien.nn.build_backbone`, or any timm model.
        sr: whether small faces go through a super-resolution net.
        contrast: which projection heads there are (none, ntxent, supcon, byol).
        sqn: whether quality has features of its own.
        split: how d and u part: ``maps`` or ``rest``.
        width: of u, with ``maps`` also of d (default half of the backbone's features).
        projection: width of the projections.
        beta: of the gradient reversal.
        sr_channels: of the super-resolution net.
        sr_blocks: of the super-resolution net.
        pretrained: file of timm weights of the backbone.
        seed: of the first weights.

    Raises:
        ConfigError: with ``rest`` a width that leaves nothing for d.

    Attributes:
        num_features: D, width of d.
    """

    kept: Tensor | None

    def __init__(
        self,
        backbone: str = "resnet18",
        sr: bool = True,
        contrast: Contrast = "ntxent",
        sqn: bool = True,
        *,
        split: Literal["maps", "rest"] = "maps",
        width: int | None = None,
        projection: int = 64,
        beta: float = 1.0,
        sr_channels: int = 64,
        sr_blocks: int = 8,
        pretrained: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.beta = beta
        with seeded(seed, "backbone"):
            self.backbone = Normalized(backbone, pretrained)
        features = self.backbone.num_features
        inner = width or max(2, features // 2)
        if sqn and split == "rest" and inner >= features:
            raise ConfigError(f"split='rest' leaves nothing of {features} features beside width={inner}")
        self.num_features = inner if sqn and split == "maps" else features
        with seeded(seed, "classifier"):
            self.classifier = nn.Linear(self.num_features, 2)
        self.discriminative = self.quality = self.regressor = self.adversary = None
        if sqn:
            with seeded(seed, "sqn"):
                if split == "maps":
                    self.discriminative = nn.Linear(features, inner)
                self.quality = nn.Linear(features, inner)
                self.regressor = _head(inner, 1)
                self.adversary = _head(self.num_features, 1)
        self.projector = self.predictor = None
        if contrast != "none":
            with seeded(seed, "contrast"):
                self.projector = _head(self.num_features, projection)
        if contrast == "byol":
            with seeded(seed, "predictor"):
                self.predictor = _head(projection, projection)
        self.register_buffer("kept", None, persistent=False)
        self.resolver = None
        if sr:
            with seeded(seed, "resolver"):
                self.resolver = SuperResolver(sr_channels, sr_blocks)

    def forward(self, x: Tensor, sharpen: Tensor | None = None, *, heads: bool = False) -> CqilOut:
        """Pictures (B, 3, S, S) in [0, 1] -> what is said of them.

        Args:
            x: with ``sr``, S is a multiple of 4.
            sharpen: (B,) which of the small ones go through S; None: all.
            heads: also what only training needs: the adversary and the projections.

        Raises:
            ShapeError: not (B, 3, H, W).
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ShapeError(f"expected pictures (B, 3, H, W), got {tuple(x.shape)}")
        h = self.backbone(self.resolved(x, sharpen))
        if self.discriminative is not None:
            d = self.discriminative(h)
        else:
            d = h if self.quality is None else F.linear(h, self.rest())
        quality = leaked = projection = prediction = None
        if self.quality is not None and self.regressor is not None and self.adversary is not None:
            quality = self.regressor(self.quality(h))[:, 0]
            if heads:
                leaked = self.adversary(reverse_gradient(d, self.beta))[:, 0]
        if heads and self.projector is not None:
            projection = self.projector(d)
            prediction = None if self.predictor is None else self.predictor(projection)
        return CqilOut(self.classifier(d), d, quality, leaked, projection, prediction)

    def resolved(self, x: Tensor, sharpen: Tensor | None = None) -> Tensor:
        """Pictures that have half or a quarter of their pixels (`halvings`) through S once or twice."""
        if self.resolver is None:
            return x
        times = halvings(x)
        if sharpen is None:
            return torch.where((times > 0).view(-1, 1, 1, 1), self._larger(x, times), x)
        rows = torch.nonzero((times > 0) & sharpen)[:, 0]
        return x.index_copy(0, rows, self._larger(x[rows], times[rows])) if len(rows) else x

    def _larger(self, x: Tensor, times: Tensor) -> Tensor:
        """S(x / 2) of each picture, or S(S(x / 4)) where ``times`` is 2."""
        if self.resolver is None:
            raise ShapeError("this net has no super-resolution part")
        quarter = self.resolver(shrink(x, 4)).clamp(0, 1)
        half = torch.where((times > 1).view(-1, 1, 1, 1), quarter, shrink(x, 2))
        larger: Tensor = self.resolver(half).clamp(0, 1)
        return larger

    def rest(self) -> Tensor:
        """(C, C) `rest_of` W_u; once `fixed` it is kept."""
        if self.kept is not None:
            return self.kept
        if self.quality is None:
            raise ShapeError("this net has no quality features")
        return rest_of(self.quality.weight)

    def fixed(self) -> CQIL:
        """The same net, no longer trained: what follows from its weights alone is computed once, in place."""
        if self.quality is not None and self.discriminative is None:
            self.kept = self.rest().detach()
        return self

    def maps(self) -> tuple[Tensor, Tensor] | None:
        """W_d and W_u, if there are both."""
        if self.discriminative is None or self.quality is None:
            return None
        return self.discriminative.weight, self.quality.weight


def rest_of(w: Tensor, least: float = 1e-4) -> Tensor:
    """I - W^T (W W^T + e I)^-1 W, rows of W of length 1: what W does not read of a feature. O(U C (U + C)).

    Args:
        w: (U, C), U < C.
        least: e, which keeps rows that are nearly alike apart.

    Returns:
        (C, C), symmetric; a projection but for e.
    """
    rows = F.normalize(full_precision(w))
    gram = rows @ rows.T + least * torch.eye(len(rows), device=w.device)
    rest: Tensor = torch.eye(w.shape[1], device=w.device) - rows.T @ torch.linalg.solve(gram, rows)
    return rest.to(w.dtype)


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))


@contextlib.contextmanager
def seeded(seed: int, part: str) -> Iterator[None]:
    """First weights inside are a function of (seed, part); torch's generator is afterwards as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "cqil", part))
        yield


def live_odds(logits: Tensor) -> Tensor:
    """Log odds of being live, (B, 2) -> (B,)."""
    return logits[:, LIVE] - logits[:, 1 - LIVE]
