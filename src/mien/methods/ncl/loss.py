"""The losses of NCL and NCL++ as pure functions, then one thin module.

Source: NCL++ (arXiv 2306.16709) and its predecessor NCL (arXiv 2203.15359). Equation numbers are those of this
folder's README.

Shape suffixes: K experts, B rows (copies x images, copy-major), C classes, N hard classes, Q distributions.
Logits enter raw; the prior ln n is added here, in float32, and nowhere else (test-time logits carry none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError

HcmMode = Literal["set", "zero", "restricted"]
Reduction = Literal["paper", "released"]


def log_prior(cls_num_list: Sequence[int] | Tensor) -> Tensor:
    """ln n_c of eq. (1), ``(C,)`` float32. A class without images counts as one (ln 0 has no use)."""
    counts = torch.as_tensor(cls_num_list, dtype=torch.float64)
    if counts.ndim != 1 or not len(counts) or (counts < 0).any() or not torch.isfinite(counts).all():
        raise ConfigError("cls_num_list must be a list of non-negative counts, one per class")
    return counts.clamp(min=1).log().float()


def balanced_cross_entropy(logits: Tensor, target: Tensor, prior: Tensor) -> Tensor:
    """Balanced softmax, eq. (2): mean_i -ln softmax(z_i + ln n)[y_i].

    Args:
        logits: ``(B, C)`` raw.
        target: ``(B,)``.
        prior: ``(C,)`` of `log_prior`.

    >>> z, y = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([2])
    >>> round(float(balanced_cross_entropy(z, y, log_prior([100, 10, 1]))), 4)
    6.6426
    """
    return F.cross_entropy(_adjusted(logits, prior), target)


def hard_category_mask(logits: Tensor, target: Tensor, n_hard: int) -> Tensor:
    """The hard set H_i of eq. (3): the target, then the n_hard - 1 negatives with the highest raw score.

    Not differentiated; ties go to the lowest class index. O(B C log C).

    Args:
        logits: ``(B, C)`` raw logits of expert 0.
        target: ``(B,)``.
        n_hard: size of the set, 1 <= n_hard <= C.

    Returns:
        ``(B, n_hard)`` int64, the target at column 0.

    >>> hard_category_mask(torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0]]), torch.tensor([3]), 3).tolist()
    [[3, 0, 1]]
    """
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise ShapeError(f"expected logits (B, C) and target (B,), got {tuple(logits.shape)} and {tuple(target.shape)}")
    if not 1 <= n_hard <= logits.shape[1]:
        raise ConfigError(f"n_hard={n_hard} is outside 1..{logits.shape[1]} (the number of classes)")
    with torch.no_grad():
        # +inf in float32 puts the target first in any precision of the logits; stable sort = lowest index first.
        forced = logits.detach().float().scatter(1, target[:, None], float("inf"))
        if n_hard * 4 < logits.shape[1] and not _has_ties(forced, n_hard):
            return forced.topk(n_hard, dim=1).indices
        return forced.sort(dim=1, descending=True, stable=True).indices[:, :n_hard]


def _has_ties(scores_BC: Tensor, n_hard: int) -> bool:
    """Whether topk's choice or order could depend on equal scores among the first n_hard + 1."""
    top = scores_BC.topk(min(n_hard + 1, scores_BC.shape[1]), dim=1).values
    return bool((top[:, 1:] == top[:, :-1]).any())


def _adjusted(logits: Tensor, prior: Tensor) -> Tensor:
    """Eq. (1): z + ln n, in float32 at least (float64 stays)."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits + prior.to(logits)


def _zeroed(adjusted: Tensor, index_BN: Tensor) -> Tensor:
    """Released "zero" mode: adjusted logits outside H are 0, so each still adds exp(0) = 1 to the partition sum."""
    kept = torch.zeros(adjusted.shape[-2:], dtype=torch.bool, device=adjusted.device)
    kept = kept.scatter(1, index_BN, True)
    return torch.where(kept, adjusted, torch.zeros((), dtype=adjusted.dtype, device=adjusted.device))


def _gathered(adjusted: Tensor, index_BN: Tensor) -> Tensor:
    """Adjusted logits on H only: ``(..., B, N)``."""
    return adjusted.gather(-1, index_BN.expand(*adjusted.shape[:-1], index_BN.shape[-1]))


def pairwise_kl(logp_QBC: Tensor) -> Tensor:
    """sum_{a != b} mean_i KL(q_a || q_b) of eq. (4) from log-probabilities ``(Q, B, C)``.

    Uses sum_{a,b} p_a . (l_a - l_b) = Q sum_a p_a . l_a - (sum_a p_a) . (sum_b l_b): O(Q B C), not O(Q^2 B C).
    For Q = 2 the equal and numerically kinder (p_1 - p_2) . (l_1 - l_2) is used.
    """
    p = logp_QBC.exp()
    if len(logp_QBC) == 2:
        terms = (p[0] - p[1]) * (logp_QBC[0] - logp_QBC[1])
    else:
        centred = logp_QBC - logp_QBC.mean(dim=0)  # the same sum, without cancellation of large log-probabilities
        terms = len(p) * (p * centred).sum(0) - p.sum(0) * centred.sum(0)
    return terms.sum(-1).mean()


def balanced_online_distillation(
    logits: Tensor,
    log_prior: Tensor,
    index: Tensor | None = None,
    mode: HcmMode = "set",
    reduction: Reduction = "paper",
) -> Tensor:
    """Balanced online distillation, eq. (4): mean over ordered pairs of KL(q_a || q_b). No stop-gradient.

    Args:
        logits: ``(Q, B, C)`` raw logits of Q experts, or of Q copies in one expert.
        log_prior: ``(C,)``.
        index: ``(B, N)`` hard sets; None = all classes.
        mode: with ``index``: "set" renormalises over H; "zero" (NCL release) zeroes the adjusted logits outside
            H; "restricted" (NCL++ release) keeps the full softmax and sums over H only, without
            renormalising.
        reduction: "paper" 1/(Q(Q-1)); "released" 1/(Q-1) in mode "zero", 2/(Q(Q-1)) in mode "restricted" and
            for "set" (whose full terms the NCL++ release scales so).

    Returns:
        A scalar; 0 (with zero gradient) for Q = 1.
    """
    if logits.ndim != 3:
        raise ShapeError(f"expected logits (Q, B, C), got {tuple(logits.shape)}")
    q = len(logits)
    if q < 2:
        return logits.sum() * 0.0
    adjusted = _adjusted(logits, log_prior)
    if index is None:
        logp = adjusted.log_softmax(-1)
    elif mode == "set":
        logp = _gathered(adjusted, index).log_softmax(-1)
    elif mode == "zero":
        logp = _zeroed(adjusted, index).log_softmax(-1)
    else:
        # Departs from the released code: gather instead of multiplying by a mask, whose 0 ln 0 gradient is NaN.
        logp = _gathered(adjusted.log_softmax(-1), index)
    if reduction == "paper":
        factor = 1.0 / (q * (q - 1))
    else:
        factor = 1.0 / (q - 1) if mode == "zero" else 2.0 / (q * (q - 1))
    return factor * pairwise_kl(logp)


class BalancedSoftmaxLoss(nn.Module):
    """`balanced_cross_entropy` with fixed counts (Ren et al. 2020; eq. 2)."""

    prior: Tensor

    def __init__(self, cls_num_list: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("prior", log_prior(cls_num_list), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss of ``(B, C)`` logits."""
        return balanced_cross_entropy(logits, target, self.prior)


class NCLLoss(nn.Module):
    """The total loss of NCL (eq. 5: ``inter=True``) and NCL++ (eq. 6: ``intra=True`` as well).

    L = bal_full + bal_hard + lam (inter_full + inter_hard) + lam_intra (intra_full + intra_hard)

    Args:
        cls_num_list: training images of each class.
        n_hard: N; None = max(2, int(hard_ratio C)); 0 = no hard terms at all.
        hard_ratio: see ``n_hard``.
        lam: weight of collaboration.
        lam_intra: weight of IntraCL, default ``lam``.
        hcm_mode: see `balanced_online_distillation`; "restricted" has a zero-mode supervised hard term.
        reduction: see there.
        inter: collaboration between experts.
        intra: collaboration between copies in each expert.
        copies: M, augmented copies of each image, stacked copy-major: rows m B + i are copy m of image i.
        balanced: add the prior ln n; False gives plain softmax terms (for controls).
        weight: factor of the supervised terms (for the loss-scale control).
    """

    prior: Tensor

    def __init__(
        self,
        cls_num_list: Sequence[int],
        n_hard: int | None = None,
        hard_ratio: float = 0.3,
        lam: float = 0.6,
        lam_intra: float | None = None,
        hcm_mode: HcmMode = "set",
        reduction: Reduction = "paper",
        inter: bool = True,
        intra: bool = False,
        copies: int = 1,
        balanced: bool = True,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        prior = log_prior(cls_num_list)
        self.register_buffer("prior", prior if balanced else torch.zeros_like(prior), persistent=False)
        self.n_hard = max(2, int(hard_ratio * len(prior))) if n_hard is None else n_hard
        if not 0 <= self.n_hard <= len(prior):
            raise ConfigError(f"n_hard={self.n_hard} is outside 0..{len(prior)} (the number of classes)")
        self.lam, self.lam_intra = lam, lam if lam_intra is None else lam_intra
        self.hcm_mode, self.reduction = hcm_mode, reduction
        self.inter, self.intra, self.copies, self.weight = inter, intra, copies, weight

    def forward(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """All terms, unweighted, and the weighted ``loss``.

        Args:
            logits: ``(K, M B, C)`` raw, copy-major.
            target: ``(M B,)``; every copy of an image has its label.
        """
        self._check(logits, target)
        # AMP: autocast may hand us half-precision logits; the loss is always float32 or float64.
        with torch.autocast(logits.device.type, enabled=False):
            zero = logits.sum() * 0.0
            index = hard_category_mask(logits[0], target, self.n_hard) if self.n_hard else None
            terms = {"bal_full": sum_over(balanced_cross_entropy(z, target, self.prior) for z in logits)}
            terms["bal_hard"] = zero if index is None else self._hard_ce(logits, target, index)
            inter = logits if self.inter else logits[:1]
            terms["inter_full"], terms["inter_hard"] = self._nested(inter, index)
            full, hard = zero, zero
            if self.intra and self.copies > 1:
                # The hard set of the first copy serves all M copies (section 2.4).
                first = None if index is None else index[: len(target) // self.copies]
                pairs = [self._nested(z.unflatten(0, (self.copies, -1)), first) for z in logits]
                full, hard = sum_over(p[0] for p in pairs), sum_over(p[1] for p in pairs)
            terms["intra_full"], terms["intra_hard"] = full, hard
            loss = self.weight * (terms["bal_full"] + terms["bal_hard"])
            loss = loss + self.lam * (terms["inter_full"] + terms["inter_hard"])
            loss = loss + self.lam_intra * (terms["intra_full"] + terms["intra_hard"])
            return {"loss": loss, **terms}

    def _hard_ce(self, logits: Tensor, target: Tensor, index: Tensor) -> Tensor:
        """Eq. (3): supervised hard term, summed over experts, mean over rows; the target is column 0 of H."""
        adjusted = _adjusted(logits, self.prior)
        if self.hcm_mode == "set":
            logp = _gathered(adjusted, index).log_softmax(-1)[..., 0]
        else:
            logp = _gathered(_zeroed(adjusted, index).log_softmax(-1), index[:, :1])[..., 0]
        return -logp.mean(dim=1).sum()

    def _nested(self, logits: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
        """Eq. (4) on all classes and on the hard sets: (full, hard)."""
        kind = (self.hcm_mode, self.reduction)
        full = balanced_online_distillation(logits, self.prior, None, *kind)
        hard = full * 0.0 if index is None else balanced_online_distillation(logits, self.prior, index, *kind)
        return full, hard

    def _check(self, logits: Tensor, target: Tensor) -> None:
        expected = f"(K, M*B, {len(self.prior)})"
        if logits.ndim != 3 or logits.shape[2] != len(self.prior) or target.shape != logits.shape[1:2]:
            raise ShapeError(f"expected logits {expected} and target (M*B,), got {tuple(logits.shape)}, {tuple(target.shape)}")
        if len(target) % self.copies:
            raise ShapeError(f"{len(target)} rows are not a multiple of copies={self.copies}")


def sum_over(terms: object) -> Tensor:
    """Sum of an iterable of scalars as a tensor."""
    return torch.stack(list(terms)).sum()  # type: ignore[call-overload]
