"""Steps of far faces: pairs, balance, folds by track, resume, process counts."""

import numpy as np
import pytest
import torch

from mien.core.config import evolve_all
from mien.core.errors import ConfigError, DataError
from mien.core.seeds import keys_of
from mien.data import surveil_sets
from mien.data.loader import epoch_seed
from mien.data.surveil_config import SurveilData
from mien.data.surveil_images import SurveilImages
from mien.data.surveil_loader import (
    SurveilLoader,
    as_bytes,
    as_floats,
    degraded,
    surveil_seeds,
    targets_of,
    track_folds,
)
from mien.data.surveil_pictures import rendered_folder
from mien.data.surveil_sets import joined, read_surveil
from mien.synth import surveil, surveil_batch

DATA = SurveilData(kind="debug", size=24, counts=(24, 12, 12))


def images() -> SurveilImages:
    return read_surveil(DATA).train


def loader(**changes: object) -> SurveilLoader:
    return SurveilLoader(images(), evolve_all(DATA, changes), 8, 3)


def test_floats_and_bytes_are_each_others_way_back() -> None:
    x = images().pictures
    assert (as_bytes(as_floats(x)) == x).all()
    assert as_floats(x).shape == (24, 3, 24, 24)


def test_a_pair_is_a_picture_and_what_the_simulator_makes_of_it() -> None:
    (batch,) = next(loader(augment="none").stream(0, 0, 1))
    assert batch.image.shape == (16, 3, 24, 24)
    clean, worse = batch.image[:8], batch.image[8:]
    assert (as_bytes(clean) == images().pictures[batch.index]).all()
    assert len(batch) == len(batch.severity) == 8
    k = next(k for k, i in enumerate(batch.index.tolist()) if i not in batch.index[:k].tolist())
    place = int(batch.index[k])
    keys = keys_of(images().paths[place : place + 1].tolist())
    expected, record = surveil_batch(
        images().pictures[place : place + 1], batch.severity[k : k + 1].double(),
        surveil_seeds(keys, epoch_seed(3, 0)), "C3",
    )  # fmt: skip
    assert record.severity[0] == pytest.approx(float(batch.severity[k]))
    assert np.abs(as_bytes(worse[k : k + 1]).astype(int) - expected).max() <= 1  # the severity is a float32


def test_severity_zero_without_noise_would_be_the_picture_itself() -> None:
    x = as_floats(images().pictures[:2])
    keys = np.arange(2, dtype=np.uint64)
    assert (degraded(x, np.full(2, 0.7), keys, 5) == degraded(x, np.full(2, 0.7), keys, 5)).all()
    one = degraded(x[1:], np.full(1, 0.7), keys[1:], 5)
    assert torch.equal(one[0], degraded(x, np.full(2, 0.7), keys, 5)[1])  # a neighbour changes nothing
    off = ("noise", "night", "balance", "jpeg", "ghost", "weather", "motion")
    assert (surveil(images().pictures[0], 0.0, off=off)[0] == images().pictures[0]).all()


def test_severities_stay_in_their_range() -> None:
    stream = loader(severity=(0.2, 0.4), augment="none").stream(0, 0, 1)
    q = torch.cat([next(stream)[0].severity for _ in range(3)])
    assert 0.2 <= float(q.min()) < float(q.max()) <= 0.4


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "moire"])
def test_one_view_without_degradation(augment: str) -> None:
    (batch,) = next(loader(degrade=False, augment=augment).stream(0, 0, 1))
    assert batch.image.shape == (8, 3, 24, 24)
    assert 0 <= float(batch.image.min()) <= float(batch.image.max()) <= 1


def test_a_stream_started_later_goes_on_alike() -> None:
    stream = loader().stream(0, 0, 1)
    whole = [next(stream)[0] for _ in range(5)]
    later = loader().stream(3, 0, 1)
    for expected in whole[3:]:
        (found,) = next(later)
        assert torch.equal(found.image, expected.image)
        assert torch.equal(found.index, expected.index)


def test_two_processes_see_what_one_sees() -> None:
    one = next(loader().stream(0, 0, 1))[0]
    parts = [next(loader().stream(0, rank, 2))[0] for rank in (0, 1)]
    assert sorted(torch.cat([p.index for p in parts]).tolist()) == sorted(one.index.tolist())
    for part in parts:
        for k, place in enumerate(part.index.tolist()):
            at = int((one.index == place).nonzero()[0, 0])
            assert torch.equal(part.image[k], one.image[at])
            assert torch.equal(part.image[k + 4], one.image[at + 8])


def test_an_epoch_holds_both_classes_alike() -> None:
    own = loader(degrade=False)
    counts = np.bincount(targets_of(images()))
    assert len(own) == 2 * counts.max()
    stream = own.stream(0, 0, 1)
    seen = torch.cat([next(stream)[0].target for _ in range(own.steps_per_epoch(1))])
    assert seen.bincount().tolist() == [counts.max()] * 2


def test_folds_never_cut_a_track() -> None:
    tracks = np.repeat(np.arange(100, 130), 3)
    fold = track_folds(tracks, 4)
    assert sorted(set(fold.tolist())) == [0, 1, 2, 3]
    assert all(len(set(fold[tracks == t])) == 1 for t in np.unique(tracks))
    sizes = np.bincount(fold) // 3
    assert sizes.max() - sizes.min() <= 1
    shuffled = np.random.default_rng(0).permutation(90)
    assert (track_folds(tracks[shuffled], 4) == fold[shuffled]).all()


def test_the_debug_set_is_what_it_says() -> None:
    splits = read_surveil(DATA)
    assert [len(splits.get(s)) for s in ("train", "dev", "test")] == [24, 12, 12]
    assert not set(splits.train.track) & set(splits.test.track)
    assert read_surveil(DATA).fingerprint == splits.fingerprint
    other = read_surveil(evolve_all(DATA, {"set_seed": 1}))
    assert other.fingerprint != splits.fingerprint
    assert joined(splits.train, splits.dev, splits.dev, "x").fingerprint != splits.fingerprint
    with pytest.raises(DataError, match="no split 'val'; there are train, dev, test"):
        splits.get("val")


def test_a_made_copy_is_named_by_what_draws_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn pixels differ by one now and then between processors."""
    parts = [read_surveil(evolve_all(DATA, {"set_seed": n})) for n in range(2)]
    monkeypatch.setattr(surveil_sets, "rendered_suhifimask", lambda settings, *_: rendered_folder(settings))

    def named(which: int, **changes: object) -> str:
        drawn = parts[which]
        monkeypatch.setattr(surveil_sets, "read_parts", lambda *_: (drawn.train, drawn.dev, drawn.test))
        return read_surveil(SurveilData(**changes)).fingerprint

    assert named(0) == named(1)
    assert len({named(0), named(0, protocol="p1"), named(0, set_seed=1), named(0, size=24)}) == 4


def test_configs_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="the first is above the second"):
        SurveilData(severity=(0.5, 0.1))
    with pytest.raises(ConfigError, match="root does not apply to kind='rendered'"):
        SurveilData(root="/x")
    with pytest.raises(ConfigError, match="folds=1 is outside"):
        SurveilData(folds=1)
