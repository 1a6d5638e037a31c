"""The made sets: faces, heads, pad, bodies, video, clothed. Each is data; `maker.make` writes it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from mien.core.seeds import derive
from mien.render.alignment import TEMPLATE, align_face, five_of_68, similarity, warp
from mien.synth.attacks import SPECIES, face_box, present
from mien.synth.audit import shortcut_audit
from mien.synth.capsule_set import Heads3d
from mien.synth.clothed_set import ClothedSet
from mien.synth.dressed import sample_surface, signed_distance
from mien.synth.face import Picture, detail_for
from mien.synth.full_body import BodyPicture, make_body, photograph_body, sample_view
from mien.synth.looks import Shot, sample_shot
from mien.synth.maker import MadeSet, Sample, Unmeasured, check_ranges, js, npz, png
from mien.synth.motion import talk
from mien.synth.portraits import make_face, photograph, sample_actions
from mien.synth.poses import KINDS, sample_pose
from mien.synth.sensors import Sensor
from mien.synth.talking_set import TalkingSet

_COUNTS = {"identities": (1, 1_000_000), "per_identity": (1, 10_000)}


@dataclass(frozen=True)
class FaceSet(Unmeasured):
    """Faces with depth, normals, albedo, parts, canonical positions, landmarks and labels."""

    kind: ClassVar[str] = "faces"
    shown: ClassVar[tuple[str, ...]] = ("png",)
    identities: int = 16
    """People."""
    per_identity: int = 4
    """Pictures of each person."""
    size: int = 128
    """Pixels a side, 16 to 1024."""
    seed: int = 0
    """Same seed, same pictures, whatever the number of workers."""
    yaw: float = 0.22
    """Standard deviation of the head's turn, radians."""
    expressions: float = 1.0
    """Strength of expressions, 0 to 1."""
    glasses: float = 0.22
    """How often a picture has glasses."""
    aligned: bool = False
    """Also 112 x 112 faces, aligned to the standard template (112.png)."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range.
        """
        check_ranges(self, **_COUNTS, size=(16, 1024), yaw=(0, 0.8), expressions=(0, 1), glasses=(0, 1))

    def samples(self, number: int) -> Iterator[Sample]:
        """Pictures of one person."""
        who = derive(self.seed, "identity", number)
        person = make_face(who, detail_for(self.size))
        for k in range(self.per_identity):
            seed = derive(who, "nuisance", k)
            shot = sample_shot(seed, self.yaw, self.glasses)
            actions = sample_actions(seed, self.expressions)
            picture = photograph(person, shot, self.size, actions)
            files = {
                "png": png(picture.rgb),
                "npz": npz(**face_truth(picture)),
                "json": js(face_label(number, k, shot, actions, picture)),
            }
            if self.aligned:
                five = five_of_68(picture.landmarks)[:, :2] - 0.5
                files["112.png"] = png(align_face(picture.rgb, five))
            yield Sample(f"{k:04d}", files)


@dataclass(frozen=True)
class AlignedSet(Unmeasured):
    """Small faces at the standard template, one file a person: for recognition on thousands of people."""

    kind: ClassVar[str] = "aligned"
    shown: ClassVar[tuple[str, ...]] = ("png",)
    identities: int = 100
    """People."""
    per_identity: int = 10
    """Pictures of each person."""
    size: int = 32
    """Pixels a side of a crop, 16 to 224."""
    seed: int = 0
    """Same seed, same pictures, whatever the number of workers."""
    first: int = 0
    """Number of the first person."""
    yaw: float = 0.22
    """Standard deviation of the head's turn, radians."""
    glasses: float = 0.22
    """How often a picture has glasses."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range.
        """
        check_ranges(self, **_COUNTS, size=(16, 224), first=(0, 1e9), yaw=(0, 0.8), glasses=(0, 1))

    def samples(self, number: int) -> Iterator[Sample]:
        """One sample: all crops of one person."""
        who = derive(self.seed, "identity", self.first + number)
        render = 2 * self.size
        person = make_face(who, detail_for(render))
        target = (TEMPLATE + 0.5) * (self.size / 112) - 0.5
        crops, fives = [], []
        for k in range(self.per_identity):
            seed = derive(who, "nuisance", k)
            shot = sample_shot(seed, self.yaw, self.glasses)
            picture = photograph(person, shot, render, sample_actions(seed))
            five = five_of_68(picture.landmarks)[:, :2] - 0.5
            matrix = similarity(five, target)
            crops.append(warp(picture.rgb, matrix, self.size))
            fives.append(five @ matrix[:, :2].T + matrix[:, 2])
        yield Sample("all", {
            "png": png(crops[0]),
            "npz": npz(images=np.stack(crops), five=np.stack(fives).astype(np.float32)),
        })  # fmt: skip


@dataclass(frozen=True)
class HeadSet(FaceSet):
    """Heads seen from widely different sides, without glasses: for systems that learn shape."""

    kind: ClassVar[str] = "heads"
    yaw: float = 0.45
    """Standard deviation of the head's turn, radians."""
    expressions: float = 0.5
    """Strength of expressions, 0 to 1."""
    glasses: float = 0.0
    """How often a picture has glasses."""


def face_truth(picture: Picture) -> dict[str, Any]:
    """Ground truth as arrays.

    depth m float16 (inf background), normal int8 / 127, albedo uint8 / 255 linear, part uint8, canonical
    position dm float16, landmarks (68, 3) x, y pixels and depth m, visible (68,).
    """
    return {
        "depth": picture.depth.astype(np.float16),
        "normal": np.round(picture.normal * 127).astype(np.int8),
        "albedo": np.round(np.clip(picture.albedo, 0, 1) * 255).astype(np.uint8),
        "part": picture.part,
        "canon": picture.canon.astype(np.float16),
        "landmarks": picture.landmarks,
        "visible": picture.visible,
    }


def face_label(
    number: int, k: int, shot: Shot, actions: dict[str, float], picture: Picture
) -> dict[str, Any]:
    """What a picture shows, as plain values."""
    return {
        "identity": number,
        "picture": k,
        "yaw": shot.yaw,
        "pitch": shot.pitch,
        "roll": shot.roll,
        "gaze": list(shot.gaze),
        "focal_px": picture.focal,
        "camera_m": picture.camera.tolist(),
        "rotation": picture.rotation.tolist(),
        "landmarks5": five_of_68(picture.landmarks)[:, :2].tolist(),
        "light": {"kind": shot.light.kind, "key": list(shot.light.key), "color": list(shot.light.color)},
        "glasses": shot.frames is not None,
        "actions": actions,
    }


@dataclass(frozen=True)
class PadSet:
    """Live faces and presentation attacks in colour, depth and near infrared."""

    kind: ClassVar[str] = "pad"
    shown: ClassVar[tuple[str, ...]] = ("png", "depth.png", "ir.png")
    identities: int = 16
    """Subjects."""
    per_identity: int = 8
    """Samples of each."""
    size: int = 64
    """Pixels a side, 16 to 512."""
    seed: int = 0
    """Same seed, same pictures, whatever the number of workers."""
    live: float = 0.5
    """Share of live samples."""
    devices: int = 3
    """Different sensors; a sample's device is drawn."""
    species: tuple[str, ...] = SPECIES
    """Instruments of attack, equally likely; one named twice is twice as likely."""
    first: int = 0
    """Number of the first subject."""
    first_device: int = 0
    """Number of the first device."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range, or an unknown species.
        """
        from mien.synth.attacks import sample_attack

        check_ranges(self, **_COUNTS, size=(16, 512), live=(0, 1), devices=(1, 1000), first=(0, 1e9),
                     first_device=(0, 1e6))  # fmt: skip
        for name in dict.fromkeys(self.species):
            sample_attack(name, 0)

    def report(self, samples: Iterator[tuple[str, dict[str, bytes]]]) -> list[str]:
        """The shortcut audit, on at most 4,000 samples of a set of five subjects or more."""
        found, kinds, who = [], [], []
        for _, files in islice(samples, 4000):
            label = json.loads(files["json"])
            with np.load(io.BytesIO(files["npz"]), allow_pickle=False) as truth:
                depth, ir, face = truth["depth"], truth["ir"], truth["face"]
            found.append((np.asarray(Image.open(io.BytesIO(files["png"]))), depth, ir, face))
            kinds.append(label["species"])
            who.append(label["subject"])
        counts = {k: kinds.count(k) for k in ("live", *SPECIES)}
        lines = ["Samples: " + ", ".join(f"{k} {n}" for k, n in counts.items() if n) + ".\n"]
        if len(set(who)) < 20 or not 0 < counts["live"] < len(kinds):
            return lines
        auc = ", ".join(f"{k} {v:.3f}" for k, v in shortcut_audit(found, kinds, who).items())
        return [*lines, f"Shortcut audit (AUC of trivial statistics on held-out subjects): {auc}.\n"]

    def samples(self, number: int) -> Iterator[Sample]:
        """Samples of one subject."""
        subject = self.first + number
        who = derive(self.seed, "identity", subject)
        for k in range(self.per_identity):
            seed = derive(who, "sample", k)
            rng = np.random.default_rng(derive(seed, "kind"))
            species = "live" if rng.random() < self.live else str(rng.choice(self.species))
            device = self.first_device + int(rng.integers(self.devices))
            scene = present(who, species, self.size, seed)
            capture = Sensor.device(device).capture(scene, seed)
            seen = capture.pictures()
            label = {
                "subject": subject,
                "sample": k,
                "live": int(species == "live"),
                "species": species,
                "device": device,
                "box": list(face_box(scene)),
                "focal_px": scene.focal,
            }
            yield Sample(f"{k:04d}", {
                "png": png(seen["rgb"]),
                "depth.png": png(seen["depth"]),
                "ir.png": png(seen["ir"]),
                "npz": npz(depth=capture.depth, ir=capture.ir.astype(np.float16), face=scene.face),
                "json": js(label),
            })  # fmt: skip


@dataclass(frozen=True)
class BodySet(Unmeasured):
    """Dressed people: front and back truth, canonical and posed meshes, signed distances."""

    kind: ClassVar[str] = "bodies"
    shown: ClassVar[tuple[str, ...]] = ("png", "normal.png")
    identities: int = 8
    """People."""
    per_identity: int = 2
    """Pictures of each: poses and views."""
    size: int = 256
    """Height and width in pixels, 64 to 1024."""
    seed: int = 0
    """Same seed, same pictures, whatever the number of workers."""
    points: int = 4096
    """Signed-distance samples at rest: half near the surface, a quarter on it, a quarter around."""
    meshes: bool = True
    """Also the mesh at rest and posed (mesh.npz)."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range.
        """
        check_ranges(self, **_COUNTS, size=(64, 1024), points=(0, 1_000_000))

    def samples(self, number: int) -> Iterator[Sample]:
        """Pictures of one dressed person."""
        who = derive(self.seed, "identity", number)
        body = make_body(who)
        wear = body.dressed
        for k in range(self.per_identity):
            seed = derive(who, "nuisance", k)
            rng = np.random.default_rng(derive(seed, "kind"))
            kind: Any = str(rng.choice([p for p in KINDS if p != "rest"]))
            view = sample_view(seed, self.size, self.size, float(rng.normal(0, 0.5)))
            picture = photograph_body(body, sample_pose(seed, kind), view)
            shown = np.round((picture.normal + 1) * 127.5 * (picture.layer > 0)[..., None])
            files = {
                "png": png(picture.rgb),
                "normal.png": png(shown.astype(np.uint8)),
                "npz": npz(**body_truth(picture), **self._distances(body, derive(who, "sdf", k))),
                "json": js({
                    "identity": number, "picture": k, "pose": kind, "yaw": view.yaw,
                    "clothes": [g.kind for g in wear.worn], "keypoints": picture.keypoints.tolist(),
                    "light": {"kind": view.light.kind, "key": list(view.light.key)},
                }),
            }  # fmt: skip
            if self.meshes:
                files["mesh.npz"] = npz(
                    rest=(wear.points * 0.1).astype(np.float32),
                    posed=picture.points.astype(np.float32),
                    canon=(wear.canon * 0.1).astype(np.float32),
                    faces=wear.faces,
                    layer=wear.layer,
                )
            yield Sample(f"{k:04d}", files)

    def _distances(self, body: Any, seed: int) -> dict[str, Any]:
        """Points at rest (metres) with signed distance: surface, near (sd 3 cm), box."""
        if not self.points:
            return {}
        rng = np.random.default_rng(seed)
        wear = body.dressed
        on, normal, _ = sample_surface(wear.points, wear.faces, 3 * self.points // 4, seed)
        quarter = self.points // 4
        near = on[quarter:] + rng.normal(0, 0.3, (len(on) - quarter, 3))
        low, high = wear.points.min(0) - 1, wear.points.max(0) + 1
        box = rng.uniform(low, high, (self.points - len(on), 3))
        query = np.concatenate([near, box])
        sdf = signed_distance(query, wear.points, wear.faces, wear.faces, seed)
        return {
            "surface": (on[:quarter] * 0.1).astype(np.float32),
            "surface_normal": normal[:quarter].astype(np.float16),
            "query": (query * 0.1).astype(np.float32),
            "sdf": (sdf * 0.1).astype(np.float32),
        }


def body_truth(picture: BodyPicture) -> dict[str, Any]:
    """Ground truth as arrays: maps of the front and of the back share pixels; metres, camera frame."""
    return {
        "alpha": np.round(picture.alpha * 255).astype(np.uint8),
        "depth": picture.depth,
        "depth_back": picture.depth_back,
        "normal": np.round(picture.normal * 127).astype(np.int8),
        "normal_back": np.round(picture.normal_back * 127).astype(np.int8),
        "albedo": np.round(np.clip(picture.albedo, 0, 1) * 255).astype(np.uint8),
        "layer": picture.layer,
        "part": picture.part,
        "canon": picture.canon.astype(np.float32),
        "joints": picture.joints.astype(np.float32),
        "transforms": picture.transforms,
    }


@dataclass(frozen=True)
class VideoSet(Unmeasured):
    """Clips of talking heads with face actions, pose and landmarks of every frame."""

    kind: ClassVar[str] = "video"
    shown: ClassVar[tuple[str, ...]] = ("000.png", "008.png")
    identities: int = 8
    """People."""
    per_identity: int = 2
    """Clips of each person."""
    size: int = 64
    """Pixels a side, 16 to 512."""
    seed: int = 0
    """Same seed, same clips, whatever the number of workers."""
    frames: int = 16
    """Frames of a clip, 1 to 1000."""
    fps: float = 12.5
    """Frames a second."""
    turn: float = 0.25
    """Standard deviation of the head's turn, radians."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range.
        """
        check_ranges(self, **_COUNTS, size=(16, 512), frames=(1, 1000), fps=(1, 120), turn=(0, 0.6))

    def samples(self, number: int) -> Iterator[Sample]:
        """Clips of one person; light, clothes and room stay, expression and pose move."""
        from mien.synth.body import people

        who = derive(self.seed, "identity", number)
        person = make_face(who, detail_for(self.size))
        names = people().actions
        for k in range(self.per_identity):
            seed = derive(who, "clip", k)
            base = sample_shot(seed, 0.0, 0.1)
            motion = talk(seed, self.frames, self.fps, 1.0, self.turn)
            files: dict[str, bytes] = {}
            truth: dict[str, list[Any]] = {
                "landmarks": [],
                "visible": [],
                "actions": [],
                "pose": [],
                "depth": [],
            }
            for f, moment in enumerate(motion):
                shot = replace(base, yaw=moment.yaw, pitch=moment.pitch, roll=moment.roll, gaze=moment.gaze)
                picture = photograph(person, shot, self.size, moment.actions)
                files[f"{f:03d}.png"] = png(picture.rgb)
                truth["landmarks"].append(picture.landmarks)
                truth["visible"].append(picture.visible)
                truth["actions"].append([moment.actions.get(n, 0.0) for n in names])
                truth["pose"].append([moment.yaw, moment.pitch, moment.roll, *moment.gaze])
                truth["depth"].append(picture.depth.astype(np.float16))
            files["npz"] = npz(**{key: np.asarray(v) for key, v in truth.items()}, names=np.array(names))
            files["json"] = js({"identity": number, "clip": k, "fps": self.fps, "focal_px": picture.focal,
                                "camera_m": picture.camera.tolist(), "light": base.light.kind})  # fmt: skip
            yield Sample(f"{k:04d}", files)


SETS: dict[str, type[Any]] = {
    c.kind: c
    for c in (FaceSet, AlignedSet, HeadSet, PadSet, BodySet, VideoSet, TalkingSet, ClothedSet, Heads3d)
}


def made_set(kind: str) -> type[MadeSet]:
    """The settings of a kind of made set.

    Raises:
        ConfigError: no such kind.
    """
    from mien.core.config import suggest
    from mien.core.errors import ConfigError

    if kind not in SETS:
        raise ConfigError(f"no made set {kind!r}{suggest(kind, list(SETS))}")
    return SETS[kind]  # type: ignore[no-any-return]
