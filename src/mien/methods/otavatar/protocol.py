"""Rows, evaluations and claims of the talking avatar: star-shaped heads that no training saw.

All rows of a seed share one prior, so they differ in the controller alone. The 2-D warps are told the true
landmarks of source and target, which no avatar gets.
"""

from __future__ import annotations

from typing import Literal

from mien.core.config import Recipe, evolve_all
from mien.core.protocol import Above, Claim, Evaluation, GainOverBest, Monotone, PairedGain, Row, Stage
from mien.methods.otavatar.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
TEST = Evaluation("test")
Group = Literal["claims", "all"]
SMALL, PRIOR = RECIPES["small"](), RECIPES["small-prior"]()
Changes = dict[str, object]


def _chain(row: str, changes: Changes, prior: Changes) -> tuple[Stage, ...]:
    """The prior and a controller on it, with some fields of either changed."""

    def named(recipe: Recipe, name: str, own: Changes) -> Recipe:
        return evolve_all(recipe, {"name": f"{recipe.name}-{name}", **own}) if own else recipe

    first = Stage(f"{row}-prior" if prior else "prior", named(PRIOR, row, prior))
    return first, Stage(row, named(SMALL, row, {**prior, **changes}), {"prior": first.id})


def _row(
    row: str, label: str, changes: Changes, group: Group = "all", prior: Changes | None = None,
    evaluation: Evaluation = TEST,
) -> Row:  # fmt: skip
    return Row(row, label, _chain(row, changes, prior or {}), (evaluation,), group)


def _still(row: str, label: str, evaluation: Evaluation = TEST) -> Row:
    """The prior alone."""
    return Row(row, label, _chain(row, {}, {})[:1], (evaluation,))


def _warp(kind: str, label: str) -> Row:
    return _still(kind, label, Evaluation("test", options={"warp": kind}))


LITERAL: Changes = {"method.bank": False, "method.inner_steps": 12, "schedule.steps": 150}
"""Codes inverted anew in every step, in about the time of the kept ones."""
ROWS: tuple[Row, ...] = (
    _warp("copy", "the portrait as it is"),
    _warp("homography", "best homography of it"),
    _warp("thin_plate", "thin-plate warp of it"),
    _still("static", "static: inverted, no motion"),
    _row("naive", "naive: codes of one frame, found without motion", {"method.mode": "naive"}, "claims"),
    _row("dbi", "DBI, kept codes", {}, "claims"),
    _row("again", "DBI, codes inverted anew in each step", LITERAL),
    _row("one_frame", "same, of one frame", {**LITERAL, "method.frames": 1}),
    _row("alternatively", "same, code and controller by turns", {**LITERAL, "method.inner": "alternatively"}),
    _row("together", "same, code and controller at once", {**LITERAL, "method.inner": "together"}),
    _row("linear", "DBI, code book not orthonormal", {"method.code_book": "linear"}),
    _row("k4", "DBI, 4 directions", {"method.directions": 4}),
    _row("w_plus", "DBI, inverted in W+", {}, evaluation=Evaluation("test", options={"space": "w+"})),
    _row("eg3d_planes", "DBI, planes as released", {}, prior={"method.axes": "eg3d"}),
)  # fmt: skip
MAIN = "dbi"
SHOWN: dict[str, tuple[str, float]] = {
    "psnr": ("PSNR, dB", 1.0),
    "face_l1": ("face L1, %", 100.0),
    "mouth_l1": ("mouth L1, %", 100.0),
    "akd": ("AKD, px", 1.0),
    "mouth_opening_error": ("opening error", 1.0),
    "leak": ("leak", 1.0),
    "cross_psnr": ("cross PSNR, dB", 1.0),
    "far_psnr": ("far views, dB", 1.0),
    "depth_error": ("depth error", 1.0),
    "mouth_spearman": ("mouth, rho", 1.0),
    "brows_spearman": ("brows, rho", 1.0),
}
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "control",
        "mechanism",
        "asked for a wider and wider mouth, the avatar shows a wider and wider one: Spearman's rho above 0.9",
        ("dbi",),
        "mouth_spearman",
        Above(0.9),
        unit="rho",
    ),
    Claim(
        "views",
        "mechanism",
        "from 0.35 radians or more to the side the avatar is nearer to the truth (PSNR, dB) than the best"
        " 2-D warp of the portrait, which is told the landmarks",
        ("dbi", "copy", "homography", "thin_plate"),
        "far_psnr",
        GainOverBest(),
        unit="dB",
    ),
    Claim(
        "dbi",
        "paper",
        "other moments of a person: error of the face falls from static to naive to DBI (the smaller step)",
        ("static", "naive", "dbi"),
        "less_face_l1",
        Monotone(),
    ),
    Claim(
        "leak",
        "paper",
        "codes of one person from two expressions are nearer to each other, as a share of the distance of two"
        " people, with DBI than naively",
        ("dbi", "naive"),
        "less_leak",
        PairedGain(),
        unit="ratio",
    ),
    Claim(
        "cross",
        "paper",
        "with the motion of another person DBI is nearer to the truth (PSNR, dB) than naive",
        ("dbi", "naive"),
        "cross_psnr",
        PairedGain(),
        unit="dB",
    ),
    Claim(
        "expression",
        "extra",
        "error of the mouth's opening (distances of the outer eye corners) falls from static to naive to"
        " DBI (the smaller step)",
        ("static", "naive", "dbi"),
        "less_mouth_opening_error",
        Monotone(),
        unit="distances",
    ),
)


def _chain_of(name: str) -> tuple[Stage, ...]:
    """The recipe ``name`` with what it builds on: prior, controller, super-resolution."""
    family = name.removesuffix("-sr")
    chain = (
        Stage("prior", RECIPES[f"{family}-prior"]()),
        Stage(family, RECIPES[family](), {"prior": "prior"}),
    )
    return chain if name == family else (*chain, Stage(name, RECIPES[name](), {"avatar": family}))


CHAINS: dict[str, tuple[Stage, ...]] = {
    f"otavatar-{name}": _chain_of(name)
    for name in ("small", "demo", "demo-sr", "plain", "gpu", "gpu-sr", "paper", "debug", "debug-sr")
}
"""Recipes that build on others: name -> the stages that end in it."""
