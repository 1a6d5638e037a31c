from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mien.core.errors import ConfigError, ShapeError, WeightsError
from mien.methods.car.avatar import Avatar, load_avatar
from mien.render import Animation, load_mesh
from tests.methods.car.shapes import ellipsoid
from tests.render.test_skinned import Read

NAMES = ("hip", "chest", "head")


def turned(angle, axis=2):
    c, s = np.cos(angle), np.sin(angle)
    out = np.eye(3)
    i, j = [k for k in range(3) if k != axis]
    out[i, i], out[i, j], out[j, i], out[j, j] = c, -s, s, c
    return torch.tensor(out, dtype=torch.float32)


ROTATIONS = torch.stack([turned(0.3), turned(-0.5, 0), turned(0.8, 1)])
MOVE = torch.tensor([0.1, 0.9, -0.2])


def person(**changes):
    P, F = ellipsoid(2)
    B, S = ellipsoid(1, 0.9)
    t = (P[:, 1:2] / 1.4 + 0.5).clamp(0, 1)
    weights = torch.cat([(1 - 2 * t).clamp(min=0), 1 - (2 * t - 1).abs(), (2 * t - 1).clamp(min=0)], 1)
    held = {
        "canonical": P, "posed": P, "faces": F, "weights": weights,
        "joints": torch.tensor([[0.0, -0.6, 0], [0, 0, 0.02], [0, 0.5, 0]]),
        "parents": torch.tensor([-1, 0, 1], dtype=torch.int32), "transforms": torch.eye(4).repeat(3, 1, 1),
        "body": B, "body_faces": S, "colors": (P + 1) / 2,
        "provenance": torch.zeros(len(P), dtype=torch.uint8), "uncertainty": torch.rand(len(P)),
    }  # fmt: skip
    return Avatar(**{**held, **changes}, names=NAMES)


def posed_person():
    plain = person()
    transforms = plain.bone_transforms(ROTATIONS, MOVE)
    posed = torch.from_numpy(plain.repose(transforms).vertices)
    return replace(plain, transforms=transforms, posed=posed)


def test_the_worked_example_of_skinning():
    turn = turned(np.pi / 3)
    transform = torch.eye(4)
    pivot = torch.tensor([0.3, 0, 0])
    transform[:3, :3], transform[:3, 3] = turn, pivot - turn @ pivot
    own = replace(
        person(), canonical=torch.tensor([[0.5, 0.1, -0.05]] * 3), posed=torch.zeros(3, 3),
        faces=torch.tensor([[0, 1, 2]], dtype=torch.int32), weights=torch.tensor([[0.25, 0.75, 0]] * 3),
        colors=torch.zeros(3, 3), provenance=torch.zeros(3, dtype=torch.uint8), uncertainty=torch.zeros(3),
    )  # fmt: skip
    found = own.repose(torch.stack([torch.eye(4), transform, torch.eye(4)])).vertices
    np.testing.assert_allclose(found[0], [0.360048, 0.192404, -0.05], atol=1e-6)


def test_reposing_at_identity_and_in_the_picture_s_pose():
    own = posed_person()
    np.testing.assert_allclose(own.repose(torch.eye(4).repeat(3, 1, 1)).vertices, own.canonical, atol=1e-6)
    np.testing.assert_allclose(own.repose(own.transforms).vertices, own.posed, atol=1e-6)
    assert np.array_equal(own.mesh("posed").vertices, own.posed.numpy())
    motion = own.photo_motion()
    torch.testing.assert_close(motion.rotations[1], ROTATIONS, atol=1e-5, rtol=0)
    torch.testing.assert_close(motion.translations[1], MOVE, atol=1e-5, rtol=0)
    with pytest.raises(ShapeError, match=r"\(3, 4, 4\), got \(2, 4, 4\)"):
        own.repose(own.transforms[:2])


def test_a_glb_takes_the_picture_s_pose_in_a_viewer(tmp_path):
    own = posed_person()
    wave = Animation([0.0, 0.5], own.photo_motion().rotations)
    read = Read(own.export(tmp_path / "me.glb", animations={"wave": wave}))
    np.testing.assert_allclose(read.skin(), own.canonical, atol=1e-6)
    np.testing.assert_allclose(read.skin(1), own.posed, atol=3e-6)
    assert [a.name for a in read.file.animations] == ["photo", "wave"]
    assert [n.name for n in read.file.nodes][:3] == list(NAMES)
    colors = read.array(read.file.meshes[0].primitives[0].attributes.COLOR_0)
    np.testing.assert_allclose(colors, own.mesh().colors, atol=1e-6)


@pytest.mark.parametrize(("name", "shape"), [("a.obj", "canonical"), ("a.ply", "posed"), ("a.glb", "posed")])
def test_plain_meshes(tmp_path, name, shape):
    own = posed_person()
    back = load_mesh(own.export(tmp_path / name, shape))
    np.testing.assert_allclose(back.vertices, own.mesh(shape).vertices, atol=1e-6)
    assert np.array_equal(back.faces, own.faces)
    np.testing.assert_allclose(back.colors, own.mesh().colors, atol=0.01)


def test_what_cannot_be_exported(tmp_path):
    with pytest.raises(ConfigError, match=r"written as \.obj, \.ply, \.glb"):
        person().export(tmp_path / "me.fbx")
    with pytest.raises(ConfigError, match=r"animations need a \.glb"):
        person().export(tmp_path / "me.obj", animations={"photo": person().photo_motion()})


def test_a_file_and_back(tmp_path):
    own = posed_person()
    back = load_avatar(own.save(tmp_path / "me.safetensors"))
    for name in ("canonical", "posed", "faces", "weights", "transforms", "body", "provenance", "uncertainty"):
        assert torch.equal(getattr(back, name), getattr(own, name))
    assert back.names == NAMES
    assert back.to("cpu").parents.tolist() == [-1, 0, 1]


def test_damaged_files_give_one_line(tmp_path):
    path = person().save(tmp_path / "me.safetensors")
    tensors = load_file(path)
    note = {"clothed": '{"version": 1, "names": ["hip", "chest", "head"]}'}
    for changes, meta, match in (
        ({"weights": tensors["weights"] * 2}, note, "each vertex's must sum to 1"),
        ({"canonical": tensors["canonical"] / 0}, note, "canonical holds values that are no numbers"),
        ({"faces": tensors["faces"] + 1000}, note, r"faces points at vertices outside 0 \.\. 161"),
        ({"parents": torch.tensor([-1, 2, 1], dtype=torch.int32)}, note, "must come before their children"),
        ({"joints": tensors["joints"][:2]}, note, r"joints has the shape \(2, 3\), not \(3, 3\)"),
        ({"provenance": tensors["provenance"] + 4}, note, "provenance is 0 .. 3, got 4"),
        ({"colors": tensors["colors"].double()}, note, "colors is torch.float64"),
        ({}, {"clothed": '{"version": 2, "names": []}'}, "version 2, not 1; make it again"),
        ({}, None, "not a clothed avatar"),
    ):
        save_file({**tensors, **changes}, path, meta)
        with pytest.raises(WeightsError, match=match) as caught:
            load_avatar(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="no such file"):
        load_avatar(tmp_path / "none.safetensors")
