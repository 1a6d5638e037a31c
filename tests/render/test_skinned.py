from __future__ import annotations

import io

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError
from mien.render import Animation, load_mesh, save_skinned_glb
from mien.render.skinned import strongest

NAMES, PARENTS = ["hip", "spine", "head", "arm"], [-1, 0, 1, 1]
HEADS = np.array([[0, 0.9, 0], [0, 1.2, 0.01], [0, 1.5, 0], [0.2, 1.4, 0]], np.float32)
TYPES = {5126: np.float32, 5125: np.uint32, 5123: np.uint16}
WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def person(influences=4, seed=0):
    rng = np.random.default_rng(seed)
    ball = trimesh.creation.icosphere(subdivisions=2)
    vertices = (ball.vertices * [0.2, 0.8, 0.1] + [0, 1.0, 0]).astype(np.float32)
    weights = rng.random((len(vertices), len(NAMES)))
    order = np.argsort(weights, 1)
    np.put_along_axis(weights, order[:, : len(NAMES) - influences], 0, 1)
    return vertices, ball.faces.astype(np.int32), weights / weights.sum(1, keepdims=True)


def motion(count=5, seed=1):
    turns = Rotation.random(count * len(NAMES), rng=np.random.default_rng(seed)).as_matrix()
    moves = np.random.default_rng(seed).normal(size=(count, 3))
    return Animation(np.arange(count) / 24, turns.reshape(count, len(NAMES), 3, 3), moves)


def lbs(vertices, weights, turns, move):
    """Posed vertices from rotations about the joints' heads: v' = sum_j w_j (G_j v)."""
    world = []
    for j, p in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = turns[j], HEADS[j] - turns[j] @ HEADS[j]
        world.append(local if p < 0 else world[p] @ local)
    h = np.concatenate([vertices, np.ones((len(vertices), 1))], 1)
    return np.einsum("vj,jrc,vc->vr", weights, np.stack(world), h)[:, :3] + move


class Read:
    """A GLB read with nothing but the standard."""

    def __init__(self, path):
        self.file = pygltflib.GLTF2().load(str(path))
        self.blob = self.file.binary_blob()

    def array(self, index):
        a = self.file.accessors[index]
        view = self.file.bufferViews[a.bufferView]
        start = (view.byteOffset or 0) + (a.byteOffset or 0)
        assert start % 4 == 0
        flat = np.frombuffer(self.blob, TYPES[a.componentType], a.count * WIDTH[a.type], start)
        return flat.reshape(a.count, WIDTH[a.type])

    def skin(self, frame=None, animation=0):
        """Vertices as a viewer shows them, at a key of an animation or at rest."""
        nodes = self.file.nodes
        turns = [Rotation.from_quat(n.rotation or [0, 0, 0, 1]).as_matrix() for n in nodes]
        moves = [np.array(n.translation or [0, 0, 0], float) for n in nodes]
        if frame is not None:
            track = self.file.animations[animation]
            for channel in track.channels:
                value = self.array(track.samplers[channel.sampler].output)[frame]
                if channel.target.path == "rotation":
                    turns[channel.target.node] = Rotation.from_quat(value).as_matrix()
                else:
                    moves[channel.target.node] = value.astype(float)
        world = {}

        def visit(node, above):
            local = np.eye(4)
            local[:3, :3], local[:3, 3] = turns[node], moves[node]
            world[node] = above @ local
            for child in nodes[node].children or []:
                visit(child, world[node])

        for root in self.file.scenes[self.file.scene].nodes:
            visit(root, np.eye(4))
        skin = self.file.skins[0]
        inverse = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        joints = np.stack([world[n] @ i for n, i in zip(skin.joints, inverse, strict=True)])
        at = self.file.meshes[0].primitives[0].attributes
        v = np.concatenate([self.array(at.POSITION), np.ones((self.file.accessors[at.POSITION].count, 1))], 1)
        return np.einsum(
            "vk,vkrc,vc->vr", self.array(at.WEIGHTS_0), joints[self.array(at.JOINTS_0).astype(int)], v
        )[:, :3]


def save(path, influences=4, **kwargs):
    vertices, faces, weights = person(influences)
    given = {"names": NAMES, "parents": PARENTS, "heads": HEADS, "weights": weights, **kwargs}
    return save_skinned_glb(path, vertices, faces, **given)


@pytest.mark.parametrize("influences", [1, 3, 4])
def test_skinning_from_the_file_equals_ours(tmp_path, influences):
    vertices, faces, weights = person(influences)
    move = motion()
    read = Read(save(tmp_path / "a.glb", influences, animations={"dance": move}))
    np.testing.assert_allclose(read.skin(), vertices, atol=1e-6)
    for k in range(5):
        expected = lbs(vertices, weights, move.rotations[k], move.translations[k])
        np.testing.assert_allclose(read.skin(k), expected, atol=3e-6)
    at = read.file.meshes[0].primitives[0]
    assert np.array_equal(read.array(at.indices).reshape(-1, 3), faces)
    np.testing.assert_allclose(read.array(at.attributes.WEIGHTS_0).sum(1), 1, atol=1e-6)
    assert [n.name for n in read.file.nodes][:4] == NAMES
    times = read.array(read.file.animations[0].samplers[0].input)[:, 0]
    np.testing.assert_allclose(times, move.times, atol=1e-6)


def test_quaternions_take_the_short_way(tmp_path):
    read = Read(save(tmp_path / "a.glb", animations={"a": motion(12)}))
    for sampler in read.file.animations[0].samplers[: len(NAMES)]:
        q = read.array(sampler.output)
        assert ((q[1:] * q[:-1]).sum(1) >= 0).all()


def test_more_than_four_influences_are_cut_and_renormalised():
    weights = np.array([[0.1, 0.3, 0.05, 0.25, 0.3]])
    bones, kept = strongest(weights)
    assert bones.tolist() == [[1, 4, 3, 0]]
    np.testing.assert_allclose(kept, np.array([[0.3, 0.3, 0.25, 0.1]]) / 0.95, rtol=1e-6)
    bones, kept = strongest([[0.0, 2.0]], [[7, 9]])
    assert bones.tolist() == [[9, 0, 0, 0]]
    assert kept.tolist() == [[1, 0, 0, 0]]


def test_the_shipped_human_within_a_millimetre(tmp_path):
    import torch

    from mien.synth.body import METRES, people

    body = people()
    heads = body.joints(body.vertices) * METRES
    rng = np.random.default_rng(0)
    turns = Rotation.from_rotvec(0.2 * rng.normal(size=(len(body.bones), 3))).as_matrix()
    path = save_skinned_glb(
        tmp_path / "human.glb",
        body.vertices * METRES,
        body.faces["body"],
        names=body.bones,
        parents=body.parents,
        heads=heads,
        weights=body.skin_weight,
        bones=body.skin_bone,
        animations={"pose": Animation([0.0], turns[None])},
    )
    posed = body.forward({}, pose=torch.tensor(turns, dtype=torch.float32)[None]).vertices[0].numpy()
    used = np.unique(body.faces["body"])
    gap = np.linalg.norm(Read(path).skin(0) - posed, axis=1)[used]
    four = (body.skin_weight[used] > 0).sum(1) <= 4
    assert gap[four].max() < 1e-4  # metres
    assert np.median(gap) < 1e-4
    assert gap.max() < 0.02


def test_texture_colours_and_other_readers(tmp_path):
    vertices, _, _ = person()
    uv = np.random.default_rng(0).random((len(vertices), 2)).astype(np.float32)
    texture = np.random.default_rng(0).integers(0, 256, (16, 8, 3), np.uint8)
    path = save(tmp_path / "a.glb", uv=uv, texture=texture, colors=np.full((len(vertices), 3), 0.25))
    read = Read(path)
    view = read.file.bufferViews[read.file.images[0].bufferView]
    png = read.blob[view.byteOffset : view.byteOffset + view.byteLength]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), texture)
    at = read.file.meshes[0].primitives[0].attributes
    np.testing.assert_allclose(read.array(at.TEXCOORD_0), uv * [1, -1] + [0, 1], atol=1e-6)
    assert (read.array(at.COLOR_0) == 0.25).all()
    assert np.array_equal(load_mesh(path).faces, person()[1])


def test_the_same_bytes_again(tmp_path):
    a, b = (save(tmp_path / f"{k}.glb", animations={"x": motion()}).read_bytes() for k in "ab")
    assert a == b


def test_wrong_input_says_so(tmp_path):
    vertices, _, weights = person()
    n = len(vertices)
    one = Animation([0.0], np.eye(3)[None, None].repeat(4, 1))
    for kwargs, text in (
        ({"parents": [-1, 0, 3, 1]}, r"joint 'head' has parent 3"),
        ({"heads": HEADS[:2]}, r"4 joints need"),
        ({"heads": HEADS * np.nan}, r"not finite"),
        ({"weights": weights[:5]}, r"weights must be \(162, 4\)"),
        ({"weights": -weights}, r"must not be negative"),
        ({"weights": weights * 0}, r"needs one above 0"),
        ({"weights": np.ones((n, 6))}, r"weights must be \(162, 4\)"),
        ({"weights": np.ones((n, 1)), "bones": np.full((n, 1), 4)}, r"bone 4 is out of range"),
        ({"bones": np.zeros((n, 2), int)}, r"bones must be"),
        ({"uv": np.zeros((3, 2))}, r"uv must be"),
        ({"texture": np.zeros((4, 4, 3), np.uint8)}, r"needs uv"),
        ({"uv": np.zeros((n, 2)), "texture": np.zeros((4, 4, 3))}, r"uint8"),
        ({"animations": {"x": Animation([0.0, 0.0], one.rotations.repeat(2, 0))}}, r"increase"),
        ({"animations": {"x": Animation([0.0, 1.0], one.rotations)}}, r"animation 'x': times"),
        ({"animations": {"x": Animation([0.0], one.rotations, np.zeros((2, 3)))}}, r"translations"),
    ):
        with pytest.raises(ConfigError, match=text):
            save(tmp_path / "a.glb", **kwargs)
    with pytest.raises(ConfigError, match=r"written as \.glb"):
        save(tmp_path / "a.obj")
    assert not list(tmp_path.iterdir())
