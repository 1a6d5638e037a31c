from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics import ScoreTally, auc, eer, tally_pairs, tar_at_far


def made(n=20_000, seed=0):
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.1
    return np.tanh(rng.normal(np.where(same, 0.6, 0.0), 0.3)).astype(np.float32), same


def filled(scores, same, chunks=7, **options):
    tally = ScoreTally(**options)
    for s, y in zip(np.array_split(scores, chunks), np.array_split(same, chunks), strict=True):
        tally.update(s, y)
    return tally


def test_a_fine_grid_gives_the_exact_rates():
    scores, same = made()
    tally = filled(scores, same)
    assert tally.auc() == pytest.approx(auc(scores, same), abs=1e-6)
    assert tally.eer().value == pytest.approx(eer(scores, same).value, abs=1e-4)
    fars = [1e-3, 1e-2, 0.1]
    for a, b in zip(tally.tar_at_far(fars), tar_at_far(scores, same, fars), strict=True):
        assert a.tar == pytest.approx(b.tar, abs=1e-3)
        assert a.interval == pytest.approx(b.interval, abs=1e-3)
        assert a.bootstrap == pytest.approx(b.bootstrap, abs=1e-2)
        assert (a.genuine, a.impostors) == (b.genuine, b.impostors)


@pytest.mark.parametrize("bins", [11, 201, 2**20])
def test_rates_are_exact_at_the_thresholds_named(bins):
    """On a coarse grid too: what is printed is what these thresholds do to the raw scores."""
    scores, same = made(5000, 1)
    tally = filled(scores, same, bins=bins)
    for rule in ("at_most", "nearest"):
        for point in tally.tar_at_far([0.0, 0.01, 0.2, 1.0], rule=rule):
            accepted = scores.astype(np.float64) >= point.threshold - 1e-12
            assert point.far == pytest.approx(accepted[~same].mean())
            assert point.tar == pytest.approx(accepted[same].mean())
            if rule == "at_most":
                assert point.far <= point.target
    found = tally.eer()
    assert found.far == pytest.approx((scores[~same] >= found.threshold - 1e-12).mean())


def test_chunks_and_merging_change_nothing():
    scores, same = made(3000, 2)
    one, many = filled(scores, same, 1), filled(scores, same, 50)
    left, right = filled(scores[:1000], same[:1000]), filled(scores[1000:], same[1000:])
    left.merge(right)
    for other in (many, left):
        np.testing.assert_array_equal(one.genuine, other.genuine)
        np.testing.assert_array_equal(one.impostor, other.impostor)
    one.reset()
    assert not one.genuine.any()


def test_scores_outside_are_counted_at_the_ends():
    tally = ScoreTally(0, 1, 11)
    tally.update([-5.0, 7.0, 1.0, 0.0], [False, True, True, False])
    assert tally.genuine[-1] == 2
    assert tally.impostor[0] == 2


def test_all_pairs_of_embeddings():
    rng = np.random.default_rng(0)
    who = rng.integers(0, 30, 2500)
    e = rng.normal(size=(30, 16))[who] + rng.normal(size=(2500, 16))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    e = e.astype(np.float32)
    tally = tally_pairs(e, who)
    a, b = np.triu_indices(2500, 1)
    scores, same = np.einsum("nd,nd->n", e[a], e[b]), who[a] == who[b]
    assert tally.genuine.sum() == same.sum()
    assert tally.impostor.sum() == (~same).sum()
    assert tally.auc() == pytest.approx(auc(scores, same), abs=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ScoreTally(1, 0), ConfigError, r"low < high"),
        (lambda: ScoreTally().update([0.1, np.nan], [1, 0]), DataError, r"1 of 2 scores are NaN"),
        (lambda: ScoreTally().update([0.1], [1, 0]), ShapeError, r"alike"),
        (lambda: ScoreTally().merge(ScoreTally(bins=5)), ConfigError, r"same low, high and bins"),
        (lambda: filled(np.array([0.5]), np.array([True]), 1).auc(), DataError, r"no impostor score"),
        (lambda: tally_pairs([[1.0]], [1, 2]), ShapeError, r"labels \(n,\)"),
    ],
)
def test_errors_in_one_line(call, error, message):
    with pytest.raises(error, match=message):
        call()
