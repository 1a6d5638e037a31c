from __future__ import annotations

import os

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.domains import (
    Domains,
    MultiDomainImageFolder,
    _walked,
    emoji_dg,
    leave_one_domain_out,
    shown,
    split_dataset,
    split_seed,
    unseen_glyphs,
)
from mien.data.labelled import ArrayImages
from tests.data.fixtures import write_picture


def tree(root, layout):
    for domain, classes in layout.items():
        for name, count in classes.items():
            (root / domain / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                write_picture(root / domain / name / f"{i}.png", i)
    return root


def test_split_seeds_are_the_published_ones():
    assert split_seed(5, 2) == 783820527
    assert split_seed(7, 0) == 1082813619


def test_split_rule_against_its_description():
    outer, inner = split_dataset(103, 1, 2)
    keys = list(range(103))
    rng = np.random.RandomState(split_seed(1, 2))
    rng.shuffle(keys)
    assert outer.tolist() == keys[:20]
    assert inner.tolist() == keys[20:]
    assert sorted([*outer, *inner]) == list(range(103))
    assert split_dataset(103, 1, 2)[0].tolist() == outer.tolist()
    assert split_dataset(103, 0, 2)[0].tolist() != outer.tolist()


def test_emoji_dg_is_what_the_page_says():
    domains = emoji_dg()
    assert domains.names == ("fluent", "noto", "twemoji")
    counts = dict(zip(domains.sets[1].classes, domains.sets[1].counts().tolist(), strict=True))
    assert counts == {
        "animal": 142, "building": 35, "clock": 31, "clothing": 47, "face": 97, "food": 124, "plant": 29,
        "sky": 47, "tool": 126, "vehicle": 72,
    }  # fmt: skip
    assert domains.sets[1].counts().tolist() == domains.sets[2].counts().tolist()
    assert np.abs(domains.sets[0].counts() - domains.sets[1].counts()).max() <= 3
    assert domains.sets[0].images.shape[1:] == (32, 32, 3)
    shared = set(domains.sets[0].keys) & set(domains.sets[1].keys)
    assert len(shared) == len(domains.sets[0])
    assert len(domains.fingerprint) == 12


def test_unseen_glyphs_are_the_same_in_every_domain():
    domains = emoji_dg()
    held = unseen_glyphs(domains)
    shares = [np.isin(s.keys, held).mean() for s in domains.sets]
    assert all(0.28 < s < 0.32 for s in shares)
    for c in range(10):
        assert np.isin(domains.sets[0].keys[domains.sets[0].targets == c], held).any()


def test_leave_one_domain_out():
    domains = emoji_dg()
    sources, target = leave_one_domain_out(domains, "noto", 0)
    assert [s.name for s in sources] == ["fluent", "twemoji"]
    assert target.name == "noto"
    assert len(target.inner) + len(target.outer) == len(domains.sets[1])
    assert len(target.outer) == int(0.2 * len(domains.sets[1]))
    with pytest.raises(ConfigError, match="no domain 'notto'; did you mean 'noto'"):
        leave_one_domain_out(domains, "notto", 0)


def test_any_tree_of_domains(tmp_path):
    tree(
        tmp_path,
        {"sketch": {"cat": 3, "dog": 2}, "photo": {"cat": 2, "dog": 4}, "Art ü": {"cat": 1, "dog": 1}},
    )
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "photo" / "cat" / ".DS_Store.png").write_bytes(b"")
    domains = MultiDomainImageFolder(tmp_path)
    assert domains.names == ("Art ü", "photo", "sketch")
    assert domains.sets[1].counts().tolist() == [2, 4]
    assert domains.sets[1].pictures([0])[0].shape == (12, 9, 3)


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (
            {"a": {"cat": 2, "dog": 2}, "b": {"cat": 2, "cow": 2}},
            r"different classes: 'a' lacks \['cow'\]; 'b' lacks \['dog'\]; every domain needs the same",
        ),
        ({"a": {"cat": 2, "dog": 2}, "b": {"cat": 0, "dog": 0}}, "'b' is empty; add its pictures"),
        (
            {"a": {"cat": 2, "dog": 2}, "b": {"cat": 2, "dog": 0}},
            "'b' has one class only, 'cat'; add the others",
        ),
        ({"a": {"cat": 2, "dog": 2}}, "at least two domains"),
    ],
)
def test_bad_trees_are_one_clear_line(tmp_path, layout, text):
    with pytest.raises(DataError, match=text) as caught:
        MultiDomainImageFolder(tree(tmp_path, layout))
    assert str(caught.value).startswith(f"{tmp_path}: ")
    assert "\n" not in str(caught.value)


def test_no_folder_and_arrays(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        MultiDomainImageFolder(tmp_path / "x")
    pair = tuple(ArrayImages(np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1]), "ab") for _ in range(2))
    assert Domains(("x", "y"), pair).index("y") == 1


def arrays(*classes):
    labels = np.arange(8) % len(classes)
    return ArrayImages(np.zeros((8, 8, 8), np.uint8), labels, classes)


def test_classes_must_be_the_same_in_the_same_order():
    with pytest.raises(DataError, match="'y' has its classes in another order than 'x'"):
        Domains(("x", "y"), (arrays("a", "b"), arrays("b", "a")))
    with pytest.raises(DataError, match=r"'x' lacks \['c'\]; 'y' lacks \['b'\]; every domain"):
        Domains(("x", "y", "z"), (arrays("a", "b"), arrays("a", "c"), arrays("c", "b", "a")))


def test_long_lists_of_differences_are_cut():
    names = tuple(f"d{i}" for i in range(9))
    wide = arrays(*(f"c{i:02d}" for i in range(8)))
    with pytest.raises(DataError) as caught:
        Domains((*names, "wide"), (*(arrays("c00"),) * 9, wide))
    text = str(caught.value)
    assert "'d0' lacks ['c01', 'c02', 'c03', 'c04', 'c05', ... 2 more]" in text
    assert "'d4' lacks" in text
    assert "'d5'" not in text
    assert "; and 4 more domains; every domain" in text
    assert shown(["a", "b"]) == "['a', 'b']"


def test_folders_align_the_classes_whatever_order_they_were_made_in(tmp_path):
    tree(tmp_path, {"a": {"zebra": 1, "ant": 2}, "b": {"ant": 1, "zebra": 3}})
    domains = MultiDomainImageFolder(tmp_path)
    assert domains.sets[0].classes == domains.sets[1].classes == ("ant", "zebra")
    assert [s.counts().tolist() for s in domains.sets] == [[2, 1], [1, 3]]
    assert MultiDomainImageFolder(tmp_path, names=("b", "a")).names == ("b", "a")


def test_pictures_come_in_the_order_of_torchvision(tmp_path):
    """DomainBed splits by place, so the order of files is part of the protocol."""
    from torchvision.datasets import ImageFolder

    tree(tmp_path, {"a": {"x": 3, "y": 1}, "b": {"x": 1, "y": 2}})
    for name in ("B.PNG", "a.png", "deep/2.png", "deep/er/1.png", "Deep/0.png", "10.png"):
        write_picture(tmp_path / "a/x" / name)
    twin = ImageFolder(str(tmp_path / "a"))
    images = MultiDomainImageFolder(tmp_path).sets[0]
    assert [str(images.path(i)) for i in range(len(images))] == [path for path, _ in twin.samples]
    assert images.targets.tolist() == twin.targets


def test_what_is_no_picture_is_left_out_and_counted(tmp_path):
    tree(tmp_path, {"a": {"x": 2, "y": 1}, "b": {"x": 1, "y": 2}})
    (tmp_path / "__MACOSX/x").mkdir(parents=True)
    (tmp_path / "readme.txt").write_text("x")
    (tmp_path / "a/x/photo.heic").write_bytes(b"x")
    (tmp_path / "a/x/.hidden.png").write_bytes(b"x")
    (tmp_path / "a/stray.png").write_bytes(b"x")
    (tmp_path / "b/y/loop").symlink_to(tmp_path / "b/y")
    domains = MultiDomainImageFolder(tmp_path)
    assert [len(s) for s in domains.sets] == [3, 3]
    assert domains.note == (
        f"2 domains below {tmp_path.name}; 1 files are no pictures and were left out"
        "; 1 pictures lie in no class folder and were left out"
    )


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    tree(tmp_path, {"a": {"x": 2, "y": 1}, "b": {"x": 1, "y": 2}})

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="cannot list the folder"):
        MultiDomainImageFolder(tmp_path)
    with pytest.raises(DataError, match="cannot list the folder"):
        _walked(tmp_path)
