from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics import cmc, ijb_identification, ijb_verification, pair_scores, pool_templates, rank_1
from mien.metrics import ijb_protocol as ijb

WORKED = {"features": [[1, 0], [0, 2], [0, 4], [3, 0]], "media": [1, 2, 2, 3], "faceness": [1, 0.5, 0.5, 0.2]}


def images(n=400, templates=40, seed=0, dim=6):
    rng = np.random.default_rng(seed)
    t = rng.permutation(np.concatenate([np.arange(templates), rng.integers(0, templates, n - templates)]))
    f, g = rng.normal(size=(2, n, dim)).astype(np.float32) + rng.normal(size=(templates, dim))[t].astype("f4")
    return f, g, 100 + 7 * t, rng.integers(0, 9, n), rng.uniform(0.2, 1, n)


# ---------------------------------------------------------------- templates


def test_worked_example():
    """Media means (1, 0), (0, 1.5), (.6, 0); sum (1.6, 1.5)."""
    found = pool_templates(
        WORKED["features"], [5] * 4, WORKED["media"], faceness=WORKED["faceness"], flipped=None
    )
    assert found.features[0] == pytest.approx([0.729537, 0.683941], abs=1e-6)
    assert found.flags == "N1D1F0"
    assert found.ids.tolist() == [5]


def twin_pool(f, g, t, m, w, keep_norm):
    out = {}
    for template in sorted(set(t.tolist())):
        total = np.zeros(f.shape[1])
        for medium in sorted({b for a, b in zip(t, m, strict=True) if a == template}):
            rows = []
            for i in range(len(f)):
                if t[i] == template and m[i] == medium:
                    row = f[i].astype(np.float64) + (0 if g is None else g[i])
                    if not keep_norm:
                        row = row / np.sqrt((row**2).sum())
                    rows.append(row * (1 if w is None else w[i]))
            total = total + np.mean(rows, axis=0)
        out[template] = total / np.sqrt((total**2).sum())
    return out


@pytest.mark.parametrize("block", [1, 13, 8192])
@pytest.mark.parametrize("options", [(True, True, True), (False, True, False), (True, False, False)])
def test_pooling_equals_its_loop(block, options, monkeypatch):
    monkeypatch.setattr(ijb, "_IMAGES", block)
    keep, weigh, flip = options
    f, g, t, m, w = images()
    g, w = (g if flip else None), (w if weigh else None)
    found = pool_templates(f, t, m, flipped=g, faceness=w, keep_norm=keep)
    wanted = twin_pool(f, g, t, m, w, keep)
    assert found.ids.tolist() == list(wanted)
    assert found.flags == f"N{int(keep)}D{int(weigh)}F{int(flip)}"
    np.testing.assert_allclose(found.features, np.stack(list(wanted.values())), atol=2e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_images_and_repeated_frames_change_nothing(seed):
    f, g, t, m, w = images(60, 7, seed)
    found = pool_templates(f, t, m, flipped=g, faceness=w)
    order = np.random.default_rng(seed).permutation(len(f))
    again = pool_templates(f[order], t[order], m[order], flipped=g[order], faceness=w[order])
    np.testing.assert_allclose(found.features, again.features, atol=1e-6)
    double = np.repeat(np.arange(len(f)), 2)
    again = pool_templates(f[double], t[double], m[double], flipped=g[double], faceness=w[double])
    np.testing.assert_allclose(found.features, again.features, atol=1e-6)


# ---------------------------------------------------------------- 1:1


@pytest.mark.parametrize("dense", [0, 10**9, 48])
def test_pair_scores_by_either_way(dense, monkeypatch):
    monkeypatch.setattr(ijb, "_DENSE", dense)
    monkeypatch.setattr(ijb, "_ROWS", 16)
    monkeypatch.setattr(ijb, "_PAIRS", 37)
    rng = np.random.default_rng(0)
    f, a, b = rng.normal(size=(50, 8)).astype(np.float32), *rng.integers(0, 50, (2, 900))
    wanted = [
        sum(float(x) * float(y) for x, y in zip(f[i], f[j], strict=True)) for i, j in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(pair_scores(f, a, b), wanted, atol=1e-5)


def test_verification_is_the_nearest_point_of_the_roc():
    from sklearn.metrics import roc_curve

    f, g, t, m, w = images(600, 60)
    templates = pool_templates(f, t, m, flipped=g, faceness=w)
    rng = np.random.default_rng(1)
    pairs = templates.ids[rng.integers(0, 60, (4000, 2))]
    same = (pairs[:, 0] // 7) % 12 == (pairs[:, 1] // 7) % 12
    row = {int(i): v for i, v in zip(templates.ids, templates.features, strict=True)}
    scores = np.array([row[int(a)] @ row[int(b)] for a, b in pairs])
    fpr, tpr, _ = roc_curve(same, scores, drop_intermediate=False)
    found = ijb_verification(templates, pairs, same, fars=(1e-3, 1e-2, 0.1))
    for point in found.points:
        gap = np.abs(fpr - point.target)
        assert point.tar == pytest.approx(tpr[gap == gap.min()].max(), abs=2 / same.sum())
        assert found.tar(point.target) == point.tar
        assert point.rule == "nearest"
        assert point.over == "pairs"
    assert found.flags == "N1D1F1"
    assert found.templates == 60
    with pytest.raises(ConfigError, match=r"FAR 0\.5 was not measured"):
        found.tar(0.5)
    by_template = ijb_verification(templates, pairs, same, (0.01,), bootstrap="templates", draws=50)
    assert by_template.points[0].over == "templates"
    assert by_template.points[0].bootstrap[0] < by_template.points[0].tar < by_template.points[0].bootstrap[1]


def test_ids_far_apart_and_unknown():
    f, _, _, m, _ = images(30, 3)
    t = np.array([5, 10**12, -4])[np.arange(30) % 3]
    templates = pool_templates(f, t, m)
    pairs = np.array([[5, -4], [10**12, 5], [-4, 10**12]])
    far_apart = ijb_verification(templates, pairs, [1, 0, 0], (0.5,))
    near = pool_templates(f, np.array([1, 2, 0])[np.arange(30) % 3], m)
    assert (
        far_apart.points
        == ijb_verification(near, np.array([[1, 0], [2, 1], [0, 2]]), [1, 0, 0], (0.5,)).points
    )
    for unknown in (6, 10**13, -5):
        for chosen in (templates, near):
            with pytest.raises(DataError, match=rf"template {unknown} of the pair list has no images"):
                ijb_verification(chosen, np.array([[chosen.ids[0], unknown]] * 2), [1, 0])


# ---------------------------------------------------------------- 1:N


def people(gallery=30, probes=90, strangers=20, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(gallery + strangers, 8))
    who = rng.integers(0, gallery + strangers, probes)

    def seen(labels):
        e = centres[labels] + 0.9 * rng.normal(size=(len(labels), 8))
        return e / np.linalg.norm(e, axis=1, keepdims=True)

    return seen(np.arange(gallery)).astype("f4"), np.arange(gallery), seen(who).astype("f4"), who


def twin_identification(g, who_g, p, who_p, fpir):
    ranks, mates, others, best_apart, found_apart = [], [], [], [], []
    for row, label in zip(p, who_p, strict=True):
        scores = [
            (float(np.float32(row @ column)), int(owner) == int(label))
            for column, owner in zip(g, who_g, strict=True)
        ]
        others += [s for s, mate in scores if not mate]
        own = [s for s, mate in scores if mate]
        if not own:
            best_apart.append(max(s for s, _ in scores))
            continue
        mates.append(max(own))
        ranks.append(1 + sum(s >= max(own) for s, mate in scores if not mate))
        found_apart.append((max(own), ranks[-1]))
    cut = sorted(others, reverse=True)[math.ceil(fpir * len(p)) - 1]
    pooled = sum(s > cut for s in mates) / len(mates)
    apart = sorted(best_apart, reverse=True)[int(fpir * len(best_apart))]
    open_set = sum(s > apart and r == 1 for s, r in found_apart) / len(mates)
    return ranks, pooled, open_set


@pytest.mark.parametrize("cells", [40, 10**6])
@pytest.mark.parametrize("seed", [0, 1])
def test_identification_equals_its_loop(cells, seed, monkeypatch):
    from mien.metrics import identification

    monkeypatch.setattr(identification, "_CELLS", cells)
    data = people(seed=seed)
    fpirs = (0.05, 0.1, 0.3)
    found = ijb_identification(*data, ranks=(1, 2, 5), fpirs=fpirs)
    for j, fpir in enumerate(fpirs):
        ranks, pooled, open_set = twin_identification(*data, fpir)
        assert found.pooled[j].tpir == pytest.approx(pooled)
        assert found.open_set[j].tpir == pytest.approx(open_set)
        assert found.pooled[j].rule != found.open_set[j].rule
        assert found.pooled[j].interval[0] <= pooled <= found.pooled[j].interval[1]
    for k, rate in found.ranks.items():
        assert rate == pytest.approx(np.mean([r <= k for r in ranks]))
    assert found.mated == len(ranks)
    assert found.probes == 90
    curve = cmc(*data)
    assert curve.rank_1 == found.ranks[1] == rank_1(*data)
    assert curve.rates[4] == pytest.approx(found.ranks[5])
    assert (np.diff(curve.rates) >= 0).all()
    assert sorted(curve.ranks[curve.ranks > 0]) == sorted(ranks)


def test_all_probes_mated_has_no_open_set():
    g, who, _, _ = people()
    found = ijb_identification(g, who, g, who)
    assert found.open_set == ()
    assert found.ranks[1] == 1.0
    assert found.pooled[1].tpir > 0.9
    assert not found.pooled[0].resolved
    assert found.pooled[0].interval[0] == 0.0


def test_a_constant_model_finds_nobody():
    ones = np.ones((5, 3), np.float32)
    found = ijb_identification(ones, range(5), ones, range(5))
    assert found.ranks == {1: 0.0, 5: 1.0, 10: 1.0}
    assert found.pooled[0].tpir == 0.0


PAIRS = np.array([[0, 1], [1, 2]])


def three():
    return pool_templates(np.eye(3), [0, 1, 2], [0, 0, 0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pool_templates([1.0], [0], [0]), ShapeError, r"\(n, d\)"),
        (lambda: pool_templates(np.eye(2), [0], [0, 0]), ShapeError, r"templates must be \(2,\)"),
        (lambda: pool_templates(np.eye(2), [0, 1], [0]), ShapeError, r"media must be \(2,\)"),
        (lambda: pool_templates(np.eye(2), [0, 1], [0, 0], faceness=[1]), ShapeError, r"faceness"),
        (lambda: pool_templates(np.eye(2), [0, 1], [0, 0], flipped=np.eye(3)), ShapeError, r"flipped"),
        (
            lambda: pool_templates([[1.0, 0], [0, 0]], [4, 9], [0, 0]),
            DataError,
            r"template 9 has a feature of zero length",
        ),
        (lambda: pool_templates([[np.nan, 0], [1, 0]], [4, 9], [0, 0]), DataError, r"template 4"),
        (lambda: ijb_verification(three(), [[0.0, 1.0]], [1]), ShapeError, r"integer template ids"),
        (lambda: ijb_verification(three(), PAIRS, [1, 1]), DataError, r"all 2 scores are genuine"),
        (lambda: ijb_verification(three(), PAIRS, [1]), ShapeError, r"alike"),
        (lambda: ijb_verification(three(), PAIRS, [1, 0], bootstrap="x"), ConfigError, r"templates"),
        (lambda: ijb_identification(np.eye(2), [0, 1], np.eye(2), [2, 3]), DataError, r"no probe's subject"),
        (
            lambda: ijb_identification(np.eye(2), [0, 1], np.eye(3), [0, 1, 2]),
            ShapeError,
            r"2 features a row",
        ),
        (lambda: ijb_identification(np.eye(2), [0, 1], np.eye(2), [0, 1], fpirs=(0,)), ConfigError, r"FPIRs"),
        (
            lambda: ijb_identification(np.eye(2) * np.nan, [0, 1], np.eye(2), [0, 1]),
            DataError,
            r"gallery holds NaN",
        ),
        (lambda: cmc(np.eye(2), [0, 1], np.eye(2), [2, 3]), DataError, r"no probe's person"),
        (lambda: cmc(np.eye(2), [0, 1], np.eye(2), [0, 1], 0), ConfigError, r"max_rank"),
    ],
)
def test_errors_in_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
