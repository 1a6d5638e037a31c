from __future__ import annotations

import math

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.cakd import URFM, FacialPositionEncoding, Grid, local_features, new_centres
from mien.methods.cakd.attention import SelfAttention, attend
from mien.methods.cakd.urfm import for_all_tokens

F64 = torch.float64


def wave(rows, columns, factor, step, start):
    """factor sin(step k + start), k the row-major index."""
    k = torch.arange(rows * columns, dtype=F64).reshape(rows, columns)
    return factor * torch.sin(step * k + start)


F = wave(4, 3, 1, 0.7, 0.1)[None]
CENTRES = wave(2, 3, 0.8, 1.1, 0.3)
W = wave(3, 3, 0.6, 0.5, 0.2), wave(3, 3, 0.7, 0.9, 0.4), wave(3, 3, 0.5, 1.3, 0.6)
CODES = wave(4, 3, 0.2, 0.6, 0.9)


@pytest.mark.parametrize(
    ("codes", "a", "h"),
    [
        (
            None,
            [[0.235798, 0.296103, 0.231740, 0.236359], [0.259752, 0.205325, 0.275913, 0.259009]],
            [[0.020003, -0.036050, -0.039290], [0.030772, -0.088960, -0.078366]],
        ),
        (
            CODES,
            [[0.254650, 0.295874, 0.208450, 0.241025], [0.233694, 0.206703, 0.311527, 0.248077]],
            [[0.023048, -0.038947, -0.043885], [0.025931, -0.083891, -0.070813]],
        ),
    ],
)
def test_worked_numbers(codes, a, h):
    found, attn = local_features(F, CENTRES, *W, codes, 1)
    torch.testing.assert_close(attn[0, 0], torch.tensor(a, dtype=F64), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[0], torch.tensor(h, dtype=F64), atol=1e-6, rtol=0)


def test_attention_equals_its_loop():
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 6, generator=g, dtype=F64) for n in (3, 5, 5))
    out, attn = attend(q, k, v, 2)
    for b in range(2):
        for head in range(2):
            e = slice(3 * head, 3 * head + 3)
            for i in range(3):
                s = [math.exp(float(q[b, i, e] @ k[b, j, e]) / math.sqrt(3)) for j in range(5)]
                p = [x / sum(s) for x in s]
                torch.testing.assert_close(attn[b, head, i], torch.tensor(p, dtype=F64))
                wanted = sum(p[j] * v[b, j, e] for j in range(5))
                torch.testing.assert_close(out[b, i, e], wanted)


def test_gradcheck():
    tensors = [F, CENTRES, *W, CODES]
    leaves = [t.clone().requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(lambda *x: local_features(*x, 1), leaves)


@pytest.mark.parametrize("side", ["key", "query", "none"])
def test_gradcheck_of_the_module(side):
    torch.manual_seed(0)
    code = FacialPositionEncoding(Grid(2, 2, 8, 16), dim=4)
    net = URFM(3, 4, 2, 2, fpe=code, pe_side=side).double()
    with torch.no_grad():
        code.table.mul_(50)
    x = torch.randn(1, 5, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,))
    net(x)[0].square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert (code.table.grad is None) == (side == "none")


def test_local_features_do_not_depend_on_the_order_of_tokens():
    g = torch.Generator().manual_seed(0)
    f, codes = torch.randn(2, 9, 8, generator=g, dtype=F64), torch.randn(9, 8, generator=g, dtype=F64)
    centres = torch.randn(4, 8, generator=g, dtype=F64)
    w = [torch.randn(8, 8, generator=g, dtype=F64) for _ in range(3)]
    h, attn = local_features(f, centres, *w, codes, 2)
    order = torch.randperm(9, generator=g)
    h2, attn2 = local_features(f[:, order], centres, *w, codes[order], 2)
    torch.testing.assert_close(h2, h)
    torch.testing.assert_close(attn2, attn[..., order])
    turned = torch.randperm(4, generator=g)
    h3, attn3 = local_features(f, centres[turned], *w, codes, 2)
    torch.testing.assert_close(h3, h[:, turned])
    torch.testing.assert_close(attn3, attn[:, :, turned])
    # The codes matter: without moving them along the result is another.
    assert not torch.allclose(local_features(f[:, order], centres, *w, codes, 2)[0], h)


def test_without_queries_and_codes_it_is_the_mean():
    zero = torch.zeros(3, 3, dtype=F64)
    h, attn = local_features(F, CENTRES, zero, W[1], W[2], None, 3)
    torch.testing.assert_close(attn, torch.full_like(attn, 0.25))
    torch.testing.assert_close(h, (F @ W[2]).mean(1, keepdim=True).expand(-1, 2, -1))


@pytest.mark.parametrize("side", ["key", "query", "none"])
@pytest.mark.parametrize("n", [49, 53, 144])
def test_any_number_of_tokens(side, n):
    grid = Grid(7, 7, 16, 112) if n < 100 else Grid(12, 12, 9, 112)
    code = FacialPositionEncoding(grid, dim=16, unit=16)
    net = URFM(24, 16, 9, 4, fpe=code, pe_side=side)
    h, attn = net(torch.randn(2, n, 24))
    assert h.shape == (2, 9, 16)
    assert attn.shape == (2, 4, 9, n)
    torch.testing.assert_close(attn.sum(-1), torch.ones(2, 4, 9))


def test_tokens_beyond_the_grid_have_no_code():
    codes = torch.ones(4, 3)
    assert for_all_tokens(codes, 6).tolist() == [[1.0] * 3] * 4 + [[0.0] * 3] * 2
    assert for_all_tokens(codes, 4) is codes
    with pytest.raises(ShapeError, match="at least the 4 tokens of the grid, got 3"):
        for_all_tokens(codes, 3)


def test_landmarks_of_each_picture():
    code = FacialPositionEncoding(Grid(7, 7, 16, 112), dim=16)
    with torch.no_grad():
        code.table.mul_(50)
    net = URFM(24, 16, 9, 4, fpe=code)
    x = torch.randn(1, 51, 24).expand(2, -1, -1)
    m = torch.stack([torch.full((5, 2), 8.0), torch.full((5, 2), 100.0)])
    h, _ = net(x, m)
    assert not torch.allclose(h[0], h[1])
    torch.testing.assert_close(h[1], net(x[1:], m[1:])[0][0])


def test_shared_centres_and_table_learn_from_both():
    centres, code = new_centres(9, 16), FacialPositionEncoding(Grid(7, 7, 16, 112), dim=16)
    other = FacialPositionEncoding(Grid(12, 12, 9, 112), dim=16, unit=16, table=code.table)
    s, t = URFM(24, 16, 9, 4, centres, code), URFM(32, 16, 9, 4, centres, other)
    (s(torch.randn(2, 49, 24))[0].sum() + t(torch.randn(2, 148, 32))[0].sum()).backward()
    assert s.centres is t.centres
    assert centres.grad is not None
    assert code.table.grad is not None
    names = [n for n, _ in torch.nn.ModuleDict({"s": s, "t": t}).named_parameters()]
    assert [n for n in names if n.endswith(("centres", "table"))] == ["s.centres", "s.fpe.table"]


def test_self_attention_adds_codes_to_its_queries():
    msa = SelfAttention(8, 2).double()
    x, codes = torch.randn(2, 5, 8, dtype=F64), torch.randn(5, 8, dtype=F64)
    out, attn = msa(x, codes)
    wanted, maps = attend(msa.query(x) + codes, msa.key(x), msa.value(x), 2)
    torch.testing.assert_close(out, msa.out(wanted))
    torch.testing.assert_close(attn, maps)


def test_wrong_options_and_shapes():
    with pytest.raises(ConfigError, match="heads=3 must divide dim=16"):
        URFM(8, 16, 4, 3)
    with pytest.raises(ConfigError, match="pe_side='x' is unknown; known: key, query, none"):
        URFM(8, 16, 4, 4, pe_side="x")
    with pytest.raises(ConfigError, match=r"centres \(4, 16\) must be \(9, 16\)"):
        URFM(8, 16, 9, 4, new_centres(4, 16))
    with pytest.raises(ConfigError, match="codes of width 8 must have width 16"):
        URFM(8, 16, 9, 4, fpe=FacialPositionEncoding(Grid(2, 2, 8, 16), dim=8))
    with pytest.raises(ShapeError, match=r"tokens \(B, N, 8\), got \(2, 49, 9\)"):
        URFM(8, 16, 9, 4)(torch.zeros(2, 49, 9))
