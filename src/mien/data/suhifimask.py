"""SuHiFiMask: live faces, masks and flat attacks far from seven surveillance cameras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args, overload

import numpy as np

from mien.core.errors import ConfigError, DataError
from mien.core.seeds import keys_of, uniform
from mien.data.suhifimask_names import FOLDER, NOBODY, SurveilLine, label_names, read_surveil_list

Level = Literal["image", "track", "video"]
SPLITS = ("train", "dev", "test")
OFFICIAL_PROTOCOLS = ("p1", "p2.1", "p2.2", "p2.3", "p2.4", "p3")
STRICT = "p3_strict"
PROTOCOLS = (*OFFICIAL_PROTOCOLS, STRICT)
STRICT_SHARES = {"train": 0.45, "dev": 0.25, "test": 0.3}
"""Share of the subjects, and of the scenes of what nobody carries, that `strict_parts` gives each split."""


@dataclass(frozen=True, slots=True)
class SurveilSample:
    """One picture, or the pictures that one split has of one track or video.

    Attributes:
        path: of the picture, or of the folder of the track or video.
        listed: the same as the list has it.
        group: 1 to 10.
        scene: 1 to 40.
        camera: 1 to 7.
        epoch: 1 to 10.
        time: when the video begins.
        video: name of its folder.
        track: number of the face track in its video, no identity; -1: static; None: a whole video.
        subject: who presents; 0: nobody.
        frame: number of the picture; None: a track or video.
        label: 0 live, 1 to 9 the kind of attack.
        pai: name of the label.
        images: the pictures, in the order of their frames.
    """

    path: Path
    listed: str
    group: int
    scene: int
    camera: int
    epoch: int
    time: datetime
    video: str
    track: int | None
    subject: int
    frame: int | None
    label: int
    pai: str
    images: tuple[Path, ...]

    @property
    def live(self) -> bool:
        """Bona fide: label 0; lists of the challenge pack have it the other way round."""
        return self.label == 0

    @property
    def key(self) -> tuple[str, int | None]:
        """The track: folder of its video, and number."""
        return self.video, self.track


class SuHiFiMask(Sequence[SurveilSample]):
    """The samples of one split; lists are read, no picture is opened. O(lines).

    Tracks and videos are the pictures that the *image* list of the split has of them: in P3 the splits share
    tracks and differ by frame, so the folder of a track also holds frames of other splits. A folder with
    several subjects or labels gives a sample for each.

    Args:
        root: the set's folder, or the one that holds it.
        protocol: one of `PROTOCOLS`. p3_strict is built from the lists of p3 (see `strict_parts`).
        split: train, dev or test.
        level: what a sample is.
        labels: label -> name, over the set's ``labels.toml``, over `mien.data.suhifimask_names.LABELS`.

    Raises:
        ConfigError: no such protocol, split or level.
        DataError: a list is missing or damaged.

    Attributes:
        root: the set's own folder.
        labels: names of the labels.
    """

    def __init__(
        self,
        root: str | Path,
        protocol: str = "p3",
        split: str = "test",
        level: Level = "image",
        labels: Mapping[int, str] | None = None,
    ) -> None:
        levels = get_args(Level)
        known = (("protocol", protocol, PROTOCOLS), ("split", split, SPLITS), ("level", level, levels))
        for what, value, choices in known:
            if value not in choices:
                raise ConfigError(f"SuHiFiMask: no {what} {value!r}; there are {', '.join(choices)}")
        self.root, self.protocol, self.split, self.level = place_of(root), protocol, split, level
        self.labels = label_names(self.root, labels)
        if protocol == STRICT:
            lists = {s: self._read("p3", s) for s in SPLITS}
            samples = strict_parts(lists)[split]
        else:
            samples = self._read(protocol, split)
        self._samples = tuple(samples if level == "image" else grouped(samples, level))

    def _read(self, protocol: str, split: str) -> list[SurveilSample]:
        path = list_path(self.root, protocol, split)
        if not path.is_file():
            raise DataError(f"{path}: no such list; put those of the set's authors there")
        return [self._sample(path, line) for line in read_surveil_list(path)]

    def _sample(self, path: Path, line: SurveilLine) -> SurveilSample:
        name, label = line.name, line.label
        if name.frame is None or name.subject is None:
            raise DataError(f"{path}:{line.number}: {line.path} is a folder; image lists name pictures")
        if label not in self.labels:
            known = ", ".join(map(str, self.labels))
            raise DataError(f"{path}:{line.number}: label {label} is none of {known}; name it in labels.toml")
        file = self.root / line.path.removeprefix(f"{FOLDER}/")
        return SurveilSample(
            file, line.path, name.group, name.scene, name.camera, name.epoch, name.time,
            line.path.rsplit("/", 3)[-3], name.track, name.subject, name.frame, label, self.labels[label],
            (file,),
        )  # fmt: skip

    @overload
    def __getitem__(self, index: int) -> SurveilSample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SurveilSample, ...]: ...
    def __getitem__(self, index: int | slice) -> SurveilSample | tuple[SurveilSample, ...]:
        """A sample, or some."""
        return self._samples[index]

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[SurveilSample]:
        return iter(self._samples)


def place_of(root: str | Path) -> Path:
    """The set's own folder: ``root``, or ``CASIA_SuHiFiMask`` in there."""
    inner = Path(root).expanduser() / FOLDER
    return inner if inner.is_dir() else Path(root).expanduser()


def list_path(place: Path, protocol: str, split: str, kind: Literal["image", "video"] = "image") -> Path:
    """Where the list of a split lies; lists of kind "video" name track folders."""
    return place / "protocol" / f"{FOLDER}@{protocol}_{kind}_{split}.txt"


def grouped(samples: Iterable[SurveilSample], level: Literal["track", "video"]) -> list[SurveilSample]:
    """One sample for each track (or video), subject and label, ordered by first pictures. O(N log N).

    Args:
        samples: pictures of one split.
        level: what a group is.
    """
    groups: dict[tuple[str, int | None, int, int], list[SurveilSample]] = {}
    for sample in samples:
        track = sample.track if level == "track" else None
        groups.setdefault((sample.video, track, sample.subject, sample.label), []).append(sample)
    return [_joined(track, members) for (_, track, _, _), members in groups.items()]


def _joined(track: int | None, members: list[SurveilSample]) -> SurveilSample:
    members = sorted(members, key=lambda s: (s.track or 0, s.frame or 0))
    first, up = members[0], 1 if track is not None else 2
    return replace(
        first,
        path=first.path.parents[up - 1],
        listed=first.listed.rsplit("/", up)[0],
        track=track,
        frame=None,
        images=tuple(s.path for s in members),
    )


def strict_parts(lists: Mapping[str, Sequence[SurveilSample]]) -> dict[str, list[SurveilSample]]:
    """P3 without its leak: frames keep their split, and are dropped where their subject belongs to another.

    The rule: all subjects of the lists, ordered by a hash of their number, are dealt to train, dev and test
    by `STRICT_SHARES`; what nobody carries (subject 0) is dealt by scene. So no subject, no track and no
    static instrument is in two splits, and the shift of quality between the splits stays. O(N).

    Args:
        lists: split -> pictures of P3.
    """
    units = {_unit(s) for samples in lists.values() for s in samples}
    owner: dict[str, str] = {}
    for kind in ("subject", "scene"):
        names = sorted(u for u in units if u.startswith(kind))
        if not names:
            continue
        order = np.argsort(uniform(0, keys_of(names), 1)[:, 0], kind="stable")
        edges = np.cumsum(list(STRICT_SHARES.values())) * len(names)
        for place, k in enumerate(order.tolist()):
            owner[names[k]] = SPLITS[int(np.searchsorted(edges, place + 0.5))]
    return {split: [s for s in lists[split] if owner[_unit(s)] == split] for split in lists}


def _unit(sample: SurveilSample) -> str:
    """What must not be in two splits."""
    is_carried = sample.subject != NOBODY
    return f"subject {sample.subject}" if is_carried else f"scene {sample.scene}"
