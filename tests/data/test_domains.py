from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.domains import (
    Domains,
    MultiDomainImageFolder,
    emoji_dg,
    leave_one_domain_out,
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
            r"'b' has other classes.*lacks \['dog'\].*\['cow'\]",
        ),
        ({"a": {"cat": 2, "dog": 2}, "b": {"cat": 0, "dog": 0}}, "'b' is empty"),
        ({"a": {"cat": 2, "dog": 2}, "b": {"cat": 2, "dog": 0}}, "one class only"),
        ({"a": {"cat": 2, "dog": 2}}, "at least two domains"),
    ],
)
def test_bad_trees_are_one_clear_line(tmp_path, layout, text):
    with pytest.raises(DataError, match=text) as caught:
        MultiDomainImageFolder(tree(tmp_path, layout))
    assert "\n" not in str(caught.value)


def test_no_folder_and_arrays(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        MultiDomainImageFolder(tmp_path / "x")
    pair = tuple(ArrayImages(np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1]), "ab") for _ in range(2))
    assert Domains(("x", "y"), pair).index("y") == 1
