"""The protocol's measures: limits, worked numbers, options, and the same bits twice."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.engine.folder import ModelFolder
from mien.methods.car import evaluate as measures
from mien.methods.car.config import RECIPES
from mien.methods.car.evaluate import (
    compared_starts,
    errors,
    evaluate,
    front_errors,
    measured,
    smoothed,
    steps_to,
    unposed,
)
from mien.methods.car.refine import Maps, Refined
from mien.methods.car.view import to_view
from mien.metrics import chamfer
from tests.methods.car.capsules import JOINTS, capsules, case, known_maker
from tests.methods.car.shapes import ellipsoid, maps_of


@pytest.fixture
def folder(tmp_path):
    """Of the debug recipe; its weights are not read."""
    return ModelFolder(tmp_path, "car", RECIPES["debug"](), {"joints": JOINTS})


@pytest.fixture
def known(monkeypatch):
    """A model whose field is a skeleton, in place of the trained one; people drawn once."""
    monkeypatch.setattr(measures, "restore", lambda folder: known_maker(coarse=24, fine=16, iters=2))
    monkeypatch.setattr(measures, "read_clothed", lambda data: capsules(64))


def truth():
    own = case()
    return (
        torch.tensor(own.posed.vertices), torch.tensor(own.canonical.vertices), torch.tensor(own.posed.faces)
    )  # fmt: skip


@cache
def itself():
    return errors(*truth(), case())


def test_a_surface_is_near_itself():
    """Not at 0: samples of a triangle have their distance to its corners."""
    found = itself()
    assert found["normal"] == found["normal_canonical"] == pytest.approx(0, abs=1e-9)
    assert found["chamfer"] > 1  # the capsules have long triangles
    mesh = case().posed
    assert chamfer(mesh, mesh, protocol="icon") == pytest.approx(0, abs=1e-3)
    assert found["chamfer"] == chamfer(mesh, mesh, protocol="car")
    assert found["front"] < 2e-3
    assert found["front_angle"] < 5
    assert found["chamfer"] == pytest.approx(found["p2s"], rel=0.1)


def test_a_shift_is_measured_in_centimetres():
    """10 m aside, less the width of a person; canonical distances stay."""
    posed, canonical, faces = truth()
    far = errors(posed + torch.tensor([10.0, 0, 0]), canonical, faces, case())
    near = itself()
    assert far["chamfer"] == pytest.approx(1000, rel=0.1)
    assert far["p2s"] == pytest.approx(1000, rel=0.1)
    assert far["chamfer_canonical"] == near["chamfer_canonical"]


def test_worked_errors_of_the_front():
    """A ball against one normal everywhere: (1 - n_z) / 2 over the disc is 1/2 - 1/3."""
    P, F = ellipsoid(4)
    P = 0.5 * torch.nn.functional.normalize(P, dim=-1)
    _, _, mask = maps_of(P, F, 64)
    flat = torch.zeros(3, 64, 64)
    flat[2] = 1
    found = front_errors(P, F, Maps(flat * mask, None, mask))
    assert found["front"] == pytest.approx(0.5 - 1 / 3, abs=0.01)
    assert found["front_angle"] == pytest.approx(45.0, abs=1.5)
    nowhere = front_errors(P + torch.tensor([3.0, 0, 0]), F, Maps(flat * mask, None, mask))
    assert nowhere == {"front": 0.5, "front_angle": 90.0}


def test_losses_are_averaged_over_twenty_steps():
    losses = torch.arange(1.0, 31.0)
    found = smoothed(losses)
    assert found[0] == 1
    assert found[4] == 3
    assert found[19] == 10.5
    assert found[29] == np.mean(np.arange(11, 31))
    assert np.allclose(found, [losses[max(0, k - 19) : k + 1].mean() for k in range(30)])


def test_steps_to_a_loss_need_a_whole_window():
    falling = torch.cat([torch.full((10,), 4.0), torch.zeros(30)])
    assert steps_to(falling, 2.0) == 20
    assert steps_to(falling, 1.0) == 25  # 5 fours among steps 6 to 25
    assert steps_to(falling, -1.0) is None
    assert steps_to(falling[:5], 9.0) is None


def test_unposed_points_are_those_of_the_star_pose():
    body = case().body
    _, found = unposed(body.posed(), body.faces, body.posed(), body.weights, body.transforms)
    gap = (found - body.vertices).norm(dim=-1)
    assert float(gap.median()) < 0.005  # weights near joints are smoothed
    assert float(gap.max()) < 0.1


def test_the_true_body_is_given_when_asked_for():
    given, true = case().body, measures.case_of(capsules(64).test, 0, 0, true_body=True).body
    own = capsules(64).test
    assert torch.equal(true.vertices, torch.tensor(own.body[0]).float())
    assert not torch.equal(given.transforms, true.transforms)


def test_shapes_and_maps_of_an_evaluation(monkeypatch):
    maker, own = known_maker(coarse=24, fine=16, iters=1), case()
    body = measured(maker, own, "body", {})
    assert body == errors(own.body.posed(), own.body.vertices, own.body.faces, own)
    coarse = measured(maker, own, "coarse", {})
    assert coarse.keys() == body.keys()
    refined = measured(maker, own, "refined", {"kind": "mesh"})
    assert {k.removeprefix("coarse_"): v for k, v in refined.items() if k.startswith("coarse_")} == coarse
    posed, _, faces = truth()
    seen = []

    def integrated(maps, body):
        seen.append(maps)
        return Refined(to_view(posed, own.calib), faces, {}, None)

    monkeypatch.setattr(maker, "integrated", integrated)
    sheet = measured(maker, own, "integration", {"maps": "true"})
    assert seen[0] is own.true_maps
    assert sheet["chamfer"] == pytest.approx(itself()["chamfer"], abs=1e-2)
    assert sheet["chamfer_canonical"] < body["chamfer_canonical"] + 5  # by the skin of the given body


def test_rows_of_a_split(known, folder):
    first, again = (evaluate(folder, Evaluation("e", "test", options={"shape": "coarse"})) for _ in range(2))
    assert first.metrics == again.metrics
    assert all(np.array_equal(v, again.units[k]) for k, v in first.units.items())
    assert all(v.shape == (2,) for v in first.units.values())
    assert np.array_equal(first.units["less_chamfer"], -first.units["chamfer"])
    assert first.metrics["chamfer"] == pytest.approx(first.units["chamfer"].mean())
    one = evaluate(folder, Evaluation("e", "val", options={"shape": "body", "body": "true"}))
    assert one.units["chamfer"].shape == (1,)
    given = evaluate(folder, Evaluation("e", "val", options={"shape": "body"}))
    assert one.metrics["chamfer"] < given.metrics["chamfer"]


def test_evaluations_that_there_are_not(known, folder):
    with pytest.raises(DataError, match="no evaluation 'train'; there are test and val"):
        evaluate(folder, Evaluation("e", "train"))
    with pytest.raises(ConfigError, match="no shape 'sculpture'; one of refined, coarse, body, integration"):
        evaluate(folder, Evaluation("e", options={"shape": "sculpture"}))


class Told:
    """A refiner whose losses are known: a sphere falls to 1 at the end, other starts at step 10."""

    def __init__(self, settings):
        self.iters, self.every = settings.iters, settings.every

    def fit(self, vertices, faces, maps, theta):
        assert self.every >= self.iters, "samples taken anew make the loss of the longer run smaller"
        fall = self.iters - 20 if theta is None else 10
        losses = torch.where(torch.arange(self.iters) < fall, 3.0, 1.0)
        return Refined(vertices, faces, {"total": losses}, None)


def test_starts_are_compared_at_the_loss_of_a_sphere(monkeypatch):
    monkeypatch.setattr(measures, "PosedRefiner", Told)
    found = compared_starts(known_maker(coarse=16, iters=60), case())
    assert found["sphere_steps"] == 120
    assert found["sphere_loss"] == 1
    for kind in ("mean", "hyper"):
        assert found[f"{kind}_steps"] == 30  # a window of 20 after step 10
        assert found[f"{kind}_first"] == 3
        assert found[f"{kind}_50"] == found[f"{kind}_loss"] == 1
        assert found[f"{kind}_front"] == found["sphere_front"]
    slow = compared_starts(known_maker(coarse=16, iters=25), case())
    assert slow["hyper_steps"] == slow["sphere_steps"] == 50  # it does not get there
    compared_starts(known_maker(coarse=16, iters=300), case())  # a sphere's 600 are more than one round


def test_the_true_surface_is_where_the_picture_shows_it():
    view = to_view(truth()[0], case().calib)
    assert float(view.abs().max()) < 1
    assert front_errors(view, truth()[2], case().true_maps)["front_angle"] < 5
