"""The two graphs of an untrained net: parity with torch, and that they are the net's own functions."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.engine.export import export_all, open_session, run_session
from mien.methods.car import export
from mien.methods.car.config import RECIPES
from mien.methods.car.export import export_plan, graphs_of, inputs_of
from mien.methods.car.model import BodyCues
from mien.methods.car.net import CarNet
from tests.methods.car.people import SIZE


def made(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CarNet(replace(RECIPES["debug-sdf"]().method, **changes), 15)
        with torch.no_grad():  # features start at weight 0, which would show nothing
            for weight in net.field.field.parameters():
                weight.add_(0.05 * torch.randn(weight.shape))
    return net.eval()


@pytest.fixture(scope="module")
def few():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "POINTS", 64)
        patch.setattr(export, "CALIBRATION", 2)
        yield


@pytest.fixture(scope="module")
def exported(few, tmp_path_factory):
    net = made()
    folder = tmp_path_factory.mktemp("graphs")
    plan = export_plan(SimpleNamespace(net=net, size=SIZE), 2)
    return net, folder, plan, export_all(plan.graphs, plan.images, folder, int8=False, metric=plan.metric)


def test_graphs_agree_with_torch(exported):
    _, folder, plan, reports = exported
    assert [r.name for r in reports] == ["normals", "sdf"]
    assert all(r.max_difference < 1e-4 for r in reports)
    assert (plan.count, plan.real, plan.metric) == (2, False, None)
    session = open_session(folder / "sdf.onnx")
    assert [i.name for i in session.get_inputs()] == ["normals", "points", "matrices", "calib", "front"]
    assert [o.name for o in session.get_outputs()] == ["sdf"]


def test_graphs_are_the_nets_functions(exported):
    """Another number of pictures and of points than they were written with."""
    net, folder, plan, _ = exported
    image, body, mask = plan.images["normals"]
    normals = run_session(
        open_session(folder / "normals.onnx"), (image[:1].numpy(), body[:1].numpy(), mask[:1].numpy())
    )
    with torch.no_grad():
        want = torch.cat(net.normal(image[:1], body[:1, :3], body[:1, 3:], mask[:1]), 1)
    np.testing.assert_allclose(normals, want, atol=1e-4)
    maps, points, matrices, calib, front = (x[:1] for x in plan.images["sdf"])
    few = (maps, points[:, :7], matrices[:, :7], calib, front[:, :7])
    got = run_session(open_session(folder / "sdf.onnx"), tuple(x.numpy() for x in few))
    assert got.shape == (1, 7, 1)
    assert got.std() > 0.01
    other = run_session(open_session(folder / "sdf.onnx"), (-maps.numpy(), *(x.numpy() for x in few[1:])))
    assert np.abs(got - other).max() > 1e-3  # the picture is read


def test_inputs_are_those_of_a_query(few):
    """At rest the sdf graph is `CanonicalSDF.values`; in a pose it reads other pixels."""
    net = made()
    image, _, mask = inputs_of(net, SIZE, 2, 0)["normals"]
    assert float((image * (1 - mask)).abs().max()) == 0
    maps, points, matrices, calib, front = inputs_of(net, SIZE, 2, 0)["sdf"]
    graph = graphs_of(net)["sdf"]
    assert set(front.unique().tolist()) == {0.0, 1.0}
    with torch.no_grad():
        got = graph(maps, points, matrices, calib, front)
    net.field.filter(maps[:, :3], maps[:, 3:])
    identity = torch.eye(4).expand(2, 15, 4, 4)
    weights = torch.zeros(2, points.shape[1], 15)
    weights[..., 0] = 1
    plain = net.field.values(points, weights, identity, calib, BodyCues(front))
    unposed = graph(maps, points, torch.eye(4).expand_as(matrices).contiguous(), calib, front)
    torch.testing.assert_close(unposed, plain)
    assert float((got - plain).abs().max()) > 1e-4  # the pose matters


def test_needs_a_field(few):
    with pytest.raises(ConfigError, match="trained up to stage 'normal'"):
        graphs_of(CarNet(RECIPES["debug-normal"]().method, 15))
