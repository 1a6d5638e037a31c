"""The logit losses over two processes that hold half of the classes each, against one process."""

from __future__ import annotations

import pytest
import torch

from mien.losses import DKDLoss, KDLoss, Shard
from mien.methods.gkd import PRESETS, GKDLoss, GroupSelector
from mien.methods.gkd.loss import EVERY, best_columns
from mien.nn import Margin, PartialFC
from tests.losses.gloo import answers

F64 = torch.float64
N, C, WORLD = 6, 301, 2
STARTS, COUNTS = (0, 151), (151, 150)
LOSSES = {
    **{name: lambda name=name: GKDLoss(lam=0.5, selector=PRESETS[name]) for name in PRESETS},
    "everything": lambda: GKDLoss(lam=0.5, selector=GroupSelector(k_min=C, k_max=C)),
    "one": lambda: GKDLoss(lam=0.5, selector=GroupSelector(k_min=1, k_max=1)),
    "teacher-batch": lambda: GKDLoss(selector=GroupSelector(reduce="batch", k_max=EVERY, k_step=7)),
    "kd": KDLoss,
    "dkd": DKDLoss,
}


def logits():
    g = torch.Generator().manual_seed(0)
    zs, zt = (3.5 * torch.randn(N, C, generator=g, dtype=F64) for _ in range(2))
    return zs, zt, torch.tensor([0, 150, 151, 300, 7, 200])


def faces():
    """Embeddings of student and teacher, and labels."""
    g = torch.Generator().manual_seed(1)
    es, et = torch.randn(5, 4, generator=g, dtype=F64), torch.randn(5, 6, generator=g, dtype=F64)
    return es, et, torch.randint(C, (5,), generator=g)


def heads(**options):
    margin = {"scale": 16.0, "m3": 0.4}
    student = PartialFC(4, C, Margin(**margin), seed=1, **options).double()
    return student, PartialFC(6, C, Margin(**margin), seed=2, **options).double()


def worker(rank, folder):
    import torch.distributed as dist

    out = {}
    columns = slice(STARTS[rank], STARTS[rank] + COUNTS[rank])
    shard = Shard(STARTS[rank], C, dist.group.WORLD)
    for name, make in LOSSES.items():
        zs, zt, y = logits()
        zs, zt = zs[:, columns].clone().requires_grad_(), zt[:, columns]
        loss, logs = make()(zs, zt, y, 5, shard)
        loss.backward()
        out[name] = {"loss": loss.detach(), "grad": zs.grad, **logs}
        if hasattr(make(), "selector"):
            mask = make().selector(zs, zt, y, shard)
            out[name] |= {"index": mask.index, "lengths": mask.lengths, "outside_": mask.outside}
    student, teacher = heads(sample_rate=0.5)
    es, et, y = (t.tensor_split(WORLD)[rank] for t in faces())
    es = es.clone().requires_grad_()
    torch.manual_seed(rank)
    s = student.logits(es, y)
    with torch.no_grad():
        t = teacher.logits(et, y, kept=s.kept)
    loss, _ = GKDLoss()(s.logits, t.logits, s.y, 10, s.shard)
    loss.backward()
    out["heads"] = {
        "loss": loss.detach(),
        "grad": es.grad,
        "weight": student.weight.grad,
        "kept": s.kept + student.start,
    }
    torch.save(out, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return answers("tests.methods.gkd.test_sharded", WORLD, tmp_path_factory.mktemp("gkd"))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.ddp
@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_equal_one(ranks, name):
    zs, zt, y = logits()
    zs.requires_grad_()
    wanted, logs = LOSSES[name]()(zs, zt, y, 5)
    wanted.backward()
    for r in ranks:
        close(r[name]["loss"], wanted.detach())
        for key, value in logs.items():
            close(r[name][key], value)
    close(torch.cat([r[name]["grad"] for r in ranks], 1), zs.grad)
    assert zs.grad.abs().max() > 1e-3


@pytest.mark.ddp
@pytest.mark.parametrize("name", [n for n in LOSSES if "kd" not in n])
def test_groups_are_the_global_ones_on_both(ranks, name):
    wanted = LOSSES[name]().selector(*logits())
    for r in ranks:
        assert torch.equal(r[name]["index"], wanted.index)
        assert torch.equal(r[name]["lengths"], wanted.lengths)
        assert torch.equal(r[name]["outside_"], wanted.outside)
    assert len(best_columns(logits()[0], 3)[1]) == N


@pytest.mark.ddp
def test_sampled_heads_on_two_processes_equal_one_with_the_same_classes(ranks):
    found = [r["heads"] for r in ranks]
    kept = torch.cat([f["kept"] for f in found])
    assert len(kept) == 150
    student, teacher = heads(sample_rate=0.5)
    es, et, y = faces()
    es.requires_grad_()
    s = student.logits(es, y, kept=kept)
    t = teacher.logits(et, y, kept=kept)
    loss, _ = GKDLoss()(s.logits, t.logits, s.y, 10)
    loss.backward()
    for f in found:
        close(f["loss"], loss.detach())
    close(torch.cat([f["grad"] for f in found]) / WORLD, es.grad)
    close(torch.cat([f["weight"] for f in found]), student.weight.grad)
