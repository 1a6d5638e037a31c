"""Flags of ``mien challenge``, one class for each action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class InitOptions:
    """Makes a challenge: mien challenge init DATASET OUT.

    DATASET is SuHiFiMask's folder; the word rendered, its made twin (drawn when first asked for); or a .csv
    with split,path,label,track,camera,scene,quality. Also: --json.
    """

    protocol: str = "p3"
    """Of SuHiFiMask; of a table only a name."""
    title: str = "Face anti-spoofing challenge"
    """Of pages."""
    media: Literal["copy", "hardlink", "none"] = "copy"
    """How pictures get into the folders; none writes lists only."""
    development: tuple[str, str] | None = None
    """Start and end of phase 1, for example 2027-01-01 2027-03-01 (UTC); default 60 days from today."""
    final: tuple[str, str] | None = None
    """Start and end of phase 2; default the 14 days after phase 1."""
    per_day: int = 5
    """Submissions of a team a day."""
    total: int = 100
    """Submissions of a team in a phase."""
    level: Literal["image", "track"] = "image"
    """What is judged."""
    files: Literal["one", "two"] = "one"
    """Text files in a submission; two: phase1.txt and phase2.txt."""
    threshold: str = "eer"
    """Rule on the submitted dev scores."""
    metric: Literal["acer", "acer_max"] = "acer"
    """What ranks; acer_max takes the APCER of the worst label."""
    ranking: Literal["best", "last"] = "best"
    """Which submission of a team counts."""
    database: str = ""
    """URL of the store; default SQLite in OUT. $MIEN_CHALLENGE_DATABASE goes before it."""
    seed: int = 0
    """Of the order of names and of the bootstrap."""


@dataclass(frozen=True)
class PredictOptions:
    """Judges a challenge's pictures: mien challenge predict DIR --weights WEIGHTS --output ZIP.

    DIR holds phase1/ and phase2/; the weights are of any method of face anti-spoofing. Also: --json.
    """

    weights: str
    """A run's folder, METHOD/TAG or a hub id."""
    output: str = "submission.zip"
    """The zip that is written."""
    phase: Literal[1, 2] = 2
    """1: dev lines; 2: dev lines, then test lines."""
    files: Literal["one", "two"] = "one"
    """Text files in the submission."""


@dataclass(frozen=True)
class SubmitOptions:
    """Takes a submission in: mien challenge submit DIR ZIP --team NAME. Also: --json."""

    team: str
    """Name of the team."""
    phase: int | None = None
    """Must be open; default the one that is."""


@dataclass(frozen=True)
class ScoreOptions:
    """Scores a file: mien challenge score REFERENCE ZIP; or what is queued: mien challenge score DIR.

    What is queued is scored by the challenge's own settings. Also: --json.
    """

    phase: Literal[1, 2] = 2
    """1: dev lines; 2: dev lines, then test lines."""
    threshold: str = "eer"
    """Rule on the dev scores, test_eer (an oracle), or a number."""
    level: Literal["image", "track"] = "image"
    """What is judged."""
    files: Literal["one", "two"] = "one"
    """Text files in the submission."""
    draws: int = 1000
    """Of the bootstrap over tracks; 0 leaves it out."""
    seed: int = 0
    """Of the bootstrap."""
    output: str | None = None
    """Folder for scores.json, scores.txt and report.html."""


@dataclass(frozen=True)
class QueueOptions:
    """Scores what is queued: mien challenge score DIR, until nothing is left. Also: --json."""

    most: int | None = None
    """Stop after so many."""


@dataclass(frozen=True)
class BoardOptions:
    """Ranks what is scored: mien challenge board DIR. Also: --json."""

    phase: Literal[1, 2] | None = None
    """Default the last that has scores."""
    output: str | None = None
    """Folder; default DIR/board/phaseN."""


@dataclass(frozen=True)
class VerifyOptions:
    """Runs a team's code again: mien challenge verify DIR SUBMISSION CODE. Also: --json."""

    tolerance: float = 1e-3
    """Scores that differ by no more are the same."""
    seconds: int = 3600
    """The run may take."""
    memory_mb: int = 8192
    """Address space of a process."""
    python: str | None = None
    """Interpreter with what the code needs; default this one."""


@dataclass(frozen=True)
class BundleOptions:
    """Writes a Codabench competition: mien challenge bundle DIR OUT. Also: --json."""

    image: str | None = None
    """Container with Python 3.11 or newer and numpy."""
