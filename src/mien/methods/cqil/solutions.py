"""Nets of known solutions of the challenge (section 2.4 of the method's page), on small backbones.

Each gives `CqilOut`, so that scores, thresholds and tables are those of every other row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.seeds import derive
from mien.data.pad_images import LIVE
from mien.engine.task import Rng
from mien.methods.cqil.loss import CqilOut
from mien.methods.cqil.model import CQIL, Normalized, seeded

Logs = dict[str, Tensor]
PARTS: dict[str, tuple[float, float, float, float, float]] = {
    "face": (0.0, 0.0, 1.0, 1.0, 2.0),
    "eyes": (0.1, 0.25, 0.9, 0.55, 1.0),
    "nose": (0.25, 0.35, 0.75, 0.75, 1.0),
    "chin": (0.2, 0.6, 0.8, 1.0, 1.0),
    "left_ear": (0.0, 0.25, 0.35, 0.75, 0.5),
    "right_ear": (0.65, 0.25, 1.0, 0.75, 0.5),
}
"""Left, top, right, bottom of each crop as shares of the picture, and its weight in the score."""
WHOLE = 0.25
"""Share of the head that sees all crops in the score of `PartsNet`."""


class SolutionNet(nn.Module, ABC):
    """A net with a loss of its own; pictures (B, 3, S, S) in [0, 1] -> `CqilOut`."""

    @abstractmethod
    def losses(self, x: Tensor, soft: Tensor, fold: Tensor, rng: Rng, mix: float) -> tuple[Tensor, Logs]:
        """Scalar loss and its parts.

        Args:
            x: (B, 3, S, S).
            soft: (B, 2) labels that sum to 1.
            fold: (B,) part of the training set.
            rng: of this micro-batch.
            mix: probability of mixing pictures, see `mixed`.
        """


def mixed(x: Tensor, soft: Tensor, p: float, seed: int) -> tuple[Tensor, Tensor]:
    """With probability ``p``, CutMix and MixUp of the batch, each with 0.4, weights Beta(.25, .25).

    Args:
        x: (B, 3, S, S).
        soft: (B, 2) labels; those of mixed pictures are mixed alike.
        p: of any mixing.
        seed: of this micro-batch.
    """
    if not p or len(x) < 2:
        return x, soft
    from torchvision.transforms import v2

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        any_mix, cut, up = torch.rand(3).tolist()
        if any_mix >= p:
            return x, soft
        for chosen, step in ((cut < 0.4, v2.CutMix), (up < 0.4, v2.MixUp)):
            if chosen:
                # torchvision mixes hard labels only; the index of each row stands for its label.
                x, share = step(alpha=0.25, num_classes=len(x))(x, torch.arange(len(x), device=x.device))
                soft = share @ soft
    return x, soft


class PartsNet(SolutionNet):
    """One trunk on six crops of a face, a head for each, and one for all.

    P(live) = .25 sigmoid(g) + .75 sum_p w_p sigmoid(z_p), w as in `PARTS`, normalised; in use the mean of the
    picture and its mirror image. Trained by binary cross-entropy of each head.

    Args:
        backbone: see `mien.nn.build_backbone`.
        seed: of the first weights.
        pretrained: file of timm weights.
    """

    weights: Tensor

    def __init__(self, backbone: str, seed: int = 0, pretrained: str | None = None) -> None:
        super().__init__()
        with seeded(seed, "backbone"):
            self.trunk = Normalized(backbone, pretrained)
        width = self.trunk.num_features
        with seeded(seed, "classifier"):
            self.heads = nn.ModuleList(nn.Linear(width, 1) for _ in PARTS)
            self.whole = nn.Linear(width * len(PARTS), 1)
        weights = torch.tensor([p[4] for p in PARTS.values()])
        self.register_buffer("weights", weights / weights.sum(), persistent=False)

    def crops(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) -> (6 B, 3, S / 2, S / 2), part by part."""
        size, out = x.shape[-1], []
        for left, top, right, bottom, _ in PARTS.values():
            rows, columns = (
                slice(round(a * size), round(b * size)) for a, b in ((top, bottom), (left, right))
            )
            part = x[:, :, rows, columns]
            out.append(F.interpolate(part, (size // 2, size // 2), mode="bilinear", align_corners=False))
        return torch.cat(out)

    def odds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Log odds of being live (B, 7): six parts, then all; and features (B, 6 C)."""
        parts = self.trunk(self.crops(x)).chunk(len(PARTS))
        features = torch.cat(parts, 1)
        z = [head(h) for head, h in zip(self.heads, parts, strict=True)]
        return torch.cat([*z, self.whole(features)], 1), features

    def forward(self, x: Tensor) -> CqilOut:
        """Logits whose softmax is the weighted probability."""
        found = [self.odds(v) for v in (x, x.flip(3))]
        p = torch.stack([z.sigmoid() for z, _ in found]).mean(0)
        live = (WHOLE * p[:, -1] + (1 - WHOLE) * (p[:, :-1] * self.weights).sum(1)).clamp(1e-6, 1 - 1e-6)
        return CqilOut(torch.stack([live.log(), (-live).log1p()], 1), found[0][1])

    def losses(self, x: Tensor, soft: Tensor, fold: Tensor, rng: Rng, mix: float) -> tuple[Tensor, Logs]:
        """See `SolutionNet`."""
        x, soft = mixed(x, soft, mix, derive(rng.seed, "mix"))
        z, _ = self.odds(x)
        each = F.binary_cross_entropy_with_logits(z, soft[:, LIVE, None].expand_as(z), reduction="none").mean(
            0
        )
        return each.sum() / 2, {"cls": each[-1].detach(), "parts": each[:-1].mean().detach()}


class DiseNet(SolutionNet):
    """Features with a mean and a spread (DisE, 2309.09485): z = mu + eps exp(.5 log s^2); scores are of mu.

    L = CE(c(z), y) + lambda mean_b sum_j (s^2 + mu^2 - 1 - log s^2) / 2. A reconstruction from the abstract.

    Args:
        backbone: see `mien.nn.build_backbone`.
        kl: lambda.
        seed: of the first weights.
        pretrained: file of timm weights.
    """

    def __init__(self, backbone: str, kl: float = 1e-3, seed: int = 0, pretrained: str | None = None) -> None:
        super().__init__()
        self.kl = kl
        with seeded(seed, "backbone"):
            self.trunk = Normalized(backbone, pretrained)
        width = self.trunk.num_features
        with seeded(seed, "classifier"):
            self.mean, self.spread = nn.Linear(width, width), nn.Linear(width, width)
            self.classifier = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> CqilOut:
        """Scores of the mean feature."""
        mu = self.mean(self.trunk(x))
        return CqilOut(self.classifier(mu), mu)

    def losses(self, x: Tensor, soft: Tensor, fold: Tensor, rng: Rng, mix: float) -> tuple[Tensor, Logs]:
        """See `SolutionNet`."""
        x, soft = mixed(x, soft, mix, derive(rng.seed, "mix"))
        h = self.trunk(x)
        mu, log_var = self.mean(h), self.spread(h)
        eps = torch.randn(mu.shape, generator=rng.generator("dise", mu.device), device=mu.device)
        cls = F.cross_entropy(self.classifier(mu + eps * (0.5 * log_var).exp()), soft)
        spread = gaussian_kl(mu, log_var)
        return cls + self.kl * spread, {"cls": cls.detach(), "kl": spread.detach()}


def gaussian_kl(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, s^2) || N(0, 1)), summed over features, mean over rows; (B, D) and log s^2 (B, D)."""
    return 0.5 * (log_var.exp() + mu.square() - 1 - log_var).sum(1).mean()


class FoldEnsemble(SolutionNet):
    """Nets that each never see one fold of the training tracks; logits are averaged.

    Args:
        backbone: of each; see `mien.nn.build_backbone`.
        members: how many.
        seed: of the first weights, which differ.
        pretrained: file of timm weights.
    """

    def __init__(self, backbone: str, members: int = 3, seed: int = 0, pretrained: str | None = None) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            CQIL(backbone, False, "none", False, pretrained=pretrained, seed=derive(seed, "member", k))
            for k in range(members)
        )

    def forward(self, x: Tensor) -> CqilOut:
        """Mean logits, features side by side."""
        outs = [net(x) for net in self.nets]
        logits = torch.stack([o.logits for o in outs]).mean(0)
        return CqilOut(logits, torch.cat([o.features for o in outs], 1))

    def losses(self, x: Tensor, soft: Tensor, fold: Tensor, rng: Rng, mix: float) -> tuple[Tensor, Logs]:
        """See `SolutionNet`; pictures are mixed within what a member may see."""
        losses = []
        for k, net in enumerate(self.nets):
            rows = torch.nonzero(fold != k)[:, 0]
            if len(rows) < 2:
                continue
            own, labels = mixed(x[rows], soft[rows], mix, derive(rng.seed, "mix", k))
            losses.append(F.cross_entropy(net(own).logits, labels))
        loss = torch.stack(losses).mean()
        return loss, {"cls": loss.detach()}
