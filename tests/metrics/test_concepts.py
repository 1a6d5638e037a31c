"""Latents against mass and charge: worked numbers, what motion cannot tell, leaks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mien.core.errors import DataError, ShapeError
from mien.metrics import (
    auc_units,
    class_midpoint,
    concept_report,
    correlation_units,
    interactions,
    trajectory_mse,
)

NO_HITS = np.zeros((1, 4, 4), bool)


def hits_of(batch, n, pairs):
    """(B, N, N) with the named (clip, i, j)."""
    out = np.zeros((batch, n, n), bool)
    for b, i, j in pairs:
        out[b, i, j] = out[b, j, i] = True
    return out


def clips(batch=400, n=4, seed=0):
    """Masses, charges, colours independent of each other, and some collisions."""
    rng = np.random.default_rng(seed)
    mass, charge = rng.choice([1.0, 5.0], (batch, n)), rng.choice([-1.0, 0.0, 1.0], (batch, n))
    hits = np.triu(rng.random((batch, n, n)) < 0.1, 1)
    return rng, mass, charge, hits | hits.transpose(0, 2, 1), rng.integers(0, 8, (batch, n))


def test_worked_products():
    """Products -.72, .09, .99, -.08, -.88, .11 with -1, 0, 1, 0, -1, 0: r = .991361."""
    z, q = [[0.9, -0.8, 0.1, 1.1]], [[1, -1, 0, 1]]
    report = concept_report(z, z, [[1, 5, 5, 1]], q, NO_HITS)
    assert report.charge_correlation == pytest.approx(0.991361, abs=1e-6)
    assert report.like_opposite_auc == 1
    assert report.charged_auc == 1
    flipped = concept_report(z, -np.array(z), [[1, 5, 5, 1]], q, NO_HITS)
    assert flipped.charge_correlation == report.charge_correlation


def test_who_interacted():
    """Collided, or shares a non-zero product of charges: 0 hit 1; 2 and 3 are charged; 4 is alone."""
    who = interactions([[0, 0, 1, -1, 0]], hits_of(1, 5, [(0, 0, 1)]))
    assert who.objects[0].tolist() == [True, True, True, True, False]
    assert who.groups[0].tolist() == [0, 0, 2, 2, 4]
    assert np.argwhere(np.triu(who.pairs[0])).tolist() == [[0, 1], [2, 3]]


def test_groups_follow_long_chains():
    for n in (2, 5, 9, 16):
        order = np.random.default_rng(n).permutation(n)
        chain = hits_of(1, n, [(0, *pair) for pair in itertools.pairwise(order)])
        assert (interactions(np.zeros((1, n)), chain).groups == 0).all()


def test_hits_of_every_frame_are_gathered():
    each = np.stack([hits_of(2, 3, [(0, 0, 1)]), hits_of(2, 3, [(0, 1, 2), (1, 0, 2)])], 1)
    who = interactions(np.zeros((2, 3)), each)
    assert who.groups.tolist() == [[0, 0, 0], [0, 1, 0]]


def test_masses_are_scored_where_they_can_be_known():
    """A latent that is right on objects that interacted and noise on the others."""
    rng, mass, charge, hits, _ = clips()
    on = interactions(charge, hits).objects
    z = np.where(on, np.log(mass), rng.normal(1, 1, mass.shape))
    report = concept_report(z, charge, mass, charge, hits)
    assert report.mass_auc == report.mass_auc_in_group == 1
    assert report.mass_auc_control == pytest.approx(0.5, abs=0.06)
    assert report.interacted == on.sum()
    assert report.alone == (~on).sum() > 200


def test_a_scale_of_each_group_spoils_only_the_pooled_score():
    """Motion fixes ratios in a group: a latent off by a constant in each is as good as motion allows."""
    rng, mass, charge, hits, _ = clips()
    groups = interactions(charge, hits).groups
    shift = np.take_along_axis(rng.normal(0, 3, mass.shape), groups, 1)
    report = concept_report(np.log(mass) + shift, charge, mass, charge, hits)
    assert report.mass_auc_in_group == 1
    assert report.mass_auc < 0.8


def test_order_in_a_group_equals_its_loop():
    rng, mass, charge, hits, _ = clips(60)
    z = np.round(np.log(mass) + rng.normal(0, 1, mass.shape), 1)
    groups = interactions(charge, hits).groups
    won = [
        (z[b, i] > z[b, j]) + 0.5 * (z[b, i] == z[b, j])
        for b in range(60)
        for i, j in itertools.product(range(4), range(4))
        if mass[b, i] > mass[b, j] and groups[b, i] == groups[b, j]
    ]
    found = concept_report(z, charge, mass, charge, hits).mass_auc_in_group
    assert found == pytest.approx(np.mean(won))
    assert 0.6 < found < 0.95


def test_a_sign_of_each_clip_and_a_scale_change_nothing():
    rng, mass, charge, hits, _ = clips()
    z_m, z_c = (a + rng.normal(0, 0.5, a.shape) for a in (np.log(mass), charge))
    sign = rng.choice([-1, 1], (len(mass), 1))
    a = concept_report(z_m, z_c, mass, charge, hits)
    b = concept_report(0.2 * z_m - 7, 3 * sign * z_c, mass, charge, hits)
    for name in ("mass_auc", "mass_auc_in_group", "charge_correlation", "like_opposite_auc", "charged_auc"):
        assert getattr(a, name) == pytest.approx(getattr(b, name))
        assert 0.6 < getattr(a, name) < 1


def test_a_charge_alone_is_a_control():
    """|z| that is right only where two charges act: clips of one charge are at chance."""
    rng, mass, charge, hits, _ = clips(1500)
    several = (charge != 0).sum(1, keepdims=True) >= 2
    report = concept_report(mass, np.where(several, charge, rng.normal(0, 1, mass.shape)), mass, charge, hits)
    assert report.charged_auc == 1
    assert report.charged_auc_control == pytest.approx(0.5, abs=0.06)


def test_leaks():
    rng, mass, charge, hits, colour = clips(1500)
    noise = rng.normal(0, 0.1, mass.shape)
    clean = concept_report(mass + noise, charge + noise, mass, charge, hits, colour)
    for name in ("mass_from_charge_auc", "charged_from_mass_auc"):
        assert getattr(clean, name) == pytest.approx(0.5, abs=0.05)
    for name in ("mass_from_colour", "charge_from_colour"):
        assert getattr(clean, name) == pytest.approx(0, abs=0.02)
    mixed = concept_report(charge**2 + noise, mass + noise, mass, charge, hits, colour)
    assert mixed.mass_from_charge_auc > 0.99
    assert mixed.charged_from_mass_auc > 0.99
    seen = concept_report(colour + noise, charge * (1 + colour), mass, charge, hits, colour)
    assert seen.mass_from_colour > 0.99
    assert np.isnan(concept_report(colour + noise, charge, mass, charge, hits).mass_from_colour)


def test_explained_variance_is_adjusted():
    """Many colours, few objects: plain R^2 would be about K / n."""
    rng = np.random.default_rng(0)
    found = [
        concept_report(z, z, np.ones((5, 4)), np.zeros((5, 4)), np.zeros((5, 4, 4)), colour).mass_from_colour
        for z, colour in ((rng.normal(size=(5, 4)), rng.integers(0, 8, (5, 4))) for _ in range(300))
    ]
    assert np.mean(found) == pytest.approx(0, abs=0.05)


def test_a_linear_probe_of_one_number():
    rng, mass, charge, hits, _ = clips()
    z = np.log(mass) + 40
    cut = class_midpoint(z, mass > 3)
    assert cut == pytest.approx(40 + np.log(5) / 2)
    assert concept_report(z, charge, mass, charge, hits, threshold=cut).mass_accuracy == 1
    shuffled = rng.permutation(z.ravel()).reshape(z.shape)
    noise = concept_report(shuffled, charge, mass, charge, hits, threshold=cut)
    assert noise.mass_accuracy == pytest.approx(0.5, abs=0.05)
    assert np.isnan(class_midpoint([1.0, 2.0], [True, True]))


def test_what_cannot_be_said_is_nan():
    """One mass, no charge, no collision."""
    report = concept_report(
        np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, 3)), np.zeros((2, 3, 3))
    )
    assert (report.interacted, report.alone) == (0, 6)
    numbers = [v for k, v in vars(report).items() if k not in ("interacted", "alone")]
    assert np.isnan(numbers).all()


def test_error_of_each_step():
    rng = np.random.default_rng(0)
    true, pred = rng.normal(size=(2, 3, 5, 4, 2))
    found = trajectory_mse(true, pred)
    for b, t in itertools.product(range(3), range(5)):
        total = sum((true[b, t, k, c] - pred[b, t, k, c]) ** 2 for k in range(4) for c in range(2))
        assert found[b, t] == pytest.approx(total / 8)
    assert not trajectory_mse(true, true).any()
    with pytest.raises(ShapeError, match="one shape"):
        trajectory_mse(true, pred[:, :4])


def test_bad_input():
    z, hits = np.ones((2, 3)), np.zeros((2, 3, 3))
    with pytest.raises(ShapeError, match="must be"):
        concept_report(z, z[:, :2], z, z, hits)
    with pytest.raises(ShapeError, match="hits"):
        concept_report(z, z, z, z, hits[:, :2])
    with pytest.raises(ShapeError, match="colour must be"):
        concept_report(z, z, z, z, hits, colour=[1, 2])
    with pytest.raises(DataError, match="finite"):
        concept_report(np.nan * z, z, z, z, hits)
    assert concept_report(z, z, z, z, hits).interacted == 6


def test_objects_that_do_not_exist_do_not_count():
    rng = np.random.default_rng(3)
    zm, zc, mass = rng.normal(size=(3, 40, 3))
    mass, charge = np.where(mass > 0, 5.0, 1.0), rng.integers(-1, 2, (40, 3))
    hits = rng.random((40, 3, 3)) < 0.3
    hits |= hits.swapaxes(1, 2)
    wide = [np.concatenate([v, rng.normal(size=(40, 2))], 1) for v in (zm, zc, mass, charge)]
    met = np.zeros((40, 5, 5), bool)
    met[:, :3, :3] = hits
    exists = np.arange(5) < np.full((40, 1), 3)
    colour = rng.integers(0, 3, (40, 5))
    few = concept_report(zm, zc, mass, charge, hits, colour[:, :3], 0.0)
    padded = concept_report(*wide, met, colour, 0.0, exists)
    assert vars(few) == pytest.approx(vars(padded), nan_ok=True)


def jackknife(statistic, count):
    """Standard error by leaving out one case after the other."""
    left = np.array([statistic(np.arange(count) != k) for k in range(count)])
    return np.sqrt((count - 1) * left.var())


def test_units_average_to_the_auc_and_spread_as_it_does():
    rng = np.random.default_rng(5)
    positive = rng.random(200) < 0.4
    scores = np.round(rng.normal(size=200) + positive, 1)

    def slow(kept):
        above, below = scores[kept & positive], scores[kept & ~positive]
        return np.mean([(s > t) + (s == t) / 2 for s in above for t in below])

    units = auc_units(scores, positive)
    assert units.mean() == pytest.approx(slow(np.ones(200, bool)))
    assert units.std() / np.sqrt(200) == pytest.approx(jackknife(slow, 200), rel=0.03)
    assert auc_units(scores, np.ones(200, bool)).tolist() == [0.0] * 200


def test_units_average_to_the_correlation_and_spread_as_it_does():
    a, b = np.random.default_rng(5).normal(size=(2, 200))
    b += a
    units = correlation_units(a, b)
    assert units.mean() == pytest.approx(np.corrcoef(a, b)[0, 1])
    error = jackknife(lambda kept: np.corrcoef(a[kept], b[kept])[0, 1], 200)
    assert units.std() / np.sqrt(200) == pytest.approx(error, rel=0.03)
    assert correlation_units(a, np.ones(200)).tolist() == [0.0] * 200
    assert correlation_units([], []).tolist() == []
