from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.core.images import read_image
from mien.data.agedb import read_agedb, read_agedb_names
from mien.data.pairs import (
    read_calfw,
    read_cfp,
    read_cplfw,
    read_lfw_pairs,
)
from tests.data.fixtures import write_picture


def touch(path, seed=0):
    """A file that counts as a picture; nothing here decodes all of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"picture")
    return path


def write_lfw(root: Path, folds=2, each=3, ending=".jpg", inside="lfw"):
    lines = [f"{folds}\t{each}"]
    for f in range(folds):
        a, b = f"Ann_Lee{f}", f"Bob_O'Neil{f}"
        for name in (a, b):
            for k in range(1, each + 2):
                touch(root / inside / name / f"{name}_{k:04d}{ending}")
        lines += [f"{a}\t{k}\t{k + 1}" for k in range(1, each + 1)]
        lines += [f"{a}\t{k}\t{b}\t{k}" for k in range(1, each + 1)]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(("ending", "inside"), [(".jpg", "lfw"), (".png", "lfw"), (".jpg", ".")])
def test_lfw(tmp_path, ending, inside):
    pairs = read_lfw_pairs(write_lfw(tmp_path, ending=ending, inside=inside))
    assert len(pairs) == 12
    assert pairs.pairs.shape == (12, 2)
    assert pairs.pairs.dtype == np.int64
    assert pairs.same.tolist() == ([True] * 3 + [False] * 3) * 2
    assert pairs.folds.tolist() == [0] * 6 + [1] * 6
    a, b = (pairs.images[i] for i in pairs.pairs[0])
    assert (a.name, b.name) == (f"Ann_Lee0_0001{ending}", f"Ann_Lee0_0002{ending}")
    a, b = (pairs.images[i] for i in pairs.pairs[11])
    assert (a.name, b.name) == (f"Ann_Lee1_0003{ending}", f"Bob_O'Neil1_0003{ending}")
    assert len(set(pairs.images)) == len(pairs.images)
    assert all(path.is_file() for path in pairs.images)


def test_ten_folds_of_lfw(tmp_path):
    pairs = read_lfw_pairs(write_lfw(tmp_path, 10, 30))
    assert len(pairs) == 600
    assert np.bincount(pairs.folds).tolist() == [60] * 10
    assert pairs.same.sum() == 300


def test_lfw_development_list_has_one_number(tmp_path):
    write_lfw(tmp_path, 1)
    text = (tmp_path / "pairs.txt").read_text().replace("1\t3\n", "3\n", 1)
    (tmp_path / "dev.txt").write_text(text)
    assert read_lfw_pairs(tmp_path, tmp_path / "dev.txt").folds.tolist() == [0] * 6


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2\t3\n", "x\t3\n", r"pairs\.txt:1: expected '10 300'"),
        ("2\t3\n", "2\t4\n", r"12 pairs, its first line promises 16"),
        ("Ann_Lee0\t1\t2\n", "Ann_Lee0\t1\n", r"pairs\.txt:2: expected 'name i j'"),
        ("Ann_Lee0\t1\t2\n", "Ann_Lee0\t1\t-2\n", r"pairs\.txt:2: expected 'name i j'"),
        ("Ann_Lee0\t1\t2\n", "../Ann_Lee0\t1\t2\n", r"pairs\.txt:2: .* leads outside"),
    ],
)
def test_a_damaged_lfw_list(tmp_path, old, new, words):
    write_lfw(tmp_path)
    text = (tmp_path / "pairs.txt").read_text()
    (tmp_path / "pairs.txt").write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=words):
        read_lfw_pairs(tmp_path)


def test_missing_pictures_are_named_and_counted(tmp_path):
    write_lfw(tmp_path)
    for k in (2, 3):
        (tmp_path / f"lfw/Ann_Lee0/Ann_Lee0_{k:04d}.jpg").unlink()
    words = r"names Ann_Lee0/Ann_Lee0_0002\.jpg, which is not in .*lfw \(2 of 14 pictures are missing\)"
    with pytest.raises(DataError, match=words) as caught:
        read_lfw_pairs(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"pairs\.txt: no such file; put the published list there"):
        read_lfw_pairs(tmp_path / "lfw" / "Ann_Lee0")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"\(14 of 14 pictures are missing\)"):
        read_lfw_pairs(tmp_path / "empty", tmp_path / "pairs.txt")


def write_cfp(root: Path, people=3, splits=2):
    lists = {"F": [], "P": []}
    for person in range(1, people + 1):
        for kind, folder, count in (("F", "frontal", 10), ("P", "profile", 4)):
            for k in range(1, count + 1):
                name = f"Data/Images/{person:03d}/{folder}/{k:02d}.jpg"
                touch(root / name)
                lists[kind].append(f"{len(lists[kind]) + 1} ../{name}")
    (root / "Protocol").mkdir(parents=True)
    for kind, lines in lists.items():
        (root / "Protocol" / f"Pair_list_{kind}.txt").write_text("\r\n".join(lines) + "\r\n")
    for protocol in ("FP", "FF"):
        for split in range(1, splits + 1):
            folder = root / "Protocol" / "Split" / protocol / f"{split:02d}"
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text("1,2\n11,5\n" if protocol == "FP" else "1,2\n11,12\n")
            (folder / "diff.txt").write_text(f"{split},5\n")
    return root


def test_cfp(tmp_path):
    write_cfp(tmp_path)
    pairs = read_cfp(tmp_path)
    assert pairs.same.tolist() == [True, True, False] * 2
    assert pairs.folds.tolist() == [0, 0, 0, 1, 1, 1]
    shown = [
        tuple(str(pairs.images[i].relative_to(tmp_path / "Data/Images")) for i in p) for p in pairs.pairs
    ]
    assert shown[0] == ("001/frontal/01.jpg", "001/profile/02.jpg")
    assert shown[1] == ("002/frontal/01.jpg", "002/profile/01.jpg")
    assert shown[5] == ("001/frontal/02.jpg", "002/profile/01.jpg")
    pairs = read_cfp(tmp_path, "FF")
    assert [pairs.images[i].parts[-2:] for i in pairs.pairs[1]] == [
        ("frontal", "01.jpg"),
        ("frontal", "02.jpg"),
    ]


def test_a_damaged_cfp(tmp_path):
    write_cfp(tmp_path)
    (tmp_path / "Data/Images/001/profile/02.jpg").unlink()
    with pytest.raises(DataError, match=r"names Data/Images/001/profile/02\.jpg, .* \(1 of 5 pictures"):
        read_cfp(tmp_path)
    file = tmp_path / "Protocol/Split/FP/02/diff.txt"
    file.write_text("1,999\n")
    with pytest.raises(DataError, match=r"diff\.txt:1: expected 'index,index', got '1,999'"):
        read_cfp(tmp_path)
    (tmp_path / "Protocol/Pair_list_P.txt").write_text("1 ../../../etc/passwd\n")
    with pytest.raises(DataError, match=r"Pair_list_P\.txt:1: .* leads outside"):
        read_cfp(tmp_path)
    (tmp_path / "Protocol/Pair_list_P.txt").write_text("one\n")
    with pytest.raises(DataError, match=r"Pair_list_P\.txt:1: expected 'index path'"):
        read_cfp(tmp_path)
    with pytest.raises(DataError, match=r"Pair_list_F\.txt: no such file"):
        read_cfp(tmp_path / "Data")


def write_agedb(root: Path, people=8, ages=(20, 35, 52, 70)):
    number = 0
    for p in range(people):
        for age in ages:
            touch(root / f"{number}_Name{p}_{age + p}_{'mf'[p % 2]}.jpg")
            number += 1
    return root


def test_agedb_names(tmp_path):
    known = read_agedb_names(write_agedb(tmp_path))
    assert len(known.images) == 32
    assert known.names[:2] == ("Name0", "Name1")
    assert np.bincount(known.people).tolist() == [4] * 8
    by_name = dict(zip((p.name for p in known.images), known.ages.tolist(), strict=True))
    assert by_name["5_Name1_36_f.jpg"] == 36
    touch(tmp_path / "selfie.jpg")
    with pytest.raises(DataError, match=r"selfie\.jpg: expected a name like 123_MariaCallas_35_f\.jpg"):
        read_agedb_names(tmp_path)
    with pytest.raises(DataError, match="no pictures there"):
        read_agedb_names(tmp_path / "none")


def test_agedb_pairs_drawn_from_the_names(tmp_path):
    write_agedb(tmp_path)
    pairs = read_agedb(tmp_path, gap=30, per_fold=5, folds=2)
    again = read_agedb(tmp_path, gap=30, per_fold=5, folds=2)
    other = read_agedb(tmp_path, gap=30, per_fold=5, folds=2, seed=1)
    assert np.array_equal(pairs.pairs, again.pairs)
    assert not np.array_equal(pairs.pairs, other.pairs)
    assert pairs.same.tolist() == ([True] * 5 + [False] * 5) * 2
    assert "not the published list" in pairs.note
    known = read_agedb_names(tmp_path)
    ages, people = known.ages[pairs.pairs], known.people[pairs.pairs]
    assert (np.abs(ages[:, 0] - ages[:, 1]) >= 30).all()
    assert np.array_equal(people[:, 0] == people[:, 1], pairs.same)
    assert not set(people[pairs.folds == 0].ravel()) & set(people[pairs.folds == 1].ravel())
    with pytest.raises(ConfigError, match="pairs of one person 30 years apart, 300 asked for; lower"):
        read_agedb(tmp_path)


def test_agedb_pairs_of_a_list(tmp_path):
    names = sorted(p.name for p in write_agedb(tmp_path / "images").iterdir())
    lines = [f"{names[k]} {names[k + 1]} {(1, -1, 0)[k % 3]}" for k in range(20)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    pairs = read_agedb(tmp_path / "images", tmp_path / "pairs.txt")
    assert pairs.same.tolist() == [k % 3 == 0 for k in range(20)]
    assert pairs.folds.tolist() == np.repeat(np.arange(10), 2).tolist()
    (tmp_path / "pairs.txt").write_text(lines[0] + "\na b 2\n")
    with pytest.raises(DataError, match=r"pairs\.txt:2: expected 'picture picture flag'"):
        read_agedb(tmp_path / "images", tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_text("a.jpg b.jpg 1\n")
    with pytest.raises(DataError, match=r"names a\.jpg, .* \(2 of 2 pictures are missing\)"):
        read_agedb(tmp_path / "images", tmp_path / "pairs.txt")


def write_two_lines(root: Path, name: str, flags, folder="aligned images"):
    lines = []
    for k, flag in enumerate(flags):
        for side in "ab":
            picture = f"Ann_Lee_{k:04d}{side}.jpg"
            touch(root / folder / picture)
            lines.append(f"{picture} {flag}")
    (root / f"pairs_{name}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("folder", ["aligned images", "images"])
def test_calfw(tmp_path, folder):
    flags = [*np.repeat(np.arange(1, 11), 2), *[0] * 20]
    pairs = read_calfw(write_two_lines(tmp_path, "CALFW", flags, folder))
    assert pairs.same.tolist() == [True] * 20 + [False] * 20
    assert pairs.folds.tolist() == np.repeat(np.arange(10), 2).tolist() * 2
    assert pairs.images[1].name == "Ann_Lee_0000b.jpg"


def test_cplfw_with_flags_of_truth_only(tmp_path):
    pairs = read_cplfw(write_two_lines(tmp_path, "CPLFW", [1, 0] * 20))
    assert pairs.same.tolist() == [True, False] * 20
    assert pairs.folds.tolist() == np.repeat(np.arange(10), 4).tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.jpg 1\n", "1 pictures; two lines are a pair"),
        ("", "0 pictures; two lines are a pair"),
        ("a.jpg 1\nb.jpg 0\n", r"pairs_CALFW\.txt:2: flag 0, but 1 on the line before"),
        ("a.jpg 1\nb.jpg x\n", r"pairs_CALFW\.txt:2: expected 'picture flag', got 'b\.jpg x'"),
        ("/a.jpg 1\nb.jpg 1\n", "leads outside"),
        ("a.jpg 1\nb.jpg 1\n", r"names a\.jpg, which is not in .*aligned images \(2 of 2"),
    ],
)
def test_a_damaged_list_of_two_lines(tmp_path, text, words):
    (tmp_path / "pairs_CALFW.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        read_calfw(tmp_path)


def test_the_paths_are_pictures(tmp_path):
    write_two_lines(tmp_path, "CPLFW", [1])
    for side in "ab":
        write_picture(tmp_path / f"aligned images/Ann_Lee_0000{side}.jpg")
    pairs = read_cplfw(tmp_path)
    assert read_image(pairs.images[0]).shape == (12, 9, 3)
    first, second, same = pairs[0]
    assert np.array_equal(first, read_image(tmp_path / "aligned images/Ann_Lee_0000a.jpg"))
    assert second.shape == (12, 9, 3)
    assert same is True
    assert len(list(pairs)) == 1
