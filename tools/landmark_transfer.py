"""Do made faces teach something about real ones? Five landmarks, learned on renders alone, tested on ORL.

    python tools/landmark_transfer.py --tracker-python tracker/bin/python --output transfer.json

(the environment of tracker: see src/mien/data/track_script.py; the real faces: the extra `data`). A small net
sees grey crops of renders, jittered, relit, blurred and noisy, and learns eye centres, tip of the nose and
corners of the mouth from the exact geometry. Its answers on the 400 pictures of ORL are compared with
MediaPipe's mesh there. The baseline puts the mean shape of the training landmarks into the same crop; a
second one, the mean shape of ORL itself, says how much of the gain is more than a shift. One rule for all
crops: the square around the detector's box, times 1.25. Error: mean distance over the distance of the eyes
(NME). Exit status 1 if a net is not at least 30 % below the first baseline.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge_faces import ORL_PAD, ORL_SCALE, cut, field_of, grey, made, track
from torch import Tensor, nn
from torch.nn import functional as F

import mien
from mien.bench.store import commit
from mien.core import io
from mien.core.errors import ConfigError, MienError
from mien.core.seeds import derive
from mien.data import Orl
from mien.synth import portraits
from mien.synth.face import Picture, detail_for
from mien.synth.looks import sample_shot

WHO, EACH, SIZE, YAW = 600, 3, 128, 0.3
HELD_OUT = 60  # people of the renders that are not trained on
SIDE = 64  # of the net's input
WIDE = 1.6  # side of the kept crop, in sides of the net's
KEPT = 104
NAMES = ("right eye", "left eye", "nose", "right mouth", "left mouth")
MIRRORED = [1, 0, 2, 4, 3]
GOAL = 0.30
# Canonical positions, dm, and the parts (1 skin, 2 left eye, 3 right eye) that carry them.
POINTS = (
    ((-0.305, 7.275, 1.392), 3),
    ((0.305, 7.275, 1.392), 2),
    ((0.0, 6.90, 1.66), 1),
    ((-0.258, 6.612, 1.42), 1),
    ((0.258, 6.612, 1.42), 1),
)
NEAR, VISIBLE = 0.16, 0.10  # dm


# Renders --------------------------------------------------------------------------------------------------


def landmarks(picture: Picture) -> np.ndarray:
    """The five points of a render, (5, 2) pixels, NaN where hidden.

    From the map of canonical positions: pixels near a point tell by a linear fit where it lies.
    """
    out = np.full((len(POINTS), 2), np.nan, np.float32)
    for n, (place, part) in enumerate(POINTS):
        rows, columns = np.nonzero(picture.part == part)
        offset = picture.canon[rows, columns].astype(np.float64) - np.array(place)
        far = np.linalg.norm(offset, axis=1)
        near = far < NEAR
        if near.sum() < 6 or far.min() > VISIBLE:
            continue
        pixels = np.stack([columns[near], rows[near]], 1) + 0.5
        weight = np.exp(-0.5 * (far[near] / (0.5 * NEAR)) ** 2)
        design = np.concatenate([offset[near], np.ones((near.sum(), 1))], 1)
        ridge = np.diag([1e-3, 1e-3, 1e-3, 0.0])
        normal = (design * weight[:, None]).T @ design + ridge
        out[n] = np.linalg.solve(normal, (design * weight[:, None]).T @ pixels)[3]
    return out


def album(number: int) -> dict[str, np.ndarray]:
    """Pictures of one person, grey, and their points."""
    who = derive(0, "landmarks", number)
    person = portraits.make_face(who, detail_for(SIZE))
    images, points = [], []
    for k in range(EACH):
        seed = derive(who, "nuisance", k)
        picture = portraits.photograph(person, sample_shot(seed, YAW), SIZE, portraits.sample_actions(seed))
        images.append(grey(picture.rgb)[..., 0])
        points.append(landmarks(picture))
    return {"images": np.stack(images), "points": np.stack(points), "who": np.full(EACH, number)}


def crops_of(
    images: np.ndarray, boxes: np.ndarray, points: np.ndarray, wide: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Crops (N, size, size), and points in units of the net's crop, whose corners are (-1, -1) and (1, 1).

    Args:
        images: (N, H, W) grey.
        boxes: (N, 4) of the detector.
        points: (N, 5, 2) pixels.
        wide: how many sides of the net's crop the returned crops show.
        size: pixels a side.
    """
    crops, placed = [], []
    for image, box, five in zip(images, boxes, points, strict=True):
        left, top, side = field_of(box)
        margin = 0.5 * (wide - 1) * side
        crops.append(cut(image, left - margin, top - margin, wide * side, size))
        placed.append(2 * (five - np.array([left, top])) / side - 1)
    return np.stack(crops), np.stack(placed).astype(np.float32)


# Net ------------------------------------------------------------------------------------------------------


class Pointer(nn.Module):
    """Grey crop (N, 1, 64, 64) -> five points (N, 5, 2): expectations of heat maps."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()

        def layer(before: int, after: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
            conv = nn.Conv2d(before, after, 3, stride, dilation, dilation, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())

        w = width
        self.body = nn.Sequential(
            layer(1, w // 2, 2),
            layer(w // 2, w),
            layer(w, 2 * w, 2),
            layer(2 * w, 2 * w),
            layer(2 * w, 2 * w, 1, 2),
            layer(2 * w, 2 * w, 1, 4),
            layer(2 * w, 2 * w, 1, 2),
            nn.Conv2d(2 * w, len(NAMES), 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Points in [-1, 1]."""
        x = x - x.mean((2, 3), keepdim=True)
        x = x / (x.std((2, 3), keepdim=True) + 1e-3)
        heat = self.body(x)
        n, k, side = heat.shape[:3]
        share = heat.flatten(2).softmax(2).view(n, k, side, side)
        at = (torch.arange(side, dtype=x.dtype) + 0.5) / side * 2 - 1
        return torch.stack([(share.sum(2) * at).sum(2), (share.sum(3) * at).sum(2)], 2)


def jittered(kept: Tensor, points: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch cut at random from wide crops, turned, mirrored, its border repeated; and its points."""
    n = len(kept)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=rng)

    turn, scale, shift = draw(-0.22, 0.22), draw(0.86, 1.16), draw(-0.14, 0.14, 2)
    flip = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    c, s = scale * turn.cos(), scale * turn.sin()
    # From the net's coordinates to those of the wide crop, and back for the points.
    forward = torch.stack([torch.stack([c * flip, -s], 1), torch.stack([s * flip, c], 1)], 1)
    at = F.affine_grid(torch.cat([forward, shift[:, :, None]], 2), [n, 1, SIDE, SIDE], align_corners=False)
    low = torch.maximum(draw(-1.5, -0.75, 1, 1, 2), torch.tensor(-WIDE))
    high = torch.minimum(draw(0.75, 1.5, 1, 1, 2), torch.tensor(WIDE))
    framed = torch.rand(n, 1, 1, 1, generator=rng) < 0.5  # some pictures end near the face
    at = torch.where(framed, torch.minimum(torch.maximum(at, low), high), at) / WIDE
    images = F.grid_sample(kept[:, None], at, padding_mode="border", align_corners=False)
    moved = torch.einsum("nij,nkj->nki", torch.linalg.inv(forward), points - shift[:, None])
    return images, torch.where(flip[:, None, None] < 0, moved[:, MIRRORED], moved)


def degraded(x: Tensor, rng: torch.Generator) -> Tensor:
    """Contrast, gamma, a slope of light, blur, coarse pixels, noise; one draw for each picture."""
    n = len(x)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=rng)

    x = x.clamp(1e-3, 1) ** torch.exp(draw(-0.6, 0.6))
    ramp = torch.linspace(-1, 1, SIDE)
    x = x * (1 + draw(-0.35, 0.35) * ramp.view(1, 1, 1, -1) + draw(-0.25, 0.25) * ramp.view(1, 1, -1, 1))
    x = draw(0.5, 1.2) * x + draw(-0.15, 0.15)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    softer = F.avg_pool2d(F.pad(soft, (1, 1, 1, 1), mode="replicate"), 3, 1)
    coarse = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    kind = draw(0, 1)
    x = torch.where(kind < 0.25, soft, torch.where(kind < 0.4, softer, torch.where(kind < 0.55, coarse, x)))
    x = x + draw(0, 0.06) * torch.randn(x.shape, generator=rng)
    return x.clamp(0, 1)


def train(crops: np.ndarray, points: np.ndarray, seed: int, steps: int, batch: int = 48) -> Pointer:
    """The net after ``steps`` steps; hidden points do not count. One thread, so that it is repeatable."""
    torch.manual_seed(derive(seed, "net") % 2**31)
    rng = torch.Generator().manual_seed(derive(seed, "batches") % 2**31)
    images, targets = torch.from_numpy(crops).float() / 255, torch.from_numpy(points)
    net = Pointer()
    best = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, 3e-3, total_steps=steps)
    net.train()
    for step in range(steps):
        pick = torch.randint(len(images), (batch,), generator=rng)
        seen, aim = jittered(images[pick], targets[pick], rng)
        known = ~aim.isnan()
        error = (net(degraded(seen, rng)) - aim.nan_to_num())[known]
        loss = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.02)
        best.zero_grad()
        loss.backward()
        best.step()
        plan.step()
        if step % 100 == 99:
            print(f"\rseed {seed} step {step + 1}/{steps} {loss.item():.4f}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return net.eval()


def answers(net: Pointer, crops: np.ndarray) -> np.ndarray:
    """Points (N, 5, 2), the mean of a crop and its mirror image."""
    with torch.no_grad():
        x = torch.from_numpy(crops)[:, None].float() / 255
        mirror = net(x.flip(3))[:, MIRRORED] * torch.tensor([-1.0, 1.0])
        points: np.ndarray = (0.5 * (net(x) + mirror)).numpy()
    return points


def nme(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N, 5) distances over the distance of the eyes."""
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    error: np.ndarray = np.linalg.norm(found - truth, axis=2) / eyes[:, None]
    return error


def named(error: np.ndarray) -> dict[str, float]:
    """The mean of each point."""
    return {name: round(float(e), 4) for name, e in zip(NAMES, error.mean(0), strict=True)}


# Protocol -------------------------------------------------------------------------------------------------


def rendered(python: str, cache: Path, workers: int) -> dict[str, np.ndarray]:
    """Wide crops, net crops, points, people of the renders in which the detector finds a face."""
    faces = made(album, WHO, cache, workers, "landmarks")
    found = track(python, np.repeat(faces["images"][..., None], 3, axis=3))
    good = found["detected"] & (np.isfinite(faces["points"]).all(2).sum(1) >= 3)
    images, boxes, points = faces["images"][good], found["box"][good], faces["points"][good]
    kept, placed = crops_of(images, boxes, points, WIDE, KEPT)
    plain, _ = crops_of(images, boxes, points, 1.0, SIDE)
    _, mesh = crops_of(images, boxes, found["points"][good], 1.0, SIDE)
    return {
        "kept": kept,
        "plain": plain,
        "points": placed,
        "mesh": mesh,
        "who": faces["who"][good],
        "all": np.array(len(good)),
    }


def real(python: str) -> tuple[np.ndarray, np.ndarray]:
    """Crops of ORL and the mesh's points there."""
    faces = Orl()
    found = track(python, faces.images[..., None].repeat(3, axis=3), ORL_SCALE, ORL_PAD)
    good = found["detected"] & found["mesh_found"]
    return crops_of(faces.images[good], found["box"][good], found["points"][good], 1.0, SIDE)


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """The experiment: one net for each seed."""
    torch.set_num_threads(1)
    renders = rendered(given.tracker_python, given.cache, given.workers)
    crops, truth = real(given.tracker_python)
    held = renders["who"] >= WHO - HELD_OUT
    mean = np.nanmean(renders["points"][~held], axis=0)
    base = nme(np.broadcast_to(mean, truth.shape), truth)
    whole = held & np.isfinite(renders["points"]).all((1, 2))
    out: dict[str, Any] = {
        "renders": int(renders["all"]),
        "trained_on": int((~held).sum()),
        "orl": len(truth),
        "steps": given.steps,
        "mean_shape_nme": float(base.mean()),
        "mean_shape_points": named(base),
        "orl_mean_shape_nme": float(nme(np.broadcast_to(truth.mean(0), truth.shape), truth).mean()),
        "held_out_renders": int(whole.sum()),
        "mesh_on_renders_nme": float(np.nanmean(nme(renders["mesh"][whole], renders["points"][whole]))),
        "seeds": [],
    }
    for seed in range(given.seeds):
        begun = time.perf_counter()
        net = train(renders["kept"][~held], renders["points"][~held], seed, given.steps)
        error = nme(answers(net, crops), truth)
        inner = nme(answers(net, renders["plain"][whole]), renders["points"][whole])
        line = {
            "seed": seed,
            "nme": float(error.mean()),
            "gain": float(1 - error.mean() / base.mean()),
            "points": named(error),
            "median": float(np.median(error.mean(1))),
            "worst": float(error.mean(1).max()),
            "renders_nme": float(inner.mean()),
            "seconds": round(time.perf_counter() - begun, 1),
        }
        print(json.dumps(line), flush=True)
        out["seeds"].append(line)
    out["nme"] = float(np.mean([s["nme"] for s in out["seeds"]]))
    out["gain"] = 1 - out["nme"] / out["mean_shape_nme"]
    out["goal"] = {"value": min(s["gain"] for s in out["seeds"]), "at_least": GOAL}
    out["goal"]["met"] = out["goal"]["value"] >= GOAL
    return out


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="landmark_transfer.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracker-python", required=True, help="python of the environment with mediapipe")
    parser.add_argument("--output", type=Path, help="JSON file of everything")
    parser.add_argument("--cache", type=Path, default=Path("out/judge"), help="where renders are kept")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--steps", type=int, default=600, help="of training")
    parser.add_argument("--seeds", type=int, default=1, help="how many nets")
    given = parser.parse_args(arguments)
    try:
        if given.seeds < 1 or given.steps < 10:
            raise ConfigError(f"--seeds {given.seeds} --steps {given.steps}: at least 1 and 10")
        out = compare(given)
        versions = {"mien": mien.__version__, "python": platform.python_version(), "torch": torch.__version__}
        out |= {"commit": commit(), "versions": {**versions, "numpy": np.__version__}}
        print(json.dumps({k: v for k, v in out.items() if k != "seeds"}), flush=True)
        if given.output:
            io.write_json(given.output, out)
    except MienError as error:
        print(f"landmark_transfer: {error}", file=sys.stderr)
        return error.exit_code
    return int(not out["goal"]["met"])


if __name__ == "__main__":
    sys.exit(main())
