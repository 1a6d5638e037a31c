"""Rows, evaluations and claims of CQIL: test pictures that are worse than those of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mien.core.config import evolve_all
from mien.core.protocol import Claim, Evaluation, PairedGain, Row, SmallestGain, Stage
from mien.methods.cqil.config import RECIPES

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
TEST = Evaluation("test")
MAIN = "small"
BASELINE, AUGMENTED = "flip", "degrade"
Group = Literal["claims", "all"]


def _row(
    name: str, label: str, recipe: str, group: Group = "claims", changes: Mapping[str, object] | None = None
) -> Row:
    """A recipe by name, with some fields changed."""
    made = RECIPES[recipe]()
    if changes:
        made = evolve_all(made, {**changes, "name": f"{made.name}-{name}"})
    return Row(name, label, (Stage(name, made),), (TEST,), group)


_FEW: Mapping[str, object] = {
    "schedule.epochs": 18.0, "method.split": None, "method.width": None, "method.sr_warmup": None,
    "method.sharpen": None,
}  # fmt: skip
"""The recipe before trainings were made longer and SQN and S gentler."""


def _few(name: str, label: str, recipe: str, changes: Mapping[str, object] | None = None) -> Row:
    """A row of 18 epochs."""
    return _row(name, f"{label}, 18 epochs", recipe, "all", {**_FEW, **(changes or {})})


_PARTS = {
    "flip": "mirror and shift alone",
    "degrade": "+ degraded copies",
    "contrast": "+ degraded copies, NT-Xent",
    "sqn": "+ degraded copies, SQN",
    "sr": "+ degraded copies, super-resolution",
    "small": "CQIL: all of them",
}
_OTHERS = {"p3_strict": "P3-strict", "p1": "P1", **{f"p2.{k}": f"P2.{k}" for k in (1, 2, 3, 4)}}
_SOLUTIONS = ("moire_jitter", "dise", "convnext_plain", "heavy_aug_folds", "parts")
ROWS: tuple[Row, ...] = (
    *(_row(name, label, name) for name, label in _PARTS.items()),
    *(_few(f"{name}_few", label, name) for name, label in _PARTS.items()),
    _few("plain", "no augmentation", "plain"),
    _few("sr_alone", "super-resolution without degraded copies", "sr", {"data.degrade": False}),
    _few("supcon", "CQIL with SupCon", "small", {"method.contrast": "supcon"}),
    _few("byol", "CQIL with a slow net (BYOL)", "small", {"method.contrast": "byol"}),
    *(
        _few(f"{row}_{p.replace('.', '_')}", f"{label}, {text}", row, {"data.protocol": p})
        for p, text in _OTHERS.items()
        for row, label in (("flip", _PARTS["flip"]), ("small", "CQIL"))
    ),
    *(_few(n, f"solution: {n.replace('_', ' ')}", n) for n in _SOLUTIONS),
)
"""The solution ``resnet18`` on a small backbone is the row ``flip``."""
SHOWN = {
    "acer": ("ACER, %", 100.0), "apcer": ("APCER, %", 100.0), "bpcer": ("BPCER, %", 100.0),
    "auc": ("AUC, %", 100.0), "track_acer": ("ACER of tracks, %", 100.0),
    "acer_low": ("ACER low, %", 100.0), "acer_mid": ("mid", 100.0), "acer_high": ("high", 100.0),
    "auc_low": ("AUC low, %", 100.0), "auc_high": ("AUC high, %", 100.0),
    "moved_share": ("moved, %", 100.0),
}  # fmt: skip


def _lower(
    name: str, kind: Literal["mechanism", "paper", "extra"], first: str, second: str, text: str
) -> Claim:
    """ACER of pictures at the development threshold, the first row against the second."""
    return Claim(name, kind, text, (first, second), "right", PairedGain())


CLAIMS: tuple[Claim, ...] = (
    _lower("quality", "mechanism", MAIN, BASELINE,
           "on worse pictures (P3) CQIL has a lower ACER than the same net with mirror and shift alone"),
    Claim(
        "gain_grows", "paper",
        "CQIL's gain in ACER over that net is larger on the worst third of the test pictures than on the"
        " best third",
        (MAIN, BASELINE), "even", PairedGain(),
    ),
    Claim(
        "invariant", "paper",
        "under a degradation CQIL's features move less (1 - cosine) than those of degraded copies alone, as"
        " it is and as a share of the distance between faces (the smaller of the two gains)",
        (MAIN, AUGMENTED) * 2, "still,still,still_share,still_share", SmallestGain(),
    ),
    _lower("contrast", "paper", "contrast", AUGMENTED, "NT-Xent lowers the ACER of degraded copies"),
    _lower("sqn", "paper", "sqn", AUGMENTED, "SQN lowers the ACER of degraded copies"),
    _lower("sr", "paper", "sr", AUGMENTED, "super-resolution lowers the ACER of degraded copies"),
    _lower("degrade", "extra", AUGMENTED, BASELINE, "degraded copies lower the ACER"),
    _lower("over_degrade", "extra", MAIN, AUGMENTED, "CQIL has a lower ACER than degraded copies alone"),
    Claim("auc", "extra", "CQIL has a higher AUC than mirror and shift alone", (MAIN, BASELINE), "auc",
          PairedGain()),
)  # fmt: skip
