"""Teacher and student joined for training: what learns beside the student, and is dropped afterwards."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.cakd.baselines import CrossAttentionLoss, OFAProjector, PixelMSELoss, ofa_loss
from mien.methods.cakd.config import CakdConfig
from mien.methods.cakd.loss import CAKDLoss, auxiliary_input
from mien.methods.cakd.position import FacialPositionEncoding, Grid
from mien.methods.cakd.prompts import Prompted, PromptedSwin, PromptedViT
from mien.methods.cakd.urfm import URFM
from mien.nn.face_net import FaceNet
from mien.nn.face_swin import FaceSwin
from mien.nn.face_vit import FaceViT
from mien.nn.margin_heads import CosFace, MarginHead


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
        """The unweighted terms ``feat, attn, aux_t, aux_s`` (auxiliary cross-entropies), scalars.

        Args:
            tokens: (B, N, teacher_dim) of the teacher.
            maps: of the student, by tap.
            y: (B,) labels.
            landmarks: (B, 5, 2) pixels of each picture; None = the template's.
        """
        f_s = maps[self.tap].flatten(2).transpose(1, 2)
        h_t, h_s = self.urfm_t(tokens, landmarks)[0], self.urfm_s(f_s, landmarks)[0]
        out: dict[str, Tensor] = self.terms(h_t, h_s)
        for name, head, h in (("aux_t", self.head_t, h_t), ("aux_s", self.head_s, h_s)):
            out[name] = nn.functional.cross_entropy(head(auxiliary_input(h), y), y)
        return out

    @torch.no_grad()
    def look(self, tokens: Tensor, maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Where the centres look: A of the teacher (B, heads, L, N) and of the student (B, heads, L, N)."""
        f_s = maps[self.tap].flatten(2).transpose(1, 2)
        return self.urfm_t(tokens)[1], self.urfm_s(f_s)[1]


class MapDistiller(nn.Module):
    """Another method's loss on the student's map, with the call of all that learns beside the student.

    Args:
        config: which one: fitnet, pca or ofa.
        student: the net whose map is taught.
        teacher_grid: where the teacher's tokens lie.
        teacher_dim: their width.
        embedding: length of the teacher's embedding, where ofa's exit leads.
    """

    def __init__(
        self, config: CakdConfig, student: FaceNet, teacher_grid: Grid, teacher_dim: int, embedding: int
    ) -> None:
        super().__init__()
        self.kind, self.grid = config.distill, teacher_grid
        self.tap = config.student_tap or list(student.taps)[-1]
        width = student.taps[self.tap][0]
        self.projector: nn.Module
        if self.kind == "fitnet":
            self.projector = PixelMSELoss(width, teacher_dim, 0.1 if config.eta is None else config.eta)
        elif self.kind == "pca":
            self.projector = CrossAttentionLoss(width, teacher_dim)
        else:
            self.projector = OFAProjector(width, 2 * width, embedding)

    def forward(
        self, tokens: Tensor, maps: dict[str, Tensor], y: Tensor, zt: Tensor, head: MarginHead
    ) -> Tensor:
        """The unweighted term, a scalar.

        Args:
            tokens: (B, N, teacher_dim) of the teacher; those beyond the grid are left out.
            maps: of the student, by tap.
            y: (B,) labels.
            zt: (B, C) class logits of the teacher.
            head: the teacher's class weights.
        """
        if self.kind == "ofa":
            return ofa_loss(head(self.projector(maps[self.tap])), zt, y)
        shape = (self.grid.height, self.grid.width)
        f_t = tokens[:, : shape[0] * shape[1]].transpose(1, 2).unflatten(2, shape)
        return cast("Tensor", self.projector(maps[self.tap], f_t))
