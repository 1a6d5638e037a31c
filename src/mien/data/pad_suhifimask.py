"""SuHiFiMask among the other anti-spoofing sets: colour pictures, one presentation a face track."""

from __future__ import annotations

from pathlib import Path

from mien.data.pad_reader import PadCounts, PadReader
from mien.data.pad_sample import PadList, PadSample
from mien.data.suhifimask import PROTOCOLS, SPLITS, STRICT, SuHiFiMask, SurveilSample
from mien.data.suhifimask_names import FOLDER, NOBODY
from mien.data.suhifimask_official import OFFICIAL, OFFICIAL_TRACK_LABELS

P3_NOTE = (
    "p3: by design of its authors, splits share subjects and tracks and differ by frame; report p1 or"
    " p3_strict next to it"
)


def _sample(s: SurveilSample) -> PadSample:
    return PadSample(
        {"rgb": s.path},
        int(s.live),
        s.pai,
        "" if s.subject == NOBODY else str(s.subject),
        f"C{s.camera}",
        f"G{s.group} E{s.epoch}",
        f"S{s.scene}",
        f"{s.video}/id_{s.track}",
        str(s.frame),
    )


def _suhifimask(place: Path, protocol: str, split: str) -> PadList:
    samples = tuple(map(_sample, SuHiFiMask(place, protocol, split)))
    return PadList("suhifimask", protocol, split, samples, P3_NOTE if protocol == "p3" else "")


def _counts(protocol: str, split: str) -> PadCounts:
    sizes, labels = OFFICIAL[protocol][split], OFFICIAL_TRACK_LABELS.get((protocol, split))
    return PadCounts(sizes.tracks, sizes.images, labels[0] if labels else None)


SuHiFiMaskPad = PadReader(
    "suhifimask",
    "SuHiFiMask: masks, prints and screens far from seven surveillance cameras, colour",
    FOLDER,
    ("p3", *(p for p in PROTOCOLS if p != "p3")),
    SPLITS,
    lambda p: any(p.glob(f"protocol/{FOLDER}@*.txt")),
    _suhifimask,
    {p: {s: _counts(p, s) for s in SPLITS} for p in PROTOCOLS if p != STRICT},
    shares=("p3",),
)
"""SuHiFiMask (root, protocol, split) as a `PadList`; a presentation is a face track. See `SuHiFiMask`."""
