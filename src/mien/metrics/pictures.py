"""How alike two pictures are: one number per picture, so that comparisons can be paired.

PSNR and SSIM are torchmetrics'; ours are the restriction to a mask and the checks at the door. Whatever needs
other people's weights (LPIPS) is a callable of the user.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from mien.core.errors import ConfigError, DataError, ShapeError

Border = Literal["valid", "reflect"]
WINDOW, SIGMA = 11, 1.5
"""Side in pixels and standard deviation of the Gaussian window of SSIM."""


def check_pictures(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mask of two batches of pictures as booleans (B, 1, H, W); all true without one.

    Raises:
        ShapeError: the pictures or the mask are not alike.
        DataError: a mask without a pixel in it.
    """
    if pred.ndim != 4 or pred.shape != target.shape:
        raise ShapeError(
            f"expected pictures (B, C, H, W) of one shape, got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    shape = (len(pred), 1, *pred.shape[2:])
    if mask is None:
        return torch.ones(shape, dtype=torch.bool, device=pred.device)
    inside = mask[:, None] if mask.ndim == 3 else mask
    if inside.shape != shape:
        raise ShapeError(f"mask {tuple(mask.shape)} must be (B, H, W) or (B, 1, H, W) with {shape}")
    inside = inside > 0.5 if inside.is_floating_point() else inside.bool()
    check_any(inside)
    return inside


def check_any(mask: Tensor) -> None:
    """Raises DataError, with the number of the picture, where a mask (B, ...) is empty."""
    empty = (~mask.flatten(1).any(1)).nonzero().flatten()
    if len(empty):
        raise DataError(f"the mask of picture {int(empty[0])} holds no pixel; leave that picture out")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over channels and over the pixels of a mask: (B, C, H, W), (B, 1, H, W) -> (B,). O(B C H W)."""
    kept = torch.where(mask, values, values.new_zeros(()))
    return kept.sum((1, 2, 3)) / (mask.sum((1, 2, 3)) * values.shape[1])


def l1_error(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean |x - y| over channels and pixels, for each picture. O(B C H W).

    Args:
        pred: (B, C, H, W).
        target: (B, C, H, W).
        mask: (B, H, W) or (B, 1, H, W), true (above 0.5) where to look; None: everywhere.

    Returns:
        (B,) in units of the pixels.

    Raises:
        ShapeError: shapes that differ.
        DataError: an empty mask.
    """
    inside = check_pictures(pred, target, mask)
    return masked_mean((pred - target).abs(), inside)


def psnr(pred: Tensor, target: Tensor, mask: Tensor | None = None, *, data_range: float = 1.0) -> Tensor:
    """10 log10(range^2 / MSE) of each picture, in dB; inf where nothing differs. O(B C H W).

    Args:
        pred: (B, C, H, W).
        target: (B, C, H, W).
        mask: (B, H, W) or (B, 1, H, W); the mean square error is taken there. None: everywhere.
        data_range: largest minus smallest possible pixel: 1 for [0, 1], 2 for [-1, 1], 255 for bytes.

    Returns:
        (B,).

    Raises:
        ShapeError, DataError: see `l1_error`.
        ConfigError: a range that is not positive.

    >>> psnr(torch.full((1, 3, 4, 4), 0.1), torch.zeros(1, 3, 4, 4)).round().tolist()
    [20.0]
    """
    _check_range(data_range)
    inside = check_pictures(pred, target, mask)
    if mask is None:
        from torchmetrics.functional.image import peak_signal_noise_ratio

        # Not batched: torchmetrics' own per-picture mode needs the same mean and warns.
        return torch.stack(
            [peak_signal_noise_ratio(p, t, data_range=data_range) for p, t in zip(pred, target, strict=True)]
        )
    return 10 * torch.log10(data_range**2 / masked_mean((pred - target).square(), inside))


def ssim(
    pred: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    data_range: float = 1.0,
    border: Border = "valid",
) -> Tensor:
    """Structural similarity of each picture: Gaussian window of 11 pixels, sigma 1.5, k = (0.01, 0.03).

    O(B C H W).

    Args:
        pred: (B, C, H, W), sides of at least 11.
        target: (B, C, H, W).
        mask: (B, H, W) or (B, 1, H, W), of window centres; None: all.
        data_range: see `psnr`.
        border: "valid": the mean over pixels whose window lies within the picture, 5 from the border on (the
            article, scikit-image); "reflect": over all, the picture mirrored beyond it (torchmetrics).

    Returns:
        (B,), 1 for equal pictures.

    Raises:
        ShapeError: shapes that differ, or smaller than the window.
        DataError: a mask without a pixel away from the border.
        ConfigError: a range that is not positive, or no such border.

    Source: Wang et al., Image quality assessment, 2004.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    _check_range(data_range)
    inside = check_pictures(pred, target, mask)
    if min(pred.shape[2:]) < WINDOW:
        raise ShapeError(f"SSIM needs sides of at least {WINDOW} pixels, got {tuple(pred.shape[2:])}")
    if border not in get_args(Border):
        raise ConfigError(f"no border {border!r}; one of {', '.join(get_args(Border))}")
    _, full = structural_similarity_index_measure(
        pred,
        target,
        sigma=SIGMA,
        kernel_size=WINDOW,
        data_range=data_range,
        reduction="none",
        return_full_image=True,
    )
    if border == "valid":
        edge = WINDOW // 2
        full, inside = (x[..., edge:-edge, edge:-edge] for x in (full, inside))
        check_any(inside)
    return masked_mean(full, inside)


def _check_range(data_range: float) -> None:
    if not data_range > 0:
        raise ConfigError(f"data_range must be above 0, got {data_range}; 1 for pixels in [0, 1]")


def learned_distance(pred: Tensor, target: Tensor, net: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """LPIPS, by a net of the user; mien ships no weights for it.

    Args:
        pred: (B, 3, H, W) in [0, 1].
        target: (B, 3, H, W) in [0, 1].
        net: two batches in [-1, 1], as LPIPS takes them, to B numbers of any shape; say beside the result
            which backbone it has (AlexNet, unless a paper tells otherwise).

    Returns:
        (B,).

    Raises:
        ShapeError: shapes that differ, or the net does not give B numbers.
    """
    check_pictures(pred, target)
    with torch.no_grad():
        out = net(pred * 2 - 1, target * 2 - 1)
    if out.numel() != len(pred):
        raise ShapeError(
            f"the net must give {len(pred)} numbers, got {tuple(out.shape)}; average over pixels"
        )
    return out.flatten()


def feature_distance(
    pred: Tensor, target: Tensor, features: Callable[[Tensor], Tensor | Sequence[Tensor]]
) -> Tensor:
    """A stand-in for LPIPS on any feature net; not comparable with it, nor between nets.

        d = mean over layers, pixels of |f / |f| - g / |g||^2,  |.| over channels, 1e-10 added

    LPIPS without its learned weights of the channels. O(features).

    Args:
        pred: (B, C, H, W), scaled as the net wants it.
        target: (B, C, H, W).
        features: a batch -> one map or vector, or several, each (B, D, ...).

    Returns:
        (B,) within [0, 4].

    Raises:
        ShapeError: shapes that differ, or no features.

    Source: Zhang et al., The unreasonable effectiveness of deep features (arXiv 1801.03924), eq. 1, w = 1.
    """
    check_pictures(pred, target)
    with torch.no_grad():
        first, second = _layers(features(pred)), _layers(features(target))
    if not first or any(f.ndim < 2 or len(f) != len(pred) for f in first):
        raise ShapeError(f"features must be (B, D, ...) with B = {len(pred)}, of one layer or more")
    each = [(_unit(f) - _unit(g)).square().sum(1).flatten(1) for f, g in zip(first, second, strict=True)]
    return torch.stack([d.mean(1) if d.shape[1] else d.sum(1) for d in each]).mean(0)


def _layers(out: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [out] if isinstance(out, Tensor) else list(out)


def _unit(features: Tensor) -> Tensor:
    flat = features.flatten(2) if features.ndim > 2 else features[..., None]
    return flat / (flat.square().sum(1, keepdim=True).sqrt() + 1e-10)


def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)): the distance of two Gaussians fitted to features.

    With features of another net than Inception it is no FID: call it "proxy-FID" and name the net. Grows
    as samples get fewer; compare sets of one size. O(n D^2 + D^3).

    Args:
        first: (n, D), n >= 2.
        second: (m, D), m >= 2.

    Raises:
        ShapeError: other shapes.
        DataError: values that are no numbers.

    >>> frechet_distance([[0.0], [2.0]], [[3.0], [5.0]])
    9.0
    """
    a, b = (np.asarray(v, np.float64) for v in (first, second))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ShapeError(f"expected features (n, D) and (m, D) with n, m >= 2, got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("features that are no numbers; look at the net that made them")
    sa, sb = (np.atleast_2d(np.cov(v, rowvar=False)) for v in (a, b))
    values, vectors = np.linalg.eigh(sa)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    # S1 S2 has the eigenvalues of the symmetric S1^(1/2) S2 S1^(1/2).
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ sb @ root), 0, None)).sum()
    gap = a.mean(0) - b.mean(0)
    return float(max(gap @ gap + np.trace(sa) + np.trace(sb) - 2 * cross, 0.0))


def cosine_similarity(pred: Tensor, target: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """CSIM: the cosine of two pictures' identity embeddings, higher is more alike.

    Judge with a net that took no part in training (the authors' own figures use the net of their loss).
    Same-identity runs compare with the true frame, cross-identity runs with the source portrait.

    Args:
        pred: (B, 3, H, W), aligned as the net wants it.
        target: (B, 3, H, W), or (1, 3, H, W) for all.
        embed: a batch -> (B, D); need not be normalised.

    Returns:
        (B,) within [-1, 1].

    Raises:
        ShapeError: shapes that do not fit, or embeddings that are not (B, D).
    """
    if pred.ndim != 4 or target.shape[1:] != pred.shape[1:] or len(target) not in (1, len(pred)):
        raise ShapeError(
            f"expected pictures (B, 3, H, W) and as many or one, got {tuple(pred.shape)},"
            f" {tuple(target.shape)}"
        )
    with torch.no_grad():
        a, b = embed(pred), embed(target)
    if a.ndim != 2 or len(a) != len(pred) or b.shape != (len(target), a.shape[1]):
        raise ShapeError(f"embeddings must be (B, D), got {tuple(a.shape)} and {tuple(b.shape)}")
    return F.cosine_similarity(a, b.expand_as(a), dim=1)
