"""The whole model: what a video tells, what comes next, and what would if."""

from __future__ import annotations

import pytest
import torch

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.data.config import PhysicalData
from mien.data.physical import physical_sets, rows_to_tensor
from mien.methods.phycine.blackbox import PairwiseDynamics, SlotTransformer
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.laws import Laws
from mien.methods.phycine.model import Normal, Phycine, PhysLatents, fit_settings
from mien.synth.comphy_set import VIEW

DT = 0.2
SIZE = (16, 24)


def model(**changes):
    torch.manual_seed(0)
    sizes = {"slots": 4, "dim": 4, "width": 8, "hidden": 8, "window": 3, "infer_steps": 2}
    size = changes.pop("size", SIZE)
    return Phycine(PhycineConfig(**{**sizes, **changes}), size, DT)


@pytest.fixture(scope="module")
def video():
    """A made reference, 48 x 72, every fifth frame."""
    data = PhysicalData(kind="debug", stride=5, sets=1, val_sets=1, test_sets=1)
    return rows_to_tensor(physical_sets(data, "train")[0].references[0].video())[None]


def latents(batch=2, slots=4, dim=4):
    draw = torch.Generator().manual_seed(1)

    def normal(*shape):
        return Normal(torch.randn(batch, slots, *shape, generator=draw), torch.ones(batch, slots, *shape))

    present = torch.tensor([False, True, True, True]).expand(batch, slots)
    return PhysLatents(normal(2 + dim), normal(2), normal(), normal(), present)


def changed(told, **means):
    return told._replace(**{name: Normal(mean, getattr(told, name).std) for name, mean in means.items()})


# -- inference ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sight", ["slots", "iodine", "threshold"])
def test_a_video_gives_all_levels(video, sight):
    own = model(sight=sight, size=(48, 72), iterations=1)
    told = own.infer(video)
    dim = told.ctx.mean.shape[-1]
    assert [tuple(part.mean.shape) for part in told[:4]] == [(1, 4, dim), (1, 4, 2), (1, 4), (1, 4)]
    assert told.present.shape == (1, 4)
    assert all(bool(x.isfinite().all()) and bool((s >= 0).all()) for x, s in told[:4])
    again = own.infer(video)
    assert torch.equal(again.charge.mean, told.charge.mean)


def squares():
    """A red square that moves two pixels to the right and one up in every frame, a blue one at rest."""
    video = torch.full((1, 9, 3, 48, 72), 0.8)
    for t in range(9):
        video[0, t, :, 30 - t : 36 - t, 10 + 2 * t : 16 + 2 * t] = torch.tensor([0.8, 0.1, 0.1])[
            :, None, None
        ]
    video[0, :, :, 4:10, 50:56] = torch.tensor([0.1, 0.1, 0.8])[:, None, None]
    return video


def test_places_and_velocities_are_those_of_the_last_frame():
    """With laws that do nothing; a pixel is 2 * 1.9 / 48 of a world unit."""
    own = model(sight="threshold", size=(48, 72), charge="none")
    torch.nn.init.zeros_(own.laws.collision[-1].weight)
    own.laws.collision[-1].bias.data[:] = torch.tensor([-100.0, 0.0])
    told, pixel = own.infer(squares()), 2 * VIEW / 48
    on = torch.nonzero(told.present[0]).flatten()
    assert len(on) == 2
    place = torch.tensor([[10 + 16 + 3 - 36, 24 - (30 - 8 + 3)], [53 - 36, 24 - 7]]) * pixel
    speed = torch.tensor([[2.0, 1.0], [0.0, 0.0]]) * pixel / DT
    order = on[told.ctx.mean[0, on, 0].argsort()]
    torch.testing.assert_close(told.ctx.mean[0, order, :2], place, atol=5e-3, rtol=0)
    torch.testing.assert_close(told.dyn.mean[0, order], speed, atol=5e-3, rtol=0)
    assert not any(x.requires_grad for part in told[:4] for x in part)


def test_empty_slots_do_not_act():
    """More slots than objects: what is found of the objects stays."""
    few, many = (model(sight="threshold", size=(48, 72), slots=n, infer_steps=0) for n in (3, 8))
    a, b = (m.infer(squares()) for m in (few, many))
    assert a.present[0].tolist() == [False, True, True] == b.present[0, :3].tolist()
    assert not b.present[0, 3:].any()
    torch.testing.assert_close(a.charge.mean, b.charge.mean[:, :3])
    torch.testing.assert_close(a.ctx.mean[0, 1:], b.ctx.mean[0, 1:3], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(a.dyn.mean[0, 1:], b.dyn.mean[0, 1:3], atol=1e-3, rtol=1e-3)


def test_who_has_left_is_absent():
    """Seen at first, in none of the last six frames."""
    video = squares()
    video[0, 2:, :, 4:10, 50:56] = 0.8
    told = model(sight="threshold", size=(48, 72)).infer(video)
    assert told.present.sum() == 1
    assert told.ctx.mean[0, told.present[0], 0] < 0  # the red one, on the left


def test_bad_videos():
    own = model()
    with pytest.raises(DataError, match="clips of 3 frames are too short for a window of 3"):
        own.infer(torch.rand(1, 3, 3, *SIZE))
    with pytest.raises(ShapeError, match="frames must be 16 x 24 pixels, got 24 x 16"):
        own.infer(torch.rand(1, 6, 3, 24, 16))
    with pytest.raises(ShapeError, match=r"a video is \(B, T, 3, H, W\)"):
        own.infer(torch.rand(6, 3, *SIZE))


# -- rollouts -----------------------------------------------------------------------------------------------


def test_a_rollout_of_no_steps_draws_what_is_known():
    own, told = model(), latents()
    out = own.rollout(told, 0)
    place, code = told.ctx.mean.split([2, 4], -1)
    slots = torch.cat([place * torch.tensor([1 / VIEW, -1 / VIEW]), code], -1)
    with torch.no_grad():
        layers = own.slots.decoder(slots[:, None])
    torch.testing.assert_close(out.frames, layers.image)
    torch.testing.assert_close(out.place[:, 0], place)
    torch.testing.assert_close(out.masks.sum(2), torch.ones(2, 1, *SIZE))


def test_shapes_of_a_rollout():
    out = model().rollout(latents(), 3)
    assert out.frames.shape == (2, 4, 3, *SIZE)
    assert out.masks.shape == (2, 4, 4, *SIZE)
    assert out.place.shape == out.velocity.shape == (2, 4, 4, 2)
    apart = model()
    apart.laws.reach.data.fill_(-10.0)  # no collisions, which move objects from where they touch
    out = apart.rollout(latents(), 3)
    torch.testing.assert_close(out.place[:, 1:], out.place[:, :-1] + DT * out.velocity[:, 1:])


def test_all_charges_turned_over_leave_every_picture():
    told = latents()
    one, other = (model().rollout(t, 4) for t in (told, changed(told, charge=-told.charge.mean)))
    assert torch.equal(one.frames, other.frames)
    assert torch.equal(one.place, other.place)


def test_absent_slots_neither_feel_nor_act():
    told = latents()
    ctx, charge = told.ctx.mean.clone(), told.charge.mean.clone()
    ctx[:, 0, :2], charge[:, 0] = 0.1, 50.0
    one, other = (model().rollout(t, 4) for t in (told, changed(told, ctx=ctx, charge=charge)))
    assert torch.equal(one.place[:, :, 1:], other.place[:, :, 1:])
    line = ctx[:, None, 0, :2] + torch.arange(5)[:, None] * DT * told.dyn.mean[:, None, 0]
    torch.testing.assert_close(other.place[:, :, 0], line)


def test_absent_slots_are_not_drawn_but_for_the_background():
    told = latents()
    gone = torch.zeros_like(told.present)
    gone[:, 2] = True
    masks = model().rollout(told._replace(present=gone), 1).masks
    assert masks[:, :, [1, 3]].abs().max() == 0
    assert masks[:, :, [0, 2]].amin() > 0


def test_slots_in_another_order_give_the_same_video():
    told, order = latents(), [0, 3, 1, 2]
    parts = [Normal(part.mean[:, order], part.std[:, order]) for part in told[:4]]
    moved = model().rollout(PhysLatents(*parts, told.present[:, order]), 3)
    own = model().rollout(told, 3)
    torch.testing.assert_close(moved.frames, own.frames, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(moved.place, own.place[:, :, order])


def test_interventions_change_one_property_of_one_slot():
    own, told = model(), latents()
    away = own.rollout(told, 4, intervene={"charge": {1: 0.0}})
    charge = told.charge.mean.clone()
    charge[:, 1] = 0
    torch.testing.assert_close(away.place, own.rollout(changed(told, charge=charge), 4).place)
    heavier = own.rollout(told, 4, intervene={"mass": {2: 5.0}, "charge": {1: 0.0}})
    mass = told.mass.mean.clone()
    mass[:, 2] += torch.tensor(5.0).log()
    both = own.rollout(changed(told, charge=charge, mass=mass), 4)
    torch.testing.assert_close(heavier.place, both.place)
    assert not torch.allclose(away.place, own.rollout(told, 4).place)
    with pytest.raises(ConfigError, match="what='size': 'mass' or 'charge'"):
        own.rollout(told, 1, intervene={"size": {1: 2.0}})


def test_only_slots_can_draw():
    with pytest.raises(ConfigError, match=r"method\.sight='threshold' has no decoder of slots; use 'slots'"):
        model(sight="threshold").rollout(latents(), 1)


# -- settings -----------------------------------------------------------------------------------------------


def test_dynamics_by_name():
    kinds = {"forces": Laws, "pairwise": PairwiseDynamics, "transformer": SlotTransformer}
    for name, kind in kinds.items():
        own = model(dynamics=name)
        assert type(own.laws) is kind
        assert own.rollout(latents(), 2).place.isfinite().all()
    assert (model(charge="none", mass=False).laws.charge, model(mass=False).laws.mass) == ("none", False)


def test_settings_of_a_fit_are_those_of_the_config():
    config = PhycineConfig(window=5, noise=0.03, infer_steps=7, infer_lr=0.2, pull_mass=0.5, spread=0.1)
    found = fit_settings(config)
    assert all(
        getattr(found, n) == getattr(config, n) for n in ("window", "noise", "infer_steps", "infer_lr")
    )
    assert (found.pull_mass, found.pull_charge, found.spread) == (0.5, config.pull_charge, 0.1)
