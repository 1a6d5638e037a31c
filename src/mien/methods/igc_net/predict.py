"""``mien predict igc_net``: a photograph in, capsules out: parts, depth, view, light; edits and meshes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core import figures, io
from mien.core.errors import ConfigError, DataError
from mien.core.images import ImageInput, encode_png
from mien.engine.folder import ModelFolder
from mien.engine.predictor import AbstractPredictor, default_device
from mien.methods.igc_net.capsules import ObjectCapsule
from mien.methods.igc_net.edits import assembly_of, light_from, relight, swap_part
from mien.methods.igc_net.evaluate import restore
from mien.methods.igc_net.export import export_plan
from mien.methods.igc_net.meshes import part_meshes, save, to_mesh
from mien.methods.igc_net.model import IGCNet, Rendering
from mien.methods.igc_net.options import PredictOptions
from mien.methods.igc_net.photos import Picture, look_at
from mien.methods.igc_net.pictures import (
    COLUMNS,
    depth_picture,
    exploded_mesh,
    face_row,
    normal_picture,
    parts_picture,
    to_picture,
    turned,
)
from mien.methods.igc_net.watchers import LEAST_AREA, MOST_AREA, part_shares


@dataclass(frozen=True, eq=False)
class Capsules:
    """One face, taken apart.

    Attributes:
        crop: (S, S, 3) what the net saw.
        object: the object capsule, a batch of one.
        shown: what it renders to.
        segmentation: (S, S) part of each pixel, 0 = background.
    """

    crop: Picture
    object: ObjectCapsule
    shown: Rendering
    segmentation: NDArray[np.int64]


@dataclass(frozen=True)
class FaceResult:
    """One photograph.

    Attributes:
        status: ok; no_face, too_small: nothing was encoded; collapsed: the foreground is nothing or all.
        view: pitch, yaw and roll, degrees.
        light: ambient, diffuse.
        light_from: degrees to the viewer's right and above that the light comes from.
        parts: share of the picture of each part.
        error: mean absolute difference of the crop and its reconstruction, 0 to 1.
        files: what was written.
        note: what was chosen or is missing.
    """

    status: str
    view: tuple[float, ...] = ()
    light: tuple[float, ...] = ()
    light_from: tuple[float, ...] = ()
    parts: tuple[float, ...] = ()
    error: float | None = None
    files: tuple[str, ...] = ()
    note: str = ""


class Predictor(AbstractPredictor):
    """Capsules of photographs.

    Args:
        folder: opened model folder.
        net: its net.

    >>> mien.load("igc_net").predict("me.png")[0].view                               # doctest: +SKIP
    """

    def __init__(self, folder: ModelFolder, net: IGCNet) -> None:
        self.folder, self.net, self.device = folder, net, default_device()
        self.size = net.renderer.image_size

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """Loads the weights."""
        return cls(folder, restore(folder))

    @torch.no_grad()
    def encode(self, crop: Picture) -> Capsules:
        """The capsules of a square picture (S, S, 3) of the net's size."""
        image = self.tensor(crop)
        obj = self.net.encode(image)
        shown = self.net.render(obj)
        return Capsules(crop, obj, shown, shown.visibility[0].argmax(0).cpu().numpy())

    def capsules(self, photo: ImageInput, options: PredictOptions | None = None) -> Capsules:
        """The capsules of one photograph, to edit and to measure; nothing is written.

        Raises:
            DataError: it cannot be read, or shows no face.
        """
        options = options or PredictOptions()
        found = look_at(photo, self.size, options.box, options.detector)
        if found.crop is None:
            raise DataError(f"{found.status}: {'; '.join(found.notes)}; give a picture of a face")
        return self.encode(found.crop)

    def tensor(self, crop: Picture) -> Tensor:
        """(1, 3, S, S) in [0, 1] of a square picture."""
        own = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)
        return own[None].to(self.device).float() / 255

    def predict(self, *inputs: ImageInput, options: PredictOptions | None = None) -> list[FaceResult]:
        """Takes each photograph apart; one result for each.

        Written to ``options.output``, with several inputs to a numbered folder each: parts.png, depth.png,
        normals.png, albedo.png, drawn.png, all of them in sheet.png, and what the flags ask for.

        Args:
            inputs: photographs: path, bytes, PIL image, array or tensor.
            options: flags.

        Raises:
            ConfigError: nothing to work on, or flags that do not go together.
            DataError: a picture cannot be read, or the one to swap with shows no face.
        """
        options = options or PredictOptions()
        check_inputs(len(inputs), options, len(self.net.queries))
        results = []
        for k, given in enumerate(inputs):
            folder = None if options.output is None else Path(options.output)
            if folder is not None and len(inputs) > 1:
                folder = folder / f"{k:03d}"
            results.append(self._one(given, options, folder))
        return results

    def _one(self, given: ImageInput, options: PredictOptions, folder: Path | None) -> FaceResult:
        photo = look_at(given, self.size, options.box, options.detector)
        if photo.crop is None:
            return FaceResult(photo.status, note="; ".join(photo.notes))
        own = self.encode(photo.crop)
        area = float(1 - own.shown.visibility[0, 0].mean())
        notes, status = list(photo.notes), "ok"
        if area < LEAST_AREA or area > MOST_AREA:
            status = "collapsed"
            notes.append(f"the foreground is {100 * area:.0f} % of the picture; a plain background helps")
        files = () if folder is None else self._written(own, options, folder)
        return FaceResult(
            status,
            tuple(round(math.degrees(v), 2) for v in own.object.view[0, :3].tolist()),
            (round(float(own.object.light.ambient[0]), 3), round(float(own.object.light.diffuse[0]), 3)),
            light_angles(own.object),
            tuple(round(v, 4) for v in part_shares(own.shown.visibility).tolist()),
            float((own.shown.image - self.tensor(own.crop)).abs().mean()),
            tuple(map(str, files)),
            "; ".join(notes),
        )

    def _written(self, own: Capsules, options: PredictOptions, folder: Path) -> list[Path]:
        """Pictures and meshes of one face."""
        obj, there = own.object, (torch.from_numpy(own.segmentation) > 0)
        pictures = {
            "drawn": to_picture(own.shown.image[0]),
            "parts": parts_picture(own.segmentation),
            "depth": depth_picture(own.shown.depth[0], there),
            "normals": normal_picture(own.shown.normal[0], there),
            "albedo": to_picture(obj.albedo[0]),
        } | self._edited(obj, options)
        sheet = figures.picture_rows([("", face_row(self.net, own.crop, obj))], COLUMNS)
        files = [io.write_bytes(folder / "sheet.png", sheet)]
        files += [io.write_bytes(folder / f"{n}.png", encode_png(p)) for n, p in pictures.items()]
        if options.mesh != "none":
            files.append(save(folder / f"face.{options.mesh}", to_mesh(obj)))
            for part, mesh in part_meshes(obj).items():
                files.append(save(folder / f"part_{part}.{options.mesh}", mesh))
        if options.explode:
            kind = "glb" if options.mesh == "none" else options.mesh
            files.append(save(folder / f"exploded.{kind}", exploded_mesh(obj)))
        return files

    @torch.no_grad()
    def _edited(self, obj: ObjectCapsule, options: PredictOptions) -> dict[str, Picture]:
        """The pictures that the flags ask for."""
        out = {}
        if options.swap is not None and options.part is not None:
            giver = self.capsules(options.swap, PredictOptions(detector=options.detector))
            obj = swap_part(obj, giver.object, options.part, assembly_of(self.net))
            out["swapped"] = to_picture(self.net.render(obj).image[0])
        if options.light:
            right, above = (math.radians(v) for v in options.light)
            lit = relight(obj, light_from(obj, right, above))
            out["relit"] = to_picture(self.net.render(lit).image[0])
        if options.yaw:
            views = turned(self.net, obj, options.yaw)
            out["turned"] = np.concatenate(views, 1)
        return out


def check_inputs(count: int, options: PredictOptions, parts: int) -> None:
    """Raises ConfigError for flags that do not go with so many inputs and parts."""
    if not count:
        raise ConfigError("no input; give a photograph of a face")
    if (options.swap is None) != (options.part is None):
        raise ConfigError("--swap PICTURE and --part NUMBER belong together")
    if count > 1 and (options.box or options.swap is not None):
        raise ConfigError(f"--box and --swap belong to one photograph, {count} are given")
    if options.part is not None and options.part >= parts:
        raise ConfigError(f"--part {options.part}: there are parts 0 .. {parts - 1}")
    asks = options.light or options.yaw or options.swap or options.explode or options.mesh != "none"
    if asks and options.output is None:
        raise ConfigError("--light, --yaw, --swap, --explode and --mesh write files; say where: --output DIR")


def light_angles(obj: ObjectCapsule) -> tuple[float, float]:
    """Degrees to the viewer's right and above that the first object's light comes from."""
    x, y, z = (float(v) for v in obj.light.direction[0])
    return round(math.degrees(math.atan2(-x, z)), 1), round(math.degrees(math.atan2(y, z)), 1)


__all__ = ["Predictor", "export_plan"]
