"""What is kept is made once, for its settings alone."""

from __future__ import annotations

import torch
from torch import nn

from mien.methods.phycine.kept import kept, weights_key


def test_tensors_are_made_once_and_read_with_the_same_bits(home):
    made = []

    def make():
        made.append(1)
        values = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
        return {"a.values": values, "flags": values > 0, "none": torch.zeros(0, 4)}

    first, again = (kept("things", ["x", 1], make) for _ in range(2))
    assert len(made) == 1
    fresh = make()
    assert first.keys() == again.keys() == fresh.keys()
    for name, value in fresh.items():
        assert torch.equal(again[name], value)
        assert again[name].dtype == value.dtype
    kept("things", ["x", 2], make)
    kept("others", ["x", 1], make)
    assert len(made) == 4
    assert sorted(p.name for p in home.iterdir()) == ["others", "things"]
    assert all(p.suffix == ".npz" for p in (home / "things").iterdir())


def test_a_key_knows_every_weight_and_buffer():
    net = nn.BatchNorm1d(3)
    keys = [weights_key(net)]
    for name in ("weight", "running_mean"):
        getattr(net, name).data[1] += 0.5
        keys.append(weights_key(net))
    assert len(set(keys)) == 3
    again = nn.BatchNorm1d(3)
    again.load_state_dict(net.state_dict())
    assert weights_key(again) == keys[-1]
