"""A made folder read like a published set."""

from pathlib import Path

import pytest

from mien.core.errors import DataError
from mien.data import PadFiles, SyntheticPAD
from mien.data.config import PadData
from mien.data.pad_check import check_pad, guess_pad_kind
from mien.data.pad_modalities import check_modalities
from mien.data.pads import read_pad
from mien.synth.made_sets import PadSet
from mien.synth.maker import make


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "pad"
    make(PadSet(identities=5, per_identity=2, size=32, live=0.5), place, 1)
    return place


def test_subjects_are_split_and_every_sample_is_found(made: Path) -> None:
    parts = {split: SyntheticPAD(made, None, split) for split in SyntheticPAD.splits}
    assert [len(p) for p in parts.values()] == [6, 2, 2]
    people = [set(p.subjects) for p in parts.values()]
    assert len(set.union(*people)) == sum(map(len, people)) == 5
    assert all((s.pai == "live") == bool(s.label_live) for p in parts.values() for s in p.samples)
    assert all(f.is_file() for p in parts.values() for s in p.samples for f in s.images.values())


def test_its_pictures_are_what_they_say(made: Path) -> None:
    pads = SyntheticPAD(made)
    check_modalities(pads.samples)
    images = PadFiles(pads)
    assert images.modalities == ("rgb", "depth", "ir")
    assert images.pictures("rgb", [0])[0].shape == (32, 32, 3)
    assert images.pictures("depth", [0])[0].shape == (32, 32, 1)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no set.json of kind pad; make one with mien data make pad"):
        SyntheticPAD(tmp_path)
    (tmp_path / "set.json").write_text('{"kind": "pad", "shards": true}')
    with pytest.raises(DataError, match="no folder pad"):
        SyntheticPAD(tmp_path)


def test_it_is_guessed_checked_and_trained_on(made: Path) -> None:
    assert guess_pad_kind(made) == "synthetic_pad"
    assert check_pad("synthetic_pad", made).problems == ()
    splits = read_pad(PadData(kind="made", root=str(made)))
    assert [len(getattr(splits, name)) for name in ("train", "dev", "test")] == [6, 2, 2]
