from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, DataError
from mien.data.labelled import ArrayImages
from mien.data.record import RecordFile
from mien.data.record_check import check_record
from mien.data.record_writer import RecordWriter, rebuild_index, scan_records, write_records
from tests.data import record_fixtures as fx


def image(seed, size=(112, 112)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_bytes_equal_those_of_the_format(tmp_path):
    """Our files and those written with struct alone are the same, bit for bit."""
    theirs = fx.write_faces(tmp_path / "a", (3, 1, 2))
    with RecordWriter(tmp_path / "b" / "train.rec") as out:
        for key, label in enumerate((0, 0, 0, 1, 2, 2), 1):
            assert out.add(fx.picture_bytes(key), label) == key
    for name in ("train.rec", "train.idx", "property"):
        assert (tmp_path / "b" / name).read_bytes() == (theirs.parent / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["property", "train.idx", "train.rec"]


def test_im2rec_bytes(tmp_path):
    theirs = fx.write_im2rec(tmp_path / "a", (2, 0, 1, 0))
    with RecordWriter(tmp_path / "b" / "train.rec", style="im2rec") as out:
        for key, label in enumerate((2, 0, 1, 0)):
            out.add(fx.picture_bytes(key, kind="JPEG"), np.int64(label))
    for name in ("train.rec", "train.idx"):
        assert (tmp_path / "b" / name).read_bytes() == (theirs.parent / name).read_bytes()
    assert (tmp_path / "b" / "property").read_text() == "3,112,112\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rec")


_LABELS = st.one_of(
    st.integers(0, 2**24 - 1),
    st.tuples(
        st.integers(0, 999), st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False)
    ),
)
_DATA = st.lists(
    st.one_of(st.just(fx.WORD), st.just(fx.WORD[:3]), st.binary(min_size=1, max_size=7)),
    min_size=1,
    max_size=5,
).map(b"".join)


@given(st.lists(st.tuples(_DATA, _LABELS), min_size=1, max_size=6), st.booleans())
@settings(max_examples=80, deadline=None)
def test_round_trip(folder, items, sort):
    style = "im2rec"
    if sort:
        items.sort(key=lambda item: item[1] if isinstance(item[1], int) else item[1][0])
        style = "insightface"
    with RecordWriter(folder / "any.rec", style=style) as out:
        keys = [out.add(data, label) for data, label in items]
    faces = RecordFile(folder / "any.rec", decode=False)
    assert faces.keys.tolist() == keys
    for place, (data, label) in enumerate(items):
        who = label if isinstance(label, int) else label[0]
        assert faces[place] == (data, who)
        found = faces.record(keys[place]).label
        assert found == ((float(label),) if isinstance(label, int) else tuple(map(float, label)))
    assert faces.labels.tolist() == [faces[i][1] for i in range(len(faces))]


def test_pixels(tmp_path):
    with RecordWriter(tmp_path / "train.rec", image_size=(8, 6), encoding="png", num_classes=9) as out:
        out.add(image(0, (8, 6)), 3)
    faces = RecordFile(tmp_path)
    assert np.array_equal(faces[0][0], image(0, (8, 6)))
    assert (faces.num_classes, faces.image_size) == (9, (8, 6))
    smooth = np.indices((112, 112)).sum(0)[..., None].repeat(3, 2).astype(np.uint8)
    with RecordWriter(tmp_path / "train.rec") as out:
        out.add(smooth, 0)
    assert RecordFile(tmp_path).encoded(0)[0][:3] == b"\xff\xd8\xff"
    assert np.abs(RecordFile(tmp_path)[0][0].astype(int) - smooth).mean() < 2


def test_labelled_images_become_records(tmp_path):
    images = np.stack([image(k, (8, 6)) for k in range(5)])
    labels = np.array([2, 0, 2, 1, 0])
    labelled = ArrayImages(images, labels, ["a", "b", "c", "nobody"])
    faces = RecordFile(write_records(tmp_path / "train.rec", labelled, encoding="png"))
    assert faces.labels.tolist() == [0, 0, 1, 2, 2]
    assert faces.num_classes == 4
    for place, source in enumerate((1, 4, 3, 0, 2)):
        assert np.array_equal(faces[place][0], images[source])
    back = RecordFile(write_records(tmp_path / "again.rec", faces.as_images(), encoding="png"))
    assert [back.encoded(k) for k in range(5)] == [faces.encoded(k) for k in range(5)]
    grey = ArrayImages(images[..., 0], labels, ["a", "b", "c"])
    assert RecordFile(write_records(tmp_path / "grey.rec", grey))[0][0].shape == (8, 6, 3)
    with pytest.raises(DataError, match="no pictures to write"):
        write_records(tmp_path / "x.rec", labelled.subset(np.array([], int)))


def test_whole_or_not_at_all(tmp_path):
    old = fx.write_faces(tmp_path, (2,))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail():
        with RecordWriter(old) as out:
            out.add(b"x", 0)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    with pytest.raises(DataError, match="no pictures were added"), RecordWriter(old):
        pass
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    with RecordWriter(old) as out:
        out.add(fx.picture_bytes(9), 0)
    assert len(RecordFile(old)) == 1
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("given_image", "label", "error", "words"),
    [
        (b"", 0, DataError, "picture 1 is empty"),
        (b"x", -1, ConfigError, "label -1 is no class"),
        (b"x", 2**24, ConfigError, "is no class from 0 to 16777215"),
        (b"x", (0.5, 1), ConfigError, "is no class"),
        (b"x", (), ConfigError, "is no class"),
        (b"x", 9, ConfigError, "label 9, but there are 9 classes"),
        (image(0, (4, 4)), 0, DataError, r"picture 1: uint8 \(4, 4, 3\), expected uint8 \(112, 112, 3\)"),
        (np.zeros((112, 112, 3)), 0, DataError, "picture 1: float64"),
        (b"x", 5, ConfigError, "class 5 comes back after class 6"),
    ],
)
def test_what_cannot_be_written(tmp_path, given_image, label, error, words):
    def write():
        with RecordWriter(tmp_path / "a.rec", num_classes=9) as out:
            for image, who in ((b"x", 5), *([(b"y", 6)] if label == 5 else []), (given_image, label)):
                out.add(image, who)

    with pytest.raises(error, match=words):
        write()
    assert not list(tmp_path.iterdir())


def test_wrong_use(tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.rec"), RecordWriter(tmp_path / "train"):
        pass
    with pytest.raises(ConfigError, match="not open"):
        RecordWriter(tmp_path / "a.rec").add(b"x", 0)


# ---------------------------------------------------------------- a lost index


@pytest.mark.parametrize("header_last", [False, True])
@pytest.mark.parametrize("ids", ["keys", "zeros", "others"])
def test_rebuild_index(tmp_path, header_last, ids):
    path = fx.write_faces(tmp_path, (2, 3), header_last=header_last)
    if ids != "keys":  # some writers leave every id 0, or count otherwise
        data = bytearray(path.read_bytes())
        for line in path.with_suffix(".idx").read_text().splitlines():
            key, start = map(int, line.split())
            data[start + 16 : start + 24] = struct.pack("<Q", 0 if ids == "zeros" else 100 + key)
        path.write_bytes(data)
    index = path.with_suffix(".idx")
    before = sorted(tuple(map(int, line.split())) for line in index.read_text().splitlines())
    index.unlink()
    assert rebuild_index(tmp_path) == index
    assert [tuple(map(int, line.split())) for line in index.read_text().splitlines()] == before
    assert RecordFile(path).labels.tolist() == [0, 0, 1, 1, 1]


def test_rebuild_where_a_label_is_no_number(tmp_path):
    payloads = {0: fx.vector((float("nan"), float("inf")), 5), 1: fx.scalar(0, 9, b"x")}
    path = fx.write_payloads(tmp_path, payloads)
    assert rebuild_index(path).read_text() == "5\t0\n9\t40\n"


def test_rebuild_of_a_damaged_file_writes_nothing(tmp_path):
    path = fx.write_im2rec(tmp_path)
    start = int(path.with_suffix(".idx").read_text().split()[-1])
    path.with_suffix(".idx").unlink()
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=rf"the record number 3 at byte {start}: truncated in mid-record"):
        rebuild_index(path)
    assert not path.with_suffix(".idx").exists()
    path.write_bytes(b"")
    with pytest.raises(DataError, match="empty file"):
        list(scan_records(path))


# ---------------------------------------------------------------- check


def test_a_sound_set(tmp_path):
    report = check_record(fx.write_faces(tmp_path, (3, 2, 4)))
    assert report.is_sound
    assert report.kind == "record"
    assert report.splits == {
        "train": {"images": 9, "classes": 3, "largest": 4, "smallest": 2, "empty_classes": 0}
    }
    assert report.notes == ("insightface style, 13 records",)
    assert check_record(tmp_path, decode=False).is_sound


def test_notes(tmp_path):
    report = check_record(fx.write_im2rec(tmp_path, (2, 0, 2, 5, 0)))
    assert report.is_sound
    assert report.splits["train"]["empty_classes"] == 3
    assert report.notes == (
        "im2rec style, 5 records",
        "no file property: the number of classes is the largest label + 1",
        "labels have gaps: 3 of 6 classes have no picture (1, 3, 4)",
        "people with one picture only: 1 (5); they have no pair",
        "the pictures of a person do not lie together (2 more runs than people)",
    )


def problems_of(path, **options):
    report = check_record(path, **options)
    assert not any("\n" in line for line in report.problems)
    return " | ".join(report.problems)


def test_problems(tmp_path):
    path = fx.write_faces(tmp_path, (3, 2))
    index = path.with_suffix(".idx")
    good, text = path.read_bytes(), index.read_text()
    index.write_text(text.replace("2\t", "2\t1", 1))
    assert "is not where a record begins (1 such places)" in problems_of(path)
    assert "1 of 8 records are not in the index" in problems_of(path)
    index.unlink()
    assert "train.idx: no such file" in problems_of(path)
    index.write_text(text)
    path.write_bytes(good[:-3])
    assert "number 7 at byte" in problems_of(path)
    path.write_bytes(good + b"junk")
    assert "number 8 at byte" in problems_of(path)
    path.write_bytes(good)
    (tmp_path / "property").write_text("1,112,112")
    assert "record 4 has the label 1, but property says 1 classes" in problems_of(path)
    (tmp_path / "property").write_text("2,96,112")
    assert "record 1 is 112 x 112 (H x W), expected 96 x 112" in problems_of(path)
    assert not problems_of(path, decode=False)
    assert "no such file or folder" in problems_of(tmp_path / "none")


def test_identity_records_that_disagree(tmp_path):
    pictures = {k: fx.scalar(label, k, fx.picture_bytes(k)) for k, label in enumerate((0, 0, 1, 1), 1)}
    people = {5: fx.vector((1, 4), 5), 6: fx.vector((3, 4), 6)}
    path = fx.write_payloads(tmp_path, {0: fx.vector((5, 7), 0)} | pictures | people)
    found = problems_of(path)
    assert "1 pictures belong to no identity record, the first is 4" in found
    assert "1 pictures belong to several identity records, the first is 3" in found
    assert "1 identity records hold more than one label, the first the pictures 1..3" in found


def test_pictures_that_are_damaged_or_there_twice(tmp_path):
    a, b = fx.picture_bytes(1), fx.picture_bytes(2)
    grey = fx.picture_bytes(3)
    payloads = {0: fx.scalar(0, 0, a), 1: fx.scalar(1, 1, a), 2: fx.scalar(1, 2, b), 3: fx.scalar(1, 3, b)}
    payloads |= {4: fx.scalar(0, 4, b"no picture"), 5: fx.scalar(0, 5, grey)}
    path = fx.write_payloads(tmp_path, payloads)
    report = check_record(path)
    assert report.problems[0].endswith("TIFF, GIF, PPM)")
    assert "picture of record 4: not a picture" in report.problems[0]
    assert (
        "records 0 and 1 hold the same bytes under the labels 0 and 1 (1 such conflicts)"
        in report.problems[1]
    )
    assert "1 pictures are there twice under the same label" in report.notes
