"""Where local centres look: maps of the attention of teacher and student over the picture, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mien.core import figures
from mien.core.errors import ConfigError, ShapeError
from mien.core.images import ImageInput, read_image
from mien.methods.cakd.position import Grid


def heat_maps(attn: Tensor, grid: Grid) -> Tensor:
    """Attention of each centre over the pixels, mean of the heads; where no token looks it is 0.

    Args:
        attn: (heads, L, N) or (B, heads, L, N); tokens beyond the grid, the prompts, are left out.
        grid: of the first tokens.

    Returns:
        (L, S, S) or (B, L, S, S), each map at least 0, with sum 1.

    Raises:
        ShapeError: fewer tokens than the grid has.
    """
    count, side = grid.height * grid.width, round(grid.size)
    if attn.ndim not in (3, 4) or attn.shape[-1] < count:
        raise ShapeError(f"expected attention ([B,] heads, L, N) with N >= {count}, got {tuple(attn.shape)}")
    mean = attn.detach().float().mean(-3)[..., :count]
    maps = mean.reshape(-1, 1, grid.height, grid.width)
    covered = round(grid.height * grid.stride), round(grid.width * grid.stride)
    maps = F.interpolate(maps, covered, mode="bilinear")
    maps = F.pad(maps, (0, side - covered[1], 0, side - covered[0]))[:, 0]
    maps = maps / maps.sum((1, 2), keepdim=True).clamp(min=1e-12)
    return maps.reshape(*mean.shape[:-1], side, side)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """How much two maps share, sum over pixels of the smaller: (..., S, S) twice -> (...) in [0, 1]."""
    return first.minimum(second).sum((-2, -1))


def receptive_png(
    image: ImageInput,
    teacher: Tensor,
    teacher_grid: Grid,
    student: Tensor,
    student_grid: Grid,
    centres: Sequence[int] | None = None,
) -> bytes:
    """Heat maps over a face: the teacher's above, the student's below, a column for each centre.

    Both maps of a column have one colour scale; an even map is one that looks everywhere.

    Args:
        image: the face.
        teacher: attention (heads, L, N), or (B, heads, L, N), of which the mean is drawn.
        teacher_grid: of its tokens.
        student: likewise.
        student_grid: likewise.
        centres: which of the L; None = six of them, or fewer, evenly spaced.

    Returns:
        A PNG.

    Raises:
        ConfigError: no such centre, or grids over pictures of different sizes.
        ShapeError: different numbers of centres, or attention of another shape.
    """
    if teacher.shape[-2] != student.shape[-2]:
        raise ShapeError(f"{teacher.shape[-2]} centres of the teacher, {student.shape[-2]} of the student")
    if round(teacher_grid.size) != round(student_grid.size):
        raise ConfigError(
            f"grids of pictures of {teacher_grid.size:g} and {student_grid.size:g} pixels; both must see one"
        )
    count = teacher.shape[-2]
    if centres is None:
        centres = np.linspace(0, count - 1, min(6, count)).round().astype(int).tolist()
    if not centres or not all(0 <= c < count for c in centres):
        raise ConfigError(f"centres {list(centres)} must be among 0..{count - 1}")
    maps = [heat_maps(a, g) for a, g in ((teacher, teacher_grid), (student, student_grid))]
    maps = [(m.mean(0) if m.ndim == 4 else m).cpu() for m in maps]
    shared, top = overlap(maps[0], maps[1]), maps[0].maximum(maps[1]).amax((1, 2)).clamp(min=1e-12)
    grey = read_image(image).mean(2)
    figure, axes = figures.new_figure(len(centres), 2, width=1.8, height=1.95)
    extent = (0, student_grid.size, student_grid.size, 0)
    for i, ax in enumerate(axes):
        row, column = divmod(i, len(centres))
        centre = centres[column]
        heat = maps[row][centre].numpy()
        ax.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
        ax.imshow(heat, cmap="inferno", alpha=0.6, extent=extent, vmin=0, vmax=float(top[centre]))
        ax.grid(visible=False)
        ax.set(xticks=[], yticks=[])
        if row == 0:
            ax.set_title(f"centre {centre}, shared {float(shared[centre]):.0%}", fontsize=8)
        if column == 0:
            ax.set_ylabel(("teacher", "student")[row])
    return figures.png(figure)
