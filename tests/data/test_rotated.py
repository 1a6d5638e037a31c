from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mien.core.errors import ConfigError, DataError
from mien.data.bundled import fashion_lt_splits
from mien.data.config import ClassificationData, DomainData
from mien.data.domain_readers import read_domains
from mien.data.idx import idx_splits
from mien.data.rotated import colored_mnist, rotated_fashion, rotated_mnist
from tests.data.fixtures import idx_bytes, write_idx

ANGLES = ("0", "15", "30", "45", "60", "75")


def test_rotated_fashion_deals_every_picture_once():
    domains = rotated_fashion()
    assert domains.names == ANGLES
    assert domains.real
    for images in domains.sets:
        assert images.images.shape == (500, 28, 28, 1)
        assert images.counts().tolist() == [50] * 10
        assert images.classes[0] == "T-shirt/top"
    keys = np.concatenate([s.keys for s in domains.sets])
    assert len(np.unique(keys)) == 3000
    parts = fashion_lt_splits(ClassificationData())
    known = {
        i.tobytes(): t for p in (parts.val, parts.test) for i, t in zip(p.images, p.targets, strict=True)
    }
    upright = domains.sets[0]
    assert all(known[i.tobytes()] == t for i, t in zip(upright.images, upright.targets, strict=True))
    assert rotated_fashion().fingerprint == domains.fingerprint
    config = DomainData(kind="rotated_fashion", held_out=("75",), channels=1, mean=(0.5,), std=(0.5,))
    assert read_domains(config).fingerprint == domains.fingerprint


@pytest.fixture
def mnist(tmp_path):
    """60 + 30 pictures of smooth blobs, off the centre, in MNIST's files."""
    write_idx(tmp_path, 6, 3, packed=False)
    y, x = np.mgrid[:28, :28]
    for part, count in (("train", 60), ("t10k", 30)):
        spots = np.random.default_rng(count).uniform(9, 18, (count, 2))
        blobs = [250 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 12) for a, b in spots]
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(np.array(blobs)))
    return tmp_path


def pooled(root):
    parts = idx_splits(ClassificationData(kind="idx", root=str(root), val_per_class=0))
    return (
        np.concatenate([parts.train.images, parts.test.images])[..., 0],
        np.concatenate([parts.train.targets, parts.test.targets]),
    )


def test_rotated_mnist_against_another_rotation(mnist):
    domains = rotated_mnist(mnist)
    images, targets = pooled(mnist)
    assert domains.names == ANGLES
    assert sorted(np.concatenate([s.keys for s in domains.sets]).tolist()) == list(range(90))
    for name, part in zip(ANGLES, domains.sets, strict=True):
        assert part.images.shape == (15, 28, 28, 1)
        source = part.keys.astype(int)
        assert part.targets.tolist() == targets[source].tolist()
        # ndimage turns from the first axis to the second, which is against the clock on a screen.
        twin = ndimage.rotate(images[source].astype(float), int(name), axes=(1, 2), reshape=False, order=1)
        assert np.abs(part.images[..., 0] - twin).max() < 8


def test_rotated_mnist_depends_on_the_seed_only(mnist):
    first = rotated_mnist(mnist)
    config = DomainData(kind="rotated_mnist", root=str(mnist), held_out=("0",))
    assert read_domains(config).fingerprint == first.fingerprint
    assert rotated_mnist(mnist, seed=1).fingerprint != first.fingerprint


def test_colored_mnist_is_grey_in_one_channel(mnist):
    domains = colored_mnist(mnist)
    images, _ = pooled(mnist)
    assert domains.names == ("+90%", "+80%", "-90%")
    assert [len(s) for s in domains.sets] == [30] * 3
    assert sorted(np.concatenate([s.keys for s in domains.sets]).tolist()) == list(range(90))
    for part in domains.sets:
        assert part.images.shape == (30, 28, 28, 3)
        assert part.classes == ("5-9", "0-4")
        assert not part.images[..., 2].any()
        assert (part.images.sum(3) == images[part.keys.astype(int)]).all()
        assert (part.images.any((1, 2)).sum(1) == 1).all()
    config = DomainData(kind="colored_mnist", root=str(mnist), held_out=("-90%",))
    assert read_domains(config).fingerprint == domains.fingerprint


def test_colours_and_labels_agree_as_often_as_published(tmp_path):
    write_idx(tmp_path, 900, 100, size=4)
    domains = colored_mnist(tmp_path)
    _, digits = pooled(tmp_path)
    for part, agreement in zip(domains.sets, (0.9, 0.8, 0.1), strict=True):
        green = part.images.any((1, 2))[:, 1]
        assert abs((green == part.targets).mean() - agreement) < 0.03
        assert abs(((digits[part.keys.astype(int)] < 5) == part.targets).mean() - 0.75) < 0.03


def test_what_is_missing_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"--data\.root DIR"):
        read_domains(DomainData(kind="rotated_mnist", held_out=("0",)))
    for reader in (rotated_mnist, colored_mnist):
        with pytest.raises(DataError, match="no train-images-idx3-ubyte"):
            reader(tmp_path)
    write_idx(tmp_path, 2, 1, classes=4)
    with pytest.raises(DataError, match="4 classes, ColoredMNIST is made of ten"):
        colored_mnist(tmp_path)
