"""The avatar's net: encoder and mapping, tri-plane generator, motion controller."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.controller import MotionController, clip_codes
from mien.methods.otavatar.generator import TriPlaneGenerator
from mien.nn.picture_encoder import PictureEncoder


class AvatarNet(nn.Module):
    """Everything that is learnt: w_id of a picture, dw of a motion, planes of w_id + dw.

    Attributes:
        encoder: picture -> z, where an inversion starts; None = from the mean code.
        generator: z -> w -> planes -> field.
        controller: window of coefficients -> dw.
        w_avg: (W,) mean code of the training people.
        w_std: (W,) their standard deviation.

    Args:
        config: sizes.
        size: side of the pictures, pixels.
        coefficients: rows of a motion window.
    """

    w_avg: Tensor
    w_std: Tensor

    def __init__(self, config: OtavatarConfig, size: int, coefficients: int) -> None:
        super().__init__()
        self.config = config
        self.generator = build_generator(config)
        side, widths = reading(size)
        self.encoder = PictureEncoder(side, config.z_dim, widths) if config.latent != "free" else None
        self.controller = build_controller(config, coefficients, self.generator.num_ws)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.register_buffer("w_std", torch.ones(config.w_dim))

    def codes(self, z: Tensor, cameras: Tensor | None = None) -> Tensor:
        """(B, z_dim), (B, 25) where the mapping is told the camera -> one code for all slots, (B, 1, W)."""
        told = cameras if self.config.conditioned else None
        return cast("Tensor", self.generator.mapping(z, told))[:, :1]

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1] -> codes (B, 1, W) that hold identity and expression alike.

        Without an encoder: the mean code.
        """
        if self.encoder is None:
            return self.w_avg.expand(len(images), 1, -1)
        return self.codes(self.encoder(images))

    def moved(self, w_id: Tensor, dw: Tensor | None) -> Tensor:
        """Style codes (B, slots, W) of identity (B, 1 or slots, W) and motion; None = no motion."""
        if dw is None:
            whole = w_id.expand(-1, self.generator.num_ws, -1)
            return clip_codes(whole, self.w_avg, self.w_std)
        return self.controller.move(w_id, dw, self.w_avg, self.w_std)

    def planes(self, ws: Tensor) -> Tensor:
        """(B, slots, W) -> (B, 3, C, P, P)."""
        return self.generator.planes(ws)


def reading(size: int) -> tuple[int, tuple[int, ...]]:
    """Side that the encoder reads pictures at, at most 128 pixels and a multiple of 16, and its widths."""
    side = 128 if size >= 128 else max(16, size // 16 * 16)
    return side, (24, 32, 48, 64, 96) if side == 128 else (32, 48, 64, 96)


def build_generator(config: OtavatarConfig, **changes: Any) -> TriPlaneGenerator:
    """The generator of a config."""
    sizes = {
        k: getattr(config, k)
        for k in ("z_dim", "w_dim", "plane_size", "plane_channels", "start", "channel_base", "channel_max",
                  "decoder_width", "features", "sigma_bias", "sr_side", "sr_channels", "mapping_layers",
                  "mapping_rate", "axes")
    }  # fmt: skip
    sizes |= {
        "warped": bool(config.warped),
        "c_dim": 25 if config.conditioned else 0,
        "sr_empty": 0.0 if config.background == "black" else 1.0,
    }
    return TriPlaneGenerator(**{**sizes, **changes})


def build_controller(config: OtavatarConfig, coefficients: int, slots: int) -> MotionController:
    """The controller of a config; windows too short for the published kernels get shorter ones."""
    long = config.radius >= 12
    return MotionController(
        coefficients=coefficients,
        radius=config.radius,
        width=config.width,
        directions=config.directions,
        slots=slots,
        w_dim=config.w_dim,
        first_kernel=7 if long else 3,
        dilation=3 if long else 1,
        blocks=3 if long else min(3, config.radius - 1),
        orthonormal=config.code_book == "orthonormal",
    )
