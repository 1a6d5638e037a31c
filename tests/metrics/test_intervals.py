"""Values of clusters keep the mean of all values."""

import numpy as np
import pytest

from mien.metrics import by_cluster


def test_the_mean_of_clusters_is_that_of_all_values():
    """1, 2 of cluster 0 and 6 of cluster 2, mean 3: 3 + (3 - 6), 3, 3 + (6 - 3)."""
    found = by_cluster(np.array([1.0, 2.0, 6.0]), np.array([0, 0, 2]), 3)
    assert found.tolist() == [0, 3, 6]
    rng = np.random.default_rng(0)
    values, at = rng.normal(size=50), rng.integers(7, size=50)
    assert by_cluster(values, at, 7).mean() == pytest.approx(values.mean())
    # sizes alone spread nothing
    assert by_cluster(np.full(50, 2.0), at, 7).tolist() == pytest.approx([2.0] * 7)
    assert by_cluster(np.zeros(0), np.zeros(0, int), 2).tolist() == [0, 0]
