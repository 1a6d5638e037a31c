"""Verbs whose system is not part of this version."""

from __future__ import annotations

from collections.abc import Sequence

from mien.core.errors import ConfigError

_BELONGS = {
    "studio": "the web page, which opens once more systems are in",
}


def run(argv: Sequence[str]) -> int:
    """Says which system a verb belongs to."""
    raise ConfigError(f"not part of this version of mien; it belongs to {_BELONGS[argv[0]]}")
