"""Who or what stands before a surveillance camera, frame by frame, cut out of its background.

Live people, worn masks, photographs and screens that somebody holds before the face, and instruments on a
wall: posters, displays, portraits with an adversarial patch. What the set's labels mean is a reconstruction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mien.core.seeds import derive
from mien.synth.attacks import PrintAttack, ScreenAttack, live_scene
from mien.synth.face import Detail, Person, Picture
from mien.synth.head import EYE_L, EYE_R, SKIN
from mien.synth.light import Light
from mien.synth.looks import Shot, sample_shot
from mien.synth.masks import MaskKind, wear_mask
from mien.synth.motion import Frame, talk
from mien.synth.portraits import make_face, photograph, sample_actions
from mien.synth.worn import worn_region

Array = NDArray[Any]  # of floats
KINDS = ("live", "mask_resin", "mask_plaster", "mask_silicone", "mask_paper", "carried_print",
         "carried_screen", "poster", "screen", "adversarial")  # fmt: skip
"""Label -> what it is; from `STATIC` on, nobody carries it."""
CARRIED, STATIC = 5, 7
FILL = 0.42
"""Least part of a cutout's height that 2.35 dm at the head's distance take."""
_DETAIL = Detail(supersample=2, strands=0.3, maps=1, side=128)
_RATE = 2.5  # frames a second: every tenth of 25


@dataclass(frozen=True, eq=False)
class Cutout:
    """A head and shoulders, or an instrument, without what is behind.

    Attributes:
        rgb: (R, R, 3) sRGB in [0, 1].
        alpha: (R, R) opacity.
        face: x, y of the presented head's middle, and its height, as shares of R.
        goes_on: below its lower edge there is more of the same.
    """

    rgb: Array
    alpha: Array
    face: tuple[float, float, float]
    goes_on: bool = False


@dataclass(frozen=True)
class Cast:
    """One presentation.

    Attributes:
        label: index into `KINDS`.
        person: seed of who stands there; of static instruments: unused.
        shown: seed of whose face an instrument shows.
        seed: clothes, motion, details of the instrument.
        light: of the place.
    """

    label: int
    person: int
    shown: int
    seed: int
    light: Light


@lru_cache(16)
def _face(seed: int) -> Person:
    return make_face(seed, _DETAIL)


def cutouts(cast: Cast, frames: int, side: int, fill: float = FILL) -> Iterator[Cutout]:
    """The frames of a presentation; some 20 ms each at 96 pixels, and .2 s for a new person.

    Args:
        cast: what is presented.
        frames: how many.
        side: pixels of a cutout, R.
        fill: part of a cutout's height that 2.35 dm take.
    """
    kind = KINDS[cast.label]
    if cast.label >= STATIC:
        still = instrument(cast, side)
        yield from (still for _ in range(frames))
        return
    shot = replace(sample_shot(derive(cast.seed, "shot"), 0.0, 0.15), light=cast.light, fill=fill, focal=80.0)
    person, strength = _face(cast.person), 0.6
    if kind.startswith("mask_"):
        material: MaskKind = kind.removeprefix("mask_")  # type: ignore[assignment]
        person = wear_mask(person, _face(cast.shown), material, cast.seed)
        strength = 0.3 if material == "silicone" else 0.0
    lean = float(np.random.default_rng(derive(cast.seed, "lean")).normal(0, 0.18))
    for moment in talk(cast.seed, frames, _RATE, strength, 0.22):
        picture = _seen(person, shot, moment, lean, side)
        if cast.label >= CARRIED:
            yield _held(cast, picture, shot, side)
            continue
        color = picture.rgb / 255.0
        if kind.startswith("mask_"):
            color = _worn(color, picture, kind)
        yield Cutout(color, picture.alpha, _head(picture), goes_on=True)


def _seen(person: Person, shot: Shot, moment: Frame, lean: float, side: int) -> Picture:
    turned = replace(
        shot, yaw=float(np.clip(moment.yaw + lean, -0.7, 0.7)), pitch=moment.pitch + 0.08, roll=moment.roll,
        gaze=moment.gaze,
    )  # fmt: skip
    return photograph(person, turned, side, moment.actions, _DETAIL)


def _worn(color: Array, picture: Picture, kind: str) -> Array:
    """What tells a mask from near: its rim, its eye holes, and the even tone of its material."""
    side = len(color)
    part = picture.part
    region = worn_region(picture.canon.reshape(-1, 3)).reshape(side, side) * (part == SKIN + 1)
    on = gaussian_filter(np.asarray(region, np.float64), 0.6)[..., None]
    grey = color.mean(-1, keepdims=True)
    tone = (color * on).sum((0, 1)) / max(float(on.sum()), 1e-6)
    even = grey * (tone / max(float(tone.mean()), 1e-6))  # one hue everywhere: no blood below it
    if kind == "mask_resin":
        flat = np.clip(1.25 * even - 0.06, 0, 1) + 0.35 * np.clip(grey - 0.55, 0, 1)
    elif kind == "mask_plaster":
        flat = 0.45 * even + 0.55 * (0.25 + 0.75 * grey) * np.array([0.96, 0.93, 0.88])
    elif kind == "mask_silicone":
        flat = gaussian_filter(0.8 * even + 0.2 * grey, (0.9, 0.9, 0))
    else:
        flat = 0.12 + 0.74 * (0.75 * even + 0.25 * grey)
    out = color + on * (flat - color)
    eyes = gaussian_filter(((part == EYE_L + 1) | (part == EYE_R + 1)) * 1.0, 1.2)[..., None]
    rim = np.hypot(*np.gradient(on[..., 0]))[..., None]
    line = 0.9 if kind == "mask_paper" else 0.05
    out = out + np.clip(2.0 * rim, 0, 0.6) * (line - out)
    return np.asarray(np.clip(out * (1 - 0.55 * np.clip(1.5 * eyes * on, 0, 1)), 0, 1))


def _head(picture: Picture) -> tuple[float, float, float]:
    """Middle and height of the head: of the 68 landmarks' box, which ends at the brows, 1.35 times."""
    at = picture.landmarks[:, :2] / len(picture.rgb)
    low, high = at.min(0), at.max(0)
    tall = 1.35 * (high[1] - low[1])
    return float((low[0] + high[0]) / 2), float(high[1] - tall / 2), float(tall)


@lru_cache(4)
def _photo(shown: int, seed: int, side: int, fill: float) -> Picture:
    """The picture that an instrument shows."""
    shot = replace(sample_shot(derive(seed, "photo"), 0.12, 0.12), fill=fill)
    return photograph(_face(shown), shot, side, sample_actions(seed, 0.7), _DETAIL)


def _held(cast: Cast, holder: Picture, shot: Shot, side: int) -> Cutout:
    """A print or a tablet before the holder's face."""
    rng = np.random.default_rng(derive(cast.seed, "held"))
    crop = float(rng.uniform(0.8, 1.15))
    thing: PrintAttack | ScreenAttack
    if KINDS[cast.label] == "carried_screen":
        thing = ScreenAttack(crop, float(rng.uniform(0.03, 0.07)), float(rng.uniform(0.015, 0.05)))
    else:
        kind: Any = str(rng.choice(["flat", "bent", "cut"], p=[0.4, 0.35, 0.25]))
        thing = PrintAttack(kind, "dye", crop, float(rng.uniform(0.12, 0.4)))
    scene = thing.scene(holder, _photo(cast.shown, cast.seed, side, 0.7), shot, cast.seed)
    covered = scene.depth != live_scene(holder, cast.seed).depth
    alpha = np.maximum(holder.alpha, gaussian_filter(covered * 1.0, 0.4))
    return Cutout(scene.rgb, alpha, _head(holder), goes_on=True)


def instrument(cast: Cast, side: int) -> Cutout:
    """A poster, a display, or a portrait with a patch that was made to fool a network.

    Paper reaches neither black nor full white: y = .07 + .80 x; a display is bluish and has a dark frame.
    """
    rng = np.random.default_rng(derive(cast.seed, "instrument"))
    photo = _photo(cast.shown, cast.seed, side, float(rng.uniform(0.42, 0.62)))
    x, y, tall = _head(photo)
    color = photo.rgb / 255.0
    middle = color.mean()
    color = np.clip(middle + rng.uniform(1.0, 1.35) * (color - middle), 0, 1)
    kind = KINDS[cast.label]
    if kind == "adversarial":
        color = _patched(color, (x, y, tall), rng)
    if kind == "screen":
        color = np.clip(color * np.array([0.93, 1.0, 1.08]) * rng.uniform(0.95, 1.15) + 0.02, 0, 1)
        rim, edge = 0.012, float(rng.uniform(0.02, 0.05))
    else:
        color = (0.07 + 0.80 * color) * np.exp(rng.normal(0, 0.04, 3))
        rim, edge = float(rng.uniform(0.75, 0.9)), float(rng.choice([0.0, rng.uniform(0.02, 0.06)]))
        if kind == "adversarial":
            rim = float(rng.uniform(0.1, 0.4))
    row, col = np.mgrid[0:side, 0:side] / (side - 1)
    inset = float(rng.uniform(0.0, 0.12))
    away = np.maximum(np.abs(col - 0.5), np.abs(row - 0.5) + inset * rng.uniform(-0.4, 0.4))
    color = np.where((away > 0.5 - inset - edge)[..., None], rim, color)
    return Cutout(color * _lamp(cast.light), (away <= 0.5 - inset) * 1.0, (x, y, tall))


def _lamp(light: Light) -> Array:
    """Light of the place on a wall, weakly coloured."""
    tint = np.array(light.color) + np.array(light.top)
    return np.asarray(0.95 * (tint / tint.mean()) ** 0.5)


def _patched(color: Array, face: tuple[float, float, float], rng: np.random.Generator) -> Array:
    """Loud cells of colour on the brow or the cheeks, as adversarial stickers have."""
    side = len(color)
    x, y, tall = face
    cells = gaussian_filter(rng.random((8, 8, 3)), (0.5, 0.5, 0)) * 2.2 - 0.6
    width, high = 0.55 * tall * rng.uniform(0.8, 1.1), 0.24 * tall
    top = y + tall * float(rng.choice([-0.34, 0.12]))
    row, col = np.mgrid[0:side, 0:side] / side
    u, v = (col - x + width / 2) / width, (row - top) / high
    inside = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
    picked = cells[np.clip(v * 8, 0, 7).astype(int), np.clip(u * 8, 0, 7).astype(int)]
    return np.where(inside[..., None], np.clip(picked, 0, 1), color)
