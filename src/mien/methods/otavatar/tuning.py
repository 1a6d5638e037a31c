"""Pivotal tuning: the generator itself is bent a little so that a fixed code draws one person better.

    L = SmoothL1(C'(w + dw), x) + keep mean |W'(w + dw_r, c_r) - W(w + dw_r, c_r)|^2

with C' the colours and W' the opacity that the tuned generator draws, W that of the untuned one, c_r a random
camera and dw_r a random motion of each step.

With ``own_lr`` planes of the person's own are learnt too and added to those of the synthesis: they hold what
no bending of the generator draws, such as pupils and teeth.

Source: Roich et al., Pivotal tuning for latent-based editing of real images (arXiv 2106.05744), in the form
that OTAvatar (arXiv 2303.14662) uses: Adam, few steps, SmoothL1 only. The locality regularisation of the
former keeps pictures of other codes; ours keeps the shape of the same person from other sides.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.methods.otavatar.generator import OWN_PLANES, TriPlaneGenerator
from mien.methods.otavatar.inversion import Sampler
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import TargetRays, look
from mien.render.plane_settings import PlaneSettings
from mien.synth.orbit import orbit_views


@dataclass(frozen=True)
class TuningSettings:
    """How a generator is tuned.

    Attributes:
        steps: of Adam, at most 1000; 50 as released.
        lr: its rate; 3e-4 as released; 0: the generator stays as it is, only own planes are learnt.
        keep: weight of the untuned generator's opacity from other sides; 0 as released.
        own_lr: rate of the person's own planes, which are added to those of the synthesis and hold what no
            generator draws; 0: there are none, as released.
        samples: of a ray.
    """

    steps: int = 50
    lr: float = 3e-4
    keep: float = 0.0
    own_lr: float = 0.0
    samples: int = 24

    def __post_init__(self) -> None:
        wrong = min(self.lr, self.keep, self.own_lr) < 0 or self.lr == self.own_lr == 0 or self.samples < 8
        if wrong or not 0 <= self.steps <= 1000:
            raise ConfigError(
                "steps 0 .. 1000, lr, keep and own_lr >= 0, one rate above 0, and samples >= 8 are needed,"
                f" got {self}"
            )


def tuned_delta(
    net: AvatarNet,
    sampler: Sampler,
    w_id: Tensor,
    dw: Tensor | None,
    settings: TuningSettings | None = None,
    *,
    motions: Tensor | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """What is added to the generator's tensors. O(steps F (planes + M samples)).

    Args:
        net: not changed.
        sampler: rays of a step, of F frames of one person, with corrected cameras; one view each.
        w_id: (1, 1 or slots, W), fixed.
        dw: (F, slots, W) motion of the frames, fixed; None = no motion.
        settings: how.
        motions: (N, slots, W) of which one is drawn for each step; default those of the frames.
        seed: of the samples along rays, of cameras and motions.
    """
    own = settings or TuningSettings()
    generator, plan = copy.deepcopy(net.generator).requires_grad_(False), net.config.settings()
    groups: list[dict[str, Any]] = []
    if own.lr:
        parts = (generator.synthesis, generator.decoder, generator.warp)
        learnt = [p for part in parts if part is not None for p in part.requires_grad_(True).parameters()]
        groups.append({"params": learnt, "lr": own.lr})
    if own.own_lr:
        generator.own = nn.Parameter(w_id.new_zeros(generator.shape))
        groups.append({"params": [generator.own], "lr": own.own_lr})
    optimizer = torch.optim.Adam(groups)
    random = torch.Generator(w_id.device).manual_seed(seed)
    rng = np.random.default_rng(derive(seed, "views"))
    pool = dw if motions is None else motions

    def planes(ws: Tensor, plain: Tensor) -> Tensor:
        return generator.planes(ws) if own.lr else generator.finished(plain, ws)

    with torch.no_grad():
        ws = net.moved(w_id.expand(len(sampler(0).rgb), -1, -1), dw)
        still = net.generator.synthesized(ws)
    for step in range(own.steps):
        target = sampler(step)
        count = len(target.rgb)
        drawn = planes(ws, still)
        if own.keep:
            with torch.no_grad():
                other = net.moved(w_id, None if pool is None else pool[[int(rng.integers(len(pool)))]])
                plain = net.generator.synthesized(other)
                kept = drawn_rays(
                    net.generator.finished(plain, other), net.generator.decoder, plan,
                    target.uv.shape[2], own.samples, rng, random,
                )  # fmt: skip
            drawn = torch.cat([drawn, planes(other, plain)])
            target = TargetRays(*(torch.cat(x) for x in zip(target, kept, strict=True)))
        seen = look(drawn, generator.decoder, target, plan, own.samples, random)
        loss = F.smooth_l1_loss(seen.features[:count, :, :3], target.rgb[:count])
        if own.keep:
            loss = loss + own.keep * F.mse_loss(seen.opacity[count:], target.opacity[count:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    before, after = net.generator.state_dict(), generator.state_dict()
    changed = {k: after[k] - v for k, v in before.items() if not torch.equal(after[k], v)}
    return changed | ({OWN_PLANES: after[OWN_PLANES]} if own.own_lr else {})


@torch.no_grad()
def drawn_rays(
    planes: Tensor,
    decoder: nn.Module,
    settings: PlaneSettings,
    count: int,
    samples: int,
    rng: np.random.Generator,
    random: torch.Generator | None = None,
) -> TargetRays:
    """What planes (B, 3, C, P, P) show at random places of one random view each. O(B count samples).

    Args:
        planes: of a generator.
        decoder: of it.
        settings: how the field is read.
        count: rays of a view.
        samples: of a ray.
        rng: of cameras (`mien.synth.orbit.orbit_views`) and places.
        random: of samples along rays.
    """
    b = len(planes)
    cameras = torch.from_numpy(orbit_views(rng, (1, b + 1))[0, 1:]).to(planes)[:, None]
    uv = torch.from_numpy(rng.random((b, 1, count, 2), np.float32)).to(planes)
    blank = planes.new_zeros(b, count)
    asked = TargetRays(cameras, uv, blank[..., None].expand(-1, -1, 3), blank, blank)
    seen = look(planes, decoder, asked, settings, samples, random)
    return asked._replace(rgb=seen.features[..., :3], opacity=seen.opacity)


def with_delta(generator: TriPlaneGenerator, delta: Mapping[str, Tensor]) -> TriPlaneGenerator:
    """A copy of the generator with a person's ``delta`` added; the generator itself where there is none."""
    if not delta:
        return generator
    own = copy.deepcopy(generator)
    if OWN_PLANES in delta:
        own.own = nn.Parameter(delta[OWN_PLANES].clone(), requires_grad=False)
    with torch.no_grad():
        for name, value in own.state_dict().items():
            if name in delta and name != OWN_PLANES:
                value.add_(delta[name])
    return own
