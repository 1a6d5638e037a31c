from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError
from mien.data.pad_modalities import read_sample
from mien.data.pad_sample import eval_frames
from mien.data.pad_wmca import UNSEEN, Wmca
from tests.data import pad_fixtures as made

SPECIES = {"live": 2, "fakehead": 1, "flexiblemask": 1, "glasses": 1, "papermask": 1, "print": 1, "replay": 2,
           "rigidmask": 2}  # fmt: skip


def test_the_grand_test(tmp_path):
    place = made.write_wmca(tmp_path)
    for root in (tmp_path, place):
        for split, client in (("train", "002"), ("dev", "005"), ("test", "009")):
            pads = Wmca(root, "grandtest", split)
            assert pads.species(videos=True) == SPECIES
            assert pads.subjects == (client,)
            assert pads.modalities == ("rgb", "depth", "ir", "thermal")
            assert len(pads) == 22


@pytest.mark.parametrize(("protocol", "unseen"), UNSEEN.items())
def test_an_unseen_attack_is_in_the_test_only(tmp_path, protocol, unseen):
    made.write_wmca(tmp_path)
    train, dev, test = (Wmca(tmp_path, protocol, s).species(videos=True) for s in Wmca.splits)
    assert test == {"live": 2, unseen: SPECIES[unseen]}
    assert train == dev == {k: v for k, v in SPECIES.items() if k != unseen}


def test_the_protocols_are_named():
    assert Wmca.protocols[0] == "grandtest"
    assert len(Wmca.protocols) == 8


def test_clips_in_hdf5(tmp_path):
    pytest.importorskip("h5py")
    made.write_wmca(tmp_path, hdf5=True)
    pads = eval_frames(Wmca(tmp_path, "grandtest", "dev"))
    assert len(pads) == 22
    assert pads.modalities == ("rgb", "depth", "ir", "thermal")
    first = made.clip_frames(12)  # the twelfth row of the table
    for sample, frame in zip(pads.samples[:2], (0, 2), strict=True):
        images = read_sample(sample)
        assert np.array_equal(images["rgb"], np.repeat(first[frame, 0][..., None], 3, -1))
        assert np.array_equal(images["depth"], first[frame, 1])
        assert np.allclose(images["ir"], first[frame, 2] / 255)
        assert np.allclose(images["thermal"], first[frame, 3] / 255)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1,2,a/002_01_000_0_00,train,attack", "002_01_000_0_00 is live by its name, but listed as attack"),
        ("1,2,a/002_01_000_5_00,train,attack", r"txt:2: expected a clip, its group and label"),
        ("1,2,a/002_01_000_0_00,validation,bonafide", "expected a clip"),
        ("1,2,a/002_01_000_0_00,train,real", "expected a clip"),
        ("1,2,../002_01_000_0_00,train,bonafide", "leads outside"),
        ("1,2", "leads outside"),
    ],
)
def test_a_damaged_table(tmp_path, row, words):
    made.write_lines(tmp_path / "WMCA_Grandtest.txt", [",client_id,filepath,group,label", row])
    with pytest.raises(DataError, match=words) as caught:
        Wmca(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_table(tmp_path):
    with pytest.raises(DataError, match=r"WMCA_Grandtest\.txt: no such file"):
        Wmca(tmp_path)
    made.write_lines(tmp_path / "WMCA_Grandtest.txt", ["a,b,c", "1,2,3"])
    with pytest.raises(DataError, match=r"txt:1: no column 'filepath'"):
        Wmca(tmp_path)
