"""The losses of NCL and NCL++ as pure functions, then one thin module.

Source: NCL++ (arXiv 2306.16709) and its predecessor NCL (arXiv 2203.15359). Equation numbers are those of
this folder's README.

Shape suffixes: K experts, B rows (copies x images, copy-major), C classes, N hard classes, Q distributions.
Logits enter raw; the prior ln n is added here, in float32, and nowhere else (test-time logits carry none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError

HcmMode = Literal["set", "zero", "restricted"]
Reduction = Literal["paper", "released"]


def log_prior(cls_num_list: Sequence[int] | Tensor) -> Tensor:
    """Ln n_c of eq. (1), ``(C,)`` float32. A class without images counts as one (ln 0 has no use)."""
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
    if logits.ndim != 2 or target.shape != logits.shape[:1] or prior.shape != logits.shape[1:]:
        got = f"{tuple(logits.shape)}, {tuple(target.shape)} and {tuple(prior.shape)}"
        raise ShapeError(f"expected logits (B, C), target (B,) and prior (C,), got {got}")
    return F.cross_entropy(_adjusted(logits, prior), target)


def hard_category_mask(logits: Tensor, target: Tensor, n_hard: int) -> Tensor:
    """The hard set H_i of eq. (3): the target, then the n_hard - 1 negatives with the highest raw score.

    Not differentiated; ties go to the lowest class index. O(B (C + n_hard log n_hard)).

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
        raise ShapeError(
            f"expected logits (B, C) and target (B,), got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if not 1 <= n_hard <= logits.shape[1]:
        raise ConfigError(f"n_hard={n_hard} is outside 1..{logits.shape[1]} (the number of classes)")
    with torch.no_grad():
        # +inf in float32 puts the target first in any precision of the logits.
        forced = logits.detach().float().scatter(1, target[:, None], float("inf"))
        scores, index = forced.topk(n_hard, dim=1)
        # Ties make topk's choice or order arbitrary: then a stable sort, lowest index first.
        is_tied = (forced >= scores[:, -1:]).sum(1) > n_hard
        is_tied |= (scores[:, 1:] == scores[:, :-1]).any(1)
        if bool(is_tied.any()):
            index[is_tied] = forced[is_tied].sort(dim=1, descending=True, stable=True).indices[:, :n_hard]
        return index


def _adjusted(logits: Tensor, prior: Tensor) -> Tensor:
    """Eq. (1): z + ln n, in float32 at least (float64 stays)."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits + prior.to(logits)


def _zeroed(adjusted: Tensor, index_BN: Tensor) -> Tensor:
    """Released "zero" mode: adjusted logits outside H are 0, so each adds exp(0) = 1 to the sum."""
    kept = torch.zeros(adjusted.shape[-2:], dtype=torch.bool, device=adjusted.device)
    kept = kept.scatter(1, index_BN, True)
    return torch.where(kept, adjusted, torch.zeros((), dtype=adjusted.dtype, device=adjusted.device))


def _gathered(adjusted: Tensor, index_BN: Tensor) -> Tensor:
    """Adjusted logits on H only: ``(..., B, N)``."""
    return adjusted.gather(-1, index_BN.expand(*adjusted.shape[:-1], index_BN.shape[-1]))


def _partial(adjusted: Tensor, logp: Tensor, index: Tensor | None, mode: HcmMode) -> Tensor:
    """Log-probabilities on the hard sets in one of the three ways; all of ``logp`` without a hard set.

    Args:
        adjusted: ``(..., B, C)`` of eq. (1).
        logp: its log-softmax.
        index: ``(B, N)``.
        mode: see `balanced_online_distillation`.
    """
    if index is None:
        return logp
    if mode == "set":
        return _gathered(adjusted, index).log_softmax(-1)
    if mode == "zero":
        return _zeroed(adjusted, index).log_softmax(-1)
    # Departs from the released code: gather instead of multiplying by a mask, whose 0 ln 0 gradient is NaN.
    return _gathered(logp, index)


def pairwise_kl(logp_QXC: Tensor) -> Tensor:
    """sum_{a != b} KL(q_a || q_b) of eq. (4) for each row X: log-probabilities ``(Q, ..., C)`` -> ``(...)``.

    Uses sum_{a,b} p_a . (l_a - l_b) = Q sum_a p_a . l_a - (sum_a p_a) . (sum_b l_b): O(Q C), not O(Q^2 C), a
    row. For Q = 2 the equal and numerically kinder (p_1 - p_2) . (l_1 - l_2) is used.
    """
    p = logp_QXC.exp()
    if len(p) == 2:
        return ((p[0] - p[1]) * (logp_QXC[0] - logp_QXC[1])).sum(-1)
    centred = logp_QXC - logp_QXC.mean(
        dim=0
    )  # same sum (its second part is 0), no cancellation of large values
    return len(p) * (p * centred).sum((0, -1))


def _check_options(mode: str, reduction: str) -> None:
    for name, value, known in (
        ("mode", mode, get_args(HcmMode)),
        ("reduction", reduction, get_args(Reduction)),
    ):
        if value not in known:
            raise ConfigError(f"{name}={value!r} is unknown; known: {', '.join(known)}")


def _factor(q: int, mode: HcmMode, reduction: Reduction) -> float:
    """What multiplies the sum over ordered pairs."""
    if reduction == "paper":
        return 1.0 / (q * (q - 1))
    return 1.0 / (q - 1) if mode == "zero" else 2.0 / (q * (q - 1))


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
        mode: with ``index``: "set" renormalises over H; "zero" (NCL release) zeroes the adjusted logits
            outside H; "restricted" (NCL++ release) keeps the full softmax and sums over H only, without
            renormalising.
        reduction: "paper" 1/(Q(Q-1)); "released" 1/(Q-1) in mode "zero", else 2/(Q(Q-1)).

    Returns:
        A scalar; 0 (with zero gradient) for Q = 1.

    >>> z = torch.tensor([[[2.0, 1.0, 0.5, 0.0, -1.0]], [[1.5, 1.4, -0.2, 0.3, -0.6]]])
    >>> round(float(balanced_online_distillation(z, log_prior([50, 20, 10, 4, 2]))), 4)
    0.0642
    """
    _check_options(mode, reduction)
    if logits.ndim != 3 or log_prior.shape != logits.shape[2:]:
        got = f"{tuple(logits.shape)} and {tuple(log_prior.shape)}"
        raise ShapeError(f"expected logits (Q, B, C) and log_prior (C,), got {got}")
    if index is not None and (index.ndim != 2 or len(index) != logits.shape[1]):
        raise ShapeError(f"expected index ({logits.shape[1]}, N), got {tuple(index.shape)}")
    if len(logits) < 2:
        return logits.sum() * 0.0
    adjusted = _adjusted(logits, log_prior)
    logp = _partial(adjusted, adjusted.log_softmax(-1), index, mode)
    return _factor(len(logits), mode, reduction) * pairwise_kl(logp).mean()


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
        _check_options(hcm_mode, reduction)
        if copies < 1:
            raise ConfigError(f"copies={copies} must be at least 1")
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
            index = hard_category_mask(logits[0], target, self.n_hard) if self.n_hard else None
            adjusted = _adjusted(logits, self.prior)
            logp = adjusted.log_softmax(-1)
            hard = None if index is None else _partial(adjusted, logp, index, self.hcm_mode)
            terms = {
                "bal_full": _nll(logp, target),
                **dict.fromkeys(_TERMS, logits.new_zeros((), dtype=logp.dtype)),
            }
            if index is not None:
                terms["bal_hard"] = self._hard_ce(adjusted, hard, index)
            if self.inter and len(logits) > 1:
                terms |= self._nested("inter", logp, hard)
            if self.intra and self.copies > 1:
                # (K, M B, C) -> (M, K, B, C); the first copy's hard set serves all M copies (2.4).
                first = None if index is None else index[: len(target) // self.copies]
                adjusted, logp = (x.unflatten(1, (self.copies, -1)).transpose(0, 1) for x in (adjusted, logp))
                terms |= self._nested(
                    "intra", logp, None if first is None else _partial(adjusted, logp, first, self.hcm_mode)
                )
            loss = self.weight * (terms["bal_full"] + terms["bal_hard"])
            loss = loss + self.lam * (terms["inter_full"] + terms["inter_hard"])
            loss = loss + self.lam_intra * (terms["intra_full"] + terms["intra_hard"])
            return {"loss": loss, **terms}

    def _hard_ce(self, adjusted: Tensor, hard: Tensor | None, index: Tensor) -> Tensor:
        """Eq. (3): supervised hard term, summed over experts, mean over rows; the target is column 0 of H."""
        if self.hcm_mode == "set" and hard is not None:
            return -hard[..., 0].mean(dim=1).sum()
        return -_gathered(_zeroed(adjusted, index).log_softmax(-1), index[:, :1]).mean(dim=1).sum()

    def _nested(self, name: str, logp: Tensor, hard: Tensor | None) -> dict[str, Tensor]:
        """Eq. (4) on all classes and on the hard sets; mean over rows, summed over experts if any."""
        factor = _factor(len(logp), self.hcm_mode, self.reduction)
        parts = {f"{name}_full": logp} | ({} if hard is None else {f"{name}_hard": hard})
        return {key: factor * pairwise_kl(x).mean(-1).sum() for key, x in parts.items()}

    def _check(self, logits: Tensor, target: Tensor) -> None:
        expected = f"(K, M*B, {len(self.prior)})"
        got = f"{tuple(logits.shape)}, {tuple(target.shape)}"
        if logits.ndim != 3 or logits.shape[2] != len(self.prior) or target.shape != logits.shape[1:2]:
            raise ShapeError(f"expected logits {expected} and target (M*B,), got {got}")
        if len(target) % self.copies:
            raise ShapeError(f"{len(target)} rows are not a multiple of copies={self.copies}")


_TERMS = ("bal_hard", "inter_full", "inter_hard", "intra_full", "intra_hard")


def _nll(logp: Tensor, target: Tensor) -> Tensor:
    """Eq. (2) for all experts: mean over rows, summed over experts."""
    return torch.stack([F.nll_loss(row, target) for row in logp]).sum()
