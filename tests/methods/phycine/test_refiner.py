"""The learned search: symmetries, what it may not see, what a short training does under a known law."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.engine.folder import open_folder
from mien.engine.task import Clock, Rng
from mien.methods.phycine.concepts import FitSettings, Latents, first_latents, infer, misfit, residuals
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.evaluate import evaluate, restore
from mien.methods.phycine.laws import Laws
from mien.methods.phycine.model import Phycine
from mien.methods.phycine.refiner import Evidence, Refiner, distance_up_to_sign, evidence, pair_inputs
from mien.methods.phycine.stages import Chosen, RefinerTask
from mien.methods.phycine.task import build
from mien.synth import PhysWorld
from tests.methods.phycine.debug import recipe, train
from tests.methods.phycine.test_concepts import DT, Coulomb, seen, world

SETTINGS = FitSettings(window=4, noise=0.01)
HERE = Clock(0, 10, 1)


@pytest.fixture(scope="module")
def clips():
    return seen(PhysWorld(n_objects=4, half=1.0, seed=2).simulate(5, 14))


@pytest.fixture(scope="module")
def laws():
    torch.manual_seed(1)
    return Laws(8)


@pytest.fixture(scope="module")
def refiner():
    """Not trained, but with an update that is not 0."""
    torch.manual_seed(2)
    net = Refiner(SETTINGS.window, width=8)
    torch.nn.init.normal_(net.update.weight, std=0.3)
    return net


def start(path, seed=0):
    return Latents(*(z.detach() for z in first_latents(path, 0.3, torch.Generator().manual_seed(seed))))


def refined(refiner, laws, path, present, z):
    return refiner(laws, path, present, z, SETTINGS, DT)[-1]


def close(a, b):
    return all(torch.allclose(x, y, atol=2e-4) for x, y in zip(a, b, strict=True))


# -- what a round sees --------------------------------------------------------------------------------------


def test_evidence_is_what_the_laws_leave_and_has_no_gradient(clips, laws):
    path, present = clips
    z = Latents(*(x.clone().requires_grad_() for x in start(path)))
    found = evidence(laws, path, present, z, SETTINGS, DT)
    r = found.bend.sinh() * SETTINGS.noise
    left = residuals(laws, path, present, z, SETTINGS.window, DT)
    assert torch.allclose(r.square().sum((-1, -2)).sqrt(), left, atol=1e-4)
    assert not any(x.requires_grad for x in (found.bend, *found.slope, found.steep))
    assert torch.allclose(torch.stack(found.slope).square().mean(-1), torch.ones(2, 5), atol=1e-3)
    lost = misfit(laws, path, present, z, SETTINGS, DT).sum()
    (g,) = torch.autograd.grad(lost, [z.charge])
    scaled = found.slope.charge * found.steep[..., 1].exp() / path.shape[2]
    assert torch.allclose(scaled, g, atol=1e-6, rtol=1e-3)


def test_inputs_of_two_that_are_pushed_apart():
    """0 rests at 0, 1 moves from 1 to the right at 1: bends of -2 and 3 are both away from the other."""
    frames = torch.arange(8.0)
    path = torch.zeros(1, 8, 2, 2)
    path[0, :, 1, 0] = 1 + DT * frames
    bend = torch.zeros(1, 4, 2, 2, 4)
    bend[:, :, 0, 0], bend[:, :, 1, 0] = -2.0, 3.0
    z = Latents(torch.tensor([[0.1, 0.2]]), torch.tensor([[-1.0, 0.5]]))
    found = Evidence(bend, torch.ones(1, 4, 2, dtype=torch.bool), z, torch.zeros(1, 2, 2))
    to, of, inputs = pair_inputs(path, z, found, DT)
    assert (to.tolist(), of.tolist()) == ([0, 1], [1, 0])
    far = 1 + 0.3  # the window of frames 1 .. 4 has its middle at 3
    same = [far, 1 / (far + 0.2), 1.0]
    first, second = inputs[0, 0].tolist()
    assert first == pytest.approx([2] * 4 + [3] * 4 + same + [0.1, 0.2, -0.5, 1, 0.5], abs=1e-5)
    assert second == pytest.approx([3] * 4 + [2] * 4 + same + [0.2, 0.1, -0.5, 0.5, 1], abs=1e-5)
    assert inputs[0, 3, 0, 8].item() == pytest.approx(far + 0.3)


def test_the_gradient_of_a_round_is_that_of_its_update_alone(clips, laws, refiner):
    """One round: d z_m / d start is 1 where the start acts directly, whatever the net makes of it."""
    path, present = clips
    z = Latents(*(x.clone().requires_grad_() for x in start(path)))
    one = Refiner(SETTINGS.window, width=8, rounds=1)
    one.load_state_dict(refiner.state_dict())
    found = refined(one, laws, path, present, z)
    (g,) = torch.autograd.grad(found.mass.sum(), [z.mass])
    assert torch.equal(g, torch.ones_like(g))
    assert not torch.equal(found.mass, z.mass)


# -- symmetries ---------------------------------------------------------------------------------------------


def test_permuting_objects_permutes_what_is_found(clips, laws, refiner):
    path, present = clips
    present = present.clone()
    present[1, :, 2] = False
    order = torch.tensor([2, 0, 3, 1])
    z = start(path)
    found = refined(refiner, laws, path, present, z)
    moved = refined(
        refiner, laws, path[:, :, order], present[:, :, order], Latents(*(x[:, order] for x in z))
    )
    assert close(moved, (x[:, order] for x in found))
    assert not close(moved, found)


def test_turning_all_charges_turns_what_is_found(clips, laws, refiner):
    path, present = clips
    z = start(path)
    found = refined(refiner, laws, path, present, z)
    turned = refined(refiner, laws, path, present, Latents(z.mass, -z.charge))
    assert close(turned, (found.mass, -found.charge))
    assert not close(found, z)


def test_absent_objects_change_nothing_and_stay_at_0(clips, laws, refiner):
    path, present = clips
    alone = refined(refiner, laws, path, present, start(path))
    wide = torch.cat([path, torch.randn(5, 14, 2, 2, generator=torch.Generator().manual_seed(0))], 2)
    there = torch.cat([present, torch.zeros(5, 14, 2, dtype=torch.bool)], 2)
    more = Latents(*(torch.cat([z, torch.ones(5, 2)], 1) for z in start(path)))
    found = refined(refiner, laws, wide, there, more)
    assert close((z[:, :4] for z in found), alone)
    assert not any(z[:, 4:].any() for z in found)


def test_clips_do_not_know_each_other(clips, laws, refiner):
    path, present = clips
    z = start(path)
    whole = refined(refiner, laws, path, present, z)
    part = refined(refiner, laws, path[:2], present[:2], Latents(*(x[:2] for x in z)))
    assert close((x[:2] for x in whole), part)


# -- rounds and seeds ---------------------------------------------------------------------------------------


def test_no_rounds_are_the_start(clips, laws):
    path, present = clips
    none = Refiner(SETTINGS.window, width=8, rounds=0)
    found = none.infer(laws, path, present, SETTINGS, dt=DT, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(found, start(path, seed=4), strict=True))


def test_all_rounds_are_given_and_seeds_decide(clips, laws, refiner):
    path, present = clips
    assert len(refiner(laws, path, present, start(path), SETTINGS, DT)) == 4
    one, again, other = (refiner.infer(laws, path, present, SETTINGS, dt=DT, seed=s) for s in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.charge, other.charge)
    assert not any(z.requires_grad for z in one)


def test_short_paths_are_refused(clips, laws, refiner):
    path, present = clips
    with pytest.raises(DataError, match="too short for a window of 4"):
        refiner.infer(laws, path[:, :4], present[:, :4], SETTINGS)


# -- training -----------------------------------------------------------------------------------------------


def test_distance_up_to_sign():
    """Masses .5 apart: .5^2 / 2 each. Charges (1, -1) against (-1, .8): turned, 0 and .02. Mean over two."""
    known = Latents(torch.zeros(1, 3), torch.tensor([[1.0, -1.0, 5.0]]))
    found = Latents(torch.full((1, 3), 0.5), torch.tensor([[-1.0, 0.8, 0.0]]))
    there = torch.tensor([[True, True, False]])
    assert distance_up_to_sign(found, known, there).item() == pytest.approx(0.125 + 0.01)
    turned = Latents(found.mass, -found.charge)
    assert distance_up_to_sign(turned, known, there).item() == pytest.approx(0.125 + 0.01)


def coulomb_task(count):
    """A refiner to be trained on clips of the charged world, under its own law."""
    path, present = seen(world(seed=5, mass_values=(1,)).simulate(count, 15))
    torch.manual_seed(0)
    net = Phycine(PhycineConfig(stage="refiner", sight="true", window=4, noise=0.01), (16, 24), DT)
    net.laws = Coulomb()
    found = infer(net.laws, path, present, FitSettings(infer_steps=60, infer_lr=0.1), dt=DT)
    return RefinerTask(net, path, present, DT, found)


def test_training_lowers_the_misfit_of_new_clips_and_finds_their_charges():
    task = coulomb_task(64)
    clip = world(seed=9, mass_values=(1,)).simulate(48, 15)
    path, present = seen(clip)
    refiner, coulomb = task.net.refiner, task.net.laws
    first, second = np.triu_indices(3, 1)

    def look():
        z = refiner.infer(coulomb, path, present, task.settings, dt=DT)
        product = (z.charge[:, first] * z.charge[:, second]).numpy().ravel()
        right = np.corrcoef(product, (clip.q[:, first] * clip.q[:, second]).ravel())[0, 1]
        return float(misfit(coulomb, path, present, z, task.settings, DT).mean()), right

    (before, _), optimizer = look(), torch.optim.Adam(refiner.parameters(), 1e-2)
    for step in range(40):
        rows = torch.randint(64, (32,), generator=torch.Generator().manual_seed(step))
        loss = task.loss(Chosen(rows), HERE, Rng(step)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after, right = look()
    assert after < 0.6 * before
    assert right > 0.6


def test_the_loss_weighs_later_rounds_more():
    task = coulomb_task(6)
    rows = Chosen(torch.tensor([4, 1]))
    out = task.loss(rows, HERE, Rng(3))
    place, present = task.place[rows.rows], task.present[rows.rows]
    begin = first_latents(place, task.settings.spread, Rng(3).generator("charges"))
    rounds = task.net.refiner(task.net.laws, place, present, begin, task.settings, DT)
    known = Latents(task.mass[rows.rows], task.charge[rows.rows])
    want = sum(
        r / 3 * (misfit(task.net.laws, place, present, z, task.settings, DT) / 0.01).mean()
        + r / 3 * distance_up_to_sign(z, known, present.any(1)).mean()
        for r, z in enumerate(rounds)
    )
    assert out.loss.item() == pytest.approx(want.item())
    assert torch.equal(out.loss, task.loss(rows, HERE, Rng(3)).loss)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folders of laws on true paths, and of the refiner after them."""
    root = tmp_path_factory.mktemp("refiner")
    first = train(root / "laws", recipe(method__sight="true"))
    return first, train(root / "refiner", recipe("debug-refiner", method__sight="true"), first)


def test_the_stage_goes_on_from_laws_and_leaves_them(run):
    laws, net = (restore(open_folder(f)) for f in run)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in laws.state_dict().items())
    fresh = build(recipe("debug-refiner", method__sight="true"), {"before": run[0]}).task
    assert type(fresh) is RefinerTask
    trained, own = net.refiner.state_dict(), fresh.net.refiner.state_dict()
    assert not torch.equal(trained["update.weight"], own["update.weight"])
    assert net.find == net.refiner.infer
    assert laws.find is infer
    assert {n.split(".")[1] for n, p in fresh.named_parameters() if p.requires_grad} == {"refiner"}


def test_what_the_refiner_finds_is_scored(run):
    evaluation = Evaluation("test", options={"together": "product"})
    learned = evaluate(open_folder(run[1]), evaluation)
    gradient = evaluate(open_folder(run[0]), evaluation)
    assert learned.units.keys() == gradient.units.keys()
    assert all(np.isfinite(v).all() for v in learned.units.values())
    assert not np.array_equal(learned.units["charge"], gradient.units["charge"])


def test_answers_can_follow_the_refiner(run):
    task = build(recipe("debug-answers", method__sight="true"), {"before": run[1]}).task
    own, before = task.net.phycine.state_dict(), restore(open_folder(run[1])).state_dict()
    assert not any(k.startswith("refiner") for k in own)
    assert all(torch.equal(v, before[k]) for k, v in own.items())


def test_other_stages_have_no_refiner_and_refuse_its_settings():
    assert not hasattr(Phycine(PhycineConfig(), (16, 24)), "refiner")
    assert Phycine(PhycineConfig(stage="refiner", rounds=5), (16, 24)).refiner.rounds == 5
    assert Phycine(PhycineConfig(stage="refiner"), (16, 24)).find is infer
    with pytest.raises(ConfigError, match=r"method\.inference is of stage 'refiner', not of 'laws'"):
        PhycineConfig(inference="learned")
    with pytest.raises(ConfigError, match="rounds"):
        PhycineConfig(stage="refiner", rounds=0)
