"""What a data set is, as data (no torch here)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

from mien.core.config import NO_HASH, DataConfig, check_range, refuse_inapplicable
from mien.core.errors import ConfigError, DataError

ClassificationKind = Literal[
    "fashion_lt",
    "idx",
    "cifar10_lt",
    "cifar100_lt",
    "imagenet_lt",
    "places_lt",
    "inat2018",
    "json",
    "folder",
    "shards",
    "people",
    "glyphs_lt",
    "debug",
]
_AT_HAND = ("fashion_lt", "people", "glyphs_lt", "debug")
_SUBSAMPLED = ("idx", "cifar10_lt", "cifar100_lt", "folder", "shards", "people", "glyphs_lt", "debug")


@dataclass(frozen=True)
class ClassificationData(DataConfig):
    """Images with one class each; training set long-tailed, test set as the data set defines it."""

    kind: ClassificationKind = "fashion_lt"
    """fashion_lt and debug come with mien; people: made faces, drawn when first asked for; glyphs_lt: a
    hundred characters, drawn each time in seconds; others read ``root``."""
    root: str | None = field(default=None, metadata=NO_HASH)
    """Folder (or JSON file) of the user's copy; of shards also ``DIR/{000..003}.tar``."""
    size: int = 28
    """Side of the square input, in pixels."""
    channels: Literal[1, 3] = 1
    """Grey or RGB input."""
    imbalance: float | None = None
    """Imbalance factor n_max / n_min of the training subset; unset = the images as they are."""
    n_max: int | None = None
    """Images of the largest class (default: as many as the smallest class has)."""
    imbalance_kind: Literal["exp", "step"] = "exp"
    """Exponential decay over classes, or one step in the middle."""
    val_per_class: int = 10
    """Images per class held out of training for validation, where the set has no such split."""
    subset_seed: int = 0
    """Which images the subset keeps; people: also who they are; glyphs_lt: which pictures are drawn."""
    people: int | None = None
    """people: how many, each a class (default 64)."""
    test_per_class: int | None = None
    """people, glyphs_lt: test pictures of each (default 20, 50)."""
    augment: Literal["none", "affine", "cifar", "imagenet"] = "affine"
    """Training augmentation."""
    mean: tuple[float, ...] = (0.5,)
    """Normalisation mean, one value per channel."""
    std: tuple[float, ...] = (0.5,)
    """Normalisation standard deviation, one value per channel."""
    workers: int = field(default=0, metadata=NO_HASH)
    """Processes that read and augment; 0 = in the training process."""
    buffer: int | None = None
    """shards: pictures that are mixed with each other (default 5000)."""

    def __post_init__(self) -> None:
        check_range("data", "size", self.size, 8, 4096)
        check_range("data", "imbalance", self.imbalance, 1.0, 1e9)
        check_range("data", "n_max", self.n_max, 1)
        check_range("data", "val_per_class", self.val_per_class, 0)
        check_range("data", "people", self.people, 2, 1_000_000)
        check_range("data", "test_per_class", self.test_per_class, 1, 1000)
        check_range("data", "workers", self.workers, 0, 256)
        check_range("data", "buffer", self.buffer, 1)
        table: dict[str, tuple[str, ...]] = {"imbalance": _SUBSAMPLED, "n_max": _SUBSAMPLED}
        table |= {"people": ("people",), "buffer": ("shards",)}
        table |= {"test_per_class": ("people", "glyphs_lt")}
        refuse_inapplicable(self, self.kind, table)
        _check_normalisation(self.mean, self.std, self.channels)
        if self.n_max is not None and self.imbalance is None:
            raise ConfigError("data.n_max needs data.imbalance")
        if self.kind in _AT_HAND and self.root is not None:
            raise ConfigError(f"data.root does not apply to {self.kind!r}, which needs no files")

    def require_root(self, *, may_be_file: bool = False) -> Path:
        """See `require_root`."""
        return require_root(self.kind, self.root, may_be_file=may_be_file)


DomainKind = Literal[
    "emoji_dg",
    "digits_dg",
    "rotated_fashion",
    "rotated_mnist",
    "colored_mnist",
    "pacs",
    "vlcs",
    "office_home",
    "terra_incognita",
    "domain_net",
    "domains",
    "debug",
]
_DOMAINS_AT_HAND = ("emoji_dg", "digits_dg", "rotated_fashion", "debug")


@dataclass(frozen=True)
class DomainData(DataConfig):
    """The same classes in several domains; some domains are held out of training (DomainBed's protocol)."""

    kind: DomainKind = "emoji_dg"
    """emoji_dg, digits_dg, rotated_fashion and debug need no files; the others read ``root``."""
    root: str | None = field(default=None, metadata=NO_HASH)
    """Folder of the user's copy."""
    held_out: tuple[str, ...] = ("noto",)
    """Domains that are not trained on: one for testing; two for leave-one-domain-out selection; none to train
    on all."""
    trial_seed: int = 0
    """DomainBed's trial seed: how each domain is cut into inner and outer pictures."""
    holdout: float = 0.2
    """Share of each domain that is its outer part."""
    concepts: Literal["all", "unseen"] = "all"
    """emoji_dg: unseen = also hold 30 % of the glyphs out of training, and test on them only."""
    size: int = 32
    """Side of the square input, in pixels."""
    channels: Literal[1, 3] = 3
    """Grey or RGB input."""
    augment: Literal["none", "affine", "domainbed"] = "none"
    """Training augmentation."""
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Normalisation mean, one value per channel."""
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Normalisation standard deviation, one value per channel."""
    workers: int = field(default=0, metadata=NO_HASH)
    """Processes that read and augment; 0 = in the training process."""

    def __post_init__(self) -> None:
        check_range("data", "size", self.size, 8, 4096)
        check_range("data", "holdout", self.holdout, 0.0, 0.9)
        check_range("data", "workers", self.workers, 0, 256)
        check_range("data", "trial_seed", self.trial_seed, 0)
        if len(set(self.held_out)) != len(self.held_out) or len(self.held_out) > 2:
            raise ConfigError(f"data.held_out={list(self.held_out)}: none, one or two different domains")
        if self.concepts != "all" and self.kind != "emoji_dg":
            raise ConfigError(f"data.concepts={self.concepts!r} applies to emoji_dg only")
        _check_normalisation(self.mean, self.std, self.channels)
        if self.kind in _DOMAINS_AT_HAND and self.root is not None:
            raise ConfigError(f"data.root does not apply to {self.kind!r}, which needs no files")

    def require_root(self) -> Path:
        """See `require_root`."""
        return require_root(self.kind, self.root)


FaceKind = Literal["rendered", "record", "folder", "shards", "debug"]
USER_FACES = ("record", "folder", "shards")
"""Kinds of faces that are read from the user's copy."""


@dataclass(frozen=True)
class FaceData(DataConfig):
    """Aligned faces of many people; validation and test people are never trained on."""

    kind: FaceKind = "rendered"
    """rendered: made people, drawn when first asked for; debug: a few of them; record (a RecordIO pair),
    folder (people in folders, or WebDataset shards read anywhere) and shards (read one after another) read
    ``root``."""
    size: int = 32
    """Side of the square input, in pixels."""
    people: int = 3000
    """Training identities of a made set."""
    val_people: int = 200
    """Validation identities; 0 = none."""
    test_people: int = 400
    """Test identities; 0 = none."""
    per_identity: int = 10
    """Pictures of each; of a user's set: of each validation and test identity, at most."""
    set_seed: int = 0
    """Which people. Of a user's set 0 holds out the last ones, another number draws them."""
    look: Literal["colour", "masked"] = "masked"
    """masked: grey and without background, so that real grey photographs can be tested on."""
    augment: Literal["none", "flip"] = "flip"
    """Training augmentation."""
    root: str | None = field(default=None, metadata=NO_HASH)
    """record, folder, shards: the user's copy."""
    verification: tuple[str, ...] = field(default=(), metadata=NO_HASH)
    """Verification sets to test on, each PATH or NAME=PATH: a .bin, an array folder, or the folder of LFW,
    CFP, AgeDB, CALFW or CPLFW."""
    workers: int = field(default=0, metadata=NO_HASH)
    """Processes that read and augment; 0 = in the training process."""
    buffer: int | None = None
    """shards: pictures that are mixed with each other (default 5000)."""

    def __post_init__(self) -> None:
        check_range("data", "size", self.size, 16, 224)
        check_range("data", "people", self.people, 2, 1_000_000)
        for name in ("val_people", "test_people"):
            check_range("data", name, getattr(self, name), 0, 1_000_000)
            if getattr(self, name) == 1:
                raise ConfigError(f"data.{name}=1: one person has nobody to be told from; 0 or at least 2")
        check_range("data", "per_identity", self.per_identity, 2, 1000)
        check_range("data", "workers", self.workers, 0, 256)
        check_range("data", "buffer", self.buffer, 1)
        if self.kind in USER_FACES and self.people != FaceData.people:
            raise ConfigError(
                f"data.people={self.people} does not apply to kind={self.kind!r}, whose people are all used;"
                f" leave it out, or at its default {FaceData.people}"
            )
        refuse_inapplicable(self, self.kind, {"root": USER_FACES, "buffer": ("shards",)})

    def require_root(self) -> Path:
        """See `require_root`; a record may be given as its file."""
        return require_root(self.kind, self.root, may_be_file=self.kind == "record")


DEBUG_PICTURES = 400
"""Talking heads that are drawn anew for every run."""
TalkingKind = Literal["rendered", "stars", "debug", "hdtf"]


@dataclass(frozen=True)
class TalkingData(DataConfig):
    """Talking heads: moments of people's clips, seen from one or several sides."""

    kind: TalkingKind = "rendered"
    """rendered: made people, drawn when first asked for; stars: heads that are formulas, likewise; debug: a
    few made people, in memory; hdtf reads ``root``."""
    size: int = 64
    """Side of the square picture, in pixels."""
    people: int = 1000
    """Training people of a made set."""
    val_people: int = 24
    """Validation people."""
    test_people: int = 48
    """Test people."""
    moments: int = 6
    """Moments of each person's clip."""
    views: int = 4
    """Cameras of a moment."""
    set_seed: int = 0
    """Which people."""
    root: str | None = field(default=None, metadata=NO_HASH)
    """hdtf: the user's copy."""
    resolution: int | None = None
    """hdtf: which of the packed sizes, pixels a side (default: the only one)."""
    backdrop: tuple[int, int, int] | None = None
    """hdtf: colour that the matting left behind the person (default: everything counts as the person)."""
    workers: int = field(default=0, metadata=NO_HASH)
    """Processes that read; 0 = in the training process."""

    def __post_init__(self) -> None:
        check_range("data", "size", self.size, 16, 512)
        for name in ("people", "val_people", "test_people"):
            check_range("data", name, getattr(self, name), 2, 1_000_000)
        check_range("data", "moments", self.moments, 2, 1000)
        check_range("data", "views", self.views, 1, 100)
        check_range("data", "workers", self.workers, 0, 256)
        refuse_inapplicable(self, self.kind, dict.fromkeys(("root", "resolution", "backdrop"), ("hdtf",)))
        if self.kind == "hdtf":
            self._refuse_set("people", "test_people", "views")
        pictures = (self.people + self.val_people + self.test_people) * self.moments * self.views
        if self.kind == "debug" and pictures > DEBUG_PICTURES:
            raise ConfigError(
                f"data.kind='debug' draws {DEBUG_PICTURES} pictures at most, not {pictures}; lower"
                " data.people, moments or views, or use kind='rendered'"
            )

    def _refuse_set(self, *names: str) -> None:
        """Raises if a field of a made set is not at its default."""
        for f in fields(self):
            if f.name in names and getattr(self, f.name) != f.default:
                raise ConfigError(f"data.{f.name} does not apply to kind={self.kind!r}, which has its own")

    def folder(self) -> Path:
        """See `require_root`."""
        return require_root(self.kind, self.root)


DEBUG_CLOTHED = 100
"""Pictures of clothed people that are drawn anew for every run."""
ClothedKind = Literal["clothed", "debug", "renderpeople", "mvp", "thuman"]
USER_CLOTHED = ("renderpeople", "mvp", "thuman")
"""Kinds of clothed people that are read from the user's copy."""


@dataclass(frozen=True)
class ClothedData(DataConfig):
    """Pictures of clothed people with bodies, normals and points; test people are of unseen ranges."""

    kind: ClothedKind = "clothed"
    """clothed: made people, drawn when first asked for; debug: a few people of capsules, in memory;
    renderpeople, mvp and thuman read ``root``."""
    size: int = 128
    """Side of the square picture, in pixels."""
    people: int = 64
    """Training people of a made set."""
    val_people: int = 8
    """Validation people."""
    test_people: int = 12
    """Test people: of shapes, clothes and poses that training never saw."""
    pictures: int = 4
    """Poses and views of each of them."""
    points: int = 4096
    """Surface points kept of each person; as many near it, a quarter around."""
    set_seed: int = 0
    """Which people."""
    surface: int = 1000
    """Surface points of a picture in a batch."""
    near: int = 1000
    """Points near the surface of a picture in a batch."""
    box: int = 256
    """Points around of a picture in a batch."""
    flip: bool = False
    """Mirror every other training picture."""
    root: str | None = field(default=None, metadata=NO_HASH)
    """renderpeople, mvp, thuman: the user's copy."""
    workers: int = field(default=0, metadata=NO_HASH)
    """Processes that read; 0 = in the training process."""

    def __post_init__(self) -> None:
        check_range("data", "size", self.size, 16, 1024)
        for name in ("people", "val_people", "test_people", "pictures"):
            check_range("data", name, getattr(self, name), 1, 1_000_000)
        for name in ("points", "surface", "near", "box"):
            check_range("data", name, getattr(self, name), 4, 1_000_000)
        check_range("data", "workers", self.workers, 0, 256)
        refuse_inapplicable(self, self.kind, {"root": USER_CLOTHED})
        if self.kind in USER_CLOTHED:
            for name in ("people", "val_people", "test_people", "pictures", "points", "size"):
                if getattr(self, name) != getattr(ClothedData, name):
                    raise ConfigError(f"data.{name} does not apply to kind={self.kind!r}, which has its own")
        drawn = (self.people + self.val_people + self.test_people) * self.pictures
        if self.kind == "debug" and drawn > DEBUG_CLOTHED:
            raise ConfigError(
                f"data.kind='debug' draws {DEBUG_CLOTHED} pictures at most, not {drawn}; lower data.people or"
                " pictures, or use kind='clothed'"
            )

    def folder(self) -> Path:
        """See `require_root`."""
        return require_root(self.kind, self.root)


PhysicalKind = Literal["made", "debug", "comphy"]


@dataclass(frozen=True)
class PhysicalData(DataConfig):
    """Sets of short videos in ComPhy's manner: a target, and references of some of its objects."""

    kind: PhysicalKind = "made"
    """made: colliding, charged discs, drawn as they are needed; debug: a few; comphy reads ``root``."""
    root: str | None = field(default=None, metadata=NO_HASH)
    """comphy: folder of the copy."""
    height: int = 48
    """Pixels of the pictures, even; they are half as wide again."""
    stride: int = 3
    """Every so manieth frame is looked at."""
    sets: int = 300
    """Training sets, at most as many as there are."""
    val_sets: int = 20
    """Validation sets."""
    test_sets: int = 80
    """Test sets."""
    refs: int = 4
    """References of a set."""
    background: Literal["plain", "textured"] = "plain"
    """Of made pictures."""
    asked: int = 8
    """Questions of each template about a made set, before they are balanced."""
    set_seed: int = 0
    """Which made sets."""

    def __post_init__(self) -> None:
        check_range("data", "height", self.height, 16, 512)
        check_range("data", "stride", self.stride, 1, 25)
        check_range("data", "refs", self.refs, 1, 16)
        check_range("data", "asked", self.asked, 1, 1000)
        for name in ("sets", "val_sets", "test_sets"):
            check_range("data", name, getattr(self, name), 1, 10_000)
        if self.height % 4:
            raise ConfigError(f"data.height={self.height} must be a multiple of 4")
        refuse_inapplicable(self, self.kind, {"root": ("comphy",)})

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures, 2 : 3 as ComPhy's."""
        return self.height, self.height * 3 // 2

    def require_root(self) -> Path:
        """See `require_root`."""
        return require_root(self.kind, self.root)


CapsuleKind = Literal["heads3d", "param", "debug", "orl", "celeba", "bfm", "bp4d", "multipie"]
CAPSULE_MADE = ("heads3d", "param", "debug")
"""Kinds of faces for capsules that are made; they hold all truth."""
USER_CAPSULES = ("celeba", "bfm", "bp4d", "multipie")
"""Kinds that are read from the user's copy."""


@dataclass(frozen=True)
class CapsuleData(DataConfig):
    """Single pictures of faces for graphics capsules; people of the three parts never overlap."""

    kind: CapsuleKind = "heads3d"
    """heads3d: rendered people, drawn when first asked for; param: heads that are formulas, likewise; debug:
    a few of those, in memory; orl: 400 real grey pictures; celeba, bfm, bp4d and multipie read ``root``."""
    size: int = 64
    """Side of the square picture, in pixels."""
    people: int = 400
    """Training people of a made set."""
    val_people: int = 40
    """Validation people."""
    test_people: int = 100
    """Test people."""
    per_identity: int = 5
    """Pictures of each of them, from different sides."""
    hard: bool = False
    """param, debug: some heads have a lock before the forehead, glasses, or are asymmetric."""
    set_seed: int = 0
    """Which made people; of orl, bp4d and multipie: which people are tested on."""
    root: str | None = field(default=None, metadata=NO_HASH)
    """celeba, bfm, bp4d, multipie: the user's copy."""
    limit: int | None = None
    """Pictures of a part of a user's set, at most, evenly spread (default: all, in memory)."""
    workers: int = field(default=0, metadata=NO_HASH)
    """Processes that draw; 0 = all cores."""

    def __post_init__(self) -> None:
        check_range("data", "size", self.size, 16, 512)
        for name in ("people", "val_people", "test_people", "per_identity"):
            check_range("data", name, getattr(self, name), 1, 1_000_000)
        check_range("data", "limit", self.limit, 1)
        check_range("data", "workers", self.workers, 0, 256)
        refuse_inapplicable(self, self.kind, dict.fromkeys(("root", "limit"), USER_CAPSULES))
        if self.kind not in CAPSULE_MADE:
            for name in ("people", "val_people", "test_people", "per_identity"):
                if getattr(self, name) != getattr(CapsuleData, name):
                    raise ConfigError(f"data.{name} does not apply to kind={self.kind!r}, which has its own")
        if self.hard and self.kind not in ("param", "debug"):
            raise ConfigError(f"data.hard does not apply to kind={self.kind!r}, only to param and debug")

    def folder(self) -> Path:
        """See `require_root`."""
        return require_root(self.kind, self.root)


PadKind = Literal[
    "rendered",
    "debug",
    "casia_surf",
    "cefa",
    "wmca",
    "hifimask",
    "flexible",
    "oulu",
    "replay_attack",
    "casia_fasd",
    "msu_mfsd",
    "suhifimask",
    "made",
    "ocim",
    "csv",
    "shards",
]
PAD_MADE = ("rendered", "debug")


@dataclass(frozen=True)
class PadData(DataConfig):
    """Live faces and presentation attacks in up to three modalities; subjects of the splits never overlap."""

    kind: PadKind = "rendered"
    """rendered: made people and devices, drawn when first asked for; debug: noise; others read ``root``;
    made: a folder of ``mien data make pad``."""
    size: int = 64
    """Side of the square input, in pixels."""
    root: str | None = field(default=None, metadata=NO_HASH)
    """Folder of the user's copy (csv: the table itself; ocim: the folder that holds the sets' folders;
    shards: also ``DIR/{000..003}.tar``)."""
    protocol: str | None = None
    """Protocol of a user's set, as its reader names them (default: its first)."""
    convention: Literal["live1", "live0"] | None = None
    """csv: which label means live."""
    subjects: tuple[int, int, int] | None = None
    """People of a made set: training, development, test (default 150, 50, 100)."""
    each: tuple[int, int, int] | None = None
    """Presentations of each of them (default 16, 12, 15)."""
    devices: tuple[int, int, int] | None = None
    """Devices of a made set, all different (default 4, 2, 3)."""
    set_seed: int = 0
    """Which people and devices of a made set."""
    unseen: tuple[str, ...] = ()
    """Species of attack that training and development do not contain."""
    balance: bool = True
    """Each epoch repeats presentations of the smaller class until both are as many."""
    augment: Literal["none", "pad"] = "pad"
    """Training augmentation: pad moves all pictures of a sample alike and changes the light of each alone."""
    workers: int = field(default=0, metadata=NO_HASH)
    """Processes that read and augment; 0 = in the training process."""
    buffer: int | None = None
    """shards: pictures that are mixed with each other (default 5000)."""

    def __post_init__(self) -> None:
        check_range("data", "size", self.size, 16, 512)
        check_range("data", "workers", self.workers, 0, 256)
        check_range("data", "buffer", self.buffer, 1)
        for name in ("subjects", "each", "devices"):
            for value in getattr(self, name) or ():
                check_range("data", name, value, 1, 1_000_000)
        user = tuple(k for k in get_args(PadKind) if k not in PAD_MADE)
        table: dict[str, tuple[str, ...]] = dict.fromkeys(("subjects", "each", "devices"), PAD_MADE)
        refuse_inapplicable(
            self,
            self.kind,
            {
                **table,
                "root": user,
                "protocol": tuple(k for k in user if k not in ("csv", "shards")),
                "convention": ("csv",),
                "buffer": ("shards",),
            },
        )

    def require_root(self) -> Path:
        """See `require_root`; a list may be given as its file."""
        return require_root(self.kind, self.root, may_be_file=self.kind == "csv")


def _check_normalisation(means: tuple[float, ...], stds: tuple[float, ...], channels: int) -> None:
    if len(means) != channels or len(stds) != channels:
        raise ConfigError(f"data.mean and data.std need {channels} value(s), one per channel")
    for mean, std in zip(means, stds, strict=True):
        check_range("data", "mean", mean, -1e9, 1e9)
        check_range("data", "std", std, 1e-9, 1e9)


def require_root(kind: str, root: str | None, *, may_be_file: bool = False) -> Path:
    """The folder of the user's copy.

    Args:
        kind: of set, for the message.
        root: what the user gave.
        may_be_file: a single file will do as well.

    Raises:
        ConfigError: none was given.
        DataError: it does not exist, or is a file; names of shards are not looked at.
    """
    if root is None:
        raise ConfigError(f"data.kind={kind!r} reads your copy: give its folder with --data.root DIR")
    path = Path(root).expanduser()
    if kind == "shards":  # names with braces are read by `mien.data.tar_samples.shard_paths`
        return path
    if not path.is_dir() and not (may_be_file and path.is_file()):
        what = "a file, not a folder" if path.is_file() else "no such folder"
        raise DataError(f"data.root={root}: {what}; give the folder that holds your copy of {kind!r}")
    return path
