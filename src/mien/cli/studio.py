"""``mien studio``."""

from __future__ import annotations

from collections.abc import Sequence

from mien.cli import console


def run(argv: Sequence[str]) -> int:
    """Shows the web page until it is interrupted."""
    from mien.studio.app import StudioOptions, serve

    options = console.parse(StudioOptions, list(argv), "studio")
    console.show(f"http://{options.host}:{options.port} (ctrl-c ends it)")
    serve(options)
    return 0
