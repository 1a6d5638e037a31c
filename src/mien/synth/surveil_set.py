"""The made twin of SuHiFiMask: rendered people and attacks before seven cameras, in the real set's layout.

``CASIA_SuHiFiMask/Data/<video>/id_<track>/<frame>_<subject>_<label>.jpg`` and ``protocol/`` with the lists of
all six protocols; beside them ``labels.toml`` (what the labels are here), ``truth.jsonl`` (what was drawn for
each picture), ``set.json``, ``sheet.png`` and ``card.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from mien.core import io
from mien.core.errors import DataError
from mien.core.images import read_image
from mien.core.seeds import derive
from mien.metrics.quality import quality_scores
from mien.synth.audit import held_out_auc
from mien.synth.maker import check_ranges, claim_folder, run_all
from mien.synth.sheet import contact_sheet
from mien.synth.surveil_cast import KINDS, STATIC
from mien.synth.surveil_frames import Track, jpeg_bytes, track_frames
from mien.synth.surveil_protocols import SUBJECTS, protocol_lists
from mien.synth.surveil_scenes import SCENES

FOLDER = "CASIA_SuHiFiMask"
VERSION = 1
CAMERAS = 7
SHARES = (0.50, 0.065, 0.065, 0.065, 0.065, 0.0625, 0.0625, 0.038, 0.038, 0.039)
"""Share of the tracks that have each label; about those of the real set's P3."""
INSTRUMENTS = 58
"""Different faces that masks, prints and displays show; none of them is a subject."""


@dataclass(frozen=True)
class SurveilSet:
    """SuHiFiMask's twin: 101 rendered adults, forty places, seven cameras, nine kinds of attack."""

    kind: ClassVar[str] = "suhifimask"
    tracks: int = 512
    """Face tracks, about."""
    frames: int = 8
    """Pictures of each track; P3 sorts them by quality into train, dev and test."""
    size: int = 48
    """Pixels a side, 32 to 256."""
    seed: int = 0
    """Same seed, same pictures, whatever the number of workers."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range.
        """
        check_ranges(self, tracks=(10, 1_000_000), frames=(1, 1000), size=(32, 256))


@dataclass(frozen=True)
class Video:
    """One video of the plan.

    Attributes:
        name: of its folder.
        subject: 1 to 101; 0: nobody.
        label: of its tracks.
        numbers: k of the folders ``id_k``.
        tracks: what they show.
        facts: group, scene, camera and epoch.
    """

    name: str
    subject: int
    label: int
    numbers: tuple[int, ...]
    tracks: tuple[Track, ...]
    facts: dict[str, int]


def plan(settings: SurveilSet) -> list[Video]:
    """All videos of a set. Two tracks each, one where nobody carries the instrument. O(tracks)."""
    videos: list[Video] = []
    for label, share in enumerate(SHARES):
        each = 1 if label >= STATIC else 2
        count = max(1, round(settings.tracks * share / each))
        rng = np.random.default_rng(derive(settings.seed, "plan", label))
        deal = {
            "subject": _dealt(rng, SUBJECTS, count),
            "scene": _dealt(rng, SCENES, count),
            "camera": _dealt(rng, CAMERAS, count),
        }
        for n in range(count):
            drawn = {name: values[n] for name, values in deal.items()}
            videos.append(_video(settings, label, n, each, drawn))
    return videos


def _dealt(rng: np.random.Generator, many: int, count: int) -> list[int]:
    """1 .. many in random order, again and again, so that all come about equally often."""
    rounds = [rng.permutation(many) + 1 for _ in range(-(-count // many))]
    return [int(v) for v in np.concatenate(rounds)[:count]]


def _video(settings: SurveilSet, label: int, n: int, each: int, drawn: dict[str, int]) -> Video:
    seed = derive(settings.seed, "video", label, n)
    rng = np.random.default_rng(seed)
    is_static = label >= STATIC
    subject = 0 if is_static else drawn["subject"]
    group = int(rng.integers(1, 11)) if is_static else 1 + (subject - 1) * 10 // SUBJECTS
    epoch = int(rng.integers(1, 11))
    moment = datetime(2022, 1, 1) + timedelta(milliseconds=int(rng.integers(0, 90 * 86_400_000)))
    stamp = f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}"
    facts = {"group": group, "scene": drawn["scene"], "camera": drawn["camera"], "epoch": epoch}
    name = f"G{group:02d}_S{facts['scene']}_C{facts['camera']}_E{epoch:02d}_T{stamp}"
    own = np.cumsum(rng.integers(0, 4, each) + np.minimum(np.arange(each), 1))
    numbers = (-1,) if is_static else tuple(int(k) for k in own)
    shown = derive(settings.seed, "instrument", int(rng.integers(INSTRUMENTS)))
    person = derive(settings.seed, "subject", subject)
    tracks = tuple(
        Track(label, person, shown, facts["scene"], facts["camera"], derive(seed, "track", k), seed)
        for k in range(each)
    )
    return Video(name, subject, label, numbers, tracks, facts)


def make_suhifimask(
    settings: SurveilSet,
    output: str | Path,
    workers: int = 1,
    done: Callable[[int, int], None] = lambda n, of: None,
) -> Path:
    """Makes what is missing of a set; some 40 ms of a core a picture of 48 pixels.

    Args:
        settings: the set.
        output: its folder; made if need be.
        workers: processes.
        done: called with (finished, all) videos.

    Returns:
        ``output``; the set proper is ``CASIA_SuHiFiMask`` in there.

    Raises:
        DataError: the folder holds something else, or a set made with other settings.
        MienError: the disk is full; finished videos are whole, the same command goes on.
    """
    output = Path(output)
    claim_folder(output, {"kind": settings.kind, "version": VERSION, **asdict(settings)})
    videos = plan(settings)
    missing = [v for v in videos if not (output / FOLDER / "Data" / v.name).exists()]
    missing.sort(key=lambda v: v.subject)  # a person is made once for all of her or his videos
    done(len(videos) - len(missing), len(videos))
    finished = len(videos) - len(missing)
    for _ in run_all(partial(_write, settings, output), missing, workers):
        finished += 1
        done(finished, len(videos))
    _finish(settings, output, videos)
    return output


def _write(settings: SurveilSet, output: Path, video: Video) -> str:
    """One video and the truth of its pictures, whole or not at all."""
    rows = []
    with io.new_folder(output / FOLDER / "Data" / video.name) as folder:
        for k, track in zip(video.numbers, video.tracks, strict=True):
            (folder / f"id_{k}").mkdir()
            for frame in track_frames(track, settings.frames, settings.size):
                file = f"id_{k}/{frame.number}_{video.subject}_{video.label}.jpg"
                (folder / file).write_bytes(jpeg_bytes(frame.picture))
                rows.append({
                    "path": f"{FOLDER}/Data/{video.name}/{file}", "video": video.name, "track": k,
                    "frame": frame.number, "subject": video.subject, "label": video.label,
                    "kind": KINDS[video.label], **video.facts, "light": frame.light,
                    "weather": frame.record.get("weather", "indoors"), "head_px": round(frame.head, 2),
                    "quality": round(1 - frame.record["severity"], 6), "surveil": frame.record,
                })  # fmt: skip
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        io.write_text(output / "truth" / f"{video.name}.jsonl", text)
    return video.name


def _finish(settings: SurveilSet, output: Path, videos: Sequence[Video]) -> None:
    """Truth in one file, lists, names of the labels, sheet and card."""
    rows = [row for v in videos for row in io.read_lines(output / "truth" / f"{v.name}.jsonl")]
    if len(rows) != settings.frames * sum(len(v.tracks) for v in videos):
        where = output / "truth"
        raise DataError(f"{where}: truth of some videos is missing; delete {output} and make it again")
    place = output / FOLDER
    io.write_text(place / "truth.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    for name, lines in protocol_lists(rows).items():
        io.write_text(place / "protocol" / f"{FOLDER}@{name}.txt", "".join(f"{line}\n" for line in lines))
    names = "".join(f'{n} = "{kind}"\n' for n, kind in enumerate(KINDS))
    io.write_text(place / "labels.toml", f"[labels]\n{names}")
    with io.new_file(output / "sheet.png") as part:
        Image.fromarray(_sheet(output, rows)).save(part, format="png")
    io.write_text(output / "card.md", _card(settings, rows, len(videos), quality_shortcut(output, rows)))


def quality_shortcut(output: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """AUC of live against attack on held-out people from quality alone and from mean colour alone.

    Both must stay near 1/2, or a classifier could do without looking at faces. O(pixels).

    Args:
        output: folder of the set.
        rows: truth of its pictures.
    """
    pictures = np.stack([read_image(output / row["path"]) for row in rows])
    live = np.array([row["label"] == 0 for row in rows])
    who = np.array([row["subject"] or -row["scene"] for row in rows])
    quality = quality_scores(pictures)
    features = {
        "quality": np.stack([quality.sharpness, quality.noise, quality.blockiness, quality.q], 1),
        "mean colour": pictures.mean((1, 2)),
    }
    return {name: held_out_auc(values, live, who) for name, values in features.items()}


def _sheet(output: Path, rows: Sequence[dict[str, Any]]) -> Any:
    """Rows: labels; columns: of each camera the picture of the highest and of the lowest quality."""
    best: dict[tuple[int, int, bool], dict[str, Any]] = {}
    for row in rows:
        for is_sharp in (True, False):
            key = (row["label"], row["camera"], is_sharp)
            known = best.get(key)
            if known is None or (row["quality"] > known["quality"]) == is_sharp:
                best[key] = row
    size = np.asarray(Image.open(output / rows[0]["path"])).shape[0]
    blank = np.full((size, size, 3), 255, np.uint8)
    pictures = []
    for label in range(len(KINDS)):
        for camera in range(1, CAMERAS + 1):
            for is_sharp in (True, False):
                found = best.get((label, camera, is_sharp))
                image = blank if found is None else np.asarray(Image.open(output / found["path"]))
                pictures.append(image.repeat(2, 0).repeat(2, 1))
    return contact_sheet(pictures, 2 * CAMERAS)


def _card(
    settings: SurveilSet, rows: Sequence[dict[str, Any]], videos: int, shortcut: dict[str, float]
) -> str:
    counts = ", ".join(f"{k} {sum(r['kind'] == k for r in rows):,}" for k in KINDS)
    tracks = len({(r["video"], r["track"]) for r in rows})
    audit = ", ".join(f"{name} alone {value:.3f}" for name, value in shortcut.items())
    return "\n".join((
        f"# Made set: {settings.kind}\n",
        f"{len(rows):,} pictures of {settings.size} pixels, {tracks:,} tracks of {settings.frames} frames,"
        f" {videos:,} videos, seed {settings.seed}, in the layout and with the lists of SuHiFiMask.",
        "Rendered by mien from the CC0 MakeHuman / MPFB2 human: adults, no real person, no real place.\n",
        f"Pictures: {counts}. Label 0 is live.\n",
        f"Shortcut audit (AUC on held-out people): {audit}.\n",
        "What each label shows, who is in which list and which frames are good is a reconstruction; numbers",
        "measured here say how an algorithm works, not how it does on the real set.\n",
        "Files: CASIA_SuHiFiMask/Data, protocol, labels.toml, truth.jsonl (what was drawn); sheet.png shows",
        "of each label (row) and camera the best and the worst picture.\n",
    ))  # fmt: skip
