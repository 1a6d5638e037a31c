"""Batches of presentations: the same movement in all modalities, balance, resume, process counts."""

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.data.config import PadData
from mien.data.pad_images import PadArrays, PadLabels
from mien.data.pad_loader import PadAugment, PadLoader, balanced, pad_batches
from mien.data.pads import read_pad

ALL = ("rgb", "depth", "ir")


def some(live: int = 3, attack: int = 9, size: int = 16) -> PadArrays:
    n = live + attack
    rng = np.random.default_rng(0)
    species = np.array(["live"] * live + ["replay"] * attack)
    images = {"rgb": rng.integers(0, 255, (n, size, size, 3), np.uint8)} | {
        m: rng.integers(0, 255, (n, size, size), np.uint8) for m in ("depth", "ir")
    }
    return PadArrays(
        images, PadLabels(species, np.arange(n).astype(str), np.full(n, "d"), np.arange(n, dtype=np.uint64))
    )


def test_balance_repeats_the_smaller_class_evenly() -> None:
    targets = np.array([0] * 3 + [1] * 10)
    places, copies = balanced(targets, 5)
    assert np.bincount(targets[places]).tolist() == [10, 10]
    assert (places[:13] == np.arange(13)).all()
    assert not copies[:13].any()
    counts = np.bincount(places, minlength=13)[:3]
    assert counts.max() - counts.min() <= 1  # 10 = 3 + 3 + 4
    pairs = set(zip(places.tolist(), copies.tolist(), strict=True))
    assert len(pairs) == len(places)  # every repeat is another copy
    assert (balanced(targets, 5)[0] == places).all()
    assert (balanced(targets, 6)[0] != places).any()


def test_one_class_is_left_as_it_is() -> None:
    places, copies = balanced(np.zeros(4, np.int64), 0)
    assert places.tolist() == [0, 1, 2, 3]
    assert not copies.any()


def test_an_epoch_holds_both_classes_alike() -> None:
    loader = PadLoader(some(), ALL, 16, 6, 0)
    assert len(loader) == 18
    assert loader.steps_per_epoch(1) == 3
    stream = loader.stream(0, 0, 1)
    epoch = torch.cat([next(stream)[0].target for _ in range(3)])
    assert epoch.bincount().tolist() == [9, 9]


def test_a_stream_started_later_goes_on_alike() -> None:
    loader = PadLoader(some(), ALL, 16, 6, 3, PadAugment(16))
    stream = loader.stream(0, 0, 1)
    whole = [next(stream)[0] for _ in range(5)]
    later = next(loader.stream(4, 0, 1))[0]
    assert (whole[4].index == later.index).all()
    assert all(bool((whole[4].images[m] == later.images[m]).all()) for m in ALL)


def test_process_count_changes_no_image() -> None:
    loader = PadLoader(some(), ALL, 16, 6, 3, PadAugment(16))
    one = next(loader.stream(1, 0, 1))[0]
    parts = [next(loader.stream(1, rank, 2))[0] for rank in (0, 1)]
    for part, start in zip(parts, (0, 1), strict=True):
        assert (part.index == one.index[start::2]).all()
        assert bool((part.images["rgb"] == one.images["rgb"][start::2]).all())


def test_repeats_of_a_sample_in_one_epoch_are_different_views() -> None:
    loader = PadLoader(some(1, 6), ALL, 16, 12, 0, PadAugment(16))
    batch = next(loader.stream(0, 0, 1))[0]
    views = batch.images["rgb"][batch.target == 0]
    assert len(views) == 6
    assert len(torch.unique(views.flatten(1), dim=0)) == 6


def test_all_modalities_move_alike_and_pixels_move_whole() -> None:
    """Without light and hole, a copy is the sample shifted by whole pixels, perhaps mirrored."""
    base = torch.rand(1, 1, 16, 16) * 0.9 + 0.1  # below 1/255 lies no depth but a hole
    images = {
        "rgb": base.expand(8, 3, 16, 16),
        "depth": base.expand(8, 1, 16, 16),
        "ir": base.expand(8, 1, 16, 16),
    }
    out = PadAugment(16, light=0.0, level=0.0, hole=0.0)(images, np.arange(8, dtype=np.uint64), 7)
    assert torch.equal(out["rgb"][:, :1], out["ir"])
    assert torch.equal(out["depth"], out["ir"])
    found = set()
    for copy in out["ir"][:, 0]:
        same = []
        for mirror in (False, True):
            picture = base[0, 0].flip(1) if mirror else base[0, 0]
            for down in (-2, -1, 0, 1, 2):
                for right in (-2, -1, 0, 1, 2):
                    rows, columns = (torch.arange(16) + d for d in (down, right))
                    shown = picture[rows.clamp(0, 15)][:, columns.clamp(0, 15)]
                    same += [(mirror, down, right)] if torch.equal(shown, copy) else []
        assert len(same) == 1
        found.add(same[0])
    assert len(found) > 4


def test_light_changes_each_modality_alone_and_holes_stay() -> None:
    images = {
        "rgb": torch.full((16, 3, 8, 8), 0.5),
        "depth": torch.zeros(16, 1, 8, 8),
        "ir": torch.full((16, 1, 8, 8), 0.5),
    }
    out = PadAugment(8, hole=0.0)(images, np.arange(16, dtype=np.uint64), 0)
    assert not out["depth"].any()
    assert float((out["rgb"].mean((1, 2, 3)) - out["ir"].mean((1, 2, 3))).abs().max()) > 0.01
    assert float(out["rgb"].min()) >= 0
    assert float(out["rgb"].max()) <= 1


def test_test_batches_are_in_order() -> None:
    own = some()
    rows = list(pad_batches(own, ("depth",), 16, batch=5))
    assert np.concatenate([i for _, i in rows]).tolist() == list(range(12))
    assert set(rows[0][0]) == {"depth"}
    assert rows[0][0]["depth"].shape == (5, 1, 16, 16)


def test_unseen_species_are_only_in_the_test_set() -> None:
    base = dict(kind="debug", size=16, subjects=(30, 30, 30), each=(6, 6, 6))
    plain = read_pad(PadData(**base))  # type: ignore[arg-type]
    splits = read_pad(PadData(**base, unseen=("replay",)))  # type: ignore[arg-type]
    assert "replay" not in splits.train.labels.species
    assert "replay" not in splits.dev.labels.species
    assert "replay" in splits.test.labels.species
    assert set(splits.get("unseen").labels.species) == {"live", "replay"}
    assert splits.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"root": "x"}, "root"),
        ({"convention": "live1"}, "convention"),
        ({"size": 8}, r"size=8"),
        ({"each": (0, 1, 1)}, "each"),
    ],
)
def test_settings_that_do_not_apply(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        PadData(**changes)  # type: ignore[arg-type]
