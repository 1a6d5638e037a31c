"""The vision transformer of face recognition: no class token, every token feeds the embedding.

Source: InsightFace's ViT (An et al., Killing two birds with one stone, arXiv 2203.15565, section 4), on the
blocks of timm. Shape suffixes: B images, N tokens, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.nn.face_net import HALF, FaceNet, check_size
from mien.nn.heads import Normalize

SIZES: dict[str, tuple[int, int, int]] = {
    "t": (256, 12, 8),
    "s": (512, 12, 8),
    "b": (512, 24, 8),
    "l": (768, 24, 8),
    "h": (1024, 48, 8),
}
"""Width, depth and heads."""


def random_tokens(batch: int, tokens: int, keep: int, device: torch.device) -> Tensor:
    """Row by row the positions of ``keep`` tokens drawn without replacement, ascending: (B, keep)."""
    noise = torch.rand(batch, tokens, device=device)
    return noise.topk(keep, dim=1).indices.sort(dim=1).values


def scatter_tokens(x_BND: Tensor, kept: Tensor | None, tokens: int, fill: Tensor) -> Tensor:
    """Puts kept tokens (B, keep, D) back at their positions, and ``fill`` (1, 1, D) elsewhere: (B, N, D)."""
    if kept is None:
        return x_BND
    out = fill.to(x_BND.dtype).expand(x_BND.shape[0], tokens, -1)
    return out.scatter(1, kept[..., None].expand_as(x_BND), x_BND)


def conv_stem(width: int, patch: int, channels: int = 3) -> nn.Sequential:
    """3x3 convolutions of stride 2, each twice as wide as the one before, then 1x1: 1/patch, ``width``."""
    steps = patch.bit_length() - 1
    layers: list[nn.Module] = []
    inputs = channels
    for i in range(steps):
        planes = max(8, width >> (steps - 1 - i))
        layers += [nn.Conv2d(inputs, planes, 3, 2, 1, bias=False), nn.BatchNorm2d(planes), nn.ReLU()]
        inputs = planes
    return nn.Sequential(*layers, nn.Conv2d(inputs, width, 1))


class FaceViT(FaceNet):
    """Patches -> pre-norm blocks (ReLU6) -> all tokens flattened -> linear, BN, linear, BN.

    Args:
        width: D of the tokens.
        depth: blocks.
        heads: attention heads; they divide ``width``.
        size: side of the input, pixels.
        embedding: length of the output.
        patch: side and stride of a patch, pixels; what is left of ``size % patch`` is not looked at.
        stem: "patch": one linear map of each patch. "conv": convolutions of stride 2 instead, which small
            sets need (Xiao et al., arXiv 2106.14881); ``patch`` must be a power of 2.
        mask: share of the tokens dropped before the blocks, in training only; a learned token stands in for
            them after the last norm.
        drop_path: stochastic depth of the last block, growing linearly from 0.
        mlp_ratio: inner width of the MLP over ``width``.

    Attributes:
        grid: tokens on a side.

    Raises:
        ConfigError: heads that do not divide the width, a share outside [0, 1), a size below a patch, an
            unknown stem, or convolutions with a patch that is no power of 2 or does not divide the size.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in FaceViT(*SIZES["t"]).parameters())
    19137792
    """

    def __init__(
        self,
        width: int = 512,
        depth: int = 12,
        heads: int = 8,
        *,
        size: int = 112,
        embedding: int = 512,
        patch: int = 9,
        stem: Literal["patch", "conv"] = "patch",
        mask: float = 0.1,
        drop_path: float = 0.1,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        check_size(size, embedding, patch)
        if width % heads or depth < 1:
            raise ConfigError(f"heads={heads} must divide width={width}, and depth={depth} be at least 1")
        if not 0 <= mask < 1:
            raise ConfigError(f"mask={mask} is outside [0, 1)")
        if stem not in ("patch", "conv") or (stem == "conv" and (patch & (patch - 1) or size % patch)):
            raise ConfigError(
                f"stem={stem!r} must be patch or conv; conv needs a patch, here {patch}, of a power of 2 that"
                f" divides {size}"
            )
        self.size, self.num_features, self.mask, self.patch = size, embedding, mask, patch
        self.grid = size // patch
        tokens = self.grid**2
        self.normalize = Normalize(HALF, HALF)
        self.patch_embed: nn.Module = nn.Conv2d(3, width, patch, patch)
        if stem == "conv":
            self.patch_embed = conv_stem(width, patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio, drop_path=rate, act_layer=nn.ReLU6, norm_layer=nn.LayerNorm)
            for rate in rates
        )
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(
            nn.Linear(tokens * width, width, bias=False),
            nn.BatchNorm1d(width, eps=2e-5),
            nn.Linear(width, embedding, bias=False),
            nn.BatchNorm1d(embedding, eps=2e-5),
        )
        # A tap after each quarter of the blocks, for nets of different depth to meet at the same names.
        ends = {f"stage{q}": (q * depth + 3) // 4 for q in (1, 2, 3)}
        self.ends = {end: name for name, end in ends.items()}
        shape = (width, self.grid, self.grid)
        self.taps = {"stem": shape} | dict.fromkeys(self.ends.values(), shape) | {"final": shape}
        self._start()

    def _start(self) -> None:
        """Truncated normal of deviation 0.02, zero biases."""
        for p in (self.pos_embed, self.mask_token):
            nn.init.trunc_normal_(p, std=0.02)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) -> maps (B, D, grid, grid) ``stem, stage1, stage2, stage3, final``.

        The positions of dropped tokens hold 0 in the intermediate maps and the mask token in ``final``.
        """
        x_BND = self.patch_embed(self.normalize(x)).flatten(2).transpose(1, 2) + self.pos_embed
        tokens = x_BND.shape[1]
        maps = {"stem": self._map(x_BND)}
        kept = None
        if self.training and self.mask > 0:
            kept = random_tokens(x.shape[0], tokens, int(tokens * (1 - self.mask)), x.device)
            x_BND = x_BND.gather(1, kept[..., None].expand(-1, -1, x_BND.shape[2]))
        zero = torch.zeros_like(self.mask_token)
        for i, block in enumerate(self.blocks, start=1):
            x_BND = block(x_BND)
            if i in self.ends:
                maps[self.ends[i]] = self._map(scatter_tokens(x_BND, kept, tokens, zero))
        maps["final"] = self._map(scatter_tokens(self.norm(x_BND), kept, tokens, self.mask_token))
        return maps

    def forward_head(self, x: Tensor) -> Tensor:
        """(B, D, grid, grid) -> (B, embedding); flattened token by token."""
        out: Tensor = self.feature(x.flatten(2).transpose(1, 2).flatten(1))
        return out

    def _map(self, x_BND: Tensor) -> Tensor:
        return x_BND.transpose(1, 2).reshape(x_BND.shape[0], -1, self.grid, self.grid)
