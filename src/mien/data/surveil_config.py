"""Which pictures of surveillance cameras a recipe trains and tests on (no torch here)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mien.core.config import NO_HASH, DataConfig, check_range, refuse_inapplicable
from mien.core.errors import ConfigError
from mien.data.config import require_root

Protocol = Literal["p1", "p2.1", "p2.2", "p2.3", "p2.4", "p3", "p3_strict"]


@dataclass(frozen=True)
class SurveilData(DataConfig):
    """Faces far from a camera, live or attack, and how training sees them."""

    kind: Literal["rendered", "suhifimask", "debug"] = "rendered"
    """rendered: a made copy of SuHiFiMask, drawn when first asked for; suhifimask: yours; debug: noise."""
    size: int = 48
    """Side of the square input, in pixels."""
    root: str | None = field(default=None, metadata=NO_HASH)
    """suhifimask: folder of the user's copy."""
    protocol: Protocol = "p3"
    """p1: unseen subjects; p2.1 to p2.4: an unseen kind of mask; p3: worse pictures (of the same tracks);
    p3_strict: worse pictures of other subjects and scenes."""
    counts: tuple[int, int, int] | None = None
    """debug: pictures of training, development and test (default 48, 48, 48)."""
    set_seed: int = 0
    """rendered, debug: which set."""
    degrade: bool = True
    """Training sees each picture twice: as it is, and as a bad camera would have it."""
    severity: tuple[float, float] = (0.0, 1.0)
    """Range of the severity q that is drawn for each picture in each epoch."""
    profile: str = "C3"
    """Camera whose ranges the degradation draws from (C1 .. C7)."""
    augment: Literal["none", "flip", "crop", "heavy", "moire"] = "flip"
    """flip: mirror and shift; crop: also zoom; heavy: a long random chain; moire: also makes attacks of live
    faces (colour jitter for prints, a swirl's moire for screens)."""
    folds: int | None = None
    """Parts, by track, of which each member of an ensemble leaves one out."""
    balance: bool = True
    """Each epoch repeats pictures of the smaller class until both are as many."""
    workers: int = field(default=0, metadata=NO_HASH)
    """Processes that read and augment; 0 = in the training process."""

    def __post_init__(self) -> None:
        check_range("data", "size", self.size, 16, 512)
        check_range("data", "workers", self.workers, 0, 256)
        check_range("data", "folds", self.folds, 2, 20)
        for count in self.counts or ():
            check_range("data", "counts", count, 8, 10_000_000)
        low, high = self.severity
        check_range("data", "severity", low, 0.0, 1.0)
        check_range("data", "severity", high, 0.0, 1.0)
        if low > high:
            raise ConfigError(f"data.severity={self.severity}: the first is above the second")
        refuse_inapplicable(self, self.kind, {"root": ("suhifimask",), "counts": ("debug",)})

    def require_root(self) -> Path:
        """See `mien.data.config.require_root`."""
        return require_root(self.kind, self.root)
