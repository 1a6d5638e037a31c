"""Forces are equal and opposite, follow the signs of charges, and know nothing of order or a common mass."""

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.phycine.laws import Laws, pairs_of, rollout


def laws(**options):
    torch.manual_seed(0)
    return Laws(8, **options)


def state(n=4, batch=3):
    draw = torch.Generator().manual_seed(1)
    p, v = torch.randn(2, batch, n, 2, generator=draw)
    return p, v, *torch.randn(2, batch, n, generator=draw)


def test_pairs_of_two():
    """(3, 4) apart: n = (.6, .8); relative velocity (1, 0) closes by .6 along it, slides by .8."""
    p = torch.tensor([[3.0, 4], [0, 0]])
    v = torch.tensor([[-1.0, 0], [0, 0]])
    found = pairs_of(p, v)
    assert torch.allclose(found.normal, torch.tensor([[0.6, 0.8]]))
    assert found.distance.item() == pytest.approx(5)
    assert found.closing.item() == pytest.approx(-0.6)
    assert found.sliding.item() == pytest.approx(0.8)
    assert torch.allclose(found.tangent, torch.tensor([[-0.8, 0.6]]), atol=1e-6)


def test_momentum_stays():
    p, v, z_m, z_c = state()
    momentum = (z_m.exp()[..., None] * laws()(p, v, z_m, z_c)).sum(-2).detach()
    assert float(momentum.abs().max()) < 1e-5


def test_slow_twin():
    """Every ordered pair by itself."""
    model = laws()
    p, v, z_m, z_c = (x[0] for x in state())
    m = z_m.exp()
    want, lag = torch.zeros_like(p), torch.zeros_like(p)
    for i in range(4):
        for j in range(4):
            if i != j:
                both = pairs_of(p[[i, j]], v[[i, j]])
                push, pull, late = model.pair_forces(both, z_m[[i, j]], z_c[[i, j]])
                want[i] += (push + pull)[0] / m[i]
                lag[i] += late[0] * push[0] / m[i]
    found = model.kicks(p, v, z_m, z_c)
    assert torch.allclose(found.change, want, atol=1e-5)
    assert torch.allclose(found.lag, lag, atol=1e-5)
    assert torch.equal(model(p, v, z_m, z_c), found.change)


def test_a_collision_acts_from_where_they_touch():
    """Radii .4, .9 apart, closing at 2: they touch after .05 of .1 s. Equal masses exchange velocities."""
    model = laws(charge="none", dt=0.1)
    last = model.collision[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data[:] = torch.tensor([torch.expm1(torch.tensor(4.0)).log(), 0.0])  # softplus: 2 |closing|
    model.reach.data.fill_(0.8)
    model.log_blur.data.fill_(-8.0)
    p, v = torch.tensor([[[0.9, 0], [0.0, 0]]]), torch.tensor([[[-1.5, 0], [0.5, 0]]])
    zeros = torch.zeros(1, 2)
    with torch.no_grad():
        path, speed = rollout(model, p, v, zeros, zeros, 2, 0.1)
    assert speed[0, 1].flatten().tolist() == pytest.approx([0.5, 0, -1.5, 0], abs=1e-3)
    moved = [0.9 - 1.5 * 0.05 + 0.5 * 0.05, 0.5 * 0.05 - 1.5 * 0.05]
    assert path[0, 1, :, 0].tolist() == pytest.approx(moved, abs=0.01)
    assert torch.equal(speed[0, 2], speed[0, 1])  # they part: no second collision


def test_far_apart_or_parting_nothing_collides():
    model = laws(charge="none")
    p, v = torch.tensor([[3.0, 0], [0, 0]]), torch.tensor([[-1.0, 0], [0, 0]])
    zeros = torch.zeros(2)
    assert model(p, v, zeros, zeros).abs().max() < 1e-6
    assert model(0.4 * p, -20 * v, zeros, zeros).abs().max() < 1e-6
    assert model(0.4 * p, 4 * v, zeros, zeros).abs().max() > 0.1


def test_charges_turned_over_change_nothing_and_none_is_no_force():
    model = laws()
    p, v, z_m, z_c = state()
    assert torch.equal(model(p, v, z_m, z_c), model(p, v, z_m, -z_c))
    without = laws(charge="none")
    without.load_state_dict(model.state_dict())
    assert torch.allclose(model(p, v, z_m, 0 * z_c), without(p, v, z_m, z_c))
    assert not torch.allclose(model(p, v, z_m, z_c), without(p, v, z_m, z_c))


def test_like_charges_repel():
    model = laws()
    p, v = torch.tensor([[1.0, 0], [0, 0]]), torch.zeros(2, 2)
    free = model(p, v, torch.zeros(2), torch.zeros(2))[0, 0]
    assert model(p, v, torch.zeros(2), torch.ones(2))[0, 0] > free
    assert model(p, v, torch.zeros(2), torch.tensor([1.0, -1]))[0, 0] < free


def test_collisions_are_blind_to_a_common_factor_of_masses():
    p, v, z_m, _ = state()
    model = laws(charge="none")
    assert torch.allclose(model(p, v, z_m, z_m), model(p, v, z_m + 1.5, z_m), atol=1e-5)


def test_slots_in_another_order():
    p, v, z_m, z_c = state()
    order = torch.tensor([2, 0, 3, 1])
    model = laws()
    moved = model(p[:, order], v[:, order], z_m[:, order], z_c[:, order])
    assert torch.allclose(model(p, v, z_m, z_c)[:, order], moved, atol=1e-5)


def test_the_absent_neither_feel_nor_act():
    p, v, z_m, z_c = state()
    present = torch.tensor([True, True, True, False]).expand(3, 4)
    model = laws()
    got = model(p, v, z_m, z_c, present)
    assert torch.allclose(got[:, :3], model(p[:, :3], v[:, :3], z_m[:, :3], z_c[:, :3]), atol=1e-5)
    assert not got[:, 3].any()


def test_rollout_of_one_object_is_a_straight_line():
    p, v = torch.tensor([[[0.0, 1]]]), torch.tensor([[[2.0, -1]]])
    places, speeds = rollout(laws(), p, v, torch.zeros(1, 1), torch.ones(1, 1), 5, 0.1)
    assert torch.allclose(places[0, :, 0], p[0, 0] + torch.arange(6)[:, None] * 0.1 * v[0, 0])
    assert torch.equal(speeds[0, 5], v[0])


def test_without_mass_all_weigh_the_same():
    p, v, z_m, z_c = state()
    model = laws(mass=False)
    assert torch.equal(model(p, v, z_m, z_c), model(p, v, 0 * z_m, z_c))


def test_bad_input():
    with pytest.raises(ConfigError, match="charge must be"):
        Laws(charge="both")
    with pytest.raises(ShapeError, match="places and velocities"):
        pairs_of(torch.zeros(3, 2), torch.zeros(4, 2))
