"""What the answering net is told: every number in its place, at unit scale, for every way of seeing."""

from __future__ import annotations

import pytest
import torch

from mien.data.config import PhysicalData
from mien.data.physical import physical_sets
from mien.methods.phycine.concepts import Latents
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.found import Gaussians
from mien.methods.phycine.model import Phycine
from mien.methods.phycine.reason import (
    SAMPLES,
    Reasoner,
    Told,
    feature_count,
    look_size,
    one_sign,
    told_of,
)
from mien.methods.phycine.sight import Seen, see_sets
from mien.methods.phycine.tracks import LOOK

DT = 0.5


def config(**changes):
    sizes = {"slots": 4, "dim": 3, "width": 8, "hidden": 8, "layers": 1, "heads": 2, "model_dim": 8}
    return PhycineConfig(**{**sizes, **changes})


def seen(sets=2, frames=9, count=2, look=LOOK):
    draw = torch.Generator().manual_seed(0)
    place = torch.randn(sets, frames, count, 2, generator=draw)
    present = torch.rand(sets, frames, count, generator=draw) > 0.3
    looks = torch.randn(sets, count, look, generator=draw)
    return Seen(place, present, looks, looks[:, None].expand(-1, frames, -1, -1))


def found(sets=2, count=2):
    z = torch.randn(2, sets, count, generator=torch.Generator().manual_seed(1))
    return Gaussians(Latents(*z), Latents(*torch.ones(2, sets, count)))


def reasoner(own):
    torch.manual_seed(0)
    return Reasoner(Phycine(own, (16, 24)), words=5, classes=3)


def test_every_number_has_its_place():
    """Of the second object: look, in five frames place / 2, velocity / 2, seen; z."""
    own, given = seen(), found()
    told = told_of(config(), own, given, DT)
    assert told.objects.shape == (2, 2, feature_count(config()))
    assert torch.equal(told.present, own.present.any(1))
    want = [own.look[1, 1]]
    for t in (1, 3, 4, 6, 8):
        speed = (own.place[1, t, 1] - own.place[1, t - 1, 1]) / DT
        want += [own.place[1, t, 1] / 2, speed / 2, own.present[1, t, 1, None].float()]
    charge = one_sign(given.mean.charge)[1, 1]
    want.append(torch.stack([given.mean.mass[1, 1], charge, charge.abs()]))
    torch.testing.assert_close(told.objects[1, 1], torch.cat(want))


def test_the_sign_of_a_sets_charges_does_not_matter():
    charge = torch.tensor([[0.5, -2.0, 0.0], [1.0, -0.5, 0.0]])
    assert one_sign(charge).tolist() == [[-0.5, 2.0, 0.0], [1.0, -0.5, 0.0]]
    assert torch.equal(one_sign(charge), one_sign(-charge))


def test_features_that_are_not_told():
    all_of_them, some, none = (
        told_of(config(features=f), seen(), found(), DT).objects for f in ("all", "seen", "none")
    )
    assert torch.equal(some, all_of_them[..., :-3])
    assert none.shape[-1] == 0
    assert reasoner(config(features="none")).tokens(Told(none, none[..., 0:0].any(-1))).shape[-1] == 0


def test_more_objects_than_are_numbered_are_left_out():
    own = config(slots=2)
    told = told_of(own, seen(), found(), DT)
    assert told.objects.shape == (2, 1, feature_count(own))


def test_tokens_have_unit_scale():
    own, told = reasoner(config()), told_of(config(), seen(sets=40), found(sets=40), DT)
    own.learn_scale(told)
    tokens = own.tokens(told)
    shown = tokens[told.present]
    count = LOOK + 5 * SAMPLES + 3
    torch.testing.assert_close(shown.mean(0), torch.zeros(count), atol=1e-4, rtol=0)
    torch.testing.assert_close(shown.std(0), torch.ones(count), atol=1e-4, rtol=0)


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_object_is_no_reason_for_nans(count):
    own, told = reasoner(config()), told_of(config(), seen(), found(), DT)
    few = torch.zeros_like(told.present)
    few[0, :count] = True
    own.learn_scale(told._replace(present=few))
    assert own.tokens(told).isfinite().all()


@pytest.mark.parametrize("sight", ["slots", "iodine", "threshold", "true"])
def test_looks_are_as_long_as_each_way_of_seeing_makes_them(sight):
    own = config(sight=sight, dim=5)
    data = PhysicalData(kind="debug", height=16, stride=25, sets=1, val_sets=1, test_sets=1, refs=2)
    sets = physical_sets(data, "train")
    net = Phycine(own, data.size, sets[0].target.dt)
    found_sets = see_sets(net.perception, own, sets, torch.device("cpu"))
    assert found_sets.targets.look.shape[-1] == look_size(own)
