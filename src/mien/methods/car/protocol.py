"""Rows, evaluations and claims of clothed avatars: people, clothes and poses that no training saw.

All rows of a seed share one net of normals; fields have the same number of steps. Every method is given the
same noisy body.
"""

from __future__ import annotations

from typing import Literal

from mien.core.config import Recipe, evolve_all
from mien.core.protocol import Claim, Evaluation, Monotone, PairedGain, Ratio, Ratios, Row, Stage
from mien.methods.car.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
Group = Literal["claims", "all"]
Changes = dict[str, object]
NORMAL, SDF, SMALL = (RECIPES[name]() for name in ("small-normal", "small-sdf", "small"))
FEW = evolve_all(SMALL, {"schedule.steps": 1000})
STARTS = Evaluation("starts", options={"starts": True})
"""Steps of each start of the refinement to what a sphere reaches in twice the steps."""


def _test(**options: str) -> tuple[Evaluation, ...]:
    return (Evaluation("test", options=options),)


def _field(row: str, changes: Changes) -> tuple[Stage, Stage]:
    """The normals and a field on them, with some of its settings changed."""
    first = Stage("normal", NORMAL)
    recipe = evolve_all(SDF, {"name": f"{SDF.name}-{row}", **changes}) if changes else SDF
    return first, Stage(f"sdf-{row}" if changes else "sdf", recipe, {"before": first.id})


def _coarse(row: str, label: str, changes: Changes, group: Group = "all", **options: str) -> Row:
    """A field's surface, not refined."""
    return Row(row, label, _field(row, changes), _test(shape="coarse", **options), group)


def _normals(row: str, label: str, group: Group = "all", **options: str) -> Row:
    """What needs no field."""
    return Row(row, label, _field(row, {})[:1], _test(**options), group)


def _whole(hyper: Recipe, row: str = "", changes: Changes | None = None) -> tuple[Stage, ...]:
    """Normals, a field and a hyper-network."""
    first = _field(row, changes or {})
    return (*first, Stage("hyper", hyper, {"before": first[-1].id}))


def _refined(row: str, label: str, **options: str) -> Row:
    """Another refinement of the same; the hyper-network of these rows had a third of the steps."""
    return Row(row, label, _whole(FEW), _test(shape="refined", **options), "all")


PLAIN: Changes = {"method.features": (), "method.two_sided": False}
TOTAL: Changes = {"method.total_gradient": True}
FOLLOWED = evolve_all(SMALL, TOTAL)
PHI: Changes = {"method.features": ("image",), "method.two_sided": False}
ROWS: tuple[Row, ...] = (
    _normals("body", "the given body, naked", "claims", shape="body"),
    _coarse("posed", "posed-space field (as PIFu)", {**PHI, "method.space": "posed"}, "claims"),
    _coarse("xyz", "canonical field of x alone", PLAIN, "claims"),
    _coarse("phi", "x and Phi", PHI, "claims"),
    _coarse("coarse", "x, Phi and n_c", {}, "claims"),
    Row("ours", "same, refined", _whole(SMALL), (*_test(shape="refined"), STARTS)),
    _coarse("front_only", "n_c of the front for all of a ray", {"method.two_sided": False}),
    _coarse("official", "n_c by the inverse, as released", {"method.normal_transport": "official"}),
    _coarse("occupancy", "occupancy in place of distance", {"method.occupancy": True}),
    _coarse("sphere", "no distance to the body: from a sphere", {"method.residual": False}),
    _coarse("as_given", "trained in the given star pose", {"method.as_given": True}),
    _coarse("unsigned", "losses as published, no signs", {"method.sign": 0.0}),
    _coarse("phi_total", "x and Phi, total gradient", {**PHI, **TOTAL}),
    _coarse("total", "x, Phi and n_c, total gradient", TOTAL),
    Row("refined_total", "same, refined", _whole(FOLLOWED, "total", TOTAL), _test(shape="refined"), "all"),
    _refined("mesh", "vertices refined, not a field", kind="mesh"),
    _coarse("coarse_true_normals", "coarse, true normals", {}, maps="true"),
    _refined("true_normals", "refined, true normals", maps="true"),
    _refined("true_body", "refined, true body", body="true"),
    _refined("true_both", "refined, true normals and body", maps="true", body="true"),
    _normals("integration", "normals integrated, no field (as ECON)", shape="integration"),
)  # fmt: skip
MAIN = "ours"
SHOWN: dict[str, tuple[str, float]] = {
    "chamfer": ("Chamfer, cm", 1.0),
    "p2s": ("P2S, cm", 1.0),
    "normal": ("normal", 1.0),
    "front": ("front normal", 1.0),
    "front_angle": ("front, degrees", 1.0),
    "chamfer_canonical": ("Chamfer canonical, cm", 1.0),
    "p2s_canonical": ("P2S canonical, cm", 1.0),
    "normal_canonical": ("normal canonical", 1.0),
}
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "body",
        "mechanism",
        "the clothed surface is nearer to the truth (Chamfer, cm) than the body that was given",
        ("ours", "body"),
        "less_chamfer",
        PairedGain(),
        unit="cm",
    ),
    Claim(
        "refine",
        "mechanism",
        "refinement lowers the error of the front-visible normals by at least 15 %",
        ("ours", "coarse"),
        "front",
        Ratio(0.85),
        unit="ratio",
    ),
    Claim(
        "hyper",
        "paper",
        "started by the hyper-network the refinement reaches the loss, which a start from a sphere has in the"
        " end, in at most half of its steps and of its time",
        ("ours", "ours", "ours", "ours"),
        "hyper_steps, sphere_steps, hyper_seconds, sphere_seconds",
        Ratios((0.5, 0.5)),
        unit="bounds",
        eval="starts",
    ),
    Claim(
        "pose",
        "extra",
        "the hyper-network's start for the pose takes no more steps there than its start for the star pose",
        ("ours", "ours"),
        "hyper_steps, mean_steps",
        Ratios((1.0,)),
        unit="ratio",
        eval="starts",
    ),
    Claim(
        "normal_feature",
        "paper",
        "error of canonical normals falls from x to x and Phi to x, Phi and n_c (the smaller step)",
        ("xyz", "phi", "coarse"),
        "less_normal_canonical",
        Monotone(),
    ),
    Claim(
        "canonical",
        "paper",
        "in poses that no training saw a canonical field is nearer to the truth (Chamfer, cm) than a posed"
        " one",
        ("coarse", "posed"),
        "less_chamfer",
        PairedGain(),
        unit="cm",
    ),
)
CHAINS: dict[str, tuple[Stage, ...]] = {
    f"car-{name}": (
        Stage("normal", RECIPES[f"{name}-normal"]()),
        Stage("sdf", RECIPES[f"{name}-sdf"](), {"before": "normal"}),
        Stage(name, RECIPES[name](), {"before": "sdf"}),
    )
    for name in ("small", "debug", "paper")
}
"""Recipes that build on others: name -> the stages that end in it."""
