"""A photograph taken apart: what is answered, drawn, written, and said when there is nothing to see."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.cli.main import main
from mien.core import catalogue
from mien.core.errors import ConfigError, DataError
from mien.core.images import read_image
from mien.data.face_detector import FoundFace
from mien.engine import zoo
from mien.methods.igc_net import photos, predict
from mien.methods.igc_net.options import InspectOptions, PredictOptions
from mien.methods.igc_net.photos import look_at
from mien.methods.igc_net.predict import FaceResult, Predictor
from mien.render.mesh_io import load_mesh
from tests.methods.igc_net.faces import made, tiny_folder

ALL = ("sheet.png", "drawn.png", "parts.png", "depth.png", "normals.png", "albedo.png")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor.from_folder(tiny_folder(tmp_path_factory.mktemp("model")))


@pytest.fixture
def photo(tmp_path):
    """A made face as a file, enlarged."""
    Image.fromarray(made().pictures[0]).resize((96, 96)).save(tmp_path / "me.png")
    return str(tmp_path / "me.png")


def names(result):
    return [Path(f).name for f in result.files]


def test_without_an_output_nothing_is_written(predictor, photo, tmp_path):
    (result,) = predictor.predict(photo)
    own = predictor.capsules(photo)
    assert result.files == ()
    assert result.view == pytest.approx(np.degrees(own.object.view[0, :3].numpy()), abs=0.01)
    assert len(result.parts) == 3
    assert result.error > 0
    assert own.segmentation.shape == (32, 32)
    assert torch.equal(torch.from_numpy(own.segmentation), own.shown.visibility[0].argmax(0))


def test_everything_is_written(predictor, photo, tmp_path):
    other = tmp_path / "other.png"
    Image.fromarray(made().pictures[-1]).save(other)
    options = PredictOptions(
        light=(40, 10), yaw=(-30, 0, 30), swap=str(other), part=1, explode=True, mesh="ply",
        output=str(tmp_path / "out"),
    )  # fmt: skip
    (result,) = predictor.predict(photo, options=options)
    found = names(result)
    assert {*ALL, "swapped.png", "relit.png", "turned.png", "face.ply", "exploded.ply"} <= set(found)
    assert read_image(tmp_path / "out/turned.png").shape == (32, 96, 3)
    assert len(load_mesh(tmp_path / "out/face.ply").faces)
    assert all(Path(f).is_file() for f in result.files)


def test_several_photographs_have_a_folder_each(predictor, photo, tmp_path):
    options = PredictOptions(output=str(tmp_path / "o"))
    results = predictor.predict(photo, made().pictures[1], options=options)
    assert [Path(r.files[0]).parent.name for r in results] == ["000", "001"]


def test_inputs_of_any_kind_are_the_same_picture(predictor, photo):
    image = np.asarray(Image.open(photo))
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
    kinds = (photo, Path(photo).read_bytes(), Image.open(photo), image, tensor)
    assert len({r.view for r in predictor.predict(*kinds)}) == 1


def test_what_shows_no_face(predictor, tmp_path):
    flat, tiny = np.full((64, 64, 3), 90, np.uint8), made().pictures[0][:12, :12]
    assert predictor.predict(flat, tiny) == [
        FaceResult("no_face", note="the picture shows nothing"),
        FaceResult("too_small", note="the head has 12 pixels, the net sees 32"),
    ]
    with pytest.raises(DataError, match="no_face: the picture shows nothing; give a picture of a face"):
        predictor.capsules(flat)


def test_grey_and_collapsed_are_said(predictor, monkeypatch):
    grey = made().pictures[0].mean(2).astype(np.uint8)
    (result,) = predictor.predict(grey)
    assert (result.status, result.note) == ("ok", "grey picture")
    monkeypatch.setattr(predict, "MOST_AREA", 0.1)
    (result,) = predictor.predict(grey)
    assert result.status == "collapsed"
    assert re.search(r"the foreground is \d+ % of the picture; a plain background helps", result.note)


def test_the_largest_of_several_faces_is_taken(monkeypatch):
    box = np.array([40.0, 30, 60, 50])
    monkeypatch.setattr(photos, "find_faces", lambda pictures: [FoundFace(2, box, np.zeros((5, 2)))])
    picture = np.random.default_rng(0).integers(0, 255, (100, 120, 3)).astype(np.uint8)
    found = look_at(picture, 32, detector="mediapipe")
    assert found.notes[0] == "2 faces, the largest was taken"
    assert np.array_equal(found.crop, look_at(picture, 32, (40, 30, 60, 50)).crop)
    nobody = FoundFace(0, np.full(4, np.nan), np.full((5, 2), np.nan))
    monkeypatch.setattr(photos, "find_faces", lambda pictures: [nobody])
    assert look_at(picture, 32, detector="mediapipe").status == "no_face"


def test_the_square_of_a_made_picture_is_about_that_picture():
    """Brows to chin of frontal made people, from their landmarks: eyes and mouth tell the height."""
    marks = made().landmarks[np.abs(made().yaw) < 15]
    eyes, mouth = marks[:, :2, 1].mean(), marks[:, 3:, 1].mean()
    height = (mouth - eyes) * 2  # brows lie a quarter of it above the eyes, the chin under the mouth
    middle = eyes - 0.25 * height + height / 2
    assert photos.FACE_SIDE * height == pytest.approx(32, rel=0.15)
    assert middle - photos.FACE_RISE * height == pytest.approx(15.5, abs=2.5)


@pytest.mark.parametrize(
    ("options", "count", "text"),
    [
        ({}, 0, "no input; give a photograph"),
        ({"swap": "a.png"}, 1, "--swap PICTURE and --part NUMBER belong together"),
        ({"box": (1, 2, 3, 4)}, 2, "--box and --swap belong to one photograph, 2 are given"),
        ({"swap": "a.png", "part": 3, "output": "o"}, 1, r"--part 3: there are parts 0 \.\. 2"),
        ({"explode": True}, 1, "say where: --output DIR"),
    ],
)
def test_flags_that_do_not_go_together(predictor, options, count, text):
    with pytest.raises(ConfigError, match=text):
        predictor.predict(*[made().pictures[0]] * count, options=PredictOptions(**options))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"light": (1.0,)}, r"--light 1\.0: give two numbers"),
        ({"yaw": (90.0,)}, r"yaw=90\.0 is outside"),
        ({"box": (1, 2)}, "give left, top, right and bottom"),
        ({"part": -1}, "part=-1 is outside"),
    ],
)
def test_flags_out_of_range(options, text):
    with pytest.raises(ConfigError, match=text):
        PredictOptions(**options)
    with pytest.raises(ConfigError, match="pictures=1 is outside"):
        InspectOptions(pictures=1)


def test_the_verb(predictor, photo, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(zoo, "load_folder_of", lambda method, name: predictor.folder)
    out = str(tmp_path / "out")
    argv = ["predict", "igc_net", photo, "--yaw", "20", "--output", out, "--json"]
    assert main(argv) == 0
    (item,) = json.loads(capsys.readouterr().out)["result"]["items"]
    assert item["status"] == "ok"
    assert "turned.png" in [Path(f).name for f in item["files"]]
    assert main(["predict", "igc_net", photo, "--light", "1"]) == 2
    assert "give two numbers" in capsys.readouterr().err
    assert catalogue.method("igc_net").package == "mien.methods.igc_net"
