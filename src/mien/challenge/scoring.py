"""Scores a submission: threshold from its dev scores, error rates on the test lines.

    tau = EER of the submitted dev scores;  accept iff s >= tau
    APCER = attacks accepted / attacks (pooled);  BPCER = live rejected / live;  ACER = (APCER + BPCER) / 2

The rules are those of the challenge's family (arXiv 2304.07580 and its sister tracks); the rank is by ACER.
Nothing here needs more than numpy, because the scoring program of a bundle holds a copy of these files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mien.challenge.counts import (
    Errors,
    attacks_by_label,
    errors_by,
    errors_by_name,
    errors_by_quality,
    histograms,
)
from mien.challenge.draws import Draws, track_draws
from mien.challenge.flags import flags_of
from mien.challenge.references import Part, Reference, means
from mien.challenge.submissions import Bounds, Scores, SubmissionError, Texts, parse, read_zip, unpack
from mien.core.config import suggest
from mien.core.errors import ConfigError, DataError
from mien.metrics.intervals import DRAWS, Interval
from mien.metrics.pad_points import eer_of_sets
from mien.metrics.pad_report import resolve_threshold
from mien.metrics.pad_scores import PadSamples, PadSets, pad_samples
from mien.metrics.pad_threshold import PadThreshold
from mien.metrics.rates import auc_of
from mien.metrics.score_sets import Floats

Level = Literal["image", "track"]
LEVELS = ("image", "track")


@dataclass(frozen=True)
class Rules:
    """How a phase is scored.

    Attributes:
        phase: 1: dev lines only, judged at their own EER; 2: dev lines, then test lines.
        threshold: a rule on the dev scores (`mien.metrics.choose_pad_threshold`), ``test_eer`` (an oracle),
            or a number.
        level: ``image``, or ``track``: mean score of a track's frames.
        files: ``one`` text file in a submission, or ``two``.
        draws: of the bootstrap over tracks; 0 leaves it out.
        seed: of the bootstrap.
    """

    phase: int = 2
    threshold: str | float = "eer"
    level: Level = "image"
    files: str = "one"
    draws: int = DRAWS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.phase not in (1, 2):
            raise ConfigError(f"phase {self.phase} is neither 1 (dev lines) nor 2 (dev, then test lines)")
        if self.level not in LEVELS:
            raise ConfigError(f"no level {self.level!r}{suggest(self.level, list(LEVELS))}; image or track")
        if self.draws < 0:
            raise ConfigError(f"draws={self.draws} must be 0 or more")


@dataclass(frozen=True)
class Score:
    """What a submission reaches. Rates are in [0, 1].

    Attributes:
        rules: they were scored by.
        threshold: with the rule and the dev rates there.
        errors: all lines pooled: APCER, BPCER and ACER, which ranks.
        auc: area under the ROC, ties half.
        worst: the label with the largest APCER.
        apcer_max: its APCER.
        acer_max: (apcer_max + BPCER) / 2.
        labels: APCER of each label; None where the list has none of it.
        cameras: errors of each.
        scenes: errors of each.
        quality: errors in tenths of the pictures, from the worst quality to the best.
        histogram: numbers of live faces and attacks by score, in equal bins from 0 to 1.
        oracle_threshold: the EER threshold of the judged lines themselves.
        oracle: errors at it: no score of a system, but what the choice of the threshold costs.
        intervals: 95 % over tracks, by name of rate; empty without draws.
        flags: remarks, one line each.
        lines: judged.
        draws: the bootstrap values; None without.
    """

    rules: Rules
    threshold: PadThreshold
    errors: Errors
    auc: float
    worst: str
    apcer_max: float
    acer_max: float
    labels: dict[str, Errors]
    cameras: dict[str, Errors]
    scenes: dict[str, Errors]
    quality: tuple[Errors, ...]
    histogram: dict[str, tuple[int, ...]]
    oracle_threshold: float
    oracle: Errors
    intervals: dict[str, Interval]
    flags: tuple[str, ...]
    lines: int
    draws: Draws | None = field(default=None, repr=False, compare=False)

    def summary(self) -> dict[str, float]:
        """The columns of a leaderboard."""
        return {
            "apcer": float(self.errors.apcer or 0.0),
            "bpcer": float(self.errors.bpcer or 0.0),
            "acer": float(self.errors.acer or 0.0),
            "auc": self.auc,
            "apcer_max": self.apcer_max,
            "acer_max": self.acer_max,
            "acer_oracle": float(self.oracle.acer or 0.0),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the draws; absent rates are None, infinity is ``"inf"``."""
        tau = self.threshold
        return {
            **self.summary(),
            "worst_label": self.worst,
            "threshold": {
                "value": _finite(tau.value),
                "rule": tau.text,
                "dev_eer": tau.eer,
                "dev_apcer": tau.apcer_pooled,
                "dev_bpcer": tau.bpcer,
            },
            "oracle": {"threshold": _finite(self.oracle_threshold), **self.oracle.to_dict()},
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "labels": {k: {"apcer": e.apcer, "attacks": e.attacks} for k, e in self.labels.items()},
            "cameras": {name: e.to_dict() for name, e in self.cameras.items()},
            "scenes": {name: e.to_dict() for name, e in self.scenes.items()},
            "quality": [e.to_dict() for e in self.quality],
            "histogram": {kind: list(counts) for kind, counts in self.histogram.items()},
            "flags": list(self.flags),
            "phase": self.rules.phase,
            "level": self.rules.level,
            "lines": self.lines,
            "attacks": self.errors.attacks,
            "live": self.errors.live,
            "draws": self.rules.draws,
            "seed": self.rules.seed,
        }


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def _judged(part: Part, scores: Floats, rules: Rules, where: str) -> tuple[Part, PadSamples]:
    """Lines or tracks with their checked scores."""
    if rules.level == "track":
        part, entry = part.by_track()
        scores = means(scores, entry)
    try:
        return part, pad_samples(scores, part.live, part.label, where)
    except DataError as error:
        raise SubmissionError(str(error)) from None


def score_scores(reference: Reference, scores: Scores, rules: Rules) -> Score:
    """`score` of scores that have been read. O(n log n + draws n).

    Args:
        reference: hidden labels.
        scores: in the order of the lists.
        rules: of the phase.

    Raises:
        SubmissionError: all scores of a list are equal.
        ConfigError: no such threshold rule.
    """
    dev_part, dev = _judged(reference.dev, scores.dev, rules, "dev lines")
    part, samples = dev_part, dev
    if scores.test is not None and reference.test is not None:
        part, samples = _judged(reference.test, scores.test, rules, "test lines")
    sets, dev_sets = samples.sets(), dev.sets()
    threshold = resolve_threshold(rules.threshold, dev_sets, sets)
    tau = threshold.value
    drawn = None
    if rules.draws:
        drawn = track_draws(samples, sets, tau, part.track, rules.draws, rules.seed)
    return Score(
        rules=rules,
        threshold=threshold,
        **_rates(part, samples.scores, sets, tau),
        intervals={} if drawn is None else drawn.intervals(),
        flags=flags_of(scores.dev, scores.test),
        lines=len(part.names),
        draws=drawn,
    )


def _all(part: Part, scores: Floats, tau: float) -> Errors:
    return errors_by(np.zeros(len(scores), np.int64), 1, part.live, scores >= tau)[0]


def _rates(part: Part, scores: Floats, sets: PadSets, tau: float) -> dict[str, Any]:
    """The fields of `Score` that are counts at the threshold. O(n log n)."""
    accepted = scores >= tau
    pooled = _all(part, scores, tau)
    labels = attacks_by_label(part.label, accepted)
    worst = max((k for k in labels if labels[k].attacks), key=lambda k: labels[k].apcer or 0.0)
    apcer_max = float(labels[worst].apcer or 0.0)
    own = eer_of_sets(sets).threshold
    return {
        "errors": pooled,
        "auc": auc_of(sets.pooled),
        "worst": worst,
        "apcer_max": apcer_max,
        "acer_max": (apcer_max + float(pooled.bpcer or 0.0)) / 2,
        "labels": labels,
        "cameras": errors_by_name(part.camera, part.live, accepted),
        "scenes": errors_by_name(part.scene, part.live, accepted),
        "quality": errors_by_quality(part.quality, part.live, accepted),
        "histogram": histograms(scores, part.live),
        "oracle_threshold": own,
        "oracle": _all(part, scores, own),
    }


def lists_of(reference: Reference, phase: int) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Paths of the dev list and, in phase 2, of the test list.

    Raises:
        DataError: phase 2 of a reference without test labels.
    """
    if phase == 1:
        return reference.dev.names, None
    if reference.test is None:
        raise DataError("phase 2 needs test.csv in the reference")
    return reference.dev.names, reference.test.names


def score(
    reference_dir: str | Path,
    submission_zip: str | Path,
    phase: int = 2,
    threshold: str | float = "eer",
    *,
    output: str | Path | None = None,
    level: Level = "image",
    files: str = "one",
    draws: int = DRAWS,
    seed: int = 0,
    bounds: Bounds | None = None,
) -> Score:
    """Scores one submission; a final phase of 250,000 lines takes seconds. O(n log n + draws n).

    Args:
        reference_dir: ``reference/`` of a challenge, or the challenge's folder.
        submission_zip: one text file, no folder: all dev lines, then (phase 2) all test lines.
        phase: 1 or 2.
        threshold: rule on the submitted dev scores, ``test_eer`` (an oracle), or a number.
        output: folder for ``scores.json``, ``scores.txt`` and ``report.html``.
        level: ``image`` or ``track``.
        files: ``two``: ``phase1.txt`` holds the dev lines and ``phase2.txt`` the test lines.
        draws: of the bootstrap over tracks; 0 leaves it out.
        seed: of the bootstrap.
        bounds: of the zip.

    Raises:
        SubmissionError: the submission is not valid; one line says why (exit code 2).
        DataError: the reference is damaged.
        ConfigError: a setting out of range.
    """
    rules = Rules(phase, threshold, level, files, draws, seed)
    reference = Reference.read(reference_dir)
    name = Path(submission_zip).name
    texts = unpack(read_zip(submission_zip, bounds), files, bounds, name)
    found = score_files(reference, texts, rules)
    if output is not None:
        from mien.challenge.reports import write_reports

        write_reports(output, found, name)
    return found


def score_files(reference: Reference, texts: Texts, rules: Rules) -> Score:
    """`score` of text files in memory.

    Args:
        reference: hidden labels.
        texts: of `unpack`.
        rules: of the phase.
    """
    dev, test = lists_of(reference, rules.phase)
    return score_scores(reference, parse(texts, dev, test), rules)
