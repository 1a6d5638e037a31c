from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core import io
from mien.core.errors import ConfigError, ShapeError, WeightsError
from mien.data.talking import TalkingHeads
from mien.methods.otavatar.judges import (
    SIDE,
    JudgePictures,
    JudgeSettings,
    LandmarkNet,
    judge_pictures,
    judges,
    landmark_error,
    landmark_loss,
    same_person_auc,
    soft_argmax,
    teach_identity,
    teach_landmarks,
    varied,
)
from mien.synth.star_heads import star_set


@pytest.fixture(scope="module")
def heads():
    return TalkingHeads(*star_set(6, 3, 2, SIDE, seed=1))


def test_soft_argmax_of_a_peak_is_its_place_and_equals_its_slow_twin():
    maps = torch.zeros(1, 1, 4, 8)
    assert soft_argmax(maps)[0, 0].tolist() == pytest.approx([0.5, 0.5])
    maps[0, 0, 3, 1] = 50
    assert soft_argmax(maps)[0, 0].tolist() == pytest.approx([1.5 / 8, 3.5 / 4])
    maps = torch.randn(2, 3, 4, 5)
    found = soft_argmax(maps)
    for b, k in np.ndindex(2, 3):
        weight = np.exp(maps[b, k].numpy())
        x = sum(weight[i, j] * (j + 0.5) / 5 for i in range(4) for j in range(5)) / weight.sum()
        y = sum(weight[i, j] * (i + 0.5) / 4 for i in range(4) for j in range(5)) / weight.sum()
        assert found[b, k].tolist() == pytest.approx([x, y], abs=1e-5)


def test_worked_loss_of_landmarks():
    true = torch.rand(2, 68, 2)
    assert landmark_loss(true + 1 / SIDE, true).item() == pytest.approx(1, abs=1e-4)  # all move alike
    moved = true.clone()
    moved[:, 66, 1] += 1 / SIDE
    assert landmark_loss(moved, true).item() == pytest.approx(1 / 136 + 1 / 16, abs=1e-4)


def test_pictures_of_a_set_come_with_their_landmarks(heads):
    found = judge_pictures(heads)
    assert found.images.shape == (36, 3, SIDE, SIDE)
    assert found.person.tolist() == sorted(list(range(6)) * 6)
    assert np.array_equal(found.images[7].numpy(), np.moveaxis(heads.images[1, 0, 1, ..., :3], -1, 0))
    assert 0.3 < float(found.points[:, 30].mean()) < 0.7
    big = replace(heads, images=heads.images.repeat(2, 3).repeat(2, 4))
    assert torch.equal(judge_pictures(big).images, found.images)
    small = judge_pictures(replace(heads, images=heads.images[..., ::2, ::2, :]))
    assert torch.equal(small.images[:, :, ::2, ::2], found.images[:, :, ::2, ::2])
    with pytest.raises(ShapeError, match="multiples of 64"):
        judge_pictures(replace(heads, images=heads.images[..., :48, :48, :]))


def test_a_moved_picture_takes_its_landmarks_along():
    images = torch.full((1, 3, SIDE, SIDE), 255, dtype=torch.uint8)
    images[0, :, 30, 20] = 0
    points = torch.tensor([20.5, 30.5]).expand(1, 68, 2) / SIDE
    pictures = JudgePictures(images, points, torch.zeros(1, dtype=torch.long))
    settings = JudgeSettings(shift=4, softened=0.0)
    pick = torch.zeros(30, dtype=torch.long)
    moved, at = varied(pictures, pick, settings, torch.Generator().manual_seed(0))
    places = set()
    for k in range(30):
        y, x = (moved[k, 0] == -1).nonzero()[0].tolist()
        assert (at[k, 0] * SIDE).tolist() == pytest.approx([x + 0.5, y + 0.5])
        places.add((x, y))
    assert len(places) > 10


def test_softened_pictures_keep_their_mean():
    pictures = JudgePictures(
        torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8), torch.rand(1, 68, 2), torch.zeros(1)
    )
    pick, generator = torch.zeros(1, dtype=torch.long), torch.Generator().manual_seed(0)
    soft, _ = varied(pictures, pick, JudgeSettings(shift=0, softened=1.0), generator)
    clear = pictures.images.float() / 127.5 - 1
    assert soft.mean().item() == pytest.approx(clear.mean().item(), abs=0.01)
    assert soft.std() < 0.6 * clear.std()


def test_teaching_brings_both_errors_down(heads):
    pictures, settings = judge_pictures(heads), JudgeSettings(steps=80, batch=8, shift=0, softened=0.0)
    before = landmark_error(LandmarkNet(pictures.points.mean(0)), pictures).mean()
    net = teach_landmarks(pictures, settings, 0)
    assert landmark_error(net, pictures).mean() < 0.75 * before
    known = teach_identity(pictures, replace(settings, steps=20), 0, (8, 8, 16, 16))
    assert same_person_auc(known, pictures) > 0.8
    assert known(torch.zeros(2, 3, 128, 128)).norm(dim=1).tolist() == pytest.approx([1, 1])


def test_an_untaught_landmark_net_starts_near_the_mean_face():
    torch.manual_seed(0)
    mean = 0.3 + 0.4 * torch.rand(68, 2)
    assert (LandmarkNet(mean)(torch.zeros(1, 3, SIDE, SIDE))[0] - mean).abs().max() < 0.05


def test_judges_are_taught_once_and_the_same(heads):
    settings = JudgeSettings(steps=2, batch=4)
    before = torch.random.get_rng_state()
    first = judges(heads, "abc", 0, settings)
    assert torch.equal(torch.random.get_rng_state(), before)
    (file,) = (io.home() / "judges").rglob("weights.safetensors")
    written = file.stat().st_mtime_ns
    again = judges(heads, "abc", 0, settings)
    assert file.stat().st_mtime_ns == written
    image = torch.rand(1, 3, SIDE, SIDE)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a(image), b(image))
    file.unlink()
    fresh = judges(heads, "abc", 0, settings)
    assert torch.equal(first.identity(image), fresh.identity(image))
    assert not torch.equal(first.identity(image), first.trainer(image))
    file.write_bytes(b"no weights")
    with pytest.raises(WeightsError):
        judges(heads, "abc", 0, settings)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="steps"):
        JudgeSettings(steps=0)
    with pytest.raises(ConfigError, match="softened"):
        JudgeSettings(softened=1.5)
