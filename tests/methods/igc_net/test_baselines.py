"""Depth, parts and codes without capsules."""

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError
from mien.methods.igc_net.baselines import (
    Autoencoder2d,
    KMeansParts,
    box_grid,
    constant_depth,
    label_maps,
    mean_depth,
)


def test_depths():
    assert np.array_equal(constant_depth(2, 3, 0.9), np.full((2, 3, 3), 0.9, np.float32))
    depth = np.array([[[0.9, 0], [1.0, 0]], [[1.1, 1.05], [0, 0]]])
    assert np.allclose(mean_depth(depth), [[1.0, 1.05], [1.0, 1.05]])  # nobody is at the last: as far as any
    with pytest.raises(DataError, match="background"):
        mean_depth(np.zeros((1, 2, 2)))
    with pytest.raises(ConfigError, match="depth=0"):
        constant_depth(1, 2, 0)


def test_boxes_are_equal_and_cover_the_middle():
    maps = box_grid(20, 3, 2, 0.2)
    assert maps.shape == (7, 20, 20)
    assert np.array_equal(maps.sum(0), np.ones((20, 20)))
    assert maps[0, 3].all()
    assert not maps[0, 4:16, 4:16].any()
    assert np.allclose(maps[1:].sum((1, 2)), 12 * 12 / 6)
    with pytest.raises(ConfigError, match="margin"):
        box_grid(20, 3, 2, 0.5)


def test_clusters_are_found_and_labelled():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0], [9, 0], [0, 9]])
    who = rng.integers(0, 3, (2, 6, 6))
    features = centres[who] + rng.normal(0, 0.3, (2, 6, 6, 2))
    front = rng.random((2, 6, 6)) > 0.2
    parts = KMeansParts(features[front], 3, seed=1)
    found = parts.segment(features, front)
    assert (found[~front] == 0).all()
    names = {(int(a), int(b)) for a, b in zip(who[front], found[front], strict=True)}
    assert len(names) == len({b for _, b in names}) == 3  # one to one
    assert np.array_equal(parts.centres, KMeansParts(features[front], 3, seed=1).centres)
    assert np.array_equal(label_maps(found, 3).argmax(1), found)
    with pytest.raises(DataError, match="2 different pixels"):
        KMeansParts(np.repeat(np.eye(2), 4, 0), 3)


def test_autoencoder_learns_through_its_code():
    torch.manual_seed(0)
    net = Autoencoder2d(16, 5, 4)
    image = torch.rand(6, 3, 1, 1).expand(6, 3, 16, 16) * 1.6 - 0.8
    assert net.encode(image).shape == (6, 5)
    optim = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = (net(image) - image).square().mean()
        optim.zero_grad()
        loss.backward()
        optim.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    with pytest.raises(ConfigError, match="multiple of 8"):
        Autoencoder2d(20)
