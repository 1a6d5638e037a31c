"""URFM, the unified receptive fields mapping: L learnable centres gather the tokens of any net.

    q = C W_q,  k = f W_k + b,  v = f W_v,  A = softmax(q k^T / sqrt(d / heads)),  h = (A v) W_o,

with f mapped to width d by a linear layer and a LayerNorm. Teacher and student share the centres C and the
table behind the position codes b: this is what makes the l-th local feature mean the same place in both.
Reconstruction of section 3 of CAKD (arXiv 2306.14662). Suffixes: B images, N tokens, L centres, D width d.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.methods.cakd.attention import SelfAttention, attend, projection
from mien.methods.cakd.position import FacialPositionEncoding
from mien.nn.heads import check_heads

Side = Literal["key", "query", "none"]


def local_features(
    f: Tensor, centres: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, codes: Tensor | None, heads: int
) -> tuple[Tensor, Tensor]:
    """Features before W_o, and where they look: (B, L, D) and A (B, heads, L, N). O(B N D (D + L)).

    Args:
        f: (B, N, D) tokens.
        centres: (L, D).
        w_q: (D, D), as are ``w_k`` and ``w_v``; applied from the right.
        w_k: of the keys.
        w_v: of the values.
        codes: b, (N, D) or (B, N, D), added to the keys; None = 0.
        heads: they divide D.

    >>> f, one = torch.tensor([[[0.0], [2.0]]]), torch.ones(1, 1)
    >>> local_features(f, torch.zeros(1, 1), one, one, one, None, 1)
    (tensor([[[1.]]]), tensor([[[[0.5000, 0.5000]]]]))
    """
    k = f @ w_k
    return attend(centres @ w_q, k if codes is None else k + codes, f @ w_v, heads)


def for_all_tokens(codes: Tensor, tokens: int) -> Tensor:
    """Codes (..., N, D) lengthened to ``tokens`` rows: those beyond the grid, the prompts, have b = 0.

    Raises:
        ShapeError: fewer tokens than codes.
    """
    beyond = tokens - codes.shape[-2]
    if beyond < 0:
        raise ShapeError(f"expected at least the {codes.shape[-2]} tokens of the grid, got {tokens}")
    return F.pad(codes, (0, 0, 0, beyond)) if beyond else codes


def new_centres(n_local: int, dim: int) -> nn.Parameter:
    """Local centres (L, D) to be shared, of unit variance, so that they look at different places at once."""
    return nn.Parameter(torch.randn(n_local, dim))


class URFM(nn.Module):
    """Tokens of one net -> L local features.

    Args:
        in_dim: width of the tokens.
        dim: d, width of the local features.
        n_local: L.
        heads: attention heads; they divide ``dim``.
        centres: C (L, d) of the other net's URFM, to share it; None = a new one.
        fpe: gives the position codes; None = none.
        pe_side: "key": as above. "query": the formula of the paper to the letter, a self-attention over the
            tokens with b on its queries, whose result the centres then gather. "none": without codes.

    Attributes:
        centres: C.

    Raises:
        ConfigError: an unknown side, heads that do not divide the width, centres or codes of other sizes.

    >>> h, attn = URFM(24, 16, n_local=9, heads=4)(torch.zeros(2, 53, 24))
    >>> h.shape, attn.shape
    (torch.Size([2, 9, 16]), torch.Size([2, 4, 9, 53]))
    """

    def __init__(
        self,
        in_dim: int,
        dim: int = 512,
        n_local: int = 49,
        heads: int = 8,
        centres: nn.Parameter | None = None,
        fpe: FacialPositionEncoding | None = None,
        *,
        pe_side: Side = "key",
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        if pe_side not in get_args(Side):
            raise ConfigError(f"pe_side={pe_side!r} is unknown; known: {', '.join(get_args(Side))}")
        if centres is not None and centres.shape != (n_local, dim):
            raise ConfigError(f"centres {tuple(centres.shape)} must be ({n_local}, {dim})")
        if fpe is not None and fpe.table.shape[1] != dim:
            raise ConfigError(f"position codes of width {fpe.table.shape[1]} must have width {dim}")
        self.in_dim, self.heads, self.pe_side = in_dim, heads, pe_side
        self.embed = nn.Sequential(nn.Linear(in_dim, dim), nn.LayerNorm(dim))
        self.centres = new_centres(n_local, dim) if centres is None else centres
        self.fpe = None if pe_side == "none" else fpe
        self.mix = SelfAttention(dim, heads) if pe_side == "query" else None
        self.query, self.key, self.value, self.out = (projection(dim, dim) for _ in range(4))

    def forward(self, f: Tensor, landmarks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, in_dim), those of the grid first -> h (B, L, d) and A (B, heads, L, N).

        With ``pe_side="query"`` A is the product of both attentions, how much of each token reaches a centre.

        Args:
            f: tokens.
            landmarks: (B, 5, 2) pixels of each picture; None = those of the position encoding.

        Raises:
            ShapeError: tokens of another width, or fewer than the grid has.
        """
        if f.ndim != 3 or f.shape[2] != self.in_dim:
            raise ShapeError(f"expected tokens (B, N, {self.in_dim}), got {tuple(f.shape)}")
        codes = None if self.fpe is None else for_all_tokens(self.fpe(landmarks), f.shape[1])
        f, mixing = self.embed(f), None
        if self.mix is not None:
            f, mixing = self.mix(f, codes)
            codes = None
        w_q, w_k, w_v = (layer.weight.T for layer in (self.query, self.key, self.value))
        h, attn = local_features(f, self.centres, w_q, w_k, w_v, codes, self.heads)
        return self.out(h), attn if mixing is None else attn @ mixing
