"""Where a token lies on a face, as a learnable code: b_i = sum over anchors of P[I(scale D(i, anchor))].

D = D~ + gamma D_face, in units of the student's stride: D~ is the Euclidean distance to the anchor, D_face
one of two distances to the five landmarks. I is the piecewise index of iRPE (arXiv 2107.14222).
Reconstruction: CAKD (arXiv 2306.14662) names these parts; formulas of D_face, anchors and scale are ours.

Everything is measured in pixels of the picture, so that grids of different strides and offsets agree: (0, 0)
is the outer corner of the first pixel, x to the right, y down; landmarks that count from the centre of that
pixel, as those of `mien.data` do, need 0.5 more. Letters: N tokens, A anchors, K buckets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.nn.face_net import FaceNet
from mien.nn.face_vit import FaceViT
from mien.render.alignment import TEMPLATE

Kind = Literal["euclid", "saliency", "relative"]
Anchors = Literal["centre", "landmarks"]
Pif = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """The tokens of a net over a square picture; the first token starts at its upper left corner.

    Attributes:
        height: tokens in a column.
        width: tokens in a row.
        stride: side of a token, pixels.
        size: side of the picture, pixels; a grid may leave some of it out.
    """

    height: int
    width: int
    stride: float
    size: float

    @classmethod
    def of(cls, net: FaceNet, tap: str | None = None) -> Grid:
        """The grid of a map of a face net; by default of the last one.

        A `FaceViT` leaves ``size % patch`` pixels out; the maps of the other nets cover the picture.

        Raises:
            ConfigError: the net has no such map.
        """
        name = list(net.taps)[-1] if tap is None else tap
        if name not in net.taps:
            raise ConfigError(f"no map {name!r}; known: {', '.join(net.taps)}")
        _, height, width = net.taps[name]
        stride = net.patch if isinstance(net, FaceViT) else net.size / height
        return cls(height, width, float(stride), float(net.size))

    def centres(self) -> Tensor:
        """Centre (x, y) of each token, row by row, pixels: (N, 2).

        >>> Grid(1, 2, 16, 32).centres()
        tensor([[ 8.,  8.],
                [24.,  8.]])
        """
        v, u = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        return (torch.stack([u, v], -1).flatten(0, 1) + 0.5) * self.stride


def template_landmarks(size: float) -> Tensor:
    """Eyes, nose tip and mouth corners of an aligned face of any size, pixels: (5, 2).

    The template's numbers as they are, scaled: half a pixel of 112 off, as they count from pixel centres.
    """
    return torch.from_numpy(TEMPLATE).float() * (size / 112)


def flip_landmarks(landmarks: Tensor, size: float) -> Tensor:
    """Landmarks (..., 5, 2) of the mirrored picture: x becomes size - x, and left and right change names.

    For landmarks that count from pixel centres give ``size - 1``.

    >>> flip_landmarks(torch.tensor([[1.0, 2], [6, 2], [4, 4], [2, 6], [5, 6]]), 8)[0]
    tensor([2., 2.])
    """
    swapped = landmarks[..., [1, 0, 2, 4, 3], :]
    return torch.stack([size - swapped[..., 0], swapped[..., 1]], -1)


def piecewise_index(x: Tensor, a: float, b: float, g: float) -> Tensor:
    """I(x) = round(x) up to |x| = a, then sign(x) min(b, round(a + (b - a) ln(|x| / a) / ln(g / a))).

    Rounds half to even; what is left of b is cut off, as in the released code of iRPE.

    Args:
        x: distances of any shape.
        a: up to here buckets are one unit wide.
        b: the last bucket.
        g: where the logarithm reaches b.

    >>> piecewise_index(torch.tensor([0.0, 1.2, 1.6, 2, 3, 5, 9, 17, 40]), 2, 8, 32).tolist()
    [0, 1, 2, 2, 3, 4, 5, 7, 8]
    """
    size = x.double().abs()
    far = a + (size.clamp(min=a) / a).log() / math.log(g / a) * (b - a)
    return (x.sign() * torch.where(size <= a, size.round(), far.round().clamp(max=b))).long()


def n_buckets(pif: Pif) -> int:
    """Buckets of distances from 0: 0, 1 .. floor(b).

    >>> n_buckets((2, 8, 32)), n_buckets((1.9, 3.8, 15.2))
    (9, 4)
    """
    return max(round(pif[0]), math.floor(pif[1])) + 1


def landmark_distances(points: Tensor, landmarks: Tensor) -> Tensor:
    """||p - m_k||: points (..., N, 2), landmarks (..., 5, 2) -> (..., N, 5)."""
    d: Tensor = torch.linalg.vector_norm(points[..., :, None, :] - landmarks[..., None, :, :], dim=-1)
    return d


def euclid_distance(points: Tensor, anchors: Tensor) -> Tensor:
    """D~(i, anchor) = ||g_i - anchor||: points (N, 2), anchors (..., A, 2) -> (..., A, N)."""
    d: Tensor = torch.linalg.vector_norm(points - anchors[..., None, :], dim=-1)
    return d


def saliency_distance(points: Tensor, landmarks: Tensor) -> Tensor:
    """D_sal(i) = min_k ||g_i - m_k||, how far the nearest landmark is: (N, 2), (..., 5, 2) -> (..., N)."""
    return landmark_distances(points, landmarks).amin(-1)


def relative_distance(points: Tensor, anchors: Tensor, landmarks: Tensor) -> Tensor:
    """D_rel(i, anchor) = sqrt(mean_k (||g_i - m_k|| - ||anchor - m_k||)^2).

    How much the distances of a token to the landmarks differ from those of the anchor.

    Args:
        points: (N, 2).
        anchors: (..., A, 2).
        landmarks: (..., 5, 2).

    Returns:
        (..., A, N).
    """
    own, its = landmark_distances(points, landmarks), landmark_distances(anchors, landmarks)
    return (own[..., None, :, :] - its[..., :, None, :]).square().mean(-1).sqrt()


def facial_distance(points: Tensor, anchors: Tensor, landmarks: Tensor, kind: Kind, gamma: float) -> Tensor:
    """D(i, anchor) = D~(i, anchor) + gamma D_face(i, anchor), all in the unit of the arguments.

    Args:
        points: (N, 2).
        anchors: (..., A, 2).
        landmarks: (..., 5, 2).
        kind: which D_face; "euclid" has none.
        gamma: its weight.

    Returns:
        (..., A, N).
    """
    d = euclid_distance(points, anchors)
    if kind == "saliency":
        return d + gamma * saliency_distance(points, landmarks)[..., None, :]
    if kind == "relative":
        return d + gamma * relative_distance(points, anchors, landmarks)
    return d


class FacialPositionEncoding(nn.Module):
    """Position codes b (N, dim), or (B, N, dim) with landmarks of each picture, from a table P (K, dim).

    Args:
        grid: of the tokens.
        landmarks: (5, 2) pixels, for all pictures; None = `template_landmarks`.
        kind: "euclid" knows the grid only, "saliency" and "relative" the face.
        gamma: weight of the facial distance; 0 = "euclid".
        pif: a, b, g of `piecewise_index`.
        dim: width of a code.
        unit: what distances are divided by, pixels: the stride of the student; None = that of ``grid``.
        scale: factor of the distances before the index; 2 spreads a 7 x 7 map over the 9 buckets.
        anchors: "centre" of the picture, or each of the "landmarks", whose codes add up.
        table: P of another encoding, to share it; None = a new one.
        start: standard deviation of a new table; as large as the tokens', so that places tell apart at once.

    Attributes:
        table: P.

    Raises:
        ConfigError: an unknown option, a, b, g not rising from above 0, or a table that does not fit.

    >>> FacialPositionEncoding(Grid(7, 7, 16, 112), kind="saliency", dim=8)().shape
    torch.Size([49, 8])
    """

    fixed: Tensor

    def __init__(
        self,
        grid: Grid,
        landmarks: Tensor | None = None,
        kind: Kind = "saliency",
        gamma: float = 1.0,
        pif: Pif = (2.0, 8.0, 32.0),
        dim: int = 512,
        *,
        unit: float | None = None,
        scale: float = 2.0,
        anchors: Anchors = "centre",
        table: nn.Parameter | None = None,
        start: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value, known in (("kind", kind, get_args(Kind)), ("anchors", anchors, get_args(Anchors))):
            if value not in known:
                raise ConfigError(f"{name}={value!r} is unknown; known: {', '.join(known)}")
        if not 0 < pif[0] < pif[1] or pif[2] <= pif[0]:
            raise ConfigError(f"pif={pif} must be (a, b, g) with 0 < a < b and a < g")
        self.grid, self.kind, self.gamma, self.pif, self.scale = grid, kind, gamma, pif, scale
        self.unit = grid.stride if unit is None else unit
        if self.unit <= 0 or scale <= 0 or gamma < 0:
            raise ConfigError(f"unit={self.unit} and scale={scale} must be above 0, gamma={gamma} at least 0")
        self.anchors = anchors
        if table is not None and table.shape != (n_buckets(pif), dim):
            raise ConfigError(f"table {tuple(table.shape)} must be ({n_buckets(pif)}, {dim})")
        self.table = nn.Parameter(torch.empty(n_buckets(pif), dim)) if table is None else table
        if table is None:
            nn.init.trunc_normal_(self.table, std=start)
        points = template_landmarks(grid.size) if landmarks is None else landmarks
        self.register_buffer("fixed", self.counts(self._checked(points, 2)), persistent=False)

    def forward(self, landmarks: Tensor | None = None) -> Tensor:
        """Codes (N, dim) of the fixed landmarks, or (B, N, dim) of (B, 5, 2) pixels. O(B N K dim).

        Raises:
            ShapeError: landmarks of another shape.
        """
        counts = self.fixed if landmarks is None else self.counts(self._checked(landmarks, 3))
        return counts.to(self.table.dtype) @ self.table

    @torch.no_grad()
    def index(self, landmarks: Tensor) -> Tensor:
        """I(scale D(i, anchor)) of each anchor and token: (..., 5, 2) pixels -> (..., A, N)."""
        m = landmarks.double()
        at = m.new_full((1, 2), self.grid.size / 2) if self.anchors == "centre" else m
        d = facial_distance(self.grid.centres().to(m), at, m, self.kind, self.gamma) / self.unit
        return piecewise_index(self.scale * d, *self.pif)

    def counts(self, landmarks: Tensor) -> Tensor:
        """How often a token looks up each bucket, summed over the anchors: (..., 5, 2) -> (..., N, K)."""
        return nn.functional.one_hot(self.index(landmarks), n_buckets(self.pif)).sum(-3).float()

    def _checked(self, landmarks: Tensor, dims: int) -> Tensor:
        if landmarks.ndim != dims or landmarks.shape[-2:] != (5, 2):
            expected = "(5, 2)" if dims == 2 else "(B, 5, 2)"
            raise ShapeError(f"expected landmarks {expected}, got {tuple(landmarks.shape)}")
        return landmarks
