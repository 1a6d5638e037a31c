"""Other ways to let a transformer teach a convolutional net, to compare with. Each works on maps of features.

Shape letters: B images, C and E channels of student and teacher, N places, d width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.losses.numerics import full_precision
from mien.methods.cakd.attention import attend
from mien.methods.cakd.loss import scale_gradient


def resampled(teacher: Tensor, student: Tensor) -> Tensor:
    """The teacher's map (B, E, H, W) at the height and width of the student's (B, C, h, w).

    Raises:
        ShapeError: no two maps of the same pictures.
    """
    if teacher.ndim != 4 or student.ndim != 4 or len(teacher) != len(student):
        got = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ShapeError(f"expected maps (B, C, h, w) and (B, E, H, W), got {got}")
    if teacher.shape[2:] == student.shape[2:]:
        return teacher
    return F.interpolate(teacher, student.shape[2:], mode="bilinear", antialias=True)


class PixelMSELoss(nn.Module):
    """FitNet (arXiv 1412.6550) on maps: mean square of r(f_s) - f_t, pixel against pixel.

    r is a 1x1 convolution where the widths differ; the teacher's map is resampled to the student's size.

    Args:
        student: C.
        teacher: E.
        eta: share of the gradient that reaches a teacher with prompts; 0 = none.
    """

    def __init__(self, student: int, teacher: int, eta: float = 0.0) -> None:
        super().__init__()
        self.regressor = nn.Identity() if student == teacher else nn.Conv2d(student, teacher, 1)
        self.eta = eta

    def forward(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        """Maps (B, C, h, w) and (B, E, H, W) -> scalar.

        Raises:
            ShapeError: no two maps of the same pictures.
        """
        f_t = scale_gradient(full_precision(resampled(f_t, f_s)), self.eta)
        return F.mse_loss(full_precision(self.regressor(f_s)), f_t)


class CrossAttentionLoss(nn.Module):
    """A partially cross attention projector, after Liu et al. (arXiv 2207.05273).

    Three 3x3 convolutions map the student to Q, K and V, of which any may be exchanged for the teacher's
    before its attention is compared:

        L = MSE(att(Q_t, K_t, V_t), att(g(Q_s), g(K_s), g(V_s))) + MSE(V_t V_t^T, V_s V_s^T) / d.

    Departs from the paper: the teacher's Q, K and V are all its tokens, not those of its last block, and the
    group-wise linear projector and the adversarial views are left out.

    Args:
        student: C.
        teacher: E = d.
        exchange: chance of each of the three to be the teacher's, in training.

    Raises:
        ConfigError: a chance outside [0, 1].
    """

    def __init__(self, student: int, teacher: int, exchange: float = 0.5) -> None:
        super().__init__()
        if not 0 <= exchange <= 1:
            raise ConfigError(f"exchange={exchange} is outside [0, 1]")
        self.projections = nn.ModuleList(nn.Conv2d(student, teacher, 3, padding=1) for _ in range(3))
        self.exchange = exchange

    def forward(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        """Maps (B, C, h, w) and (B, E, H, W) -> scalar. O(B N^2 d).

        Raises:
            ShapeError: no two maps of the same pictures.
        """
        t = full_precision(resampled(f_t.detach(), f_s)).flatten(2).transpose(1, 2)
        qkv = [full_precision(layer(f_s)).flatten(2).transpose(1, 2) for layer in self.projections]
        chance = self.exchange if self.training else 0.0
        taken = (torch.rand(3) < chance).tolist()
        mixed = [t if take else own for take, own in zip(taken, qkv, strict=True)]
        loss = F.mse_loss(attend(mixed[0], mixed[1], mixed[2], 1)[0], attend(t, t, t, 1)[0])
        gram_s, gram_t = (v @ v.transpose(1, 2) / v.shape[2] ** 0.5 for v in (qkv[2], t))
        return loss + F.mse_loss(gram_s, gram_t)


class OFAProjector(nn.Module):
    """An exit of the student, after OFA-KD (Hao et al., arXiv 2310.19444): a map -> what a head takes.

    Depthwise 3x3 and 1x1 convolution, BN, GELU, mean, linear. The paper leads it to the logits, where all
    architectures can be compared; with a margin head it leads to an embedding.

    Args:
        student: C.
        hidden: width before the mean.
        outputs: classes, or length of an embedding.
    """

    def __init__(self, student: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(student, student, 3, padding=1, groups=student, bias=False),
            nn.Conv2d(student, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(hidden, outputs),
        )

    def forward(self, f_s: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, outputs)."""
        out: Tensor = self.net(f_s)
        return out


def ofa_loss(zs: Tensor, zt: Tensor, y: Tensor, gamma: float = 1.0, T: float = 1.0) -> Tensor:
    """OFA-KD's loss with stress on the label: mean of - sum_c ((p_t + [c = y])^gamma - [c = y]) log p_s.

    With gamma = 1 it is the cross-entropy with the teacher's probabilities.

    Args:
        zs: (B, C) logits of the student, or of one of its exits.
        zt: (B, C) logits of the teacher.
        y: (B,) labels.
        gamma: above 1 the label weighs more, the more so the surer the teacher is.
        T: temperature of both.

    Raises:
        ShapeError: shapes that do not fit.

    >>> z, y = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    >>> round(float(ofa_loss(z, z, y)), 4), round(float(ofa_loss(z, z, y, gamma=2.0)), 4)
    (0.5822, 0.7204)
    """
    if zs.ndim != 2 or zs.shape != zt.shape or y.shape != zs.shape[:1]:
        got = f"{tuple(zs.shape)}, {tuple(zt.shape)} and {tuple(y.shape)}"
        raise ShapeError(f"expected logits (B, C) twice and labels (B,), got {got}")
    label = F.one_hot(y, zs.shape[1])
    p = (full_precision(zt.detach()) / T).softmax(1)
    weight = (p + label) ** gamma - label
    return -(weight * (full_precision(zs) / T).log_softmax(1)).sum(1).mean()
