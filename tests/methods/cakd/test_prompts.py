from __future__ import annotations

import hashlib
import math

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.methods.cakd import Grid, PromptedSwin, PromptedViT
from mien.methods.cakd.prompts import new_prompts, prompted_block
from mien.nn import FaceSwin, build_face_net

X = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
NETS = {"swin_tiny": PromptedSwin, "vit_tiny": PromptedViT}


def teacher(name):
    torch.manual_seed(0)
    net = build_face_net(name, 48, 32, drop_path=0.5)
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm1d):
            m.running_mean.normal_()
            m.running_var.uniform_(0.5, 2)
    return net.eval()


def last_map(net, x):
    return list(net.forward_features(x).values())[-1]


def checksum(net):
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", NETS)
def test_without_prompts_it_is_the_teacher_bit_for_bit(name):
    net = teacher(name)
    wanted, tokens = net(X), last_map(net, X).flatten(2).transpose(1, 2)
    prompted = NETS[name](net, 0).train()
    found, found_tokens = prompted(X)
    assert torch.equal(found, wanted)
    assert torch.equal(found_tokens, tokens)
    assert not [p for p in prompted.parameters() if p.requires_grad]


@pytest.mark.parametrize("per", ["stage", "block"])
@pytest.mark.parametrize("name", NETS)
def test_prompts_that_tokens_do_not_see_change_nothing(name, per):
    net = teacher(name)
    wanted, tokens = net(X), last_map(net, X).flatten(2).transpose(1, 2)
    torch.manual_seed(1)
    hidden = NETS[name](net, 3, per, hide=True)
    found, found_tokens = hidden(X)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found_tokens[:, :-3], tokens, atol=2e-5, rtol=1e-4)
    seen = NETS[name](net, 3, per)
    seen.load_state_dict(hidden.state_dict())
    assert (seen(X)[0] - wanted).abs().max() > 1e-3


@pytest.mark.parametrize("per", ["stage", "block"])
@pytest.mark.parametrize("name", NETS)
def test_shapes_and_counts(name, per):
    net = teacher(name)
    prompted = NETS[name](net, 3, per)
    embedding, tokens = prompted(X)
    channels, height, width = list(net.taps.values())[-1]
    assert embedding.shape == (2, 32)
    assert tokens.shape == (2, height * width + 3, channels)
    assert (prompted.dim, prompted.grid) == (channels, Grid.of(net))
    widths = [p.shape[1] for p in prompted.prompts]
    if name == "swin_tiny":
        assert widths == ([24, 48, 96, 192] if per == "stage" else [24, 48, 96, 96, 192])
    else:
        assert widths == [64] * 4  # four blocks, so that a quarter is one block
    bare = NETS[name](net, 3, per, tokens_only=True)
    bare.load_state_dict(prompted.state_dict())
    assert torch.equal(bare(X)[1], tokens[:, :-3])


def test_stages_of_a_deeper_vit():
    net = build_face_net("vit_tiny", 48, 8, depth=6)
    assert PromptedViT(net, 2).starts == {0, 2, 3, 5}
    assert PromptedViT(net, 2, "block").starts == set(range(6))
    assert PromptedViT(build_face_net("vit_tiny", 48, 8, depth=1), 2).starts == {0}


@pytest.mark.parametrize("name", NETS)
def test_the_teacher_stays_as_it_is_while_prompts_train(name):
    net = teacher(name)
    before = checksum(net)
    prompted = NETS[name](net, 4)
    optimizer = torch.optim.SGD([p for p in prompted.parameters() if p.requires_grad], lr=0.1)
    prompted.train()
    assert not any(m.training for m in net.modules())
    first = prompted(X)[0].detach()
    for _ in range(2):
        optimizer.zero_grad()
        embedding, tokens = prompted(X)
        (embedding.square().sum() + tokens.square().mean()).backward()
        assert all(p.grad is None for p in net.parameters())
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in prompted.prompts)
        optimizer.step()
    assert checksum(net) == before
    assert not torch.allclose(prompted(X)[0], first)
    assert len(optimizer.param_groups[0]["params"]) == len(prompted.prompts)


def slow_block(block, x, p):
    """One Swin block over tokens (B, H, W, C) and prompts (B, t, C): one window, head and query at a time."""
    (rows, columns), (down, right), attn = block.window_size, block.shift_size, block.attn
    batch, height, width, channels = x.shape
    e = channels // attn.num_heads
    high, wide = -(-height // rows) * rows, -(-width // columns) * columns
    normed, table = block.norm1(x), attn.relative_position_bias_table

    def token(b, v, u):  # of the shifted map; beyond the map there are zeros
        if v >= height or u >= width:
            return torch.zeros(channels)
        return normed[b, (v + down) % height, (u + right) % width]

    def region(v, u):  # what was far apart before the shift does not meet
        if not (down or right):
            return 0
        band = [sum(i >= n - cut for cut in (w, s)) for i, n, w, s in
                ((v, high, rows, down), (u, wide, columns, right))]  # fmt: skip
        return 3 * band[0] + band[1]

    mixed = torch.zeros_like(x)
    copies = []
    for b in range(batch):
        for top in range(0, high, rows):
            for left in range(0, wide, columns):
                cells = [(top + v, left + u) for v in range(rows) for u in range(columns)]
                seq = torch.stack([*block.norm1(p[b]), *(token(b, *c) for c in cells)])
                places = [None] * p.shape[1] + cells
                q, k, v = attn.qkv(seq).chunk(3, -1)
                out = torch.zeros_like(seq)
                for i, first in enumerate(places):
                    for head in range(attn.num_heads):
                        own = slice(head * e, head * e + e)
                        scores = []
                        for j, second in enumerate(places):
                            s = q[i, own] @ k[j, own] / math.sqrt(e)
                            if first and second:
                                dv, du = first[0] - second[0], first[1] - second[1]
                                s = s + table[(dv + rows - 1) * (2 * columns - 1) + du + columns - 1, head]
                                s = s - 100 * (region(*first) != region(*second))
                            scores.append(s)
                        out[i, own] = torch.stack(scores).softmax(0) @ v[:, own]
                out = attn.proj(out)
                copy = p[b] + out[: p.shape[1]]
                copies.append(copy + block.mlp(block.norm2(copy)))
                for c, value in zip(cells, out[p.shape[1] :], strict=True):
                    if c[0] < height and c[1] < width:
                        mixed[b, (c[0] + down) % height, (c[1] + right) % width] = value
    x = x + mixed
    mean = torch.stack(copies).unflatten(0, (batch, -1)).mean(1)
    return x + block.mlp(block.norm2(x)), mean


@torch.no_grad()
@pytest.mark.parametrize("side", [8, 6], ids=["whole windows", "padded windows"])
@pytest.mark.parametrize("index", [0, 1], ids=["plain", "shifted"])
def test_a_block_equals_its_loop(side, index):
    torch.manual_seed(0)
    net = FaceSwin(8, (2, 1), (2, 2), size=4 * side, embedding=4, patch=4, window=4).eval()
    block = net.stages[0].blocks[index]
    assert block.shift_size == ((2, 2) if index else (0, 0))
    block.attn.relative_position_bias_table.normal_()
    x, p = torch.randn(2, side, side, 8), torch.randn(2, 3, 8)
    found, prompts = prompted_block(block, x, p)
    wanted, wanted_prompts = slow_block(block, x, p)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(prompts, wanted_prompts, atol=1e-5, rtol=1e-4)
    # Without prompts it is timm's own block, and hidden prompts leave the tokens alone.
    torch.testing.assert_close(prompted_block(block, x, p[:, :0])[0], block(x))
    torch.testing.assert_close(prompted_block(block, x, p, hide=True)[0], block(x), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_prompts_of_a_vit_equal_its_loop():
    net = teacher("vit_tiny")
    prompted = PromptedViT(net, 3)
    x = net.patch_embed(net.normalize(X)).flatten(2).transpose(1, 2) + net.pos_embed
    for block, fresh in zip(net.blocks, prompted.prompts, strict=True):
        # Prompts first here, last in the net: attention does not mind.
        x = block(torch.cat([fresh.expand(2, 3, 64), x], 1))
        x, p = x[:, 3:], x[:, :3]
    embedding, tokens = prompted(X)
    torch.testing.assert_close(tokens, torch.cat([net.norm(x), net.norm(p)], 1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(embedding, net.feature(net.norm(x).flatten(1)), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
def test_a_picture_does_not_see_the_others(name):
    prompted = NETS[name](teacher(name), 2)
    both = prompted(X)
    for a, b in zip(prompted(X[1:]), both, strict=True):
        torch.testing.assert_close(a, b[1:], atol=1e-5, rtol=1e-4)


def test_start_of_the_prompts():
    torch.manual_seed(0)
    p, v = new_prompts(1000, 64, 4), math.sqrt(6 / (48 + 64))
    assert p.abs().max() <= v
    assert p.std().item() == pytest.approx(v / math.sqrt(3), rel=0.02)
    assert F.normalize(p, dim=1).mean().abs() < 0.01


def test_wrong_options():
    net = teacher("vit_tiny")
    with pytest.raises(ConfigError, match="per='layer' must be one of stage, block"):
        PromptedViT(net, 2, "layer")
    with pytest.raises(ConfigError, match="n_prompts=-1 at least 0"):
        PromptedSwin(teacher("swin_tiny"), -1)
    with pytest.raises(ShapeError, match=r"faces \(B, 3, 48, 48\), got \(2, 3, 32, 32\)"):
        PromptedViT(net, 2)(X[:, :, :32, :32])
