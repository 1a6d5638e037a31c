"""Rows, evaluations and claims of the talking avatar."""

from __future__ import annotations

from mien.core.protocol import Claim, Row, Stage
from mien.methods.otavatar.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
ROWS: tuple[Row, ...] = ()
CLAIMS: tuple[Claim, ...] = ()
_DEMO_PRIOR, _DEMO = RECIPES["demo-prior"](), RECIPES["demo"]()
CHAINS: dict[str, tuple[Stage, ...]] = {
    _DEMO.name: (Stage("prior", _DEMO_PRIOR), Stage("demo", _DEMO, {"prior": "prior"})),
}
"""Name of a recipe that builds on others -> the stages that end in it."""
