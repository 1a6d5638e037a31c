"""Characters drawn in the fonts that matplotlib ships, so that every machine draws the same."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.core.errors import DataError

FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-BoldOblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-BoldItalic.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralItalic.ttf",
    "cmb10.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
    "cmti10.ttf",
    "cmtt10.ttf",
)
"""Font files; those of Computer Modern (``cm``) have Latin letters and digits only."""
_FINE = 4
"""Characters are drawn this many times larger, then averaged down."""


def drawn(character: str, font_name: str, side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How much of each pixel one character covers, (side, side) in 0..1: size, angle and place are random.

    Args:
        character: what is drawn.
        font_name: one of `FONTS`.
        side: pixels; the character is 14 to 24 of 32 high, and wholly inside.
        rng: of size, angle and place.
    """
    height = rng.uniform(14, 24) * side / 32
    angle = rng.uniform(-15, 15)
    box = side * _FINE
    glyph = _large(character, font_name)
    scale = min(height * _FINE / glyph.height, 0.875 * box / glyph.width)
    shape = max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))
    glyph = glyph.resize(shape, Image.Resampling.BICUBIC)
    glyph = glyph.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    corner = [(box - glyph.width) // 2, (box - glyph.height) // 2]
    # Up to four final pixels off the centre, one from the border.
    room = np.clip(np.array(corner) - _FINE, 0, 4 * _FINE)
    shift = np.rint(rng.uniform(-1, 1, 2) * room)
    mask = Image.new("L", (box, box))
    mask.paste(glyph, (corner[0] + int(shift[0]), corner[1] + int(shift[1])))
    return np.asarray(mask.resize((side, side), Image.Resampling.BOX)) / 255


@lru_cache(maxsize=100 * len(FONTS))
def _large(character: str, font_name: str) -> Image.Image:
    """A character without margins, as large as the font draws it; not to be changed."""
    face = font(font_name)
    left, top, right, bottom = face.getbbox(character)
    glyph = Image.new("L", (round(right - left), round(bottom - top)))
    ImageDraw.Draw(glyph).text((-left, -top), character, fill=255, font=face)
    return glyph


@lru_cache(maxsize=len(FONTS))
def font(name: str) -> ImageFont.FreeTypeFont:
    """One of `FONTS`, 96 pixels high.

    Raises:
        DataError: the file is gone or damaged.
    """
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    try:
        return ImageFont.truetype(str(path), 96, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise DataError(f"{path}: cannot read the font ({error}); reinstall matplotlib") from None
