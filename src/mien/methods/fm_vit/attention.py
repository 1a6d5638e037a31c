"""The attentions that join the branches: mutual (which patches a branch looks at), fusion (of its CLS row).

Pure functions on plain tensors: no LayerNorm, bias or output projection. Tokens are rows, row 0 is CLS, W is
used as h @ W, and head a holds the columns a d .. (a + 1) d - 1. Suffixes: H heads, L queries, N patches,
d = D / H. Reconstruction of FM-ViT (arXiv 2305.03277), of which only the abstract could be read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.losses.numerics import full_precision
from mien.nn.heads import check_heads

Mutual = Literal["sum", "product", "peer"]
HIDDEN = -30000.0
"""Added to the score of a hidden key: finite in half precision, and exp of it is 0 in any."""
EPS = 1e-6
"""Added to g before its logarithm."""


def kept_count(rho: float, patches: int) -> int:
    """K = max(1, floor(rho N + 1/2)): the patches whose keys stay.

    Raises:
        ConfigError: rho outside (0, 1].

    >>> kept_count(0.5, 49), kept_count(0.001, 49), kept_count(1.0, 49)
    (25, 1, 49)
    """
    if not 0 < rho <= 1:
        raise ConfigError(f"rho={rho} is outside (0, 1]")
    return max(1, math.floor(rho * patches + 0.5))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(..., L, D) -> (..., H, L, d)."""
    x_LHd: Tensor = x.unflatten(-1, (heads, -1))
    return x_LHd.transpose(-3, -2)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """concat_heads softmax(q k^T / sqrt(d) + mask) v. O(L N D).

    Args:
        q: (..., L, D).
        k: (..., N, D).
        v: (..., N, D).
        heads: H, divides D.
        mask: broadcast to (..., H, L, N).

    Returns:
        (..., L, D).
    """
    q_HLd, k_HNd, v_HNd = (split_heads(x, heads) for x in (q, k, v))
    mask = None if mask is None else mask.to(q.dtype)
    out_HLd = F.scaled_dot_product_attention(q_HLd, k_HNd, v_HNd, attn_mask=mask)
    return out_HLd.transpose(-3, -2).flatten(-2)


def attention_map(q: Tensor, k: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """mean_heads softmax(q k^T / sqrt(d) + mask), what `attend` weighs its values with. O(L N D).

    Args:
        q: (..., L, D).
        k: (..., N, D).
        heads: H, divides D.
        mask: broadcast to (..., H, L, N).

    Returns:
        (..., L, N), rows that sum to 1, in single precision or better.
    """
    q_HLd, k_HNd = split_heads(q, heads), split_heads(k, heads)
    scores_HLN = q_HLd @ k_HNd.transpose(-2, -1) / q_HLd.shape[-1] ** 0.5
    if mask is not None:
        scores_HLN = scores_HLN + mask
    return full_precision(scores_HLN).softmax(-1).mean(-3)


def ranks(g: Tensor) -> Tensor:
    """Place of each value when the largest comes first, of equals the lower index: (..., N) -> (..., N).

    By comparisons, O(N^2), as a stable sort cannot be exported; attention costs more.

    >>> ranks(torch.tensor([0.1, 0.4, 0.1, 0.4]))
    tensor([2, 0, 3, 1])
    """
    one, other, i = g[..., :, None], g[..., None, :], torch.arange(g.shape[-1], device=g.device)
    ahead = (other > one) | ((other == one) & (i < i[:, None]))
    return ahead.sum(-1)


def key_mask(g: Tensor, rho: float, soft: bool = False) -> Tensor | None:
    """What is added to the scores of each key; CLS, the first key, is always seen.

        hard:  0 on CLS and on the k = max(1, floor(rho N + 1/2)) patches of largest g, `HIDDEN` elsewhere;
               of equals the lower index is kept, and no gradient reaches g;
        soft:  0 on CLS, log(g + eps) on every patch, with its gradient; rho does nothing.

    O(N^2) for each row.

    Args:
        g: (..., N); at least 0 if soft.
        rho: share of the patches that stay, in (0, 1].
        soft: weigh instead of cut.

    Returns:
        (..., 1, 1, N + 1), which broadcasts over heads and queries; None where every key stays.

    Raises:
        ConfigError: rho outside (0, 1].
    """
    kept = kept_count(rho, g.shape[-1])
    if soft:
        mask = (g + EPS).log()
    elif kept == g.shape[-1]:
        return None
    else:
        mask = torch.where(ranks(g.detach()) < kept, 0.0, HIDDEN).to(g.dtype)
    return F.pad(mask, (1, 0))[..., None, None, :]


def patch_relevance(h: Tensor, Wq: Tensor, Wk: Tensor, heads: int) -> Tensor:
    """r_j = mean_heads softmax_j(q_cls . k_j / sqrt(d)), j = 1..N: how far CLS looks at each patch. O(N D^2).

    Args:
        h: (..., N + 1, D), CLS in row 0.
        Wq: (D, D).
        Wk: (D, D).
        heads: H, divides D.

    Returns:
        (..., N), rows that sum to 1.

    Raises:
        ShapeError: no patches, weights of another width.
        ConfigError: heads that do not divide D.

    >>> patch_relevance(torch.ones(5, 4), torch.eye(4), torch.eye(4), 2)
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    _check(h, heads, Wq, Wk, rows=2)
    return attention_map(h[..., :1, :] @ Wq, h[..., 1:, :] @ Wk, heads)[..., 0, :]


def mutual_map(r: Mapping[str, Tensor], m: str, mode: Mutual = "sum") -> Tensor:
    r"""How much branch m should look at each patch, by its own relevance and that of its peers. O(|A| N).

        p^m = (1 / |A\m|) sum_{n in A\m} r^n,  or r^m where m is alone;
        sum: g^m = r^m + p^m;   product: g^m = r^m p^m;   peer: g^m = p^m.

    Alone, all three rank the patches as r^m does.

    Args:
        r: modality -> (..., N).
        m: one of its keys.
        mode: how the two join.

    Returns:
        (..., N).

    Raises:
        ConfigError: an unknown mode or modality.
        ShapeError: relevances of different shapes.

    >>> mutual_map({"rgb": torch.tensor([0.75, 0.25]), "ir": torch.tensor([0.5, 0.5])}, "rgb")
    tensor([1.2500, 0.7500])
    """
    if mode not in get_args(Mutual):
        raise ConfigError(f"mutual={mode!r} is unknown; known: {', '.join(get_args(Mutual))}")
    if m not in r:
        raise ConfigError(f"no relevance of modality {m!r}; there are {', '.join(r)}")
    if any(x.shape != r[m].shape for x in r.values()):
        raise ShapeError(f"relevances of one shape expected, got {[tuple(x.shape) for x in r.values()]}")
    others = [x for name, x in r.items() if name != m]
    peers = sum(others[1:], others[0]) / len(others) if others else r[m]
    if mode == "peer":
        return peers
    return r[m] + peers if mode == "sum" else r[m] * peers


def mma(
    h: Tensor, g: Tensor, Wq: Tensor, Wk: Tensor, Wv: Tensor, heads: int, rho: float = 0.5, soft: bool = False
) -> Tensor:
    """Mutual-attention: every query of a branch attends to CLS and to the patches of largest g only.

        concat_heads softmax(q k^T / sqrt(d) + mask) v,  the mask of `key_mask`; rho = 1 is plain attention.

    O(N D^2 + N^2 D).

    Args:
        h: (..., N + 1, D), CLS in row 0.
        g: (..., N), from `mutual_map`.
        Wq: (D, D).
        Wk: (D, D).
        Wv: (D, D).
        heads: H, divides D.
        rho: share of the patches that stay, in (0, 1].
        soft: weigh the keys by g + eps instead of cutting.

    Returns:
        (..., N + 1, D).

    Raises:
        ShapeError: shapes that do not belong together.
        ConfigError: heads that do not divide D, rho outside (0, 1].
    """
    _check(h, heads, Wq, Wk, Wv, rows=2)
    if g.shape != (*h.shape[:-2], h.shape[-2] - 1):
        raise ShapeError(f"tokens {tuple(h.shape)} need g of one value a patch, got {tuple(g.shape)}")
    return attend(h @ Wq, h @ Wk, h @ Wv, heads, key_mask(g, rho, soft))


def mfa(cls: Tensor, kv: Tensor, Uq: Tensor, Uk: Tensor, Uv: Tensor, heads: int) -> Tensor:
    """Fusion-attention: what the CLS token of a branch takes from the patches of its peers.

        concat_heads softmax((c U_q) (Y U_k)^T / sqrt(d)) (Y U_v)

    O(n D^2).

    Args:
        cls: (..., 1, D), c.
        kv: (..., n, D), Y: the patch rows of all peers, one after another.
        Uq: (D, D).
        Uk: (D, D).
        Uv: (D, D).
        heads: H, divides D.

    Returns:
        (..., 1, D), not yet added to the CLS token.

    Raises:
        ShapeError: shapes that do not belong together.
        ConfigError: heads that do not divide D.
    """
    _check(kv, heads, Uq, Uk, Uv)
    if cls.shape != (*kv.shape[:-2], 1, kv.shape[-1]):
        raise ShapeError(f"expected a CLS row for tokens {tuple(kv.shape)}, got {tuple(cls.shape)}")
    return attend(cls @ Uq, kv @ Uk, kv @ Uv, heads)


def _check(tokens: Tensor, heads: int, *weights: Tensor, rows: int = 1) -> None:
    if tokens.ndim < 2 or tokens.shape[-2] < rows:
        raise ShapeError(f"expected tokens (..., {rows} or more, D), got {tuple(tokens.shape)}")
    dim = tokens.shape[-1]
    check_heads(dim, heads)
    for w in weights:
        if w.shape != (dim, dim):
            raise ShapeError(f"tokens of width {dim} need weights ({dim}, {dim}), got {tuple(w.shape)}")
