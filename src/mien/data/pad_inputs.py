"""What a user gives an anti-spoofing model: pictures or videos of one face by up to three cameras."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError, DataError
from mien.core.images import ImageInput, read_image
from mien.data.face_check import is_grey
from mien.data.face_detector import find_faces
from mien.data.pad_clips import is_hdf5, is_video, read_hdf5_channel, read_video_frames
from mien.data.pad_files import depth_pixels, ir_pixels
from mien.data.pad_images import MODALITIES
from mien.data.pad_modalities import (
    channel_spread,
    depth_map,
    depth_unit_problem,
    ir_map,
    likeness,
    raw_picture,
    slot_problem,
)
from mien.data.rendered_pad import crop_face

Box = tuple[int, int, int, int]
"""Left, top, right, bottom of a face, pixels."""
GREY = "a grey picture where colour is expected"
_FLAT = 2.0  # standard deviation of grey levels below which a picture shows nothing
RELATIVE = "8-bit depth is relative: taken as brighter = nearer"


@dataclass(frozen=True, eq=False)
class Moment:
    """One moment as up to three cameras see it.

    Attributes:
        pictures: modality -> (H, W, 3) colour, (H, W, 1) depth or infrared, uint8, in the order of
            `MODALITIES`; sizes may differ.
        notes: what makes them less trustworthy.
    """

    pictures: dict[str, NDArray[np.uint8]]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the first picture, in whose pixels a box is given."""
        height, width = next(iter(self.pictures.values())).shape[:2]
        return height, width

    def problem(self, box: Box | None, least: float) -> str | None:
        """``no_face`` where a camera shows nothing, ``too_small`` below ``least`` pixels a side, or None.

        Args:
            box: of the face; None: the whole picture, whose shorter side counts.
            least: pixels.
        """
        lit = [p for m, p in self.pictures.items() if m != "depth"]
        if any(p.std() < _FLAT for p in lit) or not (lit or self.pictures["depth"].any()):
            return "no_face"
        side = min(self.shape) if box is None else max(box[2] - box[0], box[3] - box[1])
        return "too_small" if side < least else None


def read_moments(files: Mapping[str, ImageInput], frames: int = 8) -> list[Moment]:
    """Pictures of one moment, or ``frames`` moments of videos, evenly spread.

    Colour is uint8; depth a 16-bit picture of millimetres, floats of metres, or 8 bits, relative; infrared
    over its full scale. O(pixels), of videos O(frames of the video).

    Args:
        files: modality -> path, bytes, PIL image, array or tensor; paths may be videos or WMCA clips.
        frames: of a video, at most.

    Raises:
        DataError: damaged; a video of one camera and a picture of another; infrared or depth that is a colour
            picture or the grey of one.
        ShapeError: an array that is no picture.
    """
    raws = {m: _raws(files[m], m, frames) for m in MODALITIES if m in files}
    counts = {m: len(x) for m, x in raws.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{n} of {m}" for m, n in counts.items())
        raise DataError(f"frames that do not belong together: {shown}; give all cameras for the same moments")
    names = {m: str(f) if isinstance(f, (str, Path)) else f"the {m} picture" for m, f in files.items()}
    return [
        _moment({m: x[k] for m, x in raws.items()}, names) for k in range(max(counts.values(), default=0))
    ]


def _raws(source: Any, modality: str, frames: int) -> list[NDArray[Any]]:
    """What is stored of one camera, a picture a moment."""
    if isinstance(source, (str, Path)) and is_video(path := Path(source)):
        return list(read_video_frames(path, frames))
    if isinstance(source, (str, Path)) and is_hdf5(path := Path(source)):
        places = [f"@{p:.6f}" for p in np.linspace(0, 1, frames)]
        return [read_hdf5_channel(path, modality, p) for p in places]
    return [read_image(source) if modality == "rgb" else raw_input(source, modality)]


def raw_input(source: Any, modality: str) -> NDArray[Any]:
    """One picture with the numbers that it stores: (H, W) of any type, or (H, W, 3) uint8 or float.

    Args:
        source: path, bytes, PIL image, array (HW or HWC) or tensor (HW or CHW).
        modality: which array of an ``.npz``; for messages.

    Raises:
        DataError: damaged, or an unknown format.
    """
    from PIL import Image

    if isinstance(source, (str, Path)):
        return raw_picture(Path(source), modality)
    if isinstance(source, (bytes, bytearray)):
        picture = read_image(bytes(source), name=f"the {modality} picture")  # bounded and checked
        with Image.open(io.BytesIO(source)) as image:
            return np.asarray(image) if _is_deep(image.mode) else picture
    if isinstance(source, Image.Image):
        return np.asarray(source) if _is_deep(source.mode) else read_image(source)
    array = source.detach().cpu().numpy() if isinstance(source, Tensor) else np.asarray(source)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = np.moveaxis(array, 0, 2)
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _is_deep(mode: str) -> bool:
    """Whether a PIL image holds more than 8 bits."""
    return mode.startswith("I") or mode == "F"


def _moment(raws: Mapping[str, NDArray[Any]], names: Mapping[str, str]) -> Moment:
    pictures, notes = dict[str, NDArray[np.uint8]](), list[str]()
    for modality, raw in raws.items():
        if modality == "rgb":
            pictures["rgb"] = np.asarray(raw, np.uint8)
            notes += [f"{names['rgb']}: {GREY}"] if is_grey(pictures["rgb"]) else []
            continue
        colour = [pictures["rgb"]] if "rgb" in pictures else []
        alike = [likeness(raw, resized(c, raw.shape[:2])) for c in colour if raw.ndim in (2, 3)]
        if problem := slot_problem(modality, [channel_spread(raw)], alike):
            raise DataError(f"{names[modality]}: {problem}")
        if modality == "ir":
            pictures["ir"] = ir_pixels(ir_map(raw, names[modality]))
            continue
        depth = depth_map(raw, names[modality])
        pictures["depth"] = depth_pixels(depth)
        note = depth_unit_problem(depth.values) if depth.is_metric else RELATIVE
        notes += [f"{names[modality]}: {note}"] if note else []
    return Moment(pictures, tuple(notes))


def resized(picture: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    """(H, W, 3) -> (*shape, 3), bilinear; the picture itself where it has that shape. O(pixels)."""
    from PIL import Image

    height, width = shape
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def check_box(box: Sequence[float], shape: tuple[int, int]) -> Box:
    """A face's box as integers.

    Args:
        box: left, top, right, bottom, pixels.
        shape: height and width of the picture.

    Raises:
        DataError: not four numbers, empty, or outside of the picture.
    """
    values = np.asarray(box, np.float64).ravel()
    height, width = shape
    if values.shape != (4,) or not np.isfinite(values).all():
        raise DataError(f"box {list(box)}: give left, top, right, bottom in pixels")
    left, top, right, bottom = (round(float(v)) for v in values)
    if right <= left or bottom <= top:
        raise DataError(f"box {left, top, right, bottom}: right must be beyond left, bottom beyond top")
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise DataError(
            f"box {left, top, right, bottom} lies outside of the picture of {width} x {height} pixels"
        )
    return left, top, right, bottom


def face_boxes(
    moments: Sequence[Moment], box: Sequence[float] | None, detector: str = "none"
) -> list[Box | None]:
    """The face of each moment: as given, as the detector finds it (None: it found none), or None.

    Args:
        moments: of one presentation.
        box: as given.
        detector: none or mediapipe.

    Raises:
        DataError: the box lies outside of the picture.
        ConfigError: the detector has nothing to look at.
    """
    if box is not None:
        return [check_box(box, m.shape) for m in moments]
    if detector == "none":
        return [None] * len(moments)
    first = next((m for m in ("rgb", "ir") if m in moments[0].pictures), None)
    if first is None or first != next(iter(moments[0].pictures)):
        raise ConfigError("the detector looks at colour, or at infrared without depth; give --box L T R B")
    pictures = [np.broadcast_to(p, (*p.shape[:2], 3)) for p in (m.pictures[first] for m in moments)]
    return [
        check_box(found.box.tolist(), m.shape) if found.is_found else None
        for found, m in zip(find_faces(pictures), moments, strict=True)
    ]


def face_crop(
    picture: NDArray[np.uint8], box: Box | None, shape: tuple[int, int], size: int
) -> NDArray[np.uint8]:
    """The square around a face, as rendered sets are cropped; without a box the whole picture.

    Args:
        picture: (H, W, C).
        box: of the face in the first camera's picture; scaled to this one.
        shape: height and width of the first camera's picture.
        size: pixels a side of the result.

    Returns:
        (size, size, C); (H, W, C) without a box (networks then see its middle square).
    """
    if box is None:
        return picture
    zoom = picture.shape[1] / shape[1], picture.shape[0] / shape[0]
    left, top, right, bottom = (round(v * z) for v, z in zip(box, 2 * zoom, strict=True))
    flat = picture[..., 0] if picture.shape[2] == 1 else picture
    return crop_face(flat, (left, top, right, bottom), size).reshape(size, size, picture.shape[2])


def sharpness(images: Tensor) -> Tensor:
    """Fine detail of pictures, whatever their light: std of the Laplacian over std of the grey levels.

        L = 4 x[i, j] - x[i - 1, j] - x[i + 1, j] - x[i, j - 1] - x[i, j + 1], inside the border.

    0 for a picture without contrast. O(pixels).

    Args:
        images: (B, C, H, W).

    Returns:
        (B,).
    """
    x = images.double().mean(1)
    inner = x[:, 1:-1, 1:-1]
    laplacian = 4 * inner - x[:, :-2, 1:-1] - x[:, 2:, 1:-1] - x[:, 1:-1, :-2] - x[:, 1:-1, 2:]
    detail, contrast = (v.flatten(1).std(1, correction=0) for v in (laplacian, inner))
    return detail / contrast.clamp_min(1e-9)
