from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError
from mien.methods.fm_vit import MAViT
from mien.methods.fm_vit.attention import HIDDEN, attend
from mien.methods.fm_vit.mavit import ModalityAgnosticBlock, disentangle_mask
from tests.methods.fm_vit.nets import NAMES, SIZES, only, pictures, stirred


def small(**options):
    torch.manual_seed(0)
    return MAViT(**{**SIZES, **options}).eval()


SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations(NAMES, n)]


@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("options", [{}, {"mda": False}, {"cma": False}, {"rho": 1.0}])
def test_any_subset(subset, options):
    net = stirred(small(**options))
    out = net(pictures(names=subset))
    for key, width in (("logits", 2), ("relevance", 16), ("cls", 16), ("modality", 3)):
        assert {m: tuple(x.shape) for m, x in out[key].items()} == dict.fromkeys(subset, (3, width))
    torch.testing.assert_close(out["fused"], torch.stack(list(out["logits"].values())).mean(0))
    for r in out["relevance"].values():
        torch.testing.assert_close(r.sum(1), torch.ones(3))
        assert not r.requires_grad


def test_the_mask_hides_what_tells_modality():
    u = torch.tensor([[0.4, 0.1, 0.1, 0.1, 0.3]])
    mask = disentangle_mask(u, 0.4)[0, 0]  # two of five patches stay: those of least u, lower index first
    seen = mask == 0
    # columns: CLS, MOD, patches
    liveness = [True, False, False, True, True, False, False]
    for row in (0, 2, 3, 4, 5, 6):
        assert seen[row].tolist() == liveness
    assert seen[1].tolist() == [False] + [True] * 6
    assert set(mask.unique().tolist()) == {0.0, HIDDEN}
    all_kept = disentangle_mask(u, 1.0)[0, 0] == 0
    assert all_kept[0].tolist() == [True, False] + [True] * 5


def by_loops(block, x):
    """The block row by row: which keys each query sees is written out."""
    branches, batch, length, _ = x.shape
    patches = length - 2
    w = block.qkv.weight.chunk(3)
    b = block.qkv.bias.chunk(3)
    kept = max(1, math.floor(block.rho * patches + 0.5))
    out = torch.empty_like(x)
    for a in range(branches):
        for i in range(batch):
            h = block.norm1(x[a, i])
            q, k, v = (h @ weight.T + bias for weight, bias in zip(w, b, strict=True))
            d = q.shape[1] // 2
            u = sum(torch.softmax(k[2:, e : e + d] @ q[1, e : e + d] / math.sqrt(d), 0) for e in (0, d)) / 2
            stays = sorted(sorted(range(patches), key=lambda j, u=u: (float(u[j]), j))[:kept])
            live, mod = [0, *(j + 2 for j in stays)], list(range(1, length))
            for row in range(length):
                keys = mod if row == 1 else live
                looked = attend(q[row : row + 1], k[keys], v[keys], 2)
                out[a, i, row] = x[a, i, row] + block.out(looked)[0]
    after = out.clone()
    uk, uv = block.cross_kv.weight.chunk(2)
    bk, bv = block.cross_kv.bias.chunk(2)
    for a in range(branches):
        for i in range(batch):
            others = [c for c in range(branches) if c != a] or [a]
            y = torch.cat([block.norm2(out[c, i, 2:]) for c in others])
            for row in range(length):
                if row != 1:
                    q = block.cross_q(block.norm2(out[a, i, row : row + 1]))
                    looked = attend(q, y @ uk.T + bk, y @ uv.T + bv, 2)
                    after[a, i, row] = out[a, i, row] + block.cross_out(looked)[0]
    return after + block.mlp(block.norm3(after))


@torch.no_grad()
@pytest.mark.parametrize("branches", [1, 2, 3])
@pytest.mark.parametrize("rho", [0.3, 1.0])
def test_the_block_is_its_equations(branches, rho):
    block = stirred(ModalityAgnosticBlock(16, 2, 2.0, rho, True, True))
    x = torch.randn(branches, 2, 9, 16, generator=torch.Generator().manual_seed(1))
    found, relevance = block(x)
    assert (found - by_loops(block, x)).abs().max() < 1e-4
    h = block.norm1(x)
    q, k, _ = block.qkv(h).chunk(3, -1)
    tokens = [0, *range(2, 9)]
    scores = (q[..., :1, :].unflatten(-1, (2, 8)) * k[..., tokens[1:], :].unflatten(-1, (2, 8))).sum(-1)
    wanted = (scores / math.sqrt(8)).softmax(-2).mean(-1)
    torch.testing.assert_close(relevance, wanted)


def test_only_modality_sees_its_own_token():
    block = stirred(ModalityAgnosticBlock(16, 2, 2.0, 1.0, True, True))
    x = torch.randn(2, 2, 9, 16, generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[:, :, 1] += 1
    found, other = block(x)[0], block(changed)[0]
    rows = [0, *range(2, 9)]
    assert torch.equal(found[:, :, rows], other[:, :, rows])
    assert not torch.allclose(found[:, :, 1], other[:, :, 1])


def test_at_the_start_it_is_the_identity():
    net = small()
    x = torch.randn(3, 2, 18, 16)
    for block in net.agnostic_blocks:
        assert torch.equal(block(x)[0], x)
    assert torch.equal(net.agnostic_blocks[1].qkv.weight, net.blocks[1].qkv.of("all").weight)
    net({"rgb": pictures()["rgb"]})["fused"].square().sum().backward()
    assert net.agnostic_blocks[0].cross_out.weight.grad.abs().sum() > 0


def test_one_net_for_all_modalities():
    net, images = stirred(small()), pictures()
    a = net({"rgb": images["rgb"]})["fused"]
    assert torch.equal(net({"ir": images["rgb"]})["fused"], a)
    out, swapped = net(only(images, "rgb", "ir")), net({"rgb": images["ir"], "ir": images["rgb"]})
    torch.testing.assert_close(swapped["logits"]["rgb"], out["logits"]["ir"])
    for order in itertools.permutations(NAMES):
        assert torch.equal(net(only(images, *order))["fused"], net(images)["fused"])


def test_absent_modalities_change_nothing():
    net = stirred(small())
    stacked = torch.stack(list(pictures().values())).requires_grad_()
    net({"rgb": stacked[0]})["fused"].sum().backward()
    assert (stacked.grad[1:] == 0).all()
    assert stacked.grad[0].abs().sum() > 0


def test_every_weight_learns():
    net = stirred(small()).train()
    out = net(pictures())
    loss = out["fused"].square().sum()
    for a, m in enumerate(NAMES):
        loss = loss + F.cross_entropy(out["modality"][m], torch.full((3,), a))
    loss.backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_wrong_options():
    for options, line in (
        ({"rho": 0.0}, "rho=0.0 is outside"),
        ({"heads": 3}, "heads=3 must divide dim=16"),
        ({"stages": 3}, "stages=3 divide depth=2"),
        ({"patch": 3}, "patch=3 must divide img_size=16"),
    ):
        with pytest.raises(ConfigError, match=line):
            small(**options)
