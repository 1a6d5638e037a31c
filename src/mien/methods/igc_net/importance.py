"""What of a face an embedder looks at: similarity that is lost when a part gets the mean shape or albedo.

Pictures are compared with pictures of the same net: the object as it is, rendered from its own view under its
own light, against the object with a part ablated. So what the net cannot draw does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.methods.igc_net.edits import Level, ablate, assembly_of, mean_parts
from mien.methods.igc_net.model import IGCNet
from mien.metrics.rates import tar_at_far

Embedder = Callable[[Tensor], Tensor]
"""Pictures (B, 3, S, S) in [0, 1] -> embeddings (B, D)."""


class PartImportance(NamedTuple):
    """Of P parts.

    Attributes:
        parts: their numbers, from 0.
        level: what was replaced.
        drop: (P,) mean of 1 - cosine of the embeddings before and after.
        images: (P, n) of each picture.
        tar: true accept rate before; None without identities.
        tar_drop: (P,) by how much it falls when the probes are ablated; None without identities.
        far: false accept rate of both.
    """

    parts: tuple[int, ...]
    level: Level
    drop: NDArray[np.float64]
    images: NDArray[np.float64]
    tar: float | None
    tar_drop: NDArray[np.float64] | None
    far: float


@torch.no_grad()
def part_importance(
    embedder: Embedder,
    images: Tensor,
    level: Level = "shape",
    parts: Iterable[int] | None = None,
    *,
    net: IGCNet,
    identity: ArrayLike | None = None,
    far: float = 0.01,
) -> PartImportance:
    """How much parts matter to an embedder. O(P n (render + embed)).

    Source: the analysis that the paper proposes; this form of it is a reconstruction.

    Args:
        embedder: any callable; `mien.nn` face nets take such pictures.
        images: (n, 3, S, S) in [0, 1], of the net's size; their mean is what ablated parts become.
        level: "shape" or "albedo".
        parts: their numbers; default all.
        net: the capsule net that takes faces apart.
        identity: (n,) who it is, for rates of acceptance over all pairs of pictures.
        far: false accept rate, whose threshold is that of the pictures before.

    Raises:
        ConfigError: no such level or part, or fewer than two pictures.
        ShapeError: an embedder that answers in another shape.
    """
    if len(images) < 2:
        raise ConfigError(f"{len(images)} pictures have no mean to put in a part's place; give 2 or more")
    obj = net.encode(images)
    mean, assembly = mean_parts(obj), assembly_of(net)
    chosen = tuple(range(len(obj.parts)) if parts is None else parts)

    def embedded(pictures: Tensor) -> Tensor:
        code = embedder(pictures)
        if code.ndim != 2 or len(code) != len(images):
            raise ShapeError(f"the embedder must answer ({len(images)}, D), got {tuple(code.shape)}")
        return F.normalize(code.double(), dim=1)

    before = embedded(net.render(obj).image)
    after = [embedded(net.render(ablate(obj, level, [m], mean, assembly)).image) for m in chosen]
    lost = np.stack([(1 - (before * code).sum(1)).cpu().numpy() for code in after])
    tar, falls = None, None
    if identity is not None:
        rate, threshold, same = _accepted(before, np.asarray(identity), far)
        tar = rate
        falls = np.array([rate - _rate(code @ before.mT, same, threshold) for code in after])
    return PartImportance(chosen, level, lost.mean(1), lost, tar, falls, far)


def _accepted(
    code: Tensor, identity: NDArray[np.int64], far: float
) -> tuple[float, float, NDArray[np.bool_]]:
    """Rate and threshold over all pairs (n, n), and which are of one person."""
    same = identity[:, None] == identity[None]
    scores, (i, j) = (code @ code.mT).cpu().numpy(), np.triu_indices(len(identity), 1)
    (point,) = tar_at_far(scores[i, j], same[i, j], far, bootstrap="none")
    return point.tar, point.threshold, same


def _rate(scores: Tensor, same: NDArray[np.bool_], threshold: float) -> float:
    """Share of pairs of different pictures of one person that reach the threshold."""
    genuine = same & ~np.eye(len(same), dtype=np.bool_)
    return float((scores.cpu().numpy()[genuine] >= threshold).mean())
