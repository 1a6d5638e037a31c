"""Teacher and student joined for training: all that learns beside the student, and all that is dropped after."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.cakd.config import CakdConfig
from mien.methods.cakd.loss import CAKDLoss, auxiliary_input
from mien.methods.cakd.position import FacialPositionEncoding, Grid
from mien.methods.cakd.prompts import Prompted, PromptedSwin, PromptedViT
from mien.methods.cakd.urfm import URFM
from mien.nn.face_net import FaceNet
from mien.nn.face_swin import FaceSwin
from mien.nn.face_vit import FaceViT
from mien.nn.margin_heads import CosFace


def prompted(net: FaceNet, config: CakdConfig) -> Prompted:
    """A trained transformer as a teacher, frozen in place, with as many prompts as the config says.

    Raises:
        ConfigError: a net that is no Swin and no ViT.
    """
    t, per = config.prompts or 0, config.prompts_per or "stage"
    if isinstance(net, FaceSwin):
        return PromptedSwin(net, t, per)
    if isinstance(net, FaceViT):
        return PromptedViT(net, t, per)
    raise ConfigError(f"a {type(net).__name__} takes no prompts; the teacher must be a FaceSwin or a FaceViT")


class CrossArchDistiller(nn.Module):
    """URFM of both sides with shared centres and position table, the two terms, and the auxiliary heads.

    Args:
        teacher: tokens (B, N, width) of the grid, prompts after them.
        teacher_grid: where the teacher's tokens lie.
        teacher_dim: their width.
        student: the net whose map is taught.
        config: sizes and options.
        classes: training identities, for the auxiliary heads.
    """

    def __init__(
        self, teacher_grid: Grid, teacher_dim: int, student: FaceNet, config: CakdConfig, classes: int
    ) -> None:
        super().__init__()
        self.tap = config.student_tap or list(student.taps)[-1]
        student_grid = Grid.of(student, self.tap)
        dim, heads, n_local = config.dim or 64, config.heads or 4, config.n_local or 9
        kind = config.position or "saliency"
        codes: tuple[FacialPositionEncoding | None, FacialPositionEncoding | None] = (None, None)
        if kind != "none":
            gamma = 1.0 if config.gamma is None else config.gamma
            first = FacialPositionEncoding(
                teacher_grid, kind=kind, gamma=gamma, dim=dim, unit=student_grid.stride
            )
            second = FacialPositionEncoding(
                student_grid, kind=kind, gamma=gamma, dim=dim, unit=student_grid.stride, table=first.table
            )
            codes = (first, second)
        self.urfm_t = URFM(teacher_dim, dim, n_local, heads, fpe=codes[0])
        width = student.taps[self.tap][0]
        self.urfm_s = URFM(width, dim, n_local, heads, self.urfm_t.centres, codes[1])
        self.terms = CAKDLoss(dim, heads, 0.1 if config.eta is None else config.eta)
        self.head_t, self.head_s = (CosFace(dim, classes, config.margin, config.scale) for _ in range(2))

    def forward(
        self, tokens: Tensor, maps: dict[str, Tensor], y: Tensor, landmarks: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The unweighted terms ``feat, attn`` and ``aux`` (both auxiliary cross-entropies), scalars.

        Args:
            tokens: (B, N, teacher_dim) of the teacher.
            maps: of the student, by tap.
            y: (B,) labels.
            landmarks: (B, 5, 2) pixels of each picture; None = the template's.
        """
        f_s = maps[self.tap].flatten(2).transpose(1, 2)
        h_t, h_s = self.urfm_t(tokens, landmarks)[0], self.urfm_s(f_s, landmarks)[0]
        out = self.terms(h_t, h_s)
        both = [
            nn.functional.cross_entropy(head(auxiliary_input(h), y), y)
            for head, h in ((self.head_t, h_t), (self.head_s, h_s))
        ]
        return {**out, "aux": cast("Tensor", sum(both))}

    @torch.no_grad()
    def look(self, tokens: Tensor, maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Where the centres look: A of the teacher (B, heads, L, N) and of the student (B, heads, L, N)."""
        f_s = maps[self.tap].flatten(2).transpose(1, 2)
        return self.urfm_t(tokens)[1], self.urfm_s(f_s)[1]
