"""Rows, evaluations and claims of the talking avatar."""

from __future__ import annotations

from mien.core.protocol import Claim, Row, Stage
from mien.methods.otavatar.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
MAIN = "dbi"
SHOWN: dict[str, tuple[str, float]] = {}
ROWS: tuple[Row, ...] = ()
CLAIMS: tuple[Claim, ...] = ()
CHAINS: dict[str, tuple[Stage, ...]] = {
    f"otavatar-{name}": (
        Stage("prior", RECIPES[f"{name}-prior"]()),
        Stage(name, RECIPES[name](), {"prior": "prior"}),
    )
    for name in ("small", "demo", "paper", "debug")
}
"""Recipes that build on others: name -> the stages that end in it."""
