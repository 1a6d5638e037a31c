from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.body import people
from mien.synth.garment import (
    HIPS,
    KINDS,
    TORSO,
    Garment,
    check_outfit,
    clip_triangles,
    cut,
    hides,
    keep,
    make_pattern,
    pattern,
    pieces,
    sample_outfit,
    tailor,
)

GREY = (0.2, 0.2, 0.2)


def of(*kinds, **more):
    return tuple(Garment(k, GREY, **more) for k in kinds)


def areas(points, faces):
    a, b, c = (points[faces[:, k]] for k in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def test_every_sampled_outfit_covers_torso_and_hips():
    canon = people().vertices[np.unique(people().faces["body"])]
    x, y = np.abs(canon[:, 0]), canon[:, 1]
    torso, hips = (y > TORSO[0]) & (y < TORSO[1]) & (x < 1.6), (y > HIPS[0]) & (y < HIPS[1]) & (x < 1.9)
    seen = set()
    for seed in range(200):
        for male in (0.1, 0.9):
            outfit = sample_outfit(seed, male)
            check_outfit(outfit)
            seen.add(tuple(g.kind for g in outfit))
            covered = np.logical_or.reduce([hides(g, canon) for g in pieces(outfit)])
            assert covered[torso].all(), outfit
            assert covered[hips].all(), outfit
            assert [KINDS.index(g.kind) for g in outfit] == sorted(KINDS.index(g.kind) for g in outfit)
            if male > 0.5:
                assert not {g.kind for g in outfit} & {"skirt", "dress"}
    assert len(seen) == 6


def test_same_seed_same_outfit():
    assert sample_outfit(4, 0.2) == sample_outfit(4, 0.2)
    assert sample_outfit(4, 0.2) != sample_outfit(5, 0.2)


@pytest.mark.parametrize("kinds", [(), ("shoes",), ("trousers",), ("shirt",), ("coat", "trousers"),
                                   ("coat", "shirt"), ("skirt", "shoes"), ("coat",)])  # fmt: skip
def test_bare_outfits_are_refused(kinds):
    with pytest.raises(ConfigError, match=r"an outfit needs a dress, or a shirt with trousers or a skirt"):
        check_outfit(of(*kinds))


@pytest.mark.parametrize("kinds", [("dress",), ("shirt", "trousers"), ("skirt", "shirt", "coat")])
def test_covering_outfits_pass(kinds):
    outfit = of(*kinds)
    check_outfit(outfit)
    assert {g.kind for g in pieces(outfit)} >= set(kinds)


@pytest.mark.parametrize("male", [0.1, 0.9])
def test_shortest_clothes_still_cover(male):
    """The limits of every setting: no length, no sleeve, any flare and opening."""
    canon = people().vertices[np.unique(people().faces["body"])]
    core = (np.abs(canon[:, 0]) < 1.6) & (canon[:, 1] > HIPS[0]) & (canon[:, 1] < TORSO[1])
    for kinds in (("dress",), ("trousers", "shirt"), ("skirt", "shirt")):
        outfit = of(*kinds, length=0.0, flare=0.35, folds=0.0)
        covered = np.logical_or.reduce([hides(g, canon) for g in pieces(outfit)])
        assert covered[core].all(), kinds


@pytest.mark.parametrize(("name", "value"), [("sleeve", 1.5), ("length", -0.1), ("flare", 0.5), ("folds", 3),
                                             ("stripes", 2), ("opening", 1.2)])  # fmt: skip
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=rf"shirt: {name}={value} is outside \[0, "):
        Garment("shirt", GREY, **{name: value})
    with pytest.raises(ConfigError, match=r"garment 'bikini' is none of shoes, trousers"):
        Garment("bikini", GREY)


def test_dresses_and_coats_are_a_top_and_a_skirt():
    assert [g.kind for g in pieces(of("dress", "coat"))] == ["skirt", "dress", "skirt", "coat"]
    tail = pieces(of("dress", "coat"))[2]
    assert tail.opening > 0
    points = np.array([[0.5, 0.5, 0.5]], np.float32)
    assert not hides(tail, points)  # an open coat covers nothing for sure


# -- clipping -----------------------------------------------------------------------------------------------


def clip_loop(triangle, value):
    """Area of the part of one triangle (3, 2) where a linear field is positive (Sutherland-Hodgman)."""
    out = []
    for k in range(3):
        p, q, a, b = triangle[k], triangle[(k + 1) % 3], value[k], value[(k + 1) % 3]
        if a > 0:
            out.append(p)
        if (a > 0) != (b > 0):
            out.append(p + (q - p) * a / (a - b))
    x, y = np.array(out or [[0.0, 0.0]]).T
    return 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def clipped(points, faces, value):
    new, (a, b, t) = clip_triangles(faces, value)
    every = np.concatenate([points, (1 - t)[:, None] * points[a] + t[:, None] * points[b]])
    return every, new


def test_clipped_area_equals_a_polygon_clipper():
    rng = np.random.default_rng(0)
    one = np.array([[0, 1, 2]], np.int32)
    for _ in range(50):
        p = np.c_[rng.normal(size=(3, 2)), np.zeros(3)]
        value = rng.normal(size=3)
        every, faces = clipped(p, one, value)
        assert areas(every, faces).sum() == pytest.approx(clip_loop(p[:, :2], value), abs=1e-12)


def test_clipping_splits_area_into_inside_and_outside_and_keeps_the_winding():
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=3)
    points, faces = np.asarray(ball.vertices), np.asarray(ball.faces, np.int32)
    value = points @ np.array([0.3, 1.0, -0.2]) - 0.25 + 1e-9
    inside, outside = clipped(points, faces, value), clipped(points, faces, -value)
    total = areas(points, faces).sum()
    assert areas(*inside).sum() + areas(*outside).sum() == pytest.approx(total, abs=1e-12)
    every, new = inside
    a, b, c = (every[new[:, k]] for k in range(3))
    outward = (np.cross(b - a, c - a) * (a + b + c)).sum(1)
    assert (outward[areas(every, new) > 1e-9] > 0).all()
    field = every @ np.array([0.3, 1.0, -0.2]) - 0.25
    assert field[np.unique(new)].min() > -1e-6  # nothing outside is left, and the cut lies on the line
    _, (a, b, _t) = clip_triangles(faces, value)
    assert len({(min(p, q), max(p, q)) for p, q in zip(a, b, strict=True)}) == len(a)  # a point for an edge


def test_clipping_all_or_nothing():
    faces = np.array([[0, 1, 2]], np.int32)
    assert np.array_equal(clip_triangles(faces, np.ones(3))[0], faces)
    assert len(clip_triangles(faces, -np.ones(3))[0]) == 0


# -- tailoring ----------------------------------------------------------------------------------------------


def test_pattern_subdivides_each_triangle_into_four():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [2, 1, 3]], np.int32)
    p = make_pattern(points, faces)
    assert p.faces.shape == (8, 3)
    assert p.canon.shape == (4 + 5, 3)
    np.testing.assert_allclose(areas(p.canon, p.faces), 1 / 8)
    np.testing.assert_allclose(p.up.sum(1), 1)
    np.testing.assert_allclose(p.smooth.sum(1), 1)
    normals = np.cross(*(p.canon[p.faces[:, k]] - p.canon[p.faces[:, 0]] for k in (1, 2)))
    assert (normals[:, 2] > 0).all()  # the winding is kept


@pytest.mark.parametrize("kind", KINDS)
def test_cloth_stands_off_the_body_and_ends_at_its_cut(kind):
    human = people()
    cloth = tailor(Garment(kind, GREY, sleeve=0.5, length=0.5), human, human.vertices)
    np.testing.assert_allclose(np.asarray(cloth.blend.sum(1)).ravel(), 1, atol=1e-5)
    assert cloth.blend.shape == (len(cloth.points), len(human.vertices))
    assert keep(cloth.garment, cloth.canon).min() > -0.25  # at the hem or inside (the line is curved)
    assert cloth.hem.min() > -1e-4
    np.testing.assert_allclose(cloth.blend @ human.vertices, cloth.canon, atol=1e-4)
    off = np.linalg.norm(cloth.points - cloth.canon, axis=1)
    assert 0.03 < np.median(off) < (2.5 if kind == "skirt" else 0.8)
    assert cloth.faces.max() < len(cloth.points)
    close = pattern("skirt" if kind == "skirt" else "tights")
    assert len(cloth.faces) < len(close.faces)


def test_cut_of_a_plane():
    human = people()
    cloth = tailor(Garment("shirt", GREY), human, human.vertices)
    half = cut(cloth, lambda canon: canon[:, 1] - 3.0)
    assert half.canon[:, 1].min() == pytest.approx(3.0, abs=1e-4)
    other = cut(cloth, lambda canon: 3.0 - canon[:, 1])
    assert areas(half.canon, half.faces).sum() + areas(other.canon, other.faces).sum() == pytest.approx(
        areas(cloth.canon, cloth.faces).sum(), rel=1e-5
    )


def test_folds_come_from_the_seed_and_can_be_off():
    human = people()
    flat = tailor(Garment("shirt", GREY, folds=0.0), human, human.vertices)
    assert not flat.fold.any()
    one, two = (tailor(Garment("shirt", GREY, seed=k), human, human.vertices) for k in (1, 2))
    assert np.array_equal(one.points, tailor(Garment("shirt", GREY, seed=1), human, human.vertices).points)
    assert not np.array_equal(one.points, two.points)
    assert 0.02 < np.ptp(one.fold) < 0.5
