"""Face backbones by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from mien.core.config import suggest
from mien.core.errors import ConfigError
from mien.nn.face_net import FaceNet
from mien.nn.face_swin import FaceSwin
from mien.nn.face_vit import SIZES, FaceViT
from mien.nn.iresnet import DEPTHS, IResNet
from mien.nn.mobilefacenet import MobileFaceNet

FACE_NETS: dict[str, Callable[..., FaceNet]] = {
    "mobilefacenet": partial(MobileFaceNet, scale=1),
    "mbf": MobileFaceNet,
    "mbf_large": partial(MobileFaceNet, blocks=(2, 8, 12, 4), scale=4),
    **{f"r{depth}": partial(IResNet, depth=depth) for depth in DEPTHS},
    **{f"ir_{depth}": partial(IResNet, depth=depth, variant="adaface") for depth in DEPTHS},
    **{f"ir_se_{depth}": partial(IResNet, depth=depth, variant="adaface", squeeze=True) for depth in DEPTHS},
    **{f"vit_{n}": partial(FaceViT, width=w, depth=d, heads=h) for n, (w, d, h) in SIZES.items()},
    "swin_t": FaceSwin,
    "swin_s": partial(FaceSwin, depths=(2, 2, 18, 2)),
    "mbf_tiny": partial(MobileFaceNet, blocks=(1, 1, 2, 1), scale=1, base=16),
    "mbf_micro": partial(MobileFaceNet, blocks=(1, 1, 1, 1), scale=1, base=8),
    "mbf_nano": partial(MobileFaceNet, blocks=(1, 1, 1, 1), scale=1, base=4),
    "mbf_pico": partial(MobileFaceNet, blocks=(1, 1, 1, 1), scale=1, base=2),
    "ir_tiny": partial(IResNet, depth=(1, 1, 1, 1), width=16),
    "vit_tiny": partial(FaceViT, width=64, depth=4, heads=4, patch=8),
    "vit_micro": partial(FaceViT, width=96, depth=3, heads=3, patch=8, stem="conv", mask=0.0),
    "swin_micro": partial(FaceSwin, width=64, depths=(2, 2), heads=(2, 4), patch=4, window=6),
    "swin_tiny": partial(FaceSwin, width=24, depths=(1, 1, 2, 1), heads=(1, 2, 4, 8)),
}
"""Name -> builder; those from tiny to pico are ours, for small trainings."""


def build_face_net(name: str, size: int = 112, embedding: int = 512, **options: Any) -> FaceNet:
    """A net (B, 3, size, size) in [0, 1] -> (B, embedding), not normalised.

    Args:
        name: one of `FACE_NETS`: ``mbf``, ``r50``, ``ir_se_50``, ``vit_t``, ``swin_t`` ...
        size: side of the input, pixels.
        embedding: length of the output; ``mobilefacenet`` was published with 128.
        **options: what the net's class takes, for example ``dropout=0.4`` or ``mask=0.05``.

    Raises:
        ConfigError: an unknown name or option.

    >>> build_face_net("mbf_tiny", size=32, embedding=16).num_features
    16
    """
    if name not in FACE_NETS:
        raise ConfigError(f"no face net {name!r}{suggest(name, list(FACE_NETS))}")
    builder = FACE_NETS[name]
    if unknown := set(options) - set(inspect.signature(builder).parameters):
        word = min(unknown)
        known = [p for p in inspect.signature(builder).parameters if p not in ("size", "embedding")]
        raise ConfigError(f"{name} has no option {word!r}{suggest(word, known)}")
    return builder(size=size, embedding=embedding, **options)
