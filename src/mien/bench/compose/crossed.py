"""Measurements across methods with shipped weights: nothing is trained, a seed draws people and cameras."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from mien.core.errors import ConfigError
from mien.core.protocol import Evaluation
from mien.engine.task import Measured
from mien.engine.zoo import resolve

WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "gate": ("gkd/small", "cqil/small"),
    "parts": ("igc_net/small", "gkd/small", "gkd/alone", "gkd/teacher"),
    "replay": ("otavatar/demo", "fm_vit/small"),
}
"""Measurement -> weights that it needs."""


def fingerprint(evaluation: Evaluation) -> str:
    """Of the weights that a measurement needs: a result is as old as they are.

    Raises:
        ConfigError: no such measurement.
    """
    what = str(evaluation.options.get("what"))
    if what not in WEIGHTS:
        raise ConfigError(f"no measurement {what!r} with shipped weights; there are {', '.join(WEIGHTS)}")
    marks = [(resolve(name) / "weights.sha256").read_text().split()[0] for name in WEIGHTS[what]]
    return hashlib.sha256(":".join(marks).encode()).hexdigest()[:12]


def measured(evaluation: Evaluation, seed: int) -> Measured:
    """One of `WEIGHTS`, with the other options as its arguments.

    Raises:
        ConfigError: no such measurement.
    """
    fingerprint(evaluation)
    name = str(evaluation.options["what"])
    options: dict[str, Any] = {k: v for k, v in evaluation.options.items() if k != "what"}
    measure = getattr(import_module(f"mien.bench.compose.{name}"), name)
    return measure(seed, **options)  # type: ignore[no-any-return]
