"""The motion controller: a window of 3DMM coefficients -> offsets of the style codes, in few directions.

Source: OTAvatar (arXiv 2303.14662), its controller and code book, as in its released code.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError

_SLOPE = 0.1


def window(coeffs: Tensor, radius: int) -> Tensor:
    """The frames t - radius .. t + radius around every frame, the index clamped to the clip. O(T C radius).

    Args:
        coeffs: (..., T, C), a row for each frame.
        radius: frames on each side.

    Returns:
        (..., T, C, 2 radius + 1).

    Raises:
        ShapeError: no frames.
        ConfigError: a radius below 0.

    >>> window(torch.tensor([[1.0], [2.0], [3.0]]), 1)[:, 0].tolist()
    [[1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 3.0]]
    """
    if coeffs.ndim < 2 or coeffs.shape[-2] < 1:
        raise ShapeError(
            f"expected coefficients (..., T, C) of at least one frame, got {tuple(coeffs.shape)}"
        )
    if radius < 0:
        raise ConfigError(f"radius={radius} must be at least 0")
    frames = coeffs.shape[-2]
    offsets = torch.arange(-radius, radius + 1, device=coeffs.device)
    index = (torch.arange(frames, device=coeffs.device)[:, None] + offsets).clamp(0, frames - 1)
    return coeffs[..., index, :].transpose(-1, -2)


def hold_last_rows(windows: Tensor, values: Tensor) -> Tensor:
    """Windows whose last rows, the pose, stay at given values over all their frames. O(B C L).

    Driving a held camera with moving pose rows would move what the camera should: hold them at the source's.

    Args:
        windows: (..., C, L).
        values: (..., R), R <= C.

    Raises:
        ShapeError: more values than rows.
    """
    rows = values.shape[-1]
    if rows > windows.shape[-2]:
        raise ShapeError(f"{rows} rows to hold in windows of {windows.shape[-2]}")
    kept = windows[..., : windows.shape[-2] - rows, :]
    held = values[..., None].expand(*kept.shape[:-2], rows, windows.shape[-1])
    return torch.cat([kept, held], -2)


def orthonormal_columns(directions: Tensor) -> Tensor:
    """Q of D + 1e-8 = Q R with diag(R) > 0: columns of length 1 at right angles. O(W K^2).

    The sign of a column is free in a QR decomposition and differs between LAPACK builds; this fixes it.

    Args:
        directions: (W, K), K <= W, of full rank.

    Returns:
        (W, K).
    """
    q, r = torch.linalg.qr(directions + 1e-8)
    sign = torch.where(r.diagonal() < 0, -1.0, 1.0).to(q)
    return cast("Tensor", q * sign)


def clip_codes(w: Tensor, w_avg: Tensor, std: Tensor | float = 1.0, limit: float = 5.0) -> Tensor:
    """min(max(w, w_avg - limit std), w_avg + limit std), element by element.

    Args:
        w: (B, L, W).
        w_avg: (W,), the mean code.
        std: (W,) or a number. The released code says 1.
        limit: in units of ``std``.
    """
    return torch.minimum(torch.maximum(w, w_avg - limit * std), w_avg + limit * std)


class DilatedBlock(nn.Module):
    """y = conv(lrelu_0.1(x)) + x cut to the same frames; no padding.

    Args:
        width: channels.
        kernel: taps, odd.
        dilation: frames between them.
    """

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.cut = dilation * (kernel - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, L) -> (B, width, L - dilation (kernel - 1))."""
        y: Tensor = self.conv(F.leaky_relu(x, _SLOPE))
        return y + x[:, :, self.cut : x.shape[2] - self.cut]


class CodeBook(nn.Module):
    """K directions in the space of style codes, at right angles whatever is learnt: dw = Q(D) alpha.

    So |dw| = |alpha| (`orthonormal_columns`).

    Args:
        w_dim: W.
        directions: K, at most W.
        orthonormal: False = the columns as they are learnt, dw = D alpha: what the article's choice is
            compared with.

    Raises:
        ConfigError: more directions than dimensions, or none.
    """

    def __init__(self, w_dim: int, directions: int, *, orthonormal: bool = True) -> None:
        super().__init__()
        if not 1 <= directions <= w_dim:
            raise ConfigError(f"directions={directions} must be 1 to w_dim={w_dim}")
        self.orthonormal = orthonormal
        start = torch.randn(w_dim, directions)
        self.directions = nn.Parameter(start if orthonormal else start / w_dim**0.5)

    def basis(self) -> Tensor:
        """Q (or D), (W, K)."""
        return orthonormal_columns(self.directions) if self.orthonormal else self.directions

    def forward(self, alpha: Tensor) -> Tensor:
        """(..., K) -> (..., W)."""
        return alpha @ self.basis().T


class MotionController(nn.Module):
    """Window of coefficients -> dw_l = Q (a_0 + a_l) for every style slot l.

    A window convolution, dilated residual blocks, the mean over time, h + MLP(h), and one linear layer for
    the shared part a_0 and the slots' own parts a_l. It starts near dw = 0, so that a model starts as the
    plain generator.

    Args:
        coefficients: rows of a window: expression, then 3 angles and 3 of translation.
        radius: frames on each side.
        width: of all layers.
        directions: of the code book.
        slots: style slots of the generator.
        w_dim: width of a style code.
        first_kernel: taps of the window convolution.
        kernel: taps of the blocks.
        dilation: of the blocks.
        blocks: how many.
        mlp_layers: of the residual MLP.
        tied: these layers share one weight, as released by oversight.
        plus_scaling: a second set of offsets s, for w_id (1 + s) + dw.
        orthonormal: of the code book.

    Raises:
        ConfigError: an even kernel, or a window too short for the convolutions.

    >>> dw, alpha = MotionController(width=8, w_dim=32, slots=10)(torch.zeros(2, 70, 27))
    >>> dw.shape, alpha.shape
    (torch.Size([2, 10, 32]), torch.Size([2, 10, 20]))
    """

    def __init__(
        self,
        *,
        coefficients: int = 70,
        radius: int = 13,
        width: int = 256,
        directions: int = 20,
        slots: int = 14,
        w_dim: int = 512,
        first_kernel: int = 7,
        kernel: int = 3,
        dilation: int = 3,
        blocks: int = 3,
        mlp_layers: int = 5,
        tied: bool = False,
        plus_scaling: bool = False,
        orthonormal: bool = True,
    ) -> None:
        super().__init__()
        left = 2 * radius + 1 - (first_kernel - 1) - blocks * dilation * (kernel - 1)
        if first_kernel % 2 == 0 or kernel % 2 == 0 or left < 1:
            raise ConfigError(
                f"a window of radius={radius} leaves {left} frames; kernels ({first_kernel}, {kernel}) must "
                "be odd and leave at least one"
            )
        if mlp_layers < 1:
            raise ConfigError(f"mlp_layers={mlp_layers} must be at least 1")
        self.coefficients, self.radius, self.slots = coefficients, radius, slots
        self.first = nn.Conv1d(coefficients, width, first_kernel)
        self.blocks = nn.Sequential(*(DilatedBlock(width, kernel, dilation) for _ in range(blocks)))
        self.mlp_layers = mlp_layers
        self.mlp = nn.ModuleList(nn.Linear(width, width) for _ in range(1 if tied else mlp_layers))
        self.sets = 2 if plus_scaling else 1
        self.last = nn.Linear(width, self.sets * (1 + slots) * directions)
        self.code_book = CodeBook(w_dim, directions, orthonormal=orthonormal)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.xavier_normal_(layer.weight, 0.02)
                nn.init.zeros_(cast("Tensor", layer.bias))

    def alpha(self, windows: Tensor) -> Tensor:
        """(B, coefficients, 2 radius + 1) -> a_0 + a_l, (B, slots, K); (B, 2 slots, K) with plus_scaling.

        Raises:
            ShapeError: other rows or another length.
        """
        if windows.ndim != 3 or windows.shape[1:] != (self.coefficients, 2 * self.radius + 1):
            wanted = f"(B, {self.coefficients}, {2 * self.radius + 1})"
            raise ShapeError(f"expected windows {wanted}, got {tuple(windows.shape)}")
        h = self.blocks(self.first(windows)).mean(2)
        y = h
        for i in range(self.mlp_layers):
            y = self.mlp[i % len(self.mlp)](F.leaky_relu(y, _SLOPE) if i else y)
        rows = self.last(F.leaky_relu(h + y, _SLOPE)).view(h.shape[0], self.sets, 1 + self.slots, -1)
        return cast("Tensor", rows[:, :, :1] + rows[:, :, 1:]).flatten(1, 2)

    def forward(self, windows: Tensor, pose: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Windows -> dw (B, slots, W) and alpha (B, slots, K). O(B L width^2).

        With ``plus_scaling`` both have 2 slots rows: those of dw, then those of s (`move`).

        Args:
            windows: (B, coefficients, 2 radius + 1).
            pose: (B, R): the last R rows are held at these values; None = as they are.

        Raises:
            ShapeError: other rows or another length.
        """
        alpha = self.alpha(windows if pose is None else hold_last_rows(windows, pose))
        return self.code_book(alpha), alpha

    def move(self, w_id: Tensor, dw: Tensor, w_avg: Tensor, std: Tensor | float = 1.0) -> Tensor:
        """Clipped w_id + dw, or w_id (1 + s) + dw with ``plus_scaling``: (B, slots, W).

        Args:
            w_id: (B, 1, W), or (B, slots, W) in W+.
            dw: of `forward`.
            w_avg: (W,), the generator's mean code.
            std: as `clip_codes`.
        """
        # Paper is silent: the scaling's offsets come from the same directions as dw.
        w = w_id if self.sets == 1 else w_id * (1 + dw[:, self.slots :])
        return clip_codes(w + dw[:, : self.slots], w_avg, std)
