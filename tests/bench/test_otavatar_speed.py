"""The bench of the avatar on a tiny net: its keys, its head of formulas, what it counts; no timing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.bench import heads, otavatar_speed
from mien.bench.benches import BENCHES
from mien.methods.otavatar.config import OtavatarConfig

TINY = OtavatarConfig(
    z_dim=8, w_dim=8, plane_size=32, plane_channels=8, channel_base=128, channel_max=8, decoder_width=16,
    width=8, directions=4, rays=32, samples=8, coarse=8, fine=8,
)  # fmt: skip
PLAN = otavatar_speed.Plan(
    size=16, threads=1, frames=12, repeats=2, few=2, many=4, steps=2, fit=5, config=TINY,
    eg3d={"plane_size": 8, "channel_max": 8, "z_dim": 8, "w_dim": 8, "sr_channels": ()},
)  # fmt: skip


@pytest.fixture(scope="module")
def found():
    with torch.random.fork_rng():
        return otavatar_speed.bench(PLAN)


@pytest.fixture(scope="module")
def subject():
    return heads.subject(32, 120, TINY)


def test_it_is_in_the_table():
    assert BENCHES["otavatar"][0] == "mien.bench.otavatar_speed"


def test_keys_and_entries(found):
    entries, ratios = found
    assert set(ratios) == {
        "render_speedup", "frame_speedup", "psnr_loss_db", "psnr_fast_eager_db", "fps_16", "fps_32",
        "fps_sr_64", "video_memory",
    }  # fmt: skip
    counts = {e["name"]: e["n"] for e in entries}
    assert counts == {
        "video_2": 2, "video_4": 4, "render_eager": 2, "render_fast": 2, "frame_eager": 2, "frame_fast": 2,
        "frame_16": 2, "frame_32": 2, "frame_sr_64": 2, "planes_eg3d": 3, "invert_2": 1,
    }  # fmt: skip
    by_name = {e["name"]: e for e in entries}
    assert ratios["fps_16"] == pytest.approx(1 / by_name["frame_16"]["median_s"])
    lost = by_name["render_eager"]["psnr_db"] - by_name["render_fast"]["psnr_db"]
    assert ratios["psnr_loss_db"] == pytest.approx(lost)
    assert by_name["video_4"]["peak_mb"] >= by_name["video_2"]["peak_mb"] > 0
    assert {e["model"] for e in entries} == {"a head of formulas, learnt in 5 steps"}


def test_a_model_that_enlarges_is_timed_with_it():
    own = heads.subject(16, 2, replace(TINY, sr_side=16, sr_channels=(4,)))
    _, rates = otavatar_speed._frames(own, PLAN)
    assert set(rates) == {"fps_16", "fps_32", "fps_sr_64", "fps_sr_32"}


def test_both_renderers_draw_what_was_learnt(subject):
    """Both are as far from the true picture, and near each other."""
    planes = otavatar_speed.planes_of(subject, 0)
    truth = 2 * subject.truth[:, :3] - 1
    ours, reference = (draw(subject, planes, 32).rgb for draw in (otavatar_speed.fast, otavatar_speed.eager))
    white = float((1 - truth).square().mean())
    error = float((ours - truth).square().mean())
    assert error < 0.5 * white
    assert error < 1.1 * float((reference - truth).square().mean())
    assert float((ours - reference).square().mean()) < 0.1 * error


def test_pixels():
    rgb = torch.tensor([-1.0, 0.2, 1.5]).view(1, 3, 1, 1)
    assert otavatar_speed.pixels(rgb).tolist() == [[[0, 153, 255]]]
    assert otavatar_speed.pixels(rgb).dtype == np.uint8
