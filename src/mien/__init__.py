"""mien: ten vision systems for images of people, in one library, command line and web studio.

``mien.load(name)`` gives a predictor, ``mien.list_methods()`` says what there is.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "list_methods", "load"]


def list_methods() -> list[str]:
    """Names of the ten systems and of plug-ins."""
    from mien.core.catalogue import methods

    return list(methods())


def load(name: str) -> Any:
    """A predictor from shipped weights (``"ncl"``, ``"ncl/small"``), a run folder, or a hub id.

    Raises:
        WeightsError: nothing of that name, or it cannot be read safely.
    """
    from mien.engine.zoo import load_predictor

    return load_predictor(name)
