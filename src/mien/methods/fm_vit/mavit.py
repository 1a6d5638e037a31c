"""MA-ViT: one branch for all modalities, which takes modality out of its tokens and liveness from others.

The sister of FM-ViT (arXiv 2304.07549), to compare with. [inferred]: of the paper only the abstract could be
read - single-branch early aggregation, Modal-Disentangle Attention (MDA), then Cross-Modal Attention (CMA).
What follows is our definition. Suffixes: A present modalities, B images, N patches, L = N + 2 tokens
[CLS; MOD; patches], D width.

    X_0^m = [[cls; E(x^m)] + P with the learned token mod put in as row 1]; every weight is shared.
    MDA:  u_j = mean_heads softmax_j(q_mod . k_j / sqrt(d)) over the patches: how much patch j tells modality.
          The k = max(1, floor(rho N + 1/2)) patches of *smallest* u stay (of equals the lower index):
          CLS and patches attend to CLS and to these; MOD attends to MOD and to all patches.
          X' = X + W_o MHA(LN1(X)).
    CMA:  CLS and patches of m attend to the patch rows Y of LN2(X') of all others, in the net's order; to
          their own where m is alone:  X'' = X' + U_o MHA(LN2(X') U_q, Y U_k, Y U_v); MOD is left as it is.
    Then X'' + FFN(LN3(X'')).  z^m = Linear(LN(CLS)), fused z = mean_m z^m.

MOD only learns to find modality if its own classifier, Linear(LN(MOD)) over the modalities, is trained with a
cross-entropy beside that of liveness; its logits come with the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mien.methods.fm_vit.attention import HIDDEN, attend, attention_map, kept_count, key_mask
from mien.methods.fm_vit.blocks import (
    PerModality,
    Stem,
    TransformerBlock,
    check_layout,
    feed_forward,
    layer_norm,
    patch_embedding,
    split_projection,
    start_weights,
    zero_weights,
)
from mien.methods.fm_vit.flexible import FlexibleNet, Output
from mien.nn.heads import check_heads

ALL = ("all",)
"""The one branch."""


def disentangle_mask(u: Tensor, rho: float) -> Tensor:
    """What is added to the scores in MDA. O(N^2).

    Args:
        u: (B, N), how much each patch tells modality.
        rho: share of the patches whose keys stay, those of smallest u.

    Returns:
        (B, 1, N + 2, N + 2): 0 where a query (row) sees a key (column), `HIDDEN` elsewhere.

    Raises:
        ConfigError: rho outside (0, 1].
    """
    keys = key_mask(-u, rho)
    row = u.new_zeros(u.shape[0], 1, 1, u.shape[1] + 1) if keys is None else keys
    hidden, seen = torch.full_like(row[..., :1], HIDDEN), torch.zeros_like(row[..., :1])
    liveness = torch.cat([row[..., :1], hidden, row[..., 1:]], -1)
    modality = torch.cat([hidden, seen, torch.zeros_like(row[..., 1:])], -1)
    return torch.cat([liveness, modality, liveness.expand(-1, -1, u.shape[1], -1)], 2)


class ModalityAgnosticBlock(nn.Module):
    """MDA, CMA and FFN, as on top of this page; the identity at the start.

    Args:
        dim: D.
        heads: H, divides D.
        mlp_ratio: inner width of the FFN over D.
        rho: share of the patches whose keys stay in MDA.
        mda: False = every query sees all, but MOD is not seen by the others.
        cma: False = no CMA, and no U.

    Raises:
        ConfigError: heads that do not divide the width, rho outside (0, 1].
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, rho: float, mda: bool, cma: bool) -> None:
        super().__init__()
        check_heads(dim, heads)
        kept_count(rho, 1)
        self.heads, self.rho, self.cma = heads, rho if mda else 1.0, cma
        self.norm1, self.qkv, self.out = layer_norm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        if cma:
            self.norm2, self.cross_q = layer_norm(dim), nn.Linear(dim, dim)
            self.cross_kv, self.cross_out = nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.norm3, self.mlp = layer_norm(dim), feed_forward(dim, mlp_ratio)

    def forward(self, x_ABLD: Tensor) -> tuple[Tensor, Tensor]:
        """(A, B, L, D) -> (A, B, L, D) and where CLS looks (A, B, N). O(A^2 B (L D^2 + L^2 D))."""
        shape = x_ABLD.shape[:2]
        q, k, v = self.qkv(self.norm1(x_ABLD)).flatten(0, 1).chunk(3, -1)
        looks = attention_map(q[:, :2], k[:, 2:], self.heads)
        mask = disentangle_mask(looks[:, 1].detach(), self.rho)
        x_ABLD = x_ABLD + self.out(attend(q, k, v, self.heads, mask).unflatten(0, shape))
        if self.cma:
            x_ABLD = x_ABLD + self._from_others(self.norm2(x_ABLD))
        return x_ABLD + self.mlp(self.norm3(x_ABLD)), looks[:, 0].unflatten(0, shape).detach()

    def start_from(self, block: TransformerBlock) -> None:
        """Takes q, k, v (of both attentions), LayerNorms and FFN of a block; W_o, U_o and FFN's end are 0."""
        qkv = cast("nn.Linear", block.qkv.of(*ALL))
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.norm1, block.norm1.of(*ALL)), (self.qkv, qkv)]
        pairs += [(self.norm3, block.norm2.of(*ALL)), (self.mlp, block.mlp.of(*ALL))]
        ends: list[nn.Module] = [self.out, self.mlp[-1]]
        if self.cma:
            pairs.append((self.norm2, block.norm1.of(*ALL)))
            ends.append(self.cross_out)
            split_projection(qkv, self.cross_q, self.cross_kv)
        for own, other in pairs:
            own.load_state_dict(other.state_dict())
        for end in ends:
            zero_weights(end)

    def _from_others(self, h_ABLD: Tensor) -> Tensor:
        """What CMA adds: (A, B, L, D), 0 in the row of MOD."""
        q_ABLD, kv_ABNE = self.cross_q(h_ABLD), self.cross_kv(h_ABLD[:, :, 2:])
        rows = []
        for a, q in enumerate(q_ABLD):
            others = [kv for b, kv in enumerate(kv_ABNE) if b != a or len(kv_ABNE) == 1]
            k, v = torch.cat(others, 1).chunk(2, -1)
            rows.append(attend(q, k, v, self.heads))
        added = self.cross_out(torch.stack(rows))
        return torch.cat([added[:, :, :1], torch.zeros_like(added[:, :, 1:2]), added[:, :, 2:]], 2)


class MAViT(FlexibleNet):
    """One transformer for all modalities: stages of ordinary blocks and one `ModalityAgnosticBlock`.

    Args:
        modalities: names, in the order in which others are joined.
        img_size: S, side of the images in pixels.
        patch: side and stride of a patch in pixels; N = (S / patch)^2.
        dim: D.
        depth: ordinary blocks in all.
        heads: H, divides D.
        stages: K; each is depth / K ordinary blocks and one with MDA and CMA.
        mlp_ratio: inner width of the FFNs over D.
        stem: how patches become tokens, see `patch_embedding`.
        rho: share of the patches whose keys stay in MDA.
        mda: False = none are hidden.
        cma: False = no attention to other modalities.

    Raises:
        ConfigError: sizes that do not divide one another, rho outside (0, 1].

    >>> net = MAViT(img_size=32, patch=8, dim=16, depth=2, heads=2, stages=1)
    >>> net({"ir": torch.zeros(5, 1, 32, 32)})["fused"].shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        modalities: Sequence[str] = ("rgb", "depth", "ir"),
        img_size: int = 224,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        stages: int = 4,
        *,
        mlp_ratio: float = 4.0,
        stem: Stem = "patch",
        rho: float = 0.5,
        mda: bool = True,
        cma: bool = True,
    ) -> None:
        super().__init__(modalities, img_size)
        check_layout(img_size, patch, depth, stages)
        self.dim, self.grid, self.num_features = dim, img_size // patch, dim
        self.blocks_per_stage = depth // stages
        self.embed = nn.ModuleDict({m: patch_embedding(dim, patch, stem) for m in ALL})
        self.cls = nn.ParameterDict({m: nn.Parameter(torch.zeros(1, 1, dim)) for m in ALL})
        self.position = nn.ParameterDict(
            {m: nn.Parameter(torch.zeros(1, self.grid**2 + 1, dim)) for m in ALL}
        )
        self.modality_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, mlp_ratio, ALL) for _ in range(depth))
        self.agnostic_blocks = nn.ModuleList(
            ModalityAgnosticBlock(dim, heads, mlp_ratio, rho, mda, cma) for _ in range(stages)
        )
        self.norm = PerModality(ALL, lambda: layer_norm(dim))
        self.head, self.modality_head = nn.Linear(dim, 2), nn.Linear(dim, len(self.modalities))
        start_weights(self)
        for table in (self.cls["all"], self.modality_token, self.position["all"]):
            nn.init.trunc_normal_(table, std=0.02)
        for head in (self.head, self.modality_head):
            nn.init.trunc_normal_(head.weight, std=0.02)
        self.start_cross_blocks()

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Any non-empty subset of the modalities, each (B, 3 or 1, S, S) in [0, 1] -> `Output`.

        O(A B depth (L D^2 + L^2 D)).

        Raises:
            ConfigError: no image, or an unknown modality.
            ShapeError: other shapes, or not one B.
        """
        ready = self.prepare(images)
        x_ABLD = self._tokens(torch.stack(list(ready.values())))
        r_ABN = x_ABLD  # the last block gives it
        for i, block in enumerate(self.blocks):
            x_ABLD = block(x_ABLD.flatten(0, 1)[None], ALL)[0].unflatten(0, x_ABLD.shape[:2])
            stage, rest = divmod(i + 1, self.blocks_per_stage)
            if not rest:
                x_ABLD, r_ABN = self.agnostic_blocks[stage - 1](x_ABLD)
        h_AB2D = self.norm(x_ABLD[None, :, :, :2], ALL)[0]
        z_AB2, z_ABM = self.head(h_AB2D[:, :, 0]), self.modality_head(h_AB2D[:, :, 1])
        return {
            "logits": dict(zip(ready, z_AB2, strict=True)),
            "fused": z_AB2.mean(0),
            "relevance": dict(zip(ready, r_ABN, strict=True)),
            "cls": dict(zip(ready, x_ABLD[:, :, 0], strict=True)),
            "modality": dict(zip(ready, z_ABM, strict=True)),
        }

    def start_cross_blocks(self) -> None:
        """Makes every block with MDA and CMA the identity, with what it can take from the block before it."""
        for i, cross in enumerate(self.agnostic_blocks):
            before = self.blocks[(i + 1) * self.blocks_per_stage - 1]
            cast("ModalityAgnosticBlock", cross).start_from(cast("TransformerBlock", before))

    def _tokens(self, x_AB3SS: Tensor) -> Tensor:
        """[cls; mod; patches] with positions for all but mod: (A, B, 3, S, S) -> (A, B, L, D)."""
        patches_CND = self.embed["all"](x_AB3SS.flatten(0, 1)).flatten(2).transpose(1, 2)
        cls, mod = (
            token.expand(patches_CND.shape[0], -1, -1) for token in (self.cls["all"], self.modality_token)
        )
        with_cls = torch.cat([cls, patches_CND], 1) + self.position["all"]
        tokens = torch.cat([with_cls[:, :1], mod, with_cls[:, 1:]], 1)
        x_ABLD: Tensor = tokens.unflatten(0, x_AB3SS.shape[:2])
        return x_ABLD
