from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import DataError, LimitError
from mien.data.pickles import load_plain
from mien.data.verification import (
    VerificationBin,
    blocks,
    to_size,
    write_verification,
    write_verification_folder,
)
from tests.data.fixtures import Python2
from tests.data.record_fixtures import picture_bytes


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


FACES = [picture_bytes(k) for k in range(6)]
SAME = [True, False, True]


def python2(faces, same):
    """The opcodes of Python 2's protocol 2: text and bytes are one, BINSTRING."""
    out = b"\x80\x02]("
    out += b"".join(b"T" + struct.pack("<i", len(f)) + f for f in faces) + b"e]("
    return out + b"".join(b"\x88" if s else b"\x89" for s in same) + b"e\x86."


def array_bytes(faces):
    return [np.frombuffer(f, np.uint8) for f in faces]


@pytest.mark.parametrize(
    "data",
    [
        python2(FACES, SAME),
        *(pickle.dumps((FACES, SAME), protocol=p) for p in range(6)),
        Python2().dumps((array_bytes(FACES), SAME)),
        pickle.dumps([FACES, np.array(SAME)], protocol=4),
        pickle.dumps((FACES, [np.bool_(s) for s in SAME]), protocol=2),
        pickle.dumps((FACES, [int(s) for s in SAME]), protocol=5),
        pickle.dumps((array_bytes(FACES), SAME), protocol=2),
        pickle.dumps((array_bytes(FACES), SAME), protocol=5),
        pickle.dumps(([pixels(f) for f in FACES], tuple(SAME)), protocol=4),
        pickle.dumps(([pixels(f).transpose(2, 0, 1) for f in FACES], SAME), protocol=4),
        pickle.dumps(([np.asfortranarray(pixels(f)) for f in FACES], SAME), protocol=2),
        pickle.dumps((np.stack([pixels(f) for f in FACES]), SAME), protocol=4),
        pickle.dumps(([bytearray(f) for f in FACES], SAME), protocol=4),
    ],
)
def test_forms_of_a_bin(tmp_path, data):
    path = tmp_path / "lfw.bin"
    path.write_bytes(data)
    pairs = VerificationBin(path)
    assert len(pairs) == 3
    assert pairs.same.dtype == bool
    assert pairs.same.tolist() == SAME
    for k, (a, b, same) in enumerate(pairs):
        assert np.array_equal(a, pixels(FACES[2 * k]))
        assert np.array_equal(b, pixels(FACES[2 * k + 1]))
        assert same is SAME[k]
    assert np.array_equal(pairs[-1][1], pixels(FACES[5]))
    assert pairs.note == "lfw.bin: 3 pairs, the published set has 6,000"
    with pytest.raises(IndexError, match="pair 3 of 3"):
        pairs[3]


def test_write_and_read(tmp_path):
    path = write_verification(tmp_path / "own.bin", FACES, SAME)
    data = path.read_bytes()
    assert data[:2] == b"\x80\x02"
    assert max(op.proto for op, _, _ in pickletools.genops(data)) == 2
    assert pickle.loads(data, encoding="bytes") == (FACES, SAME)
    pairs = VerificationBin(path)
    assert pairs.same.tolist() == SAME
    assert pairs.note == ""
    assert np.array_equal(pairs[1][0], pixels(FACES[2]))
    write_verification(path, [pixels(f) for f in FACES], np.array(SAME))
    assert np.array_equal(VerificationBin(path).face(5), pixels(FACES[5]))
    with pytest.raises(DataError, match="6 pictures for 2 pairs"):
        write_verification(path, FACES, SAME[:2])


def memory_mapped(root, name, faces, same):
    """The layout of AdaFace: floats in [-1, 1], blue-green-red, and its shape beside it in JSON."""
    folder = root / name / "memfile"
    folder.mkdir(parents=True)
    array = np.stack([(pixels(f)[..., ::-1] / 255.0 - 0.5) / 0.5 for f in faces]).transpose(0, 3, 1, 2)
    array.astype("<f4").tofile(folder / "mem_file.dat")
    (folder / "mem_file.dat.conf").write_text(json.dumps({"shape": array.shape, "dtype": "float32"}))
    np.save(root / f"{name}_list.npy", np.array(same))
    return root / name


def test_memory_mapped_folder(tmp_path):
    pairs = VerificationBin(memory_mapped(tmp_path, "agedb_30", FACES, SAME))
    assert pairs.same.tolist() == SAME
    assert np.array_equal(pairs[1][0], pixels(FACES[2]))
    assert np.array_equal(
        VerificationBin(tmp_path / "agedb_30", channels="rgb").face(2)[..., ::-1], pairs[1][0]
    )
    ours = write_verification_folder(tmp_path / "own", [pixels(f) for f in FACES], SAME)
    assert (ours / "memfile/mem_file.dat").stat().st_size == 6 * 3 * 112 * 112 * 4
    for k in range(6):
        assert np.array_equal(VerificationBin(ours).face(k), pixels(FACES[k]))


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        ("agedb_30_list.npy", None, r"agedb_30_list\.npy: no such file"),
        ("agedb_30_list.npy", b"\x93NUMPY", "damaged, or not a plain array"),
        ("agedb_30/memfile/mem_file.dat", b"1234", "4 bytes, not "),
        ("agedb_30/memfile/mem_file.dat.conf", b"[]", "expected the shape and dtype"),
        ("agedb_30/memfile/mem_file.dat.conf", b'{"shape": [6], "dtype": "uint8"}', r"shape \[6\], expected"),
        ("agedb_30/memfile/mem_file.dat.conf", b'{"shape": [6,3,2,2], "dtype": "O"}', "expected the shape"),
    ],
)
def test_a_damaged_folder(tmp_path, file, data, words):
    path = memory_mapped(tmp_path, "agedb_30", FACES, SAME)
    if data is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(data)
    with pytest.raises(DataError, match=words):
        VerificationBin(path)


def test_an_object_array_of_truths_is_refused(tmp_path):
    path = memory_mapped(tmp_path, "agedb_30", FACES, SAME)
    np.save(tmp_path / "agedb_30_list.npy", np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(DataError, match="not a plain array"):
        VerificationBin(path)


@pytest.mark.parametrize("size", [(112, 96), (96, 112), (224, 224), (112, 250), (300, 112), (40, 40)])
def test_other_sizes(tmp_path, size):
    path = write_verification(tmp_path / "x.bin", [picture_bytes(k, size) for k in range(2)], [True])
    face = VerificationBin(path).face(0)
    assert face.shape == (112, 112, 3)
    image = np.indices(size).sum(0).astype(np.uint8)[..., None].repeat(3, 2)
    assert to_size(image).shape == (112, 112, 3)


def test_a_tall_picture_of_the_right_width_is_cut_not_scaled():
    image = np.random.default_rng(0).integers(0, 256, (132, 112, 3), dtype=np.uint8)
    assert np.array_equal(to_size(image), image[10:122])


def test_folds():
    assert blocks(6000).tolist() == np.repeat(np.arange(10), 600).tolist()
    assert np.bincount(blocks(27)).tolist() == [3] * 7 + [2] * 3


# ---------------------------------------------------------------- hostile and damaged files


class Evil:
    """Would create a file if its pickle were trusted."""

    def __reduce__(self):
        return os.system, ("touch EXECUTED",)


class Eval:
    def __reduce__(self):
        return eval, ("open('EXECUTED', 'w')",)


class Opens:
    def __reduce__(self):
        return Path, ("EXECUTED",)


class Bomb:
    """Would claim a terabyte: bytes(10 ** 12)."""

    def __reduce__(self):
        return bytes, (10**12,)


class Getattr:
    def __reduce__(self):
        return getattr, (os, "system")


HOSTILE = {
    "system": pickle.dumps(([Evil()], [True])),
    "eval": pickle.dumps(([Eval()], [True])),
    "path": pickle.dumps(([Opens()], [True])),
    "getattr": b"\x80\x02cbuiltins\ngetattr\n.",
    "bytes": pickle.dumps(([Bomb()], [True])),
    "by_name": b"cposix\nsystem\n(S'touch EXECUTED'\ntR.",
    "inst": b"(S'touch EXECUTED'\niposix\nsystem\n.",
    "numpy": b"\x80\x02cnumpy\nload\n(S'x'\ntR.",
    "numpy_dotted": b"\x80\x04\x8c\x05numpy\x8c\x0fcore.multiarray\x93.",
    "state_on_a_type": b"\x80\x02cnumpy\ndtype\n}(U\x01aK\x01ub.",
    "state_on_bytes": b"\x80\x02cbuiltins\nbytes\n)R}(U\x01aK\x01ub.",
    "class_attribute": b"\x80\x02cbuiltins\nbytes\nN}(U\x04dataK\x01u\x86b.",
    "persistent": b"\x80\x02K\x01Q.",
    "memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "extension": b"\x80\x02\x82\x01.",
    "object_array": pickle.dumps((np.array([Evil()], object), [True])),
    "objects_of_numbers": pickle.dumps((np.array([1, "a"], object), [True])),
    "shape_bomb": pickle.dumps(([np.zeros(1, np.uint8)], [True]), 2).replace(
        b"K\x01\x85", b"J\xff\xff\xff\x7f\x85"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_in_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "lfw.bin"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(DataError) as caught:
        VerificationBin(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "EXECUTED").exists()


def test_the_refused_global_is_named(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(HOSTILE["system"])
    with pytest.raises(DataError, match=r"refused the global posix\.system.*nothing was executed"):
        load_plain(path)
    path.write_bytes(HOSTILE["eval"])
    with pytest.raises(DataError, match=r"refused the global builtins\.eval"):
        load_plain(path)


def test_a_tower_of_references_is_no_bomb(tmp_path):
    """Each of 60 lists holds the one before twice: 2^60 leaves if it were unfolded."""
    value = [1]
    for _ in range(60):
        value = [value, value]
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps((value, [True])))
    with pytest.raises(DataError, match="picture 0 is a list"):
        VerificationBin(path)


def test_a_list_that_holds_itself(tmp_path):
    value = []
    value.append(value)
    (tmp_path / "x.bin").write_bytes(pickle.dumps(value))
    with pytest.raises(DataError, match="nested too deeply"):
        VerificationBin(tmp_path / "x.bin")


def test_every_truncation_is_a_data_error(tmp_path):
    data = pickle.dumps(([b"ab", b"cd"], np.array([True])), protocol=2)
    path = tmp_path / "x.bin"
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(DataError):
            VerificationBin(path)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"bins": []}, "not a pair"),
        (([], []), "no pairs in it"),
        ((FACES, SAME[:2]), "6 pictures for 2 pairs"),
        (("text", SAME), "its pictures are a str"),
        (([1.5] * 6, SAME), "picture 0 is a float"),
        ((FACES, [1, 2, 0]), "its truth is not a list of true and false"),
        ((FACES, [[True], [False], [True]]), "not one-dimensional"),
        ((FACES, None), "its truth is not a list"),
        ((FACES, np.array([[True, False, True]])), "not one-dimensional"),
        (([np.zeros((3, 3), np.float32)] * 6, SAME), "picture 0 is a ndarray"),
    ],
)
def test_other_values(tmp_path, value, words):
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(DataError, match=words):
        VerificationBin(path)


def test_plain_values_come_through(tmp_path):
    value = {
        "a": [1, 2.5, None, True, "ä", b"\xff", b""],
        "b": ({1, 2}, frozenset({3}), bytearray(b"x")),
        3: np.arange(6, dtype=">i2").reshape(2, 3),
    }
    path = tmp_path / "x.pkl"
    for protocol in range(2, 6):
        path.write_bytes(pickle.dumps(value, protocol=protocol))
        back = load_plain(path)
        assert back["a"] == value["a"]
        assert back["b"] == ({1, 2}, {3}, b"x")
        assert type(back["b"][2]) in (bytes, bytearray)
        assert np.array_equal(back[3], value[3])


def test_missing_large_and_damaged(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no such file"):
        VerificationBin(tmp_path / "none.bin")
    path = write_verification(tmp_path / "x.bin", [FACES[0], b"no picture"], [True])
    pairs = VerificationBin(path)
    with pytest.raises(DataError, match=r"x\.bin: picture 1: not a picture"):
        pairs[0]
    monkeypatch.setenv("MIEN_MAX_ARRAY_BYTES", "100")
    with pytest.raises(LimitError, match="MIEN_MAX_ARRAY_BYTES"):
        VerificationBin(path)
