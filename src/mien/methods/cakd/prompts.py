"""APT, the adaptable prompting teacher: a frozen transformer with learnable prompts.

Before each stage (or each block) t fresh prompts of its width join the tokens and take part in the attention;
they are dropped where the next ones enter, so never pass a patch merging:

    [x', p'] = stage_i([x, p_i]),  x'' = merge(x'),  [...] = stage_{i+1}([x'', p_{i+1}]),  f = [x_K, p_K].

In windows (Swin) each window gets its own copies of the prompts. A pair with a prompt has relative-position
bias 0 and is never masked. The copies go through the whole block, and their mean are the prompts after it.
Reconstruction of CAKD (arXiv 2306.14662), with the start of VPT (arXiv 2203.12119). Suffixes: B images, N
tokens, t prompts, W windows, C width.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal, Self, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.methods.cakd.position import Grid
from mien.nn.face_net import FaceNet
from mien.nn.face_swin import FaceSwin
from mien.nn.face_vit import FaceViT

Per = Literal["stage", "block"]


def new_prompts(n_prompts: int, width: int, patch: int) -> nn.Parameter:
    """(t, C) from U(-v, v), v = sqrt(6 / (3 patch^2 + C)), as in VPT."""
    v = math.sqrt(6 / (3 * patch**2 + width))
    return nn.Parameter(torch.empty(n_prompts, width).uniform_(-v, v))


def window_attention(attn: Any, tokens: Tensor, prompts: int, mask: Tensor | None, hide: bool) -> Tensor:
    """The window attention of timm over prompts and tokens; bias and mask are 0 for pairs with a prompt.

    Args:
        attn: a ``WindowAttention`` of timm.
        tokens: (B W, t + N, C), prompts first.
        prompts: t.
        mask: (W, N, N) of a shifted window, or None.
        hide: tokens do not see the prompts.

    Returns:
        (B W, t + N, C). O(B W (t + N) C (t + N + C)).
    """
    qkv = attn.qkv(tokens).unflatten(2, (3, attn.num_heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    index = attn.relative_position_index
    bias = attn.relative_position_bias_table[index.flatten()].unflatten(0, index.shape).permute(2, 0, 1)
    bias = bias if mask is None else bias + mask[:, None]  # (heads, N, N) or (W, heads, N, N)
    bias = F.pad(bias, (prompts, 0, prompts, 0))
    if hide:
        bias[..., prompts:, :prompts] = -torch.inf
    scores = q * attn.scale @ k.transpose(-2, -1)
    windows = 1 if mask is None else len(mask)
    scores = (scores.unflatten(0, (-1, windows)) + bias).flatten(0, 1)
    out: Tensor = attn.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    return out


def prompted_block(block: Any, x: Tensor, p: Tensor, hide: bool = False) -> tuple[Tensor, Tensor]:
    """A Swin block of timm, in eval mode, over tokens x (B, H, W, C) and prompts p (B, t, C).

    Args:
        block: a ``SwinTransformerBlock``.
        x: tokens.
        p: prompts.
        hide: tokens do not see the prompts.

    Returns:
        Tokens and prompts, of the same shapes.
    """
    from timm.models.swin_transformer import window_partition, window_reverse

    (rows, columns), shift = block.window_size, tuple(block.shift_size)
    height, width, channels = x.shape[1:]
    y = block.norm1(x).roll((-shift[0], -shift[1]), (1, 2))
    y = F.pad(y, (0, 0, 0, -width % columns, 0, -height % rows))
    padded = y.shape[1:3]
    windows = window_partition(y, (rows, columns)).flatten(1, 2)
    copies = len(windows) // len(x)
    p_WtC = p.repeat_interleave(copies, 0)
    joined = torch.cat([block.norm1(p).repeat_interleave(copies, 0), windows], 1)
    y = window_attention(block.attn, joined, p.shape[1], block.attn_mask, hide)
    p_WtC = p_WtC + y[:, : p.shape[1]]
    p_WtC = p_WtC + block.mlp(block.norm2(p_WtC))
    y = y[:, p.shape[1] :].reshape(-1, rows, columns, channels)
    y = window_reverse(y, (rows, columns), *padded)[:, :height, :width].roll(shift, (1, 2))
    x = x + y
    x = x + block.mlp(block.norm2(x))
    return x, p_WtC.unflatten(0, (-1, copies)).mean(1)


class Prompted(nn.Module):
    """What prompted Swin and ViT have in common. The backbone is frozen in place and always in eval mode.

    Attributes:
        backbone: the net.
        prompts: (t, C) of each stage or block, all that is trained.
        n_prompts: t.
        dim: width of the tokens that come out.
        grid: of those that are no prompts.
    """

    def __init__(
        self,
        backbone: FaceNet,
        widths: list[int],
        patch: int,
        n_prompts: int,
        per: Per,
        tokens_only: bool,
        hide: bool,
    ) -> None:
        super().__init__()
        if per not in get_args(Per) or n_prompts < 0:
            raise ConfigError(
                f"per={per!r} must be one of {', '.join(get_args(Per))}, n_prompts={n_prompts} at least 0"
            )
        self.backbone = backbone.eval().requires_grad_(False)
        self.n_prompts, self.per = n_prompts, per
        self.tokens_only, self.hide = tokens_only, hide
        self.dim, self.grid = widths[-1], Grid.of(backbone)
        self.prompts = nn.ParameterList(new_prompts(n_prompts, w, patch) for w in widths if n_prompts)

    def train(self, mode: bool = True) -> Self:
        """Training mode of everything but the backbone, whose BN and stochastic depth stay off."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Faces (B, 3, S, S) in [0, 1] -> embedding (B, D) of the backbone's own head, and tokens (B, N, C).

        N are the tokens of the last map, row by row, then the t prompts. With t = 0 both are the backbone's
        to the last bit.

        Raises:
            ShapeError: the input has another size.
        """
        net = self.backbone
        if x.ndim != 4 or x.shape[1:] != (3, net.size, net.size):
            raise ShapeError(f"expected faces (B, 3, {net.size}, {net.size}), got {tuple(x.shape)}")
        if not self.n_prompts:
            final = net.forward_features(x)[list(net.taps)[-1]]
            return net.forward_head(final), final.flatten(2).transpose(1, 2)
        final, prompts = self.features(x)
        tokens = final.flatten(2).transpose(1, 2)
        return net.forward_head(final), tokens if self.tokens_only else torch.cat([tokens, prompts], 1)

    @abstractmethod
    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Faces -> last map (B, C, h, w) and last prompts (B, t, C), both after the last norm."""


class PromptedSwin(Prompted):
    """A frozen `FaceSwin` with prompts in every window.

    Args:
        backbone: a trained net; it is frozen in place.
        n_prompts: t; 0 = the plain net.
        per: fresh prompts for each "stage" or each "block".
        tokens_only: leave the prompts out of what is returned.
        hide: tokens do not see the prompts (a check: the embedding is then the backbone's).

    Raises:
        ConfigError: an unknown ``per``, or a negative t.

    >>> net = FaceSwin(16, (1, 1), (1, 2), size=32, embedding=8, patch=4)
    >>> embedding, tokens = PromptedSwin(net, 3)(torch.zeros(1, 3, 32, 32))
    >>> embedding.shape, tokens.shape
    (torch.Size([1, 8]), torch.Size([1, 19, 32]))
    """

    backbone: FaceSwin

    def __init__(
        self,
        backbone: FaceSwin,
        n_prompts: int = 8,
        per: Per = "stage",
        *,
        tokens_only: bool = False,
        hide: bool = False,
    ) -> None:
        widths = [
            int(block.norm1.normalized_shape[0])
            for stage in cast("Any", backbone.stages)
            for block in (stage.blocks if per == "block" else stage.blocks[:1])
        ]
        patch = int(cast("Any", backbone.patch_embed).patch_size[0])
        super().__init__(backbone, widths, patch, n_prompts, per, tokens_only, hide)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Prompted.features`."""
        net: Any = self.backbone
        fresh = iter(self.prompts)
        x = net.patch_embed(net.normalize(x))  # (B, h, w, c)
        for stage in net.stages:
            x = stage.downsample(x)
            for i, block in enumerate(stage.blocks):
                if i == 0 or self.per == "block":
                    p = next(fresh).expand(len(x), -1, -1)
                x, p = prompted_block(block, x, p, self.hide)
        return net.norm(x).permute(0, 3, 1, 2), net.norm(p)


class PromptedViT(Prompted):
    """A frozen `FaceViT` with prompts; a "stage" is a quarter of its blocks.

    Args:
        backbone: a trained net; it is frozen in place, and drops no tokens.
        n_prompts: t; 0 = the plain net.
        per: fresh prompts for each "stage" or each "block".
        tokens_only: leave the prompts out of what is returned.
        hide: tokens do not see the prompts (a check: the embedding is then the backbone's).

    Raises:
        ConfigError: an unknown ``per``, or a negative t.

    >>> net = FaceViT(16, 2, 2, size=32, embedding=8, patch=9)
    >>> embedding, tokens = PromptedViT(net, 3)(torch.zeros(1, 3, 32, 32))
    >>> embedding.shape, tokens.shape
    (torch.Size([1, 8]), torch.Size([1, 12, 16]))
    """

    backbone: FaceViT

    def __init__(
        self,
        backbone: FaceViT,
        n_prompts: int = 8,
        per: Per = "stage",
        *,
        tokens_only: bool = False,
        hide: bool = False,
    ) -> None:
        depth = len(backbone.blocks)
        starts = range(depth) if per == "block" else sorted({0, *backbone.ends} - {depth})
        widths = [backbone.pos_embed.shape[2]] * len(starts)
        patch = backbone.patch
        super().__init__(backbone, widths, patch, n_prompts, per, tokens_only, hide)
        self.starts = frozenset(starts)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Prompted.features`."""
        net, fresh = self.backbone, iter(self.prompts)
        x = net.patch_embed(net.normalize(x)).flatten(2).transpose(1, 2) + net.pos_embed
        count = x.shape[1]
        options = {"attn_mask": _hidden(count, self.n_prompts, x)} if self.hide else {}
        for i, block in enumerate(net.blocks):
            if i in self.starts:
                x = torch.cat([x[:, :count], next(fresh).expand(len(x), -1, -1)], 1)
            x = block(x, **options)
        x = net.norm(x)
        final = x[:, :count].transpose(1, 2).unflatten(2, (net.grid, net.grid))
        return final, x[:, count:]


def _hidden(tokens: int, prompts: int, like: Tensor) -> Tensor:
    """Mask (N + t, N + t) under which tokens do not see the prompts behind them."""
    mask = like.new_zeros(tokens + prompts, tokens + prompts)
    mask[:tokens, tokens:] = -torch.inf
    return mask
