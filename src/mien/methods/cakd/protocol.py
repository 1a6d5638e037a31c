"""Rows, evaluations and claims of CAKD: rendered training people, unseen rendered people and ORL as tests."""

from __future__ import annotations

from typing import Literal

from mien.core.config import evolve_all
from mien.core.protocol import Claim, Evaluation, PairedGain, Row, SomeGain, Stage, Within
from mien.methods.cakd.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
TEST = Evaluation("test")
ORL = Evaluation("orl", split="orl")
GUARD = Evaluation("guard")
HIDDEN = ("guard",)
"""Evaluations that no table of rows shows."""
Group = Literal["claims", "all"]

TEACHER = Stage("teacher", RECIPES["teacher"]())
SMALL = RECIPES["small"]()
_URFM = (
    "prompts",
    "n_local",
    "dim",
    "heads",
    "position",
    "gamma",
    "lam_feat",
    "lam_attn",
    "eta",
    "aux",
    "aux_student",
)
_NOTHING: dict[str, object] = dict.fromkeys((*_URFM, "student_tap", "ramp", "parts_lr"))
_FROZEN: dict[str, object] = {"prompts": 0}


def _taught(row: str, changes: dict[str, object]) -> tuple[Stage, ...]:
    """The teacher, then a student of it: the small recipe with some of the method's fields changed."""
    fields = {"name": f"cakd-small-{row}", **{f"method.{k}": v for k, v in changes.items()}}
    recipe = evolve_all(SMALL, fields) if changes else SMALL
    return TEACHER, Stage(row, recipe, {"teacher": "teacher"})


def _row(row: str, label: str, changes: dict[str, object], group: Group = "claims") -> Row:
    return Row(row, label, _taught(row, changes), (TEST, ORL), group)


def _other(kind: str, weight: float, **more: object) -> dict[str, object]:
    return {**_NOTHING, "distill": kind, "weight": weight, **more}


_MAPS = {"student_tap": "final"}
ROWS: tuple[Row, ...] = (
    Row("student", "student alone", (Stage("student", RECIPES["student"]()),), (TEST, ORL)),
    _row("kd", "KD", _other("kd", 3.0, temperature=8.0)),
    _row("pixel", "pixel MSE (FitNet)", _other("fitnet", 10.0, **_MAPS)),
    _row("urfm_euclid", "URFM, Euclidean code", {**_FROZEN, "position": "euclid"}),
    _row("urfm", "URFM, facial code", _FROZEN),
    Row("apt", "URFM + APT", _taught("apt", {}), (TEST, ORL, GUARD), "claims", "all"),
    Row("teacher", "teacher", (TEACHER,), (TEST, ORL), "all"),
    _row("relative", "URFM, relative distance", {**_FROZEN, "position": "relative"}, "all"),
    _row("no_code", "URFM, no position code", {**_FROZEN, "position": "none"}, "all"),
    _row("apt_pixel", "APT + pixel MSE", _other("fitnet", 10.0, **_MAPS, prompts=4), "all"),
    _row("rkd", "RKD", _other("rkd", 1.0), "all"),
    _row("ofa", "after OFA-KD", _other("ofa", 1.0, **_MAPS), "all"),
    _row("pca", "after cross-attention projector", _other("pca", 1.0, **_MAPS), "all"),
)
MAIN = "apt"
CHAINS: dict[str, tuple[Stage, ...]] = {
    SMALL.name: _taught("apt", {}),
    **{
        f"cakd-{name}": (
            Stage("teacher", RECIPES[f"{name}-teacher"]()),
            Stage("apt", RECIPES[name](), {"teacher": "teacher"}),
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
_METRIC = "tar_0.01"


def _better(
    name: str, kind: Literal["mechanism", "paper", "extra"], text: str, first: str, second: str
) -> Claim:
    return Claim(name, kind, text, (first, second), _METRIC, PairedGain(), requires="teacher")


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "teacher",
        "extra",
        "the teacher beats the student alone by two points of rank-1 or more (else all runs are void)",
        ("apt", "student"),
        "teacher_rank_1,rank_1",
        PairedGain(above=0.02),
    ),
    Claim(
        "kd_helps",
        "mechanism",
        "the best distilled student accepts more genuine pairs at FAR 1e-2 than the same student alone",
        ("kd", "pixel", "urfm", "apt", "student"),
        _METRIC,
        SomeGain(),
        requires="teacher",
    ),
    _better(
        "over_student",
        "extra",
        "a student taught by URFM + APT accepts more genuine pairs at FAR 1e-2 than the same student alone",
        "apt",
        "student",
    ),
    Claim(
        "guard",
        "mechanism",
        "the teacher's rank-1 with prompts is within 0.3 points of that without",
        ("apt", "apt"),
        "rank_1,teacher_rank_1",
        Within(0.003),
        eval="guard",
    ),
    _better("urfm", "paper", "URFM accepts more genuine pairs at FAR 1e-2 than pixel MSE", "urfm", "pixel"),
    _better("apt", "paper", "URFM + APT accepts more genuine pairs at FAR 1e-2 than URFM", "apt", "urfm"),
    _better(
        "face_code",
        "paper",
        "the facial position code accepts more genuine pairs at FAR 1e-2 than the Euclidean one",
        "urfm",
        "urfm_euclid",
    ),
)
