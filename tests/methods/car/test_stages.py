"""What the three stages learn: worked losses, fields that are known, and what a step leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from mien.core.errors import ConfigError
from mien.data.clothed_loader import NormalBatch, SdfBatch, body_in_box
from mien.data.clothed_sets import clothed_loader
from mien.engine.task import Clock, Rng
from mien.methods.car.config import RECIPES
from mien.methods.car.skinning import transform_points
from mien.methods.car.stages import (
    CLEAR,
    DEEP,
    HyperTask,
    NormalTask,
    SdfTask,
    in_view,
    points_around,
    posed_normals,
    star_normals,
)
from mien.render.normal_maps import vertex_normals
from tests.methods.car.capsules import JOINTS, capsules, case, tiny_net

CLOCK = Clock(0, 10, 5)
RADIUS = 0.4


def loss_of(task, batch, seed=0):
    return task.loss(batch, CLOCK, Rng(seed))


def batch_of(stage, **changes):
    """A batch of the made people."""
    data = replace(RECIPES["debug"]().data, **changes)
    loader = clothed_loader(data, capsules().train, stage, 2, 0, body=True)
    return next(loader.stream(0, 0, 1))[0]


# -- normals ------------------------------------------------------------------------------------------------


class Answer(nn.Module):
    """Normal nets that answer the same for every picture."""

    def __init__(self, front, back):
        super().__init__()
        self.front, self.back = nn.Parameter(torch.tensor(front)), nn.Parameter(torch.tensor(back))

    def forward(self, image, front, back, mask):
        return tuple(n.view(1, 3, 1, 1).expand_as(image) for n in (self.front, self.back))


def test_the_loss_of_normals_counts_pixels_of_the_mask():
    """Truth z before and -z behind in 3 of 4 pixels; found x and -z: (1 + 0 + 1) / 3 of a front pixel."""
    net = tiny_net(stage="normal")
    net.normal = Answer([1.0, 0, 0], [0, 0, -1.0])
    normals = torch.zeros(1, 2, 3, 2, 2)
    normals[:, 0, 2], normals[:, 1, 2] = 1, -1
    normals[..., 1, 1] = 0
    mask = torch.ones(1, 1, 2, 2)
    mask[..., 1, 1] = 0
    batch = NormalBatch(torch.zeros(1, 3, 2, 2), mask, normals, normals)
    out = loss_of(NormalTask(net), batch)
    assert out.loss.item() == pytest.approx(0.5 * (2 / 3 + 0))
    assert float(out.logs["angle"]) == pytest.approx(45.0, abs=0.1)
    nothing = replace(batch, normals=torch.zeros_like(normals))
    assert loss_of(NormalTask(net), nothing).loss.item() == 0


# -- signed distances ---------------------------------------------------------------------------------------


class Ball(nn.Module):
    """In place of the network F: the exact distance to a ball, or a multiple of it."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x, *features):
        return self.factor * (x.norm(dim=-1, keepdim=True) - RADIUS)


def ball_batch(transforms=None, count=4000, given=None):
    """Samples of the ball, skinned to random joints."""
    generator = torch.Generator().manual_seed(0)

    def draw(n, of=3):
        return torch.randn(2, n, of, generator=generator)

    surface = RADIUS * normalize(draw(count), dim=-1)
    near, box = surface + 0.05 * draw(count), draw(16)
    weights = [torch.softmax(3 * draw(n, JOINTS), -1) for n in (count, count, 16)]
    maps = normalize(draw(32, 3 * 32 * 2).reshape(2, 2, 3, 32, 32), dim=2)
    eye = torch.eye(4).expand(2, JOINTS, 4, 4)
    return SdfBatch(
        image=maps[:, 0], mask=torch.ones(2, 1, 32, 32), normals=maps, body_normals=maps,
        calib=torch.diag(torch.tensor([1.0, -1, 1, 1])).expand(2, 4, 4), depth=torch.zeros(2, 2, 32, 32),
        star=torch.zeros(2, 0, 6), posed=torch.zeros(2, 0, 6),
        transforms=eye if transforms is None else transforms,
        given_transforms=eye if given is None else given, surface=surface,
        surface_normal=normalize(surface, dim=-1), surface_weight=weights[0],
        near=near, near_sdf=near.norm(dim=-1) - RADIUS, near_weight=weights[1],
        box=box, box_sdf=box.norm(dim=-1) - RADIUS, box_weight=weights[2],
    )  # fmt: skip


def known_task(factor=1.0, **changes):
    net = tiny_net(stage="sdf", **{"features": (), "residual": False, **changes})
    net.field.field = Ball(factor)
    return SdfTask(net)


@pytest.mark.parametrize("space", ["canonical", "posed"])
def test_the_exact_field_costs_nothing_but_points_off_the_surface(space):
    out = loss_of(known_task(space=space), ball_batch())
    terms = {k: float(v) for k, v in out.logs.items()}
    assert [terms[k] for k in ("surface", "normal", "eikonal", "sign")] == pytest.approx([0] * 4, abs=1e-5)
    away = torch.cat([ball_batch().near_sdf, ball_batch().box_sdf], 1).abs()
    assert terms["off"] == pytest.approx(float(torch.exp(-10 * away).mean()), rel=1e-4)
    assert out.loss.item() == pytest.approx(0.1 * terms["off"], abs=1e-5)


def test_a_steeper_field_costs_its_slope():
    terms = loss_of(known_task(1.5), ball_batch()).logs
    assert float(terms["eikonal"]) == pytest.approx(0.25, rel=1e-4)
    assert float(terms["normal"]) == pytest.approx(0, abs=1e-5)


def test_both_spaces_agree_where_nothing_moves():
    """With identity transforms, and a picture's box that has the axes of the world."""
    batch = replace(ball_batch(), calib=torch.eye(4).expand(2, 4, 4))
    losses = []
    for space in ("canonical", "posed"):
        task = SdfTask(tiny_net(stage="sdf", space=space, residual=False).train())
        losses.append(loss_of(task, batch).loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_posed_field_is_asked_where_the_points_are_shown():
    """The exact field of the picture: a ball that moved 0.3 m to the right."""
    moved = torch.eye(4).repeat(2, JOINTS, 1, 1)
    moved[..., 0, 3] = 0.3
    batch = ball_batch(moved)
    shift = torch.eye(4).repeat(2, 1, 1)
    shift[:, 0, 3] = -0.3
    terms = loss_of(known_task(space="posed"), replace(batch, calib=shift)).logs
    assert float(terms["surface"]) == pytest.approx(0, abs=1e-5)
    assert float(loss_of(known_task(space="posed"), batch).logs["surface"]) > 0.05


def test_normals_of_the_picture_are_those_of_moved_tangents():
    """Slow twin: cross(A t1, A t2), from finite differences of the moved surface."""
    generator = torch.Generator().manual_seed(1)
    matrices = torch.eye(4, dtype=torch.float64) + 0.3 * torch.randn(1, 6, 4, 4, generator=generator).double()
    points, a = torch.randn(2, 1, 6, 3, generator=generator, dtype=torch.float64)
    n = normalize(torch.linalg.cross(points, a), dim=-1)
    step = 1e-4
    tangents = [normalize(t, dim=-1) for t in (points, torch.linalg.cross(n, points))]
    here = transform_points(matrices, points)
    moved = [(transform_points(matrices, points + step * t) - here) / step for t in tangents]
    sign = torch.linalg.det(matrices[..., :3, :3]).sign()[..., None]
    slow = normalize(sign * torch.linalg.cross(*moved), dim=-1)
    straight = torch.linalg.cross(*tangents)
    assert torch.allclose(straight, n)
    assert torch.allclose(posed_normals(matrices, n), slow, atol=1e-6)


def test_occupancy_learns_the_labels():
    batch = ball_batch()
    right = loss_of(known_task(1000.0, occupancy=True), batch)
    assert right.loss.item() < 0.02
    assert set(right.logs) == {"occupancy"}
    wrong = loss_of(known_task(-1000.0, occupancy=True), batch)
    assert wrong.loss.item() > 0.98
    unsure = loss_of(known_task(0.0, occupancy=True), batch)
    assert unsure.loss.item() == pytest.approx(0.25)


def test_signs_are_learnt_far_outside_and_deep_inside():
    """A field inside out: s = R - |x|, so it lacks d / 2 - s outside and is above 0 by s inside."""
    batch = ball_batch()
    task = known_task(-1.0)
    away = points_around(batch, task.net.config.around, Rng(0).generator("around"))
    s = RADIUS - away.points.norm(dim=-1)
    far = away.outside & (away.distance > CLEAR)
    outside = (away.distance / 2 - s)[far].mean()
    labels = torch.cat([batch.near_sdf, batch.box_sdf], 1)
    inside = -labels[labels < -DEEP].mean()
    assert 0 < far.float().mean() < 1
    terms = loss_of(task, batch).logs
    assert float(terms["sign"]) == pytest.approx(float(outside + inside), rel=1e-4)


def test_points_around_know_their_side_and_distance():
    """Slow twin: the nearest of all samples, one by one; a ball's truth is |x| - R."""
    batch = ball_batch()
    away = points_around(batch, 20, torch.Generator().manual_seed(3))
    truth = away.points.norm(dim=-1) - RADIUS
    clear = truth.abs() > 0.02
    assert torch.equal(away.outside[clear], (truth > 0)[clear])
    assert float((away.distance - truth.abs()).abs().max()) < 0.03
    for b, k in ((0, 0), (1, 7)):
        gaps = [float((away.points[b, k] - p).norm()) for p in batch.surface[b]]
        assert float(away.distance[b, k]) == pytest.approx(min(gaps), abs=1e-3)
        nearest = gaps.index(min(gaps))
        assert torch.equal(away.weights[b, k], batch.surface_weight[b, nearest])


def test_a_field_on_the_distance_to_the_body_starts_as_the_body():
    """The given body is the ball itself: nothing is left to learn but what exp(-a |s|) costs."""
    batch = ball_batch()
    body = torch.cat([batch.surface, batch.surface_normal], -1)
    task = SdfTask(tiny_net(stage="sdf", features=(), residual=True))
    terms = loss_of(task, replace(batch, star=body, posed=body)).logs
    assert float(terms["surface"]) < 1e-6
    assert float(terms["normal"]) < 0.01
    assert float(terms["eikonal"]) < 1e-6  # the gradient is the body's, of length 1


def test_points_are_carried_to_the_star_pose_of_the_given_body():
    """True and given pose differ by a move of 0.2 m: there the ball lies 0.2 m to the left."""
    moved = torch.eye(4).repeat(2, JOINTS, 1, 1)
    moved[..., 0, 3] = 0.2
    shifted = ball_batch(given=moved)
    exact = known_task(as_given=True)
    assert float(loss_of(exact, ball_batch()).logs["surface"]) < 1e-5
    off = (shifted.surface - shifted.surface.new_tensor([0.2, 0, 0])).norm(dim=-1) - RADIUS
    terms = loss_of(exact, shifted).logs
    assert float(terms["surface"]) == pytest.approx(float(off.abs().mean()), rel=1e-4)
    assert float(loss_of(known_task(), shifted).logs["surface"]) < 1e-5


def test_normals_come_back_to_the_star_pose():
    generator = torch.Generator().manual_seed(1)
    matrices = torch.eye(4) + 0.2 * torch.randn(1, 6, 4, 4, generator=generator)
    n = normalize(torch.randn(1, 6, 3, generator=generator), dim=-1)
    assert torch.allclose(star_normals(matrices, posed_normals(matrices, n)), n, atol=1e-5)


def test_signs_can_be_left_out():
    net = tiny_net(stage="sdf", sign=0.0)
    assert "sign" not in loss_of(SdfTask(net), batch_of("sdf")).logs


# -- the hyper-network --------------------------------------------------------------------------------------


def test_bodies_of_a_batch_are_what_the_refinement_asks_for():
    """`in_view` of a kept body is `BodyParams.in_view` with its normals there."""
    points, faces, calib = capsules().test.body_points(0)
    rows = in_view(body_in_box(points, faces, calib))
    view = case().body.in_view()
    assert torch.allclose(rows[:, :3], view, atol=1e-5)
    assert torch.allclose(rows[:, 3:], vertex_normals(view[None], case().body.faces)[0], atol=1e-4)


def test_a_loss_of_bodies_is_a_function_of_its_rng():
    net = tiny_net()
    task, batch = HyperTask(net), batch_of("hyper")
    losses = [loss_of(task, batch, seed).loss.item() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("kind", "stage", "own"), [(NormalTask, "normal", "normal"), (SdfTask, "sdf", "field"),
                               (HyperTask, "hyper", "hyper")]
)  # fmt: skip
def test_a_step_moves_the_part_of_its_stage_alone(kind, stage, own):
    net = tiny_net().train()
    task = kind(net)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    trained = [p for p in task.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-2)
    loss_of(task, batch_of(stage)).loss.backward()
    optimizer.step()
    changed = {k.split(".")[0] for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {own}
    assert task.exported() is net


def test_a_stage_needs_its_part():
    with pytest.raises(ConfigError, match="trained up to stage 'normal', 'sdf' is needed"):
        SdfTask(tiny_net(stage="normal"))
    with pytest.raises(ConfigError, match="'hyper' is needed"):
        HyperTask(tiny_net(stage="sdf"))
