"""Rows, evaluations and claims of GKD: rendered training people, unseen rendered people and ORL as tests."""

from __future__ import annotations

from typing import Literal

from mien.core.config import evolve_all
from mien.core.protocol import Claim, Equal, Evaluation, GainOverBest, PairedGain, Row, Stage
from mien.methods.gkd.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
TEST = Evaluation("test")
ORL = Evaluation("orl", split="orl")
IDENTITY = Evaluation("identity", split="train")
HIDDEN = ("identity",)
"""Evaluations that no table of rows shows."""
Group = Literal["claims", "all"]

TEACHER = Stage("teacher", RECIPES["teacher"]())
SMALL = RECIPES["small"]()
_NO_GROUPS: dict[str, object] = dict.fromkeys(("beta", "lam", "group", "t_group", "alpha"))


def _taught(row: str, changes: dict[str, object]) -> tuple[Stage, ...]:
    """The teacher, then a student of it: the small recipe with some of the method's fields changed."""
    fields = {"name": f"gkd-small-{row}", **{f"method.{k}": v for k, v in changes.items()}}
    recipe = evolve_all(SMALL, fields) if changes else SMALL
    return TEACHER, Stage(row, recipe, {"teacher": "teacher"})


def _row(row: str, label: str, changes: dict[str, object], group: Group = "claims") -> Row:
    return Row(row, label, _taught(row, changes), (TEST, ORL), group)


KD: dict[str, object] = {
    **_NO_GROUPS, "distill": "kd", "weight": 3.0, "temperature": None, "kd_logits": "margin"
}  # fmt: skip
"""The best of as many settings as were tried of GKD, plain logits and logits with the margin."""
_OTHERS: dict[str, object] = {**_NO_GROUPS, "weight": 1.0, "temperature": None}
PLAIN: dict[str, object] = {**KD, "kd_logits": None}
ROW_STUDENT = (Stage("student", RECIPES["student"]()),)


def _release(group: str, beta: float) -> dict[str, object]:
    """A preset of the groups with the released weights: alpha 1, beta as given."""
    return {"group": group, "t_group": None, "beta": beta, "weight": 1.0, "temperature": None}


ROWS: tuple[Row, ...] = (
    Row("student", "student alone", ROW_STUDENT, (TEST, ORL)),
    _row("kd", "KD, at its best setting", KD),
    Row("gkd", "GKD", _taught("gkd", {}), (TEST, ORL, IDENTITY), "claims", "all"),
    _row("gkd_secondary", "GKD + Secondary", {"lam": 1.0}),
    _row("primary", "Primary alone", {"alpha": 0.0}),
    _row("binary", "Binary alone", {"beta": 0.0}),
    Row("teacher", "teacher", (TEACHER,), (TEST, ORL), "all"),
    _row("secondary", "Secondary alone", {"alpha": 0.0, "beta": 0.0, "lam": 1.0}, "all"),
    _row("paper_groups", "GKD, groups of the abstract", _release("paper", 4.0), "all"),
    _row("release_fixed", "GKD, released fixed K", _release("release-fixed", 8.0), "all"),
    _row("release_adaptive", "GKD, released adaptive K", _release("release-adaptive", 4.0), "all"),
    _row("dkd", "DKD", {**PLAIN, "distill": "dkd", "weight": 1.0}, "all"),
    _row(
        "kd_plain",
        "KD of plain logits, its best setting",
        {**PLAIN, "weight": 10.0, "temperature": 16.0},
        "all",
    ),
    _row(
        "gkd_margin",
        "GKD of logits with the margin, its best setting",
        {"kd_logits": "margin", "t_group": 4.0, "beta": 1.0, "weight": 3.0, "temperature": None},
        "all",
    ),
    _row("fitnet", "FitNet on embeddings", {**_OTHERS, "distill": "fitnet"}, "all"),
    _row("rkd", "RKD", {**_OTHERS, "distill": "rkd"}, "all"),
    _row("ekd", "EKD", {**_OTHERS, "distill": "ekd"}, "all"),
)
MAIN = "gkd"
CHAINS: dict[str, tuple[Stage, ...]] = {
    SMALL.name: _taught("gkd", {}),
    **{
        f"gkd-{name}": (
            Stage("teacher", RECIPES[f"{name}-teacher"]()),
            Stage("gkd", RECIPES[name](), {"teacher": "teacher"}),
        )
        for name in ("paper", "debug")
    },
}
"""Recipes that build on others: name -> the stages that end in it."""
SHOWN = {
    "rank_1": ("rank-1, %", 100.0),
    "eer": ("EER, %", 100.0),
    "tar_0.01": ("TAR@FAR 1e-2, %", 100.0),
    "tar_0.001": ("TAR@FAR 1e-3, %", 100.0),
}
_ABOVE = PairedGain()

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "teacher",
        "extra",
        "the teacher beats the student alone by two points of rank-1 or more (else all runs are void)",
        ("gkd", "student"),
        "teacher_rank_1,rank_1",
        PairedGain(above=0.02),
    ),
    Claim(
        "over_student",
        "mechanism",
        "a student taught by GKD accepts more genuine pairs at FAR 1e-3 than the same student alone",
        ("gkd", "student"),
        "tar_0.001",
        _ABOVE,
        requires="teacher",
    ),
    Claim(
        "identity",
        "mechanism",
        "on training pictures KD = B + P Pr + (1 - P) Se to 1e-9",
        ("gkd", "gkd"),
        "identity_gap,zero",
        Equal(tol=1e-9),
        unit="nats",
        eval="identity",
    ),
    Claim(
        "over_kd",
        "paper",
        "GKD accepts more genuine pairs at FAR 1e-3 than KD at its best setting",
        ("gkd", "kd"),
        "tar_0.001",
        _ABOVE,
        requires="teacher",
    ),
    Claim(
        "secondary_hurts",
        "paper",
        "GKD accepts more genuine pairs at FAR 1e-3 than with Secondary added",
        ("gkd", "gkd_secondary"),
        "tar_0.001",
        _ABOVE,
        requires="teacher",
    ),
    Claim(
        "both_needed",
        "paper",
        "GKD, Primary and Binary together, accepts more genuine pairs at FAR 1e-3 than either alone",
        ("gkd", "primary", "binary"),
        "tar_0.001",
        GainOverBest(),
        requires="teacher",
    ),
)
