"""Where a PAD model errs: ACER by quality, camera or scene, and errors by label, at one threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core import figures
from mien.core.errors import ConfigError, ShapeError
from mien.engine.face_groups import groups_of_seeds
from mien.engine.folder import ModelFolder

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class GroupError:
    """Errors in one group of pictures.

    Attributes:
        group: its name.
        pictures: in it.
        error: ACER (or, of a single class, its error rate) in [0, 1]; None where a class is absent.
    """

    group: str
    pictures: int
    error: float | None


def balanced_error(wrong: Bools, live: Bools) -> float | None:
    """(share of wrong live faces + share of wrong attacks) / 2; None where one class is absent. O(n).

    >>> balanced_error(np.array([True, False, False]), np.array([True, True, False]))
    0.25
    """
    if not 0 < live.sum() < len(live):
        return None
    return float((wrong[live].mean() + wrong[~live].mean()) / 2)


def tenths(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) 1 .. 10: tenths of the pictures, 1 the lowest; equals stay together. O(n log n).

    Where many are equal a tenth may be empty: splitting equals by their place in a list would sort them by
    class, as lists often are.
    """
    edges = np.quantile(values, np.arange(1, 10) / 10)
    return 1 + np.searchsorted(edges, values, "left").astype(np.int64)


def acer_by(wrong: Bools, live: Bools, group: NDArray[Any]) -> list[GroupError]:
    """ACER of each group, in order of its value. O(n groups).

    Args:
        wrong: (n,) live faces refused, attacks accepted.
        live: (n,).
        group: (n,) numbers or names.
    """
    rows = [(value, group == value) for value in np.unique(group)]
    return [GroupError(str(v), int(at.sum()), balanced_error(wrong[at], live[at])) for v, at in rows]


def error_by(wrong: Bools, label: NDArray[Any]) -> list[GroupError]:
    """Error rate of each label: BPCER of the live one, APCER of each kind of attack. O(n labels)."""
    rows = [(value, label == value) for value in np.unique(label)]
    return [GroupError(str(v), int(at.sum()), float(wrong[at].mean())) for v, at in rows]


class GroupRates(NamedTuple):
    """Both errors among the people of one group.

    Attributes:
        attribute: what people are grouped by, as "skin".
        group: its name, as "dark".
        people: whose live pictures they are.
        live: live pictures of them.
        refused: share of those that are taken for attacks (BPCER); NaN without any.
        attacks: pictures of attacks with the face of somebody of the group.
        accepted: share of those that pass (APCER over all attacks); NaN without any.
    """

    attribute: str
    group: str
    people: int
    live: int
    refused: float
    attacks: int
    accepted: float


def rates_of_people(passed: Bools, live: Bools, seeds: NDArray[np.int64]) -> list[GroupRates]:
    """BPCER and APCER of all made people, then by sex, skin and age (`groups_of_seeds`). O(n groups).

    Args:
        passed: (n,) pictures that are taken for live.
        live: (n,).
        seeds: (n,) of whose face is seen: an attack counts for the person whom it shows.

    Raises:
        ShapeError: lengths that differ.
    """
    if not passed.shape == live.shape == seeds.shape or passed.ndim != 1:
        got = f"{passed.shape}, {live.shape} and {seeds.shape}"
        raise ShapeError(f"passed, live and seeds: expected (n,) each, got {got}")
    people, who = np.unique(seeds, return_inverse=True)
    named = {"all": np.full(len(people), "people"), **groups_of_seeds(people.tolist())}
    rows = [(name, str(g), groups[who] == g) for name, groups in named.items() for g in np.unique(groups)]
    return [_rates(name, group, passed[at], live[at], seeds[at]) for name, group, at in rows]


def only_made(folder: ModelFolder) -> None:
    """Raises ConfigError for a model of real people, of whom groups are not known."""
    kind = getattr(folder.recipe.data, "kind", "")
    if kind != "rendered":
        raise ConfigError(f"{folder.path}: groups are known of made people only, not of kind={kind!r}")


def _rates(attribute: str, group: str, passed: Bools, live: Bools, seeds: NDArray[np.int64]) -> GroupRates:
    return GroupRates(
        attribute,
        group,
        len(np.unique(seeds[live])),
        int(live.sum()),
        float((~passed[live]).mean()) if live.any() else float("nan"),
        int((~live).sum()),
        float(passed[~live].mean()) if (~live).any() else float("nan"),
    )


def group_rows(name: str, groups: Sequence[GroupError], what: str = "ACER, %") -> list[dict[str, str]]:
    """Lines of a table; a rate that cannot be told is n/a."""
    return [
        {
            name: g.group,
            "pictures": str(g.pictures),
            what: "n/a" if g.error is None else f"{100 * g.error:.2f}",
        }
        for g in groups
    ]


def plot_groups(panels: Mapping[str, Sequence[GroupError]], overall: float) -> bytes:
    """One panel of bars for each title, and the error of all pictures as a line, as a PNG.

    Args:
        panels: title -> groups.
        overall: ACER of all pictures.
    """
    figure, axes = figures.new_figure(columns=2, rows=(len(panels) + 1) // 2, width=5, height=2.8)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax, (title, groups) in zip(axes, panels.items(), strict=False):
        heights = [0.0 if g.error is None else 100 * g.error for g in groups]
        ax.bar(range(len(groups)), heights, color=figures.COLOURS[0])
        for k, g in enumerate(groups):
            if g.error is None:
                ax.text(k, 0, "n/a", ha="center", va="bottom", fontsize=7)
        ax.axhline(100 * overall, color=figures.COLOURS[1], lw=1, ls="--")
        step = max(1, len(groups) // 12)
        places = range(0, len(groups), step)
        ax.set(title=title, ylabel="%", xticks=places, xticklabels=[groups[k].group for k in places])
    return figures.png(figure)
