"""Presentations in memory: labels, species, fingerprints."""

import numpy as np
import pytest

from mien.core.errors import DataError
from mien.data.pad_images import ATTACK, LIVE, PadArrays, PadLabels, PadSplits


def labels(species: list[str]) -> PadLabels:
    n = len(species)
    return PadLabels(np.array(species), np.array([f"s{i // 2}" for i in range(n)]), np.full(n, "d0"),
                     np.arange(n, dtype=np.uint64))  # fmt: skip


def four() -> PadArrays:
    images = {
        "ir": np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3),
        "rgb": np.zeros((4, 3, 3, 3), np.uint8),
    }
    return PadArrays(images, labels(["live", "replay", "print_flat", "live"]))


def test_modalities_have_one_order_and_live_is_class_zero() -> None:
    own = four()
    assert own.modalities == ("rgb", "ir")
    assert own.labels.targets.tolist() == [LIVE, ATTACK, ATTACK, LIVE]
    assert own.pictures("ir", [2])[0].shape == (3, 3, 1)


def test_species_can_be_left_out_or_chosen() -> None:
    own = four()
    assert own.without_species(["replay"]).labels.species.tolist() == ["live", "print_flat", "live"]
    assert own.only_species(["replay"]).labels.species.tolist() == ["live", "replay", "live"]
    with pytest.raises(
        DataError, match="no presentation of species 'mask'; there are live, print_flat, replay"
    ):
        own.without_species(["mask"])


def test_fingerprint_sees_pixels_and_labels() -> None:
    own, other = four(), four()
    assert own.fingerprint == other.fingerprint
    other.images["rgb"][0, 0, 0, 0] = 1
    assert own.fingerprint != other.fingerprint
    renamed = PadArrays(own.images, labels(["live", "replay", "print_bent", "live"]))
    assert own.fingerprint != renamed.fingerprint


def test_a_mark_stands_for_the_pixels() -> None:
    """Drawn pixels differ by one now and then between processors; what drew them does not."""
    own, other = (PadArrays(x.images, x.labels, "m") for x in (four(), four()))
    other.images["rgb"][0, 0, 0, 0] = 1
    assert own.fingerprint == other.fingerprint != four().fingerprint
    assert PadArrays(own.images, own.labels, "n").fingerprint != own.fingerprint
    first = np.arange(2)
    assert own.subset(first).fingerprint == other.subset(first).fingerprint != own.fingerprint


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(DataError, match="3 pictures of rgb, but 4 labels"):
        PadArrays({"rgb": np.zeros((3, 2, 2, 3), np.uint8)}, four().labels)
    with pytest.raises(DataError, match=r"modalities \['swir'\]"):
        PadArrays({"swir": np.zeros((4, 2, 2), np.uint8)}, four().labels)
    with pytest.raises(DataError, match="different lengths"):
        PadLabels(np.array(["live"]), np.array(["a", "b"]), np.array(["d"]), np.zeros(1, np.uint64))


def test_splits_by_name() -> None:
    own = four()
    splits = PadSplits(own, own, own, "f", {"seen": own})
    assert splits.get("seen") is own
    with pytest.raises(DataError, match="no split 'val'; there are train, dev, test, seen"):
        splits.get("val")
