"""Live faces and presentation attacks as scenes: prints (flat, bent, cut out), screens, worn masks.

A print or a screen is a recapture: a picture of the victim on a surface before the attacker, in scale, with
the surface's own depth and infrared reflectance. A mask is worn: the attacker's head with another surface.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.render.alignment import five_of_68, similarity
from mien.synth.face import Person, Picture, detail_for
from mien.synth.head import EYE_L, EYE_R, SKIN
from mien.synth.looks import Shot, sample_shot
from mien.synth.masks import MaskKind, wear_mask
from mien.synth.portraits import make_face, photograph, sample_actions
from mien.synth.sensors import REFLECTANCE, Scene, surface_normals
from mien.synth.worn import worn_region

Array = NDArray[Any]  # of floats
PrintKind = Literal["flat", "bent", "cut"]
SPECIES = ("print_flat", "print_bent", "print_cut", "replay", "mask_paper", "mask_plaster", "mask_resin",
           "mask_silicone", "mask_latex")  # fmt: skip
"""Kinds of instruments."""
_BORDERLESS = 1.5  # a sheet larger than this share of the picture fills it


def _draw(rng: np.random.Generator, material: str) -> float:
    return float(rng.uniform(*REFLECTANCE[material]))


def _materials(picture: Picture, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Depth with a wall, reflectance, gloss and scatter of a live head's picture."""
    part = picture.part
    head = part > 0
    size = part.shape[0]
    depth = picture.depth.astype(np.float64)
    near = float(np.median(depth[head]))
    v, u = np.mgrid[0:size, 0:size] / size - 0.5
    wall = near + rng.uniform(0.3, 1.6) + 0.3 * rng.normal() * u + 0.15 * rng.normal() * v
    depth = np.where(head, depth, wall if rng.random() < 0.85 else np.inf)
    skin = _draw(rng, "skin")
    rho = np.full(part.shape, _draw(rng, "wall") * float(rng.uniform(0.7, 1.0)))
    luminance = picture.albedo.mean(-1)
    own = part == SKIN + 1
    if own.any():  # veins and lips lose contrast: a tenth of the visible contrast remains
        rho[own] = skin * (1 + 0.10 * (luminance[own] / luminance[own].mean() - 1))
    rho[(part == EYE_L + 1) | (part == EYE_R + 1)] = _draw(rng, "eye")
    rho[(part == 4) | (part == 5)] = 0.4
    rho[part == 6] = _draw(rng, "cloth")
    rho[part >= 7] = _draw(rng, "hair")
    gloss = np.zeros(part.shape)
    normal = surface_normals(np.where(head, depth, near), picture.focal)
    gloss[own] = 0.06 * np.clip(normal[..., 2][own], 0, 1) ** 24
    scatter = np.where(own, rng.uniform(0.001, 0.003), 0.0)
    return depth, rho, gloss, scatter


def live_scene(picture: Picture, seed: int) -> Scene:
    """A live face before a wall.

    Args:
        picture: rendered head.
        seed: of wall and reflectances.
    """
    rng = np.random.default_rng(derive(seed, "live"))
    depth, rho, gloss, scatter = _materials(picture, rng)
    face = (picture.part >= 1) & (picture.part <= 5)
    return Scene(picture.rgb / 255.0, depth, rho, gloss, scatter, face, picture.focal, "live")


@dataclass(frozen=True)
class _Sheet:
    """A surface before the attacker: depth, its paper coordinates, where it is, and its cosine to a light."""

    depth: Array
    texture: Array
    inside: NDArray[np.bool_]
    tilt: tuple[float, float]


def _five(picture: Picture) -> Array:
    return five_of_68(picture.landmarks)[:, :2]


def _sheet(
    attacker: Picture, victim: Picture, rng: np.random.Generator, radius: float, crop: float
) -> _Sheet:
    """A plane or cylinder z = z0 + a x + b y + x'^2 / (2 R) with the victim's picture in scale."""
    size = attacker.part.shape[0]
    f = attacker.focal
    face = (attacker.part >= 1) & (attacker.part <= 5)
    z0 = float(np.percentile(attacker.depth[face], 2)) - float(rng.uniform(0.01, 0.05))
    a, b = float(rng.normal(0, 0.12)), float(rng.normal(0, 0.10))
    v, u = np.mgrid[0:size, 0:size] + 0.5
    x, y = (u - size / 2) / f * z0, (v - size / 2) / f * z0
    phi = rng.uniform(-0.4, 0.4)
    across = x * np.cos(phi) + y * np.sin(phi)
    bow = across**2 / (2 * radius) if radius else np.zeros_like(x)
    depth = z0 + a * x + b * y + bow
    # Lengths on the paper: tilt stretches, an arc is longer than its chord.
    stretch = across**3 / (6 * radius**2) if radius else np.zeros_like(x)
    px = x * np.sqrt(1 + a * a) + stretch * np.cos(phi)
    py = y * np.sqrt(1 + b * b) + stretch * np.sin(phi)
    at = np.stack([px / z0 * f + size / 2, py / z0 * f + size / 2], -1)
    scale = float(rng.uniform(0.92, 1.08))
    target = (_five(attacker) - size / 2) * scale + size / 2 + rng.normal(0, 0.01 * size, 2)
    m = similarity(target, _five(victim))  # attacker's pixels -> victim's
    texture = at @ m[:, :2].T + m[:, 2]
    side = victim.part.shape[0]
    middle = _five(victim)[2]
    half = crop * side / 2
    inside = (np.abs(texture - middle) < half).all(-1) | (crop > _BORDERLESS)
    return _Sheet(depth, texture, inside, (a, b))


def _sample(image: Array, at: Array) -> Array:
    """Bilinear samples of (H, W, 3) at pixel positions (.., 2)."""
    where = [at[..., 1] - 0.5, at[..., 0] - 0.5]
    planes = [map_coordinates(image[..., c], where, order=1, mode="nearest") for c in range(image.shape[-1])]
    return np.stack(planes, -1)


def _lamp(tilt: tuple[float, float], shot: Shot) -> Array:
    """Light (3,) on a matt plane facing the camera with a tilt, relative to white in the open."""
    n = np.array([tilt[0], -tilt[1], 1.0])
    n /= np.linalg.norm(n)
    light = shot.light
    key = np.array(light.color) * max(0.0, float(n @ np.array(light.key)))
    sky = 0.5 * (np.array(light.top) + np.array(light.bottom)) + 0.15
    level = key + sky
    return np.asarray(np.clip(level / (1 + 0.42 * level) * 1.18, 0.25, 1.15))


@dataclass(frozen=True)
class PrintAttack:
    """A printed photograph held before the face.

    Attributes:
        kind: flat; bent (a cylinder); cut (holes for eyes, nose and mouth show the attacker).
        ink: carbon (toner, dark in infrared) or dye (almost transparent there).
        crop: half of the paper as a share of half the picture; above 1.5 its border is never seen.
        radius: of the cylinder, metres.
        holes: eyes, nose, mouth.
    """

    kind: PrintKind = "flat"
    ink: Literal["carbon", "dye"] = "dye"
    crop: float = 1.2
    radius: float = 0.3
    holes: tuple[str, ...] = ("eyes",)

    def __post_init__(self) -> None:
        """Checks the kind.

        Raises:
            ConfigError: an unknown kind or a radius that is not positive.
        """
        if (
            self.kind not in get_args(PrintKind)
            or self.radius <= 0
            or set(self.holes) - {"eyes", "nose", "mouth"}
        ):
            raise ConfigError(
                f"print: kind={self.kind!r} is none of flat, bent, cut, radius={self.radius} is not positive,"
                f" or holes={self.holes} are not of eyes, nose, mouth"
            )

    def scene(self, attacker: Picture, victim: Picture, shot: Shot, seed: int) -> Scene:
        """The print before the attacker. O(S^2).

        Args:
            attacker: picture of who holds it.
            victim: picture that was printed.
            shot: light of the scene.
            seed: pose of the paper, printer.
        """
        rng = np.random.default_rng(derive(seed, "print"))
        base = live_scene(attacker, seed)
        sheet = _sheet(attacker, victim, rng, self.radius if self.kind == "bent" else 0.0, self.crop)
        color = _sample(victim.rgb / 255.0, sheet.texture)
        middle = color.mean()  # photographs are printed with more contrast than they were seen with
        color = np.clip(middle + rng.uniform(1.15, 1.75) * (color - middle), 0, 1) ** 2.2
        luminance = color.mean(-1)
        low, gain = rng.uniform(0.03, 0.07, 3), rng.uniform(0.72, 0.86, 3)
        color = low + gain * color
        size = len(luminance)
        v, u = np.mgrid[0:size, 0:size]
        period = rng.uniform(1.6, 3.2)
        for c, angle in enumerate(np.deg2rad((15.0, 75.0, 0.0))):
            wave = np.sin(2 * np.pi * (u * np.cos(angle) + v * np.sin(angle)) / period)
            color[..., c] += rng.uniform(0.01, 0.05) * wave * color[..., c]
        fibre = gaussian_filter(rng.standard_normal(luminance.shape), (0.4, 1.2))
        color = color * (1 + 0.02 * fibre[..., None])
        tilt_light = _lamp(sheet.tilt, shot)
        color = color * tilt_light * float(rng.uniform(0.9, 1.1))
        paper = _draw(rng, "paper")
        dark = 1 - np.clip(luminance / 0.6, 0, 1)
        rho = (
            paper * (1 - 0.10 * dark)
            if self.ink == "dye"
            else paper - (paper - rng.uniform(0.05, 0.15)) * dark
        )
        cover = sheet.inside
        if self.kind == "cut":
            cover = cover & ~self._cut(attacker, rng)
        face = _face_on(sheet, victim) & sheet.inside
        return _over(base, cover, color, sheet.depth, rho, np.zeros_like(rho), face, f"print_{self.kind}")

    def _cut(self, attacker: Picture, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Holes at the attacker's own eyes, nose, mouth."""
        marks = attacker.landmarks[:, :2]
        size = attacker.part.shape[0]
        v, u = np.mgrid[0:size, 0:size] + 0.5
        out = np.zeros((size, size), bool)
        groups = {"eyes": [range(36, 42), range(42, 48)], "nose": [range(27, 36)], "mouth": [range(48, 60)]}
        grow = rng.uniform(1.1, 1.7)
        for name in self.holes:
            for group in groups[name]:
                p = marks[list(group)]
                middle, r = p.mean(0), 0.5 * np.ptp(p, axis=0) * grow + 0.006 * size
                out |= (((u - middle[0]) / r[0]) ** 2 + ((v - middle[1]) / r[1]) ** 2) < 1
        return out


def _face_on(sheet: _Sheet, victim: Picture) -> NDArray[np.bool_]:
    """Where the victim's face lies on a sheet."""
    side = victim.part.shape[0]
    i, j = (np.clip(sheet.texture[..., k], 0, side - 1).astype(int) for k in (1, 0))
    part = victim.part[i, j]
    return np.asarray((part >= 1) & (part <= 5))


def _over(
    base: Scene,
    cover: NDArray[np.bool_],
    linear: Array,
    depth: Array,
    rho: Array,
    gloss: Array,
    face: NDArray[np.bool_],
    species: str,
) -> Scene:
    """A surface in front of a scene."""
    edge = gaussian_filter(cover.astype(np.float64), 0.4)[..., None]
    rgb = np.clip(linear, 0, 1) ** (1 / 2.2) * edge + base.rgb * (1 - edge)
    return replace(
        base,
        rgb=rgb,
        depth=np.where(cover, depth, base.depth),
        rho=np.where(cover, rho, base.rho),
        gloss=np.where(cover, gloss, base.gloss),
        scatter=np.where(cover, 0.0, base.scatter),
        face=face if face.any() else cover,
        species=species,
    )


@dataclass(frozen=True)
class ScreenAttack:
    """A phone or tablet that shows a picture or video of the victim.

    Attributes:
        crop: half of the screen as a share of half the picture; above 1.5 its border is never seen.
        bezel: width of the black frame, share of the picture.
        moire: strength of the beat between the screen's and the camera's grid.
    """

    crop: float = 1.2
    bezel: float = 0.04
    moire: float = 0.035

    def scene(self, attacker: Picture, victim: Picture, shot: Shot, seed: int) -> Scene:
        """The screen before the attacker. O(S^2).

        Args:
            attacker: picture of who holds it.
            victim: what is shown.
            shot: light of the scene.
            seed: pose of the screen, its grid.
        """
        rng = np.random.default_rng(derive(seed, "screen"))
        base = live_scene(attacker, seed)
        sheet = _sheet(attacker, victim, rng, 0.0, self.crop)
        color = _sample(victim.rgb / 255.0, sheet.texture)
        middle = color.mean()  # screens are set to more contrast than the room has
        color = np.clip(middle + rng.uniform(1.0, 1.45) * (color - middle), 0, 1)
        color = color ** (2.2 * rng.uniform(0.9, 1.15))
        color = color * np.array([0.90, 0.97, 1.08]) * rng.uniform(0.8, 1.3) + 0.005
        size = len(color)
        v, u = np.mgrid[0:size, 0:size]
        for c in range(3):
            f, angle = rng.uniform(0.05, 0.30), rng.uniform(0, np.pi)
            wave = np.sin(2 * np.pi * f * (u * np.cos(angle) + v * np.sin(angle)) + rng.uniform(0, 6.3))
            color[..., c] *= 1 + self.moire * rng.uniform(0.3, 1.3) * wave
        bar = np.sin(2 * np.pi * (v / size * rng.uniform(0.5, 2) + rng.random()))
        color = color * (1 + rng.uniform(0, 0.06) * bar[..., None])
        lamp = _lamp(sheet.tilt, shot)
        at = rng.uniform(0.2, 0.8, 2) * size
        spot = np.exp(-((u - at[0]) ** 2 + (v - at[1]) ** 2) / (2 * (rng.uniform(0.04, 0.12) * size) ** 2))
        color = color + 0.03 * lamp + (rng.uniform(0, 0.35) * (rng.random() < 0.5)) * spot[..., None]
        side = victim.part.shape[0]
        away = np.abs(sheet.texture - _five(victim)[2]).max(-1) - (self.crop - self.bezel) * side / 2
        if self.crop <= _BORDERLESS:
            color = np.where((away > 0)[..., None], 0.012, color)
        rho = np.full((size, size), _draw(rng, "screen"))
        # The mirror image of the camera's own light: where the normal looks at the camera.
        f = attacker.focal
        hot = size / 2 - np.array([sheet.tilt[0], sheet.tilt[1]]) * f
        width = rng.uniform(0.03, 0.07) * size
        glint = rng.uniform(0.5, 1.5) * np.exp(-((u - hot[0]) ** 2 + (v - hot[1]) ** 2) / (2 * width**2))
        face = _face_on(sheet, victim) & sheet.inside
        return _over(base, sheet.inside, color, sheet.depth, rho, glint, face, "replay")


@dataclass(frozen=True)
class MaskAttack:
    """A worn mask of the victim's face, or of nobody's.

    Attributes:
        kind: paper (folded, printed), plaster, resin (rigid), silicone, latex (soft).
    """

    kind: MaskKind = "silicone"

    def __post_init__(self) -> None:
        """Checks the kind.

        Raises:
            ConfigError: an unknown kind.
        """
        if self.kind not in get_args(MaskKind):
            raise ConfigError(f"mask {self.kind!r} is none of {', '.join(get_args(MaskKind))}")

    def scene(self, attacker: Person, victim: Person, shot: Shot, size: int, seed: int) -> Scene:
        """The attacker with the mask on. As slow as a portrait.

        Args:
            attacker: whose hair, eyes, neck are seen.
            victim: whose face the mask shows.
            shot: pose and light.
            size: pixels a side.
            seed: colour, reflectance, wall.
        """
        rng = np.random.default_rng(derive(seed, "mask"))
        worn = wear_mask(attacker, victim, self.kind, seed)
        strength = 0.35 if self.kind in ("silicone", "latex") else 0.0
        actions = sample_actions(seed, strength) if strength else None
        picture = photograph(worn, shot, size, actions)
        depth, rho, gloss, scatter = _materials(picture, rng)
        on = (picture.part == SKIN + 1) & (
            worn_region(picture.canon.reshape(-1, 3)).reshape(size, size) > 0.5
        )
        own = _draw(rng, self.kind)
        luminance = picture.albedo.mean(-1)
        contrast = 0.35 if self.kind == "paper" else 0.06
        mean = luminance[on].mean() if on.any() else 1.0
        rho = np.where(on, own * (1 + contrast * np.clip(luminance / mean - 1, -1, 1)), rho)
        shiny = {"resin": 0.25, "latex": 0.15, "silicone": 0.09}.get(self.kind, 0.02)
        normal = surface_normals(np.where(np.isfinite(depth), depth, 2.0), picture.focal)
        gloss = np.where(on, shiny * np.clip(normal[..., 2], 0, 1) ** 40, gloss)
        spread = rng.uniform(0.0008, 0.002) if self.kind in ("silicone", "latex") else 0.0
        scatter = np.where(on, spread, scatter)
        face = (picture.part >= 1) & (picture.part <= 5)
        return Scene(
            picture.rgb / 255.0, depth, rho, gloss, scatter, face, picture.focal, f"mask_{self.kind}"
        )


def sample_attack(species: str, seed: int) -> PrintAttack | ScreenAttack | MaskAttack:
    """An instrument of a species with its details drawn.

    Raises:
        ConfigError: no such species.
    """
    rng = np.random.default_rng(derive(seed, "instrument"))
    crop = float(rng.uniform(0.75, 1.3) if rng.random() < 0.5 else 1.7)
    if species.startswith("print_") and species in SPECIES:
        kind: Any = species.removeprefix("print_")
        ink: Any = "carbon" if rng.random() < 0.5 else "dye"
        holes: Any = (("eyes",), ("eyes", "nose"), ("eyes", "nose", "mouth"))[int(rng.integers(3))]
        return PrintAttack(kind, ink, crop, float(rng.uniform(0.1, 0.4)), holes)
    if species == "replay":
        return ScreenAttack(crop, float(rng.uniform(0.02, 0.07)), float(rng.uniform(0.015, 0.06)))
    if species.startswith("mask_") and species in SPECIES:
        kind = species.removeprefix("mask_")
        return MaskAttack(kind)
    raise ConfigError(f"species {species!r} is none of live, {', '.join(SPECIES)}")


_face = lru_cache(8)(make_face)


def present(subject: int, species: str, size: int, seed: int, attacker: int | None = None) -> Scene:
    """A scene of one subject: live, or attacked with an instrument that shows the subject's face.

    Args:
        subject: identity.
        species: "live" or one of `SPECIES`.
        size: pixels a side.
        seed: everything else.
        attacker: identity of who attacks; default one of two who are after this subject.

    Raises:
        ConfigError: no such species.
    """
    detail = detail_for(size)
    shot = sample_shot(derive(seed, "scene"), 0.18, 0.12)
    if species == "live":
        return live_scene(photograph(_face(subject, detail), shot, size, sample_actions(seed)), seed)
    instrument = sample_attack(species, seed)
    who = derive(subject, "attacker", seed % 2) if attacker is None else attacker
    own = _face(who, detail)
    if isinstance(instrument, MaskAttack):
        return instrument.scene(own, _face(subject, detail), shot, size, seed)
    photo = sample_shot(derive(seed, "photo"), 0.10, 0.12)
    victim = photograph(_face(subject, detail), photo, size, sample_actions(seed, 0.7))
    return instrument.scene(photograph(own, shot, size), victim, shot, seed)


def face_box(scene: Scene) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the presented face, pixels."""
    rows, cols = np.nonzero(scene.face)
    return int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1
