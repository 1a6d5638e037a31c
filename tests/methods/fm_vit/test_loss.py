"""Losses over branches: the page's example C, and their identities."""

import math

import pytest
import torch

from mien.methods.fm_vit.loss import agreement, branch_loss, peer_distillation

RGB, DEPTH, IR = (torch.tensor([z], dtype=torch.float64) for z in ([0.2, -0.1], [1.4, -0.6], [0.5, 0.3]))
LIVE = torch.tensor([0])


def test_example_c() -> None:
    logits = {"rgb": RGB, "depth": DEPTH, "ir": IR}
    fused = torch.stack(list(logits.values())).mean(0)
    assert fused[0].tolist() == pytest.approx([0.7, -0.133333], abs=1e-6)
    assert float(fused.softmax(1)[0, 0]) == pytest.approx(0.697059, abs=1e-6)
    parts = [float(torch.nn.functional.cross_entropy(z, LIVE)) for z in logits.values()]
    assert parts == pytest.approx([0.554355, 0.126928, 0.598139], abs=1e-6)
    assert float(branch_loss(logits, fused, LIVE, 0.0)) == pytest.approx(0.426474, abs=1e-6)
    own = float(torch.nn.functional.cross_entropy(fused, LIVE))
    assert float(branch_loss(logits, fused, LIVE, 2.0)) == pytest.approx(0.426474 + 2 * own, abs=1e-6)


def test_a_net_without_branches_has_the_fused_loss_alone() -> None:
    assert float(branch_loss({}, RGB, LIVE, 0.0)) == pytest.approx(0.554355, abs=1e-6)


def test_agreement_is_zero_for_parallel_tokens_and_two_for_opposite_ones() -> None:
    a = torch.randn(5, 4, dtype=torch.float64)
    assert float(agreement({"rgb": a, "ir": 3 * a})) == pytest.approx(0.0, abs=1e-12)
    assert float(agreement({"rgb": a, "ir": -a})) == pytest.approx(2.0, abs=1e-12)


def test_only_the_first_of_a_pair_moves() -> None:
    a, b = (torch.randn(5, 4, requires_grad=True) for _ in range(2))
    agreement({"rgb": a, "ir": b}).backward()
    assert a.grad is not None
    assert b.grad is None


def test_peers_teach_and_do_not_learn() -> None:
    pupil = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    peer = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    loss = peer_distillation(pupil, peer, 2.0)
    loss.backward()
    p, q = (peer / 2).softmax(1).detach(), (pupil / 2).softmax(1).detach()
    slow = sum(
        float(p[i, c]) * (math.log(float(p[i, c])) - math.log(float(q[i, c])))
        for i in range(6)
        for c in range(2)
    )
    assert float(loss.detach()) == pytest.approx(4 * slow / 6, rel=1e-10)
    assert peer.grad is None
    assert float(peer_distillation(peer, peer, 3.0).detach()) == pytest.approx(0.0, abs=1e-12)
