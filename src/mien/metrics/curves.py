"""ROC and DET curves and histograms of scores, as PNG or SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from mien.core import figures
from mien.core.errors import ConfigError, DataError
from mien.metrics.score_sets import Floats, ScoreSets, check_scores, score_sets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["png", "svg"]
_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class Roc:
    """Points of a ROC from strict to lenient; accepted means score >= threshold.

    Attributes:
        far: false accept rates, ascending, from 0.
        tar: true accept rates, ascending, from 0, to 1.
        thresholds: descending, from +inf.
        genuine: how many genuine scores.
        impostors: how many impostor scores.
    """

    far: Floats
    tar: Floats
    thresholds: Floats
    genuine: int
    impostors: int

    def rates(self, threshold: float) -> tuple[float, float]:
        """False accept and false reject rate at a threshold; of a thinned curve those of its next point."""
        at = int(np.searchsorted(-self.thresholds, -threshold, "right")) - 1
        return float(self.far[max(0, at)]), float(1 - self.tar[max(0, at)])


def roc_points(scores: ArrayLike, same: ArrayLike, most: int = 2000) -> Roc:
    """The ROC, thinned to what a plot can show. O(n log n).

    Args:
        scores: (n,) higher is more alike.
        same: (n,) true where both are of one person.
        most: points kept about, spread evenly over log FAR and over TAR; 0 keeps all.
    """
    return roc_of(score_sets(scores, same), most)


def roc_of(sets: ScoreSets, most: int = 2000) -> Roc:
    """`roc_points` of sorted or counted scores.

    Args:
        sets: of `score_sets` or of a tally.
        most: points kept about; 0 keeps all.
    """
    t = sets.thresholds()
    if most and len(t) > most:
        impostor, genuine = sets.impostor, sets.genuine
        parts = np.concatenate([[0.0], np.geomspace(0.5 / impostor.total, 1, most // 2)])
        low = impostor.cut(parts * impostor.total), genuine.cut(np.linspace(0, 1, most // 2) * genuine.total)
        chosen = np.append(np.concatenate(low), [t[0], t[-1]])
        t = np.unique(chosen[np.isfinite(chosen)])[::-1]
    far, tar = np.append(0.0, sets.far(t)), np.append(0.0, sets.tar(t))
    t = np.append(np.inf, t.astype(np.float64))
    return Roc(far, tar, t, round(sets.genuine.total), round(sets.impostor.total))


def _rendered(figure: Figure, form: str) -> bytes:
    if form == "png":
        return figures.png(figure)
    if form != "svg":
        raise ConfigError(f"no picture format {form!r}; png or svg")
    import matplotlib as mpl

    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "mien"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _checked(curves: Mapping[str, Roc]) -> None:
    if not curves:
        raise DataError("no curve to draw")


def roc_plot(curves: Mapping[str, Roc], title: str = "", form: Format = "png") -> bytes:
    """True accept rate over false accept rate, the latter logarithmic.

    Args:
        curves: label -> curve.
        title: above the axes.
        form: ``png`` or ``svg``.
    """
    _checked(curves)
    figure, (ax,) = figures.new_figure()
    least = min(1 / c.impostors for c in curves.values())
    for k, (label, c) in enumerate(curves.items()):
        colour = figures.COLOURS[k % len(figures.COLOURS)]
        ax.plot(np.maximum(c.far, least / 2), c.tar, color=colour, label=label, drawstyle="steps-post")
    ax.set(xscale="log", xlim=(least / 2, 1), ylim=(0, 1.01), title=title)
    ax.set(xlabel="false accept rate", ylabel="true accept rate")
    ax.legend(loc="lower right", frameon=False)
    return _rendered(figure, form)


def _deviate_axes(ax: Axes, low: float, high: float) -> None:
    """Ticks in per cent on axes of normal deviates."""
    from scipy.special import ndtri

    ticks = [t for t in _TICKS if low <= t <= high]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ndtri(ticks), [f"{100 * t:.10g}" for t in ticks])
    ax.set(xlim=ndtri([low, high]), ylim=ndtri([low, high]))


def det_plot(
    curves: Mapping[str, Roc],
    title: str = "",
    form: Format = "png",
    rates: tuple[str, str] = ("false accept rate", "false reject rate"),
    at: float | None = None,
) -> bytes:
    """False reject over false accept rate on normal-deviate axes, where normal scores make straight lines.

    Args:
        curves: label -> curve.
        title: above the axes.
        form: ``png`` or ``svg``.
        rates: what the two rates are called, for example APCER and BPCER.
        at: a threshold; where the curves pass it is marked.
    """
    from scipy.special import ndtri

    _checked(curves)
    figure, (ax,) = figures.new_figure(width=4.4, height=4.4)
    low = max(1e-6, min(0.5 / max(c.impostors, c.genuine) for c in curves.values()))
    high = 0.9
    ax.plot(ndtri([low, high]), ndtri([low, high]), color="0.7", lw=0.8, ls=":")
    for k, (label, c) in enumerate(curves.items()):
        x, y = (ndtri(np.clip(v, 1e-9, 1 - 1e-9)) for v in (c.far, 1 - c.tar))
        colour = figures.COLOURS[k % len(figures.COLOURS)]
        ax.plot(x, y, color=colour, label=label)
        if at is not None:
            point = ndtri(np.clip(c.rates(at), low, high))
            ax.plot(*point, "o", color=colour, ms=9, mec="white", clip_on=False)
    _deviate_axes(ax, low, high)
    ax.set(xlabel=f"{rates[0]} [%]", ylabel=f"{rates[1]} [%]", title=title)
    ax.legend(loc="upper right", frameon=False)
    return _rendered(figure, form)


def score_histogram(
    scores: ArrayLike,
    same: ArrayLike,
    threshold: float | None = None,
    title: str = "",
    form: Format = "png",
    bins: int = 80,
    kinds: tuple[str, str] = ("genuine", "impostor"),
) -> bytes:
    """Densities of genuine and impostor scores.

    Args:
        scores: (n,) finite, higher is more alike.
        same: (n,) true where both are of one person.
        threshold: drawn as a line.
        title: above the axes.
        form: ``png`` or ``svg``.
        bins: of the histogram.
        kinds: what the scores are called where ``same`` is true and where it is false.
    """
    s, y = check_scores(scores, same)
    if not np.isfinite(s).all():
        raise DataError("a histogram needs finite scores; leave out comparisons that failed (-inf)")
    figure, (ax,) = figures.new_figure()
    low, high = float(s.min()), float(s.max())
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    for k, (label, values) in enumerate(((kinds[1], s[~y]), (kinds[0], s[y]))):
        density, _ = np.histogram(values, edges, density=True)
        ax.stairs(density, edges, fill=True, alpha=0.55, color=figures.COLOURS[1 - k])
        ax.stairs(density, edges, color=figures.COLOURS[1 - k], label=f"{label} ({len(values):,})")
    if threshold is not None:
        ax.axvline(threshold, color="0.2", lw=1, ls="--", label=f"threshold {threshold:.4g}")
    ax.set(xlabel="score", ylabel="density", title=title)
    ax.legend(frameon=False)
    return _rendered(figure, form)
