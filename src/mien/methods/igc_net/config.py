"""What IGC-Net can be set to (no torch here)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mien.core.config import MethodConfig, check_range
from mien.core.errors import ConfigError


@dataclass(frozen=True)
class IgcNetConfig(MethodConfig):
    """Sizes of the networks, the schedule, and weights of losses; symbols of the page in brackets."""

    parts: int = 6
    """Part capsules, the background apart [M]; 1 = Unsup3D."""
    width: int = 16
    """Channels of the first layers [nf]."""
    dim: int = 32
    """Length of a part's shape code, and of its albedo code [D]."""
    features: int = 64
    """Length of a picture's shape embedding, and of its albedo embedding [f_s, f_a]."""
    query: int = 32
    """Length of a part's learned query [p_m]."""
    pooling: Literal["queries", "attention"] = "queries"
    """queries: a part's code from embedding and query. attention: from a map of features that parts share."""
    share_decoder: bool = True
    """All parts have one decoder; else each its own."""
    assembling: Literal["depth", "alpha"] = "depth"
    """depth: the nearest present part wins. alpha: presences alone decide."""
    background: bool = True
    """A layer behind all parts."""
    light: bool = True
    """Light is estimated; else the picture is the albedo."""
    mirror: bool = True
    """Embeddings, view and light are those of a picture and of its mirror image at once."""
    dome: bool = True
    """Depth starts from a dome that all faces share."""
    dome_height: float = 1.0
    near: float = 0.6
    confidence: bool = True
    """Pixels that cannot be explained count less [sigma]."""
    warp: Literal["fixed_point", "splat"] = "fixed_point"
    """How the depth of the input view is found."""
    max_turn: float = 60.0
    """Largest rotation about an axis, degrees."""
    max_shift: float = 0.1
    """Largest shift along x and y, scene units."""
    tau_start: float = 0.02
    """Softness of assembling at first, scene units [tau]."""
    tau_end: float = 0.005
    """And at the end."""
    warmup: float = 0.2
    """Part of the steps in which one capsule is the whole face."""
    harden: float = 0.2
    """Last part of the steps, with hard assembling and the entropy."""
    flip: float = 0.5
    """Weight of the picture of the mirrored object; 0 leaves it out."""
    perceptual: float = 1.0
    """Weight of differences of features of pictures [L_pe]."""
    semantic: float = 1.0
    """Weight of the semantic constraint [L_sem]; 0 leaves it out, and its orthogonality."""
    orthogonal: float = 0.1
    """Weight of the basis' orthogonality [L_orth]."""
    concentration: float = 0.1
    """Weight of the spread of parts [L_con]."""
    foreground: float = 1.0
    """Weight of background separation [L_bg]; applies with a background."""
    entropy: float = 0.01
    """Weight of the presences' entropy, at the end [L_ent]."""
    equivariance: float = 1.0
    """Weight of parts that follow a warped picture [L_eqv]."""
    smooth: float = 0.01
    """Weight of the depth's gradient."""

    def __post_init__(self) -> None:
        check_range("method", "parts", self.parts, 1, 64)
        for name in ("dim", "features", "query"):
            check_range("method", name, getattr(self, name), 1, 10_000)
        if self.width < 8 or self.width % 4:
            raise ConfigError(f"method.width={self.width} must be a multiple of 4, and at least 8")
        check_range("method", "max_turn", self.max_turn, 0.0, 89.0)
        check_range("method", "max_shift", self.max_shift, 0.0, 1.0)
        for name in ("tau_start", "tau_end"):
            check_range("method", name, getattr(self, name), 1e-4, 10.0)
        for name in ("warmup", "harden"):
            check_range("method", name, getattr(self, name), 0.0, 1.0)
        if self.warmup + self.harden > 1:
            raise ConfigError(f"method.warmup={self.warmup} and harden={self.harden} exceed 1 together")
        for name in (
            "flip", "perceptual", "semantic", "orthogonal", "concentration", "foreground", "entropy",
            "equivariance", "smooth",
        ):  # fmt: skip
            check_range("method", name, getattr(self, name), 0.0, 1e6)
