"""RAVDESS: 24 actors speak and sing two sentences with eight emotions; the file's name is the label.

``Actor_01/01-01-03-02-01-02-01.mp4``: modality, channel, emotion, intensity, statement, repetition, actor.

Source: Livingstone, Russo, The Ryerson audio-visual database of emotional speech and song, PLoS ONE 2018.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from mien.core.errors import ConfigError, DataError

MODALITIES = ("audio-video", "video", "audio")
CHANNELS = ("speech", "song")
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
INTENSITIES = ("normal", "strong")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")
ACTORS = range(1, 25)
SPLITS = ("train", "dev", "test")
_ACTORS_OF = {"train": range(1, 19), "dev": range(19, 21), "test": range(21, 25)}
_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)", re.ASCII)


class RavdessClip(NamedTuple):
    """One recording.

    Attributes:
        path: the file.
        modality: one of `MODALITIES`.
        channel: one of `CHANNELS`.
        emotion: one of `EMOTIONS`.
        intensity: one of `INTENSITIES`; neutral has no strong one.
        statement: one of `STATEMENTS`.
        repetition: 1 or 2.
        actor: 1 .. 24; odd ones are men, even ones women.
    """

    path: Path
    modality: str
    channel: str
    emotion: str
    intensity: str
    statement: str
    repetition: int
    actor: int

    @property
    def is_male(self) -> bool:
        """As the set counts its actors."""
        return self.actor % 2 == 1


def parse_ravdess(path: str | Path) -> RavdessClip:
    """The labels in a file's name; the file is not opened.

    Raises:
        DataError: another form, a number out of range, or a folder of another actor.

    >>> parse_ravdess("Actor_12/02-01-06-01-02-01-12.mp4").emotion
    'fearful'
    """
    path = Path(path)
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{path}: not named MM-CH-EM-IN-ST-RP-AC as RAVDESS does, 01-01-03-02-01-02-01.mp4")
    numbers = [int(text) for text in match.groups()]
    limits = {
        "modality": 3,
        "channel": 2,
        "emotion": 8,
        "intensity": 2,
        "statement": 2,
        "repetition": 2,
        "actor": 24,
    }
    for number, (what, most) in zip(numbers, limits.items(), strict=True):
        if not 1 <= number <= most:
            raise DataError(f"{path}: {what} {number:02d} is not within 01 .. {most:02d}")
    modality, channel, emotion, intensity, statement, repetition, actor = numbers
    if EMOTIONS[emotion - 1] == "neutral" and intensity == 2:
        raise DataError(f"{path}: neutral has no strong intensity; is the name right?")
    folder = path.parent.name
    if folder.startswith("Actor_") and folder != f"Actor_{actor:02d}":
        raise DataError(f"{path}: actor {actor:02d} in the folder of another; move the file")
    return RavdessClip(
        path,
        MODALITIES[modality - 1],
        CHANNELS[channel - 1],
        EMOTIONS[emotion - 1],
        INTENSITIES[intensity - 1],
        STATEMENTS[statement - 1],
        repetition,
        actor,
    )


def read_ravdess(
    root: str | Path, split: str | None = None, *, modality: str = "audio-video"
) -> tuple[RavdessClip, ...]:
    """The videos below ``Actor_01`` .. ``Actor_24``, ordered by path; no file is opened. O(files).

    Paper is silent: the set has no splits; ours are by actor: train 1 - 18, dev 19 - 20, test 21 - 24.

    Args:
        root: folder of the actors' folders (also one level further down, as the archives unpack).
        split: "train", "dev", "test", or None for all.
        modality: "audio-video" or "video": the same takes, with and without sound.

    Raises:
        ConfigError: no such split or modality.
        DataError: no such folder, a wrong name, or nothing of this split.
    """
    root = Path(root).expanduser()
    if split is not None and split not in SPLITS:
        raise ConfigError(f"no split {split!r}; one of {', '.join(SPLITS)}")
    if modality not in MODALITIES[:2]:
        raise ConfigError(f"no modality {modality!r} with pictures; one of {', '.join(MODALITIES[:2])}")
    clips = [parse_ravdess(path) for path in ravdess_files(root)]
    actors = ACTORS if split is None else _ACTORS_OF[split]
    kept = tuple(c for c in clips if c.modality == modality and c.actor in actors)
    if not kept:
        raise DataError(f"{root}: no {modality} clip of {split or 'any'} actors; complete the set")
    return kept


def ravdess_files(root: Path) -> list[Path]:
    """The .mp4 files in the folders of actors.

    Raises:
        DataError: there is no such folder.
    """
    folders = [*root.glob("Actor_[0-9][0-9]"), *root.glob("*/Actor_[0-9][0-9]")]
    if not folders:
        raise DataError(f"{root}: no folders Actor_01 .. Actor_24 here; check the path")
    return sorted(path for folder in folders for path in folder.glob("*.mp4"))
