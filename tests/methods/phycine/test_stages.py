"""What the stages minimise: worked losses, which part learns, and which clips come first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.data.physical import FrameBatch
from mien.engine.task import Clock, Rng
from mien.methods.phycine.answers import rows_of
from mien.methods.phycine.concepts import Latents, calmest, misfit
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.model import Phycine, fit_settings
from mien.methods.phycine.reason import Reasoner, Told, feature_count
from mien.methods.phycine.stages import (
    BRIGHT,
    JITTER,
    AnswersTask,
    Chosen,
    LawsTask,
    PerceptionTask,
    mixed_channels,
)
from mien.methods.phycine.words import UNTOLD, Asked
from mien.synth import PhysWorld
from mien.synth.comphy_set import draw_set

EARLY, LATE = Clock(1, 10, 1), Clock(9, 10, 1)
DT = 0.1


def net(**changes):
    torch.manual_seed(0)
    sizes = {"slots": 3, "dim": 4, "width": 8, "hidden": 8, "window": 4, "calm": 0.5}
    return Phycine(PhycineConfig(**{**sizes, **changes}), (16, 24), DT)


def paths(count=4):
    clip = PhysWorld(n_objects=3, half=1.0, seed=2).simulate(count, 9)
    place = torch.tensor(clip.x, dtype=torch.float32)
    return place, torch.ones(place.shape[:3], dtype=torch.bool)


def laws_task(**changes):
    return LawsTask(net(**changes), *paths(), DT, seed=3)


def learning(task):
    return {n.removeprefix("net.").split(".")[0] for n, p in task.named_parameters() if p.requires_grad}


# -- perception ---------------------------------------------------------------------------------------------


def test_the_channels_of_each_picture_change_places():
    images = torch.arange(3.0).view(1, 3, 1, 1).expand(64, 3, 2, 2)
    mixed = mixed_channels(images, torch.Generator().manual_seed(0))
    assert len({tuple(x[:, 0, 0].tolist()) for x in mixed}) == 6
    assert torch.equal(mixed.sort(1).values, images)
    assert torch.equal(mixed, mixed[..., :1, :1].expand_as(mixed))


def mixed_pictures(count):
    """Pictures, and what a task of seed 0 makes of them, with the generator that goes on from there."""
    image = torch.rand(count, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    generator = Rng(0).generator("slots")
    return image, mixed_channels(image, generator), generator


def test_the_loss_of_pictures_is_their_squared_error():
    task = PerceptionTask(net())
    image, mixed, generator = mixed_pictures(5)
    out = task.loss(FrameBatch(image), EARLY, Rng(0))
    layers = task.net.slots.frames(mixed[:, None], generator).layers
    error = (layers.image[:, 0] - mixed).square().mean()
    assert out.loss.item() == pytest.approx(BRIGHT * error.item())
    assert out.logs["mse"].item() == pytest.approx(error.item())
    out.loss.backward()
    assert all(p.grad is None for p in task.net.laws.parameters())
    assert learning(task) == {"perception"}
    assert task.exported() is task.net


def test_learned_inference_has_its_own_loss():
    task = PerceptionTask(net(sight="iodine", iterations=2))
    image, mixed, generator = mixed_pictures(2)
    out = task.loss(FrameBatch(image), EARLY, Rng(0))
    want = task.net.perception.loss(mixed, generator).mean()
    assert out.loss.item() == pytest.approx(want.item())


# -- laws ---------------------------------------------------------------------------------------------------


def test_masses_come_first_on_the_calmest_clips():
    task = laws_task()
    assert task.calm.sum() == 2  # half of four
    neutral = Latents(task.mass, torch.zeros_like(task.charge))
    lost = misfit(task.net.laws, task.place, task.present, neutral, task.settings, DT)
    out = task.loss(None, EARLY, Rng(0))
    assert out.loss.item() == pytest.approx(lost[task.calm].mean().item())
    out.loss.backward()
    assert task.charge.grad is None
    assert bool(task.mass.grad[task.calm].any())
    assert not task.mass.grad[~task.calm].any()


@pytest.mark.parametrize(("levels", "clock"), [("bottom_up", LATE), ("at_once", EARLY)])
def test_then_charges_as_well_on_all(levels, clock):
    task = laws_task(levels=levels)
    latents = Latents(task.mass, task.charge)
    lost = misfit(task.net.laws, task.place, task.present, latents, fit_settings(task.net.config), DT)
    out = task.loss(None, clock, Rng(0))
    assert out.loss.item() == pytest.approx(lost.mean().item())
    out.loss.backward()
    assert bool(task.charge.grad.any(1).all())
    assert bool(task.mass.grad.any(1).all())


def test_latents_learn_at_a_rate_of_their_own():
    task = laws_task(latent_lr=0.07)
    laws, latents = task.param_groups(0.01)
    assert laws["weight_decay"] == 0.01
    assert "lr" not in laws
    assert (latents["lr"], latents["weight_decay"]) == (0.07, 0.0)
    assert {id(p) for p in latents["params"]} == {id(task.mass), id(task.charge)}
    assert {id(p) for p in laws["params"]} == {id(p) for p in task.net.laws.parameters()}
    assert learning(task) == {"laws", "mass", "charge"}
    assert not task.mass.any()
    assert 0.1 < float(task.charge.detach().std()) < 0.6  # 0 would be a saddle
    assert torch.equal(task.charge, laws_task().charge)


def test_lines_are_explained_by_nothing():
    place = torch.linspace(0, 1, 9).view(1, 9, 1, 1).expand(2, 9, 3, 2).clone()
    place[:, :, 1], place[:, :, 2] = place[:, :, 1] * 2 + 30, place[:, :, 2] - 30
    task = LawsTask(net(charge="none"), place, torch.ones(2, 9, 3, dtype=torch.bool), DT, 0)
    torch.nn.init.zeros_(task.net.laws.collision[-1].weight)
    task.net.laws.collision[-1].bias.data[:] = torch.tensor([-100.0, 0.0])
    assert task.loss(None, LATE, Rng(0)).loss.item() < 1e-4


def test_clips_shorter_than_the_window_are_refused():
    place, present = paths()
    with pytest.raises(DataError, match="clips of 4 frames are too short for a window of 4"):
        LawsTask(net(), place[:, :4], present[:, :4], DT, 0)


# -- answers ------------------------------------------------------------------------------------------------


def test_questions_are_learnt_while_all_else_rests():
    torch.manual_seed(0)
    phycine = net(layers=1, heads=2, model_dim=8)
    reasoner = Reasoner(phycine, words=6, classes=4)
    draw = torch.Generator().manual_seed(1)
    count = feature_count(phycine.config)
    told = Told(torch.randn(2, 3, count, generator=draw), torch.ones(2, 3, dtype=torch.bool))
    words = torch.randint(1, 6, (5, 4), generator=draw).numpy()
    kind, target = np.zeros(5, np.int64), np.array([0, 1, 2, 1, 0])
    keys = np.array([[0, 0, UNTOLD], [0, 1, UNTOLD], [1, 0, UNTOLD], [1, 1, 0], [0, 2, 1]])
    asked = Asked(words, kind, target, keys)
    task = AnswersTask(reasoner, asked, told)
    rows = Chosen(torch.tensor([4, 0, 2]))
    out, again = (task.loss(rows, LATE, Rng(7)) for _ in range(2))
    given = rows_of(asked, reasoner.tokens(told), told.present, rows.rows)
    generator = Rng(7).generator("jitter")
    objects = given.objects + JITTER * torch.randn(given.objects.shape, generator=generator)
    want, right = reasoner.net.loss(given._replace(objects=objects), generator)
    assert out.loss.item() == pytest.approx(want.item())
    assert torch.equal(out.loss, again.loss)
    assert out.logs["right"].item() == pytest.approx(right.item())
    out.loss.backward()
    assert learning(task) == {"net"}
    assert all(p.grad is None for p in phycine.parameters())


def test_calm_clips_are_those_without_charges():
    """On true paths of made references: of the calmest 40 %, few have two charges."""
    clips = [r.clip for seed in range(20) for r in draw_set(seed).references]
    count = max(c.x.shape[2] for c in clips)
    place = torch.zeros(len(clips), 17, count, 2)
    present = torch.zeros(len(clips), 17, count, dtype=torch.bool)
    for b, clip in enumerate(clips):
        own = clip.x.shape[2]
        place[b, :, :own] = torch.from_numpy(clip.x[0, ::3])
        present[b, :, :own] = True
    charged = torch.tensor([int((c.q[0] != 0).sum()) >= 2 for c in clips])
    calm = calmest(place, present, 6, 0.4)
    assert int(calm.sum()) == round(0.4 * len(clips))
    assert 0.2 < float(charged.float().mean()) < 0.8
    assert float(charged[calm].float().mean()) < 0.5 * float(charged[~calm].float().mean())
