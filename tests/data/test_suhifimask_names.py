"""Names, lines and labels of SuHiFiMask."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.core.errors import DataError
from mien.data.suhifimask_names import LABELS, SurveilName, label_names, parse_name, read_surveil_list
from tests.data.suhifimask_fixtures import write_suhifimask

EXAMPLE = "Data/G06_S33_C5_E09_T20220228135120349/id_-1/1_0_9.jpg"


def test_the_example_of_the_readme():
    name = parse_name(EXAMPLE)
    assert name == SurveilName(6, 33, 5, 9, datetime(2022, 2, 28, 13, 51, 20, 349_000), -1, 1, 0, 9)
    assert name.video == "G06_S33_C5_E09_T20220228135120349"
    assert name.text == EXAMPLE.removeprefix("Data/")


def test_folders_of_tracks():
    folder = EXAMPLE.rsplit("/", 1)[0]
    name = parse_name(f"a/b/{folder}")
    assert (name.track, name.frame, name.subject, name.label) == (-1, None, None, None)
    assert name.text == folder.removeprefix("Data/")


@given(
    st.integers(1, 10), st.integers(1, 40), st.integers(1, 7), st.integers(1, 10),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)), st.integers(-1, 5000),
    st.integers(0, 10**6), st.integers(0, 101), st.integers(0, 9),
)  # fmt: skip
def test_names_come_back(group, scene, camera, epoch, time, track, frame, subject, label):
    time = time.replace(microsecond=time.microsecond // 1000 * 1000)
    name = SurveilName(group, scene, camera, epoch, time, track, frame, subject, label)
    assert parse_name(f"CASIA_SuHiFiMask/Data/{name.text}") == name


@pytest.mark.parametrize(
    "path",
    [
        "Data/x/id_1/1_0_9.jpg",
        EXAMPLE.replace("T2022", "T2"),
        EXAMPLE.replace("0228", "0230"),  # no such day
        EXAMPLE.replace(".jpg", ".png"),
        EXAMPLE.replace("id_-1", "id_--1"),
        EXAMPLE.replace("1_0_9", "1_0"),
        EXAMPLE.replace("S33", "S٣"),  # digits of another script
        "",
    ],
)
def test_other_names(path):
    assert parse_name(path) is None


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\t"])
def test_every_line_comes_back(tmp_path, separator):
    place = write_suhifimask(tmp_path, separator)
    lists = sorted((place / "protocol").iterdir())
    assert len(lists) == 6 * 2 * 3
    for path in lists:
        lines = read_surveil_list(path)
        assert [line.text(separator) for line in lines] == path.read_text().splitlines()
        assert all(line.path.endswith(line.name.text) for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"list\.txt: the list is empty"),
        (f"{EXAMPLE}\n", r"list\.txt:1: expected 'path label' or 'path,label'"),
        (f"\n{EXAMPLE} nine\n", r"list\.txt:2: expected 'path label'"),
        ("Data/a/b/c.jpg 0\n", r"list\.txt:1: 'Data/a/b/c.jpg' is no name of SuHiFiMask"),
        (f"../{EXAMPLE} 9\n", r"leads outside the data folder"),
        (f"{EXAMPLE} 0\n", r"list\.txt:1: label 0, but .*1_0_9\.jpg says 9; lists of the challenge pack"),
    ],
)
def test_damaged_lines(tmp_path, text, message):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_surveil_list(path)


def test_labels_are_the_users(tmp_path):
    assert label_names(tmp_path) == dict(LABELS)
    (tmp_path / "labels.toml").write_text('[labels]\n1 = "resin"\n12 = "make_up"\n')
    names = label_names(tmp_path, {2: "plaster"})
    assert (names[0], names[1], names[2], names[3], names[12]) == (
        "live", "resin", "plaster", "mask_3", "make_up"
    )  # fmt: skip
    for text, message in (
        ('[labels]\none = "resin"\n', r"labels\.toml: 'one' is no 'label = "),
        ("[labels]\n1 = 2\n", r"labels\.toml: '1' is no 'label = "),
        ('[labels]\n0 = "attack"\n', r"label 0 is 'live' in this set"),
        ('[labels]\n1 = "live"\n', r"two labels have the same name"),
        ("[labels\n", r"not valid TOML"),
    ):
        (tmp_path / "labels.toml").write_text(text)
        with pytest.raises(DataError, match=message):
            label_names(tmp_path)
