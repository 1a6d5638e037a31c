from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics import auc, choose_threshold, d_prime, eer, tar_at_far, wilson_interval
from mien.metrics.identity_draws import PairTable
from mien.metrics.rates import auc_of, eer_of, point_at_far
from mien.metrics.score_sets import score_sets

FARS = (0.0, 0.01, 0.1, 0.25, 0.5, 0.9, 1.0)


def made(n=400, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.3
    same[:2] = True, False
    scores = rng.normal(np.where(same, 1.5, 0.0), 1.0)
    return (np.round(scores * levels) / levels if levels else scores), same


def roc_loop(scores, same):
    """(FAR, TAR) of every threshold, strict first."""
    genuine = [s for s, y in zip(scores, same, strict=True) if y]
    impostor = [s for s, y in zip(scores, same, strict=True) if not y]
    out = [(0.0, 0.0)]
    for t in sorted(set(scores), reverse=True):
        out.append(
            (sum(s >= t for s in impostor) / len(impostor), sum(s >= t for s in genuine) / len(genuine))
        )
    return out


def twin_tar(scores, same, far, rule):
    points = roc_loop(scores, same)
    if rule == "at_most":
        return max(tar for f, tar in points if f <= far + 1e-12)
    if rule == "nearest":
        gap = min(abs(f - far) for f, _ in points)
        return max(tar for f, tar in points if abs(f - far) == gap)
    return float(np.interp(far, *zip(*points, strict=True)))


@pytest.mark.parametrize("rule", ["at_most", "nearest", "interpolate"])
@pytest.mark.parametrize(("seed", "levels"), [(0, None), (1, 4), (2, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tar_equals_its_loop(rule, seed, levels, dtype):
    scores, same = made(150, seed, levels)
    scores = scores.astype(dtype)
    for point in tar_at_far(scores, same, FARS, rule=rule, bootstrap="none"):
        assert point.tar == pytest.approx(twin_tar(scores, same, point.target, rule), abs=1e-12)
        if rule != "interpolate":
            accepted = scores >= point.threshold
            assert point.far == pytest.approx(accepted[~same].mean())
            assert point.tar == pytest.approx(accepted[same].mean())
        assert point.interval[0] <= point.tar <= point.interval[1]


def test_nearest_breaks_ties_to_the_higher_tar():
    scores, same = [0.9, 0.8, 0.7, 0.6, 0.5], [0, 1, 1, 0, 1]
    (point,) = tar_at_far(scores, same, 0.25, rule="nearest", bootstrap="none")
    assert (point.far, point.tar) == (0.5, pytest.approx(2 / 3))
    (strict,) = tar_at_far(scores, same, 0.25, bootstrap="none")
    assert (strict.far, strict.tar) == (0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 1, 3]))
def test_tar_rises_with_far_and_threshold_falls(seed, levels):
    scores, same = made(80, seed, levels)
    for rule in ("at_most", "nearest", "interpolate"):
        points = tar_at_far(scores, same, np.linspace(0, 1, 23), rule=rule, bootstrap="none")
        for a, b in itertools.pairwise(points):
            assert a.tar <= b.tar + 1e-12
            assert a.far <= b.far + 1e-12
            assert a.threshold >= b.threshold


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 2]))
def test_increasing_maps_change_no_rate(seed, levels):
    scores, same = made(60, seed, levels)
    for mapped in (3 * scores - 7, np.exp(scores), scores**3):
        for rule in ("at_most", "nearest"):
            pairs = [tar_at_far(s, same, FARS, rule=rule, bootstrap="none") for s in (scores, mapped)]
            assert [p.tar for p in pairs[0]] == [p.tar for p in pairs[1]]
        assert eer(scores, same).value == pytest.approx(eer(mapped, same).value)
        assert auc(scores, same) == pytest.approx(auc(mapped, same))
        assert (
            choose_threshold(scores, same, "accuracy").accuracy
            == choose_threshold(mapped, same, "accuracy").accuracy
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 1, 3]))
def test_auc_is_mann_whitney(seed, levels):
    from scipy.stats import mannwhitneyu

    scores, same = made(70, seed, levels)
    u = mannwhitneyu(scores[same], scores[~same]).statistic
    assert auc(scores, same) == pytest.approx(u / same.sum() / (~same).sum())
    assert auc(scores, same) == pytest.approx(roc_auc_score(same, scores))
    assert auc(-scores, same) == pytest.approx(1 - auc(scores, same))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_duplicates_change_no_rate(seed, times):
    scores, same = made(50, seed, 3)
    many = np.tile(scores, times), np.tile(same, times)
    for rule in ("at_most", "nearest", "interpolate"):
        one, more = (tar_at_far(*s, FARS, rule=rule, bootstrap="none") for s in ((scores, same), many))
        for a, b in zip(one, more, strict=True):
            if rule == "interpolate" or (a.target * (~same).sum()) % 1 == 0:
                assert a.tar == pytest.approx(b.tar)
    assert eer(scores, same).value == pytest.approx(eer(*many).value)
    assert auc(scores, same) == pytest.approx(auc(*many))
    assert d_prime(scores, same) == pytest.approx(d_prime(*many))


def twin_eer(scores, same):
    """Where the polyline of the ROC meets FAR = 1 - TAR, by bisection."""
    far, tar = map(np.array, zip(*roc_loop(scores, same), strict=True))
    gap = 1 - tar - far
    k = int(np.argmax(gap < 0))
    share = gap[k - 1] / (gap[k - 1] - gap[k])
    return far[k - 1] + share * (far[k] - far[k - 1])


@pytest.mark.parametrize(("seed", "levels"), [(s, v) for s in range(6) for v in (None, 1, 3)])
def test_eer_equals_its_loop(seed, levels):
    scores, same = made(90, seed, levels)
    found = eer(scores, same)
    assert found.value == pytest.approx(twin_eer(scores, same))
    assert found.far == pytest.approx((scores[~same] >= found.threshold).mean())
    assert found.frr == pytest.approx((scores[same] < found.threshold).mean())
    assert found.frr >= found.far - 1e-12


def test_rates_at_the_ends():
    perfect, wrong = ([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0]), ([0.1, 0.2, 0.9, 0.8], [1, 1, 0, 0])
    constant = ([0.5] * 4, [1, 1, 0, 0])
    assert [eer(*s).value for s in (perfect, wrong, constant)] == [0.0, 1.0, 0.5]
    assert [auc(*s) for s in (perfect, wrong, constant)] == [1.0, 0.0, 0.5]
    assert tar_at_far(*constant, 0.1, bootstrap="none")[0].tar == 0.0
    failed = ([0.9, -math.inf, -math.inf, 0.3], [1, 1, 0, 0])
    assert tar_at_far(*failed, 0.5, bootstrap="none")[0].tar == 0.5
    assert tar_at_far(*failed, 1.0, bootstrap="none")[0].tar == 1.0
    assert 0 <= eer(*failed).value <= 1


def test_d_prime_known_value():
    assert d_prime([3.0, 5.0, 0.0, 2.0], [1, 1, 0, 0]) == pytest.approx(3.0)
    scores, same = made(40_000, 5)
    assert d_prime(scores, same) == pytest.approx(1.5, abs=0.03)


def test_accuracy_threshold_is_the_best_of_all_and_the_strictest():
    for seed, levels in ((0, None), (1, 1), (2, 3)):
        scores, same = made(70, seed, levels)
        found = choose_threshold(scores, same, "accuracy")
        candidates = [*np.unique(scores), np.inf]
        accuracy = [((scores >= t) == same).mean() for t in candidates]
        assert found.accuracy == pytest.approx(max(accuracy))
        assert ((scores >= found.value) == same).mean() == pytest.approx(max(accuracy))
        ties = [t for t, a in zip(candidates, accuracy, strict=True) if a == max(accuracy)]
        assert (scores >= found.value).sum() == (scores >= ties[-1]).sum()


def test_threshold_rules_by_name():
    scores, same = made(500)
    found = choose_threshold(scores, same, "far@0.01")
    assert found.rule == "far@0.01"
    assert found.far <= 0.01
    assert found.tar == tar_at_far(scores, same, 0.01, bootstrap="none")[0].tar
    assert choose_threshold(scores, same).value == eer(scores, same).threshold


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(("k", "n"), [(9, 10), (0, 20), (20, 20), (50, 100), (3, 100_000)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_equals_scipy(k, n, level):
    from scipy.stats import binomtest

    found = binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson_interval(k, n, level) == pytest.approx((found.low, found.high), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_holds_the_share_and_is_symmetric(n, share):
    k = round(share * n)
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert low < high
    other = wilson_interval(n - k, n)
    assert other == pytest.approx((1 - high, 1 - low))


def test_far_below_one_impostor_says_so():
    scores, same = made(300)
    one, two = tar_at_far(scores, same, [1e-6, 0.1])
    assert not one.resolved
    assert one.interval[0] == 0.0
    assert one.bootstrap[0] == 0.0
    assert one.far == 0.0
    assert one.far_interval[1] > 1e-3
    assert two.resolved
    assert two.interval[0] > 0


@pytest.mark.parametrize("levels", [None, 4])
def test_bootstrap_over_pairs_equals_drawing_the_pairs(levels):
    scores, same = made(600, 3, levels)
    (point,) = tar_at_far(scores, same, 0.1, draws=4000)
    rng, drawn = np.random.default_rng(0), []
    genuine, impostor = scores[same], scores[~same]
    for _ in range(2000):
        g, i = rng.choice(genuine, len(genuine)), rng.choice(impostor, len(impostor))
        drawn.append((g > np.sort(i)[::-1][int(0.1 * len(i))]).mean())
    assert point.over == "pairs"
    assert point.bootstrap == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def people_pairs(people=12, images=3, seed=0, spread=0.8):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), images)
    e = rng.normal(size=(people, 8))[who] + spread * rng.normal(size=(len(who), 8))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    a, b = np.triu_indices(len(who), 1)
    ids = np.stack([who[a], who[b]], 1)
    return (e @ e.T)[a, b], ids[:, 0] == ids[:, 1], ids


def test_bootstrap_over_identities_equals_repeating_the_pairs():
    scores, same, ids = people_pairs()
    found = tar_at_far(scores, same, [0.1, 0.02], bootstrap="identities", identities=ids, draws=60, seed=4)
    rng, drawn = np.random.default_rng(4), []
    while len(drawn) < 60:
        w = np.bincount(rng.integers(0, 12, 12), minlength=12)
        times = np.where(same, w[ids[:, 0]], w[ids[:, 0]] * w[ids[:, 1]])
        again = np.repeat(scores, times), np.repeat(same, times)
        drawn.append([p.tar for p in tar_at_far(*again, [0.1, 0.02], bootstrap="none")])
    for point, column in zip(found, np.array(drawn).T, strict=True):
        assert point.over == "identities"
        assert point.bootstrap == pytest.approx(np.quantile(column, [0.025, 0.975]))


def test_only_the_top_impostors_need_weights():
    """The rest enters as one number: the same draws as with all of them."""
    scores, same, ids = people_pairs(40, 4)
    table = PairTable.of(scores, same, ids)
    assert len(table.impostor.values) > 10_000

    def statistic(sets):
        return [point_at_far(sets, f, rule).tar for f in (0.01, 0.001) for rule in ("at_most", "nearest")]

    np.testing.assert_allclose(table.draws(statistic, 30, 0, 0.01), table.draws(statistic, 30, 0, 1.0))


def test_every_mth_impostor_stands_for_all(monkeypatch):
    from mien.metrics import identity_draws

    table = PairTable.of(*people_pairs(30, 5))

    def statistic(sets):
        return eer_of(sets).value, auc_of(sets)

    full = table.draws(statistic, 100, 0)
    monkeypatch.setattr(identity_draws, "THIN", 5000)
    thin = table.draws(statistic, 100, 0)
    assert np.abs(thin - full).max() < 0.05
    np.testing.assert_allclose(thin.mean(0), full.mean(0), atol=0.003)
    np.testing.assert_allclose(thin.std(0), full.std(0), rtol=0.15)


def test_draws_without_genuine_pairs_are_drawn_anew():
    """The only genuine pair is of one of six people, who is missing from a third of the draws."""
    ids = [["a", "a"], ["b", "c"], ["d", "e"], ["f", "b"]]
    (point,) = tar_at_far(
        [0.5, 0.2, 0.7, 0.1], [1, 0, 0, 0], 0.5, bootstrap="identities", identities=ids, draws=50
    )
    assert point.bootstrap == (0.0, 1.0)


def test_identity_intervals_are_wider_than_those_over_pairs():
    scores, same, ids = people_pairs(15, 8, spread=1.0)
    by_pairs = tar_at_far(scores, same, 0.05)[0].bootstrap
    by_people = tar_at_far(scores, same, 0.05, bootstrap="identities", identities=ids)[0].bootstrap
    assert by_people[1] - by_people[0] > by_pairs[1] - by_pairs[0]


def test_weights_of_one_change_nothing():
    scores, same, ids = people_pairs()
    table = PairTable.of(scores, same, ids)
    ones = np.ones(table.units, np.int64)
    plain = score_sets(scores, same)
    from mien.metrics.score_sets import ScoreSets

    weighted = ScoreSets(table.genuine.weighted(ones), table.impostor.weighted(ones))
    assert eer_of(weighted) == eer_of(plain)
    assert auc_of(weighted) == pytest.approx(auc_of(plain))
    for f in FARS:
        for rule in ("at_most", "nearest", "interpolate"):
            assert point_at_far(weighted, f, rule) == point_at_far(plain, f, rule)


def test_against_scikit_learn_on_many_scores():
    scores, same = made(20_000, 7)
    fpr, tpr, _ = roc_curve(same, scores, drop_intermediate=False)
    fpr, tpr = fpr[::-1], tpr[::-1]
    for point in tar_at_far(scores.astype(np.float64), same, [1e-4, 1e-3, 0.01, 0.1], rule="nearest"):
        assert point.tar == tpr[np.argmin(np.abs(fpr - point.target))]


SCORES = [0.9, 0.1, 0.4]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: auc(SCORES, [1, 0]), ShapeError, r"\(n,\) alike, got \(3,\) and \(2,\)"),
        (
            lambda: auc([0.1, np.nan, np.nan], [1, 0, 0]),
            DataError,
            r"2 of 3 scores are NaN or \+inf, the first",
        ),
        (lambda: eer(SCORES, [1, 1, 1]), DataError, r"all 3 scores are genuine"),
        (lambda: eer(SCORES, [0, 0, 0]), DataError, r"all 3 scores are impostor"),
        (lambda: tar_at_far([], [], 0.1), DataError, r"all 0 scores"),
        (lambda: d_prime([1.0, -np.inf, 0], [1, 0, 0]), DataError, r"finite"),
        (lambda: d_prime([1.0, 0, 0], [1, 0, 0]), DataError, r"differ"),
        (lambda: tar_at_far(SCORES, [1, 0, 0], 1.5), ConfigError, r"between 0 and 1"),
        (lambda: tar_at_far(SCORES, [1, 0, 0], 0.1, rule="about"), ConfigError, r"no FAR rule"),
        (lambda: tar_at_far(SCORES, [1, 0, 0], 0.1, bootstrap="x"), ConfigError, r"one of none"),
        (lambda: tar_at_far(SCORES, [1, 0, 0], 0.1, draws=0), ConfigError, r"draws must be positive"),
        (
            lambda: tar_at_far(SCORES, [1, 0, 0], 0.1, bootstrap="identities"),
            ConfigError,
            r"identities belong",
        ),
        (
            lambda: tar_at_far(SCORES, [1, 0, 0], 0.1, bootstrap="identities", identities=[1, 2, 3]),
            ShapeError,
            r"must be \(3, 2\)",
        ),
        (lambda: choose_threshold(SCORES, [1, 0, 0], "best"), ConfigError, r"no threshold rule"),
        (lambda: choose_threshold(SCORES, [1, 0, 0], "far@few"), ConfigError, r"write far@0\.001"),
        (lambda: wilson_interval(3, 2), DataError, r"3 of 2"),
        (lambda: wilson_interval(1, 2, 1.0), ConfigError, r"level"),
    ],
)
def test_errors_in_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
