"""Who somebody is, and how they are seen: identity looks from one seed, nuisance from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from mien.core.seeds import derive
from mien.synth.facial_hair import BrowShape, Frames
from mien.synth.hair import HairLine, Style
from mien.synth.light import Light, sample_light
from mien.synth.skin import Skin
from mien.synth.worn import Worn

Color = tuple[float, float, float]
_HAIR: dict[str, Color] = {
    "black": (0.012, 0.010, 0.009),
    "dark": (0.030, 0.018, 0.011),
    "brown": (0.075, 0.040, 0.020),
    "light": (0.17, 0.10, 0.052),
    "blond": (0.36, 0.24, 0.12),
    "red": (0.19, 0.058, 0.018),
}
_IRIS: dict[str, tuple[Color, Color]] = {
    "dark": ((0.035, 0.016, 0.008), (0.07, 0.032, 0.014)),
    "brown": ((0.09, 0.042, 0.016), (0.19, 0.10, 0.035)),
    "hazel": ((0.12, 0.09, 0.03), (0.22, 0.14, 0.05)),
    "green": ((0.10, 0.14, 0.06), (0.20, 0.21, 0.09)),
    "blue": ((0.09, 0.17, 0.30), (0.26, 0.36, 0.46)),
    "grey": ((0.16, 0.19, 0.22), (0.33, 0.36, 0.38)),
}
_MEN: dict[str, float] = {
    "crop": 0.27,
    "sidepart": 0.20,
    "buzz": 0.17,
    "quiff": 0.14,
    "balding": 0.10,
    "bald": 0.07,
    "long": 0.05,
}
_WOMEN: dict[str, float] = {
    "long": 0.24,
    "wavy": 0.22,
    "bob": 0.16,
    "pulled": 0.14,
    "fringe": 0.12,
    "curly": 0.06,
    "crop": 0.06,
}
_MEN_A: dict[str, float] = {"buzz": 0.45, "afro": 0.15, "curly": 0.15, "bald": 0.15, "balding": 0.10}
_WOMEN_A: dict[str, float] = {"pulled": 0.30, "afro": 0.25, "curly": 0.20, "wavy": 0.15, "buzz": 0.10}


@dataclass(frozen=True)
class Macro:
    """Shape at large: ancestry (african, asian, caucasian), sex (1 male), age (.5 = 25 years, 1 old)."""

    ancestry: tuple[float, float, float]
    male: float
    age: float


@dataclass(frozen=True)
class Looks:
    """Colours and hair of one person; ``worn``: the mask over the face, if any."""

    skin: Skin
    style: Style
    line: HairLine
    hair_color: Color
    grey: float
    brow: BrowShape
    brow_hairs: int
    beard: str
    beard_length: float
    iris: tuple[Color, Color]
    iris_radius: float
    sclera: float
    veins: float
    oil: float
    lash: float
    seed: int
    worn: Worn | None = None


def _pick(rng: np.random.Generator, table: dict[str, float]) -> str:
    p = np.array(list(table.values()))
    return str(rng.choice(list(table), p=p / p.sum()))


def sample_looks(seed: int, macro: Macro) -> Looks:
    """Looks that go softly with ancestry, sex and age; deterministic in the seed."""
    rng = np.random.default_rng(derive(seed, "looks"))
    african, asian, _ = macro.ancestry
    male = macro.male > 0.5
    mel = float(np.clip(np.dot(macro.ancestry, (2.0, 0.62, 0.30)) + rng.normal(0, 0.16), 0.08, 2.6))
    hem = float(np.clip(rng.normal(0.30, 0.10), 0.08, 0.6))
    dark = african + 0.9 * asian > 0.55
    hues = (
        {"black": 0.72, "dark": 0.28}
        if dark
        else {"dark": 0.3, "brown": 0.3, "light": 0.17, "blond": 0.15, "red": 0.08}
    )
    hair = np.array(_HAIR[_pick(rng, hues)]) * np.exp(rng.normal(0, 0.12))
    eyes = (
        {"dark": 0.75, "brown": 0.25}
        if dark
        else {"brown": 0.34, "hazel": 0.16, "green": 0.12, "blue": 0.26, "grey": 0.12}
    )
    iris = _IRIS[_pick(rng, eyes)]
    grey = float(np.clip((macro.age - 0.68) * 2.8 + 0.10 * rng.normal(), 0, 1)) if macro.age > 0.62 else 0.0
    table = (_MEN_A if male else _WOMEN_A) if african > 0.5 else (_MEN if male else _WOMEN)
    table = {k: v for k, v in table.items() if k != "balding" or macro.age >= 0.62}
    style = cast(Style, _pick(rng, table))
    recede = abs(rng.normal()) * (5 + 18 * max(0.0, macro.age - 0.42)) if male else abs(rng.normal()) * 2
    line = HairLine(
        float(2.5 * rng.normal()),
        float(min(recede, 16.0)),
        float(rng.uniform(-8, 8)),
        float(rng.uniform(0, 50)),
        float(rng.uniform(7.72, 8.02)) if style == "balding" else 99.0,
    )
    kind = "none"
    shadow = 0.0
    if male:
        kind = _pick(rng, {"none": 0.50, "stubble": 0.22, "full": 0.15, "goatee": 0.07, "moustache": 0.06})
        shadow = (
            rng.uniform(0.1, 0.8) * 0.30 + (0.45 if kind == "stubble" else 0) + (0.8 if kind == "full" else 0)
        )
        shadow *= 0.6 if hair.max() > 0.1 else 1.0
    makeup = not male and rng.random() < 0.35
    lips = rng.uniform(0.35, 0.8) * (1 if male else 1.35) + (0.7 if makeup else 0)
    scalp = {"buzz": 0.62, "balding": 0.5, "bald": 0.15}.get(style, 0.88)
    moles = tuple(
        (float(rng.uniform(-0.55, 0.55)), float(rng.uniform(6.3, 7.9)), float(rng.uniform(0.008, 0.02)))
        for _ in range(rng.poisson(2))
    )
    brow_color = hair * (0.75 if hair.max() > 0.1 else 1.0)
    skin = Skin(
        mel,
        hem,
        macro.age,
        float(rng.uniform(0.5, 1.3)),
        float(rng.uniform(0, 1)),
        float(rng.uniform(0.4, 1.0)) if mel < 0.6 and rng.random() < 0.25 else 0.0,
        float(lips),
        float(rng.uniform(0, 0.35)),
        0.35 if makeup else 0.0,
        float(african),
        moles,
        _rgb(brow_color),
        scalp,
        float(rng.uniform(0.35, 0.75)),
        float(min(shadow, 1.2)),
        float(rng.uniform(0, 60)),
    )
    thick = rng.uniform(0.034, 0.085) if male else rng.uniform(0.018, 0.056)
    brow = BrowShape(
        7.487 + 0.026 * float(np.clip(rng.normal(), -1.8, 1.8)),
        float(np.clip(rng.normal(0.005, 0.026), -0.05, 0.06)),
        float(rng.uniform(0.0, 0.085)),
        float(rng.uniform(0.065, 0.145)),
        float(rng.uniform(0.35, 0.49)),
        float(thick),
    )
    lengths = {"full": rng.uniform(0.06, 0.4)}
    return Looks(
        skin,
        style,
        line,
        _rgb(hair),
        grey,
        brow,
        int(rng.uniform(1200, 5200)),
        kind,  # type: ignore[arg-type]
        float(lengths.get(kind, rng.uniform(0.05, 0.14))),
        iris,
        float(rng.uniform(0.41, 0.45)),
        float(rng.uniform(0.75, 0.92)),
        float(rng.uniform(0.2, 0.8)),
        float(rng.uniform(0.25, 0.65)),
        float(rng.uniform(0.6, 1.5)) * (0.7 if male else 1.0),
        int(rng.integers(2**31)),
    )


def _rgb(v: Any) -> Color:
    return float(v[0]), float(v[1]), float(v[2])


@dataclass(frozen=True)
class Shot:
    """How a person is seen once.

    Attributes:
        yaw, pitch, roll: of the head, radians.
        gaze: left-right and up-down of the eyes relative to the head, radians.
        focal: 35 mm-equivalent focal length, mm.
        fill: part of the frame that the head's 2.35 dm take.
        light: sky and key.
        frames: glasses, or none.
        shirt: colour and kind of collar (crew, v, scoop) and stripes.
        seed: background, sensor noise.
        cube: dm; where given, head, shoulders and light turn as one about the middle of the head, that is the
            camera goes around them, 2.7 cubes away with a focal length of 3.2 picture sides; the backdrop is
            white and the sensor adds no noise.
        zoom: with ``cube``: times the focal length.
    """

    yaw: float
    pitch: float
    roll: float
    gaze: tuple[float, float]
    focal: float
    fill: float
    light: Light
    frames: Frames | None
    shirt: tuple[Color, str, float]
    seed: int
    cube: float | None = None
    zoom: float = 1.0


def sample_shot(seed: int, yaw: float = 0.22, glasses: float = 0.22, frontal: bool = False) -> Shot:
    """One nuisance; ``yaw``: standard deviation of the head's turn; ``glasses``: how often."""
    rng = np.random.default_rng(derive(seed, "shot"))
    turn = 0.0 if frontal else 1.0
    frames = None
    if rng.random() < glasses:
        dark = rng.random() < 0.65
        color = (0.012, 0.012, 0.013) if dark else _rgb(rng.uniform(0.04, 0.3) * (0.8 + 0.4 * rng.random(3)))
        frames = Frames(
            float(rng.uniform(0.27, 0.33)),
            float(rng.uniform(0.19, 0.27)),
            float(rng.uniform(2.2, 5)),
            float(rng.uniform(0.018, 0.044)),
            color,
        )
    hue = rng.random(3) ** 1.6
    tone = rng.choice([0.03, 0.15, 0.4, 0.7], p=[0.3, 0.3, 0.2, 0.2])
    cloth = tone * (0.35 + 0.65 * hue) if rng.random() < 0.75 else np.full(3, tone)
    return Shot(
        float(turn * np.clip(rng.normal(0, yaw), -0.9, 0.9)),
        float(turn * np.clip(rng.normal(0, 0.09), -0.26, 0.26)),
        float(turn * rng.normal(0, 0.04)),
        (float(rng.normal(0, 0.10)), float(rng.normal(0, 0.05))),
        float(rng.uniform(45, 85)),
        float(rng.uniform(0.62, 0.75)),
        sample_light(derive(seed, "shot", "light")),
        frames,
        (
            _rgb(cloth),
            str(rng.choice(["crew", "v", "scoop"])),
            float(rng.choice([0.0, 0.0, rng.uniform(0.1, 0.5)])),
        ),
        int(rng.integers(2**31)),
    )
