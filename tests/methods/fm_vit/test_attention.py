from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, ShapeError
from mien.methods.fm_vit import mfa, mma, mutual_map, patch_relevance
from mien.methods.fm_vit.attention import HIDDEN, attend, attention_map, kept_count, key_mask

F64 = torch.float64


def table(rows, columns, f):
    return torch.tensor([[f(i, j) for j in range(columns)] for i in range(rows)], dtype=F64)


H = [table(7, 4, lambda i, j, m=m: math.cos(0.6 * i + 1.1 * j + 0.8 * m)) for m in range(3)]
WQ = table(4, 4, lambda i, j: math.cos(0.7 * i + 0.3 * j))
WK = table(4, 4, lambda i, j: math.cos(0.2 * i + 0.9 * j + 1))
WV = table(4, 4, lambda i, j: math.cos(0.5 * i + 0.4 * j + 2))
NAMES = ("rgb", "depth", "ir")


def close(found, wanted, atol=1e-6):
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=F64), atol=atol, rtol=0)


def relevances():
    return {m: patch_relevance(h, WQ, WK, 2) for m, h in zip(NAMES, H, strict=True)}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_worked_relevance_and_mutual_map():
    r = relevances()
    close(r["rgb"], [0.287498, 0.297491, 0.275673, 0.107932, 0.022519, 0.008885])
    close(r["depth"], [0.375764, 0.312312, 0.147205, 0.064517, 0.046540, 0.053663])
    close(r["ir"], [0.182117, 0.203313, 0.199078, 0.169901, 0.135014, 0.110577])
    g = mutual_map(r, "rgb")
    close(g, [0.566438, 0.555304, 0.448815, 0.225141, 0.113296, 0.091005])
    mask = key_mask(g, 0.5)
    assert (mask[0, 0] == 0).tolist() == [True] * 4 + [False] * 3


def test_worked_mutual_attention():
    g = mutual_map(relevances(), "rgb")
    out = mma(H[0], g, WQ, WK, WV, 2, 0.5)
    assert out.shape == (7, 4)
    close(out[0], [1.171840, 0.818369, 1.293036, 0.966201])
    close(out[1], [1.197933, 0.905977, 1.267020, 0.932806])
    close(mma(H[0], g, WQ, WK, WV, 2, 1.0)[0], [1.104613, 0.797108, 1.288098, 1.078017])


def test_worked_fusion_attention():
    peers = torch.cat([H[1][1:], H[2][1:]])
    assert mfa(H[0][:1], peers, WQ, WK, WV, 2).shape == (1, 4)
    close(mfa(H[0][:1], peers, WQ, WK, WV, 2)[0], [0.253864, 0.383562, 1.389641, 1.320468])
    close(mfa(H[0][:1], H[0][1:], WQ, WK, WV, 2)[0], [1.284111, 1.125379, 1.300966, 1.093316])


def loop_scores(q, k, heads):
    """Scores of one query against one key, head by head."""
    d = len(q) // heads
    return [
        sum(float(q[a * d + e]) * float(k[a * d + e]) for e in range(d)) / math.sqrt(d) for a in range(heads)
    ]


def loop_softmax(scores):
    top = max(scores)
    e = [math.exp(s - top) for s in scores]
    return [x / sum(e) for x in e]


def loop_attend(q, keys, values, heads):
    """One query over a list of keys and values, written with loops."""
    d = len(q) // heads
    scores = [loop_scores(q, k, heads) for k in keys]
    out = []
    for a in range(heads):
        p = loop_softmax([s[a] for s in scores])
        out += [sum(p[j] * float(values[j][a * d + e]) for j in range(len(keys))) for e in range(d)]
    return out


def loop_relevance(h, heads, wq, wk):
    q, keys = h[0] @ wq, [row @ wk for row in h[1:]]
    scores = [loop_scores(q, k, heads) for k in keys]
    maps = [loop_softmax([s[a] for s in scores]) for a in range(heads)]
    return [sum(p[j] for p in maps) / heads for j in range(len(keys))]


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("rho", [0.2, 0.5, 0.8, 1.0])
def test_both_attentions_equal_their_loops(heads, rho):
    h = random(3, 2, 6, 8)  # three modalities, two images, CLS and five patches
    wq, wk, wv = (random(8, 8, seed=s) for s in (1, 2, 3))
    r = {m: patch_relevance(h[a], wq, wk, heads) for a, m in enumerate(NAMES)}
    for a, m in enumerate(NAMES):
        found = mma(h[a], mutual_map(r, m), wq, wk, wv, heads, rho)
        peers = torch.cat([h[b, :, 1:] for b in range(3) if b != a], 1)
        fused = mfa(h[a, :, :1], peers, wq, wk, wv, heads)
        assert (found.shape, fused.shape) == ((2, 6, 8), (2, 1, 8))
        for b in range(2):
            slow = [loop_relevance(h[c, b], heads, wq, wk) for c in range(3)]
            g = [slow[a][j] + sum(slow[c][j] for c in range(3) if c != a) / 2 for j in range(5)]
            ranked = sorted(range(5), key=lambda j, g=g: (-g[j], j))[: max(1, math.floor(rho * 5 + 0.5))]
            rows = [0, *(j + 1 for j in sorted(ranked))]
            keys, values = [h[a, b, i] @ wk for i in rows], [h[a, b, i] @ wv for i in rows]
            for i in range(6):
                close(found[b, i], loop_attend(h[a, b, i] @ wq, keys, values, heads), 1e-10)
            rows = [peers[b, i] for i in range(10)]
            slow_fused = loop_attend(h[a, b, 0] @ wq, [y @ wk for y in rows], [y @ wv for y in rows], heads)
            close(fused[b, 0], slow_fused, 1e-10)


def test_relevance_is_a_distribution_and_does_not_look_at_the_class_token_as_a_key():
    h, wq, wk = random(2, 3, 10, 8), random(8, 8, seed=1), random(8, 8, seed=2)
    r = patch_relevance(h, wq, wk, 4)
    assert r.shape == (2, 3, 9)
    torch.testing.assert_close(r.sum(-1), torch.ones(2, 3, dtype=F64))
    whole = attention_map(h @ wq, h @ wk, 1)[..., 0, :]
    one = patch_relevance(h, wq, wk, 1)
    torch.testing.assert_close(one, whole[..., 1:] / whole[..., 1:].sum(-1, keepdim=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.floats(0.001, 1.0), st.integers(0, 99))
def test_kept_counts(patches, rho, seed):
    g = torch.rand(3, patches, generator=torch.Generator().manual_seed(seed)).mul(4).round()  # many ties
    kept = max(1, math.floor(rho * patches + 0.5))
    assert kept_count(rho, patches) == kept
    mask = key_mask(g, rho)
    if kept == patches:
        assert mask is None
        return
    assert mask.shape == (3, 1, 1, patches + 1)
    assert (mask[..., 0] == 0).all()
    for row, values in zip(mask[:, 0, 0, 1:], g.tolist(), strict=True):
        wanted = sorted(range(patches), key=lambda j, v=values: (-v[j], j))[:kept]
        assert sorted((row == 0).nonzero().flatten().tolist()) == sorted(wanted)


def test_one_patch_is_the_least():
    for patches in (1, 7, 49, 196):
        assert kept_count(1 / patches, patches) == 1
        assert kept_count(1e-6, patches) == 1
    h, g = random(5, 8), torch.tensor([0.1, 0.9, 0.3, 0.9], dtype=F64)
    w = [random(8, 8, seed=s) for s in (1, 2, 3)]
    found = mma(h, g, *w, 2, 0.25)
    keys = h[[0, 2]]  # CLS, and the first of the two best patches
    torch.testing.assert_close(found, attend(h @ w[0], keys @ w[1], keys @ w[2], 2))


def test_all_kept_is_plain_attention():
    h = random(2, 5, 8)
    w = [random(8, 8, seed=s) for s in (1, 2, 3)]
    plain = attend(h @ w[0], h @ w[1], h @ w[2], 2)
    assert torch.equal(mma(h, torch.rand(2, 4, dtype=F64), *w, 2, 1.0), plain)


def test_hidden_keys_weigh_nothing():
    h, w = random(2, 7, 8), [random(8, 8, seed=s) for s in (1, 2, 3)]
    g = torch.tensor([[3.0, 2, 1, 0, 0, 0]] * 2, dtype=F64)
    changed = h.clone()
    changed[:, 4:] += 100  # the hidden patches
    found, other = (mma(x, g, *w, 2, 0.5) for x in (h, changed))
    assert torch.equal(found[:, :4], other[:, :4])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("soft", [False, True])
def test_half_precision_stays_finite(dtype, soft):
    torch.manual_seed(0)
    h, large = (torch.randn(2, 9, 8).to(dtype) * factor for factor in (1, 20))
    w = [torch.eye(8, dtype=dtype) for _ in range(3)]
    r = {"rgb": patch_relevance(h, w[0], w[1], 2)}
    assert r["rgb"].dtype == torch.float32
    g = mutual_map(r, "rgb")
    out = mma(h, g, *w, 2, 0.5, soft)
    assert out.dtype == dtype
    assert out.isfinite().all()
    assert mma(large, g, *w, 2, 0.5, soft).isfinite().all()
    assert torch.tensor(HIDDEN, dtype=dtype).isfinite()
    single = mma(h.float(), g, *(x.float() for x in w), 2, 0.5, soft)
    torch.testing.assert_close(out.float(), single, atol=0.05, rtol=0.05)


def test_modes_of_the_mutual_map():
    r = {"rgb": torch.tensor([0.5, 0.3, 0.2]), "depth": torch.tensor([0.1, 0.2, 0.7])}
    r["ir"] = torch.tensor([0.3, 0.4, 0.3])
    peers = torch.tensor([0.2, 0.3, 0.5])
    torch.testing.assert_close(mutual_map(r, "rgb"), r["rgb"] + peers)
    torch.testing.assert_close(mutual_map(r, "rgb", "product"), r["rgb"] * peers)
    torch.testing.assert_close(mutual_map(r, "rgb", "peer"), peers)
    torch.testing.assert_close(mutual_map(r, "ir"), r["ir"] + (r["rgb"] + r["depth"]) / 2)
    alone = {"rgb": r["rgb"]}
    assert torch.equal(mutual_map(alone, "rgb"), 2 * r["rgb"])
    for mode in ("sum", "product", "peer"):
        assert mutual_map(alone, "rgb", mode).argsort().tolist() == r["rgb"].argsort().tolist()
        turned = {m: r[m] for m in ("ir", "depth", "rgb")}
        assert torch.equal(mutual_map(turned, "rgb", mode), mutual_map(r, "rgb", mode))


def test_equal_peers_give_their_value_whatever_the_query():
    y, w = random(8), [random(8, 8, seed=s) for s in (1, 2, 3)]
    for seed in range(3):
        found = mfa(random(2, 1, 8, seed=seed), y.expand(2, 12, 8), *w, 4)
        assert (found - y @ w[2]).abs().max() < 1e-12


def test_fusion_does_not_depend_on_the_order_of_peers():
    cls, kv, w = random(2, 1, 8), random(2, 12, 8, seed=5), [random(8, 8, seed=s) for s in (1, 2, 3)]
    assert (mfa(cls, kv.flip(1), *w, 2) - mfa(cls, kv, *w, 2)).abs().max() < 1e-12
    assert not torch.allclose(mfa(cls, kv[:, :6], *w, 2), mfa(cls, kv, *w, 2))


def joined(h0, h1, wq, wk, wv, soft):
    r = {"rgb": patch_relevance(h0, wq, wk, 2), "ir": patch_relevance(h1, wq, wk, 2)}
    x = mma(h0, mutual_map(r, "rgb"), wq, wk, wv, 2, 0.5, soft)
    return x, mfa(x[..., :1, :], h1[..., 1:, :], wq, wk, wv, 2)


def test_gradcheck_with_the_soft_mask():
    leaves = [x.clone().requires_grad_() for x in (H[0], H[1], WQ, WK, WV)]
    assert torch.autograd.gradcheck(lambda *x: joined(*x, True), leaves)


def test_gradcheck_of_the_hard_mask():
    # Away from ties the choice is constant, so that the gradient is exact there too.
    leaves = [x.clone().requires_grad_() for x in (H[0], H[1], WQ, WK, WV)]
    assert torch.autograd.gradcheck(lambda *x: joined(*x, False), leaves)


def test_only_the_soft_mask_lets_a_gradient_through_the_choice():
    for soft in (False, True):
        wq, wk = (w.clone().requires_grad_() for w in (WQ, WK))
        r = {"rgb": patch_relevance(H[0], wq, wk, 2), "ir": patch_relevance(H[1], wq, wk, 2)}
        out = mma(H[0], mutual_map(r, "rgb"), WQ, WK, WV, 2, 0.5, soft)
        assert out.requires_grad == soft
        if soft:
            out.sum().backward()
            assert wq.grad.abs().sum() > 0
            assert wk.grad.abs().sum() > 0


def test_the_soft_mask_adds_the_logarithm():
    g = torch.tensor([[0.5, 0.0, 0.25]], dtype=F64)
    mask = key_mask(g, 0.5, soft=True)
    assert mask.shape == (1, 1, 1, 4)
    close(mask[0, 0, 0], [0.0, math.log(0.5 + 1e-6), math.log(1e-6), math.log(0.25 + 1e-6)], 1e-12)


def test_wrong_arguments():
    h, w, g = random(2, 5, 8), random(8, 8), random(2, 4).abs()
    with pytest.raises(ConfigError, match="heads=3 must divide dim=8"):
        patch_relevance(h, w, w, 3)
    with pytest.raises(ShapeError, match=r"need weights \(8, 8\), got \(8, 4\)"):
        patch_relevance(h, w, w[:, :4], 2)
    with pytest.raises(ShapeError, match=r"tokens \(..., 2 or more, D\), got \(2, 1, 8\)"):
        patch_relevance(h[:, :1], w, w, 2)
    with pytest.raises(ShapeError, match=r"one value a patch, got \(2, 3\)"):
        mma(h, g[:, :3], w, w, w, 2)
    for rho in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(ConfigError, match="is outside"):
            mma(h, g, w, w, w, 2, rho)
    with pytest.raises(ConfigError, match="mutual='x' is unknown; known: sum, product, peer"):
        mutual_map({"rgb": g}, "rgb", "x")
    with pytest.raises(ConfigError, match="no relevance of modality 'ir'; there are rgb"):
        mutual_map({"rgb": g}, "ir")
    with pytest.raises(ShapeError, match="relevances of one shape"):
        mutual_map({"rgb": g, "ir": g[:1]}, "ir")
    with pytest.raises(ShapeError, match="expected a CLS row"):
        mfa(h, h, w, w, w, 2)
