"""Whatever a stranger sends: scores, or one line that says what is wrong."""

from __future__ import annotations

import io
import stat
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.challenge import Bounds, SubmissionError
from mien.challenge.submissions import from_folder, parse, read_scores, read_zip, unpack
from mien.core.errors import ConfigError
from tests.challenge.made import zip_bytes, zipped

DEV = tuple(f"dev/{k:06d}.jpg" for k in (1, 2, 3))
TEST = tuple(f"test/{k:06d}.jpg" for k in (1, 2))
GOOD = b"dev/000001.jpg 0.1\ndev/000002.jpg 0.25\ndev/000003.jpg 1\ntest/000001.jpg 0\ntest/000002.jpg 5e-1\n"


def two(text):
    return parse({"results.txt": text}, DEV, TEST)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.rstrip(),
        GOOD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GOOD,
        GOOD + b"\n\r\n",
        GOOD.replace(b" ", b"\t"),
    ],
)
def test_forms_of_a_valid_text(text):
    scores = two(text)
    np.testing.assert_array_equal(scores.dev, [0.1, 0.25, 1])
    np.testing.assert_array_equal(scores.test, [0, 0.5])


def test_phase_one_has_dev_lines_only():
    scores = parse({"a.txt": b"\n".join(GOOD.split(b"\n")[:3])}, DEV, None)
    assert scores.test is None
    assert len(scores.dev) == 3


LINES = GOOD.decode().splitlines()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LINES[:-1], r"wrong line count, got 4, want 5"),
        (LINES + LINES, r"wrong line count, got 10, want 5"),
        ([], r"got 0, want 5 \(an empty file\)"),
        (LINES[3:], r"got 2, want 5: the dev part is missing"),
        (LINES[:3], r"got 3, want 5: the test part is missing"),
        (
            [LINES[1], LINES[0], *LINES[2:]],
            r"line 1: out of order, got 'dev/000002.jpg', want 'dev/000001",
        ),
        ([*LINES[3:], *LINES[:3]], r"line 1: out of order, got 'test/000001.jpg'"),
        ([LINES[0], LINES[0], *LINES[2:]], r"line 2: 'dev/000001.jpg' again, as in line 1"),
        (["dev/9.jpg 0.5", *LINES[1:]], r"line 1: 'dev/9.jpg' is not in the list, want 'dev/000001.jpg'"),
        ([LINES[0] + " 3", *LINES[1:]], r"line 1: want 'path score', got 'dev/000001.jpg 0.1 3'"),
        ([LINES[0], "", *LINES[2:]], r"line 2: want 'path score', got ''"),
        ([LINES[0], "dev/000002.jpg", *LINES[2:]], r"line 2: want 'path score'"),
    ],
)
def test_wrong_lines(lines, message):
    with pytest.raises(SubmissionError, match=message):
        two("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("1.0000001", r"score '1.0000001' is outside \[0, 1\]"),
        ("-0.1", r"outside \[0, 1\]"),
        ("nan", "not a finite number"),
        ("-NaN", "not a finite number"),
        ("inf", "not a finite number"),
        ("1e999", "not a finite number"),
        ("half", "'half' is no number"),
        ("0,5", "'0,5' is no number"),
        ("0x1", "is no number"),
        ("0_1", "'0_1' is no number"),
        ("٠", "is no number"),
        ("0" * 5000 + "x", r"'0{57}\.\.\.' is no number"),
    ],
)
def test_wrong_scores(number, message):
    with pytest.raises(SubmissionError, match=f"results.txt, line 2: .*{message}"):
        two("\n".join([LINES[0], f"dev/000002.jpg {number}", *LINES[2:]]).encode())


def test_negative_zero_is_zero():
    assert str(read_scores(b"a -0.0\n", ["a"])[0]) == "0.0"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD.decode().encode("utf-16"), "not UTF-8 text"),
        (GOOD.replace(b"dev/000002", b"dev/\xff00002"), r"not UTF-8 text \(byte 23\)"),
        (bytes(range(256)) * 10, "not UTF-8 text"),
    ],
)
def test_wrong_encoding(data, message):
    with pytest.raises(SubmissionError, match=message):
        two(data)


def test_ten_million_lines_are_counted_not_split():
    with pytest.raises(SubmissionError, match="wrong line count, got 10000000, want 5"):
        two(b"a 1\n" * 10**7)


def test_two_files():
    texts = {"phase1.txt": "\n".join(LINES[:3]).encode(), "phase2.txt": "\n".join(LINES[3:]).encode()}
    scores = parse(unpack(zip_of(texts), "two"), DEV, TEST)
    np.testing.assert_array_equal(np.concatenate([scores.dev, scores.test]), [0.1, 0.25, 1, 0, 0.5])
    with pytest.raises(SubmissionError, match=r"phase2.txt: wrong line count, got 3, want 2"):
        parse({**texts, "phase2.txt": texts["phase1.txt"]}, DEV, TEST)
    with pytest.raises(SubmissionError, match=r"want phase1.txt and phase2.txt, got 'results.txt'"):
        unpack(zip_bytes("x"), "two")
    with pytest.raises(ConfigError, match="no form of submission"):
        unpack(zip_bytes("x"), "three")


def zip_of(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return stream.getvalue()


def link():
    info = zipfile.ZipInfo("results.txt")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return {info: "/etc/passwd"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"sub/results.txt": "x"}, r"holds a folder \('sub/results.txt'\)"),
        ({"results/": ""}, r"holds a folder \('results/'\)"),
        ({"results.txt": "x", "__MACOSX/._results.txt": "x"}, "holds a folder"),
        ({"../results.txt": "x"}, r"a path that leaves it, '../results.txt'"),
        ({"a/../../b.txt": "x"}, "a path that leaves it"),
        ({"/etc/passwd.txt": "x"}, "a path that leaves it"),
        ({"C:results.txt": "x"}, "a path that leaves it"),
        ({"..\\results.txt": "x"}, "a path that leaves it"),
        (link(), "is a symbolic link"),
        ({"a.txt": "x", "b.txt": "y"}, r"several files \('a.txt, b.txt'\)"),
        ({"results.csv": "x"}, "'results.csv' is no .txt file"),
        ({}, "nothing in the submission"),
    ],
)
def test_wrong_contents(files, message):
    with pytest.raises(SubmissionError, match=message):
        unpack(zip_of(files))


def test_a_name_in_the_zip_makes_no_second_line_of_the_message():
    with pytest.raises(SubmissionError) as caught:
        unpack(zip_of({"a\nb\x1b[31m.csv": "x"}))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_the_same_name_twice():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.txt", "y")
    with pytest.raises(SubmissionError, match="several files"):
        unpack(stream.getvalue())


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"PK\x05\x06", GOOD, b"\x1f\x8b" + b"0" * 99])
def test_not_a_zip(data):
    with pytest.raises(SubmissionError, match=r"not a zip|not a whole zip"):
        unpack(data)


def test_bombs_are_refused_before_they_unpack():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", b"0" * (3 << 20))
    bomb = stream.getvalue()
    assert len(bomb) < 10_000
    with pytest.raises(SubmissionError, match=r"'bomb.txt' unpacks to 3 MiB; at most 2"):
        unpack(bomb, bounds=Bounds(1, 2))
    # The header may lie about the size.
    at = bomb.rfind(b"PK\x01\x02")
    lying = bomb[: at + 24] + struct.pack("<L", 10) + bomb[at + 28 :]
    with pytest.raises(SubmissionError, match=r"not a whole zip|unpacks to more than"):
        unpack(lying, bounds=Bounds(1, 2))


def test_a_zip_of_very_many_files_is_refused_by_its_table_of_contents():
    with pytest.raises(SubmissionError, match="too many files"):
        unpack(zip_of({f"{k:05d}.txt": "" for k in range(2000)}))


def test_encrypted_and_exotic_members():
    data = bytearray(zip_of({"a.txt": "x"}))
    at = data.rfind(b"PK\x01\x02")
    locked = data.copy()
    locked[at + 8] |= 1
    with pytest.raises(SubmissionError, match="is encrypted"):
        unpack(bytes(locked))
    odd = data.copy()
    odd[at + 10] = 14  # LZMA
    with pytest.raises(SubmissionError, match="other than deflate"):
        unpack(bytes(odd))


def test_a_zip_that_is_too_large_or_absent(tmp_path):
    path = tmp_path / "big.zip"
    path.write_bytes(b"0" * (2**20 + 1))
    with pytest.raises(SubmissionError, match=r"big.zip: a submission has at most 1 MiB"):
        read_zip(path, Bounds(1, 1))
    with pytest.raises(SubmissionError, match="no such file; give a zip"):
        read_zip(tmp_path / "none.zip")
    with pytest.raises(SubmissionError, match="no such file; give a zip"):
        read_zip(tmp_path)
    with pytest.raises(ConfigError, match="must be 1 MiB or more"):
        Bounds(0, 1)


def test_a_damaged_zip(tmp_path):
    data = bytearray(zipped(tmp_path / "a.zip", {"a.txt": "hello " * 100}).read_bytes())
    data[40] ^= 0xFF
    with pytest.raises(SubmissionError, match="not a whole zip"):
        unpack(bytes(data))


def test_an_unpacked_submission(tmp_path):
    (tmp_path / "results.txt").write_bytes(GOOD)
    (tmp_path / "metadata").write_text("of the platform")
    assert from_folder(tmp_path) == {"results.txt": GOOD}
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    with pytest.raises(SubmissionError, match=r"holds a folder or link \('link.txt'\)"):
        from_folder(tmp_path)


def never_a_traceback(data):
    """Scores in [0, 1], or one line."""
    try:
        both = np.concatenate(parse(unpack(data), DEV, TEST))
    except SubmissionError as error:
        message = str(error)
    else:
        message = ""
        assert len(both) == 5
        assert ((both >= 0) & (both <= 1)).all()
    assert "\n" not in message
    assert len(message) < 400


BASE = zip_bytes(GOOD)
changes = st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), min_size=1, max_size=6)
words = st.sampled_from(
    [*LINES, "", " ", "dev/000001.jpg nan", "x 0.5", "\x00", "dev/000001.jpg 0.5 ", "\u2028"]
)
texts = st.one_of(
    st.binary(max_size=300),
    st.lists(words, max_size=7).map(lambda w: "\n".join(w).encode()),
    st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.permutations(LINES).map(lambda w: "\n".join(w).encode()),
)


def changed(edits):
    data = bytearray(BASE)
    for at, value in edits:
        data[at] = value
    return bytes(data)


def fuzz(examples):
    @settings(max_examples=examples, deadline=None)
    @given(st.one_of(st.binary(max_size=200), changes.map(changed), texts.map(zip_bytes)))
    def run(data):
        never_a_traceback(data)

    return run


def test_fuzzed_zips_give_scores_or_one_line():
    assert fuzz(400)() is None


@pytest.mark.slow
def test_ten_thousand_fuzzed_zips_give_scores_or_one_line():
    assert fuzz(10_000)() is None
