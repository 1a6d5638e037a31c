"""What every recogniser of faces can be asked when it is used (no torch here)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mien.core.config import check_range
from mien.core.errors import ConfigError


@dataclass(frozen=True)
class PredictOptions:
    """Are these the same person as on the first picture; and who of a gallery are they."""

    threshold: float | None = None
    """Cosine from which two faces count as one person; default the model's own, chosen by its rule."""
    rule: str | None = None
    """Another of the model's thresholds, by the rule that chose it: far@0.001, far@0.01, eer, accuracy."""
    gallery: Path | None = None
    """Folder of known people: a folder for each, or pictures named after them; or a file that --save-gallery
    wrote."""
    save_gallery: Path | None = None
    """Write the gallery's embeddings to this .npz, to be searched without its pictures."""
    top: int = 5
    """Nearest people of the gallery that are listed."""
    detector: Literal["none", "mediapipe"] = "none"
    """Who looks for faces. none: pictures are taken as faces that are already cropped; mediapipe: an
    environment of its own, named by $MIEN_TRACKER."""
    align: Literal["auto", "aligned", "detect"] = "auto"
    """detect: move the largest face to the standard place; aligned: leave pictures as they are (a detector
    then says whether there is a face, and at the standard place); auto: detect if there is a detector."""

    def __post_init__(self) -> None:
        check_range("predict", "threshold", self.threshold, -1.0, 1.0)
        check_range("predict", "top", self.top, 1, 10_000)
        if self.threshold is not None and self.rule is not None:
            raise ConfigError("give --threshold or --rule, not both")
        if self.save_gallery is not None and self.gallery is None:
            raise ConfigError("--save-gallery needs the --gallery that is to be written")
        if self.align == "detect" and self.detector == "none":
            raise ConfigError("--align detect needs a detector: --detector mediapipe")
