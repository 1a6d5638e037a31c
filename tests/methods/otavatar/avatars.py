"""A tiny avatar that has learnt nothing, and people to invert."""

import numpy as np
import torch

from mien.methods.otavatar.avatar import OneShotAvatar
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.model import AvatarNet

NAMES = ("browInnerUp", "eyeBlinkLeft", "jawOpen", "mouthSmileLeft")
SIZES = {
    "z_dim": 16, "w_dim": 16, "plane_size": 16, "plane_channels": 4, "channel_base": 256, "channel_max": 8,
    "decoder_width": 8, "width": 8, "directions": 4, "radius": 2, "density_scale": 40.0, "sigma_bias": 0.5,
}  # fmt: skip


def tiny_net(seed=0, **changes):
    torch.manual_seed(seed)
    config = OtavatarConfig(**{**SIZES, **changes})
    net = AvatarNet(config, 32, len(NAMES) + config.pose_rows)
    with torch.no_grad():
        for p in net.controller.parameters():  # it starts at almost no motion
            if p.ndim > 1:
                p.mul_(8)
    net.w_std.fill_(1.0)
    return net.eval()


def tiny_avatar(seed=0, **changes):
    return OneShotAvatar(tiny_net(seed, **changes), 32, NAMES)


def person(size=32):
    """A bright disc with a dark dot on white."""
    at = (np.arange(size) + 0.5) / size - 0.5
    radius = np.hypot(at[:, None], at[None])
    out = np.full((size, size, 3), 255, np.uint8)
    out[radius < 0.35] = (210, 140, 110)
    out[radius < 0.1] = (60, 30, 30)
    return out
