from __future__ import annotations

import numpy as np

from mien.synth.strands import GLASSES, HAIR, draw, join, make_strands


def some(count=6, length=4, kind=HAIR, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, length, 3))
    return make_strands(points, kind, rng.random((count, 3)), 0.01, rng.random(count), rng.random(count))


def drawn(points, first, zbuf=None, width=0.0):
    screen = np.asarray(points, np.float32)
    z = np.zeros((16, 16), np.float32) if zbuf is None else zbuf
    strand, along = np.full((16, 16), -1, np.int32), np.zeros((16, 16), np.float32)
    count = len(first) - 1
    draw(screen, np.asarray(first, np.int32), np.full(count, width, np.float32), 20.0, z, strand, along)
    return z, strand, along


def test_join_keeps_every_strand():
    a, b = some(3, 4), some(2, 7, GLASSES, 1)
    both = join([a, b])
    assert len(both) == 5
    for k, (part, at) in enumerate([(a, 0), (a, 1), (a, 2), (b, 0), (b, 1)]):
        own = part.points[part.first[at] : part.first[at + 1]]
        assert np.array_equal(both.points[both.first[k] : both.first[k + 1]], own)
        assert np.array_equal(both.color[k], part.color[at])
        assert both.kind[k] == part.kind[at]


def test_thinned_strands_cover_as_much_and_keep_glasses():
    every = join([some(9, 4), some(3, 5, GLASSES, 1)])
    third = every.thinned(3)
    assert (third.kind == HAIR).sum() == 3
    assert (third.kind == GLASSES).sum() == 3
    np.testing.assert_allclose(third.width[third.kind == HAIR], 0.01 * 3**0.5, rtol=1e-5)
    assert np.array_equal(third.points[third.first[1] : third.first[2]], every.points[12:16])
    assert every.thinned(1) is every


def test_a_line_is_drawn_with_its_depth_and_parameter():
    zbuf, strand, along = drawn([[2, 8.5, 4], [12, 8.5, 8]], [0, 2])
    cols = np.flatnonzero(strand[8] == 0)
    assert np.array_equal(cols, np.arange(2, 13)) or np.array_equal(cols, np.arange(2, 12))
    assert (strand >= 0).sum() == len(cols)
    t = along[8, cols]
    assert (np.diff(t) > 0).all()
    np.testing.assert_allclose(-zbuf[8, cols], (1 - t) / 4 + t / 8, rtol=1e-5)


def test_a_line_hides_behind_what_is_nearer():
    wall = np.zeros((16, 16), np.float32)
    wall[:, 8:] = -1 / 3.0
    zbuf, strand, _ = drawn([[2, 8.5, 5], [13, 8.5, 5]], [0, 2], wall)
    assert (strand[8, 3:8] == 0).all()
    assert (strand[8, 8:] == -1).all()
    assert (zbuf[8, 8:] == np.float32(-1 / 3.0)).all()


def test_lines_outside_or_behind_the_camera_draw_nothing():
    points = [[-9, 2, 5], [-5, 9, 5], [3, 3, -1], [9, 9, 5], [2, 40, 5], [9, 60, 5]]
    _, strand, _ = drawn(points, [0, 2, 4, 6])
    assert (strand == -1).all()


def test_wide_strands_taper():
    _, strand, _ = drawn([[8.5, 1, 1], [8.5, 15, 1]], [0, 2], width=0.3)
    wide = (strand == 0).sum(1)
    assert wide[1] == 5  # just under 6 pixels (0.3 dm at 1 dm, focal 20): the middle and two on each side
    assert wide[1] > wide[14] > 1
    assert (np.diff(wide[1:15]) <= 0).all()
