"""Rows, evaluations and claims of graphics capsules: rendered people whom no training saw.

All trained rows have the same pictures, steps and seeds. Baselines look at the training pictures (mean depth
also at their true depth); they are measured through the folder of the main row, and are not trained.
"""

from __future__ import annotations

from typing import Literal

from mien.core.protocol import Above, Claim, Evaluation, PairedGain, Ratio, Ratios, Row, SmallestGain, Stage
from mien.methods.igc_net.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
TEST = Evaluation("test")
REAL = Evaluation("orl", options={"data": "orl"})
Group = Literal["claims", "all"]
OURS = Stage("capsules", RECIPES["small"]())


def _row(row: str, label: str, group: Group = "all") -> Row:
    name = row.replace("_", "-")
    return Row(row, label, (Stage(name, RECIPES[f"small-{name}"]()),), (TEST,), group)


def _baseline(row: str, label: str) -> Row:
    return Row(row, label, (OURS,), (Evaluation("test", options={"baseline": row}),))


ROWS: tuple[Row, ...] = (
    _baseline("constant", "depth: a wall"),
    _baseline("mean", "depth: mean of the training pictures (truth)"),
    _baseline("dome", "depth: half an ellipsoid"),
    _baseline("boxes", "parts: a grid of boxes"),
    _baseline("kmeans", "parts: k-means of features"),
    _baseline("kmeans_place", "parts: k-means of features and places"),
    Row("ours", "IGC-Net", (OURS,), (TEST, REAL)),
    _row("single", "one capsule (Unsup3D)", "claims"),
    _row("no_semantic", "no semantic constraint", "claims"),
    _row("alpha", "alpha instead of depth", "claims"),
    _row("autoencoder2d", "2-D autoencoder", "claims"),
    _row("no_light", "no light"),
    _row("no_flip", "no mirrored object"),
    _row("no_background", "no background layer"),
    _row("flat", "no dome"),
    _row("no_cycle", "no own pictures of known view"),
)
MAIN = "ours"
SHOWN: dict[str, tuple[str, float]] = {
    "side": ("SIDE, x100", 1.0),
    "mad": ("MAD, °", 1.0),
    "face_side": ("SIDE of the face", 1.0),
    "face_mad": ("MAD of the face", 1.0),
    "iou": ("part IoU, %", 100.0),
    "iou_many": ("IoU, many to one, %", 100.0),
    "ari": ("ARI", 1.0),
    "foreground": ("foreground IoU, %", 100.0),
    "nme": ("NME, %", 100.0),
    "yaw": ("yaw, r", 1.0),
    "object_across": ("rank-1 across views, %", 100.0),
    "parts_across": ("by part codes, %", 100.0),
    "pseudo_depth": ("depth as the mesh's, r", 1.0),
    "pseudo_depth_dome": ("half an ellipsoid's, r", 1.0),
}
_DEPTH = ("ours", "mean")
_PARTS = tuple(name for other in ("kmeans", "kmeans_place", "boxes") for name in ("ours", other))
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "depth",
        "mechanism",
        "SIDE and MAD are below those of the mean true depth of the training pictures (the larger ratio)",
        (*_DEPTH, *_DEPTH),
        "side, side, mad, mad",
        Ratios((1.0, 1.0)),
        unit="ratio",
    ),
    Claim(
        "hierarchy",
        "mechanism",
        "across views (30° of yaw or more) the object's code recognises more people than the codes of its"
        " parts, one after another",
        ("ours", "ours"),
        "object_across, parts_across",
        PairedGain(),
    ),
    Claim(
        "parts",
        "paper",
        "IoU of parts and NME of landmarks regressed from them beat k-means, with and without places, and the"
        " grid of boxes (the smallest gain)",
        (*_PARTS, *_PARTS),
        ", ".join(["iou"] * len(_PARTS) + ["less_nme"] * len(_PARTS)),
        SmallestGain(),
    ),
    Claim(
        "semantic",
        "paper",
        "the semantic constraint raises the IoU of parts",
        ("ours", "no_semantic"),
        "iou",
        PairedGain(),
    ),
    Claim(
        "assembly",
        "paper",
        "beyond 25° of yaw, IoU of parts that depth orders is above that of parts blended by presence alone",
        ("ours", "alpha"),
        "iou_turned",
        PairedGain(),
    ),
    Claim(
        "three_d",
        "paper",
        "across views (30° of yaw or more) the object's code recognises more people than the code of a 2-D"
        " autoencoder of the same length",
        ("ours", "autoencoder2d"),
        "object_across",
        PairedGain(),
    ),
    Claim(
        "pose",
        "extra",
        "yaw is found without being told: correlation with the truth above .8",
        ("ours",),
        "yaw",
        Above(0.8),
        unit="correlation",
    ),
    Claim(
        "whole",
        "extra",
        "parts cost the whole little depth: SIDE at most 1.05 times that of a single capsule",
        ("ours", "single"),
        "side",
        Ratio(1.05),
        unit="ratio",
    ),
)
