"""Rows and claims over several methods; the method that owns a stage's recipe trains and evaluates it."""

from __future__ import annotations

from mien.core.config import evolve_all
from mien.core.protocol import Above, Claim, Evaluation, GainOverBest, PairedGain, Row, Stage, Within
from mien.methods.cakd.config import RECIPES as CAKD
from mien.methods.fm_vit.config import RECIPES as FM_VIT
from mien.methods.ncl.config import RECIPES as NCL

PROTOCOL_VERSION = 1
SEEDS = (0, 1, 2)
TEST = Evaluation("test", split="test", select="last")
SPLIT = "shipped"
"""The split of an evaluation that needs no training (`mien.bench.compose.crossed`)."""
PEOPLE = "people"
"""The split of long-tailed people (`mien.bench.compose.longtail`)."""
# SAGM around NCL++'s own optimiser, with its published rho and alpha; nothing is tuned.
_SAGM = {"optim.kind": "sagm", "optim.base": "sgd", "optim.rho": 0.05, "optim.alpha": 1e-3}

# SAGM around FM-ViT's own optimiser, with the same rho and alpha; its test devices are unseen domains. Both
# see all modalities and each alone in turn, for 20 epochs: a quarter of the work of the small recipe, which
# sees them in every step.
_FM = evolve_all(
    FM_VIT["small"](),
    {"name": "fm_vit-small-alternate", "method.subsets": None, "schedule.epochs": 20},
)
_FM_SAGM = evolve_all(_FM, {"name": "fm_vit-small-sagm", **_SAGM, "optim.base": _FM.optim.kind})

# People with 40 to 2 training pictures. The kind of net was chosen by balanced softmax alone, on validation
# pictures with seed 100. A larger net and 100 epochs make every row better, in the same order of experts, and
# take three times as long (one seed, results/compose.search.jsonl).
_PEOPLE = evolve_all(
    NCL["small"](),
    {
        "method.backbone": "small-resnet-8-16-32-64",
        "data.kind": "people",
        "data.size": 32,
        "data.channels": 3,
        "data.mean": (0.5,) * 3,
        "data.std": (0.25,) * 3,
        "data.imbalance": 20.0,
        "data.val_per_class": 5,
        "schedule.epochs": 60.0,
    },
)
_ALONE: dict[str, object] = {"inter": False, "intra": False, "n_hard": 0}
_SINGLE: dict[str, object] = {**_ALONE, "experts": 1, "copies": 1}

_TEACHER = Stage("cakd_teacher", CAKD["teacher"]())
_SMALL = CAKD["small"]()
_GKD: dict[str, object] = {"logits": "gkd", "logits_weight": 3.0}
_NO_FEATURES = {"prompts": 0, "lam_feat": 0.0, "lam_attn": 0.0, "aux": 0.0, "aux_student": 0.0}


def _student(row: str, label: str, changes: dict[str, object]) -> Row:
    """A student of the transformer, with some of the method's fields changed."""
    fields = {"name": f"cakd-small-{row}", **{f"method.{k}": v for k, v in changes.items()}}
    stage = Stage(row, evolve_all(_SMALL, fields), {"teacher": _TEACHER.id})
    return Row(row, label, (_TEACHER, stage), (TEST,))


def _people(row: str, label: str, changes: dict[str, object]) -> Row:
    """Classifiers of long-tailed people, with some of the method's fields changed."""
    fields = {"name": f"ncl-{row}", **{f"method.{k}": v for k, v in changes.items()}}
    return Row(row, label, (Stage(row, evolve_all(_PEOPLE, fields)),), (Evaluation("test", PEOPLE),))


def _shipped(row: str, label: str, what: str, **options: str) -> Row:
    """A row without training: shipped weights of several methods, on people and cameras of the seed."""
    return Row(row, label, (), (Evaluation("test", SPLIT, options={"what": what, **options}),))


ROWS: tuple[Row, ...] = (
    Row("nclpp", "NCL++", (Stage("nclpp", NCL["small"]()),), (TEST,)),
    Row(
        "nclpp_sagm",
        "NCL++ trained with SAGM",
        (Stage("nclpp_sagm", evolve_all(NCL["small"](), {"name": "ncl-small-sagm", **_SAGM})),),
        (TEST,),
    ),
    Row("fm", "FM-ViT, modalities in turn", (Stage("fm", _FM),), (TEST,)),
    Row("fm_sagm", "FM-ViT, modalities in turn, trained with SAGM", (Stage("fm_sagm", _FM_SAGM),), (TEST,)),
    _student("cakd", "URFM + APT", {}),
    _student("gkd", "GKD from the transformer", {**_GKD, **_NO_FEATURES}),
    _student("cakd_gkd", "URFM + APT + GKD", _GKD),
    *(
        _shipped(f"gate_{by}", f"GKD behind a far camera, gate: {label}", "gate", by=by)
        for by, label in (
            ("chance", "chance"), ("sharpness", "sharpness"), ("cqil", "CQIL's quality"),
            ("truth", "true severity"),
        )
    ),
    *(
        _shipped(f"parts_{by}_{level}", f"{label}, {level} of a part replaced", "parts", by=by, level=level)
        for by, label in (("small", "GKD's student"), ("alone", "same net, not taught"))
        for level in ("shape", "albedo")
    ),
    _people("people_ce", "people: cross-entropy", {**_SINGLE, "loss": "ce"}),
    _people("people_bsce", "people: balanced softmax", _SINGLE),
    _people(
        "people_independent",
        "people: independent experts, same copies and loss scale",
        {**_ALONE, "weight": 2.0},
    ),
    _people("people_nclpp", "people: NCL++", {}),
    _shipped("replay_own", "FM-ViT, own pictures on a screen", "replay", show="own"),
    _shipped("replay_avatar", "FM-ViT, OTAvatar on a screen", "replay", show="avatar"),
)  # fmt: skip
MAIN = "nclpp_sagm"
SHOWN = {
    "single_all": ("single, %", 100.0),
    "single_many": ("many", 100.0),
    "single_medium": ("medium", 100.0),
    "single_few": ("few", 100.0),
    "ensemble_all": ("ensemble, %", 100.0),
    "rank_1": ("rank-1, %", 100.0),
    "tar_0.01": ("TAR@FAR 1e-2, %", 100.0),
    "tar_0.001": ("TAR@FAR 1e-3, %", 100.0),
    "acer_rgb": ("ACER R, %", 100.0),
    "acer_rgb+depth+ir": ("ACER RDI, %", 100.0),
    "every_right": ("100 - ACER, mean of subsets", 100.0),
    "gate_rank_1": ("rank-1 of who passes, %", 100.0),
    "drop": ("1 - cosine, mean of parts, x1000", 1000.0),
    "like_teacher": ("parts as the teacher's, r", 1.0),
    "known": ("known people, single, %", 100.0),
    "known_many": ("third with most pictures", 100.0),
    "known_few": ("third with fewest", 100.0),
    "known_ensemble": ("known people, ensemble, %", 100.0),
    "unseen_rank_1": ("unseen people, rank-1, %", 100.0),
    "unseen_tar_0.01": ("unseen, TAR@FAR 1e-2, %", 100.0),
    "refused_rgb": ("refused R, %", 100.0),
    "refused_rgb+depth+ir": ("refused RDI, %", 100.0),
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
    Claim(
        "fm_sagm",
        "extra",
        "on unseen devices FM-ViT trained with SAGM has a lower ACER, mean of all subsets, than with its"
        " base optimiser at equal steps",
        ("fm_sagm", "fm"),
        "every_right",
        PairedGain(),
    ),
    Claim(
        "gkd_cakd",
        "extra",
        "a student taught by URFM + APT and by GKD's logits accepts more genuine pairs at FAR 1e-2 than with"
        " either alone",
        ("cakd_gkd", "cakd", "gkd"),
        "tar_0.01",
        GainOverBest(),
    ),
    Claim(
        "gate",
        "extra",
        "of faces seen by worse and worse cameras, the half that CQIL's quality lets pass is recognised more"
        " often by GKD's student than a half drawn by chance",
        ("gate_cqil", "gate_chance"),
        "right",
        PairedGain(),
    ),
    Claim(
        "gate_over_sharpness",
        "extra",
        "and more often than the sharper half",
        ("gate_cqil", "gate_sharpness"),
        "right",
        PairedGain(),
    ),
    Claim(
        "texture",
        "extra",
        "GKD's student goes by texture: it loses more similarity when a part of IGC-Net's gets the mean"
        " albedo than when it gets the mean shape",
        ("parts_small_albedo", "parts_small_shape"),
        "drop",
        PairedGain(),
    ),
    Claim(
        "calmer",
        "extra",
        "distillation makes it calmer: it loses less by a part's albedo than the same net without a teacher",
        ("parts_alone_albedo", "parts_small_albedo"),
        "drop",
        PairedGain(),
    ),
    Claim(
        "same_parts",
        "extra",
        "student and teacher look at the same parts: correlation of their losses by albedo above .9",
        ("parts_small_albedo",),
        "like_teacher",
        Above(0.9),
        unit="correlation",
    ),
    Claim(
        "replay",
        "extra",
        "by colour alone FM-ViT refuses avatars on a screen more often than the person's own pictures there",
        ("replay_avatar", "replay_own"),
        "refused_rgb",
        PairedGain(),
    ),
    Claim(
        "replay_all",
        "extra",
        "with all cameras it refuses both alike, within 5 points",
        ("replay_avatar", "replay_own"),
        "refused_rgb+depth+ir",
        Within(0.05),
    ),
    Claim(
        "people",
        "extra",
        "of people with 40 to 2 training pictures one NCL++ expert knows more on other pictures than one of"
        " independent experts at equal copies and loss scale",
        ("people_nclpp", "people_independent"),
        "known",
        PairedGain(),
    ),
    Claim(
        "people_few",
        "extra",
        "and so it does of the third with the fewest training pictures",
        ("people_nclpp", "people_independent"),
        "known_few",
        PairedGain(),
    ),
    Claim(
        "people_single",
        "extra",
        "it knows more than a single net with balanced softmax or with cross-entropy",
        ("people_nclpp", "people_bsce", "people_ce"),
        "known",
        GainOverBest(),
    ),
    Claim(
        "people_unseen",
        "extra",
        "its features accept more genuine pairs of unseen people at FAR 1e-2 than those of an independent"
        " expert",
        ("people_nclpp", "people_independent"),
        "unseen_tar_0.01",
        PairedGain(),
    ),
)
