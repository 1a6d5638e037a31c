"""Made sets of heads in the camera of graphics capsules: rendered people, and heads that are formulas.

Conventions of `mien.synth.param_heads`. A person of `mien.synth.People` is seen by a camera that goes around
the middle of the head; in the world of `mien.synth.face` (y up, z towards the camera) axes are those of
C = diag(1, -1, -1), so a turn Y(yaw) X(pitch) of the head is C Y X C = Ry(-yaw) Rx(pitch).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mien.core.seeds import derive
from mien.render.alignment import five_of_68
from mien.synth import param_heads
from mien.synth.face import ORBIT_FOCAL, ORBIT_RADIUS, Detail, Person, Picture
from mien.synth.grading import srgb
from mien.synth.light import Light
from mien.synth.looks import Shot, sample_shot
from mien.synth.maker import Sample, Unmeasured, check_ranges, npz, png
from mien.synth.param_heads import (
    HeadView,
    draw_head,
    focal_pixels,
    sample_backdrop,
    sample_head,
    sample_light,
    sample_view,
    unhidden,
)
from mien.synth.portraits import make_face, photograph, sample_actions
from mien.synth.strands import BROWS, HAIR, LASHES

Array = NDArray[Any]  # of floats
PARTS = (*param_heads.PARTS, "clothes")
"""Parts of rendered people; those of formulas have no clothes."""
DISTANCE = 15.4
"""From the camera to the middle of the head, decimetres: the unit of depth."""
_DETAIL = Detail(3, 0.3, 1, 128, False)  # an odd number of samples: truth is read at pixel centres
_EYES, _TEETH, _TONGUE, _SHIRT, _STRANDS = (2, 3), 4, 5, 6, 7  # in `Picture.part`
_HIDDEN = 0.008  # a landmark so far behind what is drawn is hidden


@dataclass(frozen=True)
class Heads3d(Unmeasured):
    """Heads from several sides with depth, normals, albedo, parts, view, light, landmarks: for capsules."""

    kind: ClassVar[str] = "heads3d"
    shown: ClassVar[tuple[str, ...]] = ("png",)
    identities: int = 540
    """People."""
    per_identity: int = 5
    """Pictures of each person."""
    size: int = 64
    """Pixels a side, 16 to 512."""
    seed: int = 0
    """Same seed, same pictures, whatever the number of workers."""
    yaw: float = 40.0
    """Largest turn to a side, degrees."""
    pitch: float = 17.0
    """Largest turn up or down, degrees."""
    first: int = 0
    """Number of the first person."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range.
        """
        check_ranges(self, identities=(1, 1_000_000), per_identity=(1, 10_000), size=(16, 512), yaw=(0, 60),
                     pitch=(0, 30), first=(0, 1e9))  # fmt: skip

    def who(self, number: int) -> int:
        """Seed of a person."""
        return derive(self.seed, "identity", self.first + number)

    def views(self, number: int) -> Iterator[HeadView]:
        """Pictures of one person."""
        who = self.who(number)
        person = make_face(who, _DETAIL)
        shot = replace(sample_shot(derive(who, "clothes"), glasses=0.0, frontal=True), cube=_CUBE)
        for rng in self._draws(who):
            seen = (
                sample_view(rng, self.yaw, self.pitch),
                sample_light(rng),
                sample_backdrop(rng, self.size),
            )
            yield photograph_capsule(person, shot, *seen, sample_actions(int(rng.integers(2**31)), 0.5))

    def samples(self, number: int) -> Iterator[Sample]:
        """One sample: all pictures of one person."""
        seen = [packed(view) for view in self.views(number)]
        arrays = {name: np.stack([one[name] for one in seen]) for name in seen[0]}
        yield Sample("all", {"png": png(np.concatenate(arrays["image"][:8], 1)), "npz": npz(**arrays)})

    def _draws(self, who: int) -> Iterator[np.random.Generator]:
        """Random numbers of each picture."""
        return (np.random.default_rng(derive(who, "nuisance", k)) for k in range(self.per_identity))


@dataclass(frozen=True)
class ParamHeadSet(Heads3d):
    """As `Heads3d`, of heads that are formulas (`mien.synth.param_heads`)."""

    kind: ClassVar[str] = "param"
    hair: bool = False
    """Every other person has a lock before the forehead."""
    glasses: bool = False
    """Every other person wears them."""
    asymmetry: bool = False
    """Features of the right half lie lower or higher."""

    def views(self, number: int) -> Iterator[HeadView]:
        """Pictures of one person."""
        who = self.who(number)
        head = sample_head(who, hair=self.hair, glasses=self.glasses, asymmetry=self.asymmetry)
        for rng in self._draws(who):
            view, light = sample_view(rng, self.yaw, self.pitch), sample_light(rng)
            yield draw_head(head, view, light, sample_backdrop(rng, self.size))


def packed(view: HeadView) -> dict[str, NDArray[Any]]:
    """A picture and its truth in few bytes.

    Depth is float16 of depth - 1, nan = background; normals int8 / 127; albedo uint8 / 255.
    """
    depth = np.where(view.depth > 0, view.depth - 1, np.nan)
    return {
        "image": view.image,
        "depth": depth.astype(np.float16),
        "normal": np.round(view.normal * 127).astype(np.int8),
        "albedo": np.round(view.albedo * 255).astype(np.uint8),
        "part": view.part,
        "view": view.view.astype(np.float32),
        "light": view.light.astype(np.float32),
        "landmarks": view.landmarks.astype(np.float32),
        "visible": view.visible,
    }


def unpacked(arrays: dict[str, NDArray[Any]]) -> HeadView:
    """The inverse of `packed`, also of n pictures; depth to 1e-4, normals to .4 %. O(pixels)."""
    return HeadView(
        arrays["image"],
        np.nan_to_num(arrays["depth"].astype(np.float32) + 1),
        arrays["normal"].astype(np.float32) / 127,
        arrays["albedo"].astype(np.float32) / 255,
        *(arrays[name] for name in ("part", "view", "light", "landmarks", "visible")),
    )


def photograph_capsule(
    person: Person, shot: Shot, view: Array, light: Array, backdrop: Array, actions: dict[str, float]
) -> HeadView:
    """One picture of a person. O(S^2 + strands); 15 ms at 64 pixels.

    The light of the picture is a sky and a soft key light with shadows, skin shines: ambient and diffuse of
    ``light`` say how strong they are, they do not reproduce the pixels as those of `draw_head` do.
    Albedo is in sRGB, as the picture is.

    Args:
        person: who.
        shot: clothes; its ``cube`` given.
        view: (6,), without roll and translation.
        light: (5,).
        backdrop: (S, S, 3) in [0, 1].
        actions: of the face.
    """
    size = len(backdrop)
    zoom = focal_pixels(size) / (ORBIT_FOCAL * size)
    turned = replace(shot, yaw=-float(view[1]), pitch=float(view[0]), roll=0.0, light=_lamp(light), zoom=zoom)
    seen = photograph(person, turned, size, actions, _DETAIL)
    here = seen.part > 0
    depth = np.where(here, seen.depth * (10 / DISTANCE), 0).astype(np.float32)
    part = face_parts(person, seen)
    marks = five_of_68(seen.landmarks) * [1, 1, 10 / DISTANCE]
    return HeadView(
        _before(seen, backdrop),
        depth,
        (seen.normal * [-1, 1, 1] * here[..., None]).astype(np.float32),
        srgb(seen.albedo) * here[..., None],
        part,
        np.asarray(view, np.float32),
        np.asarray(light, np.float32),
        (marks[:, :2] - 0.5).astype(np.float32),
        unhidden(marks, depth, _HIDDEN),
    )


_CUBE = DISTANCE / ORBIT_RADIUS


def _lamp(light: Array) -> Light:
    """A sky, and a key light from where (5,) ``light`` comes, in the axes of `mien.synth.face`."""
    sky, key = float(light[0]) + 0.05, 1.3 * float(light[1])
    x, y, z = (float(v) for v in light[2:])
    return Light(
        "studio", (sky, sky, sky), (0.85 * sky,) * 3, (), (-x, y, z), (key, 0.97 * key, 0.94 * key), 0.2
    )


def _before(seen: Picture, backdrop: Array) -> NDArray[np.uint8]:
    """The picture, drawn on white, before another backdrop: (S, S, 3)."""
    behind = (1 - seen.alpha[..., None]) * (backdrop - 1)
    return np.asarray(np.round(np.clip(seen.rgb + 255 * behind, 0, 255)), np.uint8)


def face_parts(person: Person, seen: Picture) -> NDArray[np.uint8]:
    """(S, S) index into `PARTS`: by material, and by canonical position on the face. O(S^2)."""
    x, y, z = np.abs(seen.canon[..., 0]), seen.canon[..., 1], seen.canon[..., 2]
    drawn = seen.part
    skin = drawn == 1
    out = np.where(drawn > 0, PARTS.index("skin"), 0).astype(np.uint8)
    nose = (z > 1.1) & (y > 6.76) & (y < 7.27) & (x < np.interp(y, [6.76, 6.9, 7.27], [0.22, 0.2, 0.09]))
    mouth = (((x / 0.30) ** 2 + ((y - 6.66) / 0.115) ** 2) < 1) & (z > 0.9)
    lids = (((x - 0.31) / 0.17) ** 2 + ((y - 7.285) / 0.085) ** 2) < 1
    brow = person.looks.brow.weight(seen.canon.reshape(-1, 3)).reshape(y.shape) > 0.35
    for name, where in (
        ("nose", skin & nose),
        ("mouth", (skin & mouth) | (drawn == _TEETH) | (drawn == _TONGUE)),
        ("eyes", (skin & lids & (z > 0.7)) | np.isin(drawn, _EYES) | (drawn == _STRANDS + LASHES)),
        ("brows", (skin & brow) | (drawn == _STRANDS + BROWS)),
        ("hair", drawn == _STRANDS + HAIR),
        ("clothes", drawn == _SHIRT),
    ):
        out[where] = PARTS.index(name)
    return out
