"""The hidden labels of a challenge, and what is wrong with a damaged file of them."""

from __future__ import annotations

import numpy as np
import pytest

from mien.challenge import Reference
from mien.challenge.references import part_text, read_part
from mien.core.errors import DataError
from tests.challenge.made import part, random_part, worked, write_reference

HEAD = "path,label,track,camera,scene,quality\n"


def test_what_is_written_is_read(tmp_path):
    one = random_part(np.random.default_rng(0), "dev", 50, 20)
    (tmp_path / "dev.csv").write_text(part_text(one))
    back = read_part(tmp_path / "dev.csv")
    assert back.names == one.names
    for a, b in zip(back.columns(), one.columns(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_folder_or_the_challenge_around_it(tmp_path):
    write_reference(tmp_path / "reference", worked())
    assert Reference.read(tmp_path).test is not None
    assert Reference.read(tmp_path / "reference").dev.names[0] == "dev/000001.jpg"
    (tmp_path / "reference" / "test.csv").unlink()
    assert Reference.read(tmp_path).test is None
    with pytest.raises(DataError, match="no reference here"):
        Reference.read(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "want the columns path,label"),
        ("path,label\n", "want the columns"),
        (HEAD, "of one class"),
        (HEAD + "a,0,0,C1,S1\n", "restore the file"),
        (HEAD + "a,0,0,C1,S1,1\nb,0,1,C1,S1,1\n", "2 pictures of one class"),
        (HEAD + "a,0,0,C1,S1,1\na,1,1,C1,S1,1\n", "twice"),
        (HEAD + "a,0,0,C1,S1,nan\nb,1,1,C1,S1,1\n", "finite"),
        (HEAD + "a,live,0,C1,S1,1\n", "invalid literal"),
        (
            HEAD + "a,0,0,C1,S1,1\nb,99999999999999999999,1,C1,S1,1\n",
            "restore",
        ),
    ],
)
def test_damaged_files(tmp_path, text, message):
    (tmp_path / "dev.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        Reference.read(tmp_path)


def test_frames_of_a_track_become_one_entry_for_each_label():
    one = part("dev", [0, 0, 1, 2, 1, 0], tracks=[7, 7, 3, 3, 3, 5], quality=[1, 3, 5, 7, 9, 11])
    tracks, entry = one.by_track()
    assert tracks.label.tolist() == [1, 2, 0, 0]
    assert tracks.track.tolist() == [3, 3, 5, 7]
    assert tracks.quality.tolist() == [7, 7, 11, 2]
    assert entry.tolist() == [3, 3, 0, 1, 0, 2]
