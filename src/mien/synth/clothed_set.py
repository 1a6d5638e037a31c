"""Made sets of clothed people for avatars from one picture: rendered people, and cheap ones of capsules.

The posed space is the camera's frame: metres, x right, y up, z to the viewer. ``calib`` takes it to the box
[-1, 1]^3 with y down, orthographically.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mien.core.seeds import derive
from mien.render.normal_maps import normal_maps
from mien.synth.body import METRES, people
from mien.synth.clothed_people import (
    Clothed,
    Rig,
    capsule_person,
    capsule_rig,
    clothed_body,
    clothed_person,
    draw_samples,
    people_rig,
    star_dressed,
)
from mien.synth.clothed_poses import (
    CAPSULE_LIMBS,
    PEOPLE_LIMBS,
    Limbs,
    clothed_pose,
    joint_transforms,
    noisy_pose,
    skinned,
)
from mien.synth.dressed import Dressed, vertex_moves
from mien.synth.full_body import Body, View, photograph_body
from mien.synth.light import sample_light
from mien.synth.maker import Sample, Unmeasured, check_ranges, npz, png

Array = NDArray[Any]  # of floats
_MARGIN = 1.1  # of the picture around the body
_YAW = 0.4  # radians, standard deviation


def normal_colors(normals: Array) -> NDArray[np.uint8]:
    """Unit normals (.., 3) as colours (n + 1) / 2 * 255; 0 of the background is 128."""
    return np.asarray(np.floor((np.asarray(normals) + 1) * 127.5 + 0.5), np.uint8)


def calibration(half: float) -> Array:
    """(4, 4) from the posed space to the box: diag(1, -1, 1, half) / half."""
    return np.diag([1 / half, -1 / half, 1 / half, 1.0]).astype(np.float32)


class Shown(NamedTuple):
    """A picture of a person.

    Attributes:
        image: (S, S, 3) uint8.
        world: (4, 4) from the space in which joints are posed to the camera's frame.
        half: metres from the middle of the picture to its side.
    """

    image: NDArray[np.uint8]
    world: Array
    half: float


class Drawn(NamedTuple):
    """A person of a set with their pictures.

    Attributes:
        person: in the star pose.
        pictures: M rows each: ``images`` (M, S, S, 3), ``masks`` (M, S, S), ``normals`` and ``body_normals``
            (M, 2, S, S, 3), ``calib`` (M, 4, 4), ``transforms`` and ``given_transforms`` (M, J, 4, 4).
    """

    person: Clothed
    pictures: dict[str, Array]


@dataclass(frozen=True)
class ClothedSet(Unmeasured):
    """Dressed people in random poses with all that clothed reconstruction learns from."""

    kind: ClassVar[str] = "clothed"
    shown: ClassVar[tuple[str, ...]] = ("png",)
    identities: int = 76
    """People."""
    per_identity: int = 4
    """Pictures of each: poses and views."""
    size: int = 128
    """Pixels a side, 16 to 1024."""
    seed: int = 0
    """Same seed, same people, whatever the number of workers."""
    unseen: int = 0
    """How many of the last people have shapes, clothes and poses outside the ranges of the others."""
    points: int = 4096
    """Surface samples of each person; as many near it, a quarter around."""
    pose_noise: float = 0.05
    """Standard deviation of the joints of the given body, radians."""
    shape_noise: float = 0.15
    """Standard deviation of the share of another person in the shape of the given body."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range.
        """
        check_ranges(self, identities=(1, 1_000_000), per_identity=(1, 1000), size=(16, 1024),
                     unseen=(0, self.identities), points=(4, 1_000_000), pose_noise=(0, 1),
                     shape_noise=(0, 1))  # fmt: skip

    @classmethod
    def rig(cls) -> Rig:
        """What all people share."""
        return people_rig()

    def who(self, number: int) -> int:
        """Seed of a person."""
        return derive(self.seed, self.kind, number)

    def is_unseen(self, number: int) -> bool:
        """Whether a person is outside the training ranges."""
        return number >= self.identities - self.unseen

    def samples(self, number: int) -> Iterator[Sample]:
        """One sample: a person with all pictures. Most seconds go into the signs of the distances."""
        person, pictures = self.drawn(number)
        mesh = {
            "points": person.points,
            "faces": person.faces,
            "weights": person.weights.astype(np.float16),
            "body": person.body,
            "given": person.given,
        }
        drawn = asdict(draw_samples(person, self.points, self.who(number)))
        yield Sample("all", {
            "png": png(pictures["images"][0]),
            "npz": npz(**pictures, **mesh, **drawn),
        })  # fmt: skip

    def drawn(self, number: int) -> Drawn:
        """A person and all pictures, without training points. Some 2 s."""
        who, unseen = self.who(number), self.is_unseen(number)
        body = clothed_body(who, unseen=unseen)
        star = star_dressed(body.dressed)
        person = clothed_person(body, star, self.shape_noise, who)

        def photograph(pose: dict[str, Array], yaw: float, seed: int) -> Shown:
            return _photograph(body, star, pose, yaw, self.size, seed)

        return self._drawn(person, PEOPLE_LIMBS, photograph, who, unseen)

    def _drawn(self, person: Clothed, limbs: Limbs, photograph: Any, who: int, unseen: bool) -> Drawn:
        """The person in random poses before the camera."""
        rig = self.rig()
        found: dict[str, list[Array]] = {}
        for k in range(self.per_identity):
            seed = derive(who, "picture", k)
            pose = clothed_pose(limbs, seed, unseen=unseen)
            yaw = float(np.random.default_rng(derive(seed, "yaw")).normal(0, _YAW))
            shown = photograph(pose, yaw, seed)
            moved = shown.world @ joint_transforms(person.heads, rig.parents, rig.names, pose)
            guess = noisy_pose(pose, rig.names, seed, self.pose_noise)
            given = shown.world @ joint_transforms(person.given_heads, rig.parents, rig.names, guess)
            posed = skinned(person.points, person.weights, moved)
            bare = skinned(person.given, rig.body_weights, given)
            normals, mask = _maps(posed, person.faces, self.size, shown.half)
            body_normals, _ = _maps(bare, rig.body_faces, self.size, shown.half)
            row = {
                "images": shown.image,
                "masks": mask,
                "normals": normals,
                "body_normals": body_normals,
                "calib": calibration(shown.half),
                "transforms": moved.astype(np.float32),
                "given_transforms": given.astype(np.float32),
            }
            for name, value in row.items():
                found.setdefault(name, []).append(value)
        return Drawn(person, {name: np.stack(rows) for name, rows in found.items()})


@dataclass(frozen=True)
class CapsuleSet(ClothedSet):
    """As `ClothedSet`, of capsules (`mien.synth.clothed_people.capsule_person`): cheap, for tests."""

    kind: ClassVar[str] = "capsules"

    @classmethod
    def rig(cls) -> Rig:
        """What all people share."""
        return capsule_rig()

    def drawn(self, number: int) -> Drawn:
        """As `ClothedSet.drawn`; some 0.1 s."""
        who, unseen = self.who(number), self.is_unseen(number)
        person = capsule_person(who, self.shape_noise, unseen=unseen)
        rig = self.rig()

        def photograph(pose: dict[str, Array], yaw: float, seed: int) -> Shown:
            moves = joint_transforms(person.heads, rig.parents, rig.names, pose)
            world, half = framed(skinned(person.points, person.weights, moves), yaw)
            posed = skinned(person.points, person.weights, world @ moves)
            return Shown(_painted(posed, person, self.size, half, who, seed), world, half)

        return self._drawn(person, CAPSULE_LIMBS, photograph, who, unseen)


def framed(posed: Array, yaw: float) -> tuple[Array, float]:
    """A camera in front of posed points: turn by yaw about y, then their middle; half the picture's side."""
    world = np.eye(4)
    world[:3, :3] = Rotation.from_rotvec([0, yaw, 0]).as_matrix()
    turned = posed @ world[:3, :3].T
    low, high = turned.min(0), turned.max(0)
    world[:3, 3] = -0.5 * (low + high)
    return world, float(_MARGIN * 0.5 * (high - low)[:2].max())


def _photograph(body: Body, star: Dressed, pose: dict[str, Array], yaw: float, size: int, seed: int) -> Shown:
    """A dressed person as `photograph_body` shows it."""
    moves, _ = vertex_moves(people(), star.shaped, pose)
    _, half = framed(METRES * star.posed(moves), yaw)
    half *= 1.1  # the camera's middle is the root, not that of the outline
    view = View(yaw, sample_light(seed), 0.0, size, size, span=2 * half, seed=seed)
    picture = photograph_body(body, pose, view, dressed=star)
    return Shown(picture.rgb, picture.transforms[0].astype(np.float64), half)


def _maps(posed: Array, faces: Array, size: int, half: float) -> tuple[Array, Array]:
    """Colours (2, S, S, 3) of the front and back normals, and where the mesh is (S, S) in {0, 255}."""
    points, triangles = torch.as_tensor(posed)[None], torch.as_tensor(faces)
    found = normal_maps(points, triangles, size, size, half=half)
    return (
        normal_colors(torch.cat([found.front, found.back]).numpy()),
        255 * found.mask[0].numpy().astype(np.uint8),
    )


def _painted(posed: Array, person: Clothed, size: int, half: float, who: int, seed: int) -> Array:
    """A matt person in one light on grey."""
    found = normal_maps(torch.as_tensor(posed)[None], torch.as_tensor(person.faces), size, size, half=half)
    normal, mask = found.front[0].numpy(), found.mask[0].numpy()
    color = np.random.default_rng(derive(who, "color")).uniform(0.2, 0.9, 3)
    light = np.random.default_rng(derive(seed, "light")).normal(0, 0.5, 3) + np.array([0, 0.4, 1.2])
    level = 0.3 + 0.7 * np.clip(normal @ (light / np.linalg.norm(light)), 0, 1)
    image = np.where(mask[..., None], color * level[..., None], 0.5)
    return np.asarray(np.floor(255 * image + 0.5), np.uint8)
