"""Rows, evaluations and claims of physical concepts: sets of videos that no training saw, from their pixels.

All rows of a seed look through one perception, trained once; fits of laws have the same number of steps.
"""

from __future__ import annotations

from typing import Literal

from mien.core.config import evolve_all
from mien.core.protocol import Evaluation, Row, Stage
from mien.methods.phycine.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
Group = Literal["claims", "all"]
Changes = dict[str, object]
PERCEPTION, SMALL = RECIPES["small-perception"](), RECIPES["small"]()


def _test(**options: str | int) -> tuple[Evaluation, ...]:
    return (Evaluation("test", options=options),)


def _changed(stage: str, recipe: object, row: str, changes: Changes) -> object:
    return evolve_all(recipe, {"name": f"{recipe.name}-{row}", **changes})  # type: ignore


def _laws(row: str, label: str, changes: Changes, group: Group = "all", **options: str | int) -> Row:
    """Laws on what the shared perception sees, with some settings changed."""
    sight = {k: v for k, v in changes.items() if k in ("method.sight", "method.slots")}
    see = evolve_all(PERCEPTION, {"name": f"{PERCEPTION.name}-{row}", **sight}) if sight else PERCEPTION
    first = Stage(f"perception-{row}" if sight else "perception", see)
    recipe = evolve_all(SMALL, {"name": f"{SMALL.name}-{row}", **changes}) if changes else SMALL
    last = Stage(f"laws-{row}" if changes else "laws", recipe, {"before": first.id})
    return Row(row, label, (first, last), _test(**options), group)


ROWS: tuple[Row, ...] = (
    Row("executor", "programs against the simulation", (), (Evaluation("test"),)),
    Row("constant", "constant velocity", (Stage("perception", PERCEPTION),), _test()),
    _laws("no_charge", "no charge", {"method.charge": "none"}, "claims"),
    _laws("at_once", "all at once", {"method.levels": "at_once"}, "claims"),
    _laws("ours", "PHYCINE", {}, "claims"),
    _laws("no_mass", "no mass", {"method.mass": False}),
    _laws("true", "PHYCINE on true places (oracle)", {"method.sight": "true"}),
)  # fmt: skip
MAIN = "ours"
