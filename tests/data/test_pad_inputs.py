"""What users give: any form of picture, clips, boxes; and what is refused or noted."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mien.core.errors import DataError, ShapeError
from mien.data.pad_inputs import RELATIVE, check_box, face_crop, read_moments, resized, sharpness
from mien.data.rendered_pad import crop_face
from tests.data.pad_fixtures import clip_frames, write_clip, write_video


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def only(files: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
    (moment,) = read_moments(files)
    return moment.pictures


def forms(array: NDArray[np.uint8], folder: Path) -> list[Any]:
    """One picture as path, text, bytes, PIL image, array and tensor."""
    path = folder / "a.png"
    Image.fromarray(array).save(path)
    tensor = torch.from_numpy(array).float() / 255
    chw = tensor.permute(2, 0, 1) if array.ndim == 3 else tensor[None]
    return [path, str(path), path.read_bytes(), Image.fromarray(array), array, chw]


def test_colour_and_infrared_in_every_form(tmp_path: Path) -> None:
    rgb, ir = noise(0, 20, 24, 3), noise(1, 20, 24)
    for form in forms(rgb, tmp_path):
        assert np.array_equal(only({"rgb": form})["rgb"], rgb)
    for form in forms(ir, tmp_path):
        assert np.array_equal(only({"ir": form})["ir"][..., 0], ir)
    assert np.array_equal(only({"ir": torch.from_numpy(ir).float() / 255})["ir"][..., 0], ir)


def test_depth_in_every_form_is_the_same_picture(tmp_path: Path) -> None:
    metres = np.linspace(0.5, 0.7, 30, dtype=np.float64).reshape(5, 6).astype(np.float32)
    millimetres = np.rint(metres * 1000).astype(np.uint16)
    png, npy = tmp_path / "d.png", tmp_path / "d.npy"
    Image.fromarray(millimetres).save(png)
    np.save(npy, millimetres / np.float32(1000))
    given = [png, npy, png.read_bytes(), Image.open(png), millimetres, torch.from_numpy(millimetres / 1000.0)]
    seen = [only({"depth": g})["depth"] for g in given]
    for other in seen[1:]:
        assert np.abs(other.astype(int) - seen[0]).max() <= 1
    assert seen[0].shape == (5, 6, 1)
    assert seen[0][0, 0, 0] > seen[0][4, 5, 0] > 0


def test_modalities_have_their_order_and_their_own_sizes() -> None:
    pictures = only({"ir": noise(1, 9, 9), "rgb": noise(0, 18, 18, 3)})
    assert list(pictures) == ["rgb", "ir"]
    (moment,) = read_moments({"ir": noise(1, 9, 7), "rgb": noise(0, 18, 14, 3)})
    assert moment.shape == (18, 14)


def test_what_is_noted() -> None:
    relative, metres = noise(0, 8, 8), np.full((8, 8), 0.6, np.float32)
    for depth, text in ((relative, RELATIVE), (metres * 1000, "its numbers look like millimetres")):
        (moment,) = read_moments({"depth": depth})
        assert len(moment.notes) == 1
        assert text in moment.notes[0]
    assert read_moments({"depth": metres})[0].notes == ()
    grey = np.repeat(relative[..., None], 3, 2)
    assert "a grey picture" in read_moments({"rgb": grey})[0].notes[0]
    assert read_moments({"rgb": noise(1, 8, 8, 3)})[0].notes == ()


def test_copies_of_the_colour_picture_are_refused(tmp_path: Path) -> None:
    smooth = np.asarray(Image.fromarray(noise(0, 8, 8, 3)).resize((64, 64), Image.Resampling.BICUBIC))
    rgb = np.clip(smooth.astype(int) + noise(3, 64, 64, 3) // 8, 0, 255).astype(np.uint8)
    grey = Image.fromarray(rgb).convert("L")
    for modality in ("ir", "depth"):
        with pytest.raises(DataError, match=f"the {modality} picture: .* slot holds a copy of the colour"):
            read_moments({"rgb": rgb, modality: np.asarray(grey)})
        with pytest.raises(DataError, match="slot holds a colour picture"):
            read_moments({modality: rgb})
    half = tmp_path / "half.png"
    grey.resize((32, 32), Image.Resampling.BILINEAR).save(half)
    with pytest.raises(DataError, match=r"half\.png: the infrared slot holds a copy"):
        read_moments({"rgb": rgb, "ir": half})
    assert set(only({"rgb": rgb, "ir": noise(9, 64, 64)})) == {"rgb", "ir"}


def test_frames_of_videos_and_clips(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a.avi", levels=tuple(range(0, 200, 10)))
    moments = read_moments({"rgb": clip}, 5)
    assert [round(float(m.pictures["rgb"].mean()), -1) for m in moments] == [0, 50, 100, 140, 190]
    assert len(read_moments({"rgb": str(clip)}, 100)) == 20
    held = write_clip(tmp_path / "b.hdf5", 3, frames=4)
    moments = read_moments({"rgb": held, "ir": held}, 2)
    frames = clip_frames(3, 4)
    assert np.array_equal(moments[0].pictures["ir"][..., 0], frames[0, 2])
    assert np.array_equal(moments[1].pictures["ir"][..., 0], frames[3, 2])
    with pytest.raises(DataError, match="3 of rgb, 1 of ir; give all cameras for the same moments"):
        read_moments({"rgb": clip, "ir": noise(0, 32, 32)}, 3)


@pytest.mark.parametrize(
    ("files", "error", "text"),
    [
        ({"rgb": "/nowhere.png"}, DataError, "no such file"),
        ({"rgb": "/nowhere.mp4"}, DataError, "no such file"),
        ({"ir": b"no picture"}, DataError, "the ir picture: not a picture of a known format"),
        ({"ir": np.zeros((2, 3, 4, 5))}, ShapeError, "ir is one"),
        ({"depth": np.zeros((3, 4), np.complex64)}, ShapeError, "depth is one"),
        ({"depth": np.array(["a"])}, ShapeError, "the depth picture: depth is one"),
        ({"rgb": np.zeros(5)}, ShapeError, "expected HWC"),
    ],
)
def test_what_is_no_picture(files: dict[str, Any], error: type, text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        read_moments(files)
    assert "\n" not in str(caught.value)
    assert read_moments({}) == []


def test_sixteen_bit_pictures_from_memory_keep_their_depth() -> None:
    deep = (np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4)
    stream = io.BytesIO()
    Image.fromarray(deep).save(stream, "PNG")
    seen = only({"ir": stream.getvalue()})["ir"][..., 0]
    assert np.array_equal(seen, np.rint(deep / 65535 * 255).astype(np.uint8))


def test_a_box_is_cropped_as_rendered_sets_are_and_scaled_onto_other_sizes() -> None:
    rgb = noise(0, 60, 80, 3)
    box = (20, 10, 50, 40)
    assert np.array_equal(face_crop(rgb, box, (60, 80), 32), crop_face(rgb, box, 32))
    half = noise(1, 30, 40, 1)
    same = face_crop(half, box, (60, 80), 32)
    assert same.shape == (32, 32, 1)
    assert np.array_equal(same[..., 0], crop_face(half[..., 0], (10, 5, 25, 20), 32))
    stretched = face_crop(noise(2, 60, 40, 1), box, (60, 80), 16)
    assert np.array_equal(stretched[..., 0], crop_face(noise(2, 60, 40, 1)[..., 0], (10, 10, 25, 40), 16))
    assert face_crop(rgb, None, (60, 80), 32) is rgb


def test_boxes() -> None:
    assert check_box([1.2, 2.0, 30.7, 40.0], (60, 80)) == (1, 2, 31, 40)
    assert check_box((-5, -5, 20, 20), (60, 80)) == (-5, -5, 20, 20)
    for wrong, text in (
        ((1, 2, 3), "give left, top, right, bottom"),
        ((1, 2, float("nan"), 4), "give left, top, right, bottom"),
        ((5, 5, 5, 9), "right must be beyond left"),
        ((80, 0, 90, 9), "outside of the picture of 80 x 60"),
        ((-9, -9, 0, 9), "outside of the picture"),
    ):
        with pytest.raises(DataError, match=text):
            check_box(wrong, (60, 80))


def test_resized_keeps_what_fits() -> None:
    picture = noise(0, 6, 8, 3)
    assert resized(picture, (6, 8)) is picture
    assert resized(picture, (3, 4)).shape == (3, 4, 3)


def loop_sharpness(x: NDArray[np.float64]) -> float:
    """Pixel by pixel."""
    grey = x.mean(0)
    height, width = grey.shape
    laplacian, inner = [], []
    for i in range(1, height - 1):
        for j in range(1, width - 1):
            near = grey[i - 1, j] + grey[i + 1, j] + grey[i, j - 1] + grey[i, j + 1]
            laplacian.append(4 * grey[i, j] - near)
            inner.append(grey[i, j])
    return float(np.std(laplacian) / max(np.std(inner), 1e-9))


def test_sharpness_is_its_definition_and_forgets_the_light() -> None:
    x = torch.from_numpy(np.random.default_rng(0).random((3, 3, 9, 7)))
    found = sharpness(x)
    assert found.tolist() == pytest.approx([loop_sharpness(v.numpy()) for v in x])
    assert torch.allclose(sharpness(0.3 * x + 0.2), found)
    assert sharpness(torch.full((2, 1, 8, 8), 0.4)).tolist() == pytest.approx([0, 0])
    # A checkerboard: each pixel differs from its four neighbours by 1; 8 times its own deviation.
    board = torch.from_numpy((np.indices((10, 10)).sum(0) % 2).astype(float))[None, None]
    assert float(sharpness(board)) == pytest.approx(8.0)


def test_blur_lowers_sharpness() -> None:
    from PIL import ImageFilter

    picture = Image.fromarray(noise(0, 64, 64, 3))
    values = []
    for radius in (0, 1, 2, 4):
        blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)))
        values.append(float(sharpness(torch.from_numpy(blurred.copy()).permute(2, 0, 1)[None] / 255)))
    assert values == sorted(values, reverse=True)
    assert values[2] < 0.5 * values[0]
