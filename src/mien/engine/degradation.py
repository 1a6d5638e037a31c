"""What a worse camera costs: the same pictures, worse and worse, before any model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core import figures
from mien.core.errors import ConfigError, ShapeError
from mien.core.seeds import derive
from mien.data.surveil_loader import surveil_seeds
from mien.metrics import acer, auc, eer, tar_at_far

Pictures = NDArray[np.uint8]
"""(N, H, W, 3)."""
Measure = Callable[[Pictures], Mapping[str, float]]
"""Pictures, in an order that stays, -> what a model makes of them."""
FAR = 1e-2
"""False accept rate of ``tar``."""


def severities_of(levels: int) -> list[float]:
    """So many severities from 0 to 1.

    >>> severities_of(3)
    [0.0, 0.5, 1.0]
    """
    return [float(q) for q in np.linspace(0, 1, levels)]


def worse_and_worse(
    pictures: Pictures, keys: NDArray[np.uint64], severities: Sequence[float], profile: str = "C3"
) -> Iterator[Pictures]:
    """The pictures at each severity (`mien.synth.surveil_batch`). O(N H W) each.

    Seeds stay, so that each picture gets more of the same; at 0 it is left alone altogether.

    Args:
        pictures: (N, H, W, 3) uint8.
        keys: (N,) stable names.
        severities: q, each in [0, 1].
        profile: the camera.
    """
    from mien.synth import surveil_batch

    seeds = surveil_seeds(keys, derive(0, "sweep"))
    for q in severities:
        yield surveil_batch(pictures, np.full(len(pictures), q), seeds, profile)[0] if q > 0 else pictures


def degradation_sweep(
    measure: Measure,
    pictures: Pictures,
    keys: NDArray[np.uint64],
    severities: Sequence[float],
    profile: str = "C3",
) -> list[dict[str, float]]:
    """``severity`` and what ``measure`` says of the pictures at each. O(severities (N H W + measure)).

    Args:
        measure: `pad_measure`, `pair_measure`, or one of your own.
        pictures: (N, H, W, 3) uint8, the best there are.
        keys: (N,) stable names: same key, same degradation.
        severities: q, each in [0, 1].
        profile: the camera whose ranges the degradation draws from.

    Raises:
        ConfigError: no severity, or one outside [0, 1].
        ShapeError: pictures of another shape, or another number of keys.
    """
    if not len(severities) or not all(0 <= q <= 1 for q in severities):
        raise ConfigError(f"severities {list(severities)}: give some in [0, 1]")
    if pictures.ndim != 4 or pictures.shape[3] != 3 or len(keys) != len(pictures):
        raise ShapeError(f"expected pictures (N, H, W, 3) and N keys, got {pictures.shape}, {len(keys)} keys")
    worse = worse_and_worse(pictures, keys, severities, profile)
    return [{"severity": float(q), **measure(x)} for q, x in zip(severities, worse, strict=True)]


def pad_measure(
    scores_of: Callable[[Pictures], NDArray[np.float64]], live: NDArray[np.bool_], threshold: float
) -> Measure:
    """``acer`` (APCER over all attacks) at a threshold that does not move, and ``auc``, of a PAD model.

    The two differ where scores drift: AUC is free of the threshold.

    Args:
        scores_of: pictures -> (N,), larger = more live.
        live: (N,) true for live faces.
        threshold: chosen on clean development pictures.
    """

    def measure(pictures: Pictures) -> dict[str, float]:
        scores = scores_of(pictures)
        return {
            "acer": acer(scores, live, threshold, apcer="pooled"),
            "auc": float(auc(scores, live)),
        }

    return measure


def pair_measure(
    embed: Callable[[Pictures], NDArray[Any]], gallery: Pictures, people: NDArray[np.int64]
) -> Measure:
    """``auc``, ``eer`` and ``tar`` (at FAR `FAR`) of a recogniser, probes degraded, gallery clean.

    Pairs are all (i, j), i != j: picture i as the probe, the clean picture j as the one that is known; scores
    are cosines. O(N^2 D).

    Args:
        embed: pictures -> (N, D), any length.
        gallery: (N, H, W, 3) the clean pictures, in the order of the probes.
        people: (N,) who is shown.
    """
    known = _unit(embed(gallery))
    different = ~np.eye(len(people), dtype=bool)
    same = (people[:, None] == people[None])[different]

    def measure(pictures: Pictures) -> dict[str, float]:
        scores = (_unit(embed(pictures)) @ known.T)[different]
        return {
            "auc": float(auc(scores, same)),
            "eer": float(eer(scores, same).value),
            "tar": float(tar_at_far(scores, same, FAR, bootstrap="none")[0].tar),
        }

    return measure


def _unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    out: NDArray[np.float64] = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return out


NAMES = {"acer": "ACER, %", "auc": "AUC, %", "eer": "EER, %", "tar": f"TAR at FAR {FAR:g}, %"}
"""Rates by name -> title."""


def sweep_rows(points: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """The points as lines of a table, rates in per cent."""
    return [
        {"severity": f"{p['severity']:.2f}"}
        | {NAMES[name]: f"{100 * value:.2f}" for name, value in p.items() if name in NAMES}
        for p in points
    ]


def plot_sweep(points: Sequence[Mapping[str, float]], title: str = "") -> bytes:
    """Every rate of the points against severity, as a PNG."""
    figure, (ax,) = figures.new_figure(width=5.2, height=3.4)
    severity = [p["severity"] for p in points]
    for name, colour in zip((n for n in points[0] if n in NAMES), figures.COLOURS, strict=False):
        ax.plot(severity, [100 * p[name] for p in points], "o-", color=colour, label=NAMES[name])
    ax.set(xlabel="severity q", ylabel="%", title=title, xlim=(-0.03, 1.03), ylim=(0, 103))
    ax.legend(frameon=False)
    return figures.png(figure)
