"""``mien inspect cakd``: where the local centres of teacher and student look, and whether they look alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.core import io
from mien.core.errors import ConfigError
from mien.data.augment import prepare
from mien.data.faces import read_faces
from mien.data.labelled import LabelledImages, spread
from mien.engine.face_degradation import inspect_degraded
from mien.engine.folder import ModelFolder, open_folder
from mien.engine.show import Inspection
from mien.engine.stages import read_uses
from mien.engine.zoo import resolve
from mien.methods.cakd.config import InspectOptions
from mien.methods.cakd.evaluate import Trained, restore_distiller
from mien.methods.cakd.loss import spreads
from mien.methods.cakd.model import CrossArchDistiller
from mien.methods.cakd.position import Grid
from mien.methods.cakd.receptive import heat_maps, overlap, receptive_png
from mien.methods.cakd.task import configs

PICTURES = 64


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Receptive fields of one distilled student and its teacher over unseen people.

    Raises:
        ConfigError: the student was not taught by URFM, or its teacher is not known.
    """
    if options.degrade:
        return inspect_degraded(folder, plot=options.plot)
    trained = restore_distiller(teacher_of(folder, options.teacher), folder)
    _, data = configs(folder.recipe)
    test = read_faces(data).test
    facts, rows = measure_fields(trained, test.subset(spread(len(test), PICTURES)), data.size)
    files: tuple[Path, ...] = ()
    if options.plot:
        picture = test.pictures([0])[0]
        files = (io.write_bytes(Path(options.plot), draw_fields(trained, picture, data.size)),)
    return Inspection(facts, {"by centre": rows}, files)


def teacher_of(folder: ModelFolder, named: str | None) -> ModelFolder:
    """The teacher of a student: the one named, the one of its run, or the shipped one."""
    if named is not None:
        return open_folder(resolve(named))
    uses = read_uses(folder.path)
    if "teacher" in uses:
        return open_folder(uses["teacher"])
    if (folder.path.parent / "teacher").is_dir():
        return open_folder(folder.path.parent / "teacher")
    raise ConfigError(f"{folder.path}: does not say who taught it; name the weights with --teacher")


def _both(trained: Trained) -> CrossArchDistiller:
    if not isinstance(trained.parts, CrossArchDistiller):
        raise ConfigError("only students that were taught by urfm have local centres to look at")
    return trained.parts


@torch.inference_mode()
def attention(trained: Trained, x: Tensor) -> tuple[Tensor, Tensor]:
    """A (B, heads, L, N) of teacher and student for faces (B, 3, S, S)."""
    parts = _both(trained)
    maps = trained.student.net.forward_features(x)
    return parts.look(trained.teacher(x)[1], maps)


def _grids(trained: Trained) -> tuple[Grid, Grid]:
    return trained.teacher.grid, Grid.of(trained.student.net, _both(trained).tap)


@torch.inference_mode()
def measure_fields(
    trained: Trained, images: LabelledImages, size: int
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """What teacher and student share, over all centres and for each; and how far local features vary."""
    parts = _both(trained)
    x = prepare(images.pictures(range(len(images))), size, 3)
    tokens, maps = trained.teacher(x)[1], trained.student.net.forward_features(x)
    f_s = maps[parts.tap].flatten(2).transpose(1, 2)
    (h_t, a_t), (h_s, a_s) = parts.urfm_t(tokens), parts.urfm_s(f_s)
    fields = [heat_maps(a, g) for a, g in zip((a_t, a_s), _grids(trained), strict=True)]
    shared = overlap(*fields).mean(0)
    other = overlap(fields[0], fields[1].roll(1, 1)).mean(0)
    at = [_centre(f.mean(0)) for f in fields]
    terms = {k: round(float(v), 4) for k, v in parts.terms(h_t, h_s).items()}
    varies = [round(float(v), 4) for h in (h_t, h_s) for v in spreads(h)]
    facts: dict[str, object] = {
        "pictures": len(images),
        "centres": len(shared),
        "shared": round(float(shared.mean()), 4),
        "shared_with_the_next": round(float(other.mean()), 4),
        **terms,
        **dict(
            zip(("teacher_batch", "teacher_token", "student_batch", "student_token"), varies, strict=True)
        ),
    }
    rows: list[dict[str, object]] = [
        {
            "centre": i,
            "shared": round(float(shared[i]), 3),
            "teacher at (x, y)": np.round(at[0][i], 1).tolist(),
            "student at (x, y)": np.round(at[1][i], 1).tolist(),
        }
        for i in range(len(shared))
    ]
    return facts, rows


def _centre(fields: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Centre of mass (x, y) of each map (L, S, S), pixels."""
    at = torch.arange(fields.shape[-1]) + 0.5
    return torch.stack([(fields.sum(1) * at).sum(1), (fields.sum(2) * at).sum(1)], 1).numpy()


def draw_fields(
    trained: Trained, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], size: int
) -> bytes:
    """Heat maps of teacher and student over one face, as a PNG."""
    a_t, a_s = attention(trained, prepare([picture], size, 3))
    grids = _grids(trained)
    return receptive_png(picture, a_t, grids[0], a_s, grids[1])
