"""The three graphs of an untrained net: parity with torch, and that they are the net's own parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.engine.export import export_all, open_session, run_session
from mien.methods.phycine.evaluate import restore
from mien.methods.phycine.export import MOST, export_plan, graphs_of, inputs_of
from mien.methods.phycine.laws import rollout
from mien.methods.phycine.predict import Predictor
from tests.methods.phycine.user import folder


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor.from_folder(folder(tmp_path_factory.mktemp("model"), sight="slots"))


@pytest.fixture(scope="module")
def exported(predictor, tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs")
    plan = export_plan(predictor, 3)
    return path, plan, export_all(plan.graphs, plan.images, path, int8=False)


def test_graphs_agree_with_torch(exported):
    _, plan, reports = exported
    assert [r.name for r in reports] == ["perception", "decoder", "step"]
    assert all(r.max_difference < 1e-4 for r in reports)
    assert (plan.count, plan.real, plan.metric) == (3, False, None)


@torch.no_grad()
def test_graphs_are_the_nets_parts(predictor, exported):
    """Another batch than they were written with."""
    path, net = exported[0], predictor.net
    given = inputs_of(net, 5, 7)
    run = {n: open_session(path / f"{n}.onnx") for n in ("perception", "decoder", "step")}
    seen = net.perception(given["perception"][:, None])
    slots = run_session(run["perception"], given["perception"].numpy())
    np.testing.assert_allclose(slots, seen.slots[:, 0], atol=1e-4)
    layers = run_session(run["decoder"], slots)
    np.testing.assert_allclose(layers[:, :, 3], seen.masks[:, 0], atol=1e-4)
    np.testing.assert_allclose((layers[:, :, :3] * layers[:, :, 3:]).sum(1), seen.recon[:, 0], atol=1e-4)
    place, velocity, z_m, z_c, present = given["step"]
    path_, speed = rollout(net.laws, place, velocity, z_m, z_c, 1, net.dt, present > 0)
    after = run_session(run["step"], tuple(x.numpy() for x in given["step"]))
    np.testing.assert_allclose(after, torch.cat([path_[:, 1], speed[:, 1]], -1), atol=1e-5)
    assert (after[present.numpy() == 0] == 0).all()  # an absent object stays


def test_inputs_and_limits(predictor, tmp_path):
    assert export_plan(predictor, 500).count == MOST
    assert export_plan(predictor, 1).count == 2
    with pytest.raises(ConfigError, match="sight='threshold' has no graph"):
        graphs_of(restore(folder(tmp_path, sight="threshold")))
