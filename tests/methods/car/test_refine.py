from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.car.refine import (
    MESH_TERMS,
    TERMS,
    Maps,
    PosedRefiner,
    RefineSettings,
    Targets,
    cloth_term,
    posed_loss,
    sample_box,
    surface_targets,
)
from mien.methods.car.view import eroded, facing
from mien.nn.implicit import SDFNet
from mien.render.normal_maps import vertex_normals
from tests.methods.car.shapes import AXES, bumpy, ellipsoid, maps_of

SMALL = RefineSettings(iters=0, points=400, resolution=32, every=10_000)


@cache
def scene():
    """The naked body, and maps of the clothed one."""
    front, back, mask = maps_of(*bumpy(4), 64)
    return *ellipsoid(3, 1.05), Maps(front, back, mask)


def front_error(P, F, maps):
    """Mean |difference| of the front normals, in pixels that face the viewer."""
    with torch.no_grad():
        return float(cloth_term(P, F, maps._replace(back=None), eroded(maps.mask, 2)))


SURFACE = torch.tensor([[0.5, 0, 0], [0, 0.5, 0], [0, 0, -0.5]])
OFF = torch.tensor([[0.6, 0, 0], [0, 0, 0.3], [0.1, 0.2, 0.2], [-0.9, 0.9, 0.9]])


def ball(scale=1.0, radius=0.5):
    return lambda x: scale * (x.norm(dim=-1, keepdim=True) - radius)


def samples(trust=(1.0, 1.0, 1.0)):
    normals = torch.nn.functional.normalize(SURFACE, dim=-1)
    return Targets(SURFACE, normals, torch.tensor(trust), torch.ones(3, dtype=torch.bool))


def test_the_worked_losses():
    total, terms = posed_loss(ball(), samples(), OFF[:0], OFF)
    assert total.item() == pytest.approx(1.135101e-05, rel=1e-3, abs=1e-6)
    assert terms["off"].item() == pytest.approx(1.135101e-05, rel=1e-3)
    total, terms = posed_loss(ball(1.1, 0.48), samples(), OFF[:2], OFF[2:])
    assert [terms[k].item() for k in TERMS[1:4]] == pytest.approx([0.022, 0.1, 0.01], abs=1e-6)
    assert total.item() == pytest.approx(0.022 + 0.1 + 0.001 + terms["off"].item(), abs=1e-6)


def test_points_count_as_much_as_they_are_trusted():
    off_centre = lambda x: (x - 0.1 * torch.eye(3)[0]).norm(dim=-1, keepdim=True) - 0.5  # noqa: E731
    one = posed_loss(off_centre, samples((1.0, 0.0, 0.0)), OFF[:2], OFF[2:])[1]
    assert one["surface"].item() == pytest.approx(0.1)
    assert one["normal"].item() == pytest.approx(0.0, abs=1e-6)
    other = posed_loss(off_centre, samples((0.0, 0.5, 0.5)), OFF[:2], OFF[2:])[1]
    assert other["surface"].item() == pytest.approx(0.26**0.5 - 0.5, abs=1e-6)


def test_targets_take_the_maps_where_they_can_be_trusted():
    P, F, maps = scene()
    own = vertex_normals(P, F)
    found = surface_targets(P, F, maps)
    cosine = facing(P, F, maps.mask)
    behind = facing(P, F, maps.mask, sign=-1.0)
    assert torch.equal(found.front, cosine > 0)
    torch.testing.assert_close(found.trust[found.front], cosine[found.front])
    back = (behind > 0) & ~found.front
    torch.testing.assert_close(found.trust[back], behind[back])
    rest = ~found.front & ~back
    assert rest.any()
    assert torch.equal(found.normals[rest], own[rest])
    assert (found.trust[rest] == 1).all()
    assert (found.normals[found.front][:, 2] > 0).all()
    alone = surface_targets(P, F, maps._replace(back=None))
    assert torch.equal(alone.normals[~alone.front], own[~alone.front])


def test_the_box_of_the_samples():
    low, high = sample_box(torch.tensor([[-0.5, -0.95, -0.2], [0.5, 0.9, 0.1]]))
    torch.testing.assert_close(low, torch.tensor([-0.6, -1.0, -0.4]))
    torch.testing.assert_close(high, torch.tensor([0.6, 1.0, 0.3]))


@cache
def fitted():
    """Weights of a small network whose zero set is about the naked body: what a hyper-network would give."""
    P, F, _ = scene()
    front, back, mask = maps_of(P, F, 64)
    return PosedRefiner(replace(SMALL, iters=200, lr=3e-3)).fit(P, F, Maps(front, back, mask))


def test_no_steps_return_the_start_within_a_voxel():
    P, F, maps = scene()
    found = PosedRefiner(SMALL).fit(P, F, maps, init=fitted().theta)
    net = SDFNet(SMALL.dims, SMALL.skips)
    net.load_state_dict(fitted().theta)
    with torch.no_grad():
        assert net(found.vertices).abs().max() < 2 / SMALL.resolution
    distance = ((found.vertices / (1.05 * AXES)).norm(dim=-1) - 1).abs() * AXES.min()
    assert float(distance.mean()) < 2 / SMALL.resolution
    assert all(len(found.history[name]) == 0 for name in TERMS)


def test_the_sdf_follows_the_front_normals():
    P, F, maps = scene()
    found = PosedRefiner(replace(SMALL, iters=150, every=100)).fit(P, F, maps, init=fitted().theta)
    assert set(found.history) == set(TERMS)
    assert len(found.history["total"]) == 150
    normal = found.history["normal"]
    assert float(normal[-20:].mean()) < 0.7 * float(normal[:5].mean())
    start = PosedRefiner(SMALL).fit(P, F, maps, init=fitted().theta)
    assert front_error(*found[:2], maps) < 0.7 * front_error(*start[:2], maps)
    again = PosedRefiner(replace(SMALL, iters=1)).fit(P, F, maps, init=fitted().theta)
    assert torch.equal(again.history["total"], found.history["total"][:1])


def test_a_given_start_is_ahead_of_a_sphere():
    P, F, maps = scene()
    settings = replace(SMALL, iters=10)
    given = PosedRefiner(settings).fit(P, F, maps, init=fitted().theta).history["total"]
    sphere = PosedRefiner(settings).fit(P, F, maps).history["total"]
    assert float(given.mean()) < float(sphere.mean())


def test_the_mesh_follows_the_front_normals():
    P, F, maps = scene()
    settings = RefineSettings(kind="mesh", iters=60)
    found = PosedRefiner(settings).fit(P, F, maps)
    assert set(found.history) == set(MESH_TERMS)
    assert found.theta is None
    assert torch.equal(found.faces, F)
    assert front_error(found.vertices, F, maps) < 0.3 * front_error(P, F, maps)
    assert float((found.vertices - P).norm(dim=-1).mean()) < 0.05
    still = PosedRefiner(RefineSettings(kind="mesh", iters=0)).fit(P, F, maps)
    assert torch.equal(still.vertices, P)


def test_true_maps_leave_a_mesh_alone():
    P, F = ellipsoid(3)
    front, back, mask = maps_of(P, F, 64)
    assert float(cloth_term(P, F, Maps(front, back, mask), mask)) < 1e-5
    found = PosedRefiner(RefineSettings(kind="mesh", iters=10)).fit(P, F, Maps(front, back, mask))
    assert float((found.vertices - P).abs().max()) < 0.02


def test_bad_input():
    P, F, maps = scene()
    with pytest.raises(ConfigError, match="kind 'both' is none of sdf, mesh"):
        RefineSettings(kind="both")
    with pytest.raises(ConfigError, match="every >= 1"):
        RefineSettings(every=0)
    with pytest.raises(ConfigError, match="above 0"):
        RefineSettings(lr=0.0)
    with pytest.raises(ShapeError, match="like the mask of booleans"):
        PosedRefiner(SMALL).fit(P, F, maps._replace(front=maps.front[:, 1:]))
    with pytest.raises(ShapeError, match="init does not fit"):
        PosedRefiner(SMALL).fit(P, F, maps, init=SDFNet((3, 16, 16, 1)).state_dict())
    with pytest.raises(ConfigError, match='kind="mesh" has none'):
        PosedRefiner(RefineSettings(kind="mesh")).fit(P, F, maps, init=fitted().theta)
