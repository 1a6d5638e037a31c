"""What is minimised in which phase, and what it does not move."""

import math

import pytest
import torch

from mien.data.capsule_loader import CapsuleBatch
from mien.engine.task import Clock, Rng
from mien.methods.igc_net.baselines import Autoencoder2d
from mien.methods.igc_net.config import IgcNetConfig
from mien.methods.igc_net.features import PrincipalFeatures, offline_features
from mien.methods.igc_net.model import IGCNet
from mien.methods.igc_net.objective import CapsuleTask, FlatTask, phase_at, random_views

SIZE = 32


def image(batch=4):
    """Light discs before dark grounds."""
    at = torch.linspace(-1, 1, SIZE)
    disc = (at[None] ** 2 + at[:, None] ** 2 < 0.3).float()
    noise = torch.rand(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return 0.1 + disc * (0.4 + 0.4 * noise)


def batch():
    return CapsuleBatch(image(), torch.arange(4))


def task(**changes):
    torch.manual_seed(0)
    config = IgcNetConfig(**{"parts": 3, "width": 8, "dim": 8, "features": 16, "query": 4, **changes})
    features = PrincipalFeatures().fit(offline_features(image()))
    return CapsuleTask(IGCNet(config, SIZE), features, lr=0.01)


def terms(own, step, steps=10):
    return own.loss(batch(), Clock(step, steps, 1), Rng(0)).logs


@pytest.mark.parametrize(
    ("progress", "single", "tau"),
    [(0.0, True, 0.02), (0.19, True, 0.02), (0.2, False, 0.02), (0.8, False, 0.005)],
)
def test_phases(progress, single, tau):
    found = phase_at(IgcNetConfig(), progress)
    assert (found.single, found.tau, found.hard) == (single, tau, progress >= 0.8)
    assert phase_at(IgcNetConfig(parts=1), progress).single


def test_terms_come_one_after_another():
    own = task(views_from=0.1)
    assert set(terms(own, 0)) == {"picture", "foreground", "shape"}
    assert set(terms(own, 1)) == {"picture", "foreground", "shape", "cycle", "crowd"}
    middle = {"picture", "foreground", "shape", "cycle", "crowd", "concentration", "semantic"}
    assert set(terms(own, 3)) == middle
    assert set(terms(own, 4)) == middle | {"equivariance"}
    assert set(terms(own, 9)) == middle | {"entropy"}
    assert own.net.tau.item() == pytest.approx(0.005)


def test_switched_off_terms_stay_away():
    own = task(
        cycle=0.0,
        crowd=0.0,
        background=False,
        semantic=0.0,
        equivariance=0.0,
        entropy=0.0,
        dome=False,
        flip=0.0,
    )
    assert set(terms(own, 9)) == {"picture", "shape", "concentration"}
    assert set(terms(task(parts=1, cycle=0.0, crowd=0.0), 9)) == {"picture", "foreground", "shape"}


def test_the_loss_is_the_sum_and_repeatable():
    own = task()
    first, again = (own.loss(batch(), Clock(8, 10, 1), Rng(3)) for _ in range(2))
    assert torch.equal(first.loss, again.loss)
    assert first.loss.item() == pytest.approx(sum(v.item() for v in first.logs.values()), rel=1e-5)
    other = own.loss(batch(), Clock(8, 10, 1), Rng(4))
    assert not torch.equal(first.logs["equivariance"], other.logs["equivariance"])


def test_all_that_is_trained_gets_a_finite_gradient():
    own = task(confidence=True)
    own.loss(batch(), Clock(8, 10, 1), Rng(0)).loss.backward()
    for name, p in own.named_parameters():
        assert p.grad is not None, name
        assert bool(p.grad.isfinite().all()), name


def test_own_pictures_teach_the_view_alone():
    own = task()
    obj = own.net.encode(image())
    own.cycle(obj, torch.Generator().manual_seed(0)).backward()
    moved = {name.split(".")[0] for name, p in own.net.named_parameters() if p.grad is not None}
    assert moved == {"view_net"}


def test_common_depth_has_a_rate_of_its_own():
    groups = task(common_rate=0.5).param_groups(0.1)
    assert [g.get("lr") for g in groups] == [None, pytest.approx(0.005)]
    assert [len(g["params"]) for g in groups][1] == 1
    own = task()
    held = {id(p) for g in own.param_groups(0.0) for p in g["params"]}
    assert held == {id(p) for p in own.parameters()}
    assert len(task(dome=False).param_groups(0.0)) == 1


def test_views_lie_in_their_range_and_come_from_the_generator():
    views = random_views(500, torch.Generator().manual_seed(0))
    pitch, yaw = views[:, 0].abs().max(), views[:, 1].abs().max()
    assert 0.9 * math.radians(17) < pitch <= math.radians(17)
    assert 0.9 * math.radians(40) < yaw <= math.radians(40)
    assert not views[:, 2:].any()
    assert torch.equal(views, random_views(500, torch.Generator().manual_seed(0)))


def test_the_flat_network_comes_nearer_to_its_pictures():
    torch.manual_seed(0)
    own = FlatTask(Autoencoder2d(SIZE, 8, 8), 1.0)
    optimizer = torch.optim.Adam(own.parameters(), lr=5e-3)
    lost = []
    for step in range(20):
        out = own.loss(batch(), Clock(step, 20, 1), Rng(step))
        lost.append(out.loss.item())
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
    assert lost[-1] < 0.8 * lost[0]
    assert own.exported() is own.net
