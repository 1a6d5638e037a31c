from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.losses import CCKDLoss, EKDLoss, HintLoss, KDLoss, RKDLoss, SPLoss, SummedLoss
from mien.losses.embedding import (
    normalized_gram,
    pair_similarities,
    rbf_correlation,
    relative_angles,
    relative_distances,
    soft_rank,
    thresholds,
)

F64 = torch.float64


def embeddings(n=6, d=5, e=7):
    g = torch.Generator().manual_seed(0)
    es, et = torch.randn(n, d, generator=g, dtype=F64), torch.randn(n, e, generator=g, dtype=F64)
    return es, et, torch.arange(n) // 2


def test_relative_distances_and_angles_equal_their_loops():
    es, _, _ = embeddings()
    d = [[math.dist(a, b) for b in es.tolist()] for a in es.tolist()]
    mean = sum(map(sum, d)) / 30
    torch.testing.assert_close(relative_distances(es), torch.tensor(d, dtype=F64) / mean)
    found = relative_angles(es)
    for i, j, k in ((0, 1, 2), (3, 5, 1), (2, 2, 4)):
        a, b = es[j] - es[i], es[k] - es[i]
        wanted = (F.normalize(a, dim=0) @ F.normalize(b, dim=0)).item()
        assert found[i, j, k].item() == pytest.approx(wanted, abs=1e-12)


def test_rkd_is_blind_to_rotation_and_size():
    es, et, y = embeddings(d=7)
    turn = torch.linalg.qr(torch.randn(7, 7, dtype=F64, generator=torch.Generator().manual_seed(1))).Q
    loss = RKDLoss()
    assert loss(3.0 * et @ turn, et, y)[0].item() == pytest.approx(0.0, abs=1e-12)
    value, logs = loss(es, et, y)
    torch.testing.assert_close(value, 25 * logs["rkd_distance"] + 50 * logs["rkd_angle"])
    assert RKDLoss(angle=0)(es, et, y)[1].keys() == {"rkd_distance"}
    assert RKDLoss(normalize=True)(2 * es, et, y)[0].item() == pytest.approx(
        RKDLoss(normalize=True)(es, et, y)[0].item()
    )


def test_rkd_gradcheck_and_equal_points():
    es, et, y = embeddings()
    assert torch.autograd.gradcheck(lambda x: RKDLoss()(x, et, y)[0], es.requires_grad_())
    same = torch.ones(3, 4, requires_grad=True)
    RKDLoss()(same, torch.randn(3, 4), torch.arange(3))[0].backward()
    assert torch.isfinite(same.grad).all()


def test_hint():
    es, et, y = embeddings()
    loss = HintLoss(5, 7, weight=2.0, warmup_epochs=4).double()
    found, logs = loss(es, et, y, 2)
    torch.testing.assert_close(found, F.mse_loss(loss.regressor(es), et))
    torch.testing.assert_close(logs["hint"], found.detach())
    assert isinstance(HintLoss(5, 5).regressor, torch.nn.Identity)
    maps = HintLoss(3, 4, maps=True)
    assert maps(torch.rand(2, 3, 5, 5), torch.rand(2, 4, 5, 5), y[:2])[0].ndim == 0
    with pytest.raises(ShapeError, match=r"student \(2, 4, 5, 5\) \(mapped\) and teacher \(2, 4, 6, 6\)"):
        maps(torch.rand(2, 3, 5, 5), torch.rand(2, 4, 6, 6), y[:2])


def test_correlations_equal_their_loops():
    es, et, y = embeddings()
    for e, found in ((es, rbf_correlation(es, 0.4, 2)), (et, rbf_correlation(et, 0.4, 2))):
        unit = [F.normalize(v, dim=0) for v in e]
        for i, a in enumerate(unit):
            for j, b in enumerate(unit):
                s = (a @ b).item()
                wanted = math.exp(-0.8) * (1 + 0.8 * s + 0.32 * s**2)
                assert found[i, j].item() == pytest.approx(wanted)
                exact = math.exp(-0.4 * (a - b).square().sum().item())
                assert rbf_correlation(e, 0.4, 20)[i, j].item() == pytest.approx(exact)
    value, logs = CCKDLoss(weight=2.0)(es, et, y)
    gap = rbf_correlation(es, 0.4, 2) - rbf_correlation(et, 0.4, 2)
    torch.testing.assert_close(value, 2 * gap.square().sum() / 36)
    torch.testing.assert_close(logs["cckd"], value / 2)


def test_similarities_of_a_batch_equal_their_loops():
    es, et, y = embeddings()
    rows = [[(a @ b).item() for b in es] for a in es]
    wanted = [[v / math.hypot(*row) for v in row] for row in rows]
    torch.testing.assert_close(normalized_gram(es), torch.tensor(wanted, dtype=F64))
    value, logs = SPLoss()(es, et, y)
    gap = normalized_gram(es) - normalized_gram(et)
    torch.testing.assert_close(value, 3000 * gap.square().sum() / 36)
    torch.testing.assert_close(logs["sp"], value / 3000)
    maps = torch.randn(6, 2, 3, 3, dtype=F64)
    torch.testing.assert_close(SPLoss()(maps, et, y)[0], SPLoss()(maps.flatten(1), et, y)[0])


@pytest.mark.parametrize("loss", [CCKDLoss(warmup_epochs=4), SPLoss(warmup_epochs=4)])
def test_pairwise_losses(loss):
    es, et, y = embeddings(d=7)
    turn = torch.linalg.qr(torch.randn(7, 7, dtype=F64, generator=torch.Generator().manual_seed(1))).Q
    assert loss(3.0 * et @ turn, et, y, 4)[0].item() == pytest.approx(0.0, abs=1e-12)
    assert loss(es, et, y, 0)[0].item() == 0.0
    torch.testing.assert_close(2 * loss(es, et, y, 2)[0], loss(es, et, y, 4)[0])
    assert torch.autograd.gradcheck(lambda x: loss(x, et, y, 4)[0], es.requires_grad_())
    with pytest.raises(ShapeError, match="expected embeddings"):
        loss(es, et[:3], y, 4)


def test_wrong_kernel():
    with pytest.raises(ConfigError, match="gamma=0 must be above 0, order=2 at least 1"):
        CCKDLoss(0)


def test_pairs_and_thresholds():
    es, _, y = embeddings()
    same, other = pair_similarities(es, y)
    assert (len(same), len(other)) == (3, 12)
    assert same[0].item() == pytest.approx(F.cosine_similarity(es[0], es[1], dim=0).item())
    values = torch.arange(20.0)
    assert thresholds(values, (10, 20, 100, 1)).tolist() == [17.0, 18.0, 19.0, 0.0]
    found = soft_rank(torch.tensor([0.0, 0.5]), torch.tensor([0.25, 0.5]), 0.01)
    assert found.tolist() == pytest.approx([0.0, 1.5], abs=1e-6)


def test_ekd_equals_its_steps():
    es, et, y = embeddings()
    loss = EKDLoss(topk=4, t=0.1, anchors=(2, 10), momentum=0.5).double()
    found, _ = loss(es, et, y)
    (ss, so), (ts, to) = pair_similarities(es, y), pair_similarities(et, y)
    a, b = thresholds(so, (2, 10)), thresholds(to, (2, 10))
    torch.testing.assert_close(loss.student, a)
    hard = so.argsort(descending=True)[:4]

    def part(s, t):
        return (soft_rank(s, a, 0.1) - soft_rank(t, b, 0.1)).square().mean()

    torch.testing.assert_close(found, 0.02 * part(ss, ts) + 0.01 * part(so[hard], to[hard]))
    loss(es.flip(1), et, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert not torch.equal(loss.student, a)
    before = loss.student.clone()
    loss.eval()(et[:, :5], et, y)
    assert torch.equal(loss.student, before)


def test_ekd_gradcheck_and_batches_without_pairs():
    es, et, y = embeddings()
    loss = EKDLoss(topk=4, t=0.1, anchors=(2, 10)).double()
    loss(es, et, y)
    loss.eval()
    assert torch.autograd.gradcheck(lambda x: loss(x, et, y)[0], es.clone().requires_grad_())
    fresh = EKDLoss().double()
    for labels in (torch.arange(6), torch.zeros(6, dtype=torch.long)):
        value, _ = fresh(es.requires_grad_(), et, labels)
        value.backward()
        assert torch.isfinite(value)
    assert loss(et, et, y)[0].item() < 1


def test_a_sum_of_losses():
    es, et, y = embeddings()
    zs, zt = es.repeat(1, 2), et[:, :5].repeat(1, 2)
    parts = {"kd": KDLoss(), "rkd": RKDLoss()}
    total, logs = SummedLoss(parts, {"rkd": 0.1})((zs, zt), (es, et), y, 3)
    torch.testing.assert_close(total, KDLoss()(zs, zt, y, 3)[0] + 0.1 * RKDLoss()(es, et, y, 3)[0])
    assert {"kd/ce", "kd/kd", "rkd/rkd_angle"} <= set(logs)
    with pytest.raises(ConfigError, match="rkd takes embeddings, which were not given"):
        SummedLoss(parts)((zs, zt), None, y)
    with pytest.raises(ConfigError, match=r"weight of 'rk', .*did you mean 'rkd'"):
        SummedLoss(parts, {"rk": 1.0})
    with pytest.raises(ConfigError, match="takes neither"):
        SummedLoss({"x": torch.nn.Identity()})
    with pytest.raises(ConfigError, match="at least one"):
        SummedLoss({})


def test_wrong_use():
    es, et, y = embeddings()
    with pytest.raises(ShapeError, match=r"got \(6, 5\), \(5, 7\) and \(6,\)"):
        RKDLoss()(es, et[:5], y)
    with pytest.raises(ConfigError, match="t=0"):
        EKDLoss(t=0)
