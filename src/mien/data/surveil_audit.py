"""Do the splits of a SuHiFiMask protocol share people, tracks, videos or frames, and what does it tell?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mien.core.errors import DataError
from mien.data.suhifimask import SPLITS, SuHiFiMask, SurveilSample, grouped
from mien.data.suhifimask_names import NOBODY
from mien.data.suhifimask_official import OFFICIAL, OFFICIAL_SHARED, OFFICIAL_TRACK_LABELS
from mien.metrics.rates import auc


class SplitCounts(NamedTuple):
    """What one split holds.

    Attributes:
        images: pictures.
        tracks: face tracks.
        videos: video folders.
        subjects: people, without subject 0.
        track_labels: label -> tracks.
        image_labels: label -> pictures.
        cameras: camera -> pictures.
        scenes: how many different ones.
    """

    images: int
    tracks: int
    videos: int
    subjects: int
    track_labels: Mapping[int, int]
    image_labels: Mapping[int, int]
    cameras: Mapping[int, int]
    scenes: int


class Shared(NamedTuple):
    """How many of each two splits have in common; of subjects, without subject 0."""

    subjects: int
    tracks: int
    videos: int
    frames: int


@dataclass(frozen=True)
class ProtocolAudit:
    """What `protocol_audit` found.

    Attributes:
        counts: split -> what it holds.
        shared: (split, split) -> what both hold.
        mixed_tracks: tracks that show several subjects or labels within one split.
        memoriser: AUC on the test of a rule that only remembers which tracks of the training were live (1/2
            where a track is new); 0.5 = nothing leaks this way. None without train and test.
    """

    counts: Mapping[str, SplitCounts]
    shared: Mapping[tuple[str, str], Shared]
    mixed_tracks: tuple[str, ...]
    memoriser: float | None

    @property
    def leaks(self) -> bool:
        """Some subject, track or frame is in two splits."""
        return any(s.subjects or s.tracks or s.frames for s in self.shared.values())

    def lines(self) -> list[str]:
        """The audit in words, one finding a line."""
        out = [_count_line(split, c) for split, c in self.counts.items()]
        for (a, b), s in self.shared.items():
            if not any(s):
                out.append(f"{a} and {b}: no subject, track, video or frame in common")
                continue
            out.append(
                f"{a} and {b} share {s.tracks:,} tracks, {s.videos:,} videos, {s.subjects:,} subjects,"
                f" {s.frames:,} frames"
            )
        if self.leaks:
            out.append(
                "LEAK: faces of the test were seen in training, so a model that remembers tracks scores well;"
                " report p1 or p3_strict next to it"
            )
        if self.memoriser is not None:
            out.append(f"a rule that only remembers training tracks has AUC {self.memoriser:.3f} on the test")
        if self.mixed_tracks:
            n = len(self.mixed_tracks)
            out.append(f"{n:,} tracks show several subjects or labels, e.g. {self.mixed_tracks[0]}")
        return out

    def label_table(self) -> list[list[str]]:
        """Tracks of each label: header, then a row for each split; "n/a" where there is none."""
        return _table("label", {s: c.track_labels for s, c in self.counts.items()}, range(10))

    def camera_table(self) -> list[list[str]]:
        """Pictures of each camera, as `label_table`."""
        return _table("camera", {s: c.cameras for s, c in self.counts.items()}, range(1, 8))


def protocol_audit(lists: Mapping[str, Sequence[SurveilSample]]) -> ProtocolAudit:
    """Counts and compares the splits of one protocol. O(N) time and memory; no picture is opened.

    Args:
        lists: split -> its pictures (level "image"), e.g. ``{s: SuHiFiMask(root, "p3", s) for s in SPLITS}``.

    Raises:
        DataError: no lists, or an empty one.
    """
    if not lists or not all(map(len, lists.values())):
        raise DataError("protocol_audit: give split -> pictures, each with at least one")
    tracks = {s: grouped(samples, "track") for s, samples in lists.items()}
    units = {split: _units(samples) for split, samples in lists.items()}
    shared = {
        (a, b): Shared(*(len(x & y) for x, y in zip(units[a], units[b], strict=True)))
        for a, b in combinations(lists, 2)
    }
    mixed = {
        f"{video}/id_{track}"
        for groups in tracks.values()
        for (video, track), n in Counter(g.key for g in groups).items()
        if n > 1
    }
    both = "train" in lists and "test" in lists
    return ProtocolAudit(
        {s: _counts(samples, tracks[s]) for s, samples in lists.items()},
        shared,
        tuple(sorted(mixed)),
        track_memoriser(lists["train"], lists["test"]) if both else None,
    )


def _units(samples: Sequence[SurveilSample]) -> tuple[set[Any], ...]:
    """Subjects, tracks, videos and frames, in the order of `Shared`."""
    return (
        {s.subject for s in samples} - {NOBODY},
        {s.key for s in samples},
        {s.video for s in samples},
        {(s.key, s.frame, s.subject, s.label) for s in samples},
    )


def _counts(samples: Sequence[SurveilSample], tracks: Sequence[SurveilSample]) -> SplitCounts:
    return SplitCounts(
        len(samples),
        len({s.key for s in samples}),
        len({s.video for s in samples}),
        len({s.subject for s in samples} - {NOBODY}),
        dict(sorted(Counter(t.label for t in tracks).items())),
        dict(sorted(Counter(s.label for s in samples).items())),
        dict(sorted(Counter(s.camera for s in samples).items())),
        len({s.scene for s in samples}),
    )


def _count_line(split: str, c: SplitCounts) -> str:
    live = c.image_labels.get(0, 0)
    return (
        f"{split}: {c.images:,} images ({live:,} live) of {c.tracks:,} tracks, {c.videos:,} videos,"
        f" {c.subjects} subjects, {c.scenes} scenes, {len(c.cameras)} cameras"
    )


def _table(what: str, rows: Mapping[str, Mapping[int, int]], columns: range) -> list[list[str]]:
    head = ["split", *(f"{what} {k}" for k in columns)]
    return [head, *([s, *(f"{r[k]:,}" if k in r else "n/a" for k in columns)] for s, r in rows.items())]


def track_memoriser(train: Sequence[SurveilSample], test: Sequence[SurveilSample]) -> float:
    """AUC of a rule without eyes: 1 for tracks that were live in training, 0 for attacks, 1/2 for new ones.

    O(N log N).

    Raises:
        DataError: a test of one class.
    """
    seen: dict[tuple[str, int | None], list[int]] = {}
    for s in train:
        seen.setdefault(s.key, []).append(int(s.live))
    scores = np.array([float(np.mean(seen.get(s.key, [0.5]))) for s in test])
    return auc(scores, np.array([s.live for s in test]))


def audit_protocol(root: str | Path, protocol: str = "p3") -> ProtocolAudit:
    """`protocol_audit` of the lists below a folder.

    Raises:
        ConfigError: no such protocol.
        DataError: lists are missing or damaged.
    """
    return protocol_audit({s: SuHiFiMask(root, protocol, s) for s in SPLITS})


def compare_official(audit: ProtocolAudit, protocol: str) -> list[str]:
    """A line for each number that is not that of the official lists; nothing where all agree.

    Args:
        audit: of the splits of ``protocol``.
        protocol: its name; of p3_strict nothing is official.
    """
    out = []
    for split, counts in audit.counts.items():
        pairs: list[tuple[str, int, int]] = []
        if wanted := OFFICIAL.get(protocol, {}).get(split):
            pairs += [("tracks", counts.tracks, wanted.tracks), ("images", counts.images, wanted.images)]
        for label, n in enumerate(OFFICIAL_TRACK_LABELS.get((protocol, split), ())):
            pairs.append((f"tracks of label {label}", counts.track_labels.get(label, 0), n))
        out += [
            f"{protocol} {split}: {found:,} {what}, official {n:,}" for what, found, n in pairs if found != n
        ]
    for (a, b), n in OFFICIAL_SHARED.get(protocol, {}).items():
        pair = audit.shared.get((a, b))
        if pair is not None and pair.tracks != n:
            out.append(f"{protocol}: {pair.tracks:,} tracks in both {a} and {b}, official {n:,}")
    return out
