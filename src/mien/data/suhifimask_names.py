"""What names and lists of SuHiFiMask say.

A picture is ``G<group>_S<scene>_C<camera>_E<epoch>_T<time>/id_<track>/<frame>_<subject>_<label>.jpg``; a line
of a list is a path and a label, with a space (present copies) or a comma (old ones) between them. ``id_<k>``
numbers the face tracks of one video and is no identity: the subject is in the file's name. Facts are those of
the set's readme and lists; what the labels 1 to 9 are called is a reconstruction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mien.core.errors import DataError
from mien.core.io import read_text, read_toml
from mien.data.lists import safe_name
from mien.data.pad_sample import LIVE

FOLDER = "CASIA_SuHiFiMask"
LABEL_FILE = "labels.toml"
"""Beside ``Data``: a table ``[labels]`` with the user's own names, e.g. ``1 = "resin"``."""
LABELS: Mapping[int, str] = {
    0: LIVE,
    **{n: f"mask_{n}" for n in (1, 2, 3, 4)},
    **{n: f"carried_{n}" for n in (5, 6)},
    **{n: f"static_{n}" for n in (7, 8, 9)},
}
"""Label -> name. 1 to 4 are the masks of protocol 2, 5 and 6 are carried by a subject, 7 to 9 are static."""
STATIC_TRACK, NOBODY = -1, 0
"""Track and subject of instruments that nobody carries."""
_VIDEO = r"G(\d+)_S(\d+)_C(\d+)_E(\d+)_T(\d{17})"
_NAME = re.compile(_VIDEO + r"/id_(-?\d+)(?:/(\d+)_(\d+)_(\d+)\.jpg)?", re.ASCII)
_LINE = re.compile(r"(\S+?)(?:\s*,\s*|\s+)(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SurveilName:
    """What the path of a picture (or of a track's folder, then without frame, subject and label) says.

    Attributes:
        group: 1 to 10.
        scene: 1 to 40.
        camera: 1 to 7.
        epoch: 1 to 10.
        time: when the video begins, to the millisecond.
        track: number of the face track in its video; -1: static instruments.
        frame: number of the frame; None: a folder.
        subject: who presents, 0: nobody; None: a folder.
        label: 0 live, 1 to 9 the kind of attack; None: a folder.
    """

    group: int
    scene: int
    camera: int
    epoch: int
    time: datetime
    track: int
    frame: int | None = None
    subject: int | None = None
    label: int | None = None

    @property
    def video(self) -> str:
        """Name of the video's folder."""
        moment = f"{self.time:%Y%m%d%H%M%S}{self.time.microsecond // 1000:03d}"
        return f"G{self.group:02d}_S{self.scene}_C{self.camera}_E{self.epoch:02d}_T{moment}"

    @property
    def text(self) -> str:
        """The path from the video's folder on: the inverse of `parse_name`."""
        folder = f"{self.video}/id_{self.track}"
        return folder if self.frame is None else f"{folder}/{self.frame}_{self.subject}_{self.label}.jpg"


def parse_name(path: str) -> SurveilName | None:
    """Reads the end of a path, or None where it follows another scheme.

    >>> name = parse_name("Data/G06_S33_C5_E09_T20220228135120349/id_-1/1_0_9.jpg")
    >>> name.group, name.scene, name.camera, name.epoch, name.track, name.frame, name.subject, name.label
    (6, 33, 5, 9, -1, 1, 0, 9)
    >>> name.time.isoformat(timespec="milliseconds")
    '2022-02-28T13:51:20.349'
    """
    found = _NAME.fullmatch("/".join(path.rsplit("/", 3)[-3 if path.endswith(".jpg") else -2 :]))
    if found is None:
        return None
    group, scene, camera, epoch, moment, *rest = found.groups()
    try:
        time = datetime.strptime(moment + "000", "%Y%m%d%H%M%S%f")
    except ValueError:
        return None
    track, frame, subject, label = (None if v is None else int(v) for v in rest)
    assert track is not None  # the pattern has no name without one
    return SurveilName(int(group), int(scene), int(camera), int(epoch), time, track, frame, subject, label)


class SurveilLine(NamedTuple):
    """One line of a list: its number, the path as listed, its label, and what the path says."""

    number: int
    path: str
    label: int
    name: SurveilName

    def text(self, separator: str = " ") -> str:
        """The line again."""
        return f"{self.path}{separator}{self.label}"


def read_surveil_list(path: Path) -> list[SurveilLine]:
    """The lines of a list of the set's authors, of pictures or of track folders. O(lines).

    Raises:
        DataError: missing, empty, or a line that is damaged, leads out of the folder, or whose label is not
            that of its file name; with file and line.
    """
    lines: list[SurveilLine] = []
    for number, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        if (found := _LINE.fullmatch(text.strip())) is None:
            raise DataError(f"{where}: expected 'path label' or 'path,label', got {text.strip()[:120]!r}")
        listed, label = safe_name(found[1], where), int(found[2])
        if (name := parse_name(listed)) is None:
            raise DataError(f"{where}: {listed[:120]!r} is no name of SuHiFiMask")
        if name.label is not None and name.label != label:
            raise DataError(
                f"{where}: label {label}, but {listed} says {name.label}; lists of the challenge pack have"
                " live = 1 (mien.data.surveil_pack converts them)"
            )
        lines.append(SurveilLine(number, listed, label, name))
    if not lines:
        raise DataError(f"{path}: the list is empty; fetch it again")
    return lines


def label_names(place: Path, given: Mapping[int, str] | None = None) -> dict[int, str]:
    """Names of the labels: `LABELS`, over them those of `LABEL_FILE`, over them ``given``.

    Raises:
        DataError: the file is damaged, a key is no label, label 0 is renamed, or two labels share a name.
    """
    names, where = dict(LABELS), f"{place / LABEL_FILE}"
    if (place / LABEL_FILE).is_file():
        table = read_toml(place / LABEL_FILE).get("labels", {})
        wrong = [k for k, v in table.items() if not (k.isascii() and k.isdigit() and isinstance(v, str))]
        if wrong:
            raise DataError(f'{where}: {wrong[0]!r} is no \'label = "name"\' such as 1 = "resin"')
        names |= {int(k): v for k, v in table.items()}
    names |= given or {}
    if names[0] != LIVE:
        raise DataError(f"{where}: label 0 is {LIVE!r} in this set, not {names[0]!r}; remove that line")
    if len(set(names.values())) < len(names):
        raise DataError(f"{where}: two labels have the same name; give each its own")
    return names
