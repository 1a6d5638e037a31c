"""The demo on capsules, with the given body for a surface: what it makes, shows and writes."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mien.core.config import evolve_all
from mien.data.config import ClothedData
from mien.data.video import read_video
from mien.engine.checkpoint import save_weights
from mien.engine.folder import ModelFolder
from mien.methods.car import config, demo
from mien.methods.car.avatar import load_avatar
from mien.methods.car.evaluate import restore
from mien.methods.car.net import CarNet
from mien.methods.car.reconstruct import AvatarReconstructor, Coarse
from mien.methods.car.texture import Source
from mien.synth.clothed_people import capsule_person
from mien.synth.clothed_set import CapsuleSet
from tests.render.test_skinned import Read

SETTINGS = CapsuleSet(identities=4, per_identity=2, size=64, unseen=1)


class OfBody(AvatarReconstructor):
    """Its nets have learnt nothing: the surface is the body, unrefined."""

    def reconstruct(self, *given, **options):
        return super().reconstruct(*given, **{**options, "refine": False})

    def coarse(self, maps, body, resolution=None):
        return Coarse(body.vertices, body.faces, body.weights, body.posed(), 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    recipe = evolve_all(config.RECIPES["debug"](), {"data.size": 64})
    net = CarNet(recipe.method, 15)
    path = tmp_path_factory.mktemp("model")
    save_weights(net, path / "weights.safetensors")
    return ModelFolder(path, "car", recipe, {"joints": 15})


def of_body(folder):
    return OfBody(restore(folder).net, folder.recipe.data.size)


@pytest.fixture
def short(folder, monkeypatch):
    """The demo with that model, small pictures and few frames."""
    monkeypatch.setattr(demo, "load_folder", lambda name: folder)
    monkeypatch.setattr(demo, "restore", of_body)
    changes = {"SETTINGS": SETTINGS, "PERSON": 3, "RESOLUTION": 16, "FRAMES": 3, "SIDE": 32}
    for name, value in changes.items():
        monkeypatch.setattr(demo, name, value)


def test_the_person_is_unseen_and_behind_those_of_training():
    data = ClothedData()
    assert data.people + data.val_people + data.test_people < demo.PERSON
    assert demo.SETTINGS.is_unseen(demo.PERSON)
    assert demo.SETTINGS.seed == data.set_seed
    assert demo.SETTINGS.size == data.size


def test_a_made_case_has_joints_that_carry_the_body():
    case = demo.made_case(SETTINGS, 3)
    person = capsule_person(SETTINGS.who(3), SETTINGS.shape_noise, unseen=True)
    np.testing.assert_allclose(case.body.joints, person.given_heads, atol=1e-6)
    moves, joints = case.body.transforms, case.body.joints
    for j, parent in enumerate(case.body.parents):
        if parent >= 0:  # a joint is where its own and its parent's bone meet
            own, up = (moves[k, :3, :3] @ joints[j] + moves[k, :3, 3] for k in (j, parent))
            torch.testing.assert_close(own, up, atol=1e-5, rtol=0)
    np.testing.assert_allclose(case.canonical.vertices, person.points, atol=1e-6)
    assert case.mask.any()


def test_the_avatar_walks_in_two_views(folder):
    case = demo.made_case(SETTINGS, 3)
    found = of_body(folder).reconstruct(case.image, case.mask, case.body)
    walk = demo.walking(found, 4)
    assert len(walk.frames) == 4
    pictures = demo.walk_pictures(found, walk)
    assert len(pictures) == 4 * demo.CYCLES
    assert pictures[0].shape == (demo.SIDE + 2, 2 * (demo.SIDE + 2), 3)
    assert (pictures[0] != pictures[2]).any()
    np.testing.assert_array_equal(pictures[0], pictures[4])


def test_every_source_has_a_name_and_a_colour_of_its_own():
    assert list(demo.SOURCES) == list(Source)
    assert len({color for _, color in demo.SOURCES.values()}) == len(Source)


def test_the_whole_demo(short, folder, tmp_path):
    result = demo.demo(tmp_path, [])
    assert list(result.headline) == [
        "chamfer_cm", "front_angle_coarse", "front_angle_refined", "seconds", "triangles", "watertight",
    ]  # fmt: skip
    assert result.headline["chamfer_cm"] > 0
    assert result.inputs == (folder.weights,)
    names = ["avatar.glb", "avatar.safetensors", "sheet.png", "walk.mp4"]
    assert [f.relative_to(tmp_path).as_posix() for f in result.files] == [f"car/{n}" for n in names]
    read = Read(result.files[0])
    assert [a.name for a in read.file.animations] == ["photo", "walk"]
    own = load_avatar(result.files[1])
    assert len(own.faces) == result.headline["triangles"]
    with Image.open(result.files[2]) as sheet:
        assert sheet.size[0] > 400
    assert len(list(read_video(result.files[3]))) == 3 * demo.CYCLES
    assert result.html.count("<video") == 1
    assert result.html.count("<canvas") == 1
    for said in ("Chamfer distance, cm", "seconds: normals", "watertight", "consent"):
        assert said in result.html
    assert "http" not in result.html


def test_the_users_pictures_go_to_the_predictor(short, folder, tmp_path, monkeypatch):
    picture = tmp_path / "views.png"
    Image.new("RGB", (4, 4)).save(picture)
    asked = []

    class Predictor:
        @classmethod
        def from_folder(cls, own):
            asked.append(own)
            return cls()

        def predict(self, *paths, options):
            asked.extend([paths, options])
            good = SimpleNamespace(status="ok", files=(str(picture),))
            return [good, SimpleNamespace(status="no_person", files=())]

    monkeypatch.setitem(sys.modules, "mien.methods.car.predict", SimpleNamespace(Predictor=Predictor))
    monkeypatch.setattr(config, "PredictOptions", SimpleNamespace, raising=False)
    paths = [tmp_path / "me<.png", tmp_path / "flat.png"]
    result = demo.demo(tmp_path / "out", paths)
    assert asked == [folder, tuple(map(str, paths)), SimpleNamespace(output=str(tmp_path / "out" / "car"))]
    assert result.headline == {"pictures": 2, "status": "no_person"}
    assert result.inputs == tuple(paths)
    assert result.files == (picture,)
    assert "me&lt;.png: <b class=good>ok</b>" in result.html
    assert "flat.png: <b class=bad>no_person</b>" in result.html
    assert result.html.count("<img") == 1
