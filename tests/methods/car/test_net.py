"""The whole model: parts of a stage, and what the body tells of points."""

from __future__ import annotations

import math

import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.car.bodies import BodyDistance
from mien.methods.car.net import ORDER, CarNet, cues_of, make_hyper, refinement
from mien.methods.car.refine import start_net
from mien.nn.hyper import one_of
from tests.methods.car.capsules import JOINTS, tiny_config, tiny_net


def test_each_stage_adds_its_part():
    for stage, count in zip(ORDER, (1, 2, 3), strict=True):
        net = tiny_net(stage=stage)
        there = [part for part in (net.normal, net.field, net.hyper) if part is not None]
        assert len(there) == count
    assert net.need("sdf") is net.field
    assert net.need("hyper") is net.hyper
    with pytest.raises(ConfigError, match="up to stage 'sdf', 'hyper' is needed"):
        tiny_net(stage="sdf").need("hyper")


def test_settings_reach_the_parts():
    config = tiny_config(inputs=3, two_sided=False, space="posed", normal_transport="official", octaves=2)
    field = CarNet(config, JOINTS).field
    found = (field.inputs, field.two_sided, field.space, field.normal_transport, field.field.octaves)
    assert found == (3, False, "posed", "official", 2)
    assert field.features == ("image", "normal")


def test_weights_of_the_hyper_network_start_a_refinement():
    config = tiny_config()
    with torch.no_grad():
        theta = one_of(make_hyper(config)(torch.rand(1, 50, 6)), 0)
    settings = refinement(config, iters=2)
    assert (settings.iters, settings.resolution, settings.dims) == (2, config.fine, config.dims)
    assert refinement(config).iters == config.iters
    net = start_net(settings, theta)
    assert all(torch.equal(v, theta[k]) for k, v in net.state_dict().items())


def test_a_small_hyper_network_starts_at_its_target():
    """The last biases of its heads are the weights of a sphere; those of the published one are 0."""
    for heads_skip in (False, True):
        net = make_hyper(tiny_config(heads_skip=heads_skip, heads=16))
        largest = max(float(head.last.bias.detach().abs().max()) for head in net.heads)
        assert (largest > 0.5) is not heads_skip


def test_cues_turn_the_view_into_the_box():
    """A body that is near the viewer in the upper half of the picture and far in the lower one."""
    depth = torch.empty(1, 2, 8, 8)
    depth[:, 0, :4], depth[:, 1, :4] = 0.8, 0.6
    depth[:, 0, 4:], depth[:, 1, 4:] = -0.6, -0.8
    up, down = [0.1, 0.5], [0.1, -0.5]
    x = torch.tensor([[[*up, 0.75], [*up, 0.65], [*down, -0.65], [*down, -0.75]]])
    net = tiny_net(residual=False).field
    assert cues_of(net, x, x, depth, []).front[0, :, 0].tolist() == [1, 0, 1, 0]


def test_beside_the_body_the_middle_is_that_of_the_whole():
    depth = torch.full((1, 2, 4, 4), math.nan)
    depth[:, 0, 1, 1], depth[:, 1, 1, 1] = 0.5, 0.3
    x = torch.tensor([[[0.9, -0.9, 0.41], [0.9, -0.9, 0.39]]])
    assert cues_of(tiny_net(residual=False).field, x, x, depth, []).front[0, :, 0].tolist() == [1, 0]


def test_fields_that_do_not_ask_get_no_cues():
    x, depth = torch.zeros(1, 2, 3), torch.zeros(1, 2, 0, 0)
    for changes in ({"two_sided": False}, {"features": ("image",)}):
        found = cues_of(tiny_net(residual=False, **changes).field, x, x, depth, [])
        assert found == (None,) * 4


def test_a_residual_is_told_the_distance_to_the_body():
    """Above a floor of points: its height, and straight up; the second body is 1 m lower."""
    at = torch.linspace(-1, 1, 101)
    floor = torch.stack([*torch.meshgrid(at, at, indexing="ij"), torch.zeros(101, 101)], -1).reshape(-1, 3)
    up = torch.tensor([0.0, 0, 1]).expand_as(floor)
    bodies = [BodyDistance(floor - k * up, up) for k in (0, 1)]
    x = torch.tensor([[[0.0, 0, 0.5], [0.3, 0.1, -0.02]]]).expand(2, 2, 3)
    found = cues_of(tiny_net(two_sided=False).field, x, x, torch.zeros(2, 2, 0, 0), bodies)
    assert torch.allclose(found.distance[..., 0], torch.tensor([[0.5, -0.02], [1.5, 0.98]]), atol=1e-5)
    assert torch.allclose(found.slope, up[0].expand(2, 2, 3), atol=1e-5)
    assert found.front is None
