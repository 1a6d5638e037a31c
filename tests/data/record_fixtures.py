"""RecordIO sets in their published layout, written with struct alone. Nothing here imports the reader."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

MAGIC = 0xCED7230A
WORD = struct.pack("<I", MAGIC)


def picture_bytes(seed: int, size: tuple[int, int] = (112, 112), kind: str = "PNG") -> bytes:
    """A smooth colour picture, different for each seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    out = io.BytesIO()
    small.resize(size[::-1], Image.Resampling.BILINEAR).save(out, kind)
    return out.getvalue()


def flat_bytes(seed: int, size: tuple[int, int] = (112, 112)) -> bytes:
    """A picture of one colour: some 300 bytes."""
    color = np.random.default_rng(seed).integers(0, 256, 3, dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.broadcast_to(color, (*size, 3)).copy()).save(out, "PNG", optimize=True)
    return out.getvalue()


def framed(payload: bytes) -> bytes:
    """One record as frames: word by word, as the format is defined, and slowly."""
    cuts = [i for i in range(0, len(payload) - 3, 4) if payload[i : i + 4] == WORD]
    edges = [0, *(c + 4 for c in cuts)], [*cuts, len(payload)]
    parts = [payload[a:b] for a, b in zip(*edges, strict=True)]
    out = b""
    for number, part in enumerate(parts):
        if len(parts) == 1:
            flag = 0
        elif number == 0:
            flag = 1
        else:
            flag = 3 if number == len(parts) - 1 else 2
        out += struct.pack("<II", MAGIC, (flag << 29) + len(part)) + part
        while len(out) % 4:
            out += b"\0"
    return out


def scalar(label: float, key: int, data: bytes) -> bytes:
    return struct.pack("<IfQQ", 0, label, key, 0) + data


def vector(labels: Sequence[float], key: int, data: bytes = b"") -> bytes:
    head = struct.pack("<IfQQ", len(labels), 0.0, key, 0)
    return head + struct.pack(f"<{len(labels)}f", *labels) + data


def write_payloads(folder: Path, payloads: dict[int, bytes], name: str = "train") -> Path:
    """``.rec`` and ``.idx`` of given payloads by key, in the order of the dict."""
    folder.mkdir(parents=True, exist_ok=True)
    lines, data = "", b""
    for key, payload in payloads.items():
        lines += f"{key}\t{len(data)}\n"
        data += framed(payload)
    (folder / f"{name}.rec").write_bytes(data)
    (folder / f"{name}.idx").write_text(lines)
    return folder / f"{name}.rec"


def write_faces(
    folder: Path,
    counts: Sequence[int] = (3, 2, 4),
    *,
    size: tuple[int, int] = (112, 112),
    vectors: bool = False,
    header_last: bool = False,
) -> Path:
    """An insightface set: header 0, pictures by person, identity records, ``property``."""
    pictures, identities = {}, []
    key = 1
    for who, count in enumerate(counts):
        identities.append((key, key + count))
        for _ in range(count):
            data = picture_bytes(key, size)
            pictures[key] = vector((who, 0.5), key, data) if vectors else scalar(who, key, data)
            key += 1
    people = {key + n: vector(span, key + n) for n, span in enumerate(identities)}
    header = {0: vector((key, key + len(counts)), 0)}
    payloads = pictures | people | header if header_last else header | pictures | people
    path = write_payloads(folder, payloads)
    (folder / "property").write_text(f"{len(counts)},{size[0]},{size[1]}\n")
    return path


def write_im2rec(
    folder: Path, labels: Sequence[int] = (2, 0, 1, 0), *, size: tuple[int, int] = (112, 112)
) -> Path:
    """An im2rec set: no header record, keys from 0, any order, with a ``.lst`` beside it."""
    payloads = {k: scalar(label, k, picture_bytes(k, size, "JPEG")) for k, label in enumerate(labels)}
    path = write_payloads(folder, payloads)
    (folder / "train.lst").write_text("".join(f"{k}\t{v}\tpic/{k}.jpg\n" for k, v in enumerate(labels)))
    return path


def write_many_classes(
    folder: Path, classes: int = 85_742, each: int = 2, *, size: tuple[int, int] = (112, 112), kinds: int = 4
) -> Path:
    """An insightface set with as many classes as MS1MV2 in about a second; ``kinds`` pictures are shared.

    Written from arrays: every record has the same length, shorter pictures end in zeros.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shared = [flat_bytes(k, size) for k in range(kinds)]
    longest = max(map(len, shared))
    longest += -longest % 4
    frame = [
        ("magic", "<u4"),
        ("length", "<u4"),
        ("flag", "<u4"),
        ("label", "<f4"),
        ("id", "<u8"),
        ("id2", "<u8"),
    ]
    count = classes * each
    faces = np.zeros(count, np.dtype([*frame, ("data", "V", longest)]))
    faces["magic"], faces["length"] = MAGIC, 24 + longest
    faces["label"], faces["id"] = np.repeat(np.arange(classes), each), np.arange(1, count + 1)
    faces["data"] = np.array([np.void(s.ljust(longest, b"\0")) for s in shared])[np.arange(count) % kinds]
    spans = np.zeros(classes + 1, np.dtype([*frame, ("vector", "<f4", 2)]))
    spans["magic"], spans["length"], spans["flag"] = MAGIC, 32, 2
    spans["vector"][0] = count + 1, count + 1 + classes
    spans["vector"][1:, 0] = np.arange(classes) * each + 1
    spans["vector"][1:, 1] = spans["vector"][1:, 0] + each
    spans["id"][1:] = np.arange(count + 1, count + 1 + classes)
    with (folder / "train.rec").open("wb") as stream:
        stream.write(spans[:1].tobytes() + faces.tobytes() + spans[1:].tobytes())
    at = 40 + np.arange(count + 1) * faces.itemsize
    offsets = np.concatenate([[0], at[:-1], at[-1] + 40 * np.arange(classes)])
    lines = "".join(f"{k}\t{o}\n" for k, o in enumerate(offsets.tolist()))
    (folder / "train.idx").write_text(lines)
    (folder / "property").write_text(f"{classes},{size[0]},{size[1]}\n")
    return folder / "train.rec"
