"""The protocol: people never trained on, inverted from one frame, in other moments, from other sides.

Everything has its truth in a made set: other moments of the same person, other views of the same moment, and
the source person with the driver's motion can all be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.data.config import TalkingData
from mien.data.talking import TalkingHeads
from mien.data.talking_loader import TalkingBatch
from mien.data.talking_sets import read_talking, redraw
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.task import Measured
from mien.methods.otavatar.drawing import draw, draw_enlarged
from mien.methods.otavatar.expressions import EXPRESSIONS, expression_of
from mien.methods.otavatar.inversion import InversionSettings
from mien.methods.otavatar.judges import Judges, JudgeSettings, judges, reduced
from mien.methods.otavatar.measure import (
    Values,
    control_measures,
    leak_ratios,
    likeness,
    motion_measures,
    picture_measures,
    shape_errors,
)
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import project
from mien.methods.otavatar.reenact import (
    Motion,
    Source,
    at_size,
    codes_for,
    expressive,
    invert_frames,
    moments_of,
    motion_of,
)
from mien.methods.otavatar.task import configs
from mien.methods.otavatar.warps import best_homography, copy_source, thin_plate_warp

SIZE = 64
"""Side of the pictures that are compared, pixels."""
STEPS = 60
"""Of an inversion."""
FAR, NEAR = 0.35, 0.2
"""Turn from the source's view from which a view counts as far, and up to which as near, radians."""
WARPS = {"copy": copy_source, "homography": best_homography, "thin_plate": thin_plate_warp}


class Views(NamedTuple):
    """True pictures of P people and the landmarks in them.

    Attributes:
        pictures: (P, N, 3, S, S) in [-1, 1].
        seen: (P, N, 68, 2) in picture sides.
    """

    pictures: Tensor
    seen: Tensor


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """One row of the protocol, on the split ``test`` or ``val``.

    Options: ``warp``: a 2-D baseline instead of the avatar; ``steps`` and ``space`` of the inversion.

    Raises:
        DataError: a split that there is not.
        ConfigError: no such warp.
    """
    _, data = configs(folder.recipe)
    splits = read_talking(data)
    people = {"test": splits.test, "val": splits.val}.get(evaluation.split)
    if people is None:
        raise DataError(f"no evaluation {evaluation.split!r}; there are test and val")
    few = JudgeSettings(5) if data.kind == "debug" else None
    known = judges(splits.train, splits.fingerprint, settings=few)
    options = dict(evaluation.options)
    if "warp" in options:
        found = warped(people, str(options["warp"]), known)
    else:
        settings = InversionSettings(
            steps=int(options.get("steps", STEPS)), space="w+" if options.get("space") == "w+" else "w"
        )
        net, motion = restore(folder), motion_mode(folder)
        source = sources(net, people, motion, settings)
        found = reenacted(net, people, source, motion, settings, known)
        found |= {f"cross_{k}": v for k, v in crossed(net, data, people, source, motion, known).items()}
        found |= viewed(net, people, source) | controlled(net, people, source, motion, known)
        if net.generator.super_resolution is not None:
            found |= enlarged(net, people, source)
    signed = {f"less_{k}": -v for k, v in found.items() if k.endswith(("_l1", "_error", "akd", "leak"))}
    units = {**found, **signed}
    return Measured({k: float(np.mean(v)) for k, v in units.items()}, units)


def restore(folder: ModelFolder) -> AvatarNet:
    """The trained net of a model folder, in eval mode, without gradients."""
    method, data = configs(folder.recipe)
    net = AvatarNet(method, data.size, len(folder.facts["actions"]))
    load_weights(net, folder.weights)
    return net.eval().requires_grad_(False)


def motion_mode(folder: ModelFolder) -> Motion:
    """What the model was trained for: no motion, motion after the inversion, or in its loop."""
    method, _ = configs(folder.recipe)
    if method.stage == "prior":
        return "still"
    return "late" if method.mode == "naive" else "moved"


def sources(
    net: AvatarNet,
    heads: TalkingHeads,
    motion: Motion,
    settings: InversionSettings,
    rank: int = 0,
    seed: int = 0,
) -> Source:
    """Every person inverted from the front view of the moment with the strongest expression (``rank`` 0)."""
    batch = moments_of(heads, expressive(heads)[:, rank], [0], net.config.radius)
    return invert_frames(net, batch, motion, settings, seed)


def true_views(batch: TalkingBatch, size: int = SIZE) -> Views:
    """What is true of (P, 1, V)."""
    seen = project(batch.points[:, 0], batch.cameras[:, 0])
    return Views(at_size(batch.images[:, 0], size), seen)


def joined(parts: list[Views]) -> Views:
    """Views of several moments, one after another."""
    return Views(*(torch.cat(x, 1) for x in zip(*parts, strict=True)))


def other_moments(heads: TalkingHeads, radius: int) -> list[TalkingBatch]:
    """The moments that are no source, the strongest expression first, each from the front and one side."""
    order, views = expressive(heads), [0, min(2, heads.images.shape[2] - 1)]
    return [moments_of(heads, order[:, rank], views, radius) for rank in range(1, order.shape[1])]


def reenacted(
    net: AvatarNet,
    heads: TalkingHeads,
    source: Source,
    motion: Motion,
    settings: InversionSettings,
    known: Judges,
) -> dict[str, Values]:
    """Other moments of the source person against the truth, and leakage. O(P (inversion + M draw))."""
    batches = other_moments(heads, net.config.radius)
    codes = [codes_for(net, source, b.windows[:, 0], motion) for b in batches]
    drawn = [draw(net, w, b.cameras[:, 0], SIZE).rgb for w, b in zip(codes, batches, strict=True)]
    found = compared(torch.cat(drawn, 1), joined([true_views(b) for b in batches]), known)
    own = draw(net, net.moved(source.found.w_id, source.dw), source.batch.cameras[:, 0], SIZE).rgb
    at_source = picture_measures(own, *true_views(source.batch))
    found |= {f"source_{k}": v for k, v in at_source.items()}
    again = sources(net, heads, motion, settings, rank=1, seed=1)
    spread = net.w_std.clamp(min=1e-6)
    found["leak"] = leak_ratios(torch.stack([s.found.w_id / spread for s in (source, again)], 1))
    return found


def compared(pictures: Tensor, truth: Views, known: Judges) -> dict[str, Values]:
    """Pictures (P, N, 3, S, S) against the truth, one value for each person."""
    found = picture_measures(pictures, *truth)
    found |= motion_measures(pictures, truth.seen, known.landmarks)
    return found | {"csim": likeness(pictures, truth.pictures, known.identity)}


def crossed(
    net: AvatarNet, data: TalkingData, heads: TalkingHeads, source: Source, motion: Motion, known: Judges
) -> dict[str, Values]:
    """Every person with the motion of the next one, against true pictures of just that. O(P M draw)."""
    people = len(heads.images)
    driver = (np.arange(people) + 1) % people
    order = expressive(heads)[driver]
    windows = heads.windows(net.config.radius)
    rows = heads.tracks[driver[:, None], heads.moments[driver]]
    drawn, images, points = [], [], []
    cameras = torch.from_numpy(heads.cameras[np.arange(people), expressive(heads)[:, 0], :1])
    for rank in range(min(3, order.shape[1])):
        moment = order[:, rank]
        window = torch.from_numpy(windows[driver, moment])
        drawn.append(draw(net, codes_for(net, source, window, motion), cameras, SIZE).rgb)
        seen = [
            redraw(data, heads, p, rows[p, moment[p]][None], cameras[p].numpy(), SIZE) for p in range(people)
        ]
        images.append(torch.from_numpy(np.stack([x[0] for x in seen])))
        points.append(torch.from_numpy(np.stack([x[1] for x in seen])))
    shown = torch.cat(images, 1).movedim(-1, 2).float() / 255
    truth = Views(2 * shown[:, :, :3] - 1, torch.cat([project(p[:, 0], cameras) for p in points], 1))
    found = compared(torch.cat(drawn, 1), truth, known)
    return {k: found[k] for k in ("psnr", "face_l1", "mouth_l1", "akd", "mouth_opening_error", "csim")}


Which = NDArray[np.bool_]


def views_of(heads: TalkingHeads, radius: int) -> tuple[TalkingBatch, Which, Which]:
    """All views of the source moments, and which (P, V - 1) are far from and near to the first one."""
    batch = moments_of(heads, expressive(heads)[:, 0], list(range(heads.images.shape[2])), radius)
    place = batch.cameras[:, 0, :, :16].unflatten(-1, (4, 4))[..., :3, 3]
    yaw = torch.atan2(place[..., 0], place[..., 2])
    turned = (yaw[:, 1:] - yaw[:, :1]).abs().numpy()
    return batch, turned >= FAR, turned <= NEAR


def view_measures(pictures: Tensor, truth: Views, far: Any, near: Any) -> dict[str, Values]:
    """PSNR of far and near views (P, V - 1), of people who have both kinds; others count by their mean."""
    single = [[x[:, v : v + 1] for x in (pictures, *truth)] for v in range(pictures.shape[1])]
    each = np.stack([picture_measures(*x)["psnr"] for x in single], 1)
    out = {"view_psnr": each.mean(1)}
    for name, kind in (("far", far), ("near", near)):
        total, count = np.where(kind, each, 0.0).sum(1), kind.sum(1)
        counted = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        some = counted[count > 0]
        out[f"{name}_psnr"] = np.where(count > 0, counted, some.mean() if len(some) else np.nan)
    return out


def viewed(net: AvatarNet, heads: TalkingHeads, source: Source) -> dict[str, Values]:
    """Novel views of the source moment, and the shape behind them. O(P V draw)."""
    batch, far, near = views_of(heads, net.config.radius)
    codes = net.moved(source.found.w_id, source.dw)
    drawn = draw(net, codes, batch.cameras[:, 0, 1:], SIZE)
    truth = true_views(batch)
    found = view_measures(drawn.rgb, Views(*(x[:, 1:] for x in truth)), far, near)
    full = draw(net, codes, batch.cameras[:, 0, 1:], heads.size)
    found["depth_error"] = shape_errors(full.depth, batch.depth[:, 0, 1:], full.opacity)
    return found


def enlarged(net: AvatarNet, heads: TalkingHeads, source: Source) -> dict[str, Values]:
    """PSNR of all views of the source moment at full size: enlarged, and the field drawn at that size.

    O(P V draw).
    """
    batch, _, _ = views_of(heads, net.config.radius)
    codes, cameras = net.moved(source.found.w_id, source.dw), batch.cameras[:, 0]
    pictures = {
        "large": draw_enlarged(net, codes, cameras),
        "field": draw(net, codes, cameras, heads.size).rgb,
    }
    truth = true_views(batch, heads.size)
    return {f"{name}_psnr": picture_measures(rgb, *truth)["psnr"] for name, rgb in pictures.items()}


def warped(heads: TalkingHeads, kind: str, known: Judges) -> dict[str, Values]:
    """Other moments and other views by a 2-D warp that knows the true landmarks of both. O(P (M + V) S^2).

    Raises:
        ConfigError: no such warp.
    """
    if kind not in WARPS:
        raise ConfigError(f"no warp {kind!r}; there are {', '.join(WARPS)}")
    batch, far, near = views_of(heads, 1)
    front, others = true_views(batch), joined([true_views(b) for b in other_moments(heads, 1)])

    def bent(truth: Views) -> Tensor:
        rows = []
        for picture, own, seen in zip(front.pictures[:, 0], front.seen[:, 0], truth.seen, strict=True):
            shown = (picture.permute(1, 2, 0).numpy() + 1) / 2
            rows.append(np.stack([WARPS[kind](shown, own.numpy(), s.numpy()) for s in seen]))
        return torch.from_numpy(np.stack(rows)).float().movedim(-1, 2) * 2 - 1

    sides = Views(*(x[:, 1:] for x in front))
    return compared(bent(others), others, known) | view_measures(bent(sides), sides, far, near)


SWEEP = 7
"""Values of an expression from 0 to 1 that are asked for."""
CONTROLS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mouth": ("mouth_opening", ("jawOpen", "open")),
    "brows": ("brow_raise", ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "brow")),
}
"""What is asked for: the measure that should follow, and the actions (of either source) that ask for it."""


def controlled(
    net: AvatarNet, heads: TalkingHeads, source: Source, motion: Motion, known: Judges
) -> dict[str, Values]:
    """Spearman's rho of asked and measured expression from the front, on a face at rest. O(P SWEEP draw)."""
    asked = np.linspace(0, 1, SWEEP)
    length, found = 2 * net.config.radius + 1, dict[str, Values]()
    cameras = source.batch.cameras[:, 0]
    for name, (measure, actions) in CONTROLS.items():
        own = [k for k, n in enumerate(heads.names) if n in actions]
        column = EXPRESSIONS.index(measure)
        rows = []
        for level in asked:
            window = torch.zeros(len(cameras), len(heads.names), length)
            window[:, own] = float(level)
            codes = net.moved(source.found.w_id, None if motion == "still" else motion_of(net, window))
            shown = reduced(draw(net, codes, cameras, SIZE).rgb[:, 0])
            with torch.no_grad():
                rows.append(expression_of(known.landmarks(shown))[:, column].numpy())
        found |= {f"{name}_{k}": v for k, v in control_measures(asked, np.stack(rows, 1)).items()}
    return found
