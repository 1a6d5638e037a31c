"""Rows, evaluations and claims of clothed avatars: people, clothes and poses that no training saw.

All rows of a seed share one net of normals; fields have the same number of steps.
"""

from __future__ import annotations

from mien.core.protocol import Stage
from mien.methods.car.config import RECIPES

CHAINS: dict[str, tuple[Stage, ...]] = {
    f"car-{name}": (
        Stage("normal", RECIPES[f"{name}-normal"]()),
        Stage("sdf", RECIPES[f"{name}-sdf"](), {"before": "normal"}),
        Stage(name, RECIPES[name](), {"before": "sdf"}),
    )
    for name in ("small", "debug", "paper")
}
"""Recipes that build on others: name -> the stages that end in it."""
