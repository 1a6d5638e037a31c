from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError, LimitError, ShapeError
from mien.metrics import auc, eer, open_set_report, tar_at_far
from mien.metrics import open_set as module


def made(people=20, images=5, seed=0, spread=0.9):
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(people), images))
    return rng.normal(size=(people, 12))[who] + spread * rng.normal(size=(len(who), 12)), who


def pairs(e, who):
    unit = e / np.linalg.norm(e, axis=1, keepdims=True)
    a, b = np.triu_indices(len(who), 1)
    return (unit @ unit.T)[a, b], who[a] == who[b], who[a]


def twin_rank_1(e, who, gallery):
    unit = e / np.linalg.norm(e, axis=1, keepdims=True)
    hits, seen = {}, set()
    for i in range(len(who)):
        if gallery == "first" and who[i] not in seen:
            seen.add(who[i])
            continue
        others = [j for j in range(len(who)) if j != i]
        if gallery == "first":
            others = [j for j in range(len(who)) if who[j] not in who[:j]]
        nearest = max(others, key=lambda j: unit[i] @ unit[j])
        hits.setdefault(who[i], []).append(who[nearest] == who[i])
    return hits


@pytest.mark.parametrize("gallery", ["leave_one_out", "first"])
def test_report_equals_its_parts(gallery):
    e, who = made()
    found = open_set_report(e, who, gallery=gallery, draws=50)
    scores, same, owner = pairs(e, who)
    assert found.eer.value == pytest.approx(eer(scores, same).value, abs=1e-6)
    assert found.auc.value == pytest.approx(auc(scores, same), abs=1e-6)
    for a, b in zip(found.tar, tar_at_far(scores, same, (1e-2, 1e-3), bootstrap="none"), strict=True):
        assert a.tar == pytest.approx(b.tar)
        assert a.over == "identities"
        assert a.bootstrap[0] <= a.tar <= a.bootstrap[1]
    hits = twin_rank_1(e, who, gallery)
    assert found.rank_1.value == pytest.approx(np.mean(np.concatenate(list(hits.values()))))
    assert found.per_identity["rank_1"] == pytest.approx([np.mean(hits[k]) for k in found.identities])
    genuine, impostor = scores[same], scores[~same]
    for k, person in enumerate(found.identities):
        own = genuine[owner[same] == person]
        below = np.mean([(impostor < s).mean() for s in own])
        assert found.per_identity["auc"][k] == pytest.approx(below, abs=1e-6)
        assert found.per_identity["tar@0.01"][k] == pytest.approx((own > found.tar[0].threshold).mean())
    for estimate in (found.rank_1, found.eer, found.auc):
        assert estimate.interval[0] <= estimate.value <= estimate.interval[1]
        assert estimate.over == "identities"


def test_with_as_many_images_each_the_means_over_people_are_the_headline():
    """What lets a claim be paired by person: the mean of ``per_identity`` is the number itself."""
    found = open_set_report(*made(), draws=20)
    assert found.per_identity["rank_1"].mean() == pytest.approx(found.rank_1.value)
    assert found.per_identity["auc"].mean() == pytest.approx(found.auc.value)
    assert found.per_identity["tar@0.001"].mean() == pytest.approx(found.tar[1].tar)
    assert set(found.per_identity) == {"rank_1", "auc", "tar@0.01", "tar@0.001"}


def test_people_with_one_image_are_impostors_only():
    e, who = made()
    extra = np.random.default_rng(9).normal(size=(3, 12))
    found = open_set_report(np.concatenate([e, extra]), np.concatenate([who, [100, 101, 102]]), draws=20)
    assert found.identities.tolist() == list(range(20))
    assert found.images == 103
    assert found.tar[0].impostors == 103 * 102 // 2 - 20 * 10
    assert all(np.isfinite(v).all() and len(v) == 20 for v in found.per_identity.values())


def test_repeatable_scale_free_and_named_by_any_label():
    e, who = made()
    first, second = (open_set_report(e, who, draws=30) for _ in range(2))
    assert first.tar == second.tar
    assert first.eer == second.eer
    lengths = np.random.default_rng(0).uniform(0.1, 9, (len(e), 1))
    named = open_set_report(e * lengths, np.array([f"p{w:02}" for w in who]), draws=30)
    assert named.rank_1 == first.rank_1
    assert named.identities[3] == "p03"
    assert named.eer.value == pytest.approx(first.eer.value, abs=1e-4)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """EER of many people against intervals of samples of 25 people; binomial slack on 40 of them."""
    truth = open_set_report(*made(400, 4, seed=1, spread=1.3), draws=2).eer.value
    inside = 0
    for seed in range(2, 42):
        low, high = open_set_report(*made(25, 4, seed=seed, spread=1.3), draws=100).eer.interval
        inside += low <= truth <= high
    assert inside >= 31


def test_far_below_one_impostor_says_so():
    found = open_set_report(*made(4, 2), fars=(1e-3,), draws=20)
    assert not found.tar[0].resolved
    assert found.tar[0].bootstrap[0] == 0.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: open_set_report(np.eye(3), [0, 1, 2]), DataError, r"3 people, 0 with two images"),
        (lambda: open_set_report(np.eye(3), [0, 0, 0]), DataError, r"1 people, 1 with two"),
        (lambda: open_set_report(np.eye(3), [0, 1]), ShapeError, r"embeddings must be \(n, d\)"),
        (lambda: open_set_report(np.eye(3) * np.nan, [0, 0, 1]), DataError, r"embeddings holds NaN"),
        (lambda: open_set_report(np.diag([1.0, 1, 0]), [0, 0, 1]), DataError, r"feature 2 is of zero length"),
        (lambda: open_set_report(np.eye(3), [0, 0, 1], gallery="x"), ConfigError, r"leave_one_out, first"),
    ],
)
def test_errors_in_one_line(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_too_many_pairs(monkeypatch):
    monkeypatch.setattr(module, "MOST_PAIRS", 5)
    with pytest.raises(LimitError, match=r"4 images make more than 5 pairs; use tally_pairs"):
        open_set_report(np.eye(4), [0, 0, 1, 1])
