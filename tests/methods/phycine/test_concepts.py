"""Windows see bends and not lines; latents of a world whose laws are known come out right."""

import numpy as np
import pytest
import torch
from torch import nn

from mien.core.errors import ConfigError, DataError
from mien.methods.phycine.concepts import (
    FitSettings,
    Latents,
    fit,
    infer,
    misfit,
    product_of_gaussians,
    residuals,
    same_sign,
    spreads,
    velocities,
    window_maps,
)
from mien.methods.phycine.laws import Laws, rollout
from mien.synth import PhysWorld

DT = 0.1


class Coulomb(nn.Module):
    """The simulator's charge force, softened by 0.3; no collisions."""

    def forward(self, p, v, z_m, z_c, present=None):
        apart = p[..., :, None, :] - p[..., None, :, :]
        d2 = apart.square().sum(-1, keepdim=True) + 0.09
        product = (z_c[..., :, None] * z_c[..., None, :])[..., None]
        return DT * (product * apart / d2**1.5).sum(-2) / z_m.exp()[..., None]


def world(**options):
    """Small discs that hardly ever meet."""
    return PhysWorld(n_objects=3, radius=0.01, strength=1.0, half=1.0, **options)


def seen(clip):
    path = torch.tensor(clip.x, dtype=torch.float32)
    return path, torch.ones(path.shape[:3], dtype=torch.bool)


def none(path):
    return Latents(*torch.zeros(2, path.shape[0], path.shape[2]))


def test_a_straight_line_leaves_nothing():
    t = torch.arange(6.0)
    project = window_maps(6, DT)[0]
    assert float((project @ (2 - 3 * t)).abs().max()) < 1e-5
    assert float((project @ t**2).abs().max()) > 1


def test_a_kick_explains_the_bend_it_makes():
    """Velocity 1 until frame 2, then 3: 0 .1 .2 .5 .8 1.1; a quarter of the frame later: .45 .75 1.05."""
    kicks = torch.tensor([0.0, 0, 2, 0, 0, 0])
    project, kicked, late = window_maps(6, DT)
    assert torch.allclose(project @ torch.tensor([0, 0.1, 0.2, 0.5, 0.8, 1.1]), kicked @ kicks, atol=1e-6)
    later = torch.tensor([0, 0.1, 0.2, 0.45, 0.75, 1.05])
    assert torch.allclose(project @ later, kicked @ kicks - late @ kicks / 4, atol=1e-6)


def test_laws_that_explain_a_path_also_go_on_with_it():
    """Windows and rollouts have one rule: what laws have rolled out they explain in whole."""
    start = torch.randn(2, 3, 4, 2, generator=torch.Generator().manual_seed(1))
    z = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        path, _ = rollout(Coulomb(), *start, *z, 12, DT)
        r = residuals(Coulomb(), path, torch.ones(path.shape[:3], dtype=torch.bool), Latents(*z), 6, DT)
        straight = residuals(Coulomb(), path, torch.ones(path.shape[:3], dtype=torch.bool), none(path), 6, DT)
    assert float(r.max()) < 1e-5 * float(straight.max()) + 2e-6


def test_velocities_are_of_the_frame_before():
    path = torch.tensor([0.0, 1, 3]).view(1, 3, 1, 1).expand(1, 3, 1, 2)
    assert velocities(path, 0.5)[0, :, 0, 0].tolist() == [2, 4]


def test_true_laws_explain_true_paths():
    clip = world(substeps=40, seed=3).simulate(16, 21)
    path, present = seen(clip)
    truth = Latents(*(torch.tensor(np.asarray(x), dtype=torch.float32) for x in (np.log(clip.m), clip.q)))
    right = residuals(Coulomb(), path, present, truth, 4, DT).median()
    charged = torch.tensor((clip.q != 0).sum(1) > 1)
    wrong = residuals(Coulomb(), path[charged], present[charged], none(path[charged]), 4, DT).mean()
    assert float(right) < 3e-4
    assert float(wrong) > 3 * float(right)


def test_windows_with_an_absent_object_do_not_count():
    path, present = seen(world(seed=1).simulate(2, 12))
    path, present = path.clone(), present.clone()
    path[0, 5, 1], present[0, 5, 1] = 50.0, False
    r = residuals(Coulomb(), path, present, none(path), 4, DT)
    assert r.shape == (2, 8, 3)
    assert float(r.max()) < 1
    assert float(r[0, :, 1].count_nonzero()) == 3  # windows of frames 1 .. 4, 7 .. 10, 8 .. 11


def test_charges_are_found_under_known_laws():
    clip = world(seed=5, mass_values=(1,)).simulate(24, 21)
    path, present = seen(clip)
    found = infer(Coulomb(), path, present, FitSettings(infer_steps=120, infer_lr=0.1))
    first, second = np.triu_indices(3, 1)
    products = [(z[:, first] * z[:, second]).ravel() for z in (found.charge.numpy(), clip.q)]
    assert np.corrcoef(*products)[0, 1] > 0.8


def test_fit_lowers_the_misfit_and_is_repeatable():
    path, present = seen(PhysWorld(n_objects=3, half=1.0, seed=2).simulate(8, 12))
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        runs.append(fit(path, present, FitSettings(steps=12), Laws(8), dt=DT))
    (first, losses), (second, _) = runs
    assert losses[-1] < losses[0]
    assert torch.equal(first.charge, second.charge)
    assert torch.equal(first.mass, second.mass)


def test_inferred_clips_do_not_know_each_other():
    torch.manual_seed(0)
    laws = Laws(8)
    path, present = seen(PhysWorld(n_objects=3, half=1.0, seed=2).simulate(4, 12))
    before = [x.clone() for x in laws.parameters()]
    whole = infer(laws, path, present, FitSettings(infer_steps=5))
    part = infer(laws, path[:2], present[:2], FitSettings(infer_steps=5))
    assert torch.allclose(whole.charge[:2], part.charge, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(before, laws.parameters(), strict=True))


def test_spreads_are_wide_where_nothing_is_told():
    """Under the true law: who has a charged partner is known well, whose partners are neutral not at all."""
    clip = world(seed=5, mass_values=(1,)).simulate(12, 21)
    path, present = seen(clip)
    truth = Latents(torch.zeros(12, 3), torch.tensor(clip.q, dtype=torch.float32))
    found = spreads(Coulomb(), path, present, truth, FitSettings())
    others = torch.tensor((clip.q != 0).sum(1)[:, None] - (clip.q != 0))
    assert float(found.charge[others == 0].min()) > 0.99
    assert float(found.charge[others > 0].median()) < 0.1
    assert bool((found.mass <= 1).all())


def test_product_of_gaussians():
    """N(0, 1) N(3, 1/2): precisions 1 and 4, mean 12 / 5, std 1 / sqrt 5."""
    mean, std = product_of_gaussians(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [0.5]]))
    assert mean.item() == pytest.approx(2.4)
    assert std.item() == pytest.approx(5**-0.5)


def test_signs_of_clips_are_turned_to_agree():
    charges = torch.tensor([[1.0, -1, 0], [-0.9, 0.8, 0.1], [0.9, 0.1, 0.7]])
    turned = same_sign(charges, torch.full((3, 3), 0.1))
    assert turned[1].tolist() == pytest.approx([0.9, -0.8, -0.1])
    assert torch.equal(turned[2], charges[2])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p[:, :4], "too short for a window"),
        (lambda p: p * float("nan"), "not finite"),
        (lambda p: p[..., :1], "must be"),
    ],
)
def test_bad_paths(change, says):
    path, _ = seen(world().simulate(2, 8))
    path = change(path)
    with pytest.raises(DataError, match=says):
        infer(Laws(4), path, torch.ones(path.shape[:3], dtype=torch.bool), FitSettings())


def test_bad_settings():
    with pytest.raises(ConfigError, match="window"):
        FitSettings(window=2)
    path, present = seen(world().simulate(1, 8))
    assert misfit(Coulomb(), path, present, none(path), FitSettings(), DT).shape == (1,)
