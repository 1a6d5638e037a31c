"""FM-ViT: a branch for each modality, joined by cross-modal blocks, run on whichever modalities there are.

Suffixes: A present branches, B images, L = N + 1 tokens (row 0 = CLS), N patches, D width. A reconstruction:
only the abstract of arXiv 2305.03277 could be read; the layout below is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.fm_vit import rollout
from mien.methods.fm_vit.attention import Mutual
from mien.methods.fm_vit.auxiliary import CELLS, check_cells
from mien.methods.fm_vit.blocks import (
    CrossModalBlock,
    Missing,
    PerModality,
    Stem,
    TransformerBlock,
    check_layout,
    layer_norm,
    patch_embedding,
    start_weights,
)
from mien.methods.fm_vit.flexible import FlexibleNet, Output

Head = Literal["per_modality", "shared"]
AUX_SOURCE = "rgb"
"""The branch whose tokens foretell the auxiliary targets."""


class FMViT(FlexibleNet):
    """X_0^m = [cls^m; E^m(x^m)] + P; stages of ordinary blocks and one CMTB; z^m = Linear_m(LN(CLS^m)).

    The fused logits are the mean of z^m over the modalities present. Branches of absent ones are not run, so
    one modality costs one transformer. At the start every CMTB is the identity.

    Args:
        modalities: names, in the order in which peers are joined.
        img_size: S, side of the images in pixels.
        patch: side and stride of a patch in pixels; N = (S / patch)^2.
        dim: D.
        depth: ordinary blocks in all.
        heads: H, divides D.
        stages: K; each is depth / K ordinary blocks and one CMTB, so that depth + K blocks run.
        mlp_ratio: inner width of the FFNs over D.
        stem: how patches become tokens, see `patch_embedding`.
        mutual: how the relevances of a branch and its peers join, see `mutual_map`.
        rho: share of the patches whose keys stay in mutual-attention; 1 = plain attention.
        soft: weigh the keys instead of cutting.
        mma: False = plain attention in the CMTBs.
        mfa: False = no fusion-attention.
        share_stb: the branches share the ordinary blocks but for LayerNorms; False = branches of their own.
        missing: a branch without peers looks at its own patches ("self") or leaves its CLS row ("skip").
        head: classifier of each modality's own, or one for all.
        per_modal_qkv: W_q, W_k, W_v of the CMTBs of each modality's own.
        own_position: position table of each modality's own.
        aux_targets: modalities whose `patch_values` the final RGB tokens foretell, as an auxiliary task.

    Raises:
        ConfigError: sizes that do not divide one another, or an unknown option.

    >>> net = FMViT(img_size=32, patch=8, dim=16, depth=2, heads=2, stages=1)
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
        mutual: Mutual = "sum",
        rho: float = 0.5,
        soft: bool = False,
        mma: bool = True,
        mfa: bool = True,
        share_stb: bool = True,
        missing: Missing = "self",
        head: Head = "per_modality",
        per_modal_qkv: bool = False,
        own_position: bool = False,
        aux_targets: Sequence[str] = (),
    ) -> None:
        super().__init__(modalities, img_size)
        names = self.modalities
        check_layout(img_size, patch, depth, stages)
        if head not in get_args(Head):
            raise ConfigError(f"head={head!r} is unknown; known: {', '.join(get_args(Head))}")
        self.patch, self.dim, self.grid, self.num_features = patch, dim, img_size // patch, dim
        self.blocks_per_stage = depth // stages
        self.embed = nn.ModuleDict({m: patch_embedding(dim, patch, stem) for m in names})
        self.cls = nn.ParameterDict({m: nn.Parameter(torch.zeros(1, 1, dim)) for m in names})
        tables = names if own_position else ("shared",)
        self.position = nn.ParameterDict(
            {m: nn.Parameter(torch.zeros(1, self.grid**2 + 1, dim)) for m in tables}
        )
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, mlp_ratio, names, share_stb) for _ in range(depth)
        )
        self.cross_blocks = nn.ModuleList(
            CrossModalBlock(
                dim,
                heads,
                mlp_ratio,
                names,
                mutual=mutual,
                rho=rho,
                soft=soft,
                mma=mma,
                mfa=mfa,
                missing=missing,
                per_modal_qkv=per_modal_qkv,
            )
            for _ in range(stages)
        )
        self.norm = PerModality(names, lambda: layer_norm(dim))
        self.head = PerModality(names, lambda: nn.Linear(dim, 2), head == "shared")
        self._add_auxiliary(aux_targets)
        self._start()

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Any non-empty subset of the modalities, each (B, 3 or 1, S, S) in [0, 1] -> `Output`.

        The relevance is that of the last CMTB; ``aux`` is there where targets are and an RGB image is.
        O(A B depth (L D^2 + L^2 D)).

        Raises:
            ConfigError: no image, or an unknown modality.
            ShapeError: other shapes, or not one B.
        """
        present, x_ABLD = self.tokens(images)
        return self._output(present, *self._from(0, x_ABLD, present))

    def forward_subsets(
        self, images: Mapping[str, Tensor], subsets: Sequence[tuple[str, ...]]
    ) -> list[Output]:
        """`forward` on each subset; what comes before the first CMTB, the same in all, runs once."""
        needed = [m for m in self.modalities if any(m in s for s in subsets)]
        present, x_ABLD = self.tokens({m: images[m] for m in needed})
        first = self.blocks_per_stage
        for block in self.blocks[:first]:
            x_ABLD = block(x_ABLD, present)
        rows = dict(zip(present, x_ABLD, strict=True))
        outs = []
        for subset in subsets:
            some = tuple(m for m in present if m in subset)
            outs.append(self._output(some, *self._from(first, torch.stack([rows[m] for m in some]), some)))
        return outs

    def forward_features(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Images as in `forward` -> the final tokens after the last LayerNorm, (B, L, D) of each branch."""
        present, x_ABLD = self.tokens(images)
        x_ABLD, _ = self._from(0, x_ABLD, present)
        return dict(zip(present, self.norm(x_ABLD, present), strict=True))

    def attention_rollout(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Images as in `forward` -> (B, N) of each branch, see `mien.methods.fm_vit.rollout`."""
        return rollout.attention_rollout(self, images)

    def tokens(self, images: Mapping[str, Tensor]) -> tuple[tuple[str, ...], Tensor]:
        """Names of the modalities present, and X_0 = [cls; E(x)] + P: (A, B, L, D)."""
        ready = self.prepare(images)
        rows = []
        for m, image in ready.items():
            patches_BND = self.embed[m](image).flatten(2).transpose(1, 2)
            cls = self.cls[m].expand(image.shape[0], -1, -1)
            position = self.position[m if m in self.position else "shared"]
            rows.append(torch.cat([cls, patches_BND], 1) + position)
        return tuple(ready), torch.stack(rows)

    def cross_block_after(self, index: int) -> CrossModalBlock | None:
        """The CMTB that follows ordinary block ``index``, if one does."""
        stage, rest = divmod(index + 1, self.blocks_per_stage)
        return None if rest else cast("CrossModalBlock", self.cross_blocks[stage - 1])

    def start_cross_blocks(self) -> None:
        """Makes every CMTB the identity, with what it can take from the ordinary block before it."""
        for i, block in enumerate(self.blocks):
            cross = self.cross_block_after(i)
            if cross is not None:
                cross.start_from(cast("TransformerBlock", block))

    def _from(self, first: int, x_ABLD: Tensor, present: Sequence[str]) -> tuple[Tensor, Tensor]:
        """All layers but the ``first`` ones: final tokens (A, B, L, D), last relevance (A, B, N)."""
        r_ABN = x_ABLD  # the last layer is a CMTB, which gives it
        for layer in self._layers()[first:]:
            if isinstance(layer, CrossModalBlock):
                x_ABLD, r_ABN = layer(x_ABLD, present)
            else:
                x_ABLD = layer(x_ABLD, present)
        return x_ABLD, r_ABN

    def _layers(self) -> list[nn.Module]:
        """Ordinary blocks and CMTBs in the order in which they run."""
        pairs = ((block, self.cross_block_after(i)) for i, block in enumerate(self.blocks))
        return [layer for pair in pairs for layer in pair if layer is not None]

    def _output(self, present: Sequence[str], x_ABLD: Tensor, r_ABN: Tensor) -> Output:
        """What final tokens and the last relevance say."""
        h_ABLD = self.norm(x_ABLD, present)
        z_AB2 = self.head(h_ABLD[:, :, 0], present)
        out: Output = {
            "logits": dict(zip(present, z_AB2, strict=True)),
            "fused": z_AB2.mean(0),
            "relevance": dict(zip(present, r_ABN, strict=True)),
            "cls": dict(zip(present, x_ABLD[:, :, 0], strict=True)),
        }
        if self.aux and AUX_SOURCE in present:
            patches_BND = h_ABLD[present.index(AUX_SOURCE), :, 1:]
            out["aux"] = {m: layer(patches_BND) for m, layer in self.aux.items()}
        return out

    def _add_auxiliary(self, targets: Sequence[str]) -> None:
        if targets:
            check_cells(self.patch)
        for m in targets:
            if m not in self.modalities or m == AUX_SOURCE or AUX_SOURCE not in self.modalities:
                raise ConfigError(
                    f"aux_targets: {m!r} must be another of {', '.join(self.modalities)} than {AUX_SOURCE}"
                )
        self.aux = nn.ModuleDict({m: nn.Linear(self.dim, CELLS**2) for m in targets})

    def _start(self) -> None:
        start_weights(self)
        for table in (*self.cls.values(), *self.position.values()):
            nn.init.trunc_normal_(table, std=0.02)
        for layer in self.head.parts.values():
            nn.init.trunc_normal_(cast("nn.Linear", layer).weight, std=0.02)
        self.start_cross_blocks()
