from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mien.core.errors import DataError
from mien.data import lettering
from mien.data.glyphs import _FONTS, CHARACTERS
from mien.data.lettering import drawn

ABSENT = "\uffff"
"""A code that is no character: fonts draw their sign for what they lack."""


@pytest.mark.parametrize("font_name", _FONTS)
def test_every_font_has_every_character_and_no_two_are_alike(font_name):
    large = {c: np.asarray(lettering._large(c, font_name)) for c in (*CHARACTERS, ABSENT)}
    assert len({(a.shape, a.tobytes()) for a in large.values()}) == len(CHARACTERS) + 1


def test_also_a_wide_character_lies_wholly_inside():
    for k in range(200):
        cover = drawn("Щ", "DejaVuSans-Bold.ttf", 28, np.random.default_rng(k))
        assert cover.shape == (28, 28)
        assert cover.min() >= 0
        assert 0.5 < cover.max() <= 1
        edge = np.concatenate([cover[0], cover[-1], cover[:, 0], cover[:, -1]])
        assert edge.max() == 0


def test_height_grows_with_the_side():
    """14 to 24 of 32: the same numbers give twice the pixels at twice the side."""
    for k in range(20):
        rows = [
            np.flatnonzero(drawn("0", "DejaVuSans.ttf", side, np.random.default_rng(k)).max(1) > 0.5)
            for side in (32, 64)
        ]
        low, high = (np.ptp(r) + 1 for r in rows)
        assert abs(high - 2 * low) <= 3


def test_a_digit_of_32_pixels_step_by_step():
    """Drawn large, scaled to its height, turned, placed, averaged down, and nothing else."""
    for k in range(20):
        rng, twin = np.random.default_rng(k), np.random.default_rng(k)
        digit, name = str(k % 10), lettering.FONTS[k % len(lettering.FONTS)]
        height, angle = twin.uniform(14, 24), twin.uniform(-15, 15)
        face = lettering.font(name)
        left, top, right, bottom = face.getbbox(digit)
        glyph = Image.new("L", (round(right - left), round(bottom - top)))
        ImageDraw.Draw(glyph).text((-left, -top), digit, fill=255, font=face)
        width = max(1, round(glyph.width * height * 4 / glyph.height))
        glyph = glyph.resize((width, round(height * 4)), Image.Resampling.BICUBIC)
        glyph = glyph.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        x, y = (128 - glyph.width) // 2, (128 - glyph.height) // 2
        right_by, down_by = np.rint(twin.uniform(-1, 1, 2) * np.clip(np.array([x, y]) - 4, 0, 16))
        wide = np.zeros((128, 128))
        top, left = y + int(down_by), x + int(right_by)
        wide[top : top + glyph.height, left : left + glyph.width] = np.asarray(glyph)
        mean = wide.reshape(32, 4, 32, 4).mean((1, 3)) / 255
        assert (
            np.abs(drawn(digit, name, 32, rng) - mean).max() < 1.01 / 255
        )  # Pillow rounds rows, then columns
        assert rng.random() == twin.random()


def test_a_missing_font_is_said(monkeypatch, tmp_path):
    import matplotlib

    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(DataError, match=r"gone\.ttf: cannot read the font .* reinstall matplotlib"):
        lettering.font("gone.ttf")
