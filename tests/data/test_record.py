from __future__ import annotations

import io
import multiprocessing
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.core.errors import DataError
from mien.data import record
from mien.data.record import RecordFile, runs
from mien.data.record_format import frames, payload_at
from tests.data import record_fixtures as fx


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_insightface_style(tmp_path):
    path = fx.write_faces(tmp_path, (3, 1, 4))
    for given_path in (path, tmp_path, str(path)):
        faces = RecordFile(given_path)
        assert len(faces) == 8
        assert faces.keys.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
        assert faces.labels.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
        assert faces.identity_ranges.tolist() == [[0, 3], [3, 4], [4, 8]]
        assert faces.num_classes == 3
        assert faces.image_size == (112, 112)
        assert faces.has_identity_records
    for place, (image, label) in enumerate(faces):
        assert image.shape == (112, 112, 3)
        assert image.dtype == np.uint8
        assert np.array_equal(image, pixels(fx.picture_bytes(place + 1)))
        assert label == faces.labels[place]
        assert faces.encoded(place) == (fx.picture_bytes(place + 1), label)
    assert faces[-1][1] == 2
    assert RecordFile(path, decode=False)[2] == (fx.picture_bytes(3), 0)
    with pytest.raises(IndexError, match="picture 8 of 8"):
        faces[8]


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("header_last", [False, True])
def test_vector_labels_and_a_header_at_the_end(tmp_path, vectors, header_last):
    faces = RecordFile(fx.write_faces(tmp_path, (2, 3), vectors=vectors, header_last=header_last))
    assert faces.labels.tolist() == [0, 0, 1, 1, 1]
    assert faces.identity_ranges.tolist() == [[0, 2], [2, 5]]
    assert faces.record(1).label == ((0.0, 0.5) if vectors else (0.0,))
    assert faces.record(1).id == 1
    assert faces[3][1] == 1


def test_im2rec_style(tmp_path):
    faces = RecordFile(fx.write_im2rec(tmp_path, (2, 0, 0, 1)))
    assert faces.keys.tolist() == [0, 1, 2, 3]
    assert faces.labels.tolist() == [2, 0, 0, 1]
    assert faces.num_classes == 3
    assert faces.image_size == (112, 112)
    assert not faces.has_identity_records
    assert faces.identity_ranges.tolist() == [[0, 1], [1, 3], [3, 4]]


def test_im2rec_with_a_vector_label_on_the_first_picture(tmp_path):
    payloads = {k: fx.vector((k % 2, 7.0), k, fx.picture_bytes(k)) for k in range(4)}
    faces = RecordFile(fx.write_payloads(tmp_path, payloads))
    assert faces.labels.tolist() == [0, 1, 0, 1]


def test_gaps_in_keys_and_an_unsorted_index(tmp_path):
    payloads = {k: fx.scalar(k, k, fx.picture_bytes(k)) for k in (30, 10, 20)}
    faces = RecordFile(fx.write_payloads(tmp_path, payloads))
    assert faces.keys.tolist() == [10, 20, 30]
    assert faces.encoded(1) == (fx.picture_bytes(20), 20)
    with pytest.raises(DataError, match="no key 11 in its index"):
        faces.record(11)


@pytest.mark.parametrize(
    "payload",
    [
        fx.WORD,
        fx.WORD * 3,
        b"abcd" + fx.WORD + b"ef",
        b"ab" + fx.WORD + b"cdef",
        b"ab" + fx.WORD + b"cd" + fx.WORD + b"x" + fx.WORD,
        b"a" + fx.WORD + fx.WORD + b"bcd" + fx.WORD,
        b"",
        b"x",
        fx.WORD[:3],
        b"1234" + fx.WORD[:3],
    ],
)
def test_payloads_that_hold_the_magic_word(payload):
    data = frames(payload)
    assert data == fx.framed(payload)
    assert len(data) % 4 == 0
    # No aligned magic word but at the starts of frames: that is what the cutting is for.
    place = 0
    while place < len(data):
        word, length = struct.unpack_from("<II", data, place)
        assert word == fx.MAGIC
        body = data[place + 8 : place + 8 + (length & (2**29 - 1))]
        assert all(body[i : i + 4] != fx.WORD for i in range(0, len(body), 4))
        place += 8 + len(body) + -len(body) % 4
    assert payload_at(data, 0) == (payload, len(data))


_PIECES = st.one_of(st.just(fx.WORD), st.just(fx.WORD[:2]), st.binary(max_size=9))


@given(st.lists(st.lists(_PIECES, max_size=8).map(b"".join), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_frames_round_trip(payloads):
    data = b"".join(map(frames, payloads))
    assert data == b"".join(map(fx.framed, payloads))
    offset = 0
    for payload in payloads:
        back, offset = payload_at(data, offset)
        assert back == payload
    assert offset == len(data)


def test_a_split_record_among_others(tmp_path):
    """The magic word in the picture and in the header's id, both at multiples of four."""
    tail = fx.picture_bytes(5) + b"." * (-len(fx.picture_bytes(5)) % 4) + fx.WORD + b"end"
    payloads = {
        0: fx.scalar(1, 0, fx.picture_bytes(0)),
        1: fx.scalar(2, 1, tail),
        2: fx.scalar(3, fx.MAGIC, fx.picture_bytes(2)),
        3: fx.vector((4, 0), fx.MAGIC, fx.picture_bytes(3)),
    }
    faces = RecordFile(fx.write_payloads(tmp_path, payloads))
    assert faces.labels.tolist() == [1, 2, 3, 4]
    assert faces.encoded(1) == (tail, 2)
    assert faces.record(2).id == fx.MAGIC
    assert faces.encoded(3) == (fx.picture_bytes(3), 4)


def test_sets_beyond_the_whole_numbers_of_float32(tmp_path, monkeypatch):
    """Above 2^24 the counts and ranges are rounded; here the border is moved down instead."""
    path = fx.write_faces(tmp_path, (3, 1, 4, 2))
    data = bytearray(path.read_bytes())
    place = data.find(struct.pack("<2f", 11, 15))
    data[place : place + 8] = struct.pack("<2f", 10, 16)
    place = data.find(struct.pack("<2f", 5, 9))
    data[place : place + 8] = struct.pack("<2f", 6, 10)
    path.write_bytes(data)
    monkeypatch.setattr(record, "EXACT", 6)
    monkeypatch.setattr(record, "rounding", lambda value: 2)
    faces = RecordFile(path)
    assert len(faces) == 10
    assert faces.identity_ranges.tolist() == [[0, 3], [3, 4], [4, 8], [8, 10]]
    assert faces.labels.tolist() == [0] * 3 + [1] + [2] * 4 + [3] * 2
    assert record.runs(np.array([], np.int64)).shape == (0, 2)


def test_rounding_is_that_of_float32():
    assert record.rounding(2**24 - 1) == 0
    assert record.rounding(2**24) == 2
    assert record.rounding(17_091_658) == 2
    assert record.rounding(42_474_557) == 4
    assert runs(np.array([1, 1, 0, 1])).tolist() == [[0, 2], [2, 3], [3, 4]]


# ---------------------------------------------------------------- damage


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_truncated_in_mid_record(tmp_path):
    path = fx.write_faces(tmp_path, (2, 2))
    data = path.read_bytes()
    keys = dict(map(int, line.split()) for line in path.with_suffix(".idx").read_text().splitlines())
    path.write_bytes(data[: keys[3] + 50])
    with pytest.raises(
        DataError, match=r"key 6 lies at byte \d+, but train\.rec ends at \d+: truncated"
    ) as caught:
        RecordFile(path)
    one_line(caught)
    # Only the last picture of a set without identity records: it opens, and the record is named.
    path = fx.write_im2rec(tmp_path / "b", (0, 1, 2))
    start = int(path.with_suffix(".idx").read_text().split()[-1])
    path.write_bytes(path.read_bytes()[: start + 100])
    faces = RecordFile(path)
    assert faces[1][1] == 1
    words = rf"train\.rec: record 2 at byte {start}: truncated in mid-record: \d+ bytes promised, 92 follow"
    with pytest.raises(DataError, match=words) as caught:
        faces[2]
    one_line(caught)
    with pytest.raises(DataError, match=words):
        _ = faces.labels
    path.write_bytes(path.read_bytes()[: start + 4])
    with pytest.raises(DataError, match="truncated in mid-record: its frame"):
        RecordFile(path)[2]


def test_bad_magic(tmp_path):
    path = fx.write_faces(tmp_path, (2, 2))
    start = int(path.with_suffix(".idx").read_text().split()[5])
    data = bytearray(path.read_bytes())
    data[start] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=rf"record 2 at byte {start}: no magic word at byte {start} \(found 0x"
    ) as c:
        RecordFile(path)[1]
    one_line(c)


def test_parts_out_of_order(tmp_path):
    path = fx.write_payloads(tmp_path, {0: fx.scalar(0, 0, b"x"), 1: fx.scalar(1, 1, b"y")})
    data = bytearray(path.read_bytes())
    for flag, words in ((1, "goes on with part 0"), (2, "starts with part 2"), (3, "starts with part 3")):
        data[7] = flag << 5
        path.write_bytes(data)
        with pytest.raises(DataError, match=words):
            RecordFile(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the index is empty"),
        ("0\t0\n1\tx\n", r"train\.idx:2: expected 2 whole numbers, got '1.tx'"),
        ("0\t0\n\n1 2 3\n", r"train\.idx:3: expected 2 whole numbers"),
        ("0\t0\n0\t0\n", "key 0 is there twice"),
        ("0\t0\n1\t99999999\n", r"key 1 lies at byte 99999999, but train\.rec ends at"),
        ("0\t0\n1\t" + "9" * 30, "a number beyond 63 bits"),
        ("0\t0\n1\t60\n", r"no key 2; the header record promises the keys 1\.\.6, 1 of them are there"),
        ("0\t0\n-1\t60\n", "expected 2 whole numbers"),
    ],
)
def test_a_damaged_index(tmp_path, text, words):
    path = fx.write_faces(tmp_path, (2, 2))
    path.with_suffix(".idx").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        RecordFile(path)
    one_line(caught)


def test_missing_files(tmp_path):
    path = fx.write_faces(tmp_path, (2, 2))
    path.with_suffix(".idx").unlink()
    with pytest.raises(DataError, match=r"train\.idx: no such file; mien\.data\.rebuild_index\('"):
        RecordFile(path)
    with pytest.raises(DataError, match="no such file or folder"):
        RecordFile(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.rec file in this folder"):
        RecordFile(tmp_path / "empty")
    for name in ("a.rec", "b.rec"):
        (tmp_path / "empty" / name).write_bytes(b"")
        (tmp_path / "empty" / name).with_suffix(".idx").write_text("0\t0\n")
    with pytest.raises(DataError, match=r"2 \.rec files, none of them train\.rec"):
        RecordFile(tmp_path / "empty")
    with pytest.raises(DataError, match=r"a\.rec: empty file"):
        RecordFile(tmp_path / "empty" / "a.rec")


@pytest.mark.parametrize("label", [-1.0, 0.5, float("nan"), float("inf"), 1e9])
def test_a_label_that_is_no_class(tmp_path, label):
    faces = RecordFile(fx.write_payloads(tmp_path, {5: fx.scalar(label, 5, fx.picture_bytes(5))}))
    with pytest.raises(DataError, match=r"record 5: its label .* is no class"):
        faces[0]
    with pytest.raises(DataError, match=r"record 5: its label .* is no class"):
        _ = faces.labels


@pytest.mark.parametrize(
    "payload", [b"short", struct.pack("<IfQQ", 9, 0, 0, 0), struct.pack("<IfQQ", 2**31, 0, 0, 0)]
)
def test_a_payload_shorter_than_its_header(tmp_path, payload):
    with pytest.raises(DataError, match="record 0 at byte 0: "):
        RecordFile(fx.write_payloads(tmp_path, {0: payload}))


def test_a_damaged_picture_names_the_record(tmp_path):
    faces = RecordFile(fx.write_payloads(tmp_path, {7: fx.scalar(0, 7, b"no picture")}))
    with pytest.raises(DataError, match=r"train\.rec: picture of record 7: not a picture"):
        faces[0]


@pytest.mark.parametrize("text", ["85742", "a,112,112", "1,2,3,4", "-1,112,112"])
def test_a_damaged_property_file(tmp_path, text):
    fx.write_faces(tmp_path)
    (tmp_path / "property").write_text(text)
    with pytest.raises(DataError, match="property: expected 'classes,height,width'"):
        _ = RecordFile(tmp_path).num_classes


@pytest.mark.parametrize("label", [(0, 0), (9, 3), (float("nan"), 4)])
def test_a_damaged_header_record(tmp_path, label):
    with pytest.raises(DataError, match="header record has the label"):
        RecordFile(fx.write_payloads(tmp_path, {0: fx.vector(label, 0), 1: fx.scalar(0, 1, b"x")}))


@pytest.mark.parametrize("span", [(5, 1), (0, 2), (1, 3), (1, 1e30), (float("nan"), 2), (1, float("inf"))])
def test_a_damaged_identity_range(tmp_path, span):
    payloads = {0: fx.vector((2, 3), 0), 1: fx.scalar(0, 1, b"x"), 2: fx.vector(span, 2)}
    with pytest.raises(DataError, match=r"identity record 2 has the range \[.*\]; the set is damaged"):
        _ = RecordFile(fx.write_payloads(tmp_path, payloads)).identity_ranges


def test_an_identity_record_without_a_range(tmp_path):
    payloads = {0: fx.vector((2, 3), 0), 1: fx.scalar(0, 1, b"x"), 2: fx.scalar(0, 2, b"")}
    with pytest.raises(DataError, match="identity record 2 has no range"):
        _ = RecordFile(fx.write_payloads(tmp_path, payloads)).identity_ranges


def _read_all(path):
    faces = RecordFile(path)
    return list(faces), faces.labels, faces.identity_ranges


def test_every_truncation_is_a_data_error(tmp_path):
    path = fx.write_faces(tmp_path, (1, 1), size=(4, 4))
    data = path.read_bytes()
    for end in range(0, len(data), 3):
        path.write_bytes(data[:end])
        with pytest.raises(DataError) as caught:
            _read_all(path)
        one_line(caught)


# ---------------------------------------------------------------- processes, loaders, size


def _sum(faces, start, queue):
    queue.put(sum(int(faces[i][0].sum()) for i in range(start, len(faces), 2)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_processes_read_at_once(tmp_path, method):
    faces = RecordFile(fx.write_faces(tmp_path, (20, 20)))
    expected = sum(int(image.sum()) for image, _ in faces)  # the parent has the file mapped
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [context.Process(target=_sum, args=(faces, start, queue)) for start in (0, 1)]
    for worker in workers:
        worker.start()
    assert queue.get(timeout=60) + queue.get(timeout=60) == expected
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert faces[0][1] == 0


def test_pickled_objects_hold_no_pixels(tmp_path):
    faces = RecordFile(fx.write_faces(tmp_path, (2, 2)), decode=False)
    data = pickle.dumps(faces)
    assert len(data) < 1000
    assert pickle.loads(data)[1] == faces[1]


def test_close_and_go_on(tmp_path):
    faces = RecordFile(fx.write_faces(tmp_path, (2, 2)))
    _ = faces.labels
    faces.close()
    faces.close()
    assert faces[0][1] == 0


def test_as_images_for_the_loaders(tmp_path):
    faces = RecordFile(fx.write_faces(tmp_path, (2, 3)))
    images = faces.as_images()
    assert images.classes == ("0", "1")
    assert images.counts().tolist() == [2, 3]
    part = images.subset(np.array([4, 0]))
    assert part.targets.tolist() == [1, 0]
    assert part.keys.tolist() == [5, 1]
    assert np.array_equal(part.pictures([0])[0], faces[4][0])
    assert len({images.fingerprint, part.fingerprint}) == 2
    assert pickle.loads(pickle.dumps(part)).fingerprint == part.fingerprint


def test_as_many_classes_as_a_published_set(tmp_path):
    faces = RecordFile(fx.write_many_classes(tmp_path))
    assert len(faces) == 171_484
    assert faces.num_classes == 85_742
    assert np.array_equal(faces.labels, np.repeat(np.arange(85_742), 2))
    assert np.array_equal(faces.labels, faces.labels_of(slice(None)))
    assert np.array_equal(faces.identity_ranges[:, 0], np.arange(0, 171_484, 2))
    image, label = faces[171_483]
    assert label == 85_741
    assert image.shape == (112, 112, 3)
    assert np.array_equal(image, pixels(fx.flat_bytes(171_483 % 4)))
