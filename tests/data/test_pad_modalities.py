"""Decoding, and whether slots hold what they say, on rendered faces and attacks."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import DataError, LimitError, ShapeError
from mien.data.pad_modalities import (
    DepthMap,
    channel_spread,
    check_modalities,
    depth_unit_problem,
    likeness,
    modality_problems,
    read_depth,
    read_ir,
    read_rgb,
    read_sample,
)
from mien.data.pad_sample import PadSample
from mien.synth.made_sets import PadSet
from tests.data.pad_fixtures import picture


@pytest.fixture(scope="module")
def rendered():
    """Eight presentations: colour, infrared (8 bits), depth (metres) and depth picture."""
    made = PadSet(identities=1, per_identity=8, size=32, seed=5)
    out = []
    for person in range(2):
        for one in made.samples(person):
            with np.load(io.BytesIO(one.files["npz"])) as truth:
                depth = truth["depth"]
            pictures = [
                np.asarray(Image.open(io.BytesIO(one.files[k]))) for k in ("png", "ir.png", "depth.png")
            ]
            out.append((*pictures, depth, json.loads(one.files["json"])["species"]))
    return out


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def written(root, rendered, ir=None, depth=None):
    """Samples in files; ``ir`` and ``depth`` change what lies in a slot."""
    samples = []
    for i, (rgb, infrared, _, metres, species) in enumerate(rendered):
        images = {"rgb": save(root / f"{i}.png", rgb)}
        images["ir"] = save(root / f"{i}i.png", infrared if ir is None else ir(rgb))
        if depth is None:
            images["depth"] = save(root / f"{i}d.png", np.round(metres * 1000).astype(np.uint16))
        else:
            images["depth"] = depth(root, i, rgb, metres)
        samples.append(PadSample(images, int(species == "live"), species, video_id=str(i)))
    return samples


def grey(rgb):
    return np.asarray(Image.fromarray(rgb).convert("L"))


def test_what_is_as_it_should_be_passes(tmp_path, rendered):
    samples = written(tmp_path, rendered)
    assert modality_problems(samples, metric=True) == []
    check_modalities(samples, metric=True)
    images = read_sample(samples[0], metric=True)
    assert list(images) == ["rgb", "depth", "ir"]
    assert images["rgb"].dtype == np.uint8
    assert np.abs(images["depth"] - rendered[0][3]).max() <= 0.0006
    different = {a.tobytes() for a in (grey(images["rgb"]) / 255, images["ir"], images["depth"])}
    assert len(different) == 3


def jpeg(array, quality):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (grey, r"0i\.png: the infrared slot holds a copy of the colour picture \(correlation 1\.000\)"),
        (lambda rgb: jpeg(grey(rgb), 70), r"holds a copy of the colour picture \(correlation 0\.9"),
        (lambda rgb: rgb[..., 1], "holds a copy of the colour picture"),
        (lambda rgb: rgb, r"the infrared slot holds a colour picture \(its channels differ\)"),
    ],
)
def test_colour_in_the_infrared_slot(tmp_path, rendered, fill, words):
    samples = written(tmp_path, rendered, ir=fill)
    with pytest.raises(DataError, match=words) as caught:
        check_modalities(samples)
    assert "\n" not in str(caught.value)
    assert len(modality_problems(samples)) == 1


def test_grey_pictures_stored_as_colour_are_grey(tmp_path, rendered):
    samples = written(tmp_path, [
        (rgb, jpeg(np.repeat(ir[..., None], 3, -1), 80), *rest) for rgb, ir, *rest in rendered
    ])  # fmt: skip
    assert modality_problems(samples) == []


def test_a_few_samples_decide_not_one(tmp_path, rendered):
    samples = written(tmp_path, rendered)
    save(samples[0].images["ir"], grey(rendered[0][0]))
    assert modality_problems(samples, 8) == []


def test_colour_in_the_depth_slot(tmp_path, rendered):
    copied = written(tmp_path / "a", rendered, depth=lambda r, i, rgb, _: save(r / f"{i}d.png", grey(rgb)))
    with pytest.raises(DataError, match="the depth slot holds a copy of the colour picture"):
        check_modalities(copied)
    colour = written(tmp_path / "b", rendered, depth=lambda r, i, rgb, _: save(r / f"{i}d.png", rgb))
    with pytest.raises(DataError, match="the depth slot holds a colour picture"):
        check_modalities(colour)


def test_relative_depth_is_kept_and_refused_where_metres_are_needed(tmp_path, rendered):
    pictures = {id(r[3]): r[2] for r in rendered}
    samples = written(
        tmp_path, rendered, depth=lambda r, i, _, metres: save(r / f"{i}d.png", pictures[id(metres)])
    )
    assert modality_problems(samples) == []
    found = read_depth(samples[0].images["depth"])
    assert not found.is_metric
    assert found.values.dtype == np.uint8
    assert np.array_equal(found.values, rendered[0][2])
    with pytest.raises(DataError, match=r"0d\.png: 8-bit depth, which is relative; give 16-bit millimetres"):
        read_depth(samples[0].images["depth"], metric=True)
    with pytest.raises(DataError, match="8-bit depth, which is relative"):
        check_modalities(samples, metric=True)


@pytest.mark.parametrize(
    ("store", "words"),
    [
        (lambda m: np.round(m * 1e4).astype(np.uint16), "its numbers look like tenths of a millimetre"),
        (lambda m: (m * 1e3).astype(np.float32), "its numbers look like millimetres"),
        (lambda m: (m * 1e4).astype(np.float32), "its numbers look like tenths of a millimetre"),
    ],
)
def test_depth_in_another_unit(tmp_path, rendered, store, words):
    def depth(root, i, _, metres):
        array = store(metres)
        if array.dtype == np.uint16:
            return save(root / f"{i}d.png", array)
        np.save(root / f"{i}d.npy", array)
        return root / f"{i}d.npy"

    samples = written(tmp_path, rendered, depth=depth)
    with pytest.raises(DataError, match=rf"median depth .* m is outside 0\.2 - 5 m; {words}, convert"):
        check_modalities(samples)


def test_units_of_depth():
    ones = np.ones((4, 4), np.float32)
    assert depth_unit_problem(0.6 * ones) == ""
    assert depth_unit_problem(0 * ones) == ""
    holes = np.where(np.eye(4) > 0, 0.6, 0)
    assert depth_unit_problem(holes) == ""
    assert "look like metres" in depth_unit_problem(0.0006 * ones)
    assert "look like millimetres or tenths of a millimetre" in depth_unit_problem(3000 * ones)
    assert "check its unit" in depth_unit_problem(1e7 * ones)
    assert depth_unit_problem(3 * ones) == ""
    assert "tenths of a millimetre" in depth_unit_problem(3 * ones, (0.2, 1.5))


def test_depth_of_every_form(tmp_path):
    metres = np.array([[0, 0.5], [0.75, 1.25]], np.float32)
    millimetres = np.round(metres * 1000).astype(np.uint16)
    save(tmp_path / "a.png", millimetres)
    save(tmp_path / "a.tiff", millimetres)
    save(tmp_path / "f.tiff", metres)
    np.save(tmp_path / "a.npy", metres)
    np.save(tmp_path / "h.npy", metres.astype(np.float16))
    np.save(tmp_path / "m.npy", millimetres)
    np.savez(tmp_path / "a.npz", depth=metres, ir=metres)
    np.savez(tmp_path / "o.npz", z=metres)
    for name in ("a.png", "a.tiff", "f.tiff", "a.npy", "h.npy", "m.npy", "a.npz", "o.npz"):
        found = read_depth(tmp_path / name)
        assert isinstance(found, DepthMap)
        assert found.is_metric
        assert found.values.dtype == np.float32
        assert np.allclose(found.values, metres, atol=1e-6), name
    assert np.allclose(read_depth(tmp_path / "a.png", unit="tenth_millimetre").values, metres / 10)
    np.save(tmp_path / "bad.npy", np.array([[np.inf, np.nan], [-1, 0.5]]))
    assert read_depth(tmp_path / "bad.npy").values.tolist() == [[0, 0], [0, 0.5]]


def test_infrared_of_every_form(tmp_path):
    eight = np.array([[0, 51], [102, 255]], np.uint8)
    save(tmp_path / "a.png", eight)
    save(tmp_path / "s.png", eight.astype(np.uint16) * 257)
    np.savez(tmp_path / "a.npz", depth=np.ones((2, 2)), ir=(eight / 255).astype(np.float64))
    for name in ("a.png", "s.png", "a.npz"):
        found = read_ir(tmp_path / name)
        assert found.dtype == np.float32
        assert np.allclose(found, [[0, 0.2], [0.4, 1]], atol=1e-6), name


def test_wrong_files(tmp_path, monkeypatch):
    np.save(tmp_path / "c.npy", np.zeros((2, 2, 3)))
    np.savez(tmp_path / "two.npz", a=np.zeros(2), b=np.zeros(2))
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "t.npz").write_bytes(b"PK torn")
    np.save(tmp_path / "s.npy", np.array([["a"]]))
    for name, kind, words in (
        ("c.npy", ShapeError, r"depth is one \(H, W\) map of numbers, got \(2, 2, 3\)"),
        ("s.npy", ShapeError, "map of numbers"),
        ("two.npz", DataError, "arrays a, b; expected one, or one called depth"),
        ("o.npy", DataError, "not an array file that can be read"),
        ("t.npz", DataError, "not an array file that can be read"),
        ("none.npy", DataError, "no such file"),
        ("none.png", DataError, "no such file"),
    ):
        with pytest.raises(kind, match=words):
            read_depth(tmp_path / name)
    with pytest.raises(ShapeError, match=r"ir is one \(H, W\) picture"):
        read_ir(tmp_path / "s.npy")
    monkeypatch.setenv("MIEN_MAX_ARRAY_BYTES", "10")
    with pytest.raises(LimitError, match="MIEN_MAX_ARRAY_BYTES"):
        read_depth(tmp_path / "c.npy")
    with pytest.raises(LimitError, match="MIEN_MAX_ARRAY_BYTES"):
        read_depth(tmp_path / "two.npz")


def slow_correlation(a, b):
    pairs = [(float(x), float(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True) if x > 0 or y > 0]
    n = len(pairs)
    ma, mb = sum(x for x, _ in pairs) / n, sum(y for _, y in pairs) / n
    cov = sum((x - ma) * (y - mb) for x, y in pairs)
    va, vb = sum((x - ma) ** 2 for x, _ in pairs), sum((y - mb) ** 2 for _, y in pairs)
    return cov / (va * vb) ** 0.5


def test_likeness_is_a_correlation_over_the_pixels_that_are_seen(rendered):
    rgb, infrared = rendered[0][0].copy(), rendered[0][1].copy()
    rgb[:10], infrared[:10] = 0, 0
    level = rgb.astype(float) @ [0.299, 0.587, 0.114]
    assert likeness(infrared, rgb)[0] == pytest.approx(slow_correlation(infrared, level), abs=1e-9)
    assert likeness(rgb, rgb) == pytest.approx((1, 1))
    assert likeness(255 - level, rgb)[0] == pytest.approx(slow_correlation(255 - level, level))
    assert likeness(infrared[:20], rgb) == (0, 0)
    assert likeness(np.full((32, 32), 7), rgb)[0] == 0
    assert likeness(np.zeros((4, 4)), np.zeros((4, 4, 3))) == (0, 0)


def test_rendered_cameras_are_far_from_the_limits(rendered):
    own = np.array([likeness(ir, rgb) for rgb, ir, *_ in rendered])
    copies = np.array([likeness(jpeg(grey(rgb), 70), rgb) for rgb, *_ in rendered])
    assert np.median(own, 0).max() < 0.7
    assert np.median(copies, 0).min() > 0.85


def test_channels(tmp_path):
    assert channel_spread(np.zeros((3, 3))) == 0
    assert channel_spread(np.array([[[1, 5, 3]]], np.uint8)) == 4
    path = picture(tmp_path / "a.png", 0)
    assert channel_spread(read_rgb(path)) > 50


def test_no_samples_no_problems():
    assert modality_problems([]) == []
