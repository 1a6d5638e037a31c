"""Names of the weights that come with mien (torch-free; `mien.engine.zoo` loads them)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def zoo_root() -> Path:
    """Folder of the shipped weights, ``METHOD/TAG/``."""
    return Path(str(resources.files("mien"))) / "zoo"


def shipped() -> dict[str, Path]:
    """Shipped weights: ``"method/tag"`` -> folder."""
    found = sorted(zoo_root().glob("*/*/weights.safetensors"))
    return {f"{p.parts[-3]}/{p.parts[-2]}": p.parent for p in found}
