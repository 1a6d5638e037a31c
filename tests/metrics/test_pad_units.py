"""Values by unit whose means are ACER and AUC."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mien.metrics import by_subject, class_balanced, placements


def some(n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    live = rng.random(n) < 0.4
    scores = np.round(rng.normal(live * 1.0, 1.0), 1)  # with ties
    return scores, live, rng.integers(0, 7, n).astype(str)


def test_placements_average_to_the_auc_on_either_side() -> None:
    scores, live, _ = some()
    places = placements(scores, live)
    auc = roc_auc_score(live, scores)
    assert places[live].mean() == pytest.approx(auc, abs=1e-12)
    assert places[~live].mean() == pytest.approx(auc, abs=1e-12)
    slow = [
        np.mean([(s > o) + 0.5 * (s == o) if k else (s < o) + 0.5 * (s == o) for o in scores[live != k]])
        for s, k in zip(scores, live, strict=True)
    ]
    assert np.allclose(places, slow)


def test_class_balance_and_subjects_keep_the_mean() -> None:
    scores, live, who = some()
    wrong = ((scores >= 0.5) != live).astype(float)
    acer = (wrong[live].mean() + wrong[~live].mean()) / 2
    balanced = class_balanced(wrong, live)
    assert balanced.mean() == pytest.approx(acer, abs=1e-12)
    units = by_subject(balanced, who)
    assert len(units) == len(np.unique(who))
    assert units.mean() == pytest.approx(acer, abs=1e-12)
