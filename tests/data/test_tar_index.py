"""The fast reader of headers finds what `tarfile` finds, and refuses what is broken."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
import webdataset

from mien.core.errors import DataError
from mien.data import tar_index
from mien.data.tar_index import tar_members


def write(path, names, form=tarfile.USTAR_FORMAT, folders=()):
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w", format=form) as tar:
        for name in folders:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            tar.addfile(member)
        for name in names:
            member = tarfile.TarInfo(name)
            data = rng.bytes(int(rng.integers(0, 2000)))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def slow(path):
    with tarfile.open(path) as tar:
        return [(m.name, m.offset_data, m.size) for m in tar if m.isfile()]


FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "d" * 90 + "/" + "f" * 60 + ".jpg"
HUGE = "e" * 300 + ".jpg"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("also", [[], [LONG], [LONG, "Größe.jpg"], ["Größe.jpg"]])
def test_all_formats(tmp_path, form, also, monkeypatch):
    names = ["000.jpg", "a/b/000.cls", "empty", *also]
    path = write(tmp_path / "s.tar", names, FORMATS[form], ["a", "a/b"])
    assert [m.name for m in tar_members(path)] == names
    assert tar_members(path) == slow(path)
    if not also:
        monkeypatch.setattr(tar_index, "_any_members", None)  # the fast way did it alone
        assert tar_members(path) == slow(path)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_names_of_any_length(tmp_path, form):
    path = write(tmp_path / "s.tar", ["a.jpg", HUGE, "b.jpg"], FORMATS[form])
    assert [m.name for m in tar_members(path)] == ["a.jpg", HUGE, "b.jpg"]


def test_links_are_no_files(tmp_path):
    path = write(tmp_path / "s.tar", ["a.jpg"])
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("b.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    assert [m.name for m in tar_members(path)] == ["a.jpg"]


def test_what_webdataset_writes_is_read_the_fast_way(tmp_path, monkeypatch):
    """It gives every file a second header, for the fraction of a second."""
    path = tmp_path / "s.tar"
    with webdataset.TarWriter(str(path), encoder=False) as writer:
        for k in range(3):
            writer.write({"__key__": f"{k}", "jpg": b"x" * 700 * k, "cls": b"1"})
    wanted = slow(path)
    monkeypatch.setattr(tar_index, "_any_members", None)
    assert tar_members(path) == wanted
    assert len(wanted) == 6


def test_an_empty_tar_has_no_files(tmp_path):
    assert tar_members(write(tmp_path / "s.tar", [])) == []


def broken(data=bytes(2000)):
    at = 600 if len(data) > 600 else 10
    flipped = data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]
    return {
        "no bytes": b"",
        "cut in a header": data[: -10240 + 100] if len(data) > 10240 else data[:300],
        "cut in a file": data[:700],
        "without its end": data.rstrip(b"\0")[:512],
        "a bit of a header": bytes([data[0] ^ 1]) + flipped[1:],
        "a compressed one": b"\x1f\x8b\x08" + bytes(600),
        "text": b"no tar at all " * 100,
        "a size that is none": data[:124] + b"zzzzzzzzzzz\0" + data[136:],
    }


@pytest.mark.parametrize("how", broken())
def test_broken_tars(tmp_path, how):
    path = write(tmp_path / "s.tar", ["a.jpg", "b.jpg"])
    path.write_bytes(broken(path.read_bytes())[how])
    with pytest.raises(DataError, match=r"s\.tar: damaged, or no uncompressed tar \(.*\); fetch it again"):
        tar_members(path)


def test_a_tar_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"s\.tar: damaged, or no uncompressed tar"):
        tar_members(tmp_path / "s.tar")
