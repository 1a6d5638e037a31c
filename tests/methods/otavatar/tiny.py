"""A tiny avatar and a few made people, for tests."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from mien.data.talking import TalkingHeads
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.model import AvatarNet
from mien.synth.orbit import orbit_cameras

SIZES = {
    "z_dim": 16, "w_dim": 16, "plane_size": 16, "plane_channels": 8, "channel_base": 256, "channel_max": 16,
    "decoder_width": 16, "rays": 48, "samples": 10, "width": 16, "directions": 4,
}  # fmt: skip


def tiny_config(**changes: object) -> OtavatarConfig:
    """A prior, or with ``stage`` something else."""
    return OtavatarConfig(**{"stage": "prior", **SIZES, **changes})  # type: ignore[arg-type]


def tiny_net(seed: int = 0, **changes: object) -> AvatarNet:
    """Untrained; expressions of three actions."""
    torch.manual_seed(seed)
    return AvatarNet(tiny_config(**changes), 32, 3).eval()


@lru_cache(2)
def ball_heads(people: int = 6, size: int = 32) -> TalkingHeads:
    """Balls of each person's colour; expression 0 paints the lower half: (people, 4 moments, 2 views)."""
    rng = np.random.default_rng(0)
    moments, views, radius = 4, 2, 0.3
    tracks = rng.random((people, 12, 3)).astype(np.float32)
    at = np.tile(np.array([0, 3, 7, 11], np.int32), (people, 1))
    cameras = orbit_cameras(rng.uniform(-0.5, 0.5, people * moments * views)).reshape(
        people, moments, views, 25
    )
    colours = rng.uniform(0.2, 0.8, (people, 3))
    images = np.zeros((people, moments, views, size, size, 4), np.uint8)
    depth = np.full((people, moments, views, size, size), np.inf, np.float16)
    from mien.render.eg3d import eg3d_rays

    for p, m, v in np.ndindex(people, moments, views):
        rays = eg3d_rays(torch.from_numpy(cameras[p, m, v][None]), size)
        o, d = (x[0].numpy().astype(np.float64) for x in rays)
        b = (o * d).sum(-1)
        gap = b**2 - (o**2).sum(-1) + radius**2
        t = -b - np.sqrt(np.maximum(gap, 0))
        hit = gap > 0
        y = (o + t[..., None] * d)[..., 1]
        colour = np.where((y < 0)[..., None], colours[p] * (1 - tracks[p, at[p, m], 0]), colours[p])
        images[p, m, v, ..., :3] = np.where(hit[..., None], 255 * colour, 255)
        images[p, m, v, ..., 3] = 255 * hit
        depth[p, m, v] = np.where(hit, t, np.inf)
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    ring = np.stack([0.1 * np.cos(angle), 0.1 * np.sin(angle) - 0.05, np.full(68, 0.27)], 1).astype(
        np.float32
    )
    points = np.broadcast_to(ring, (people, moments, 68, 3)).copy()
    return TalkingHeads(images, depth, cameras, points, tracks, at, ("a", "b", "c"), tuple(range(people)))
