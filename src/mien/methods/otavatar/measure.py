"""What the protocol measures of an avatar's pictures: one value for each of P test people.

Pictures are (P, N, 3, S, S) in [-1, 1], N of each person; landmarks (P, N, 68, 2) in picture sides, the exact
ones as the same camera sees them. Results are arrays (P,): methods are compared person by person.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from mien.core.errors import DataError, ShapeError
from mien.methods.otavatar.expressions import EXPRESSIONS, expression_of
from mien.methods.otavatar.judges import SIDE
from mien.methods.otavatar.rays import MOUTH, box_mask
from mien.metrics.depth import depth_error, reprojection_error
from mien.metrics.motion import average_keypoint_distance
from mien.metrics.pictures import cosine_similarity, l1_error, psnr, ssim
from mien.render.camera import Camera
from mien.render.eg3d import eg3d_rays

Values = NDArray[np.float64]


def per_person(values: Tensor, people: int) -> Values:
    """Means over each person's pictures: (P N,) -> (P,)."""
    return cast("Values", values.detach().double().cpu().view(people, -1).mean(1).numpy())


def picture_measures(pred: Tensor, truth: Tensor, seen: Tensor) -> dict[str, Values]:
    """How near the pictures are to the true ones. O(P N S^2).

    Args:
        pred: (P, N, 3, S, S), S >= 11.
        truth: (P, N, 3, S, S).
        seen: (P, N, 68, 2) true landmarks.

    Returns:
        ``psnr`` in dB, ``ssim``; ``face_l1`` and ``mouth_l1``, mean |error| in [0, 1] within the boxes around
        all landmarks and around the mouth's.

    Raises:
        ShapeError: shapes that do not fit.
        DataError: a box outside the picture.
    """
    people = _check_pictures(pred, truth, seen)
    a, b = (x.flatten(0, 1).clamp(-1, 1) / 2 + 0.5 for x in (pred, truth))
    points, size = seen.flatten(0, 1), pred.shape[-1]
    found = {
        "psnr": psnr(a, b),
        "ssim": ssim(a, b),
        "face_l1": l1_error(a, b, box_mask(points, size)),
        "mouth_l1": l1_error(a, b, box_mask(points[:, MOUTH], size)),
    }
    return {name: per_person(value, people) for name, value in found.items()}


@torch.no_grad()
def motion_measures(pred: Tensor, seen: Tensor, net: nn.Module) -> dict[str, Values]:
    """Whether the face moves as it should, as a landmark net sees it. O(P N S^2).

    Args:
        pred: (P, N, 3, S, S).
        seen: (P, N, 68, 2) true landmarks.
        net: pictures (B, 3, S, S) -> landmarks (B, 68, 2) in picture sides (`LandmarkNet`).

    Returns:
        ``akd``: mean (|dx| + |dy|) / 2 in pixels of 64; ``NAME_error`` for each of `EXPRESSIONS`: mean
        |difference|, in distances of the outer eye corners. Of true pictures they are the net's own error.

    Raises:
        ShapeError: shapes that do not fit.
    """
    people = _check_pictures(pred, pred, seen)
    found, points = net(pred.flatten(0, 1)).cpu(), seen.flatten(0, 1).cpu()
    akd = torch.from_numpy(average_keypoint_distance(SIDE * found.numpy(), SIDE * points.numpy()))
    errors = (expression_of(found) - expression_of(points)).abs()
    out = {"akd": per_person(akd, people)}
    return out | {
        f"{name}_error": per_person(error, people)
        for name, error in zip(EXPRESSIONS, errors.unbind(1), strict=True)
    }


def likeness(pred: Tensor, truth: Tensor, embed: Callable[[Tensor], Tensor]) -> Values:
    """CSIM, mean over a person's pictures: (P,) in [-1, 1].

    Args:
        pred: (P, N, 3, S, S).
        truth: (P, N, 3, S, S), or (P, 1, 3, S, S): the source portrait.
        embed: of a net that took no part in training (`IdentityNet`).

    Raises:
        ShapeError: shapes that do not fit.
    """
    people, count = pred.shape[:2]
    whole = truth.expand(-1, count, -1, -1, -1) if truth.shape[1] == 1 else truth
    return per_person(cosine_similarity(pred.flatten(0, 1), whole.flatten(0, 1), embed), people)


def leak_ratios(codes: Tensor) -> Values:
    """How far apart codes of one person are, over how far apart those of two people are: (P,). O(P N D).

        r_p = E_ij |w_pi - w_pj|^2 / E_n,pq |w_pn - w_qn|^2,   i != j, p != q

    The divisor is 2 Var over people. 0: a code knows nothing of the expression that it was read from; 1:
    nothing of the person.

    Args:
        codes: (P, N, ...) of N pictures of each person, P >= 2, N >= 2; style codes or embeddings.

    Raises:
        ShapeError: too few people or codes.
        DataError: all people have one code.
    """
    if codes.ndim < 3 or codes.shape[0] < 2 or codes.shape[1] < 2:
        raise ShapeError(f"expected codes (P >= 2, N >= 2, D), got {tuple(codes.shape)}")
    flat = codes.detach().double().cpu().flatten(2)
    own = 2 * flat.var(1).sum(1)  # E |a - b|^2 over pairs = 2 Var with n - 1
    among = 2 * flat.var(0).sum(1).mean()
    if not among > 0:
        raise DataError("the codes of all people are equal; there is nothing to compare with")
    return cast("Values", (own / among).numpy())


def shape_errors(pred: Tensor, truth: Tensor, opacity: Tensor | None = None) -> Values:
    """Mean |distance along the ray - the true one|, in cubes, where both see the head: (P,). O(P N S^2).

    Args:
        pred: (P, N, S, S) distance along the ray.
        truth: (P, N, S, S), inf = background.
        opacity: (P, N, S, S) of the prediction; pixels below 1/2 are left out. None: all count.

    Raises:
        ShapeError: shapes that do not fit.
        DataError: a picture without a pixel to compare.
    """
    people = pred.shape[0]
    inside = truth.isfinite() if opacity is None else truth.isfinite() & (opacity > 0.5)
    return per_person(depth_error(*(x.flatten(0, 1) for x in (pred, truth, inside))), people)


def axis_depths(lengths: Tensor, cameras: Tensor) -> Tensor:
    """Distances along rays (B, S, S) -> depths along the optical axis, for cameras (B, 25). O(B S^2).

    z = d (direction . forward).
    """
    forward = cameras[:, :16].view(-1, 4, 4)[:, :3, 2]
    return lengths * torch.einsum("bijk,bk->bij", eg3d_rays(cameras, lengths.shape[-1]).directions, forward)


def view_consistency(images: Tensor, lengths: Tensor, cameras: Tensor, opacity: Tensor) -> dict[str, Values]:
    """Whether the views of a moment show one object: each carried into the first by its depth. O(P V S^2).

    Args:
        images: (P, V, 3, S, S) of one moment, V >= 2.
        lengths: (P, V, S, S) distances along the rays.
        cameras: (P, V, 25).
        opacity: (P, V, S, S); below 1/2 is background.

    Returns:
        ``view_l1``: mean |colour difference| in [0, 1] of what both see, nan where they share nothing;
        ``view_share``: of the head's pixels that are compared.

    Raises:
        ShapeError: shapes that do not fit.
        DataError: a view without a head.
    """
    people, views, _, size = images.shape[:4]
    if views < 2:
        raise ShapeError(f"expected at least 2 views of a moment, got {views}")
    background = opacity.flatten(0, 1) <= 0.5
    depth = axis_depths(lengths.flatten(0, 1), cameras.flatten(0, 1)).masked_fill(background, torch.inf)
    depth, colors = depth.view_as(lengths), images.clamp(-1, 1) / 2 + 0.5

    def side(pick: slice, repeats: int) -> tuple[Tensor, Tensor, Camera]:
        chosen = [x[:, pick].repeat_interleave(repeats, 1).flatten(0, 1) for x in (colors, depth, cameras)]
        return chosen[0], chosen[1], Camera.from_eg3d(chosen[2], size, size)

    found = reprojection_error(*side(slice(1, None), 1), *side(slice(0, 1), views - 1))
    return {"view_l1": per_person(found.color, people), "view_share": per_person(found.share, people)}


def control_measures(asked: ArrayLike, measured: ArrayLike) -> dict[str, Values]:
    """Whether what is measured follows what is asked, person by person. O(P K^2).

    Args:
        asked: (K,) values of a sweep, rising, K >= 2.
        measured: (P, K).

    Returns:
        ``spearman`` and ``kendall`` (tau-b), 0 where nothing moves; ``rising``: share of steps that go up.

    Raises:
        ShapeError: shapes that do not fit.
        DataError: values that do not rise or are no numbers.
    """
    from scipy.stats import kendalltau, spearmanr

    x, y = np.asarray(asked, np.float64), np.asarray(measured, np.float64)
    if x.ndim != 1 or len(x) < 2 or y.ndim != 2 or y.shape[1] != len(x):
        raise ShapeError(f"expected a sweep (K >= 2,) and measures (P, K), got {x.shape} and {y.shape}")
    if not ((np.diff(x) > 0).all() and np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("a sweep must rise from step to step, and all measures must be numbers")

    def each(rank: Callable[[Any, Any], Any]) -> Values:
        return np.array([rank(x, row)[0] if np.ptp(row) > 0 else 0.0 for row in y])

    return {
        "spearman": each(spearmanr),
        "kendall": each(kendalltau),
        "rising": cast("Values", (np.diff(y) > 0).mean(1)),
    }


def _check_pictures(pred: Tensor, truth: Tensor, seen: Tensor) -> int:
    """The number of people."""
    if pred.ndim != 5 or pred.shape != truth.shape or seen.shape != (*pred.shape[:2], 68, 2):
        got = ", ".join(str(tuple(x.shape)) for x in (pred, truth, seen))
        raise ShapeError(f"expected pictures (P, N, 3, S, S) twice and landmarks (P, N, 68, 2), got {got}")
    return len(pred)
