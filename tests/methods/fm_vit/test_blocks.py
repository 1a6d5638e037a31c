from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mien.core.errors import ConfigError
from mien.methods.fm_vit import mfa, mma, mutual_map, patch_relevance
from mien.methods.fm_vit.blocks import CrossModalBlock, PerModality, TransformerBlock
from tests.methods.fm_vit.nets import NAMES, stirred


def cross(**options):
    torch.manual_seed(0)
    return CrossModalBlock(16, 2, 2.0, NAMES, **options)


def tokens(branches=3, batch=2, rows=9, seed=1):
    return torch.randn(branches, batch, rows, 16, generator=torch.Generator().manual_seed(seed))


def same_weights(block, plain):
    """Gives an ordinary block the weights of a CMTB."""
    plain.norm1.copy_from(block.norm1)
    plain.norm2.copy_from(block.norm3)
    plain.qkv.copy_from(block.qkv)
    plain.out.of("shared").load_state_dict(block.out.state_dict())
    plain.mlp.of("shared").load_state_dict(block.mlp.state_dict())
    return plain


def test_an_ordinary_block_is_that_of_torch():
    block = stirred(TransformerBlock(16, 2, 2.0, ("rgb",)))
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, F.gelu, 1e-6, batch_first=True, norm_first=True)
    qkv, out = block.qkv.of("rgb"), block.out.of("rgb")
    layer.self_attn.in_proj_weight.data, layer.self_attn.in_proj_bias.data = qkv.weight.data, qkv.bias.data
    for theirs, ours in (
        (layer.self_attn.out_proj, out),
        (layer.norm1, block.norm1.of("rgb")),
        (layer.norm2, block.norm2.of("rgb")),
        (layer.linear1, block.mlp.of("rgb")[0]),
        (layer.linear2, block.mlp.of("rgb")[2]),
    ):
        theirs.load_state_dict(ours.state_dict())
    x = tokens(1)
    assert (block(x, ("rgb",))[0] - layer.train()(x[0])).abs().max() < 1e-5


@pytest.mark.parametrize("off", [{"rho": 1.0}, {"mma": False}])
@pytest.mark.parametrize("present", [("rgb",), ("rgb", "ir"), NAMES])
def test_all_keys_and_no_fusion_is_an_ordinary_block(off, present):
    block = stirred(cross(mfa=False, **off))
    plain = same_weights(block, TransformerBlock(16, 2, 2.0, NAMES))
    x = tokens(len(present))
    assert (block(x, present)[0] - plain(x, present)).abs().max() < 1e-6
    assert (block(x, present)[0] - x).abs().max() > 0.1


def by_hand(block, x, present):
    """The block by the public functions, branch by branch; they know no bias."""

    def linear(layer, h):
        return h @ layer.weight.T + layer.bias

    h = [block.norm1.of(m)(row) for m, row in zip(present, x, strict=True)]
    wq, wk, wv = block.qkv.of("shared").weight.chunk(3)
    r = {m: patch_relevance(row, wq.T, wk.T, 2) for m, row in zip(present, h, strict=True)}
    after = []
    for m, row, old in zip(present, h, x, strict=True):
        g = mutual_map(r, m, block.mutual)
        after.append(old + linear(block.out, mma(row, g, wq.T, wk.T, wv.T, 2, block.rho, block.soft)))
    out = []
    h2 = [block.norm2.of(m)(row) for m, row in zip(present, after, strict=True)]
    uk, uv = block.fuse_kv.weight.chunk(2)
    for a, (m, row) in enumerate(zip(present, after, strict=True)):
        peers = [h2[b][:, 1:] for b in range(len(present)) if b != a] or [h2[a][:, 1:]]
        looked = mfa(h2[a][:, :1], torch.cat(peers, 1), block.fuse_q.weight.T, uk.T, uv.T, 2)
        row = torch.cat([row[:, :1] + linear(block.fuse_out, looked), row[:, 1:]], 1)
        hidden = F.gelu(linear(block.mlp[0], block.norm3.of(m)(row)))
        out.append(row + linear(block.mlp[2], hidden))
    return torch.stack(out), torch.stack([r[m] for m in present])


@pytest.mark.parametrize(
    "options", [{}, {"mutual": "product"}, {"mutual": "peer"}, {"soft": True}, {"rho": 0.2}]
)
@pytest.mark.parametrize("present", [("depth",), ("rgb", "ir"), NAMES])
def test_the_block_is_its_equations(options, present):
    block = stirred(cross(**options))
    with torch.no_grad():
        for layer in (block.qkv.of("shared"), block.fuse_q, block.fuse_kv):
            layer.bias.zero_()
    x = tokens(len(present))
    found, r = block(x, present)
    wanted, relevance = by_hand(block, x, present)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(r, relevance)
    assert not r.requires_grad


def test_fusion_leaves_patches_untouched():
    block = stirred(cross())
    x = tokens()
    fused = block.fuse(x, NAMES)
    assert torch.equal(fused[:, :, 1:], x[:, :, 1:])
    assert (fused[:, :, 0] - x[:, :, 0]).abs().max() > 0.1


def test_equal_peers_give_their_value_through_the_projections():
    block = stirred(cross())
    for name in NAMES:  # LN2 of equal rows must be equal across the peers
        block.norm2.of(name).load_state_dict(block.norm2.of("rgb").state_dict())
    x = tokens()
    x[1:, :, 1:] = x[1, :1, 1]
    y = block.norm2.of("rgb")(x[1, 0, 1])
    value = block.fuse_out(block.fuse_kv(y)[16:])
    found = block.fuse(x, NAMES)[0, :, 0] - x[0, :, 0]
    assert (found - value).abs().max() < 1e-5


def test_alone_it_looks_at_itself_or_skips():
    x = tokens(1)
    block = stirred(cross(missing="skip"))
    assert torch.equal(block.fuse(x, ("ir",)), x)
    with_peers = tokens(2)
    assert not torch.equal(block.fuse(with_peers, ("rgb", "ir")), with_peers)
    block.missing = "self"
    assert not torch.equal(block.fuse(x, ("ir",)), x)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_started_from_a_block_it_is_the_identity(own, shared):
    before = stirred(TransformerBlock(16, 2, 2.0, NAMES, shared))
    block = stirred(cross(per_modal_qkv=own), 5)
    block.start_from(before)
    x = tokens()
    assert torch.equal(block(x, NAMES)[0], x)
    weight = block.qkv.of("ir").weight
    assert torch.equal(weight, before.qkv.of("ir" if own else "shared").weight)
    assert torch.equal(torch.cat([block.fuse_q.weight, block.fuse_kv.weight]), before.qkv.of("rgb").weight)
    assert torch.equal(block.mlp[0].weight, before.mlp.of("rgb")[0].weight)
    assert torch.equal(block.norm3.of("ir").weight, before.norm2.of("ir").weight)
    # It learns from there: the gradient reaches all three ends.
    block(x, NAMES)[0].square().sum().backward()
    for end in (block.out, block.fuse_out, block.mlp[2]):
        assert end.weight.grad.abs().sum() > 0


def test_own_projections_are_a_choice():
    own, shared = cross(per_modal_qkv=True), cross()
    assert len(own.qkv.parts) == 3
    assert len(shared.qkv.parts) == 1
    assert "fuse_q.weight" not in cross(mfa=False).state_dict()


def test_shared_layers_run_once_and_own_ones_by_name():
    layer = PerModality(NAMES, lambda: nn.Linear(16, 4))
    x = tokens(2)
    found = layer(x, ("ir", "rgb"))
    torch.testing.assert_close(found[0], layer.parts["ir"](x[0]))
    torch.testing.assert_close(found[1], layer.parts["rgb"](x[1]))
    shared = PerModality(NAMES, lambda: nn.Linear(16, 4), shared=True)
    shared.copy_from(layer)
    assert torch.equal(shared.of("ir").weight, layer.of("rgb").weight)


def test_wrong_options():
    with pytest.raises(ConfigError, match="heads=3 must divide dim=16"):
        TransformerBlock(16, 3, 2.0, NAMES)
    with pytest.raises(ConfigError, match="rho=0 is outside"):
        cross(rho=0)
    with pytest.raises(ConfigError, match="mutual='x' is unknown; known: sum, product, peer"):
        cross(mutual="x")
    with pytest.raises(ConfigError, match="missing='x' is unknown; known: self, skip"):
        cross(missing="x")
