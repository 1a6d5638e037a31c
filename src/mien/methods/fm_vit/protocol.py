"""Rows, evaluations and claims of FM-ViT: rendered people and devices that training never saw."""

from __future__ import annotations

from typing import Literal

from mien.core.config import evolve_all
from mien.core.protocol import Claim, Evaluation, GainOverBest, PairedGain, Ratio, Row, SmallestGain, Stage
from mien.methods.fm_vit.config import MODALITIES, RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
TEST = Evaluation("test")
SEEN = Evaluation("seen", split="seen")
FURTHER = Evaluation("further", split="further")
"""300 people more, before the test devices: with 100 the interval of `rgb_only` is wider than its gain."""
UNSEEN = Evaluation("unseen", split="unseen")
COST = Evaluation("cost", split="cost")
HIDDEN = ("cost",)
"""Evaluations that no table of rows shows."""
Group = Literal["claims", "all"]
SMALL = RECIPES["small"]()
Changes = dict[str, object]
DEPTH = 4
"""Blocks of a plain ViT: as many as a picture goes through in FM-ViT, joins included."""


def _row(
    row: str, label: str, changes: Changes, group: Group = "claims", evals: tuple[Evaluation, ...] = (TEST,)
) -> Row:
    """The small recipe with some of its fields changed."""
    recipe = evolve_all(SMALL, {"name": f"fm_vit-small-{row}", **changes}) if changes else SMALL
    return Row(row, label, (Stage(row, recipe),), evals, group)


def _net(kind: str, **changes: object) -> Changes:
    """Another net, without what applies to FM-ViT only."""
    plain = dict.fromkeys(
        ("stages", "mutual", "rho", "soft", "mma", "mfa", "share_stb", "missing", "subsets")
    )
    return {f"method.{k}": v for k, v in {**plain, "net": kind, "depth": DEPTH, **changes}.items()}


def _single(modality: str) -> Changes:
    return _net("single", modalities=(modality,))


PEER: Changes = {"method.peer": 1.0}
FEW: Changes = {"schedule.epochs": 20}
"""Half as long as the small recipe: ablations, compared with one another."""
IN_TURN: Changes = {**FEW, "method.subsets": None}
"""A quarter of the small recipe's work: ablations are made with it, beside the row ``alternate``."""
UNKNOWN: Changes = {"data.unseen": ("replay", "mask_resin")}
ROWS: tuple[Row, ...] = (
    _row("rgb", "ViT of rgb alone", _single("rgb"), evals=(TEST, SEEN, FURTHER)),
    *(_row(m, f"ViT of {m} alone", _single(m), "all", (TEST, SEEN)) for m in MODALITIES[1:]),
    _row("early", "early concatenation, absent = 0", _net("early"), evals=(TEST, SEEN)),
    _row("fm", "FM-ViT", {}, evals=(TEST, SEEN, FURTHER, COST)),
    _row("fm_peer", "FM-ViT + peer distillation", PEER, evals=(TEST, SEEN)),
    _row("full", "schedule: all modalities in every step", {**FEW, "method.subsets": "full"}, "all"),
    _row("dropout", "schedule: each modality left out at random", {**FEW, "method.subsets": "dropout"},
         "all"),
    _row("alternate", "schedule: all, and each alone, in turn", IN_TURN, "all"),
    _row("no_mma", "in turn, without MMA", {**IN_TURN, "method.mma": False}, "all"),
    _row("no_mfa", "in turn, without MFA", {**IN_TURN, "method.mfa": False}, "all"),
    _row("own", "in turn, own blocks for each modality", {**IN_TURN, "method.share_stb": False}, "all"),
    _row("mavit", "MA-ViT, in turn", {**FEW, **_net("mavit", depth=2)}, "all"),
    _row("fm_unseen", "in turn, replay and resin never trained on", {**IN_TURN, **UNKNOWN}, "all",
         (TEST, UNSEEN)),
    _row("rgb_unseen", "ViT of rgb, replay and resin never trained on", {**FEW, **_single("rgb"), **UNKNOWN},
         "all", (TEST, UNSEEN)),
)  # fmt: skip
MAIN = "fm"
SHOWN = {
    **{f"acer_{m}": (f"ACER {s}, %", 100.0) for m, s in
       (("rgb", "R"), ("depth", "D"), ("ir", "I"), ("rgb+depth+ir", "RDI"))},
    **{f"auc_{m}": (f"AUC {s}, %", 100.0) for m, s in
       (("rgb", "R"), ("depth", "D"), ("ir", "I"), ("rgb+depth+ir", "RDI"))},
}  # fmt: skip
_WHOLE = "+".join(MODALITIES)


def _both(
    name: str,
    kind: Literal["mechanism", "paper", "extra"],
    text: str,
    first: str,
    second: str,
    subset: str,
    above: float = 0.0,
    evaluation: Evaluation = TEST,
) -> Claim:
    """ACER and AUC of one subset, the first row against the second."""
    metric = ",".join([f"right_{subset}"] * 2 + [f"auc_{subset}"] * 2)
    said = f"{text} (the smaller of the two gains)"
    return Claim(name, kind, said, (first, second) * 2, metric, SmallestGain(above), eval=evaluation.id)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "flexible",
        "mechanism",
        "on one modality, mean of the three, FM-ViT has an ACER at least 10 points lower and an AUC at least"
        " 10 points higher than early concatenation with the rest absent (the smaller of the two gains)",
        ("fm", "early", "fm", "early"),
        "one_right,one_right,one_auc,one_auc",
        SmallestGain(above=0.10),
    ),
    Claim(
        "flops",
        "mechanism",
        "one modality, mean of the three, costs fewer operations than a fixed fusion of three ViTs",
        ("fm", "fm"),
        "flops_one,flops_fusion",
        Ratio(at_most=1.0),
        unit="ratio",
        eval="cost",
    ),
    _both(
        "rgb_only",
        "paper",
        "on colour FM-ViT has a lower ACER and a higher AUC than a ViT trained on colour alone",
        "fm",
        "rgb",
        "rgb",
        evaluation=FURTHER,
    ),
    Claim(
        "near_fusion",
        "paper",
        "with all three modalities FM-ViT's ACER is at most 1 point above early concatenation's",
        ("fm", "early"),
        f"right_{_WHOLE}",
        PairedGain(above=-0.01),
    ),
    Claim(
        "params",
        "paper",
        "FM-ViT has fewer parameters than a fixed fusion of three ViTs",
        ("fm", "fm"),
        "params,params_fusion",
        Ratio(at_most=1.0),
        unit="ratio",
        eval="cost",
    ),
    _both(
        "rgb_peer",
        "extra",
        "on colour FM-ViT taught by its peers has a lower ACER and a higher AUC than a ViT trained on colour"
        " alone",
        "fm_peer",
        "rgb",
        "rgb",
    ),
    _both(
        "peer_helps",
        "extra",
        "peer distillation lowers FM-ViT's ACER and raises its AUC on colour",
        "fm_peer",
        "fm",
        "rgb",
    ),
    Claim(
        "joint",
        "extra",
        "FM-ViT with all three modalities has a lower ACER than with its best single one",
        ("fm",) * 4,
        f"right_{_WHOLE},right_rgb,right_depth,right_ir",
        GainOverBest(),
    ),
)
