"""Rows and claims over several methods; the method that owns a stage's recipe trains and evaluates it."""

from __future__ import annotations

from mien.core.config import evolve_all
from mien.core.protocol import Claim, Evaluation, PairedGain, Row, Stage
from mien.methods.ncl.config import RECIPES as NCL

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
TEST = Evaluation("test", split="test", select="last")
# SAGM around NCL++'s own optimiser, with its published rho and alpha; nothing is tuned.
_SAGM = {"optim.kind": "sagm", "optim.base": "sgd", "optim.rho": 0.05, "optim.alpha": 1e-3}

ROWS: tuple[Row, ...] = (
    Row("nclpp", "NCL++", (Stage("nclpp", NCL["small"]()),), (TEST,)),
    Row(
        "nclpp_sagm",
        "NCL++ trained with SAGM",
        (Stage("nclpp_sagm", evolve_all(NCL["small"](), {"name": "ncl-small-sagm", **_SAGM})),),
        (TEST,),
    ),
)
MAIN = "nclpp_sagm"
SHOWN = {
    "single_all": ("single, %", 100.0),
    "single_many": ("many", 100.0),
    "single_medium": ("medium", 100.0),
    "single_few": ("few", 100.0),
    "ensemble_all": ("ensemble, %", 100.0),
}

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "ncl_sagm",
        "extra",
        "one NCL++ expert trained with SAGM is more accurate than one trained with SGD, at equal steps",
        ("nclpp_sagm", "nclpp"),
        "single",
        PairedGain(),
    ),
)
