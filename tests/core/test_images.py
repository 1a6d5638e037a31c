from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import DataError, LimitError, MienError, ShapeError
from mien.core.images import encode_png, read_image, small_jpeg

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (8, 6, 3), dtype=np.uint8)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, format=kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(read_image(encoded(RGB, kind, **options)), RGB)


def test_every_kind_of_source_gives_the_same(tmp_path):
    import torch

    path = tmp_path / "a.png"
    path.write_bytes(encoded(RGB, "PNG"))
    tensor = torch.from_numpy(RGB).permute(2, 0, 1).float() / 255
    data = path.read_bytes()
    for source in (path, str(path), data, bytearray(data), Image.open(path), RGB, tensor):
        found = read_image(source)
        assert found.dtype == np.uint8
        assert np.array_equal(found, RGB)
    assert np.array_equal(read_image(encode_png(RGB)), RGB)
    assert np.array_equal(read_image(RGB[..., 0]), np.repeat(RGB[..., :1], 3, axis=2))


def test_16_bit_grey_is_scaled_not_clipped():
    grey = np.array([[0, 128, 257, 32896, 65278, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        found = read_image(encoded(grey, kind))
        assert found[0, :, 0].tolist() == [0, 0, 1, 128, 254, 255]
        assert (found == found[..., :1]).all()


def test_cmyk_jpeg():
    colour = np.zeros((16, 16, 3), dtype=np.uint8)
    colour[...] = (200, 60, 30)
    found = read_image(encoded(Image.fromarray(colour).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(found.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(kind, orientation, turns):
    blocks = np.zeros((16, 32, 3), dtype=np.uint8)
    blocks[:8, :16], blocks[8:, 16:] = 255, 120
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read_image(encoded(blocks, kind, exif=exif))
    expected = np.rot90(blocks, turns)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 3


def test_transparency_is_laid_on_white():
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = 0, 255, 128
    found = read_image(encoded(rgba, "PNG"))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 1].tolist() == [200, 0, 0]
    assert np.abs(found[0, 2].astype(int) - [227, 127, 127]).max() <= 1
    grey_alpha = Image.fromarray(rgba).convert("LA")
    assert read_image(encoded(grey_alpha, "PNG"))[0, 0].tolist() == [255, 255, 255]


def test_palettes():
    palette = Image.fromarray(RGB).quantize(64)
    assert np.array_equal(read_image(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))
    assert np.array_equal(read_image(encoded(palette, "GIF")), np.asarray(palette.convert("RGB")))
    see_through = Image.new("P", (2, 1))
    see_through.putpalette([10, 20, 30, 40, 50, 60])
    see_through.putpixel((1, 0), 1)
    found = read_image(encoded(see_through, "PNG", transparency=0))
    assert found[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_one_bit_pictures():
    assert read_image(encoded(Image.new("1", (3, 2), 1), "PNG")).tolist() == [[[255] * 3] * 3] * 2


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animated_and_multi_page_files_are_refused(kind):
    other = Image.fromarray(255 - RGB)
    data = encoded(Image.fromarray(RGB), kind, save_all=True, append_images=[other])
    with pytest.raises(DataError, match=r"animated or multi-page .2 frames.; save the one frame"):
        read_image(data, name="moving")


def png_header(width, height):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1 << 16))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (9_000, 9_000), (2**31 - 1, 1)])
def test_pixel_bombs_are_found_in_the_header(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(LimitError, match="pixels") as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_limits_can_be_set(monkeypatch):
    monkeypatch.setenv("MIEN_MAX_IMAGE_PIXELS", "47")
    for source in (encoded(RGB, "PNG"), RGB):
        with pytest.raises(LimitError, match=r"8|6"):
            read_image(source)
    monkeypatch.setenv("MIEN_MAX_IMAGE_BYTES", "10")
    with pytest.raises(LimitError, match="more than 10 allowed"):
        read_image(bytes(11))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_truncated_files_never_pass(kind):
    picture = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = encoded(picture, kind)
    for share in (0.02, 0.2, 0.5, 0.9):
        with pytest.raises(DataError):
            read_image(data[: int(len(data) * share)], name="cut")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM"])
def test_damaged_bytes_give_pixels_or_our_error(kind):
    turned = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    data = encoded(RGB, kind, **({"exif": turned} if kind == "JPEG" else {}))
    rng = np.random.default_rng(1)
    for _ in range(150):
        bad = bytearray(data)
        for place in rng.integers(0, min(len(data), 200), 3):
            bad[place] = rng.integers(0, 256)
        with contextlib.suppress(MienError):
            assert read_image(bytes(bad), name="bad").dtype == np.uint8


def test_damaged_tiff_and_gif_headers():
    # Each once escaped as another exception: a TIFF without its size, a GIF whose second frame is cut.
    tiff = encoded(RGB, "TIFF")
    count = struct.unpack_from("<I", tiff, 4)[0]
    for entry in range(struct.unpack_from("<H", tiff, count)[0]):
        bad = bytearray(tiff)
        struct.pack_into("<H", bad, count + 2 + 12 * entry, 60_000)
        with contextlib.suppress(DataError):
            read_image(bytes(bad))
    gif = encoded(Image.fromarray(RGB), "GIF", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    second = gif.rindex(b"\x2c")
    for end in range(second, second + 10):
        with pytest.raises(DataError):
            read_image(gif[:end])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"\0", "not a picture of a known format"),
        (b"no picture at all", "not a picture of a known format"),
        (b"<svg/>", "not a picture of a known format"),
        (b"%PDF-1.4", "not a picture of a known format"),
        (b"GIF89a", "(not a picture|damaged)"),
        (b"\xff\xd8\xff", "(not a picture|damaged)"),
        (b"II*\0", "(not a picture|damaged)"),
    ],
)
def test_files_that_are_no_pictures(tmp_path, data, words):
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"x\.png: {words}"):
        read_image(path)


def test_the_first_picture_of_a_stereo_file():
    grey = np.full((16, 16, 3), 90, dtype=np.uint8)
    data = encoded(Image.fromarray(grey), "MPO", save_all=True, append_images=[Image.fromarray(grey + 100)])
    assert np.abs(read_image(data).astype(int) - 90).max() <= 2


@pytest.mark.parametrize("name", ["中文", "عربي", "🦊 fox", "a b  c", "é", b"caf\xe9 \xff"])
def test_file_names_in_any_script(tmp_path, name):
    folder = os.fsencode(tmp_path)
    path = os.fsdecode(folder + b"/" + (name if isinstance(name, bytes) else name.encode()) + b".png")
    with open(path, "wb") as stream:
        stream.write(encoded(RGB, "PNG"))
    assert np.array_equal(read_image(path), RGB)


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="a folder, not a picture"):
        read_image(tmp_path)
    with pytest.raises(DataError, match="cannot read"):
        read_image("x" * 5000)
    with pytest.raises(DataError, match="null byte"):
        read_image("a\0b.png")


def test_pipes_and_devices_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(DataError, match="no ordinary file"):
            read_image(path)


def test_a_truncated_file_opened_by_the_caller():
    data = encoded(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8), "PNG")
    with pytest.raises(DataError, match="damaged or truncated"):
        read_image(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 2), np.uint8), "expected HWC"),
        (np.zeros(4, np.uint8), "expected HWC"),
        (np.zeros((0, 4, 3), np.uint8), "expected HWC"),
        (np.zeros((4, 4, 3), np.int64), "got int64"),
        (np.full((3, 4, 4), 200.0), "divide 0..255 values by 255"),
        (np.full((3, 4, 4), np.nan), "finite"),
        (None, "expected HWC"),
        ({"a": 1}, "expected HWC"),
    ],
)
def test_arrays_that_are_no_pictures(array, words):
    with pytest.raises(ShapeError, match=words):
        read_image(array)


def test_a_small_jpeg_keeps_to_its_size_and_is_no_worse_than_it_must_be():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    best = small_jpeg(noise, 10**6)
    tight = small_jpeg(noise, 3 * len(best) // 4)
    assert len(tight) <= 3 * len(best) // 4 < len(best)
    assert read_image(tight).shape == noise.shape
    assert small_jpeg(noise, 1) == small_jpeg(noise, 0)  # the lowest quality, whatever is asked
