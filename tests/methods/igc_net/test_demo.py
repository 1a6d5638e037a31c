"""Demo, pictures and inspection of a net that has learnt nothing."""

import numpy as np
import pytest
import torch
from PIL import Image

from mien.methods.igc_net import demo
from mien.methods.igc_net.edits import assembly_of, one_of, swap_part
from mien.methods.igc_net.inspection import inspect, swap_matrix
from mien.methods.igc_net.meshes import to_mesh
from mien.methods.igc_net.options import InspectOptions
from mien.methods.igc_net.pictures import (
    COLOURS,
    COLUMNS,
    depth_picture,
    face_row,
    mesh_picture,
    normal_picture,
    parts_picture,
)
from tests.methods.igc_net.faces import made, some_images, tiny_folder, tiny_net


@pytest.fixture
def short(tmp_path_factory, monkeypatch):
    folder = tiny_folder(tmp_path_factory.mktemp("model"))
    monkeypatch.setattr(demo, "load_folder", lambda name: folder)
    monkeypatch.setattr(demo, "PEOPLE", 2)
    return folder


def test_the_whole_demo(short, tmp_path):
    result = demo.demo(tmp_path, [])
    assert list(result.headline) == ["side", "mad", "iou", "yaw"]
    assert [f.name for f in result.files] == ["sheet.png", "rendered_exploded.glb", "real_exploded.glb"]
    assert all(f.is_file() for f in result.files)
    assert result.inputs == (short.weights,)
    assert result.html.count("<canvas") == 2
    again = demo.demo(tmp_path / "again", [])
    assert again.headline == result.headline
    assert again.files[0].read_bytes() == result.files[0].read_bytes()


def test_the_users_photographs_instead(short, tmp_path):
    paths = [tmp_path / "a<.png", tmp_path / "flat.png"]
    Image.fromarray(made().pictures[0]).resize((64, 64)).save(paths[0])
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(paths[1])
    result = demo.demo(tmp_path / "out", paths)
    assert result.headline == {"photographs": 2, "status": "no_face", "view": []}
    assert "a&lt;.png: <b class=good>ok</b>" in result.html
    assert any(f.name == "exploded.glb" for f in result.files)


def test_people_of_the_demo_have_all_truth(monkeypatch):
    monkeypatch.setattr(demo, "PEOPLE", 1)
    faces = demo.rendered_faces(32)
    assert faces.pictures.shape == (5, 32, 32, 3)
    assert (faces.depth > 0).any((1, 2)).all()
    assert faces.identity.tolist() == [0] * 5


def test_the_photograph_is_a_face():
    assert demo.astronaut(32).shape == (32, 32, 3)


def test_labels_have_colours_and_the_background_its_own():
    drawn = parts_picture(np.array([[0, 1], [9, 10]]))
    assert (drawn[0, 0] == COLOURS[0]).all()
    assert (drawn[0, 1] == drawn[1, 1]).all()  # from part 10 on again
    assert (drawn[1, 0] == COLOURS[9]).all()


def test_what_is_near_is_bright_and_what_is_not_there_white():
    depth = torch.tensor([[0.9, 1.0], [1.1, 0.5]])
    there = torch.tensor([[True, True], [True, False]])
    drawn = depth_picture(depth, there)[..., 0]
    assert drawn[0, 0] > drawn[0, 1] > drawn[1, 0]
    assert drawn[1, 1] == 255
    assert (depth_picture(depth, torch.zeros(2, 2)) == 255).all()
    normal = torch.tensor([0.0, 0, 1]).expand(2, 2, 3)
    assert normal_picture(normal, there)[0, 0].tolist() == [127, 127, 255]


def test_a_row_has_a_picture_for_each_column():
    net = tiny_net()
    obj = one_of(net.encode(some_images()), 1)
    row = face_row(net, made().pictures[1], obj)
    assert len(row) == len(COLUMNS)
    assert all(p.shape == (32, 32, 3) and p.dtype == np.uint8 for p in row)
    drawn = mesh_picture(to_mesh(obj), 48)
    assert drawn.shape == (48, 48, 3)
    assert (drawn < 250).any()
    assert (drawn[0, 0] == 255).all()


def test_swaps_by_a_slow_twin():
    net = tiny_net()
    obj = net.encode(some_images(3))
    found = swap_matrix(net, obj)
    assert found.shape == (3, 4)
    before = net.render(obj)
    won, total, count = before.visibility.argmax(1), 0.0, 0
    for k in range(3):
        other = one_of(obj, (k + 1) % 3)
        after = net.render(swap_part(one_of(obj, k), other, 1, assembly_of(net)))
        own = won[k] == 2
        total += float((after.image[0] - before.image[k]).abs().mean(0)[own].sum())
        count += int(own.sum())
    assert found[1, 2] == pytest.approx(total / count if count else 0.0, abs=1e-5)


def test_inspection(tmp_path):
    found = inspect(tiny_folder(tmp_path), InspectOptions(pictures=4, output=str(tmp_path / "o")))
    assert found.facts["pictures"] == 4
    assert found.facts["collapsed"] is True
    assert [row["part"] for row in found.tables["parts"]] == [0, 1, 2]
    assert sum(row["share"] for row in found.tables["parts"]) <= 1.001
    assert found.files[0].is_file()
