"""What goes wrong is found, and what mends it does so."""

import pytest
import torch

from mien.methods.igc_net import watchers
from mien.methods.igc_net.config import IgcNetConfig
from mien.methods.igc_net.model import IGCNet
from mien.methods.igc_net.watchers import (
    Health,
    dome_correlation,
    health,
    part_shares,
    revive_part,
    turn_inside_out,
)

SIZE = 32


def net(**changes):
    torch.manual_seed(0)
    return IGCNet(IgcNetConfig(**{"width": 8, "dim": 8, "features": 16, "query": 4, **changes}), SIZE)


def dome():
    at = torch.linspace(-1, 1, SIZE)
    return 1 - 0.05 * (1 - at[None] ** 2 - at[:, None] ** 2).clamp_min(0)[None]


def layers(*won):
    """Visibility of layers that win the given numbers of columns."""
    owner = torch.repeat_interleave(torch.arange(len(won)), torch.tensor(won))
    return torch.nn.functional.one_hot(owner, len(won)).mT.float()[None, :, None].expand(-1, -1, SIZE, -1)


def test_shares_and_dead_parts():
    visibility = layers(8, 16, 0, 8)
    assert part_shares(visibility).tolist() == [0.5, 0.0, 0.25]
    found = health(dome(), visibility)
    assert found.dead == [1]
    assert found.area == pytest.approx(0.75)
    assert not found.collapsed


def test_hollow_and_flat_faces():
    assert dome_correlation(dome()) > 0.8
    assert dome_correlation(2 - dome()) == pytest.approx(-dome_correlation(dome()), abs=1e-5)
    assert dome_correlation(torch.ones(1, SIZE, SIZE)) == 0
    assert health(2 - dome(), layers(8, 24)).hollow
    assert not health(dome(), layers(8, 24)).hollow


@pytest.mark.parametrize(
    ("won", "lost"), [((31, 1), True), ((1, 31), True), ((16, 16), False), ((0, 32), False)]
)
def test_lost_foreground(won, lost):
    """Nothing, or all of a picture that has a background; without a background layer all is right."""
    assert health(dome(), layers(*won)).collapsed is lost


@torch.no_grad()
@pytest.mark.parametrize("share", [True, False])
def test_a_revived_part_is_near_the_living_one(share):
    model, image = net(share_decoder=share), torch.rand(2, 3, SIZE, SIZE)
    before = model.encode(image)
    revive_part(model, 2, 4, torch.Generator().manual_seed(0), spread=1e-3)
    after = model.encode(image)
    assert torch.allclose(after.parts[2].albedo, before.parts[4].albedo, atol=1e-2)
    assert not torch.allclose(before.parts[2].albedo, before.parts[4].albedo, atol=1e-2)
    assert not torch.equal(model.queries[2], model.queries[4])
    assert torch.equal(after.parts[0].albedo, before.parts[0].albedo)


@torch.no_grad()
def test_inside_out_twice_is_nothing_once_is_the_mirror_of_depth():
    model, image = net(background=False, dome=False), torch.rand(2, 3, SIZE, SIZE)
    before = model.encode(image)
    turn_inside_out(model)
    after = model.encode(image)
    inner = (slice(None), slice(None), slice(2, -2))
    assert torch.allclose(after.parts[0].depth, 2 - before.parts[0].depth, atol=1e-5)
    assert not torch.allclose(after.depth[inner], before.depth[inner], atol=1e-3)
    assert torch.allclose(after.view[:, :2], -before.view[:, :2])
    assert torch.equal(after.view[:, 2:], before.view[:, 2:])
    assert torch.allclose(after.light.direction[:, :2], -before.light.direction[:, :2])
    turn_inside_out(model)
    assert torch.equal(model.encode(image).depth, before.depth)


def test_mend_revives_what_is_dead_and_leaves_the_living(monkeypatch):
    model = net(parts=3)
    before = model.queries.detach().clone()
    image = torch.rand(2, 3, SIZE, SIZE)
    monkeypatch.setattr(watchers, "health", lambda depth, visibility: Health([1], 1.0, False, 0.5, False))
    monkeypatch.setattr(watchers, "part_shares", lambda visibility: torch.tensor([0.1, 0.0, 0.4]))
    watchers.mend(model, image, True, 0)
    assert torch.equal(model.queries, before)  # one capsule is all
    found = watchers.mend(model, image, False, 0)
    assert found.dead == [1]
    assert torch.equal(model.queries[[0, 2]], before[[0, 2]])
    assert 0 < (model.queries[1] - before[2]).norm() < 1


def test_mend_turns_a_hollow_face(monkeypatch):
    model, image = net(parts=1), torch.rand(2, 3, SIZE, SIZE)
    monkeypatch.setattr(watchers, "health", lambda *_: Health([], -1.0, True, 0.5, False))
    before = model.shape_decoders[0].last.weight.detach().clone()
    watchers.mend(model, image, True, 0)
    assert torch.equal(model.shape_decoders[0].last.weight[0], -before[0])
    monkeypatch.undo()
    assert not watchers.mend(net(parts=1), image, True, 0).hollow


def test_one_process_gathers_its_own_rows():
    rows = torch.rand(3, 2)
    assert watchers.gathered(rows) is rows
