"""Baselines know no masses and charges, no order of the objects, and nothing of the absent."""

from __future__ import annotations

import pytest
import torch

from mien.methods.phycine.blackbox import PairwiseDynamics, SlotTransformer
from mien.methods.phycine.laws import rollout

BOTH = pytest.mark.parametrize("kind", [PairwiseDynamics, SlotTransformer])


def net(kind):
    torch.manual_seed(0)
    return kind(8).eval()


def state(n=4, batch=3):
    draw = torch.Generator().manual_seed(1)
    return *torch.randn(2, batch, n, 2, generator=draw), *torch.randn(2, batch, n, generator=draw)


@BOTH
def test_latents_change_nothing(kind):
    p, v, z_m, z_c = state()
    assert torch.equal(net(kind)(p, v, z_m, z_c), net(kind)(p, v, z_c, 0 * z_m))


@BOTH
def test_objects_in_another_order(kind):
    given, order = state(), [2, 0, 3, 1]
    moved = net(kind)(*(x[:, order] for x in given))
    torch.testing.assert_close(moved, net(kind)(*given)[:, order])
    assert not torch.allclose(moved[:, 0], moved[:, 1])


@BOTH
def test_the_absent_do_not_act(kind):
    given = state()
    present = torch.tensor([True, False, True, True]).expand(3, 4)
    kept = [0, 2, 3]
    some = net(kind)(*given, present)[:, kept]
    torch.testing.assert_close(some, net(kind)(*(x[:, kept] for x in given)))
    assert not torch.allclose(some, net(kind)(*given)[:, kept])


@BOTH
def test_frames_of_clips_are_seen_one_by_one(kind):
    p, v, z_m, z_c = (torch.stack([x, x.flip(0)], 1) for x in state())
    present = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(2)) > 0.3
    whole = net(kind)(p, v, z_m, z_c, present)
    assert whole.shape == (3, 2, 4, 2)
    for t in range(2):
        one = net(kind)(p[:, t], v[:, t], z_m[:, t], z_c[:, t], present[:, t])
        torch.testing.assert_close(whole[:, t], one)


@BOTH
def test_a_frame_without_objects_is_finite(kind):
    given = state()
    assert net(kind)(*given, torch.zeros(3, 4, dtype=torch.bool)).isfinite().all()


@BOTH
def test_every_weight_learns_through_a_rollout(kind):
    p, v, z_m, z_c = state()
    model = net(kind)
    places, _ = rollout(model, p, v, z_m, z_c, 3, 0.1)
    assert places.shape == (3, 4, 4, 2)
    places.square().sum().backward()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in model.parameters())


def test_slow_twin_of_pairs():
    """Every ordered pair by itself."""
    model = net(PairwiseDynamics)
    p, v, z_m, z_c = (x[0] for x in state())
    s = [model.inertia(torch.cat([p[i], v[i]])) for i in range(4)]
    for i in range(4):
        effect = torch.zeros(8)
        for j in range(4):
            if j != i:
                pair = model.pair(torch.cat([s[i], s[j]]))
                effect = effect + model.attention(pair).sigmoid() * model.effect(pair)
        want = model.merge(torch.cat([s[i], effect]))
        torch.testing.assert_close(model(p, v, z_m, z_c)[i], want)
