"""Multi-head attention that returns its maps. Suffixes: B images, H heads, L queries, N keys, D width."""

from __future__ import annotations

from torch import Tensor, nn

from mien.nn.heads import check_heads


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """A = softmax(q k^T / sqrt(D / H)) in each head; the heads' A v side by side. O(B L N D).

    Args:
        q: (L, D) or (B, L, D).
        k: (B, N, D).
        v: (B, N, D).
        heads: H, divides D.

    Returns:
        (B, L, D) and A (B, H, L, N).
    """
    q_HLe, k_BHNe, v_BHNe = (x.unflatten(-1, (heads, -1)).transpose(-3, -2) for x in (q, k, v))
    scores = q_HLe @ k_BHNe.transpose(-2, -1) / q_HLe.shape[-1] ** 0.5
    attn = scores.softmax(-1)
    return (attn @ v_BHNe).transpose(-3, -2).flatten(-2), attn


def projection(inputs: int, outputs: int) -> nn.Linear:
    """A linear map without bias, started as Glorot did."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer


class SelfAttention(nn.Module):
    """MSA: q = x W_q + b, k = x W_k, v = x W_v, then W_o.

    Args:
        dim: D.
        heads: H.

    Raises:
        ConfigError: heads that do not divide the width.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.query, self.key, self.value, self.out = (projection(dim, dim) for _ in range(4))

    def forward(self, x: Tensor, codes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, N, D) and codes b that broadcast to it -> (B, N, D) and maps (B, H, N, N). O(B N^2 D)."""
        q = self.query(x) if codes is None else self.query(x) + codes
        out, attn = attend(q, self.key(x), self.value(x), self.heads)
        return self.out(out), attn


class AttentionBlock(nn.Module):
    """u = x + MSA(LN(x)), and the maps of that MSA.

    Without norm and residual, attention over inputs that differ little is even, so that all outputs are one
    mean: on small nets the local features then start alike (spread 1e-6 of their length) and stay so.

    Args:
        dim: D.
        heads: H.

    Raises:
        ConfigError: heads that do not divide the width.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(dim), SelfAttention(dim, heads)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D) -> (B, N, D) and maps (B, H, N, N). O(B N^2 D)."""
        out, attn = self.attention(self.norm(x))
        return x + out, attn
