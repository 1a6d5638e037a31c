"""What a method hands to ``mien demo`` and ``mien inspect``: numbers, files, and HTML to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DemoResult:
    """One method's part of the demo."""

    headline: Mapping[str, Any]
    """The numbers of the one-line summary."""
    html: str
    """Its section of ``index.html``."""
    inputs: tuple[Path, ...]
    """What was read."""
    files: tuple[Path, ...] = ()
    """What was written, below the output folder."""


@dataclass(frozen=True)
class Inspection:
    """A method's diagnostics."""

    facts: Mapping[str, Any]
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
