from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mien.core import io
from mien.core.errors import MienError, WeightsError
from mien.engine import checkpoint
from mien.engine.convert import convert_torch
from mien.engine.safe import check_safetensors
from mien.engine.trainer import Trainer
from tests.engine.toys import experiment, make_net, recipe, same, state_of


def test_only_the_newest_two_complete_checkpoints_stay(tmp_path):
    Trainer(experiment(), recipe(checkpoint_every=3), tmp_path).run(11)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-00000009", "step-00000011"]


@pytest.mark.parametrize("place", ["sync", "rename", "state"])
def test_full_disk_leaves_the_previous_checkpoint_whole(tmp_path, monkeypatch, place):
    trainer = Trainer(experiment(), recipe(checkpoint_every=4), tmp_path)
    trainer.run(5)
    before = checkpoint.latest(tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    target = {"sync": (io, "sync_tree"), "rename": (os, "replace"), "state": (Path, "write_text")}[place]
    monkeypatch.setattr(*target, full)
    trainer.step = 6
    with pytest.raises(MienError, match=r"not written.*No space left.*earlier checkpoints are whole"):
        trainer.save_checkpoint()
    monkeypatch.undo()
    assert checkpoint.latest(tmp_path) == before
    assert not list((tmp_path / "checkpoints").glob(".*"))
    again = Trainer(experiment(), recipe(checkpoint_every=4), tmp_path)
    again.run()
    whole = Trainer(experiment(), recipe(), tmp_path / "whole")
    whole.run()
    assert same(state_of(again.keeper.net()), state_of(whole.keeper.net()))


def test_a_torn_checkpoint_is_not_seen_and_a_damaged_one_is_named(tmp_path):
    Trainer(experiment(), recipe(checkpoint_every=4), tmp_path).run(5)
    found = checkpoint.latest(tmp_path)
    torn = tmp_path / "checkpoints" / ".step-00000009.part"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    assert checkpoint.latest(tmp_path) == found
    weights = found / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:60])
    with pytest.raises(WeightsError, match="cannot be restored"):
        Trainer(experiment(), recipe(checkpoint_every=4), tmp_path).run()


def test_resume_on_another_number_of_processes_is_refused(tmp_path):
    Trainer(experiment(), recipe(checkpoint_every=4), tmp_path).run(5)
    path = checkpoint.latest(tmp_path) / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "processes": 2}))
    with pytest.raises(WeightsError, match=r"2 process\(es\), now 1"):
        Trainer(experiment(), recipe(checkpoint_every=4), tmp_path).run()


def test_weights_round_trip_with_tied_tensors(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = nn.Linear(3, 3)
            self.b.weight = self.a.weight

    one, two = Tied(), Tied()
    checkpoint.save_weights(one, tmp_path / "w.safetensors")
    checkpoint.load_weights(two, tmp_path / "w.safetensors")
    assert same(state_of(one), state_of(two))


def test_weights_of_another_model_are_named(tmp_path):
    checkpoint.save_weights(make_net(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"of another model: .*missing"):
        checkpoint.load_weights(nn.Linear(3, 8), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="do not fit"):
        checkpoint.load_weights(nn.Sequential(nn.Linear(4, 8)), tmp_path / "w.safetensors")


def test_full_disk_while_writing_weights(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"old")
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left"))
    )
    with pytest.raises(MienError, match="free some space"):
        checkpoint.save_weights(make_net(), path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def _header(entries, data=b"\0" * 8):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


_LIES = {
    "length": struct.pack("<Q", 2**60) + b"{}",
    "past the end": _header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
    "shape": _header({"a": {"dtype": "F32", "shape": [99], "data_offsets": [0, 8]}}),
    "overlap": _header(
        {
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]},
        }
    ),
    "padded": _header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
    "negative": _header({"a": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}}),
    "not JSON": struct.pack("<Q", 4) + b"{{{{" + b"\0" * 8,
    "no dictionary": struct.pack("<Q", 4) + b"[[]]" + b"\0" * 8,
    "empty": b"",
}


@pytest.mark.parametrize("name", _LIES)
def test_a_lying_header_is_one_clear_line(tmp_path, name):
    path = tmp_path / "w.safetensors"
    path.write_bytes(_LIES[name])
    with pytest.raises(WeightsError, match=r"w\.safetensors") as caught:
        check_safetensors(path)
    assert "\n" not in str(caught.value)


def test_good_files_pass(tmp_path):
    save_file(
        {"a": torch.ones(3, dtype=torch.bfloat16), "b": torch.zeros(2, 2)}, str(tmp_path / "w"), {"k": "v"}
    )
    assert check_safetensors(tmp_path / "w") is None
    with pytest.raises(WeightsError, match="no such file"):
        check_safetensors(tmp_path / "x")


@pytest.mark.parametrize("first", [b"\x80\x02", b"PK"])
def test_a_header_whose_length_begins_like_a_pickle_passes(tmp_path, first):
    path = tmp_path / "w.safetensors"
    header = b'{"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}'
    length = first + b"\0" * 6
    path.write_bytes(length + header.ljust(int.from_bytes(length, "little")) + b"abcd")
    assert check_safetensors(path) is None


class _Evil:
    def __reduce__(self):
        return (os.mkdir, (os.environ.get("EVIL", "/tmp/evil"),))


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_offered_as_weights_is_refused_and_not_run(tmp_path, monkeypatch, legacy):
    monkeypatch.setenv("EVIL", str(tmp_path / "ran"))
    path = tmp_path / "w.pt"
    torch.save({"a": _Evil()}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match="pickle, which can run code"):
        check_safetensors(path)
    with pytest.raises(WeightsError, match="refused"):
        convert_torch(path, tmp_path / "w.safetensors")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "w.safetensors").exists()


def test_convert_plain_tensors(tmp_path):
    net = make_net()
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    path, count = convert_torch(tmp_path / "w.pt", tmp_path / "w.safetensors")
    assert count == 4
    other = make_net()
    nn.init.zeros_(other[0].weight)
    checkpoint.load_weights(other, path)
    assert same(state_of(other), state_of(net))
    torch.save([1, 2], tmp_path / "n.pt")
    with pytest.raises(WeightsError, match="no tensors"):
        convert_torch(tmp_path / "n.pt", tmp_path / "n.safetensors")
    with pytest.raises(WeightsError, match="no such file"):
        convert_torch(tmp_path / "absent.pt", tmp_path / "n.safetensors")
