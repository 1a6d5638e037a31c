"""Starts that are known come back; rollouts keep what the laws keep; one change is one change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mien.core.errors import ConfigError
from mien.methods.phycine.concepts import Latents
from mien.methods.phycine.forecast import (
    FITTED,
    Start,
    Still,
    bridged,
    changed_latents,
    explained_start,
    forecast,
    straight_start,
)
from mien.methods.phycine.laws import Laws, rollout

DT = 0.12
FRAME = {"first": 0, "last": -1}


def laws(**options):
    torch.manual_seed(0)
    return Laws(8, **options)


def charges_only():
    """Laws whose collisions push by nothing."""
    model = laws()
    nn.init.zeros_(model.collision[-1].weight)
    model.collision[-1].bias.data[:] = torch.tensor([-100.0, 0.0])
    return model


def scene(n=4, batch=3):
    draw = torch.Generator().manual_seed(1)
    p, v = torch.randn(2, batch, n, 2, generator=draw)
    return Start(p, v), Latents(*torch.randn(2, batch, n, generator=draw))


def everywhere(path):
    return torch.ones(path.shape[:3], dtype=torch.bool)


# -- starts -------------------------------------------------------------------------------------------------


def test_the_best_line_is_that_of_least_squares():
    path = torch.randn(1, 6, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    present = everywhere(path)
    path[0, 2, 1], present[0, 2, 1] = 1e3, False
    start = straight_start(path, present, DT)
    for k, frames in enumerate(([0, 1, 2, 3, 4, 5], [0, 1, 3, 4, 5])):
        slope, at_zero = np.polyfit(np.array(frames) * DT, path[0, frames, k].numpy(), 1)
        assert start.velocity[0, k].numpy() == pytest.approx(slope)
        assert start.place[0, k].numpy() == pytest.approx(at_zero)


def test_an_object_seen_once_rests_there_and_one_never_seen_nowhere():
    path = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    present = torch.zeros(1, 4, 2, dtype=torch.bool)
    present[0, 3, 0] = True
    start = straight_start(path, present, DT)
    torch.testing.assert_close(start.place[0], torch.stack([path[0, 3, 0], torch.zeros(2)]))
    assert not start.velocity.any()


@pytest.mark.parametrize("at", ["first", "last"])
@pytest.mark.parametrize("gone", [(), (0,), (2, 3), (5,)])
def test_a_known_start_is_found_again(gone, at):
    """Whether or not one object is hidden in some frames; charges act, so no line would do."""
    start, (mass, charge) = scene()
    model, latents = charges_only(), Latents(mass, 0.2 * charge)
    with torch.no_grad():
        path, speed = rollout(model, *start, *latents, FITTED - 1, DT)
    present = everywhere(path)
    seen = path.clone()
    for t in gone:
        seen[:, t, 1], present[:, t, 1] = 9.0, False
    want = Start(path[:, FRAME[at]], speed[:, FRAME[at]])
    found = explained_start(model, seen, present, latents, DT, 0.02, at)
    line = straight_start(seen, present, DT, at)
    for got, guessed, true, limit in zip(found, line, want, (0.02, 0.1), strict=True):
        missed = (got - true).abs()
        assert float(missed[:, [0, 2, 3]].max()) < (2 * limit if gone else 1e-5)
        assert float(missed.mean()) < 0.5 * float((guessed - true).abs().mean())


@pytest.mark.parametrize("at", ["first", "last"])
def test_what_lies_beyond_a_bend_that_the_laws_do_not_foretell_is_left_out(at):
    """One object bends in frame 2, the other never does; noise is below what is taken for noise."""
    t = torch.arange(FITTED)[:, None] * DT
    bent = torch.where(t < 2 * DT, t * 0.5, 2 * DT * 0.5 - (t - 2 * DT) * 1.0)
    path = torch.stack([torch.cat([bent, 0 * bent], 1), torch.cat([t, 1 - t], 1)], 1)[None]
    path = path + 0.001 * torch.randn(path.shape, generator=torch.Generator().manual_seed(0))
    zeros = Latents(torch.zeros(1, 2), torch.zeros(1, 2))
    place, velocity = explained_start(Still(), path, everywhere(path), zeros, DT, 0.01, at)
    assert velocity[0, 0].tolist() == pytest.approx([0.5 if at == "first" else -1.0, 0], abs=0.02)
    assert velocity[0, 1].tolist() == pytest.approx([1, -1], abs=0.01)
    torch.testing.assert_close(place[0], path[0, FRAME[at]], atol=3e-3, rtol=0)


def test_a_bend_next_to_the_end_leaves_two_frames():
    path = torch.tensor([0.0, 1, 2, 3, 4, 3])[:, None].expand(6, 2)[None, :, None] * DT
    zeros = Latents(torch.zeros(1, 1), torch.zeros(1, 1))
    place, velocity = explained_start(Still(), path, everywhere(path), zeros, DT, 0.01, "last")
    assert velocity.flatten().tolist() == pytest.approx([-1, -1], abs=1e-5)
    torch.testing.assert_close(place[0, 0], path[0, -1, 0])


@pytest.mark.parametrize("at", ["first", "last"])
def test_an_object_that_is_never_seen_changes_no_start(at):
    start, latents = scene()
    path = forecast(laws(), start, latents, FITTED - 1, DT)
    present = everywhere(path)
    present[..., 3] = False
    whole = explained_start(laws(), path, present, latents, DT, 0.02, at)
    some = Latents(*(z[:, :3] for z in latents))
    alone = explained_start(laws(), path[:, :, :3], present[..., :3], some, DT, 0.02, at)
    for a, b in zip(whole, alone, strict=True):
        torch.testing.assert_close(a[:, :3], b)


def test_gaps_are_bridged_and_ends_are_not():
    path = torch.tensor([9.0, 1, 9, 9, 4, 9])[None, :, None, None].expand(1, 6, 1, 2)
    present = torch.tensor([False, True, False, False, True, False])[None, :, None]
    place, known = bridged(path, present)
    assert place[0, :, 0, 0].tolist() == [9, 1, 2, 3, 4, 9]
    assert known[0, :, 0].tolist() == [False, True, True, True, True, False]
    never, nowhere = bridged(path, torch.zeros_like(present))
    assert torch.equal(never, path)
    assert not nowhere.any()


def test_one_frame_is_a_place_at_rest():
    path = torch.randn(2, 1, 3, 2, generator=torch.Generator().manual_seed(0))
    zeros = Latents(torch.zeros(2, 3), torch.zeros(2, 3))
    found = explained_start(Still(), path, everywhere(path), zeros, DT, 0.02)
    assert torch.equal(found.place, path[:, 0])
    assert not found.velocity.any()


# -- rollouts -----------------------------------------------------------------------------------------------


def test_without_forces_paths_are_straight():
    start, latents = scene()
    path = forecast(Still(), start, latents, 8, DT)
    t = torch.arange(9)[:, None, None] * DT
    torch.testing.assert_close(path, start.place[:, None] + t * start.velocity[:, None])


def test_all_charges_turned_over_leave_every_path():
    start, (mass, charge) = scene()
    one, other = (forecast(laws(), start, Latents(mass, q), 8, DT) for q in (charge, -charge))
    assert torch.equal(one, other)


def test_no_charge_is_the_model_without_that_force():
    start, (mass, charge) = scene()
    neutral = Latents(mass, torch.zeros_like(charge))
    without = laws(charge="none")
    without.load_state_dict(laws().state_dict())
    path = forecast(laws(), start, neutral, 8, DT)
    torch.testing.assert_close(path, forecast(without, start, Latents(mass, charge), 8, DT))
    assert not torch.allclose(path, forecast(laws(), start, Latents(mass, charge), 8, DT))


def test_momentum_stays_all_along():
    start, latents = scene()
    with torch.no_grad():
        _, speeds = rollout(laws(), *start, *latents, 8, DT)
    momentum = (latents.mass.exp()[:, None, :, None] * speeds).sum(2)
    torch.testing.assert_close(momentum, momentum[:, :1].expand_as(momentum), atol=1e-4, rtol=1e-4)


def test_slots_in_another_order_move_alike():
    start, latents = scene()
    order = [2, 0, 3, 1]
    moved = forecast(
        laws(), Start(*(x[:, order] for x in start)), Latents(*(z[:, order] for z in latents)), 8, DT
    )
    torch.testing.assert_close(moved, forecast(laws(), start, latents, 8, DT)[:, :, order])


def test_collisions_do_not_know_a_common_factor_of_all_masses():
    start, (mass, charge) = scene()
    model = laws(charge="none")
    one, other = (forecast(model, start, Latents(mass + z, charge), 8, DT) for z in (0.0, 1.5))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_the_absent_neither_feel_nor_act():
    start, latents = scene()
    there = torch.tensor([True, True, False, True]).expand(3, 4)
    path = forecast(laws(), start, latents, 8, DT, there)
    kept = [0, 1, 3]
    alone = forecast(
        laws(), Start(*(x[:, kept] for x in start)), Latents(*(z[:, kept] for z in latents)), 8, DT
    )
    torch.testing.assert_close(path[:, :, kept], alone)
    t = torch.arange(9)[:, None] * DT
    torch.testing.assert_close(path[:, :, 2], start.place[:, None, 2] + t * start.velocity[:, None, 2])


# -- interventions ------------------------------------------------------------------------------------------


def test_a_charge_taken_away_straightens_its_partners_path():
    start, latents = scene(n=2)
    away = changed_latents(latents, "charge", torch.zeros(3, dtype=torch.long), torch.zeros(3))
    model = charges_only()
    bent, straight = (forecast(model, start, z, 8, DT) for z in (latents, away))
    line = forecast(Still(), start, latents, 8, DT)
    torch.testing.assert_close(straight, line)
    assert float((bent - line)[:, -1].norm(dim=-1).min()) > 1e-3


def test_a_mass_five_times_heavier_is_pushed_a_third_as_far():
    """Of two masses 1: m_j / (m_i + m_j) falls from 1/2 to 1/6; the partner's grows from 1/2 to 5/6."""
    start, _ = scene(n=2)
    ones = Latents(torch.zeros(3, 2), torch.zeros(3, 2))
    heavy = changed_latents(ones, "mass", torch.zeros(3, dtype=torch.long), torch.full((3,), 5.0))
    with torch.no_grad():
        before, after = (laws()(*start, *z) for z in (ones, heavy))
    assert before.abs().min() > 1e-4
    torch.testing.assert_close(after[:, 0], before[:, 0] / 3)
    torch.testing.assert_close(after[:, 1], before[:, 1] * 5 / 3)


def test_changed_latents():
    latents = Latents(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([[0.5, -1.0], [0.2, 0.3]]))
    items = torch.tensor([1, 0])
    heavier = changed_latents(latents, "mass", items, torch.tensor([5.0, 0.2]))
    torch.testing.assert_close(heavier.mass, torch.tensor([[0.0, 2.609438], [0.390562, 3.0]]))
    assert torch.equal(heavier.charge, latents.charge)
    turned = changed_latents(latents, "charge", items, torch.tensor([-1.0, 0.0]))
    assert turned.charge.tolist() == [[0.5, 1.0], [0.0, pytest.approx(0.3)]]
    assert latents.charge[0, 1] == -1  # what was given is as it was
    with pytest.raises(ConfigError, match="what='colour': 'mass' or 'charge'"):
        changed_latents(latents, "colour", items, torch.ones(2))
