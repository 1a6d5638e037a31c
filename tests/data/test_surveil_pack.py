"""The challenge pack has live = 1."""

from __future__ import annotations

import pytest

from mien.core.errors import DataError
from mien.data.surveil_pack import PackLine, pack_label, pack_text, read_pack_list, release_label


def test_polarity(tmp_path):
    path = tmp_path / "train_label.txt"
    path.write_text("train/000001.jpg 1\ntrain/000002.jpg,0\n")
    lines = read_pack_list(path)
    assert lines == [PackLine("train/000001.jpg", True), PackLine("train/000002.jpg", False)]
    assert [release_label(bool(line.live)) for line in lines] == [0, 1]
    assert release_label(False, 9) == 9
    assert [pack_label(True), pack_label(False)] == [1, 0]
    assert pack_text(lines) == "train/000001.jpg 1\ntrain/000002.jpg 0\n"


def test_lists_without_labels(tmp_path):
    path = tmp_path / "dev.txt"
    path.write_text("dev/000001.jpg\n\ndev/000002.jpg\n")
    lines = read_pack_list(path, labelled=False)
    assert [line.live for line in lines] == [None, None]
    assert pack_text(lines) == "dev/000001.jpg\ndev/000002.jpg\n"


@pytest.mark.parametrize(
    ("text", "labelled", "message"),
    [
        ("", True, r"the list is empty"),
        ("a.jpg 9\n", True, r"x\.txt:1: label '9' is neither 0 \(attack\) nor 1 \(live\)"),
        ("a.jpg\n", True, r"x\.txt:1: expected 'path label'"),
        ("a.jpg 1\n", False, r"x\.txt:1: expected 'path'"),
        ("a.jpg 1\na.jpg 0\n", True, r"x\.txt:2: a\.jpg is listed twice"),
        ("/a.jpg 1\n", True, r"leads outside the data folder"),
    ],
)
def test_damaged_lists(tmp_path, text, labelled, message):
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_pack_list(path, labelled)


def test_no_such_kind_of_attack():
    with pytest.raises(DataError, match=r"kind of attack 10 is none of 1 to 9"):
        release_label(False, 10)
