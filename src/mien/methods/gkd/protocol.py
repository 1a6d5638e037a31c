"""Rows and chains of the method."""

from __future__ import annotations

from mien.core.protocol import Claim, Evaluation, Row, Stage
from mien.methods.gkd.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
TEST = Evaluation("test", split="test", select="last")


def _chain(name: str, teacher: str) -> tuple[Stage, ...]:
    return (Stage("teacher", RECIPES[teacher]()), Stage("gkd", RECIPES[name](), {"teacher": "teacher"}))


CHAINS: dict[str, tuple[Stage, ...]] = {
    "gkd-small": _chain("small", "teacher"),
    "gkd-paper": _chain("paper", "paper-teacher"),
    "gkd-debug": _chain("debug", "debug-teacher"),
}
MAIN = "gkd"
ROWS: tuple[Row, ...] = (Row("gkd", "GKD", CHAINS["gkd-small"], (TEST,)),)
SHOWN = {"rank_1": ("rank-1, %", 100.0)}
CLAIMS: tuple[Claim, ...] = ()
