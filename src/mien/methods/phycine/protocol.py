"""Rows, evaluations and claims of physical concepts: sets of videos that no training saw, from their pixels.

All rows of a seed look through one perception, trained once; fits of laws have the same number of steps, and
so have the nets that answer.
"""

from __future__ import annotations

from typing import Literal

from mien.core.config import Recipe, evolve_all
from mien.core.protocol import Above, Claim, Equal, Evaluation, Monotone, PairedGain, Row, Stage, Within
from mien.methods.phycine.config import RECIPES

PROTOCOL_VERSION = 2
SEEDS = (0, 1, 2)
Group = Literal["claims", "all"]
Changes = dict[str, object]
PERCEPTION, LAWS, REFINER, ANSWERS = (
    RECIPES[name]() for name in ("small-perception", "small", "small-refiner", "small-answers")
)
SIGHT = ("method.sight", "method.slots", "method.starts")
"""Settings that change what is seen."""


def _test(**options: str | int) -> tuple[Evaluation, ...]:
    return (Evaluation("test", options=options),)


def _named(recipe: Recipe, row: str, changes: Changes) -> Recipe:
    return evolve_all(recipe, {"name": f"{recipe.name}-{row}", **changes}) if changes else recipe


def _laws(row: str, changes: Changes) -> tuple[Stage, ...]:
    """Perception, unless it is not trained, and laws, with some settings changed."""
    sight = {k: v for k, v in changes.items() if k in SIGHT}
    laws = _named(LAWS, row, changes)
    name = f"laws-{row}" if changes else "laws"
    if sight.get("method.sight") in ("true", "threshold"):
        return (Stage(name, laws),)
    first = Stage(f"perception-{row}" if sight else "perception", _named(PERCEPTION, row, sight))
    return first, Stage(name, laws, {"before": first.id})


def _found(row: str, label: str, changes: Changes, group: Group = "all", **options: str | int) -> Row:
    """Masses and charges by laws."""
    return Row(row, label, _laws(row, changes), _test(**options), group)


def _answers(row: str, label: str, features: str) -> Row:
    """Questions, by a net that is told one kind of features."""
    changes: Changes = {"method.features": features} if features != "all" else {}
    last = Stage(f"answers-{row}", _named(ANSWERS, row, changes), {"before": "laws"})
    return Row(row, label, (*_laws("", {}), last), _test(), "claims")


ROWS: tuple[Row, ...] = (
    Row("executor", "programs against the simulation", (), _test(), "claims"),
    _found("constant", "constant velocity", {}, "claims", laws="constant"),
    _found("no_charge", "no charge", {"method.charge": "none"}, "claims"),
    _found("at_once", "all at once", {"method.levels": "at_once"}, "claims"),
    _found("ours", "PHYCINE", {}, "claims"),
    _answers("question", "answers: the question alone", "none"),
    _answers("seen", "answers: what is seen", "seen"),
    _answers("told", "answers: what is seen, z_m, z_c", "all"),
    _found(
        "symbolic", "answers: programs on what is found, looks told", {}, "claims", answers="symbolic"
    ),
    _found(
        "symbolic_seen", "the same, all light, uncharged", {}, "claims", answers="symbolic", concepts="none"
    ),
    _found("no_mass", "no mass", {"method.mass": False}),
    _found("pairwise", "network of pairs (as OP3)", {"method.dynamics": "pairwise"}),
    _found("transformer", "transformer (as SlotFormer)", {"method.dynamics": "transformer"}),
    _found("refs_1", "one reference", {}, refs=1),
    _found("refs_0", "no reference", {}, refs=0),
    _found("product", "product of the clips' Gaussians alone", {}, together="product"),
    Row(
        "learned",
        "learned refiner, 3 rounds",
        (*_laws("", {}), Stage("refiner", REFINER, {"before": "laws"})),
        _test(together="product"),
        "all",
    ),
    _found("window_3", "velocity changes of one step", {"method.window": 3}),
    _found("threshold", "objects by colour threshold", {"method.sight": "threshold"}),
    _found("true", "true places (oracle)", {"method.sight": "true"}),
)  # fmt: skip
MAIN = "ours"
SHOWN: dict[str, tuple[str, float]] = {
    "mass": ("mass AUC", 1.0),
    "mass_control": ("of those that did not interact", 1.0),
    "charge": ("charge correlation", 1.0),
    "set_mass": ("mass AUC of sets", 1.0),
    "set_charge": ("charge correlation of sets", 1.0),
    "error": ("error of 1.2 s", 1.0),
    "intervene": ("interventions", 1.0),
    "right": ("right answers", 100.0),
}
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "mass",
        "mechanism",
        "z_m tells heavy from light objects that interacted: AUC above .8",
        ("ours",),
        "mass",
        Above(0.8),
        unit="AUC",
    ),
    Claim(
        "mass_control",
        "mechanism",
        "of objects that did not interact it does not: AUC within .1 of one half",
        ("ours", "ours"),
        "mass_control, half",
        Within(0.1),
        unit="AUC",
    ),
    Claim(
        "charge",
        "mechanism",
        "products of z_c correlate with products of charges, over pairs of objects that interacted: above .7",
        ("ours",),
        "charge",
        Above(0.7),
        unit="correlation",
    ),
    Claim(
        "executor",
        "mechanism",
        "programs answer as the simulation does, 10,000 of 10,000",
        ("executor", "executor"),
        "agree, one",
        Equal(),
        unit="answers",
    ),
    Claim(
        "prediction",
        "paper",
        "error of places 1.2 s ahead falls from constant velocity to no charge to all (the smaller step)",
        ("constant", "no_charge", "ours"),
        "less_error",
        Monotone(),
        unit="world units",
    ),
    Claim(
        "bottom_up",
        "paper",
        "masses first, then charges, finds both better (mean of AUC and correlation) than all at once",
        ("ours", "at_once"),
        "concepts",
        PairedGain(),
        unit="",
    ),
    Claim(
        "reasoning",
        "paper",
        "right answers rise from the question alone to what is seen to z_m, z_c as well (the smaller step)",
        ("question", "seen", "told"),
        "right",
        Monotone(),
    ),
    Claim(
        "programs",
        "paper",
        "programs answer more with the found masses and charges than with all objects light and uncharged",
        ("symbolic", "symbolic_seen"),
        "right",
        PairedGain(),
    ),
    Claim(
        "intervene",
        "paper",
        "places move under a changed mass or charge as the simulator says: correlation above .8",
        ("ours",),
        "intervene",
        Above(0.8),
        unit="correlation",
    ),
)
CHAINS: dict[str, tuple[Stage, ...]] = {
    f"phycine-{name}": (
        Stage("perception", RECIPES[f"{name}-perception"]()),
        Stage(name, RECIPES[name](), {"before": "perception"}),
    )
    for name in ("small", "debug", "paper")
} | {
    f"phycine-{name}-{last}": (
        Stage("perception", RECIPES[f"{name}-perception"]()),
        Stage("laws", RECIPES[name](), {"before": "perception"}),
        Stage(last, RECIPES[f"{name}-{last}"](), {"before": "laws"}),
    )
    for name in ("small", "debug", "paper")
    for last in ("refiner", "answers")
}
"""Recipes that build on others: name -> the stages that end in it."""
