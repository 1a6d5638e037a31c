"""The objects of a watched clip in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mien.core.errors import ConfigError
from mien.methods.phycine.config import Intervention
from mien.methods.phycine.pictures import colour_name
from mien.methods.phycine.symbolic import Split, Thresholds, thresholds_of
from mien.methods.phycine.watch import WatchedClip

Mass = Literal["heavy", "light", "unknown"]
Charge = Literal["+", "-", "none", "unknown"]
Pair = tuple[float, float]


@dataclass(frozen=True)
class FoundObject:
    """One object of a clip; the last six are None where the clip is too short to tell.

    Attributes:
        slot: its number among the slots.
        color: the nearest of the names of `mien.synth.phys_render.PALETTE`.
        place: in the last frame, or when last seen: world units, x right and y up from the middle; the
            picture is 3.8 high.
        mass: against other objects; unknown within a deviation of the border.
        charge: its sign is right up to a common one, + for the first charged object.
        velocity: in the last frame, world units a second; 0 of one that has left the picture.
        z_m: logarithm of the mass, up to a common summand of those that met.
        z_m_std: its deviation; 1 = nothing is known.
        z_c: charge, up to a common factor.
        z_c_std: its deviation; 1 = nothing is known.
    """

    slot: int
    color: str
    place: Pair
    mass: Mass = "unknown"
    charge: Charge = "unknown"
    velocity: Pair | None = None
    z_m: float | None = None
    z_m_std: float | None = None
    z_c: float | None = None
    z_c_std: float | None = None


def objects_of(clip: WatchedClip, known: Thresholds, *, named: bool = True) -> tuple[FoundObject, ...]:
    """The objects of a clip. O(T K).

    Args:
        clip: watched.
        known: where light ends and charged begins.
        named: say heavy and charged; else both are unknown, whatever the numbers.
    """
    weight = clip.tracks.present[0].float()[..., None]
    colours = ((weight * clip.tracks.colour[0]).sum(0) / weight.sum(0).clamp_min(1)).double().cpu().numpy()
    names = [colour_name(colours[slot]) for slot in clip.slots]
    places = [_pair(clip.tracks.place[0, -1, slot].tolist()) for slot in clip.slots]
    if clip.latents is None:
        return tuple(map(FoundObject, clip.slots, names, places))
    at = list(clip.slots)
    _, dyn, *z = (x.mean[0, at].tolist() for x in clip.latents[:4])
    deviations = [x.std[0, at].tolist() for x in clip.latents[2:4]]
    masses: list[Mass] = ["unknown"] * len(at)
    charges: list[Charge] = ["unknown"] * len(at)
    if named:
        masses = [mass_word(*pair, known) for pair in zip(z[0], deviations[0], strict=True)]
        charges = charge_words(z[1], deviations[1], known)
    columns = (z[0], deviations[0], z[1], deviations[1])
    numbers = ([round(v, 4) for v in c] for c in columns)
    return tuple(
        map(FoundObject, at, names, places, masses, charges, map(_pair, dyn), *numbers)  # type: ignore[arg-type]
    )


def _pair(values: Sequence[float]) -> Pair:
    return round(values[0], 4), round(values[1], 4)


def mass_word(z_m: float, deviation: float, known: Thresholds) -> Mass:
    """Heavy or light, if the border is more than a deviation away, and there is one.

    >>> mass_word(1.0, 0.2, Thresholds(Split(-1.0, 1.0), Split(0.0, 1.0)))
    'heavy'
    """
    above = z_m - known.mass.border
    if math.isinf(above) or abs(above) <= deviation:
        return "unknown"
    return "heavy" if above > 0 else "light"


def charge_words(z_c: Sequence[float], deviations: Sequence[float], known: Thresholds) -> list[Charge]:
    """None or a sign, + for the first charged one; unknown as in `mass_word`.

    >>> charge_words([-0.9, 0.0, 0.8], [0.1, 0.1, 0.1], Thresholds(Split(0.0, 1.0), Split(0.1, 0.8)))
    ['+', 'none', '-']
    """
    words: list[Charge] = []
    first = 0.0
    for z, deviation in zip(z_c, deviations, strict=True):
        above = abs(z) - known.charge.border
        if math.isinf(above) or abs(above) <= deviation:
            words.append("unknown")
        elif above < 0:
            words.append("none")
        else:
            first = first or z
            words.append("+" if z * first > 0 else "-")
    return words


def thresholds_in(facts: Mapping[str, Any]) -> Thresholds | None:
    """``thresholds`` of a model's facts, {"mass": [low, high], "charge": [low, high]}, if it has them."""
    held = facts.get("thresholds")
    return None if held is None else Thresholds(Split(*held["mass"]), Split(*held["charge"]))


def thresholds_at_hand(clips: Sequence[WatchedClip]) -> Thresholds:
    """Of the objects of these clips (`thresholds_of`)."""
    told = [(c.latents, list(c.slots)) for c in clips if c.latents is not None and c.slots]
    z = [
        np.array([float(v) for found, at in told for v in getattr(found, n).mean[0, at]])
        for n in ("mass", "charge")
    ]
    return thresholds_of(*z)


def factors(changes: Sequence[Intervention], objects: Sequence[FoundObject]) -> dict[str, dict[int, float]]:
    """Interventions by slot, as `Phycine.rollout` takes them.

    Raises:
        ConfigError: a slot or colour that no object has, or a colour that several have.
    """
    found: dict[str, dict[int, float]] = {}
    for change in changes:
        slots = [o.slot for o in objects if change.which in (o.color, str(o.slot))]
        if len(slots) != 1:
            there = ", ".join(f"{o.slot} {o.color}" for o in objects)
            how = "several objects are" if slots else "no object is"
            raise ConfigError(
                f"--intervene {change.what}:{change.which}={change.factor:g}: {how} {change.which};"
                f" give the number of one of: {there}"
            )
        found.setdefault(change.what, {})[slots[0]] = change.factor
    return found
