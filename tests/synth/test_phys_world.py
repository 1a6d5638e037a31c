"""The world of colliding charges: worked numbers, a slow twin, the identities of mechanics, pymunk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES, Objects, PhysWorld, changed


def objects_of(mass, charge, radius=0.35):
    """(B, N) objects that all look the same."""
    mass, charge = np.atleast_2d(np.array(mass, float)), np.atleast_2d(np.array(charge, float))
    looks = np.zeros(mass.shape, int)
    return Objects(mass, charge, np.full(mass.shape, radius), looks, looks, looks)


def started(seed=3, batch=6, **settings):
    """A world that collides and repels a lot, and the start of its clips."""
    world = PhysWorld(**{"n_objects": 5, "half": 1.3, "speed": 0.9, **settings})
    clips = seed * 1000 + np.arange(batch)
    objects = world.draw_objects(clips)
    return world, objects, *world.draw_start(objects, clips)


def energy(run, strength, eps):
    """(B, T): motion and softened charges, sum m v^2 / 2 + sum over pairs k q q / sqrt(d^2 + eps^2)."""
    motion = 0.5 * (run.m[:, None] * (run.v**2).sum(-1)).sum(-1)
    i, j = np.triu_indices(run.x.shape[2], 1)
    d2 = ((run.x[:, :, i] - run.x[:, :, j]) ** 2).sum(-1)
    return motion + (strength * (run.q[:, i] * run.q[:, j])[:, None] / np.sqrt(d2 + eps**2)).sum(-1)


def momentum(run):
    return (run.m[:, None, :, None] * run.v).sum(2)


def test_one_impulse():
    """m = 1, 5 at distance (-.6, -.3): J = 2.385139."""
    world = PhysWorld(2, dt=1e-9, substeps=1)
    run = world.run([[[0, 0], [0.6, 0.3]]], [[[1, 0.2], [-0.5, 0]]], objects_of([1, 5], [0, 0]), 2)
    assert run.v[0, 1] == pytest.approx(np.array([[-1.133333, -0.866667], [-0.073333, 0.213333]]), abs=1e-6)
    assert run.hits[0, 1, 0, 1]
    assert 5 * np.linalg.norm(run.v[0, 1, 1] - run.v[0, 0, 1]) == pytest.approx(2.385139, abs=1e-6)
    assert energy(run, 1, 0.3)[0] == pytest.approx([1.145, 1.145], abs=1e-9)


@pytest.mark.parametrize(
    ("charge", "tenth", "last", "hits"),
    [
        (
            (1, 1),
            [[-0.643923, -0.016193], [0.928785, 0.203239]],
            [[-0.953694, -0.200596], [0.990739, 0.240119]],
            [],
        ),
        (
            (1, -1),
            [[-0.344586, 0.017731], [0.868917, 0.196454]],
            [[-0.916241, -0.344974], [0.983248, 0.268995]],
            [[0, 15, 0, 1]],
        ),
    ],
)
def test_two_charges(charge, tenth, last, hits):
    world = PhysWorld(2)
    start = [[[-1, 0], [1, 0.2]]], [[[0.5, 0], [-0.1, 0]]]
    run = world.run(*start, objects_of([1, 5], charge), 30)
    assert run.x[0, 10] == pytest.approx(np.array(tenth), abs=1e-6)
    assert run.x[0, 29] == pytest.approx(np.array(last), abs=1e-6)
    assert run.collisions.tolist() == hits
    assert np.abs(momentum(run)).max() < 1e-12
    assert np.array_equal(run.x, world.run(*start, objects_of([1, 5], -np.array(charge)), 30).x)


def twin(world, x, v, objects, frames):
    """One clip, one object at a time, in vectors."""
    x, v, n, h = x.copy(), v.copy(), len(x), world.dt / world.substeps
    m, q, r = (a[0] for a in (objects.mass, objects.charge, objects.radius))
    places = [x.copy()]
    for _ in range((frames - 1) * world.substeps):
        force = np.zeros_like(x)
        for i in range(n):
            for j in set(range(n)) - {i}:
                d = x[i] - x[j]
                force[i] += world.strength * q[i] * q[j] * d / (d @ d + world.softening**2) ** 1.5
        v = v + h * (force / m[:, None] - world.drag * v)
        x = x + h * v
        for i in range(n):
            for j in range(i + 1, n):
                normal = (x[i] - x[j]) / np.linalg.norm(x[i] - x[j])
                closing = (v[i] - v[j]) @ normal
                if np.linalg.norm(x[i] - x[j]) < r[i] + r[j] and closing < 0:
                    impulse = -(1 + world.restitution) * closing / (1 / m[i] + 1 / m[j])
                    v[i] += impulse * normal / m[i]
                    v[j] -= impulse * normal / m[j]
        places.append(x.copy())
    return np.array(places[:: world.substeps])


def test_the_slow_twin():
    world, objects, x, v = started(restitution=0.7, drag=0.2, strength=1.5)
    run = world.run(x, v, objects, 15)
    assert len(run.collisions) > 5
    for b in range(len(x)):
        assert run.x[b] == pytest.approx(twin(world, x[b], v[b], _clip(objects, b), 15), abs=1e-9)


def _clip(objects, b):
    return Objects(*(getattr(objects, f)[b : b + 1] for f in Objects.__dataclass_fields__))


def test_momentum_is_kept_and_drag_shrinks_it():
    world, objects, x, v = started(restitution=0.6)
    run = world.run(x, v, objects, 25)
    assert np.abs(momentum(run) - momentum(run)[:, :1]).max() < 1e-10
    dragged = replace(world, drag=0.5).run(x, v, objects, 25)
    share = (1 - 0.5 * 0.01) ** (10 * np.arange(25))[None, :, None]
    assert momentum(dragged) == pytest.approx(momentum(dragged)[:, :1] * share, abs=1e-10)


def test_energy_is_kept_by_elastic_collisions_and_lost_by_others():
    world, objects, x, v = started(charge_values=(0,))
    elastic = energy(world.run(x, v, objects, 25), 1, 0.3)
    assert elastic == pytest.approx(np.repeat(elastic[:, :1], 25, 1), rel=1e-10)
    steps = np.diff(energy(replace(world, restitution=0.5).run(x, v, objects, 25), 1, 0.3), axis=1)
    assert steps.max() < 1e-10
    assert steps.min() < -0.01


def test_energy_of_charges_drifts_with_the_step():
    """Symplectic Euler: a tenth of the step, about a tenth of the error."""
    world, objects, x, v = started(batch=20, half=2.5)
    gaps = []
    for substeps in (10, 100):
        total = energy(replace(world, substeps=substeps).run(x, v, objects, 25), 1, 0.3)
        gaps.append(np.abs(total - total[:, :1]).mean())
    assert gaps[1] < 0.2 * gaps[0]


def test_no_force_no_bend():
    world, objects, x, v = started(charge_values=(0,), radius=1e-6)
    run = world.run(x, v, objects, 20)
    assert not run.hits.any()
    straight = x[:, None] + 0.1 * np.arange(20)[:, None, None] * v[:, None]
    assert run.x == pytest.approx(straight, abs=1e-12)


def test_flipping_every_charge_changes_nothing():
    world, objects, x, v = started()
    flipped = replace(objects, charge=-objects.charge)
    assert np.array_equal(world.run(x, v, objects, 20).x, world.run(x, v, flipped, 20).x)


def test_masses_matter_by_ratio_only_unless_charges_act():
    world, objects, x, v = started(batch=10)
    heavier = replace(objects, mass=3 * objects.mass)
    assert np.abs(world.run(x, v, objects, 15).x - world.run(x, v, heavier, 15).x).max() > 0.1
    neutral, both = (replace(o, charge=0 * o.charge) for o in (objects, heavier))
    assert world.run(x, v, neutral, 15).x == pytest.approx(world.run(x, v, both, 15).x, abs=1e-9)


def test_a_lone_charge_is_not_seen():
    world, objects, x, v = started(charge_values=(0,))
    one = replace(objects, charge=np.eye(1, 5) + 0 * objects.charge)
    assert np.array_equal(world.run(x, v, objects, 20).x, world.run(x, v, one, 20).x)


def test_collisions_name_the_pair_once():
    world, objects, x, v = started(batch=20)
    run = world.run(x, v, objects, 20)
    assert np.array_equal(run.hits, run.hits.transpose(0, 1, 3, 2))
    assert not run.hits[:, 0].any()
    assert 2 * len(run.collisions) == run.hits.sum() > 0
    assert (run.collisions[:, 2] < run.collisions[:, 3]).all()


def test_the_same_seed_the_same_clips():
    a, b, other = (PhysWorld(seed=s).simulate(8, 12) for s in (4, 4, 5))
    assert all(np.array_equal(getattr(a, f), getattr(b, f)) for f in ("x", "v", "m", "q", "hits"))
    assert not np.array_equal(a.x, other.x)


def test_fewer_frames_are_the_first_of_more():
    short, long = (PhysWorld(seed=4).simulate(8, t) for t in (5, 12))
    assert np.array_equal(short.x, long.x[:, :5])
    assert np.array_equal(short.hits, long.hits[:, :5])


def test_clips_do_not_touch_each_other():
    world, objects, x, v = started()
    whole = world.run(x, v, objects, 12)
    assert np.array_equal(whole.x[2:3], world.run(x[2:3], v[2:3], _clip(objects, 2), 12).x)


def test_what_is_drawn():
    world = PhysWorld(n_objects=5, shapes=("cube", "sphere"))
    clips = np.arange(2000)
    objects = world.draw_objects(clips)
    looks = objects.colour + 8 * objects.material + 16 * objects.shape
    assert (np.diff(np.sort(looks, 1), axis=1) > 0).all()
    assert set(np.unique(objects.shape)) == {SHAPES.index("sphere"), SHAPES.index("cube")}
    assert len(np.unique(objects.colour)) == len(COLOURS)
    assert len(np.unique(objects.material)) == len(MATERIALS)
    assert np.mean(objects.mass == 5) == pytest.approx(0.5, abs=0.02)
    assert [np.mean(objects.charge == c) for c in (-1, 0, 1)] == pytest.approx([1 / 3] * 3, abs=0.02)
    for look in (objects.colour, objects.material, objects.shape, objects.charge):
        assert abs(np.corrcoef(look.ravel(), objects.mass.ravel())[0, 1]) < 0.04
    x, v = world.draw_start(objects, clips)
    apart = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) + 9 * np.eye(5)
    assert apart.min() >= 0.65
    assert np.abs(x).max() <= 1.6
    assert v.std() == pytest.approx(0.6, abs=0.01)


def test_one_changed_number_leaves_the_rest():
    objects = PhysWorld().draw_objects(np.arange(3))
    before = objects.charge.copy()
    one = changed(objects, 1, "charge", 2, -9.0)
    assert one.charge.shape == (1, 4)
    assert one.charge[0, 2] == -9
    assert np.array_equal(np.delete(one.charge, 2, 1), np.delete(before[1:2], 2, 1))
    assert np.array_equal(one.mass, objects.mass[1:2])
    assert np.array_equal(objects.charge, before)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"n_objects": 0}, "n_objects 1 .. 16"),
        ({"substeps": 0}, "substeps >= 1"),
        ({"dt": 0.0}, "dt > 0"),
        ({"softening": 0.0}, "softening > 0"),
        ({"restitution": 1.1}, "restitution 0 .. 1"),
        ({"drag": -1.0}, "drag >= 0"),
        ({"mass_values": (0, 1)}, "above 0"),
        ({"charge_values": ()}, "not empty"),
        ({"shapes": ("cone",)}, "cone"),
    ],
)
def test_bad_settings(settings, says):
    with pytest.raises(ConfigError, match=says):
        PhysWorld(**settings)
    assert PhysWorld()  # the defaults are fine


def test_bad_starts():
    objects = objects_of([1, 1], [0, 0])
    with pytest.raises(ConfigError, match=r"x and v must be \(B, N, 2\)"):
        PhysWorld(2).run(np.zeros((1, 3, 2)), np.zeros((1, 3, 2)), objects, 5)
    with pytest.raises(ConfigError, match="do not fit"):
        PhysWorld(16, half=0.5).simulate(1, 2)
    with pytest.raises(ConfigError, match="frames >= 1"):
        PhysWorld(2).run(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), objects, 0)
    assert PhysWorld(2).run(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), objects, 1).x.shape == (1, 1, 2, 2)


def test_pymunk_agrees():
    """Chipmunk moves, then solves contacts: our order, when charges are added to the velocities before."""
    pytest.importorskip("pymunk")
    from mien.bench.phycine_speed import pymunk_places

    world, objects, x, v = started(batch=40, n_objects=3, half=0.8, restitution=0.8)
    run = world.run(x, v, objects, 16)
    assert len(run.collisions) > 5
    assert run.x == pytest.approx(pymunk_places(world, x, v, objects, 16), abs=1e-6)


def test_a_clip_is_the_same_whatever_is_drawn_beside_it():
    few, many = PhysWorld(seed=4).simulate(2, 5, first=3), PhysWorld(seed=4).simulate(6, 5)
    assert np.array_equal(few.x, many.x[3:5])
    assert np.array_equal(few.q, many.q[3:5])
