"""``mien bench otavatar``: a talking avatar's frames, from the controller's input to the picture, batch 1.

The reference draws the same planes the eager way, with 48 + 48 samples a ray (`mien.render.render_planes`).
The model is the shipped one, else a generator that learnt a head of formulas (`Subject.source`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.bench.heads import Subject, invert, subject
from mien.bench.speed import entry, interleave, process_peak, ratio, threads
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.generator import SuperResolution, TriPlaneGenerator
from mien.metrics import psnr
from mien.render.triplane import PlaneRender, render_planes
from mien.render.triplane_fast import bake_planes, render_baked

DROPPED = 10
"""First frames of a video that are not counted."""
SR_CHANNELS = (32, 16)
"""Blocks of the super-resolution that is timed, each doubles the side; untrained."""


class Plan(NamedTuple):
    """How long everything is measured.

    Attributes:
        size: pixels a side.
        threads: of torch.
        frames: of the video that is timed, the dropped ones included.
        repeats: interleaved runs of both renderers.
        few: frames after which memory is read the first time.
        many: and the last time.
        steps: of an inversion.
        fit: steps in which the head of formulas is learnt.
        eg3d: sizes of the large generator; None = the published ones.
        config: another net than the shipped one.
    """

    size: int = 64
    threads: int = 2
    frames: int = 110
    repeats: int = 15
    few: int = 50
    many: int = 500
    steps: int = 100
    fit: int = 300
    eg3d: Mapping[str, Any] | None = None
    config: OtavatarConfig | None = None


def bench(plan: Plan | None = None) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Speed, fidelity and memory of drawing.

    ``render_speedup``: eager 48 + 48 over bake and march of the same planes.
    ``frame_speedup``: the same with controller and planes in both.
    ``fps_64``, ``fps_128``, ``fps_sr_256``: frames a second, the median after the first ten; ``fps_sr_128``
    where the model has learnt to enlarge.
    ``psnr_loss_db``: PSNR of the eager picture minus that of the fast one, both against the true picture.
    ``psnr_fast_eager_db``: PSNR between the two.
    ``video_memory``: peak memory of the process after many frames over that after a few.

    Entries with ``psnr_db`` hold it against the true picture; ``model`` says whose.

    Args:
        plan: how long; default `Plan`.
    """
    plan = plan or Plan()
    with threads(plan.threads):
        own = subject(plan.size, plan.fit, plan.config)
        with torch.no_grad():
            entries = _memory(own, plan)  # first: nothing larger has been held yet
            drawn, ratios = _renderers(own, plan)
            frames, rates = _frames(own, plan)
            entries += drawn + frames + [_large_planes(plan), _inversion(own, plan)]
    kept = entries[1]["peak_mb"] / entries[0]["peak_mb"]
    model = {"model": own.source}
    return [e | model for e in entries], {**ratios, **rates, "video_memory": kept}


def planes_of(own: Subject, frame: int) -> Tensor:
    """(1, 3, C, P, P) of one frame: window -> dw -> style codes -> planes."""
    dw, _ = own.net.controller(own.windows[frame % len(own.windows), None])
    return own.net.planes(own.net.moved(own.w_id, dw))


def fast(own: Subject, planes: Tensor, size: int) -> PlaneRender:
    """Baked and marched."""
    field = bake_planes(planes, own.net.generator.decoder.plain(), own.net.config.settings())
    return render_baked(field, own.camera, size)


def eager(own: Subject, planes: Tensor, size: int) -> PlaneRender:
    """48 + 48 samples of every ray."""
    settings = own.net.config.settings(coarse=48, fine=48)
    return render_planes(planes, own.net.generator.decoder, own.camera, size, settings)


def pixels(rgb: Tensor) -> NDArray[np.uint8]:
    """(1, 3, S, S) in [-1, 1] -> (S, S, 3) bytes."""
    return (127.5 * (rgb[0] + 1)).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def video(
    own: Subject, frames: int, size: int, upscale: SuperResolution | None = None
) -> NDArray[np.float64]:
    """Seconds of each frame from the controller's input to bytes; nothing of a frame is kept."""
    seconds = np.empty(frames)
    for k in range(frames):
        began = time.perf_counter()
        out = fast(own, planes_of(own, k), size)
        rgb = out.rgb if upscale is None else upscale(out.rgb, out.features, own.w_id)
        pixels(rgb)
        seconds[k] = time.perf_counter() - began
    return seconds


def _memory(own: Subject, plan: Plan) -> list[dict[str, Any]]:
    """Peaks after a few frames and after many: they stay the same when nothing is kept."""
    first = video(own, plan.few, plan.size)
    after = entry(f"video_{plan.few}", first, process_peak())
    more = video(own, plan.many - plan.few, plan.size)
    return [after, entry(f"video_{plan.many}", np.concatenate([first, more]), process_peak())]


def _renderers(own: Subject, plan: Plan) -> tuple[list[dict[str, Any]], dict[str, float]]:
    planes, size = planes_of(own, 0), plan.size
    runs = {
        "render_eager": lambda: eager(own, planes, size),
        "render_fast": lambda: fast(own, planes, size),
        "frame_eager": lambda: pixels(eager(own, planes_of(own, 0), size).rgb),
        "frame_fast": lambda: pixels(fast(own, planes_of(own, 0), size).rgb),
    }
    seconds = interleave(runs, plan.repeats, warmup=1)
    pictures = {"render_eager": eager(own, planes, size).rgb, "render_fast": fast(own, planes, size).rgb}
    truth = 2 * own.truth[:, :3] - 1
    quality = {name: float(psnr(rgb, truth, data_range=2.0)) for name, rgb in pictures.items()}
    entries = [
        entry(name, s) | ({"psnr_db": quality[name]} if name in quality else {})
        for name, s in seconds.items()
    ]
    return entries, {
        "render_speedup": ratio(seconds["render_eager"], seconds["render_fast"]),
        "frame_speedup": ratio(seconds["frame_eager"], seconds["frame_fast"]),
        "psnr_loss_db": quality["render_eager"] - quality["render_fast"],
        "psnr_fast_eager_db": float(psnr(*reversed(pictures.values()), data_range=2.0)),
    }


def _frames(own: Subject, plan: Plan) -> tuple[list[dict[str, Any]], dict[str, float]]:
    config, size = own.net.config, plan.size
    upscale = SuperResolution(config.features, config.w_dim, size, SR_CHANNELS).eval()
    seconds = {
        f"{size}": video(own, plan.frames, size)[DROPPED:],
        f"{2 * size}": video(own, plan.frames, 2 * size)[DROPPED:],
        f"sr_{upscale.size}": video(own, plan.frames, size, upscale)[DROPPED:],
    }
    learnt = own.net.generator.super_resolution
    if learnt is not None and learnt.side == size:
        seconds[f"sr_{learnt.size}"] = video(own, plan.frames, size, learnt)[DROPPED:]
    entries = [entry(f"frame_{name}", s) for name, s in seconds.items()]
    return entries, {f"fps_{name}": float(1 / np.median(s)) for name, s in seconds.items()}


def _large_planes(plan: Plan) -> dict[str, Any]:
    """Planes of a generator of EG3D's size, weights as they are before training."""
    large = TriPlaneGenerator(**(plan.eg3d or {})).eval()
    ws = large.mapping(torch.zeros(1, large.mapping.z_dim), torch.zeros(1, large.mapping.c_dim))
    seconds = interleave({"planes": lambda: large.planes(ws)}, 3, warmup=1)["planes"]
    return entry("planes_eg3d", seconds)


def _inversion(own: Subject, plan: Plan) -> dict[str, Any]:
    seconds = interleave({"invert": lambda: invert(own, plan.steps)}, 1, warmup=0)["invert"]
    return entry(f"invert_{plan.steps}", seconds)
