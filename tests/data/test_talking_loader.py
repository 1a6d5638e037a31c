"""Batches that are cut on the device equal those that are cut before."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from mien.data.talking_loader import HeadStore, PickedBatch, TalkingLoader, is_resident, talking_batch
from tests.methods.otavatar.tiny import ball_heads


def same(one, two) -> bool:
    return all(torch.equal(getattr(one, f.name), getattr(two, f.name)) for f in fields(one))


def test_a_picked_batch_is_the_batch() -> None:
    heads, cpu = ball_heads(), torch.device("cpu")
    windows = heads.windows(3)
    store = HeadStore(heads, windows)
    person, moment = np.array([2, 0, 5]), np.array([[1, 3], [0, 2], [3, 0]])
    picked = PickedBatch(store, person, moment)
    assert len(picked) == 3
    assert same(picked.to(cpu), talking_batch(heads, windows, person, moment))
    assert same(picked.to(cpu, channels_last=True), picked.to(cpu))


def test_a_resident_stream_is_the_stream() -> None:
    cpu = torch.device("cpu")
    for pairs in (False, True):
        plain, held = (TalkingLoader(ball_heads(), 4, 7, 3, pairs, resident=r) for r in (False, True))
        for _, (one,), (two,) in zip(range(8), plain.stream(2, 0, 1), held.stream(2, 0, 1), strict=False):
            assert isinstance(two, PickedBatch)
            assert same(one, two.to(cpu))


def test_sets_that_a_gpu_holds(monkeypatch) -> None:
    heads = ball_heads()
    assert is_resident(heads) == torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert is_resident(heads)
    monkeypatch.setattr("mien.data.talking_loader.RESIDENT", 100)
    assert not is_resident(heads)
