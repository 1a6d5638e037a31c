"""Partial FC in one process against plain softmax, and on two and three processes against one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.nn import AdaMargin, ArcFace, Margin, PartialFC, RowSGD
from mien.nn.partial_fc import sample_rows, shard_rows, starting_rows
from tests.losses.gloo import launch

F64 = torch.float64
N, D, C = 7, 6, 11
MARGINS = {"arc": lambda: Margin(m2=0.5, scale=16.0), "ada": lambda: AdaMargin(scale=16.0, t_alpha=0.5)}


def data(seed=0):
    """Inputs of a linear backbone, its weights, and labels of a batch that two processes share unevenly."""
    g = torch.Generator().manual_seed(seed)
    x, net = torch.randn(N, 5, generator=g, dtype=F64), torch.randn(5, D, generator=g, dtype=F64)
    return x, net, torch.randint(C, (N,), generator=g)


def fresh(margin="arc", **options):
    return PartialFC(D, C, MARGINS[margin](), **options).double()


def part(tensor, rank, world):
    return tensor.tensor_split(world)[rank]


def step(fc, rank=0, world=1, **options):
    """Loss, gradient of the backbone and of the class weights."""
    x, net, y = data()
    net.requires_grad_()
    loss = fc(part(x, rank, world) @ net, part(y, rank, world), **options)
    loss.backward()
    return {"loss": loss.detach(), "net": net.grad, "weight": fc.weight.grad}


def ddp_step(fc, rank, world, group):
    """Gradient of the backbone as DDP leaves it on each process."""
    x, net, y = data()
    linear = torch.nn.Linear(5, D, bias=False).double()
    linear.weight.data.copy_(net.T)
    wrapped = torch.nn.parallel.DistributedDataParallel(linear, process_group=group)
    fc(wrapped(part(x, rank, world)), part(y, rank, world)).backward()
    return linear.weight.grad.T.contiguous()


def trained(fc, rank=0, world=1):
    """Five steps of the class weights."""
    optimizer = RowSGD(fc.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01)
    for seed in range(5):
        x, net, y = data(seed)
        optimizer.zero_grad()
        fc(part(x, rank, world) @ net, part(y, rank, world)).backward()
        optimizer.step()
    return optimizer.state[fc.weight]["momentum_buffer"]


# One process


def test_all_classes_in_one_process_is_cross_entropy_with_a_margin():
    x, net, y = data()
    fc, head = fresh(), ArcFace(D, C, scale=16.0).double()
    head.weight.data.copy_(fc.weight)
    a, b = (x @ net).requires_grad_(), (x @ net).requires_grad_()
    found, wanted = fc(a, y), F.cross_entropy(head(b, y), y)
    found.backward()
    wanted.backward()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(fc.weight.grad, head.weight.grad, rtol=0, atol=1e-10)


def test_gradcheck():
    x, net, y = data()
    fc = fresh()
    assert torch.autograd.gradcheck(lambda e: fc(e, y), (x @ net).requires_grad_())


def test_sampled_rows_hold_every_positive_and_a_uniform_rest():
    g = torch.Generator().manual_seed(0)
    local = torch.tensor([3, -1, 7, 3])
    count = torch.zeros(20)
    for _ in range(600):
        kept = sample_rows(local, 20, 0.5, g)
        assert len(kept) == 10
        assert {3, 7} <= set(kept.tolist())
        assert kept.diff().min() > 0
        count[kept] += 1
    rest = count[[i for i in range(20) if i not in (3, 7)]] / 600
    assert count[[3, 7]].tolist() == [600, 600]
    assert rest.min() > 0.36
    assert rest.max() < 0.53
    assert sample_rows(torch.arange(5), 20, 0.1, g).tolist() == [0, 1, 2, 3, 4]
    assert sample_rows(torch.tensor([-1]), 20, 0.01, g).tolist() == []


def test_sampled_loss_is_the_softmax_over_the_kept_classes():
    x, net, y = data()
    fc = fresh(sample_rate=0.6)
    found = fc.logits(x @ net, y, generator=torch.Generator().manual_seed(1))
    assert set(y.tolist()) <= set(found.kept.tolist())
    assert torch.equal(found.kept[found.y], y)
    head = ArcFace(D, len(found.kept), scale=16.0).double()
    head.weight.data.copy_(fc.weight[found.kept])
    torch.testing.assert_close(found.logits, head(x @ net, found.y))
    again = fc(x @ net, y, kept=found.kept)
    torch.testing.assert_close(again, F.cross_entropy(found.logits, found.y))
    assert fc.eval().logits(x @ net, y).kept is None


def test_sampled_gradients_point_along_the_full_one_on_average():
    g = torch.Generator().manual_seed(0)
    fc = PartialFC(16, 200, Margin(scale=8.0), sample_rate=0.3).double()
    x, y = torch.randn(8, 16, generator=g, dtype=F64), torch.randint(200, (8,), generator=g)
    full = fc.eval()
    x.requires_grad_()
    (wanted,) = torch.autograd.grad(full(x, y), x)
    fc.train()
    found = torch.stack([torch.autograd.grad(fc(x, y, generator=g), x)[0] for _ in range(200)])
    assert F.cosine_similarity(found.mean(0).flatten(), wanted.flatten(), dim=0) > 0.99
    assert F.cosine_similarity(found[0].flatten(), wanted.flatten(), dim=0) > 0.8


def test_only_kept_rows_move():
    x, net, y = data()
    fc = fresh(sample_rate=0.6, sparse=True)
    optimizer = RowSGD(fc.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    held = fc.weight.detach().clone()
    for seed in range(3):
        kept = fc.logits(x @ net, y, generator=torch.Generator().manual_seed(seed)).kept
        optimizer.zero_grad()
        fc(x @ net, y, kept=kept).backward()
        assert fc.weight.grad.is_sparse
        optimizer.step()
        moved = (fc.weight.detach() != held).any(1)
        assert moved.nonzero()[:, 0].tolist() == kept.tolist()
        held = fc.weight.detach().clone()


def test_sparse_and_dense_gradients_agree():
    x, net, y = data()
    kept = torch.tensor(sorted({*y.tolist(), 0, 10}))
    grads = []
    for sparse in (False, True):
        fc = fresh(sample_rate=0.6, sparse=sparse)
        fc(x @ net, y, kept=kept).backward()
        grads.append(fc.weight.grad.to_dense())
    torch.testing.assert_close(*grads)
    assert set(grads[0].abs().sum(1).nonzero()[:, 0].tolist()) == set(kept.tolist())


def test_row_sgd_on_dense_gradients_is_torchs():
    torch.manual_seed(0)
    a, b = (torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2))
    ours, theirs = (
        RowSGD([a], 0.1, 0.9, 0.01),
        torch.optim.SGD([b], 0.1, momentum=0.9, weight_decay=0.01),
    )
    for _ in range(4):
        g = torch.randn(4, 3)
        a.grad, b.grad = g.clone(), g.clone()
        assert ours.step() is None
        theirs.step()
    torch.testing.assert_close(a, b)
    assert RowSGD([a], 0.1).step(lambda: 3.0) == 3.0


def test_rows_of_a_process_and_their_start():
    assert [shard_rows(r, 4, 10) for r in range(4)] == [(0, 3), (3, 3), (6, 2), (8, 2)]
    assert [shard_rows(r, 3, 2) for r in range(3)] == [(0, 1), (1, 1), (2, 0)]
    whole = starting_rows(0, 2500, 4, seed=7)
    for start, count in ((0, 10), (1000, 300), (1024, 1024), (2499, 1), (2500, 0)):
        assert torch.equal(starting_rows(start, count, 4, seed=7), whole[start : start + count])
    assert not torch.equal(whole, starting_rows(0, 2500, 4, seed=8))
    assert float(whole.std()) == pytest.approx(0.01, rel=0.03)
    assert not torch.equal(whole[:1024], whole[1024:2048])
    with torch.device("meta"):
        assert PartialFC(4, 9).weight.is_meta


def test_half_precision_embeddings():
    fc = PartialFC(D, C)
    with torch.autocast("cpu", torch.bfloat16):
        found = fc.logits(torch.randn(3, D).bfloat16(), torch.arange(3))
    assert found.logits.dtype == torch.float32


def test_wrong_use():
    with pytest.raises(ConfigError, match=r"sample_rate=0 must be in \(0, 1\]"):
        PartialFC(D, C, sample_rate=0)
    with pytest.raises(ShapeError, match=r"expected embeddings \(b, 6\) .*got \(2, 5\)"):
        PartialFC(D, C)(torch.zeros(2, 5), torch.zeros(2, dtype=torch.long))
    for label in (-1, C):
        with pytest.raises(DataError, match=r"labels must be in 0\.\.10"):
            PartialFC(D, C)(torch.ones(1, D), torch.tensor([label]))
    with pytest.raises(ConfigError, match="lr=-1"):
        RowSGD([torch.nn.Parameter(torch.ones(1))], lr=-1)


# Two and three processes


def worker(rank, folder):
    import torch.distributed as dist

    pair = dist.new_group([0, 1])
    out = {}
    for world, group in ((2, pair), (3, None)):
        if rank >= world:
            continue
        for margin in MARGINS:
            fc = fresh(margin, group=group)
            out[f"{margin}-{world}"] = step(fc, rank, world) | fc.margin.state_dict()
        out[f"sum-{world}"] = step(fresh(group=group, averaged=False), rank, world)
        torch.manual_seed(100 + rank)
        fc = fresh(group=group, sample_rate=0.7)
        x, net, y = (part(data()[0], rank, world), data()[1], part(data()[2], rank, world))
        found = fc.logits(x @ net, y)
        out[f"kept-{world}"] = {"kept": found.kept + fc.start, "y": found.y} | step(
            fc, rank, world, kept=found.kept
        )
        out[f"ddp-{world}"] = {"net": ddp_step(fresh(group=group), rank, world, group)}
        fc = fresh(group=group)
        v = trained(fc, rank, world)
        out[f"trained-{world}"] = {"weight": fc.all_rows(fc.weight), "v": fc.all_rows(v)}
        if world == 2:
            state = fc.full_state_dict()
            if rank == 0:
                save_file(state, folder / "two.safetensors")
    dist.barrier()
    # 2 -> 1 -> 3: rank 0 plays the one process.
    single = dist.new_group([0])
    if rank == 0:
        fc = PartialFC(D, C, MARGINS["arc"](), group=single, seed=5).double()
        fc.load_state_dict(load_file(folder / "two.safetensors"))
        save_file(fc.full_state_dict(), folder / "one.safetensors")
    dist.barrier()
    fc = PartialFC(D, C, MARGINS["arc"](), seed=6).double()
    holder = torch.nn.ModuleDict({"head": fc})
    holder.load_state_dict({f"head.{k}": v for k, v in load_file(folder / "one.safetensors").items()})
    save_file(fc.full_state_dict(), folder / f"three-{rank}.safetensors")
    tiny = PartialFC(D, 2, MARGINS["arc"]()).double()
    x, net, y = data()
    out["tiny"] = {"loss": tiny(part(x, rank, 3) @ net, part(y, rank, 3) % 2).detach()}
    out["bad"] = {"raised": torch.tensor(False)}
    try:
        fc(part(x, rank, 3) @ net, part(y, rank, 3) + (C if rank == 1 else 0))
    except DataError:
        out["bad"]["raised"] = torch.tensor(True)
    torch.save(out, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partial_fc")
    launch("tests.nn.test_partial_fc", 3, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(3)], folder


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    return True


@pytest.mark.ddp
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("margin", MARGINS)
def test_processes_equal_one(ranks, world, margin):
    found = [r[f"{margin}-{world}"] for r in ranks[0][:world]]
    one = fresh(margin)
    wanted = step(one)
    for f in found:
        assert close(f["loss"], wanted["loss"])
        for name, value in one.margin.state_dict().items():
            assert close(f[name], value)
    assert close(torch.stack([f["net"] for f in found]).mean(0), wanted["net"])
    assert close(torch.cat([f["weight"] for f in found]), wanted["weight"])
    assert wanted["net"].abs().max() > 0.1


@pytest.mark.ddp
def test_gradients_below_can_be_summed_instead(ranks):
    for world in (2, 3):
        found = [r[f"sum-{world}"] for r in ranks[0][:world]]
        assert close(torch.stack([f["net"] for f in found]).sum(0), step(fresh())["net"])


@pytest.mark.ddp
@pytest.mark.parametrize("world", [2, 3])
def test_below_ddp_the_gradient_is_that_of_one_process(ranks, world):
    for r in ranks[0][:world]:
        assert close(r[f"ddp-{world}"]["net"], step(fresh())["net"])


@pytest.mark.ddp
@pytest.mark.parametrize("world", [2, 3])
def test_sampling_processes_equal_one_with_the_same_rows(ranks, world):
    found = [r[f"kept-{world}"] for r in ranks[0][:world]]
    kept = torch.cat([f["kept"] for f in found])
    y = data()[2]
    assert set(y.tolist()) <= set(kept.tolist())
    assert len(kept) < C
    one = fresh(sample_rate=0.7)
    wanted = step(one, kept=kept)
    for f in found:
        assert torch.equal(kept[f["y"]], y)
        assert close(f["loss"], wanted["loss"])
    assert close(torch.stack([f["net"] for f in found]).mean(0), wanted["net"])
    assert close(torch.cat([f["weight"] for f in found]), wanted["weight"])


@pytest.mark.ddp
@pytest.mark.parametrize("world", [2, 3])
def test_training_on_processes_equals_one(ranks, world):
    one = fresh()
    v = trained(one)
    for r in ranks[0][:world]:
        assert close(r[f"trained-{world}"]["weight"], one.weight.detach())
        assert close(r[f"trained-{world}"]["v"], v)


@pytest.mark.ddp
def test_a_file_of_two_processes_serves_one_and_three(ranks):
    folder = ranks[1]
    two = load_file(folder / "two.safetensors")
    one = fresh()
    trained(one)
    assert two["weight"].shape == (C, D)
    assert close(two["weight"], one.weight.detach())
    for name in ("one", "three-0", "three-1", "three-2"):
        assert torch.equal(load_file(folder / f"{name}.safetensors")["weight"], two["weight"])


@pytest.mark.ddp
def test_more_processes_than_classes_and_a_wrong_label_on_one_of_them(ranks):
    x, net, y = data()
    wanted = PartialFC(D, 2, MARGINS["arc"]()).double()(x @ net, y % 2).detach()
    for r in ranks[0]:
        assert close(r["tiny"]["loss"], wanted)
        assert r["bad"]["raised"]
