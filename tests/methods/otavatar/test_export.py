"""The three graphs of a tiny avatar: parity with torch, and that they add up to the net's own field."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.engine.export import export_all, open_session, run_session
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.controller import MotionController
from mien.methods.otavatar.export import (
    MOST,
    POINTS,
    ControllerGraph,
    export_plan,
    graphs_of,
    inputs_of,
    made_windows,
)
from mien.methods.otavatar.model import AvatarNet
from mien.render.triplane import query_planes

TINY = OtavatarConfig(
    z_dim=8, w_dim=8, plane_size=16, plane_channels=4, channel_base=64, channel_max=8, decoder_width=8,
    width=8, directions=4, radius=2,
)  # fmt: skip


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "warped"])
def net(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = AvatarNet(replace(TINY, warped=request.param), 32, 52)
        with torch.no_grad():
            if request.param:
                net.generator.warp.mean.uniform_(-0.3, 0.3)
                net.generator.warp.places.weight.normal_(0, 0.2)
            for weight in net.controller.parameters():
                weight.normal_(0, 0.3)  # it starts at dw = 0, which would show nothing
        return net.eval()


@pytest.fixture(scope="module")
def exported(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    plan = export_plan(SimpleNamespace(net=net), 3)
    reports = export_all(plan.graphs, plan.images, folder, int8=False, metric=plan.metric)
    return folder, plan, reports


def test_graphs_agree_with_torch(exported):
    folder, plan, reports = exported
    assert [(r.name, r.precision) for r in reports] == [
        (n, "fp32") for n in ("controller", "planes", "field")
    ]
    assert all(r.max_difference < 1e-4 for r in reports)
    assert plan.count == 3
    assert not plan.real
    assert plan.metric is None
    session = open_session(folder / "field.onnx")
    assert [i.name for i in session.get_inputs()] == ["planes", "points"]
    assert [o.name for o in session.get_outputs()] == ["field"]


@torch.inference_mode()
def test_graphs_together_are_the_nets_field(net, exported):
    """Another batch and other numbers of points than they were written with."""
    folder, _, _ = exported
    run = {n: open_session(folder / f"{n}.onnx") for n in ("controller", "planes", "field")}
    windows = made_windows(net.controller, 5, 7)
    points = torch.rand(5, 33, 3) - 0.5
    dw = torch.from_numpy(run_session(run["controller"], windows.numpy()))
    torch.testing.assert_close(dw, net.controller(windows)[0], rtol=0, atol=1e-4)
    assert float(dw.abs().max()) > 0.01
    ws = net.moved(net.w_avg.expand(5, 1, -1), dw)
    planes = run_session(run["planes"], ws.numpy(), batch=2)
    got = run_session(run["field"], (planes, points.numpy()), batch=1)
    sigma, features = query_planes(net.planes(ws), net.generator.decoder, points, TINY.settings())
    np.testing.assert_allclose(got, torch.cat([sigma, features], -1), atol=1e-4)


@torch.inference_mode()
def test_a_net_that_enlarges_has_a_graph_for_it(tmp_path):
    torch.manual_seed(0)
    own = AvatarNet(replace(TINY, features=5, sr_side=16, sr_channels=(4,)), 32, 52).eval()
    plan = export_plan(SimpleNamespace(net=own), 2)
    one = {"enlarge": plan.graphs["enlarge"]}
    (report,) = export_all(one, plan.images, tmp_path, int8=False)
    assert report.max_difference < 1e-4
    features, ws = plan.images["enlarge"]
    assert features.shape == (2, 5, 16, 16)
    picture = run_session(open_session(tmp_path / "enlarge.onnx"), (features.numpy(), ws.numpy()))
    want = own.generator.super_resolution(features[:, :3], features, ws)
    np.testing.assert_allclose(picture, want, atol=1e-4)
    assert picture.shape == (2, 3, 32, 32)


def test_int8_planes(net, tmp_path):
    given = inputs_of(net, 8, 1)
    one = {"planes": graphs_of(net)["planes"]}
    exact, small = export_all(one, given, tmp_path, int8=True, calibration=inputs_of(net, 16, 2))
    assert (exact.precision, small.precision) == ("fp32", "int8")
    spread = float(one["planes"](given["planes"]).std())
    jumps = net.generator.warp is not None  # at lids and lips, where a little aside is a lot
    assert 0 < small.max_difference < (3 if jumps else 2) * spread


def test_inputs_and_limits(net):
    given = inputs_of(net, 4, 0)
    assert given["controller"].shape == (4, 52, 5)
    assert given["planes"].shape == (4, net.generator.num_ws, 8)
    assert [tuple(x.shape) for x in given["field"]] == [(4, 3, 4, 16, 16), (4, POINTS, 3)]
    assert export_plan(SimpleNamespace(net=net), 500).count == MOST
    assert export_plan(SimpleNamespace(net=net), 1).count == 2
    assert made_windows(AvatarNet(replace(TINY, radius=3), 32, 60).controller, 6, 0).shape == (6, 60, 7)
    with pytest.raises(ConfigError, match="plus_scaling"):
        ControllerGraph(MotionController(width=8, w_dim=32, slots=4, plus_scaling=True))
