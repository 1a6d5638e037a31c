"""The shifted-window transformer (Swin, arXiv 2103.14030) on the blocks of timm, cut for face crops.

With patches of 2 pixels a crop of 112 has maps of 56, 28, 14 and 7, all multiples of the window of 7; the
last is as large as that of the convolutional nets.
"""

from __future__ import annotations

from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.nn.face_net import HALF, FaceNet, check_size, halved
from mien.nn.heads import Normalize


class FaceSwin(FaceNet):
    """Swin stages, then the last map flattened -> linear, BN.

    Args:
        width: channels of the first stage, then 2, 4 and 8 times as many.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        size: side of the input, pixels; a multiple of ``patch``.
        embedding: D.
        patch: side of a patch, pixels.
        window: side of a window, tokens; a smaller map is one window.
        drop_path: stochastic depth of the last block, growing linearly from 0.

    Raises:
        ConfigError: a size that is no multiple of the patch, depths and heads of unequal length, or heads
            that do not divide the width.

    >>> import torch
    >>> net = FaceSwin(16, (1, 1, 1, 1), (1, 2, 2, 4), size=32, embedding=8)
    >>> net.taps["final"], net.eval()(torch.zeros(1, 3, 32, 32)).shape
    ((128, 2, 2), torch.Size([1, 8]))
    """

    def __init__(
        self,
        width: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        *,
        size: int = 112,
        embedding: int = 512,
        patch: int = 2,
        window: int = 7,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        from timm.models.swin_transformer import SwinTransformer

        check_size(size, embedding, patch * 2 ** (len(depths) - 1))
        if size % patch or len(depths) != len(heads):
            raise ConfigError(
                f"patch={patch} must divide size={size}, and {depths} and {heads} be equally long"
            )
        widths = [width * 2**i for i in range(len(depths))]
        if any(w % h for w, h in zip(widths, heads, strict=True)):
            raise ConfigError(f"heads={heads} must divide the widths {widths}")
        self.size, self.num_features = size, embedding
        self.normalize = Normalize(HALF, HALF)
        swin = SwinTransformer(
            img_size=size,
            patch_size=patch,
            num_classes=0,
            global_pool="",
            embed_dim=width,
            depths=depths,
            num_heads=heads,
            window_size=window,
            drop_path_rate=drop_path,
        )
        self.patch_embed, self.stages, self.norm = swin.patch_embed, swin.layers, swin.norm
        sides = [halved(size // patch, i) for i in range(len(depths))]
        self.taps = {"stem": (width, sides[0], sides[0])}
        for i, (channels, side) in enumerate(zip(widths, sides, strict=True)):
            name = f"stage{i + 1}" if i + 1 < len(depths) else "final"
            self.taps[name] = (channels, side, side)
        self.fc = nn.Linear(widths[-1] * sides[-1] ** 2, embedding, bias=False)
        self.features = nn.BatchNorm1d(embedding)
        nn.init.trunc_normal_(self.fc.weight, std=0.02)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) -> maps (B, c, h, w) ``stem, stage1, stage2, stage3, final``; the last is normed."""
        x = self.patch_embed(self.normalize(x))  # (B, h, w, c), as timm keeps it
        maps = [x]
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        maps[-1] = self.norm(maps[-1])
        return {name: m.permute(0, 3, 1, 2) for name, m in zip(self.taps, maps, strict=True)}

    def forward_head(self, x: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, D)."""
        out: Tensor = self.features(self.fc(x.flatten(1)))
        return out
