"""The bench of the world of colliding charges on a few clips: its keys and what it compares; no timing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mien.bench import phycine_speed
from mien.bench.benches import BENCHES
from mien.core.errors import MissingPackageError
from mien.synth.phys_world import PhysWorld

PLAN = phycine_speed.Plan(
    objects=3, frames=6, size=16, reference=2, clips=4, batch=3, batches=2, repeats=2, explained=2
)


def test_keys_and_entries():
    pytest.importorskip("pymunk")
    entries, ratios = phycine_speed.bench(PLAN)
    assert set(ratios) == {
        "simulate_speedup_over_pymunk", "pymunk_difference", "simulate_clips_per_second",
        "render_clips_per_second", "clips_per_second", "clips_memory", "infer_clips_per_second",
    }  # fmt: skip
    by_name = {e["name"]: e for e in entries}
    assert list(by_name) == [
        "pymunk_clip",
        "simulate_clip",
        "render_clip",
        "infer_clip",
        "clips_3",
        "clips_6",
    ]
    assert ratios["pymunk_difference"] < 1e-6
    assert ratios["clips_memory"] >= 1
    assert ratios["render_clips_per_second"] == pytest.approx(1 / by_name["render_clip"]["median_s"])
    assert ratios["clips_per_second"] < ratios["simulate_clips_per_second"]
    assert all(np.isfinite(v) for v in ratios.values())


@pytest.mark.parametrize("settings", [{}, {"drag": 0.4, "strength": 2.0}, {"restitution": 0.5}])
def test_pymunk_is_given_the_same_laws(settings):
    pytest.importorskip("pymunk")
    world = PhysWorld(3, half=1.0, **settings)
    clips = world.simulate(6, 8)
    found = phycine_speed.pymunk_places(world, clips.x[:, 0], clips.v[:, 0], clips.objects, 8)
    assert clips.hits.any()
    assert (clips.q[:, :1] * clips.q[:, 1:]).any()
    assert found == pytest.approx(clips.x, abs=1e-6)


def test_it_is_registered():
    assert BENCHES["phycine"][0] == "mien.bench.phycine_speed"


def test_batches_differ():
    made = [phycine_speed.drawn_batch(PLAN, k) for k in range(2)]
    assert [m.frames.shape for m in made] == [(3, 6, 16, 16, 3)] * 2
    assert not np.array_equal(made[0].frames, made[1].frames)


def test_no_pymunk_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymunk", None)
    with pytest.raises(MissingPackageError) as caught:
        phycine_speed.bench(PLAN)
    assert str(caught.value) == "pymunk is not installed; it is needed here: pip install 'mien[dev]'"
