"""Whom the avatar's bench draws: a made person, or a head of formulas that a generator learns first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.seeds import derive
from mien.core.shipped import shipped
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.export import made_windows
from mien.methods.otavatar.inversion import InversionSettings, Sampler, invert_codes
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import pick_rays
from mien.render.eg3d import eg3d_rays
from mien.render.triplane import density, query_planes
from mien.render.volume import march
from mien.synth.body import people
from mien.synth.face import detail_for
from mien.synth.motion import expression_rows, perform
from mien.synth.orbit import orbit_cameras, photograph_orbit, studio
from mien.synth.portraits import make_face

RADII = (0.30, 0.36, 0.31)
"""Half axes of the head of formulas, cubes."""
_WEIGHTS = "otavatar/demo"
_FRAMES = 120
_SEED = derive(0, "bench", "otavatar")


class Subject(NamedTuple):
    """A head to be drawn, and what it should look like.

    Attributes:
        net: the avatar's net, without gradients.
        w_id: (1, 1, W) identity.
        windows: (T, C, L) motion, frame by frame.
        camera: (1, 25).
        truth: (1, 4, S, S) in [0, 1]: the true picture of frame 0 on white, and its opacity.
        source: where net and truth come from.
    """

    net: AvatarNet
    w_id: Tensor
    windows: Tensor
    camera: Tensor
    truth: Tensor
    source: str


def subject(size: int, steps: int, config: OtavatarConfig | None = None) -> Subject:
    """A made person inverted by the shipped model; where none is shipped, `fitted`."""
    known = _WEIGHTS in shipped() and config is None
    return made_person(size) if known else fitted(size, steps, config)


def made_person(size: int) -> Subject:
    """A person the shipped model has not seen, inverted from one picture (100 steps)."""
    import mien

    net: AvatarNet = mien.load(_WEIGHTS).net.eval().requires_grad_(False)
    names = people().actions
    rows = expression_rows(perform(_SEED, _FRAMES), names)
    camera = orbit_cameras(0.3, 0.1)
    picture = photograph_orbit(
        make_face(_SEED, detail_for(size)), studio(_SEED), camera[0], rows[0], names, size
    )
    pixels = np.concatenate([picture.rgb / 255, picture.alpha[..., None]], 2)
    truth = torch.from_numpy(pixels).float().permute(2, 0, 1)[None]
    windows, seen_from = made_windows(net.controller, _FRAMES, _SEED), torch.from_numpy(camera)
    draft = Subject(net, net.w_avg[None, None], windows, seen_from, truth, _WEIGHTS)
    return draft._replace(w_id=invert(draft, 100))


def invert(own: Subject, steps: int) -> Tensor:
    """(1, 1, W) code sought from the true picture, its motion known. O(steps (planes + rays))."""
    net = own.net
    with torch.no_grad():
        dw = net.controller(own.windows[:1])[0]
        start = net.encode(2 * own.truth[:, :3] - 1)
    with torch.enable_grad():
        return invert_codes(net, ray_sampler(own), dw, start, InversionSettings(steps=steps)).w_id


def ray_sampler(own: Subject) -> Sampler:
    """Random rays of the true picture, as many as in training."""
    nowhere = torch.zeros(1, 68, 3)
    unknown = torch.full((1, 1, *own.truth.shape[2:]), torch.nan)
    return lambda step: pick_rays(
        own.truth[:, None], unknown, own.camera[:, None], nowhere, own.net.config.rays,
        face=own.net.config.face, parts=0.0, generator=torch.Generator().manual_seed(derive(_SEED, step)),
    )  # fmt: skip


def fitted(size: int, steps: int, config: OtavatarConfig | None = None) -> Subject:
    """An untrained net whose field learns the head of formulas for so many steps (25 a second)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        net = AvatarNet(config or OtavatarConfig(), size, len(people().actions))
    fit(net, steps)
    camera = torch.from_numpy(orbit_cameras(0.3, 0.1))
    source = f"a head of formulas, learnt in {steps} steps"
    return Subject(
        net,
        net.w_avg[None, None],
        made_windows(net.controller, _FRAMES, _SEED),
        camera,
        true_picture(net, camera, size),
        source,
    )


def fit(net: AvatarNet, steps: int, points: int = 4096) -> None:
    """Adam on raw density and colour at points of the cube, half of them near the surface; then frozen."""
    decoder, settings = net.generator.decoder, net.config.settings()
    learnt = [*net.generator.synthesis.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(learnt, lr=4e-3, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(_SEED)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / steps)
        anywhere = 1.4 * torch.rand(points, 3, generator=generator) - 0.7  # past the cube: it is empty there
        unit = F.normalize(torch.randn(points, 3, generator=generator), dim=1)
        near = 1 + 0.06 * torch.randn(points, 1, generator=generator)
        at = torch.cat([anywhere, unit * torch.tensor(RADII) * near])
        true_sigma, true_colour = head_field(at)
        nudge = 0.02 * torch.randn(1, 1, net.config.w_dim, generator=generator)  # holds for moved codes, too
        planes = net.planes(net.moved(net.w_avg + nudge, None))
        sigma, colour = query_planes(planes, decoder, at[None], settings)
        seen = (true_sigma > -4)[:, None]
        loss = 0.3 * F.smooth_l1_loss(sigma[0, :, 0], true_sigma)
        loss = loss + 10 * ((colour[0, :, :3] - true_colour).square() * seen).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval().requires_grad_(False)


def head_field(points: Tensor) -> tuple[Tensor, Tensor]:
    """Raw density (N,) and colour (N, 3) at points (N, 3): an ellipsoid with hair, eyes and a mouth.

    sigma = -1 + 5 tanh(12 (1 - q)),  q^2 = (x / a)^2 + (y / b)^2 + (z / c)^2.
    """
    x, y, z = points.unbind(-1)
    q = (points / torch.tensor(RADII)).norm(dim=-1)

    def spot(across: float, up: float, radius: float) -> Tensor:
        flat = torch.exp(-((x - across) ** 2 + (y - up) ** 2) / radius**2)
        return (flat * torch.sigmoid(40 * z))[..., None]

    colour: Tensor = torch.tensor([0.85, 0.65, 0.55]).expand_as(points)
    for share, paint in (
        (torch.sigmoid(30 * (y - 0.12 - 0.3 * z))[..., None], (0.25, 0.15, 0.1)),
        (spot(0.11, 0.05, 0.04) + spot(-0.11, 0.05, 0.04), (0.1, 0.1, 0.1)),
        (spot(0.0, -0.15, 0.06), (0.7, 0.2, 0.25)),
    ):
        colour = torch.lerp(colour, torch.tensor(paint), share)
    return -1 + 5 * torch.tanh(12 * (1 - q)), colour


def true_picture(net: AvatarNet, camera: Tensor, size: int, samples: int = 384) -> Tensor:
    """(B, 4, S, S) in [0, 1]: the head of formulas on white, marched closely. O(B S^2 samples)."""
    rays = eg3d_rays(camera, size)
    origins, directions = (r.flatten(1, 2) for r in rays)
    t = torch.linspace(net.config.near, net.config.far, samples).expand(*origins.shape[:2], samples)
    sigma, colour = head_field(origins[:, :, None] + t[..., None] * directions[:, :, None])
    scale = net.config.density_scale
    out = march(sigma, colour, t, density=lambda s: density(s, scale), background=1.0)
    seen: Tensor = torch.cat([out.rgb, out.weights.sum(-1, keepdim=True)], -1).clamp(0, 1)
    return seen.transpose(1, 2).reshape(len(camera), 4, size, size)
