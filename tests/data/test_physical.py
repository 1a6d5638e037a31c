"""Sets of clips: made ones against the simulation, copies on disk against what was written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError
from mien.data.config import PhysicalData
from mien.data.physical import FrameLoader, lone_clips, physical_sets, read_frames, rows_to_tensor, video_of
from mien.data.video import write_video
from mien.synth.comphy_scene import FPS, SHOWN
from mien.synth.comphy_set import ComPhySet
from mien.synth.phys_render import render_clip

FEW = PhysicalData(kind="debug", height=16, stride=5, sets=2, val_sets=1, test_sets=1, refs=2)


def test_a_made_set_is_every_strideth_frame_of_its_simulation():
    one = physical_sets(FEW, "train")[1]
    target = one.target
    assert np.array_equal(target.place, one.drawn.target.x[0, ::5])
    assert (target.shown, len(target.place), target.dt) == (SHOWN // 5, 30, 5 / FPS)
    assert target.visible.all(1)[0]  # everything starts in the picture
    assert np.array_equal(target.hits, one.drawn.target.hits[0, :SHOWN].any(0))
    assert [r.items for r in one.references] == [r.items for r in one.drawn.references]
    assert [target.things[i] for i in one.references[0].items] == list(one.references[0].things)
    assert len(one.references[0].place) == one.references[0].shown == 10
    assert one.questions
    assert one.clips[0] is target


def test_parts_differ_and_each_is_the_same_again():
    train, again, test = (physical_sets(FEW, part) for part in ("train", "train", "test"))
    assert np.array_equal(train[0].target.place, again[0].target.place)
    assert not np.array_equal(train[0].target.place[0], test[0].target.place[0])
    more = physical_sets(replace(FEW, sets=3), "train")
    assert np.array_equal(more[1].target.place, train[1].target.place)


def test_pictures_and_segments_show_the_objects_where_they_are():
    target = physical_sets(replace(FEW, height=48), "train")[0].target
    frames = np.array([0, 2])
    pictures, segments = target.pictures(frames), target.segments(frames)
    assert pictures.shape == (2, 48, 72, 3)
    assert segments.shape == (2, 48, 72)
    for picture, number in zip(segments, frames, strict=True):
        for k in range(len(target.things)):
            rows, columns = np.nonzero(picture == k + 1)
            x, y = (2 * columns.mean() + 1 - 72) / 48 * 1.9, (48 - 2 * rows.mean() - 1) / 48 * 1.9
            assert (x, y) == pytest.approx(target.place[number, k], abs=0.25)  # others may hide a part
    assert rows_to_tensor(pictures)[1, :, 3, 4].numpy() == pytest.approx(pictures[1, 3, 4] / 255)


def test_in_lone_clips_nothing_meets():
    data = PhysicalData(kind="debug", height=16, stride=10)
    clips = lone_clips(data, "test", 7)
    assert len(clips) == 7
    assert not any(c.hits.any() or any(t.charge for t in c.things) for c in clips)
    radius = 0.4
    for clip in clips:
        far = np.linalg.norm(clip.place[:, :, None] - clip.place[:, None], axis=-1)
        assert far[:, *np.triu_indices(3, 1)].min() > 2 * radius - 0.05
    again, others = lone_clips(data, "test", 3), lone_clips(data, "val", 3)
    assert all(np.array_equal(a.place, b.place) for a, b in zip(again, clips, strict=False))
    assert not np.array_equal(others[0].place, clips[0].place)


def test_frames_of_a_step_are_the_same_wherever_the_stream_begins():
    loader = FrameLoader(physical_sets(FEW, "train"), 6, 0)
    stream = loader.stream(0, 0, 1)
    second = [next(stream)[0].image for _ in range(2)][1]
    assert torch.equal(second, next(loader.stream(1, 0, 1))[0].image)
    assert second.shape == (6, 3, 16, 24)
    assert not torch.equal(second, next(loader.stream(1, 1, 2))[0].image[:3].repeat(2, 1, 1, 1))
    assert loader.steps_per_epoch(1) == 1


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Two sets on disk, as a user's copy has them."""
    root = tmp_path_factory.mktemp("comphy")

    def draw(clip, folder):
        write_video(folder / "video.mp4", render_clip(clip, (80, 120), 1.9).frames[0], FPS)

    ComPhySet(n_sets=2, n_ref=2).write(root, draw)
    return root


def test_a_copy_on_disk_is_read_like_a_made_set(copy):
    data = PhysicalData(kind="comphy", root=str(copy), height=32, stride=5, sets=5, refs=2)
    sets = physical_sets(data, "train")
    assert [s.number for s in sets] == [0, 1]
    one, drawn = sets[0], ComPhySet(n_sets=2, n_ref=2).drawn(0)
    assert one.target.place == pytest.approx(drawn.target.x[0, ::5], abs=1e-4)
    assert np.array_equal(one.target.hits, drawn.target.hits[0, :SHOWN].any(0))
    assert one.drawn is None
    assert one.target.segments is None
    assert one.questions
    small = render_clip(replace(drawn.target, x=drawn.target.x[:, ::5]), (32, 48), 1.9).frames[0]
    seen = one.target.video().astype(float)
    assert seen.shape == (24, 32, 48, 3)
    assert np.abs(seen - small[:24]).mean() < 4  # of 255: lossy, another size


def test_bad_copies_are_refused_with_the_place(copy, tmp_path):
    with pytest.raises(ConfigError, match="train, val, test"):
        physical_sets(FEW, "all")
    with pytest.raises(DataError, match=r"no video\.mp4 in it"):
        video_of(tmp_path)
    path = video_of(copy / "causal_sim" / "sim_00000")
    with pytest.raises(DataError, match="ends before frame 200"):
        read_frames(path, (32, 48), 1, np.array([0, 200]))
    square = tmp_path / "square.mp4"
    write_video(square, np.zeros((3, 64, 64, 3), np.uint8), FPS)
    with pytest.raises(DataError, match="64 x 64 pixels; 480 x 320"):
        read_frames(square, (32, 48), 1, np.array([0]))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"broken\.mp4"):
        read_frames(broken, (32, 48), 1, np.array([0]))


def test_settings_out_of_range():
    with pytest.raises(ConfigError, match="multiple of 4"):
        PhysicalData(height=50)
    with pytest.raises(ConfigError, match="root"):
        PhysicalData(root="x")
    with pytest.raises(ConfigError, match="root"):
        physical_sets(PhysicalData(kind="comphy"), "train")
