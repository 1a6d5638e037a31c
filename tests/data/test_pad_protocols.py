from __future__ import annotations

import re

import pytest

from mien.core.errors import ConfigError
from mien.data.pad_protocols import CROSS_SETS, PAD_READERS, cross_set
from tests.data import pad_fixtures as made

OCIM = {
    "oulu_npu": "OULU_NPU",
    "casia_fasd": "CASIA_FASD",
    "replay_attack": "ReplayAttack",
    "msu_mfsd": "MSU_MFSD",
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    root = tmp_path_factory.mktemp("ocim")
    for write in (made.write_oulu, made.write_fasd, made.write_replay, made.write_msu):
        write(root)
    return {name: root / folder for name, folder in OCIM.items()}


def test_every_reader_is_in_the_table():
    assert list(PAD_READERS) == [
        "casia_surf", "casia_cefa", "wmca", "casia_hifimask", "oulu_npu", "msu_mfsd", "casia_fasd",
        "replay_attack", "flexible_modal", "suhifimask", "synthetic_pad",
    ]  # fmt: skip
    for name, reader in PAD_READERS.items():
        assert reader.name == name
        assert set(reader.expected) <= set(reader.protocols)
        assert all(set(splits) <= set(reader.splits) for splits in reader.expected.values())


def test_the_counts_of_the_page():
    surf = PAD_READERS["casia_surf"].expected["p1"]
    assert [(c.videos, c.images) for c in surf.values()] == [(1200, 29266), (400, 9608), (2391, 57710)]
    wmca = PAD_READERS["wmca"].expected["grandtest"]
    assert [(c.videos - c.live, c.live) for c in wmca.values()] == [(441, 124), (449, 108), (442, 115)]
    assert sum(c.videos for c in wmca.values()) == 1679
    hifi = PAD_READERS["casia_hifimask"].expected
    assert [c.videos for c in hifi["p1"].values()] == [32514, 4347, 17362]
    assert [c.videos for c in hifi["p3"].values()] == [3715, 536, 17362]
    flexible = PAD_READERS["flexible_modal"].expected["4"]
    assert flexible["train"].images == 6297 + 4800
    assert flexible["train"].live == 900 + 1200
    assert flexible["dev"].images == 2100 + 2401
    assert flexible["test"].images == 12564 + 6739
    assert (flexible["test_wmca"].images, flexible["test_wmca"].live) == (5037, 1041)


@pytest.mark.parametrize("protocol", [p for p in CROSS_SETS if p != "SCW"])
def test_ocim(roots, protocol):
    letters = {"O": "oulu_npu", "C": "casia_fasd", "I": "replay_attack", "M": "msu_mfsd"}
    left, right = protocol.split("->")
    sources = [letters[c] for c in re.findall("[OCIM]", left)]
    train, dev, test = (cross_set(roots, protocol, s) for s in ("train", "dev", "test"))
    assert {v.split("/")[0] for v in train.video_ids} == set(sources)
    assert {v.split("/")[0] for v in dev.video_ids} == set(sources)
    assert {v.split("/")[0] for v in test.video_ids} == {letters[right]}
    assert len(test) == {"M": 24, "C": 48, "I": 66, "O": 540}[right]
    assert not set(train.subjects) & set(dev.subjects)
    assert len(set(train.video_ids)) == len(train)
    files = [{s.images["rgb"] for s in p.samples} for p in (train, dev, test)]
    assert not files[0] & files[1]
    assert not (files[0] | files[1]) & files[2]


def test_whole_sources(roots):
    train = cross_set(roots, "M&I->C", "train", whole_sources=True)
    assert len(train) == 24 + 66
    with pytest.raises(ConfigError, match="M&I->C: no split 'dev'; there are train, test"):
        cross_set(roots, "M&I->C", "dev", whole_sources=True)


def test_scw(tmp_path):
    made.write_surf(tmp_path, 1)
    made.write_cefa(tmp_path)
    made.write_wmca(tmp_path)
    places = {"casia_surf": tmp_path, "casia_cefa": tmp_path, "wmca": tmp_path}
    train, dev, test = (cross_set(places, "SCW", s) for s in ("train", "dev", "test"))
    assert train.modalities == ("rgb", "depth", "ir")
    assert len(train) == 4 * 3 + 3 * 4 * 2
    assert {s.split("/")[0] for s in dev.subjects} == {"casia_surf", "casia_cefa"}
    assert len(test) == 3 * 22


def test_wrong_use(roots):
    with pytest.raises(ConfigError, match="no cross-set protocol 'O->M'; there are O&C&I->M"):
        cross_set(roots, "O->M", "train")
    with pytest.raises(ConfigError, match="no split 'val'; there are train, dev, test"):
        cross_set(roots, "M&I->C", "val")
    with pytest.raises(ConfigError, match="M&I->C train: no folder given for msu_mfsd"):
        cross_set({"replay_attack": roots["replay_attack"]}, "M&I->C", "train")
