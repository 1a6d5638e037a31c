"""Pivotal tuning: the generator itself is bent a little so that a fixed code draws one person better.

Source: Roich et al., Pivotal tuning for latent-based editing of real images (arXiv 2106.05744), in the form
that OTAvatar (arXiv 2303.14662) uses: Adam, few steps, SmoothL1 only.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError
from mien.methods.otavatar.generator import TriPlaneGenerator
from mien.methods.otavatar.inversion import Sampler
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import look


@dataclass(frozen=True)
class TuningSettings:
    """How a generator is tuned.

    Attributes:
        steps: of Adam, at most 50: more of them forget what other views look like.
        lr: its rate.
        samples: of a ray.
    """

    steps: int = 50
    lr: float = 3e-4
    samples: int = 24

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= 50 or self.lr <= 0 or self.samples < 8:
            raise ConfigError(f"steps 0 .. 50, lr > 0 and samples >= 8 are needed, got {self}")


def tuned_delta(
    net: AvatarNet,
    sampler: Sampler,
    w_id: Tensor,
    dw: Tensor | None,
    settings: TuningSettings | None = None,
    *,
    seed: int = 0,
) -> dict[str, Tensor]:
    """What is added to the generator's tensors. O(steps F (planes + M samples)).

    Args:
        net: not changed.
        sampler: rays of a step, of F frames of one person, with corrected cameras.
        w_id: (1, 1 or slots, W), fixed.
        dw: (F, slots, W) motion of the frames, fixed; None = no motion.
        settings: how.
        seed: of the samples along rays.
    """
    own = settings or TuningSettings()
    generator, plan = copy.deepcopy(net.generator).requires_grad_(False), net.config.settings()
    learnt = [*generator.synthesis.parameters(), *generator.decoder.parameters()]
    for p in learnt:
        p.requires_grad_(True)
    random = torch.Generator(w_id.device).manual_seed(seed)
    optimizer = torch.optim.Adam(learnt, own.lr)
    for step in range(own.steps):
        target = sampler(step)
        with torch.no_grad():
            ws = net.moved(w_id.expand(len(target.rgb), -1, -1), dw)
        planes = generator.planes(ws)
        seen = look(planes, generator.decoder, target, plan, own.samples, random).features[..., :3]
        optimizer.zero_grad()
        F.smooth_l1_loss(seen, target.rgb).backward()
        optimizer.step()
    before, after = net.generator.state_dict(), generator.state_dict()
    return {k: after[k] - v for k, v in before.items() if not torch.equal(after[k], v)}


def with_delta(generator: TriPlaneGenerator, delta: Mapping[str, Tensor]) -> TriPlaneGenerator:
    """A copy of the generator with a person's ``delta`` added; the generator itself where there is none."""
    if not delta:
        return generator
    own = copy.deepcopy(generator)
    with torch.no_grad():
        for name, value in own.state_dict().items():
            if name in delta:
                value.add_(delta[name])
    return own
