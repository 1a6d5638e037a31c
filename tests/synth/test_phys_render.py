"""Pictures of the world: coverage against supersampling, order, materials, colours, backgrounds."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth import render_clip
from mien.synth.phys_render import GROUND, PALETTE, backgrounds
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES, Objects, PhysWorld, Trajectory

RUBBER, METAL = MATERIALS.index("rubber"), MATERIALS.index("metal")


def still(places, shape, colour="red", material=RUBBER, radius=0.5):
    """One clip of one frame."""
    n = len(places)
    look = np.ones((1, n), int)
    colours = [colour] * n if isinstance(colour, str) else colour
    objects = Objects(
        look, look, radius * look, np.array([[COLOURS.index(c) for c in colours]]), material * look,
        SHAPES.index(shape) * look,
    )  # fmt: skip
    x = np.array(places, float)[None, None]
    return Trajectory(x, 0 * x, objects, np.zeros((1, 1, n, n), bool), 0.1)


def coverage(rendered):
    """(H, W) shares of the first object's flat colour, red, over the ground."""
    rgb = rendered.frames[0, 0].astype(float)
    return (rgb - GROUND)[..., 1] / (PALETTE["red"][1] - GROUND[1])


def inside(shape, dx, dy, radius):
    """What is drawn, by its definition: equal areas pi r^2."""
    if shape == "sphere":
        return dx**2 + dy**2 < radius**2
    if shape == "cylinder":
        return np.abs(dx) + np.abs(dy) < radius * np.sqrt(np.pi / 2)
    return np.maximum(np.abs(dx), np.abs(dy)) < radius * np.sqrt(np.pi) / 2


def supersampled(shape, place, radius, size, half, n=16):
    """(size, size) shares of n x n points of each pixel that lie inside."""
    centres = (2 * (np.arange(size * n) + 0.5) / (size * n) - 1) * half
    hit = inside(shape, centres[None] - place[0], -centres[:, None] - place[1], radius)
    return hit.reshape(size, n, size, n).mean((1, 3))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.313, -0.77), (-2.3, 2.2)])
def test_coverage_equals_supersampling(shape, place):
    """Corners within a quarter of a pixel, areas within 4 % (a diamond's edges at 45 degrees)."""
    found = coverage(render_clip(still([place], shape), 48))
    wanted = supersampled(shape, place, 0.5, 48, 2.4)
    assert np.abs(found - wanted).max() < 0.26
    assert found.sum() == pytest.approx(wanted.sum(), rel=0.04)
    assert wanted.max() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_the_area_of_the_disc(shape):
    found = coverage(render_clip(still([(0.11, 0.07)], shape), 64, half=2.0))
    assert found.sum() * (4 / 64) ** 2 == pytest.approx(np.pi * 0.25, rel=0.02)


def test_a_plain_twin_pixel_by_pixel():
    """Straight loops over whole pictures: kinds, order and segmentation, two materials."""
    clips = PhysWorld(5, half=1.0, radius=0.15, seed=3).simulate(3, 3)
    found = render_clip(clips, 24, half=1.5)
    scale = 24 / 3.0
    for b, t in itertools.product(range(3), range(3)):
        picture, segments = np.full((24, 24, 3), GROUND, float), np.zeros((24, 24), int)
        for i in range(5):
            o, r = clips.objects, 0.15 * scale
            shape, metal = SHAPES[o.shape[b, i]], o.material[b, i] == METAL
            base = np.array(PALETTE[COLOURS[o.colour[b, i]]], float)
            cx, cy = 12 + scale * clips.x[b, t, i, 0], 12 - scale * clips.x[b, t, i, 1]
            for row, col in itertools.product(range(24), range(24)):
                dx, dy = col + 0.5 - cx, row + 0.5 - cy
                gap = {
                    "sphere": np.hypot(dx, dy) - r,
                    "cylinder": (abs(dx) + abs(dy) - r * np.sqrt(np.pi / 2)) / np.sqrt(2),
                    "cube": max(abs(dx), abs(dy)) - r * np.sqrt(np.pi) / 2,
                }[shape]
                share = np.clip(0.5 - gap, 0, 1)
                colour = base
                if metal:
                    colour = base * (1 - 0.5 * np.clip(1 + (gap / r + 0.15) / 0.2, 0, 1))
                    far = (dx / r + 0.3) ** 2 + (dy / r + 0.3) ** 2
                    colour = colour + 0.95 * np.exp(-far / 0.08) * (255 - colour)
                if share:
                    picture[row, col] = np.floor(picture[row, col] * (1 - share) + share * colour + 0.5)
                if share >= 0.5:
                    segments[row, col] = i + 1
        assert np.abs(found.frames[b, t] - picture).max() <= 1
        assert np.array_equal(found.segmentation[b, t], segments)


def test_x_is_right_and_y_is_up():
    segments = render_clip(still([(1.2, 1.8)], "sphere"), 48).segmentation[0, 0]
    rows, cols = np.nonzero(segments)
    assert (2 * (cols.mean() + 0.5) / 48 - 1) * 2.4 == pytest.approx(1.2, abs=0.02)
    assert (1 - 2 * (rows.mean() + 0.5) / 48) * 2.4 == pytest.approx(1.8, abs=0.02)


def test_a_wide_picture_shows_more_to_both_sides():
    clip = PhysWorld(n_objects=3, seed=4).simulate(2, 5)
    square, wide = render_clip(clip, 48), render_clip(clip, (48, 72))
    assert wide.frames.shape == (2, 5, 48, 72, 3)
    assert np.array_equal(wide.frames[:, :, :, 12:60], square.frames)
    assert np.array_equal(wide.segmentation[:, :, :, 12:60], square.segmentation)


def test_later_objects_lie_over_earlier_ones():
    rendered = render_clip(still([(0, 0), (0.3, 0)], "sphere", ["red", "blue"]), 64)
    rows, cols = 32, 32 + round(0.15 * 64 / 4.8)
    assert rendered.segmentation[0, 0, rows, cols] == 2
    assert rendered.frames[0, 0, rows, cols].tolist() == list(PALETTE["blue"])
    assert set(np.unique(rendered.segmentation)) == {0, 1, 2}


def test_an_object_out_of_sight_is_not_drawn():
    rendered = render_clip(still([(9, 0), (0, -50)], "cube"), 32)
    assert not rendered.segmentation.any()
    assert (rendered.frames == GROUND).all()


def test_half_a_pixel_of_motion_is_seen():
    a, b = (render_clip(still([(x, 0)], "sphere"), 48).frames for x in (0, 0.05))
    assert np.abs(a.astype(int) - b).max() > 40


@pytest.mark.parametrize("size", [48, 64, 128])
def test_metal_has_a_highlight_and_a_darker_rim(size):
    flat, shiny = (
        render_clip(still([(0, 0)], "sphere", "red", material, 0.3), size).frames[0, 0].astype(int)
        for material in (RUBBER, METAL)
    )
    change = (shiny - flat).sum(-1)
    assert change.max() > 150
    assert change.min() < -60
    row, col = np.unravel_index(change.argmax(), change.shape)
    assert row < size / 2
    assert col < size / 2


def test_colours_can_be_told_apart():
    """Also from the ground, and where metal darkens by half."""
    colours = [np.array(PALETTE[c], float) for c in COLOURS]
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations([*colours, np.array(GROUND)], 2)]
    assert len(PALETTE) == 8
    assert min(gaps) > 60


def test_textures():
    pictures = backgrounds(3, (64, 64), "textured", 5).astype(float)
    assert np.array_equal(pictures[:2], backgrounds(2, (64, 64), "textured", 5))
    assert not np.array_equal(pictures, backgrounds(3, (64, 64), "textured", 6))
    assert np.abs(pictures[0] - pictures[1]).mean() > 5
    assert 5 < pictures.std() < 25
    assert np.abs(np.diff(pictures, axis=1)).max() < 15
    colours = np.array([PALETTE[c] for c in COLOURS], float)
    assert np.linalg.norm(pictures[..., None, :] - colours, axis=-1).min() > 40


def test_a_texture_stays_still_and_changes_no_segmentation():
    clips = PhysWorld(3, seed=1).simulate(2, 6)
    plain, textured = (render_clip(clips, 32, background=b, seed=2) for b in ("plain", "textured"))
    assert np.array_equal(plain.segmentation, textured.segmentation)
    empty = (textured.segmentation == 0).all(1)
    for b in range(2):
        same = textured.frames[b][:, empty[b]]
        far = (plain.frames[b][:, empty[b]] == GROUND).all((0, 2))
        assert far.sum() > 300
        assert (same[:, far] == same[0, far]).all()


def test_clips_are_drawn_alone():
    clips = PhysWorld(4, seed=1).simulate(3, 4)
    one = Trajectory(
        clips.x[:1], clips.v[:1],
        Objects(*(getattr(clips.objects, f)[:1] for f in Objects.__dataclass_fields__)), clips.hits[:1], 0.1,
    )  # fmt: skip
    whole, first = (render_clip(c, 32, background="textured", seed=7) for c in (clips, one))
    assert whole.frames.dtype == whole.segmentation.dtype == np.uint8
    assert whole.frames.shape == (3, 4, 32, 32, 3)
    assert np.array_equal(whole.frames[:1], first.frames)
    assert np.array_equal(whole.segmentation[:1], first.segmentation)


def test_predicted_places_can_be_drawn():
    clips = PhysWorld(4, seed=1).simulate(1, 4)
    moved = render_clip(replace(clips, x=clips.x[:, :1] + 0.1), 32)
    assert moved.frames.shape == (1, 1, 32, 32, 3)
    assert not np.array_equal(moved.frames, render_clip(clips, 32).frames[:, :1])


@pytest.mark.parametrize("wrong", [{"size": 0}, {"half": 0.0}, {"background": "checked"}])
def test_bad_settings(wrong):
    with pytest.raises(ConfigError) as caught:
        render_clip(still([(0, 0)], "cube"), **wrong)
    assert str(next(iter(wrong.values()))) in str(caught.value)
