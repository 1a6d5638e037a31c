"""Bodies of users: what is refused, files, and what the picture shows of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import DataError, ShapeError
from mien.methods.car.bodies import BodyParams, body_of, load_body
from mien.render.normal_maps import normal_maps
from tests.methods.car.capsules import capsules, case

FIELDS = ("vertices", "faces", "weights", "joints", "transforms", "calib")


def body() -> BodyParams:
    return case().body


def moved(scale: float = 1.0, flip: float = 1.0) -> torch.Tensor:
    """Transforms of the body, one joint with another scale or mirrored."""
    out = body().transforms.clone()
    out[3, :3, :3] *= scale
    out[3, :3, 0] *= flip
    return out


def test_the_posed_body_is_that_of_the_set():
    test = capsules().test
    truth = torch.from_numpy(test.posed_body(0, 0)).float()
    assert torch.allclose(body().posed(), truth, atol=1e-5)
    box = truth @ body().calib[:3, :3].T + body().calib[:3, 3]
    assert torch.allclose(body().in_view(), box * torch.tensor([1.0, -1.0, 1.0]), atol=1e-5)


def test_maps_are_the_normals_and_depths_of_the_posed_body():
    own = body()
    front, back, depth = own.maps(32)
    drawn = normal_maps(own.in_view()[None], own.faces, 32, 32)
    assert torch.equal(front, drawn.front[0].permute(2, 0, 1))
    assert torch.equal(back, drawn.back[0].permute(2, 0, 1))
    assert torch.equal(depth.isfinite().all(0), drawn.mask[0])
    z = own.in_view()[:, 2]
    near, far = depth[:, drawn.mask[0]]
    assert (near >= far).all()
    assert float(near.max()) <= float(z.max())
    assert float(far.min()) >= float(z.min())


@pytest.mark.parametrize(
    ("name", "value", "error", "says"),
    [
        ("vertices", torch.zeros(1, 3), ShapeError, "weights are .* not \\(1, 15\\)"),
        ("vertices", torch.zeros(5), ShapeError, "vertices are \\(5,\\)"),
        ("joints", torch.zeros(14, 3), ShapeError, "joints are \\(14, 3\\), not \\(15, 3\\)"),
        ("joints", torch.full((15, 3), torch.nan), DataError, "joints hold values that are no numbers"),
        ("calib", torch.eye(3), ShapeError, "calib are"),
        ("parents", (0, 1), ShapeError, "2 parents"),
        ("transforms", moved(1.1), DataError, "no rotation"),
        ("transforms", moved(flip=-1.0), DataError, "mirrors"),
        ("faces", torch.tensor([[0, 1, 100_000]], dtype=torch.int32), DataError, "faces point at vertices"),
        ("faces", torch.tensor([[0, 1, -1]], dtype=torch.int32), DataError, "faces point at vertices"),
        ("weights", 0.5 * case().body.weights, DataError, "sum to 1"),
    ],
)  # fmt: skip
def test_bodies_that_are_none_are_refused(name, value, error, says):
    with pytest.raises(error, match=says) as found:
        replace(body(), **{name: value})
    assert "\n" not in str(found.value)


def test_rotations_may_be_as_inexact_as_files_are():
    loose = body().transforms.half().float()
    assert torch.equal(replace(body(), transforms=loose).transforms, loose)


def test_a_file_gives_the_same_body(tmp_path):
    path = body().save(tmp_path / "body.npz")
    again = load_body(path)
    assert all(torch.equal(getattr(again, name), getattr(body(), name)) for name in FIELDS)
    assert (again.parents, again.names) == (body().parents, body().names)
    assert [p.name for p in tmp_path.iterdir()] == ["body.npz"]


def test_arrays_of_other_types_are_taken():
    own = body()
    given = {name: getattr(own, name).double().numpy() for name in FIELDS}
    found = body_of(**given, parents=list(own.parents), names=list(own.names))
    assert found.faces.dtype == torch.int32
    assert torch.equal(found.vertices, own.vertices)


def test_files_that_hold_no_body(tmp_path):
    arrays = {name: getattr(body(), name).numpy() for name in FIELDS}
    named = {"parents": np.array(body().parents), "names": np.array(body().names)}
    written = {
        "short.npz": {**arrays, "parents": named["parents"]},
        "pickled.npz": {**arrays, "parents": named["parents"], "names": np.array([{}], dtype=object)},
        "unfit.npz": {**arrays, **named, "joints": np.zeros((2, 3))},
        "words.npz": {**arrays, **named, "joints": np.array([["a"] * 3] * 15)},
    }
    for file, table in written.items():
        np.savez(tmp_path / file, **table)
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "array.npy", np.zeros(3))
    says = {
        "short.npz": "no names in it",
        "pickled.npz": "not an npz of a fitted body",
        "unfit.npz": "joints are",
        "words.npz": "joints holds <U1, not numbers",
        "text.npz": "not an npz of a fitted body",
        "array.npy": "not an npz of a fitted body",
        "none.npz": "no such file",
    }
    for file, text in says.items():
        with pytest.raises((DataError, ShapeError), match=text) as error:
            load_body(tmp_path / file)
        assert "\n" not in str(error.value)
