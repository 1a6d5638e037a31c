from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mien.core import io
from mien.core.errors import DataError, LimitError, MienError


def fail_with(code):
    def call(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return call


# ---------------------------------------------------------------- whole files


def test_write_and_read(tmp_path):
    path = io.write_bytes(tmp_path / "a" / "b" / "c.bin", b"\0\1")
    assert path.read_bytes() == b"\0\1"
    assert io.write_text(tmp_path / "t.txt", "né\n").read_bytes() == "né\n".encode()
    assert io.read_json(io.write_json(tmp_path / "x.json", {"a": [1, "ö"]})) == {"a": [1, "ö"]}
    assert io.read_toml(io.write_text(tmp_path / "x.toml", 'a = "ö"\n')) == {"a": "ö"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "t.txt", "x.json", "x.toml"]


def test_mode_follows_the_users_mask(tmp_path):
    before = os.umask(0o027)
    try:
        path = io.write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_leaves_the_former_file(tmp_path, monkeypatch, call, code):
    path = io.write_text(tmp_path / "a.txt", "former")
    monkeypatch.setattr(io.os, call, fail_with(code))
    with pytest.raises(MienError, match="cannot write" if code == errno.EIO else "disk is full"):
        io.write_text(path, "new")
    assert path.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_interrupt_leaves_the_former_file(tmp_path, monkeypatch):
    path = io.write_text(tmp_path / "a.txt", "former")

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(io.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        io.write_text(path, "new")
    assert path.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MienError, match="cannot write"):
        io.write_text(tmp_path / "file" / "below", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MienError, match="cannot write"):
        io.write_text(tmp_path / "folder", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


# ---------------------------------------------------------------- lines


def test_lines_come_back(tmp_path):
    path = tmp_path / "logs" / "log.jsonl"
    assert io.read_lines(path) == []
    records = [{"a": 1}, {"name": "Zoë 😀 \u2028 \n"}, {}, {"x": [0.1, None]}]
    for record in records:
        io.append_line(path, record)
    assert io.read_lines(path) == records
    assert path.read_bytes().count(b"\n") == len(records)


def test_a_name_that_is_not_utf8_comes_back(tmp_path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    io.append_line(tmp_path / "log", {"a": name})
    assert io.read_lines(tmp_path / "log") == [{"a": name}]
    assert io.read_json(io.write_json(tmp_path / "x.json", {"classes": [name, "é"]})) == {
        "classes": [name, "é"]
    }


@pytest.mark.parametrize("record", [{"a": 1, "loss": 0.25}, {"class": "Zoë 😀"}])
def test_a_line_torn_anywhere_is_skipped_and_the_next_one_is_whole(tmp_path, record):
    whole = tmp_path / "whole"
    io.append_line(whole, record)
    line = whole.read_bytes()
    for length in range(1, len(line) - 1):
        path = tmp_path / f"torn-{length}"
        path.write_bytes(b'{"first": 1}\n' + line[:length])
        assert io.read_lines(path) == [{"first": 1}], length
        io.append_line(path, {"next": 2})
        assert io.read_lines(path) == [{"first": 1}, {"next": 2}], length


def test_a_line_that_only_lacks_its_end_is_kept(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b'{"a": 1}')
    io.append_line(path, {"b": 2})
    assert io.read_lines(path) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "hello", '"text"', "3", "[1]", "null"])
def test_a_line_that_is_no_record_is_an_error_with_its_number(tmp_path, line):
    path = tmp_path / "log"
    path.write_text('{"a": 1}\n' + line + '\n{"b": 2}\n')
    with pytest.raises(DataError, match=r"log:2: not a JSON line"):
        io.read_lines(path)


def test_a_line_nested_too_deeply(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"a":' + "[" * 100_000 + "\n")
    with pytest.raises(DataError):
        io.read_lines(path)


def test_each_line_is_one_write(tmp_path, monkeypatch):
    writes = []
    real = os.write
    monkeypatch.setattr(io.os, "write", lambda d, data: writes.append(bytes(data)) or real(d, data))
    io.append_line(tmp_path / "log", {"a": 1})
    assert writes == [b'{"a": 1}\n']


def test_a_short_write_is_not_taken_for_success(tmp_path, monkeypatch):
    path = tmp_path / "log"
    io.append_line(path, {"a": 1})
    real = os.write
    monkeypatch.setattr(io.os, "write", lambda d, data: real(d, data[:3]))
    with pytest.raises(MienError, match="disk is full"):
        io.append_line(path, {"b": 2})
    monkeypatch.undo()
    io.append_line(path, {"c": 3})
    assert io.read_lines(path) == [{"a": 1}, {"c": 3}]


def test_a_full_disk_on_append(tmp_path, monkeypatch):
    monkeypatch.setattr(io.os, "write", fail_with(errno.ENOSPC))
    with pytest.raises(MienError, match="disk is full"):
        io.append_line(tmp_path / "log", {"a": 1})


# ---------------------------------------------------------------- folders


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_new_folder_appears_when_the_block_ends(tmp_path):
    place = tmp_path / "deep" / "run"
    with io.new_folder(place) as folder:
        (folder / "a").write_text("1")
        assert not place.exists()
    assert (place / "a").read_text() == "1"
    with io.new_folder(place) as folder:
        (folder / "b").write_text("2")
        assert names(place) == ["a"]
    assert names(place) == ["b"]
    assert names(place.parent) == ["run"]


def test_new_folder_vanishes_when_the_block_fails(tmp_path):
    place = tmp_path / "run"
    with io.new_folder(place) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), io.new_folder(place) as folder:  # noqa: PT012
        (folder / "b").write_text("2")
        raise ZeroDivisionError
    assert names(place) == ["a"]
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_new_folder_on_a_full_disk(tmp_path, monkeypatch, call):
    place = tmp_path / "run"
    with io.new_folder(place) as folder:
        (folder / "a").write_text("1")
    monkeypatch.setattr(io.os, call, fail_with(errno.ENOSPC))
    with pytest.raises(MienError, match="disk is full"), io.new_folder(place) as folder:
        (folder / "b").write_text("2")
    assert names(place) == ["a"]
    assert names(tmp_path) == ["run"]


def test_settled_folder_after_a_kill_between_the_renames(tmp_path, monkeypatch):
    place = tmp_path / "run"
    assert io.settled_folder(place) is None
    with io.new_folder(place) as folder:
        (folder / "a").write_text("1")
    assert io.settled_folder(place) == place
    real, calls = os.replace, []

    def second_fails(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(io.os, "replace", second_fails)
    with pytest.raises(KeyboardInterrupt), io.new_folder(place) as folder:
        (folder / "b").write_text("2")
    monkeypatch.undo()
    settled = io.settled_folder(place)
    assert settled is not None
    assert names(settled) == ["a"]
    with io.new_folder(place) as folder:
        (folder / "c").write_text("3")
    assert names(io.settled_folder(place)) == ["c"]
    assert names(tmp_path) == ["run"]


def test_sync_tree_reaches_every_file(tmp_path, monkeypatch):
    for name in ("a", "b/c", "b/d/e"):
        io.write_text(tmp_path / name, "x")
    synced = []
    monkeypatch.setattr(io.os, "fsync", lambda d: synced.append(os.fstat(d).st_ino))
    io.sync_tree(tmp_path)
    assert len(set(synced)) == 3


# ---------------------------------------------------------------- reading, bounded


def test_read_text_drops_a_byte_order_mark_and_keeps_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert io.read_text(path) == "a\r\nb"


def test_read_text_refuses_what_is_too_large(tmp_path, monkeypatch):
    path = io.write_text(tmp_path / "a.txt", "12345")
    monkeypatch.setenv("MIEN_MAX_TEXT_BYTES", "5")
    assert io.read_text(path) == "12345"
    monkeypatch.setenv("MIEN_MAX_TEXT_BYTES", "4")
    for read in (io.read_text, io.read_json, io.read_toml, io.read_lines):
        with pytest.raises(LimitError, match="MIEN_MAX_TEXT_BYTES"):
            read(path)


def test_read_text_of_what_is_no_text(tmp_path):
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    for place, says in (
        (tmp_path / "latin", r"latin: not UTF-8 text \(byte 3\)"),
        (tmp_path / "missing", "missing: no such file"),
        (tmp_path, "cannot read"),
    ):
        with pytest.raises(DataError, match=says):
            io.read_text(place)


def test_damaged_json_and_toml_name_the_place(tmp_path):
    with pytest.raises(DataError, match=r"a.json:2:1: not valid JSON"):
        io.read_json(io.write_text(tmp_path / "a.json", '{"a":\n}'))
    with pytest.raises(DataError, match=r"a.toml: not valid TOML .*line 2"):
        io.read_toml(io.write_text(tmp_path / "a.toml", "a = 1\nb = \n"))
    with pytest.raises(DataError, match="nested too deeply"):
        io.read_json(io.write_text(tmp_path / "deep.json", "[" * 100_000))


def test_sha256_is_streamed_and_right(tmp_path):
    data = bytes(range(256)) * 10_000
    path = io.write_bytes(tmp_path / "a", data)
    assert io.sha256(path) == hashlib.sha256(data).hexdigest()


def test_home(monkeypatch):
    monkeypatch.setenv("MIEN_HOME", "~/somewhere")
    assert io.home() == Path("~/somewhere").expanduser()
    monkeypatch.delenv("MIEN_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert io.home() == Path("/cache/mien")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert io.home() == Path("~/.cache/mien").expanduser()


# ---------------------------------------------------------------- what importing costs

LIGHT = [
    "mien",
    *(f"mien.core.{p.stem}" for p in sorted(Path(io.__file__).parent.glob("*.py")) if p.stem != "__init__"),
    "mien.data.config",
    "mien.methods.ncl.config",
    "mien.methods.ncl.protocol",
]


def test_light_modules_import_no_heavy_package():
    """One process, one module after another, so that the first offender is named."""
    code = f"""
import importlib, json, sys
heavy = ("torch", "matplotlib", "scipy", "timm", "torchvision", "torchmetrics", "accelerate", "PIL")
found = {{}}
for name in {LIGHT!r}:
    importlib.import_module(name)
    found[name] = [h for h in heavy if h in sys.modules]
print(json.dumps(found))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == {name: [] for name in LIGHT}


def test_numbers_that_are_not_finite_become_null(tmp_path):
    value = {"a": float("nan"), "b": [1.0, float("inf")], "c": (-float("inf"), "x")}
    io.write_json(tmp_path / "a.json", value)
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert io.read_json(tmp_path / "a.json") == {"a": None, "b": [1.0, None], "c": [None, "x"]}
    io.append_line(tmp_path / "a.jsonl", value)
    assert io.read_lines(tmp_path / "a.jsonl")[0]["a"] is None
