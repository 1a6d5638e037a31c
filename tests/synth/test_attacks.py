from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.attacks import (
    SPECIES,
    MaskAttack,
    PrintAttack,
    ScreenAttack,
    face_box,
    live_scene,
    present,
    sample_attack,
)
from mien.synth.looks import sample_shot
from mien.synth.sensors import REFLECTANCE, Sensor, plane_residual

from .made import head, person

SIZE = 64
SHOT = sample_shot(4)


@lru_cache(None)
def presented(species):
    return present(3, species, SIZE, 5)


def shown(attack, seed=1):
    """An instrument with the face of person 2 before person 1."""
    return attack.scene(head(1), head(2), SHOT, seed)


def range_of(material):
    low, high = REFLECTANCE[material]
    return pytest.approx(0.5 * (low + high), abs=0.5 * (high - low) + 1e-9)


@pytest.mark.parametrize("species", ["live", *SPECIES])
def test_every_species_gives_coherent_maps(species):
    scene = presented(species)
    assert scene.species == species
    assert scene.rgb.shape == (SIZE, SIZE, 3)
    assert scene.rgb.min() >= 0
    assert scene.rgb.max() <= 1
    for name in ("depth", "rho", "gloss", "scatter", "face"):
        assert getattr(scene, name).shape == (SIZE, SIZE), name
    assert 0.1 < scene.face.mean() < 0.7
    assert np.isfinite(scene.depth[scene.face]).all()
    assert (scene.depth[np.isfinite(scene.depth)] > 0.1).all()
    assert (scene.rho > 0).all()
    assert (scene.rho < 1.1).all()
    assert (scene.gloss >= 0).all()
    assert (scene.scatter >= 0).all()
    left, top, right, bottom = face_box(scene)
    assert 0 <= left < right <= SIZE
    assert 0 <= top < bottom <= SIZE
    assert scene.face[top:bottom, left:right].sum() == scene.face.sum()
    got = Sensor().capture(scene, 0)
    assert got.rgb[scene.face].std() > 5
    assert got.ir[scene.face].mean() > 0.02


def test_same_seed_same_scene():
    again = present(3, "print_bent", SIZE, 5)
    for name in ("rgb", "depth", "rho", "gloss", "face"):
        assert np.array_equal(getattr(again, name), getattr(presented("print_bent"), name)), name
    assert not np.array_equal(present(3, "print_bent", SIZE, 6).rgb, again.rgb)


def test_flat_prints_and_screens_are_planes_and_heads_are_not():
    for species in ("print_flat", "replay"):
        scene = presented(species)
        assert plane_residual(scene.depth, scene.face) < 1e-12
    assert 1e-4 < plane_residual(presented("print_bent").depth, presented("print_bent").face) < 0.01
    for species in ("live", "mask_plaster", "mask_silicone", "mask_paper"):
        scene = presented(species)
        assert plane_residual(scene.depth, scene.face) > 0.015, species


@pytest.mark.parametrize("radius", [0.1, 0.3])
def test_a_bent_print_is_a_cylinder_of_its_radius(radius):
    """Same seed: bent minus flat is x'^2 / (2 R), one principal curvature 1 / R, the other 0."""
    flat, bent = (shown(PrintAttack(k, crop=1.7, radius=radius)).depth for k in ("flat", "bent"))
    bow = (bent - flat)[8:-8, 8:-8]
    z0 = float(flat[31:33, 31:33].mean())
    pixel = z0 / head(1).focal
    xx = (bow[1:-1, 2:] - 2 * bow[1:-1, 1:-1] + bow[1:-1, :-2]) / pixel**2
    yy = (bow[2:, 1:-1] - 2 * bow[1:-1, 1:-1] + bow[:-2, 1:-1]) / pixel**2
    xy = (bow[2:, 2:] - bow[2:, :-2] - bow[:-2, 2:] + bow[:-2, :-2]) / (4 * pixel**2)
    np.testing.assert_allclose(xx + yy, 1 / radius, rtol=2e-3)
    np.testing.assert_allclose(xx * yy - xy**2, 0, atol=1e-2 / radius**2)
    assert np.abs(bow).min() < 1e-4
    assert bow.min() > -1e-12


def test_ink_in_infrared():
    """Dye almost vanishes in infrared, toner stays dark where the picture is."""
    dye, carbon = (shown(PrintAttack("flat", ink, crop=1.7)).rho for ink in ("dye", "carbon"))
    assert np.ptp(dye) < 0.11 < 0.3 < np.ptp(carbon)
    assert dye.max() == range_of("paper")
    assert carbon.min() < 0.4


def test_cut_prints_show_the_attackers_own_eyes_behind_the_paper():
    flat = shown(PrintAttack("flat", crop=1.7))
    cut = shown(PrintAttack("cut", crop=1.7, holes=("eyes", "mouth")))
    hole = cut.depth != flat.depth
    assert 0.01 < hole.mean() < 0.3
    live = live_scene(head(1), 1)
    assert np.array_equal(cut.depth[hole], live.depth[hole])
    assert (cut.depth[hole] > flat.depth[hole] - 0.02).mean() > 0.9  # behind it
    for group in (range(36, 42), range(42, 48), range(60, 68)):  # the middle of eyes and mouth
        x, y, _ = head(1).landmarks[list(group)].mean(0)
        assert hole[int(y), int(x)], group
    x, y, _ = head(1).landmarks[30]
    assert not hole[int(y), int(x)]  # the nose was not cut out


def test_a_screen_is_dark_in_infrared_but_for_a_glint():
    scene = shown(ScreenAttack(crop=1.7))
    assert scene.rho.max() == range_of("screen")
    assert np.ptp(scene.rho) < 1e-9
    assert scene.gloss.max() > 0.05
    assert np.median(scene.gloss) < 0.5 * scene.gloss.max()


def test_paper_smaller_than_the_picture_has_a_border():
    small, large = (shown(PrintAttack("flat", crop=c)) for c in (0.75, 1.7))
    live = live_scene(head(1), 1)
    outside = small.depth == live.depth
    assert 0.1 < outside.mean() < 0.8
    assert np.array_equal(small.rho[outside], live.rho[outside])
    assert not (large.depth == live.depth).any()


@pytest.mark.parametrize("kind", ["resin", "silicone"])
def test_masks_keep_the_attackers_eyes_and_hair(kind):
    scene = MaskAttack(kind).scene(person(1), person(2), SHOT, SIZE, 3)
    skin_like = scene.rho[scene.face]
    low, high = REFLECTANCE[kind]
    assert np.median(skin_like) == pytest.approx(0.5 * (low + high), abs=0.5 * (high - low) + 0.06)
    assert scene.species == f"mask_{kind}"
    soft = scene.scatter[scene.face]
    assert (np.median(soft) > 0) == (kind == "silicone")


def test_live_skin_hardly_depends_on_complexion_in_infrared():
    for identity in (1, 2, 12):
        scene = live_scene(head(identity), 0)
        own = head(identity).part == 1
        assert scene.rho[own].mean() == range_of("skin")
        assert scene.rho[own].std() / scene.rho[own].mean() < 0.1
        assert (scene.scatter[own] > 0).all()
        assert not scene.scatter[head(identity).part == 0].any()
        hair = head(identity).part >= 7
        if hair.any():
            assert scene.rho[hair].max() == range_of("hair")


def test_instruments_are_drawn_from_their_seed():
    for species in SPECIES:
        assert sample_attack(species, 1) == sample_attack(species, 1)
    drawn = [sample_attack("print_cut", k) for k in range(40)]
    assert {a.ink for a in drawn} == {"carbon", "dye"}
    assert {len(a.holes) for a in drawn} == {1, 2, 3}
    assert {a.crop > 1.5 for a in drawn} == {True, False}  # a border is no give-away
    kinds = {type(sample_attack(s, 0)).__name__ for s in SPECIES}
    assert kinds == {"PrintAttack", "ScreenAttack", "MaskAttack"}


def test_unknown_species_and_settings_are_refused():
    for species in ("print_round", "mask_wood", "video", ""):
        with pytest.raises(ConfigError, match=rf"species '{species}' is none of live, print_flat"):
            present(0, species, 32, 0)
    with pytest.raises(ConfigError, match=r"mask 'wood' is none of paper, plaster"):
        MaskAttack("wood")
    for bad in ({"kind": "round"}, {"radius": 0.0}, {"holes": ("ears",)}):
        with pytest.raises(ConfigError, match=r"print: kind="):
            PrintAttack(**bad)
