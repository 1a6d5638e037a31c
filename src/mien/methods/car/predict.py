"""``mien predict car``: photographs of standing people in, avatars out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mien.core import io
from mien.core.errors import ConfigError, DataError
from mien.core.images import ImageInput, encode_png, read_image
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.methods.car.avatar import Avatar
from mien.methods.car.bodies import BodyParams, load_body, read_arrays
from mien.methods.car.config import PredictOptions
from mien.methods.car.estimate import estimate_body
from mien.methods.car.evaluate import restore
from mien.methods.car.export import export_plan
from mien.methods.car.keypoints import Person, read_keypoints
from mien.methods.car.net import CarNet
from mien.methods.car.photo import Photo, read_photo
from mien.methods.car.pictures import Picture, both_sides, knowledge, normals_picture, overlay
from mien.methods.car.pose_fit import overlap
from mien.methods.car.reconstruct import AvatarReconstructor, Reconstruction
from mien.methods.car.texture import Source
from mien.methods.car.view import seen_faces, to_view
from mien.metrics.surfaces import is_watertight
from mien.render.mesh_io import Mesh, save_mesh

_OFF = 1e-3
_WHY = {
    "no_person": "the mask is empty",
    "several_persons": "the mask has several large parts; keep one person in it",
    "cropped": "the person touches the rim; the whole of them must be in the picture",
    "too_small": "the person is too small in the picture",
}


@dataclass(frozen=True)
class ClothedResult:
    """One photograph.

    Attributes:
        status: ok, and only then anything is written; no_person, several_persons, cropped, too_small.
        files: what was written.
        seconds: of each stage.
        overlap: intersection over union of the naked body's silhouette and the mask.
        vertices: of the avatar.
        watertight: whether its surface is closed.
        shares: of its vertices by what is known of them (`Source`).
    """

    status: str
    files: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    overlap: float | None = None
    vertices: int = 0
    watertight: bool | None = None
    shares: Mapping[str, float] = field(default_factory=dict)


class Predictor(AvatarReconstructor, AbstractPredictor):  # type: ignore[misc, override]
    """`AvatarReconstructor` of a model folder, for photographs as users have them.

    Args:
        folder: opened model folder.
        net: its net.
        size: side of the pictures that it was trained on.

    >>> mien.load("car")("me.png", "mask.png").export("me.glb")                     # doctest: +SKIP
    """

    def __init__(self, folder: ModelFolder, net: CarNet, size: int) -> None:
        super().__init__(net.to(default_device()), size)
        self.folder = folder

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """Loads the weights."""
        made = restore(folder)
        return cls(folder, made.net, made.size)

    def __call__(
        self,
        image: ImageInput,
        mask: Any = "auto",
        body: BodyParams | None = None,
        keypoints: str | Path | None = None,
        **options: Any,
    ) -> Avatar:
        """The avatar of a photograph.

        Args:
            image: what `mien.core.images.read_image` takes.
            mask: a picture (white = person), "alpha", "plain" or "auto"; see `PredictOptions`.
            body: in the square that holds the photograph in its middle; default: estimated.
            keypoints: file for the estimate.
            options: of `AvatarReconstructor.reconstruct`.

        Raises:
            DataError: no whole person, or see `reconstruct`.
        """
        photo, person = photo_of(image, mask, self.size, keypoints)
        check_photo(photo)
        return self.reconstruct(photo.image, photo.mask, body_for(photo, body, person), **options).avatar

    def predict(self, *inputs: ImageInput, options: PredictOptions | None = None) -> list[ClothedResult]:
        """The avatar of each photograph.

        Written to ``options.output``, with several inputs to a numbered folder each: avatar.safetensors,
        avatar.glb (star pose, skinned, can move), posed.obj (as photographed), canonical.ply, body.npz (in
        the square of the net), normals.png, overlay.png, views.png, uncertainty.png, and with ``pose``
        reposed.glb.

        Args:
            inputs: photographs.
            options: flags.

        Raises:
            ConfigError: no input, or flags for one photograph with several.
            DataError: a file cannot be used, or the body does not belong to the mask.
        """
        options = options or PredictOptions()
        if not inputs:
            raise ConfigError("give at least one photograph")
        own_mask = options.mask not in ("auto", "alpha", "plain")
        if len(inputs) > 1 and (options.body or options.keypoints or own_mask):
            raise ConfigError(
                f"--mask FILE, --body and --keypoints belong to one photograph, {len(inputs)} are given"
            )
        folder = Path(options.output)
        places = [folder] if len(inputs) == 1 else [folder / f"{k:03d}" for k in range(len(inputs))]
        return [self._one(x, options, place) for x, place in zip(inputs, places, strict=True)]

    def _one(self, given: ImageInput, options: PredictOptions, folder: Path) -> ClothedResult:
        photo, person = photo_of(given, options.mask, self.size, options.keypoints)
        if photo.status != "ok":
            return ClothedResult(photo.status)
        body = body_for(photo, None if options.body is None else load_body(options.body), person)
        repose = None if options.pose is None else read_pose(options.pose, body.names)
        found = self.reconstruct(
            photo.image, photo.mask, body, refine=options.refine, kind=options.kind, start=options.start,
            iters=options.iters, coarse=options.resolution, fine=options.resolution, seed=options.seed,
        )  # fmt: skip
        files = write_all(folder, photo, body, found)
        avatar = found.avatar
        if repose is not None:
            moved = repose(avatar)
            files.append(save_mesh(folder / "reposed.glb", *moved[:2], colors=moved.colors))
        return replace(result_of(photo, body, found), files=tuple(map(str, files)))


def result_of(photo: Photo, body: BodyParams, found: Reconstruction) -> ClothedResult:
    """What is told of an avatar; no file is written."""
    avatar, size = found.avatar, photo.mask.shape[-1]
    naked = seen_faces(body.in_view(), body.faces, size, size) >= 0
    return ClothedResult(
        "ok",
        seconds={k: round(v, 3) for k, v in found.seconds.items()},
        overlap=round(overlap(naked, photo.mask), 4),
        vertices=len(avatar.posed),
        watertight=is_watertight(Mesh(avatar.posed.numpy(), avatar.faces.numpy())),
        shares=shares(avatar),
    )


def photo_of(
    image: ImageInput, mask: Any, size: int, keypoints: str | Path | None
) -> tuple[Photo, Person | None]:
    """A photograph and the keypoints of a file, in the box of its square; see `read_photo`.

    Raises:
        DataError: as `read_photo` and `read_keypoints`.
    """
    if keypoints is None:
        return read_photo(image, mask, size), None
    person = read_keypoints(keypoints, read_image(image).shape[:2])
    photo = read_photo(image, mask, size, person.mask)
    return photo, person.cropped(photo.crop) if photo.status == "ok" else None


def check_photo(photo: Photo) -> None:
    """Raises DataError where a photograph does not show one whole person."""
    if photo.status != "ok":
        raise DataError(f"{photo.status}: {_WHY[photo.status]}")


def body_for(photo: Photo, given: BodyParams | None, keypoints: Person | None = None) -> BodyParams:
    """The body in the square of a photograph: the given one, or an estimate, on keypoints if there are any.

        calib' = M C calib,   C of `crop_matrix`, M moves the middle of the body's depth to 0

    Raises:
        DataError: no estimate covers the mask.
    """
    if given is None:
        return estimate_body(photo.mask, keypoints=keypoints).body
    body = replace(given, calib=photo.crop @ given.calib)
    depth = body.in_view()[:, 2]
    calib = body.calib.clone()
    calib[2, 3] -= (depth.amin() + depth.amax()) / 2
    return replace(body, calib=calib)


def read_pose(path: str | Path, names: tuple[str, ...]) -> Callable[[Avatar], Mesh]:
    """What takes an avatar of joints ``names`` to the pose of a file.

    The file is an npz with ``rotations`` (J, 3, 3) about the joints from the star pose and perhaps
    ``translation`` (3,), metres; or with ``transforms`` (J, 4, 4), as body.npz has them: exact for the same
    person, near for others of the same rig.

    Raises:
        DataError: a file that cannot be read, without these arrays, of another rig, or no numbers.
    """
    table = read_arrays(path, "pose")
    name = next((n for n in ("rotations", "transforms") if n in table), None)
    if name is None:
        raise DataError(f"{path}: no rotations and no transforms in it; a pose has one of them")
    side = 3 if name == "rotations" else 4
    given, count = table[name], len(names)
    if given.shape != (count, side, side) or tuple(table.get("names", names)) != names:
        raise DataError(
            f"{path}: {name} {given.shape} of another rig; this avatar's joints are ({count},):"
            f" {', '.join(names)}"
        )
    pose = torch.as_tensor(given, dtype=torch.float32)
    shift = torch.as_tensor(table.get("translation", [0.0] * 3), dtype=torch.float32).reshape(3)
    turn = pose[:, :3, :3]
    if not bool(pose.isfinite().all()) or float((turn @ turn.mT - torch.eye(3)).abs().max()) > _OFF:
        raise DataError(f"{path}: {name} are no rotations (R R^T = 1)")
    if name == "transforms":
        return lambda avatar: avatar.repose(pose)
    return lambda avatar: avatar.repose(avatar.bone_transforms(pose, shift))


def write_all(folder: Path, photo: Photo, body: BodyParams, found: Reconstruction) -> list[Path]:
    """Writes what `Predictor.predict` lists."""
    avatar, pictures = found.avatar, pictures_of(photo, body, found)
    return [
        avatar.save(folder / "avatar.safetensors"),
        avatar.export(folder / "avatar.glb"),
        avatar.export(folder / "posed.obj", "posed"),
        avatar.export(folder / "canonical.ply"),
        body.save(folder / "body.npz"),
        *(io.write_bytes(folder / f"{name}.png", encode_png(p)) for name, p in pictures.items()),
    ]


def pictures_of(photo: Photo, body: BodyParams, found: Reconstruction) -> dict[str, Picture]:
    """By name: guessed normals, the body over the photograph, the avatar's two sides, what is known of it."""
    avatar = found.avatar
    view = to_view(avatar.posed, body.calib)
    return {
        "normals": normals_picture(found.maps),
        "overlay": overlay(photo.image, photo.mask, body),
        "views": both_sides(view, avatar.faces, avatar.colors),
        "uncertainty": knowledge(avatar, body.calib),
    }


def shares(avatar: Avatar) -> dict[str, float]:
    """Share of the vertices of each `Source`."""
    counts: Tensor = torch.bincount(avatar.provenance.long(), minlength=len(Source))
    return {s.name.lower(): round(float(counts[s]) / len(avatar.provenance), 4) for s in Source}


__all__ = ["Predictor", "export_plan"]
