"""How much of a portrait the tuned generator shows: PSNR over the steps of tuning, and what the sides lose.

    python tools/otavatar_tuning.py            # some minutes; into results/otavatar.facts.jsonl

Two rendered people whom no training saw (front and six other sides are known), and one photograph.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from mien.bench.store import commit, results_dir
from mien.core import io
from mien.engine.zoo import load_folder
from mien.methods.otavatar import demo
from mien.methods.otavatar.motion_track import MotionTrack
from mien.methods.otavatar.photos import on_white
from mien.methods.otavatar.predict import Predictor, picture_psnr
from mien.synth.orbit import orbit_cameras

PEOPLE = (1_000_001, 1_000_002)
TRIED = ((0, 3e-4, 0.0), (50, 3e-4, 0.0), (80, 1e-2, 0.0), (80, 0.0, 0.15), (200, 0.0, 0.15))
"""Steps, rate, and rate of the person's own planes; the second is the released setting."""


def main() -> None:
    """Inverts, tunes and measures."""
    avatar = Predictor.from_folder(load_folder(demo.OURS))
    still = MotionTrack.from_talk(demo.SEED, 1, "perform")
    people = [demo.perform_truly(number, still, avatar.size) for number in PEOPLE]
    portrait, mask = demo.astronaut(avatar.size)
    seen = torch.from_numpy(portrait).movedim(-1, 0)[None] / 255
    photograph = on_white(seen, torch.from_numpy(mask)[None, None])[0].movedim(0, -1).mul(255).round()
    lines = []
    for steps, rate, own in TRIED:
        front, sides, seconds = [], [], []
        for truth in people:
            began = time.perf_counter()
            state = avatar.invert(
                truth.still, steps=demo.STEPS, pti_steps=steps, pti_lr=rate, pti_own=own, seed=demo.SEED
            )
            seconds.append(time.perf_counter() - began)
            front.append(picture_psnr(avatar.view(state), truth.still))
            field = avatar.field(state)
            drawn = [field.picture(c, avatar.size) for c in torch.from_numpy(orbit_cameras(demo.SIDES))]
            sides.append(demo.mean_psnr(drawn, truth.sides))
        state = avatar.invert(
            portrait, mask=mask, steps=demo.STEPS, pti_steps=steps, pti_lr=rate, pti_own=own, seed=demo.SEED
        )
        real = picture_psnr(avatar.view(state), photograph.numpy().astype(np.uint8))
        mean = [statistics.fmean(x) for x in (front, sides, seconds)]
        lines.append({
            "name": f"tuning_{steps}_{rate:g}_{own:g}",
            "text": f"tuning (7), {steps} steps at {rate:g}, own planes at {own:g}: PSNR of two"
            " rendered people's portraits and of their other sides; of the photograph; seconds with the"
            " inversion, 2 threads",
            "value": f"{mean[0]:.1f}, {mean[1]:.1f}; {real:.1f} dB; {mean[2]:.0f} s",
            "commit": commit(),
        })  # fmt: skip
        print(lines[-1]["text"], lines[-1]["value"], flush=True)
    for line in lines:
        io.append_line(results_dir() / "otavatar.facts.jsonl", line)


if __name__ == "__main__":
    main()
