from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import DataError, ShapeError, WeightsError
from mien.methods.otavatar.avatar import OneShotAvatar
from mien.methods.otavatar.head_pose import Orbit
from mien.methods.otavatar.motion_track import MotionTrack
from mien.methods.otavatar.state import load_state
from mien.render.mesh_io import load_mesh, save_mesh
from mien.synth.orbit import orbit_cameras
from tests.methods.otavatar.avatars import NAMES, person, tiny_avatar, tiny_net

TRACK = MotionTrack.of(np.random.default_rng(0).uniform(0, 1, (6, 4)), names=NAMES)


@pytest.fixture(scope="module")
def avatar():
    return tiny_avatar()


@pytest.fixture(scope="module")
def state(avatar):
    return avatar.invert(person(), [0.1, 0.2, 0.3, 0.4], steps=12, rays=128)


def frames(avatar, state, track=TRACK, **options):
    return np.stack(list(avatar.animate(state, track, **options)))


def test_inversion_comes_closer_and_is_repeatable(avatar):
    losses = []
    state = avatar.invert(
        person(), steps=30, rays=200, callback=lambda step, loss: losses.append((step, loss))
    )
    assert [step for step, _ in losses] == list(range(30))
    assert np.mean([x for _, x in losses[-5:]]) < np.mean([x for _, x in losses[:5]])
    assert torch.equal(state.w_id, avatar.invert(person(), steps=30, rays=200).w_id)
    assert state.w_id.shape == (1, 1, 16)
    assert (state.size, state.names, state.delta) == (32, NAMES, {})


def test_it_starts_at_the_encoders_code_without_the_motion(avatar):
    row = torch.tensor([[0.5, 0.1, 0.9, 0.0]])
    state = avatar.invert(person(), row[0], steps=0)
    x = torch.from_numpy(person()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        dw, _ = avatar.net.controller(row[:, :, None].expand(-1, -1, 5))
        expected = avatar.net.encode(2 * x - 1) - dw.mean(1, keepdim=True)
    assert torch.allclose(state.w_id, expected, atol=1e-5)
    assert torch.allclose(state.row, row[0])


def test_several_pictures_share_a_code(avatar):
    two = avatar.invert([person(), person()[:, ::-1].copy()], np.zeros((2, 4)), steps=2, rays=64)
    assert two.w_id.shape == (1, 1, 16)
    assert not torch.equal(two.w_id, avatar.invert(person(), steps=2, rays=64).w_id)


def test_wider_spaces_and_corrections(avatar):
    steps = []
    state = avatar.invert(
        person(), steps=6, space="w+", pti_steps=2, refine="centre", rays=64,
        callback=lambda step, loss: steps.append(step),
    )  # fmt: skip
    assert steps == list(range(6))
    assert state.w_id.shape == (1, avatar.net.generator.num_ws, 16)
    assert state.scale[0] != 0
    assert state.scale[[1, 3, 6, 7, 8]].abs().max() == 0
    assert state.delta
    bare = replace(state, delta={})
    assert not np.array_equal(avatar.view(state), avatar.view(bare))


def test_a_callback_stops_it(avatar):
    steps = []
    avatar.invert(person(), steps=20, rays=64, callback=lambda k, loss: steps.append(k) or k == 3)
    assert steps == [0, 1, 2, 3]


def test_frames_come_one_by_one(avatar, state):
    moves = avatar.animate(state, TRACK)
    assert iter(moves) is moves
    first = list(itertools.islice(moves, 2))
    assert first[0].shape == (32, 32, 3)
    assert first[0].dtype == np.uint8
    assert not np.array_equal(first[0], first[1])
    assert np.array_equal(np.stack(first), frames(avatar, state)[:2])


def test_a_frame_is_the_generators_picture_of_that_window(avatar, state):
    seen = frames(avatar, state, camera="source")
    still = MotionTrack.of(np.tile(TRACK.expression[3], (6, 1)), names=NAMES)
    assert np.array_equal(
        frames(avatar, state, still, camera="source")[0], avatar.view(state, None, TRACK.expression[3])
    )
    assert not np.array_equal(seen[0], seen[5])


def test_cameras(avatar, state):
    still = MotionTrack.of(np.tile(state.row.numpy(), (4, 1)), names=NAMES)
    source = frames(avatar, state, still, camera="source")
    assert (source == source[0]).all()
    assert np.array_equal(source[0], avatar.view(state))
    turning = frames(avatar, state, still, camera=Orbit(0.5, 0.0, 4))
    assert np.array_equal(turning[1], avatar.view(state, orbit_cameras(0.5)[0]))
    assert np.array_equal(turning, np.stack(list(avatar.turntable(state, Orbit(0.5, 0.0, 4)))))
    assert avatar.view(state, size=20).shape == (20, 20, 3)


def test_relative_driving_begins_with_the_portrait(avatar, state):
    still = MotionTrack.of(np.full((3, 4), 0.9), names=NAMES)
    moved = frames(avatar, state, still, retarget="relative")
    assert np.array_equal(moved[0], avatar.view(state))
    assert not np.array_equal(moved[0], frames(avatar, state, still)[0])


def test_parts_keep_the_rest(avatar, state):
    eyes = frames(avatar, state, camera="source", parts="eyes")
    mouth = frames(avatar, state, camera="source", parts="mouth")
    assert not np.array_equal(eyes, mouth)


def test_pose_rows_stay_at_the_source_when_the_camera_is_not_the_drivers():
    avatar = tiny_avatar(pose_rows=6)
    state = avatar.invert(person(), steps=0)
    rows = np.tile(state.row.numpy(), (3, 1))
    still = MotionTrack.of(rows, names=NAMES)
    turned = replace(still, angles=np.full((3, 3), 0.3, np.float32))
    held = frames(avatar, state, turned, camera="source")
    assert np.array_equal(held, frames(avatar, state, still, camera="source"))
    assert not np.array_equal(frames(avatar, state, turned)[0], frames(avatar, state, still)[0])


def test_uneven_tracks_are_made_even(avatar, state):
    uneven = replace(TRACK, times=np.array([0, 1, 2, 4, 5, 6]) / TRACK.fps)
    assert len(frames(avatar, state, uneven)) == 7


def test_saved_states_give_the_same_frames(avatar, state, tmp_path):
    back = load_state(state.save(tmp_path / "me.safetensors"), avatar.net)
    assert np.array_equal(frames(avatar, back), frames(avatar, state))


def test_sliders_move_along_the_code_book(avatar, state):
    moved = avatar.sliders(state, [0.0, 2.0, 0.0, 0.0])
    assert float((moved.w_id - state.w_id).norm()) == pytest.approx(2.0, abs=1e-4)
    assert torch.equal(avatar.sliders(state, np.zeros(4)).w_id, state.w_id)
    with pytest.raises(ShapeError, match="expected 4 sliders"):
        avatar.sliders(state, [1.0])


def test_a_mesh_in_a_file(avatar, state, tmp_path):
    level = 36.0
    mesh = avatar.field(state).mesh(12, level)
    back = load_mesh(save_mesh(tmp_path / "me.glb", mesh.vertices, mesh.faces, colors=mesh.colors))
    assert back.faces.shape == mesh.faces.shape
    assert np.abs(back.colors - mesh.colors).max() < 0.01


def test_what_does_not_belong_together(avatar, state):
    other = tiny_avatar(5)
    for use in (
        other.view,
        other.mesh,
        lambda s: other.animate(s, TRACK),
        lambda s: other.sliders(s, np.zeros(4)),
    ):
        with pytest.raises(WeightsError, match="made with another generator"):
            use(state)
    with pytest.raises(ShapeError, match="the track has 3 actions, this avatar knows 4"):
        avatar.animate(state, MotionTrack.of(np.zeros((2, 3))))
    with pytest.raises(DataError, match="the track moves tongueOut"):
        avatar.animate(state, MotionTrack.of(np.ones((2, 1)), names=("tongueOut",)))
    with pytest.raises(ShapeError, match="3 names of actions, the controller knows 4"):
        OneShotAvatar(tiny_net(), 32, NAMES[:3])
    with pytest.raises(ShapeError, match="expected coefficients"):
        avatar.view(state, None, np.zeros(5))
