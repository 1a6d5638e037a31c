"""Dynamics without masses and charges: the baselines of pairwise networks and of transformers.

Both give the velocity change of a frame, as `mien.methods.phycine.laws.Laws` does, and take no notice of
latents: what sets a heavy object apart they can only guess.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.methods.phycine.laws import mlp

STATE = 4
"""Numbers of a state: place and velocity."""


class PairwiseDynamics(nn.Module):
    """The network of pairs of OP3 (Veerapaneni et al., arXiv 1910.12827) on places and velocities.

    s_i = MLP(state_i), p_ij = MLP(s_i, s_j), E_i = sum_j sigmoid(MLP(p_ij)) MLP(p_ij); MLP(s_i, E_i) is the
    change.

    Args:
        width: of all networks.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.inertia, self.pair = mlp(STATE, width, width), mlp(2 * width, width, width)
        self.effect, self.attention = mlp(width, width, width), mlp(width, width, 1)
        self.merge = mlp(2 * width, width, 2)

    def forward(
        self, p: Tensor, v: Tensor, z_m: Tensor, z_c: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """Velocity change (..., N, 2) from places and velocities (..., N, 2). O(N^2)."""
        state = self.inertia(torch.cat([p, v], -1))
        count = p.shape[-2]
        own, other = (state.unsqueeze(d).expand(*p.shape[:-2], count, count, -1) for d in (-2, -3))
        pairs = self.pair(torch.cat([own, other], -1))
        effect = self.attention(pairs).sigmoid() * self.effect(pairs)
        kept = ~torch.eye(count, dtype=torch.bool, device=p.device)
        if present is not None:
            kept = kept & present[..., None, :]
        total = (effect * kept[..., None]).sum(-2)
        change: Tensor = self.merge(torch.cat([state, total], -1))
        return change


class SlotTransformer(nn.Module):
    """Objects attend to each other, in the manner of SlotFormer (Wu et al., arXiv 2210.05861).

    Each object is a token of its place and velocity; what the frames before it tell is in the velocity.

    Args:
        width: of the tokens.
        layers: of the encoder.
        heads: of its attention.
    """

    def __init__(self, width: int = 48, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(STATE, width), nn.Linear(width, 2)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(
        self, p: Tensor, v: Tensor, z_m: Tensor, z_c: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """Velocity change (B, ..., N, 2) from places and velocities (B, ..., N, 2). O(N^2 width)."""
        tokens = self.embed(torch.cat([p, v], -1)).flatten(0, -3)
        absent = None
        if present is not None:
            absent = ~present.expand(p.shape[:-1]).flatten(0, -2)
            absent = absent & ~absent.all(-1, keepdim=True)  # in an empty frame: whatever
        change: Tensor = self.out(self.encoder(tokens, src_key_padding_mask=absent))
        return change.view(p.shape)
