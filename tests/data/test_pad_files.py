"""Presentations in files: labels, frames of an epoch, pictures as networks see them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import DataError
from mien.data.pad_casia import CasiaSurf, Cefa
from mien.data.pad_files import PadFiles, depth_pixels, ir_pixels, labels_of
from mien.data.pad_loader import PadLoader
from mien.data.pad_modalities import DepthMap
from mien.data.pad_sample import PadList, PadSample, eval_frames
from tests.data.pad_fixtures import picture, write_cefa, write_surf, write_video


@pytest.fixture(scope="module")
def surf(tmp_path_factory: pytest.TempPathFactory) -> PadList:
    root = tmp_path_factory.mktemp("surf")
    write_surf(root)
    return CasiaSurf(root, "p1", "train")


def test_labels_say_what_the_list_says(surf: PadList) -> None:
    files = PadFiles(surf)
    assert files.modalities == ("rgb", "depth", "ir")
    assert len(files) == len(surf) == 2 * 4 * 3  # people, one live and three attacks, frames
    first = surf.samples[0]
    own = files.labels
    assert (own.species[0], own.subjects[0], own.devices[0]) == (first.pai, first.subject, first.device)
    assert own.live.tolist() == surf.live.tolist()
    assert len(set(own.keys.tolist())) == len(surf)
    assert len(set(own.videos)) == 2 * 4


def test_nameless_subjects_and_videos_are_their_own(tmp_path: Path) -> None:
    samples = tuple(PadSample({"rgb": tmp_path / f"{i}.png"}, 1, "live", frame="0") for i in range(3))
    own = labels_of(PadList("mine", "", "train", samples))
    assert len(set(own.subjects)) == len(set(own.videos)) == len(set(own.keys.tolist())) == 3


def test_an_epoch_shows_one_frame_of_each_video_and_another_in_the_next(surf: PadList) -> None:
    files = PadFiles.one_a_video(surf)
    assert len(files) == 8
    epochs = [files.for_epoch(5, k) for k in range(6)]
    for seen in epochs:
        assert seen.labels.videos.tolist() == files.labels.videos.tolist()
        assert seen.labels.targets.tolist() == files.labels.targets.tolist()
        assert seen.modalities == files.modalities
    frames = [[s.frame for s in seen.pads.samples] for seen in epochs]
    assert len({tuple(f) for f in frames}) > 1
    assert {f for row in frames for f in row} == {"1", "11", "101"}
    assert [s.frame for s in files.for_epoch(5, 3).pads.samples] == frames[3]
    assert PadFiles(surf).for_epoch(5, 3).labels.videos.tolist() == labels_of(surf).videos.tolist()


def test_the_loader_draws_frames_anew_and_goes_on_where_it_stopped(surf: PadList) -> None:
    files = PadFiles.one_a_video(surf)
    loader = PadLoader(files, ("rgb", "ir"), 16, 4, 0)
    assert len(loader) == 2 * 6  # six attacks, and as many live ones by repetition
    steps = loader.steps_per_epoch(1)
    stream = loader.stream(0, 0, 1)
    run = [next(stream)[0] for _ in range(3 * steps)]
    again = next(loader.stream(2 * steps, 0, 1))[0]
    assert np.array_equal(again.images["rgb"], run[2 * steps].images["rgb"])
    seen = {(int(i), float(x.sum())) for b in run for i, x in zip(b.index, b.images["ir"], strict=True)}
    assert len(seen) > len({i for i, _ in seen})  # some video was seen in two of its frames


def test_subsets_keep_the_frames_of_their_videos(surf: PadList) -> None:
    files = PadFiles.one_a_video(surf)
    part = files.subset(np.array([5, 1]))
    assert part.labels.videos.tolist() == files.labels.videos[[5, 1]].tolist()
    whole, own = files.for_epoch(1, 4), part.for_epoch(1, 4)
    assert [s.frame for s in own.pads.samples] == [whole.pads.samples[i].frame for i in (5, 1)]
    assert own.labels.videos.tolist() == part.labels.videos.tolist()
    assert part.fingerprint != files.fingerprint
    assert PadFiles(surf).subset(np.array([3])).labels.videos.tolist() == [surf.samples[3].video_id]
    left = files.without_species(["04_en_b"])
    assert "04_en_b" not in left.for_epoch(0, 9).labels.species


def test_pictures_are_those_of_the_files(surf: PadList) -> None:
    files = PadFiles(surf)
    at = [7, 2]
    rgb, depth, ir = (files.pictures(m, at) for m in files.modalities)
    for k, i in enumerate(at):
        held = surf.samples[i].images
        assert np.array_equal(rgb[k], np.asarray(Image.open(held["rgb"])))
        assert np.array_equal(depth[k][..., 0], np.asarray(Image.open(held["depth"])))
        assert np.array_equal(ir[k][..., 0], np.asarray(Image.open(held["ir"])))
        assert rgb[k].dtype == depth[k].dtype == ir[k].dtype == np.uint8


def test_metric_depth_becomes_near_to_far_and_relative_depth_stays() -> None:
    metres = np.array([[0.0, 0.5, 0.6], [0.7, 0.74, 0.9]], np.float32)
    seen = depth_pixels(DepthMap(metres, is_metric=True))
    assert seen.shape == (2, 3, 1)
    assert seen[0, 0, 0] == 0  # no return
    assert seen[1, 2, 0] == 0  # more than 0.25 m behind the nearest
    assert seen[0, 1, 0] > 250
    assert (np.diff(seen[[0, 0, 1, 1], [1, 2, 0, 1], 0].astype(int)) < 0).all()
    relative = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(depth_pixels(DepthMap(relative, is_metric=False))[..., 0], relative)
    assert ir_pixels(np.array([[0.0, 1.0, 0.5]], np.float32))[0, :, 0].tolist() == [0, 255, 128]


def test_frames_of_a_video_file(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a.avi")
    sample = PadSample({"rgb": clip}, 1, "live", video_id="a")
    files = PadFiles(eval_frames(PadList("mine", "", "test", (sample,))))
    levels = [float(p.mean()) for p in files.pictures("rgb", [0, 1])]
    assert levels[0] == pytest.approx(0, abs=3)
    assert levels[1] == pytest.approx(200, abs=3)
    assert files.labels.videos.tolist() == ["a", "a"]


def test_modalities_are_those_that_all_samples_have(tmp_path: Path) -> None:
    whole = {m: picture(tmp_path / f"{m}.png", grey=m != "rgb") for m in ("rgb", "depth", "ir")}
    some = {m: p for m, p in whole.items() if m != "depth"}
    samples = (
        PadSample(whole, 1, "live", video_id="a", frame="0"),
        PadSample(some, 0, "print", video_id="a", frame="1"),
    )
    assert PadFiles(PadList("mine", "", "train", samples)).modalities == ("rgb", "ir")
    # ... of all frames, whichever an epoch shows.
    assert PadFiles.one_a_video(PadList("mine", "", "train", samples)).modalities == ("rgb", "ir")
    lone = replace_images(samples, tmp_path)
    with pytest.raises(DataError, match=r"mine train: none of rgb, depth, ir is in all samples"):
        PadFiles(PadList("mine", "", "train", lone))
    with pytest.raises(DataError, match="mine train: no samples"):
        PadFiles(PadList("mine", "", "train", ()))


def replace_images(samples: tuple[PadSample, ...], folder: Path) -> tuple[PadSample, ...]:
    one = PadSample({"rgb": folder / "rgb.png"}, 1, "live", video_id="a", frame="0")
    return (one, PadSample({"ir": folder / "ir.png"}, 0, "print", video_id="b", frame="0"), *samples[:0])


def test_missing_files_are_named_when_they_are_asked_for(tmp_path: Path) -> None:
    place = write_cefa(tmp_path)
    pads = Cefa(tmp_path, "p4.1", "train")
    gone = pads.samples[1].images["ir"]
    gone.unlink()
    files = PadFiles(pads)
    assert files.pictures("ir", [0])[0].shape == (16, 12, 1)
    with pytest.raises(DataError, match=f"{gone}: no such file"):
        files.pictures("ir", [1])
    assert place.is_dir()
