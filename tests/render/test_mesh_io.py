from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError, LimitError
from mien.render import load_mesh, save_mesh
from tests.render.meshes import icosphere


def example():
    points, faces = icosphere(torch.float32, 2)
    colors = 0.5 * (1 + points)
    return 0.3 * points + 1, faces, colors


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
def test_round_trip_keeps_order_and_colours(kind, tmp_path):
    vertices, faces, colors = example()
    path = save_mesh(tmp_path / "deep" / f"ball.{kind}", vertices, faces, colors=colors)
    mesh = load_mesh(path)
    np.testing.assert_allclose(mesh.vertices, vertices, atol=1e-7)
    assert np.array_equal(mesh.faces, faces)
    np.testing.assert_allclose(mesh.colors, colors, atol=1 / 200)
    assert (mesh.vertices.dtype, mesh.faces.dtype, mesh.colors.dtype) == (np.float32, np.int32, np.float32)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
def test_without_colours_and_with_gradients(kind, tmp_path):
    vertices, faces, _ = example()
    mesh = load_mesh(save_mesh(tmp_path / f"ball.{kind}", vertices.requires_grad_(), faces))
    assert mesh.colors is None
    assert np.array_equal(mesh.faces, faces)


def test_files_of_other_programs(tmp_path):
    """Quads, negative indices, a material that is not there."""
    path = tmp_path / "quad.OBJ"
    path.write_text(
        "mtllib missing.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nusemtl x\nf 1 2 3 4\nf -4 -3 -2\n"
    )
    mesh = load_mesh(path)
    assert mesh.vertices.shape == (4, 3)
    assert mesh.faces.shape == (3, 3)
    path = tmp_path / "tri.ply"
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    )
    assert load_mesh(path).faces.tolist() == [[0, 1, 2]]


def glb(content):
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


HOSTILE = {
    "empty.obj": b"",
    "empty.ply": b"",
    "empty.glb": b"",
    "noise.glb": bytes(range(256)) * 4,
    "noise.ply": b"ply\nformat ascii 1.0\nelement vertex 99999999999\nproperty float x\nend_header\n",
    "range.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    "points.obj": b"v 0 0 0\nv 1 0 0\n",
    "nan.obj": b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "outside.glb": glb(
        {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
            "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
            "bufferViews": [{"buffer": 0, "byteLength": 36}],
            "buffers": [{"uri": "/etc/passwd", "byteLength": 36}],
        }
    ),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
@pytest.mark.filterwarnings("ignore")
def test_damaged_and_hostile_files_are_one_line(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    with pytest.raises(DataError, match=name):
        load_mesh(path)


def test_missing_large_or_of_another_kind(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="cannot read"):
        load_mesh(tmp_path / "none.ply")
    with pytest.raises(ConfigError, match=r"end in \.obj, \.ply, \.glb"):
        load_mesh(tmp_path / "x.stl")
    path = save_mesh(tmp_path / "ball.ply", *example()[:2])
    monkeypatch.setenv("MIEN_MAX_ARRAY_BYTES", "100")
    with pytest.raises(LimitError, match="MIEN_MAX_ARRAY_BYTES"):
        load_mesh(path)


def test_a_failed_write_leaves_the_former_file(tmp_path, monkeypatch):
    vertices, faces, _ = example()
    path = save_mesh(tmp_path / "ball.ply", vertices, faces)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="out of range"):
        save_mesh(path, vertices, faces + 1)
    assert path.read_bytes() == before


def test_wrong_input_says_so(tmp_path):
    vertices, faces, colors = example()
    for args, kwargs, text in (
        ((vertices[:, :2], faces), {}, r"vertices \(V, 3\)"),
        ((vertices, faces.float()), {}, "integers"),
        ((vertices / 0, faces), {}, "not finite"),
        ((vertices, faces), {"colors": colors[:3]}, "colors must be"),
        ((vertices, faces), {"colors": (255 * colors).byte()}, "colors must be"),
    ):
        with pytest.raises(ConfigError, match=text):
            save_mesh(tmp_path / "x.obj", *args, **kwargs)


def test_a_glb_is_matte_and_its_colours_are_not_lost(tmp_path):
    """Without a material glTF means metal, which viewers without surroundings draw nearly black."""
    import json
    import struct

    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    colours = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0.5]], np.float32)
    path = save_mesh(tmp_path / "m.glb", corners, [[0, 1, 2]], colors=colours)
    data = path.read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    tree = json.loads(data[20 : 20 + length])
    assert tree["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert tree["meshes"][0]["primitives"][0]["material"] == 0
    assert "COLOR_0" in tree["meshes"][0]["primitives"][0]["attributes"]
    np.testing.assert_allclose(load_mesh(path).colors, colours, atol=0.003)
