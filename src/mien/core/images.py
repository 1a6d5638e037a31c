"""Pictures from users: any common file, bounded and decoded to 8-bit RGB, or one clear line why not."""

from __future__ import annotations

import contextlib
import io
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, LimitError, MienError, ShapeError
from mien.core.limits import max_image_bytes, max_image_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

ImageInput: TypeAlias = "str | Path | bytes | Image | NDArray[Any] | Any"
"""A path, the bytes of a file, a PIL image, an array (HWC or HW, uint8) or a tensor (CHW float in [0,1])."""

T = TypeVar("T")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # MPO is opened as JPEG
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pnm")


def read_image(source: ImageInput, *, name: str | None = None) -> NDArray[np.uint8]:
    """Any picture as uint8 RGB ``(H, W, 3)``.

    Orientation from EXIF is applied, transparency is laid on white, CMYK and palettes are converted, 16-bit
    greys are scaled (not clipped) to 8 bits. O(pixels).

    Args:
        source: path, bytes, PIL image, array (HWC / HW uint8) or tensor (CHW float in [0, 1]).
        name: what to call it in messages; default the path.

    Raises:
        DataError: missing, damaged, truncated, animated, or of an unsupported format.
        LimitError: more bytes or pixels than `mien.core.limits` allows; found before decoding.
        ShapeError: an array or tensor that is no picture.
    """
    opened = _opened(source, name, _to_rgb)
    return _from_array(source, name or "image") if opened is None else opened


def read_alpha(source: ImageInput, *, name: str | None = None) -> NDArray[np.uint8] | None:
    """Opacity (H, W) of a picture, 255 = opaque, turned as by `read_image`; None: it has none. O(pixels).

    Arguments and errors are those of `read_image`; arrays and tensors have none.
    """
    return _opened(source, name, _to_alpha)


def _opened(source: ImageInput, name: str | None, convert: Callable[[Image, str], T | None]) -> T | None:
    """What ``convert`` makes of a path, bytes or a PIL image; None for arrays and tensors."""
    from PIL import Image

    if isinstance(source, Image.Image):
        with _explained(name or "image"):
            return convert(source, name or "image")
    if isinstance(source, (str, Path)):
        return _decode(_bounded_bytes(Path(source)), name or str(source), convert)
    if isinstance(source, (bytes, bytearray)):
        if len(source) > max_image_bytes():
            raise LimitError(f"{name or 'image'}: {len(source)} bytes, more than {max_image_bytes()} allowed")
        return _decode(bytes(source), name or "image", convert)
    return None


def _bounded_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or device might never end
            raise DataError(f"{path}: {'a folder' if path.is_dir() else 'no ordinary file'}, not a picture")
        size = status.st_size
        if size > max_image_bytes():
            raise LimitError(
                f"{path}: {size} bytes, more than the {max_image_bytes()} allowed (MIEN_MAX_IMAGE_BYTES)"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error})") from None
    except ValueError as error:  # a null byte in the name
        raise DataError(f"{str(path)!r}: no file name ({error}); check the path") from None


def _decode(data: bytes, name: str, convert: Callable[[Image, str], T]) -> T:
    from PIL import Image

    if not data:
        raise DataError(f"{name}: empty file")
    with _explained(name), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_header(image, name)
        return convert(image, name)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MienError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a picture of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise LimitError(f"{name}: far more pixels than the {max_image_pixels()} allowed") from None
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged bytes
        raise DataError(f"{name}: damaged or truncated picture ({error})") from None


def _check_header(image: Image, name: str) -> None:
    width, height = image.size
    if width * height > max_image_pixels():
        raise LimitError(
            f"{name}: {width} x {height} pixels, more than the {max_image_pixels()} allowed"
            " (MIEN_MAX_IMAGE_PIXELS); make it smaller"
        )
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        raise DataError(f"{name}: animated or multi-page ({frames} frames); save the one frame you mean")


def _to_rgb(image: Image, name: str) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    if min(image.size) < 1:
        raise DataError(f"{name}: no pixels")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image).astype(np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(1.0, float(grey.max(initial=1.0)))
        eight = np.clip(np.rint(grey * (255.0 / top)), 0, 255).astype(np.uint8)
        return np.repeat(eight[:, :, None], 3, axis=2)
    if _is_transparent(image):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.array(image.convert("RGB"))


def _to_alpha(image: Image, name: str) -> NDArray[np.uint8] | None:
    from PIL import ImageOps

    if not _is_transparent(image):
        return None
    return np.array(ImageOps.exif_transpose(image).convert("RGBA").getchannel("A"))


def _is_transparent(image: Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _from_array(source: Any, name: str) -> NDArray[np.uint8]:
    is_tensor = hasattr(source, "detach")
    array = source.detach().cpu().numpy() if is_tensor else np.asarray(source)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.dtype.kind == "f":
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or min(array.shape) < 1:
        raise ShapeError(f"{name}: expected HWC uint8 or CHW float in [0,1], got shape {tuple(array.shape)}")
    if array.shape[0] * array.shape[1] > max_image_pixels():
        raise LimitError(f"{name}: {array.shape[0]} x {array.shape[1]} pixels, more than allowed")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < -1e-3 or array.max() > 1 + 1e-3:
            raise ShapeError(f"{name}: float pictures are finite and in [0,1]; divide 0..255 values by 255")
        array = np.rint(np.clip(array, 0, 1) * 255)
    elif array.dtype != np.uint8:
        raise ShapeError(f"{name}: expected uint8 or float pixels, got {array.dtype}")
    array = array.astype(np.uint8)
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else np.ascontiguousarray(array)


def magnified(picture: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """A small picture (H, W, 3) at about this height, each pixel a square; a larger one as it is. O(pixels).

    >>> magnified(np.zeros((32, 48, 3), np.uint8), 100).shape
    (96, 144, 3)
    """
    times = max(1, round(height / picture.shape[0]))
    return picture.repeat(times, 0).repeat(times, 1)


def small_jpeg(image: NDArray[Any], most: int) -> bytes:
    """JPEG bytes of a uint8 ``(H, W, 3)`` picture at the best quality, 92 to 44, that keeps them to ``most``.

    More than that only if the lowest quality does not.
    """
    from PIL import Image

    data = b""
    for quality in range(92, 40, -4):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="JPEG", quality=quality, optimize=True)
        data = stream.getvalue()
        if len(data) <= most:
            break
    return data


def encode_png(image: NDArray[Any]) -> bytes:
    """PNG bytes of a uint8 ``(H, W)`` or ``(H, W, 3)`` picture."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return stream.getvalue()
