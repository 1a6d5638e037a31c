"""The shape of a person from a seed: macro shapes (ancestry, sex, age, weight, muscle) and local ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.synth.looks import Macro

LSCALE = 0.8
ANCESTRY = ("african", "asian", "caucasian")
HEAD_SHAPES = ("oval", "round", "rectangular", "square", "triangular", "invertedtriangular", "diamond")
# Standard deviations at scale 1 of shapes with two directions; the pair names are looked up in `PAIRS`.
SINGLE = {
    "head-scale-horiz": 0.28, "head-scale-vert": 0.22, "head-scale-depth": 0.28, "head-angle": 0.18,
    "head-fat": 0.40, "head-back-scale-depth": 0.35, "head-age": 0.4, "forehead-nubian": 0.14,
    "forehead-scale-vert": 0.22, "forehead-temple": 0.4, "forehead-trans": 0.3, "eyebrows-angle": 0.63,
    "eyebrows-trans:up": 0.63, "eyebrows-trans:forward": 0.35, "nose-base": 0.4, "nose-compression": 0.35,
    "nose-curve": 0.5, "nose-flaring": 0.5, "nose-greek": 0.4, "nose-hump": 0.5, "nose-nostrils-angle": 0.5,
    "nose-nostrils-width": 0.55, "nose-point": 0.4, "nose-point-width": 0.6, "nose-scale-depth": 0.40,
    "nose-scale-horiz": 0.55, "nose-scale-vert": 0.45, "nose-septumangle": 0.45, "nose-trans:up": 0.4,
    "nose-volume": 0.45, "nose-width1": 0.6, "nose-width2": 0.6, "nose-width3": 0.6, "mouth-angles": 0.35,
    "mouth-cupidsbow": 0.6, "mouth-cupidsbow-width": 0.5, "mouth-dimples": 0.5, "mouth-laugh-lines": 0.6,
    "mouth-lowerlip-ext": 0.3, "mouth-lowerlip-height": 0.5, "mouth-lowerlip-middle": 0.3,
    "mouth-lowerlip-volume": 0.5, "mouth-lowerlip-width": 0.4, "mouth-philtrum-volume": 0.6,
    "mouth-scale-depth": 0.4, "mouth-scale-horiz": 0.42, "mouth-scale-vert": 0.4, "mouth-trans:forward": 0.3,
    "mouth-trans:up": 0.35, "mouth-upperlip-ext": 0.3, "mouth-upperlip-height": 0.5,
    "mouth-upperlip-middle": 0.3, "mouth-upperlip-volume": 0.5, "mouth-upperlip-width": 0.35,
    "chin-bones": 0.40, "chin-cleft": 0.5, "chin-height": 0.30, "chin-jaw-drop": 0.5,
    "chin-prognathism": 0.35, "chin-prominent": 0.35, "chin-width": 0.45,
    "neck-double": 0.3, "neck-scale-horiz": 0.3,
    "neck-scale-depth": 0.3,
}  # fmt: skip
TWO_SIDED = {
    "cheek-bones": 0.5, "cheek-inner": 0.5, "cheek-trans": 0.45, "cheek-volume": 0.45, "eye-bag": 0.7,
    "eye-bag-height": 0.4, "eye-corner1": 0.84, "eye-corner2": 0.84, "eye-epicanthus": 0.35,
    "eye-eyefold": 0.4, "eye-eyefold-angle": 0.4, "eye-height1": 0.7, "eye-height2": 0.63,
    "eye-height3": 0.7, "eye-push1": 0.35, "eye-push2": 0.35, "eye-scale": 0.63, "eye-trans:up": 0.56,
    "eye-trans:in": 0.49, "ear-flap": 0.35, "ear-lobe": 0.5, "ear-rot": 0.4, "ear-scale": 0.45,
    "ear-scale-vert": 0.35, "ear-trans:up": 0.2, "ear-wing": 0.35,
}  # fmt: skip
PAIRS = (
    ("decr", "incr"),
    ("down", "up"),
    ("in", "out"),
    ("backward", "forward"),
    ("concave", "convex"),
    ("compress", "uncompress"),
)


@dataclass(frozen=True)
class Identity:
    """Who somebody is, as a shape.

    Attributes:
        seed: of the draw.
        macro: ancestry, sex, age.
        shape: name of a shape target -> weight.
    """

    seed: int
    macro: Macro
    shape: Mapping[str, float]


def directions(stem: str, known: frozenset[str]) -> tuple[str, str]:
    """Names of the two ends of a shape; ``stem:up`` picks the pair with that end.

    Raises:
        ConfigError: the asset has no such pair.
    """
    stem, _, end = stem.partition(":")
    for low, high in PAIRS:
        if (not end or end in (low, high)) and f"{stem}-{low}" in known and f"{stem}-{high}" in known:
            return f"{stem}-{low}", f"{stem}-{high}"
    raise ConfigError(f"no pair of shapes {stem}-..")


def macro_weights(macro: Macro, muscle: float, weight: float, height: float = 0.5) -> dict[str, float]:
    """Weights of the mixed targets: products of tent weights of ancestry, sex, age, muscle, weight, height.

    Raises:
        ConfigError: age below 0.42 (21 years; adults only) or any value outside [0, 1].
    """
    for name, value in (("male", macro.male), ("muscle", muscle), ("weight", weight), ("height", height)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name}={value} is outside [0, 1]")
    if not 0.42 <= macro.age <= 1:
        raise ConfigError(f"age={macro.age} is outside [0.42, 1] (21 years .. old): adults only")
    old = max(0.0, (macro.age - 0.5) / 0.5)
    ages = {"young": 1 - old, "old": old}
    sexes = {"male": macro.male, "female": 1 - macro.male}
    muscles, weights = (_tent(v, w) for v, w in ((muscle, "muscle"), (weight, "weight")))
    tall = {"minheight": max(0.0, 1 - 2 * height), "maxheight": max(0.0, 2 * height - 1)}
    out: dict[str, float] = {}
    for sex, ws in sexes.items():
        for age, wa in ages.items():
            for race, wr in zip(ANCESTRY, macro.ancestry, strict=True):
                out[f"{race}-{sex}-{age}"] = wr * ws * wa
            for m, wm in muscles.items():
                for w, ww in weights.items():
                    out[f"universal-{sex}-{age}-{m}-{w}"] = ws * wa * wm * ww
                    for h, wh in tall.items():
                        out[f"height-{sex}-{age}-{m}-{w}-{h}"] = ws * wa * wm * ww * wh
    return {k: float(v) for k, v in out.items() if v > 0}


def _tent(value: float, what: str) -> dict[str, float]:
    return {
        f"min{what}": max(0.0, 1 - 2 * value),
        f"average{what}": 1 - abs(2 * value - 1),
        f"max{what}": max(0.0, 2 * value - 1),
    }


def sample_identity(seed: int, known: frozenset[str], lscale: float = LSCALE, tall: float = 0.5) -> Identity:
    """A person's shape; the same seed gives the same person everywhere.

    Args:
        seed: identity.
        known: shapes of the asset.
        lscale: 1 gives some caricatures, 0.6 is always natural.
        tall: 0 short .. 1 tall.
    """
    rng = np.random.default_rng(derive(seed, "identity"))
    ancestry = rng.dirichlet([0.3] * 3)
    male = float(np.clip(rng.choice([0.08, 0.92]) + rng.normal(0, 0.07), 0, 1))
    age = float(0.42 + 0.5 * rng.beta(1.1, 1.7))
    weight, muscle = (float(np.clip(0.5 + s * rng.normal(), 0, 1)) for s in (0.16, 0.15))
    macro = Macro((float(ancestry[0]), float(ancestry[1]), float(ancestry[2])), male, age)
    shape = macro_weights(macro, muscle, weight, tall)
    for name, share in zip(HEAD_SHAPES, rng.dirichlet([0.5] * 7) * rng.uniform(0.2, 0.8), strict=True):
        shape[f"head-{name}"] = float(share)
    for stem, sigma in SINGLE.items():
        low, high = directions(stem, known)
        z = float(np.clip(rng.normal(), -1.6, 1.6)) * sigma * lscale
        shape[high if z > 0 else low] = abs(z)
    for stem, sigma in TWO_SIDED.items():
        common = float(np.clip(rng.normal(), -1.6, 1.6))
        for side in ("l", "r"):
            low, high = directions(f"{side}-{stem}", known)
            z = (common + 0.15 * float(rng.normal())) * sigma * lscale
            shape[high if z > 0 else low] = abs(z)
    return Identity(seed, macro, shape)
