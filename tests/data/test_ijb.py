from __future__ import annotations

import struct
import time

import numpy as np
import pytest

from mien.core.errors import DataError, ShapeError
from mien.data.ijb import read_ijb
from mien.data.int_table import int_blocks, int_table
from mien.data.megaface import read_megaface, read_megaface_feature, write_megaface_feature
from tests.data.fixtures import write_picture


def write_ijb(root, kind="ijbc", faces=12, *, pictures=True):
    """Four templates of three pictures; the first two pictures of each are of one medium."""
    meta = root / "meta"
    meta.mkdir(parents=True)
    rng = np.random.default_rng(0)
    template = np.repeat([7, 3, 11, 20], faces // 4)
    five = np.array([[30.0, 40], [60, 40], [45, 60], [33, 75], [58, 75]])
    tids, points = [], []
    for k in range(faces):
        tids.append(f"{k + 1}.jpg {template[k]} {100 + k - (k % 3 == 1)}")
        here = five + rng.normal(0, 1, (5, 2))
        points.append(f"{k + 1}.jpg " + " ".join(f"{v:.3f}" for v in here.ravel()) + f" {k / faces:.6f}")
        if pictures:
            write_picture(root / "loose_crop" / f"{k + 1}.jpg", k, (100, 90))
    (meta / f"{kind}_face_tid_mid.txt").write_text("\n".join(tids) + "\n")
    (meta / f"{kind}_name_5pts_score.txt").write_text("\n".join(points) + "\n")
    (meta / f"{kind}_template_pair_label.txt").write_text("7 3 1\n7 11 0\n3 20 0\n11 20 1\n")
    parts = ("G1", "G2") if kind == "ijbc" else ("S1", "S2")
    (meta / f"{kind}_1N_gallery_{parts[0]}.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n7,1\n")
    (meta / f"{kind}_1N_gallery_{parts[1]}.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n11,2\n")
    probes = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n3,1,img/1.jpg\n3,1,img/2.jpg\n20,2,frames/3.png\n"
    (meta / f"{kind}_1N_probe_mixed.csv").write_text(probes)
    return root


@pytest.mark.parametrize("kind", ["ijbb", "ijbc"])
def test_lists(tmp_path, kind):
    ijb = read_ijb(write_ijb(tmp_path, kind))
    assert ijb.kind == kind
    assert len(ijb) == 12
    assert ijb.templates.tolist() == [7] * 3 + [3] * 3 + [11] * 3 + [20] * 3
    assert ijb.media.tolist()[:3] == [100, 100, 102]
    assert ijb.points.shape == (12, 5, 2)
    assert ijb.points.dtype == ijb.faceness.dtype == np.float32
    assert abs(ijb.points[0, 0, 0] - 30) < 5
    assert ijb.faceness[6] == pytest.approx(0.5)
    assert ijb.missing() == []
    assert ijb.aligned(3).shape == (112, 112, 3)
    assert "12 faces, the published set has" in ijb.note
    ids, same = ijb.read_pairs()
    assert ids.tolist() == [[7, 3], [7, 11], [3, 20], [11, 20]]
    assert ids.dtype == np.int32
    assert same.tolist() == [True, False, False, True]
    first, second = ijb.galleries()
    assert (first.templates.tolist(), first.subjects.tolist()) == ([7], [1])
    assert (second.templates.tolist(), second.subjects.tolist()) == ([11], [2])
    assert ijb.probes().templates.tolist() == [3, 20]
    assert ijb.probes().subjects.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("face_tid_mid", "2.jpg 7 100", "2.jpg 7", r"tid_mid\.txt:2: expected 'name template media'"),
        ("face_tid_mid", "2.jpg 7 100", "2.jpg -7 1", r"tid_mid\.txt:2: expected 'name template media'"),
        ("face_tid_mid", "2.jpg 7 100", "../2.jpg 7 1", r"tid_mid\.txt:2: .* leads outside"),
        (
            "face_tid_mid",
            "2.jpg 7 100",
            "2.png 7 100",
            r"score\.txt:2: '2\.jpg', but '2\.png' in the list of t",
        ),
        ("face_tid_mid", "1.jpg 7 100\n", "", "12 pictures, the list of templates has 11"),
        (
            "name_5pts_score",
            "3.jpg",
            "3.jpg 1",
            r"score\.txt:3: expected 'name', ten coordinates and a score",
        ),
        ("name_5pts_score", "3.jpg ", "3.jpg x", r"score\.txt:3: expected 'name', ten coordinates"),
        ("name_5pts_score", "0.000000", "nan", r"score\.txt:1: a number that is not finite"),
    ],
)
def test_damaged_lists(tmp_path, file, old, new, words):
    path = write_ijb(tmp_path, pictures=False) / "meta" / f"ijbc_{file}.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=words) as caught:
        read_ijb(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7 3 1\n7 11\n", r"pair_label\.txt:2: expected 3 whole numbers, got '7 11'"),
        ("7 3 1\n7 11 0 3 7\n", r"pair_label\.txt:2: expected 3 whole numbers"),
        ("7 3 1\n7 11\n3 3 1 0\n", r"pair_label\.txt:2: expected 3 whole numbers"),
        ("7 3 2\n", "label 2, expected 0 or 1"),
        ("7 3 1\n7 8 1\n", r"template 8 has no picture in ijbc_face_tid_mid\.txt"),
        ("7 999999 1\n", "template 999999 has no picture"),
        ("7 3 true\n", r"pair_label\.txt:1: expected 3 whole numbers, got '7 3 true'"),
        ("7 3 -1\n", r"pair_label\.txt:1: expected 3 whole numbers"),
    ],
)
def test_damaged_pairs(tmp_path, text, words):
    ijb = read_ijb(write_ijb(tmp_path, pictures=False))
    (tmp_path / "meta/ijbc_template_pair_label.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        ijb.read_pairs()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("T,S\n", "no templates in it"),
        ("T,S\n3\n", r"probe_mixed\.csv:2: expected 'template,subject'"),
        ("T,S\n3,1\n3,2\n", r"probe_mixed\.csv:3: template 3 is of 2 and of 1"),
        ("T,S\n3,1\n5,2\n", r"template 5 has no picture \(1 such templates\)"),
    ],
)
def test_damaged_probes(tmp_path, text, words):
    ijb = read_ijb(write_ijb(tmp_path, pictures=False))
    (tmp_path / "meta/ijbc_1N_probe_mixed.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        ijb.probes()


def test_other_folders_and_missing_pictures(tmp_path):
    with pytest.raises(DataError, match="no ijbb_ or ijbc_face_tid_mid"):
        read_ijb(tmp_path)
    ijb = read_ijb(write_ijb(tmp_path / "a"))
    (tmp_path / "a/loose_crop/5.jpg").unlink()
    assert ijb.missing() == ["5.jpg"]


def test_millions_of_pairs_in_blocks(tmp_path):
    """A million lines in a fraction of a second; equal to what was written; in many blocks."""
    write_ijb(tmp_path, pictures=False)
    rng = np.random.default_rng(0)
    ids = rng.choice([7, 3, 11, 20], (1_000_000, 2))
    label = rng.integers(0, 2, 1_000_000)
    table = np.concatenate([ids, label[:, None]], 1)
    text = "\n".join(map("%d %d %d".__mod__, map(tuple, table.tolist())))
    (tmp_path / "meta/ijbc_template_pair_label.txt").write_text(text)
    ijb = read_ijb(tmp_path)
    start = time.perf_counter()
    found, same = ijb.read_pairs()
    assert time.perf_counter() - start < 10
    assert np.array_equal(found, ids)
    assert np.array_equal(same, label == 1)
    assert sum(1 for _ in ijb.pairs()) > 1


@pytest.mark.parametrize("block", [7, 9, 20, 1 << 20])
def test_blocks_of_any_size(tmp_path, block):
    table = [[1, 22], [333, 4], [5, 66], [0, 10**6]]
    text = "\n1 22\r\n333\t4\n \n\n5 66\n0 1000000"
    (tmp_path / "a.txt").write_bytes(text.encode())
    if block == 7:
        with pytest.raises(DataError, match=r"a\.txt:7: a line of more than 7 bytes"):
            list(int_blocks(tmp_path / "a.txt", 2, block=block))
        return
    found = np.concatenate(list(int_blocks(tmp_path / "a.txt", 2, block=block)))
    assert found.tolist() == table


def test_empty_and_missing_tables(tmp_path):
    (tmp_path / "a.txt").write_text("\n \n")
    assert int_table(tmp_path / "a.txt", 2).shape == (0, 2)
    with pytest.raises(DataError, match="no such file"):
        int_table(tmp_path / "b.txt", 2)
    with pytest.raises(DataError, match="cannot read"):
        int_table(tmp_path, 2)


# ---------------------------------------------------------------- MegaFace


def write_megaface(root):
    root.mkdir(exist_ok=True)
    (root / "facescrub_lst").write_text("Ann_Lee/Ann_Lee_1.png\nAnn_Lee/Ann_Lee_2.png\nBob/Bob_9.png\n")
    (root / "megaface_lst").write_text("100/1002/a.jpg\n100/1002/b c.jpg\n200/3/c.jpg\n")
    (root / "facescrub_noises.txt").write_text("# picture\nAnn_Lee_2.png\n")
    (root / "megaface_noises.txt").write_text("# n\tpath\n1\t100/1002/b c.jpg\n2\tnone.jpg\n200/3/c.jpg\n")
    return root


def test_megaface(tmp_path):
    mega = read_megaface(write_megaface(tmp_path))
    assert mega.people == ("Ann_Lee", "Bob")
    assert mega.probe_people.tolist() == [0, 0, 1]
    assert mega.distractors == ("100/1002/a.jpg", "100/1002/b c.jpg", "200/3/c.jpg")
    assert mega.noisy_probes.tolist() == [False, True, False]
    assert mega.noisy_distractors.tolist() == [False, True, True]
    assert mega.note == ""
    (tmp_path / "megaface_noises.txt").unlink()
    mega = read_megaface(tmp_path)
    assert not mega.noisy_distractors.any()
    assert "no megaface_noises.txt" in mega.note


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("a.png\n", r"lst:1: expected 'person/file'"),
        ("a/b\n/etc/x\n", "lst:2: .* leads outside"),
    ],
)
def test_damaged_megaface(tmp_path, text, words):
    (write_megaface(tmp_path) / "facescrub_lst").write_text(text)
    with pytest.raises(DataError, match=words):
        read_megaface(tmp_path)


def test_features(tmp_path):
    feature = np.random.default_rng(0).normal(size=513).astype(np.float32)
    path = tmp_path / "a/b.jpg_ours.bin"
    assert write_megaface_feature(path, feature) == path
    assert path.read_bytes() == struct.pack("<4i", 513, 1, 4, 5) + feature.tobytes()
    assert np.array_equal(read_megaface_feature(path), feature)
    with pytest.raises(ShapeError, match=r"got shape \(1, 513\)"):
        write_megaface_feature(path, feature[None])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes, shorter than the header"),
        (struct.pack("<4i", 2, 1, 4, 6) + bytes(8), r"header \(2, 1, 4, 6\), expected"),
        (struct.pack("<4i", -2, 1, 4, 5), r"header \(-2, 1, 4, 5\)"),
        (struct.pack("<4i", 2, 1, 4, 5) + bytes(7), r"promises 2 numbers, 1\.75 follow"),
        (struct.pack("<4i", 2**31 - 1, 1, 4, 5) + bytes(8), "promises 2147483647 numbers, 2 follow"),
    ],
)
def test_damaged_features(tmp_path, data, words):
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(DataError, match=words):
        read_megaface_feature(tmp_path / "x.bin")
