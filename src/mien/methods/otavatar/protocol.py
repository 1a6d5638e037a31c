"""Rows, evaluations and claims of the talking avatar."""

from __future__ import annotations

from mien.core.protocol import Claim, Row, Stage

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
ROWS: tuple[Row, ...] = ()
CLAIMS: tuple[Claim, ...] = ()
CHAINS: dict[str, tuple[Stage, ...]] = {}
