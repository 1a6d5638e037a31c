"""Colour, depth and infrared as arrays, and whether a slot holds what its name says.

Depth is metric (float32 metres, 0 where there is no return) or, where a set ships 8-bit maps as CASIA-SURF
does, relative (uint8, brighter is nearer there); `DepthMap` says which.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, LimitError, ShapeError
from mien.core.images import read_image
from mien.core.limits import max_array_bytes
from mien.data.labelled import spread
from mien.data.pad_clips import is_hdf5, is_video, read_hdf5_channel, read_video_frame
from mien.data.pad_sample import PadSample

DepthUnit = Literal["metre", "millimetre", "tenth_millimetre"]
UNITS: dict[str, float] = {"metre": 1.0, "millimetre": 1e-3, "tenth_millimetre": 1e-4}
"""Unit -> metres."""
_SCALES = (
    (1e3, "metres"),
    (0.1, "tenths of a millimetre"),
    (1e-3, "millimetres"),
    (1e-4, "tenths of a millimetre"),
)
REACH = (0.2, 5.0)
"""Metres between which the median depth of a presentation lies."""
_SAME, _SAME_DETAIL = 0.97, 0.8  # correlations of a picture with a copy of itself, compressed or not
_COLOR = 3.0  # mean difference of the channels of a colour picture, grey levels
_GREY = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Depth of one frame.

    Attributes:
        values: (H, W) float32 metres, 0 where there is no return; or uint8, relative.
        is_metric: which of the two.
    """

    values: NDArray[Any]
    is_metric: bool


def read_rgb(path: str | Path, frame: str = "") -> NDArray[np.uint8]:
    """A colour picture, or a frame of a clip, uint8 (H, W, 3). O(pixels), of a video O(frames before it).

    Raises:
        DataError: missing or damaged.
    """
    path = Path(path)
    if is_hdf5(path):
        return np.asarray(read_hdf5_channel(path, "rgb", frame)).astype(np.uint8)
    return read_video_frame(path, frame) if is_video(path) else read_image(path)


def read_depth(
    path: str | Path, frame: str = "", *, unit: DepthUnit | None = None, metric: bool = False
) -> DepthMap:
    """A depth map: 16-bit picture or float array -> metres; 8-bit picture -> relative, as it is. O(pixels).

    Args:
        path: PNG or TIFF, ``.npy``, ``.npz`` (its array "depth", or its only one), or a WMCA clip.
        frame: of a clip.
        unit: of the numbers stored; default millimetres where they are integers, metres where floats.
        metric: refuse relative depth.

    Raises:
        DataError: missing, damaged, or 8-bit where metric depth is asked for.
        ShapeError: an array that is no (H, W) map of numbers.
    """
    return depth_map(raw_picture(Path(path), "depth", frame), str(path), unit=unit, metric=metric)


def depth_map(
    raw: NDArray[Any], where: str, *, unit: DepthUnit | None = None, metric: bool = False
) -> DepthMap:
    """What is stored as depth: integers and floats -> metres; uint8 -> relative, as it is. O(pixels).

    Args:
        raw: (H, W), or (H, W, C) uint8 of equal channels.
        where: its name in messages.
        unit: of the numbers; default millimetres where they are integers, metres where floats.
        metric: refuse relative depth.

    Raises:
        DataError: 8-bit where metric depth is asked for.
        ShapeError: no (H, W) map of numbers.
    """
    if raw.ndim == 3 and raw.dtype == np.uint8:
        raw = raw[..., 0]
    if raw.ndim != 2 or raw.dtype.kind not in "uif":
        raise ShapeError(f"{where}: depth is one (H, W) map of numbers, got {raw.shape} {raw.dtype}")
    if raw.dtype == np.uint8:
        if metric:
            raise DataError(
                f"{where}: 8-bit depth, which is relative; give 16-bit millimetres or float metres"
            )
        return DepthMap(np.ascontiguousarray(raw), is_metric=False)
    scale = UNITS[unit or ("metre" if raw.dtype.kind == "f" else "millimetre")]
    values = np.nan_to_num(raw.astype(np.float64), nan=0, posinf=0, neginf=0) * scale
    return DepthMap(np.maximum(values, 0).astype(np.float32), is_metric=True)


def read_ir(path: str | Path, frame: str = "", *, modality: str = "ir") -> NDArray[np.float32]:
    """An infrared (or thermal) picture, float32 (H, W) in [0, 1]: what is stored over its full scale.

    O(pixels). A camera's gamma is not undone. Float arrays are taken as they are and clipped.

    Args:
        path: a picture, ``.npy``, ``.npz`` (its array "ir", or its only one), or a WMCA clip.
        frame: of a clip.
        modality: "ir" or "thermal".

    Raises:
        DataError: missing or damaged.
        ShapeError: an array that is no (H, W) map of numbers.
    """
    return ir_map(raw_picture(Path(path), modality, frame), str(path), modality)


def ir_map(raw: NDArray[Any], where: str, modality: str = "ir") -> NDArray[np.float32]:
    """What is stored as infrared over its full scale, float32 (H, W) in [0, 1]. O(pixels).

    Args:
        raw: (H, W) or (H, W, C); floats are taken as they are and clipped.
        where: its name in messages.
        modality: "ir" or "thermal", for messages.

    Raises:
        ShapeError: no (H, W) map of numbers.
    """
    grey = raw.astype(np.float64).mean(-1) if raw.ndim == 3 else raw
    if grey.ndim != 2 or raw.dtype.kind not in "uif":
        raise ShapeError(f"{where}: {modality} is one (H, W) picture, got {raw.shape} {raw.dtype}")
    full = 1.0 if raw.dtype.kind == "f" else 255.0 if raw.dtype == np.uint8 else 65535.0
    return np.clip(np.nan_to_num(grey.astype(np.float64)) / full, 0, 1).astype(np.float32)


def read_sample(sample: PadSample, *, metric: bool = False) -> dict[str, NDArray[Any]]:
    """All images of a sample: rgb uint8 (H, W, 3), depth as in `DepthMap`, ir and thermal float32 in [0, 1].

    Args:
        sample: which.
        metric: refuse relative depth.

    Raises:
        DataError: a file is missing, damaged, or not what it should be.
    """
    out: dict[str, NDArray[Any]] = {}
    for name, path in sample.images.items():
        if name == "rgb":
            out[name] = read_rgb(path, sample.frame)
        elif name == "depth":
            out[name] = read_depth(path, sample.frame, metric=metric).values
        else:
            out[name] = read_ir(path, sample.frame, modality=name)
    return out


def raw_picture(path: Path, modality: str, frame: str = "") -> NDArray[Any]:
    """What is stored, with its own type: (H, W) or (H, W, 3). O(pixels).

    Args:
        path: a picture, ``.npy``, ``.npz`` (its array of that name, or its only one), or a clip.
        modality: which camera of a file that holds several.
        frame: of a clip.

    Raises:
        DataError: missing or damaged.
    """
    if is_hdf5(path):
        return read_hdf5_channel(path, modality, frame)
    if is_video(path):
        return read_video_frame(path, frame)
    if path.suffix.lower() in (".npy", ".npz"):
        return _array(path, modality)
    return stored_picture(path, str(path))


def stored_picture(source: Path | bytes, name: str) -> NDArray[Any]:
    """A picture file with its own type: (H, W) of 16 or 32 bits, or uint8 (H, W, 3). O(pixels).

    Args:
        source: the file, or its bytes.
        name: what to call it in messages.

    Raises:
        DataError: missing or damaged.
    """
    from PIL import Image

    picture = read_image(
        source, name=name
    )  # bounded and checked; it scales 16 bits to 8, so those are read anew
    with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
        if image.mode.startswith("I") or image.mode == "F":
            return np.asarray(image)
    return picture


def _array(path: Path, name: str) -> NDArray[Any]:
    """The array of an ``.npy``, or of that name (or the only one) in an ``.npz``; nothing is unpickled."""
    try:
        size = path.stat().st_size
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                size = max((i.file_size for i in archive.infolist()), default=0)
        if size > max_array_bytes():
            raise LimitError(f"{path}: {size} bytes, more than {max_array_bytes()} (MIEN_MAX_ARRAY_BYTES)")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = list(loaded.files)
            if name not in names and len(names) != 1:
                raise DataError(f"{path}: arrays {', '.join(names)[:80]}; expected one, or one called {name}")
            return np.asarray(loaded[name if name in names else names[0]])
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not an array file that can be read ({error})") from None


def channel_spread(picture: NDArray[Any]) -> float:
    """Mean difference between the largest and the smallest channel of (H, W, 3), grey levels. O(pixels)."""
    if picture.ndim != 3:
        return 0.0
    return float((picture.max(-1).astype(np.float64) - picture.min(-1)).mean())


def likeness(picture: NDArray[Any], rgb: NDArray[Any]) -> tuple[float, float]:
    """Correlation of a picture with the grey of a colour picture: of pixels, and of their fine detail.

    Detail is what is left after the mean of 5 x 5 pixels is taken off. Pixels that are black in both (a
    removed background) do not count. O(pixels).

    Args:
        picture: (H, W) or (H, W, 3).
        rgb: (H, W, 3) of the same size; another size has nothing in common.

    Returns:
        Both correlations in [-1, 1]; 0 for a picture without contrast.
    """
    from scipy.ndimage import uniform_filter

    one = picture.astype(np.float64)
    one = one @ _GREY if one.ndim == 3 else one
    two = rgb.astype(np.float64) @ _GREY
    if one.shape != two.shape:
        return 0.0, 0.0
    seen = (one > 0) | (two > 0)
    fine = [x - uniform_filter(x, 5) for x in (one, two)]
    return _correlation(one[seen], two[seen]), _correlation(fine[0][seen], fine[1][seen])


def _correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Pearson's r of two (n,), 0 where one is constant."""
    if a.size < 2:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 1e-12 else 0.0


def depth_unit_problem(values: NDArray[Any], reach: tuple[float, float] = REACH) -> str:
    """What is wrong with the unit of metric depth, or nothing: the median return must lie in ``reach``.

    A wrong unit whose median lies there all the same (0.3 m in tenths of a millimetre, read as 3 m) is not
    seen; a narrower reach sees it. O(pixels).

    Args:
        values: what should be metres; 0 is no return.
        reach: nearest and farthest median, metres.
    """
    returns = values[values > 0]
    if not returns.size:
        return ""
    middle = float(np.median(returns))
    if reach[0] <= middle <= reach[1]:
        return ""
    fits = dict.fromkeys(name for k, name in _SCALES if reach[0] <= middle * k <= reach[1])
    hint = f"its numbers look like {' or '.join(fits)}, convert them" if fits else "check its unit"
    return f"median depth {middle:.4g} m is outside {reach[0]:g} - {reach[1]:g} m; {hint}"


def check_modalities(samples: Sequence[PadSample], count: int = 8, *, metric: bool = False) -> None:
    """Looks at a few samples: does each slot hold what its name says, in the right unit?

    Args:
        samples: of a list; ``count`` of them, evenly spread, are decoded.
        count: at most this many.
        metric: refuse relative depth.

    Raises:
        DataError: infrared or depth that is a copy of the colour picture or a colour picture itself, depth in
            another unit, or 8-bit depth where metric is asked for; names the first file.
    """
    problems = modality_problems(samples, count, metric=metric)
    if problems:
        raise DataError(problems[0])


def modality_problems(samples: Sequence[PadSample], count: int = 8, *, metric: bool = False) -> list[str]:
    """What `check_modalities` raises, one line for each camera that is wrong."""
    at = [int(i) for i in spread(len(samples), count)] if samples else []
    seen = [samples[i] for i in at]
    problems = []
    for modality in ("depth", "ir", "thermal"):
        held = [s for s in seen if modality in s.images]
        if held and (text := _slot_problem(held, modality, metric)):
            problems.append(f"{held[0].images[modality]}: {text}")
    return problems


def _slot_problem(samples: Sequence[PadSample], modality: str, metric: bool) -> str:
    """What is wrong with one camera, judged by the medians over samples."""
    spreads, alike, metres = [], list[tuple[float, float]](), list[NDArray[Any]]()
    for sample in samples:
        path = sample.images[modality]
        raw = raw_picture(path, modality, sample.frame)
        spreads.append(channel_spread(raw))
        if "rgb" in sample.images:
            alike.append(likeness(raw, read_rgb(sample.images["rgb"], sample.frame)))
        if modality == "depth":
            depth = read_depth(path, sample.frame, metric=metric)
            metres += [depth.values[depth.values > 0]] if depth.is_metric else []
    return slot_problem(modality, spreads, alike) or (
        depth_unit_problem(np.concatenate(metres)) if metres else ""
    )


def slot_problem(modality: str, spreads: Sequence[float], alike: Sequence[tuple[float, float]]) -> str:
    """Whether what is called depth or infrared is a colour picture or a copy of one, or nothing.

    Args:
        modality: of the slot.
        spreads: `channel_spread` of one or more pictures.
        alike: `likeness` of them and their colour pictures; none where there is no colour.
    """
    slot = {"ir": "infrared"}.get(modality, modality)
    if float(np.median(spreads)) > _COLOR:
        return f"the {slot} slot holds a colour picture (its channels differ); give the {slot} camera's own"
    if alike and (np.median(alike, axis=0) > (_SAME, _SAME_DETAIL)).all():
        r = float(np.median(alike, axis=0)[0])
        return f"the {slot} slot holds a copy of the colour picture (correlation {r:.3f}); give its own"
    return ""
