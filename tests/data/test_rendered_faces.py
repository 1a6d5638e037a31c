"""Made people as a recognition set: disjoint identities, drawn once, at the template."""

from __future__ import annotations

import numpy as np

from mien.core import io
from mien.data import rendered_faces as module
from mien.data.rendered_faces import rendered_faces
from mien.render.alignment import TEMPLATE


def test_drawn_once_disjoint_and_aligned(monkeypatch):
    first = rendered_faces(3, 1, 2, per_identity=2, size=32, workers=1)
    assert [len(s) for s in (first.train, first.val, first.test)] == [6, 2, 4]
    assert first.train.images.shape == (6, 32, 32, 3)
    keys = np.concatenate([s.keys for s in (first.train, first.val, first.test)])
    assert len(np.unique(keys)) == 12
    assert first.train.targets.tolist() == [0, 0, 1, 1, 2, 2]
    target = (TEMPLATE + 0.5) * (32 / 112) - 0.5
    offset = np.abs(first.landmarks["train"] - target).max()
    assert offset < 4  # a similarity cannot match the nose of a turned head exactly
    assert list((io.home() / "data").glob("*.npz"))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(module, "make", never)
    again = rendered_faces(3, 1, 2, per_identity=2, size=32, workers=1)
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.test.images, first.test.images)


def test_other_settings_are_another_set():
    a = rendered_faces(1, 1, 1, per_identity=1, size=16, workers=1)
    b = rendered_faces(1, 1, 1, per_identity=1, size=16, seed=1, workers=1)
    assert a.fingerprint != b.fingerprint
    # The first people of a larger set are those of a smaller one.
    c = rendered_faces(2, 1, 1, per_identity=1, size=16, workers=1)
    assert np.array_equal(a.train.images[0], c.train.images[0])


def test_masked_faces_are_grey_and_without_background():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    y = module.masked(x)
    assert y.shape == x.shape
    assert (y[..., 0] == y[..., 1]).all()
    assert (y[:, 0] == 128).all()
    assert (y[:, :, 0] == 128).all()
    luma = x[0, 16, 16] @ np.array([0.299, 0.587, 0.114])
    assert abs(int(y[0, 16, 16, 0]) - luma) <= 1


def test_orl_faces_are_the_test_people_at_the_template(tmp_path):
    for s in range(1, 41):
        (tmp_path / f"s{s}").mkdir()
        for k in range(1, 11):
            picture = np.full((112, 92), 20 + s, np.uint8)
            picture[50:56, 26:32] = 250  # where the mean eye on the left is
            (tmp_path / f"s{s}" / f"{k}.pgm").write_bytes(b"P5\n92 112\n255\n" + picture.tobytes())
    faces = module.orl_faces(112, root=tmp_path)
    assert len(faces) == 100
    assert faces.targets.tolist() == [n // 10 for n in range(100)]
    assert faces.classes[0] == "orl30"
    rows, cols = np.nonzero(faces.images[0, ..., 0] > 200)
    assert abs(cols.mean() - TEMPLATE[0, 0]) < 2.5
    assert abs(rows.mean() - TEMPLATE[0, 1]) < 2.5
    assert faces.images[0, 60, 56, 0] == 20 + 31


def test_a_set_is_at_hand_once_it_is_drawn():
    from mien.data.config import FaceData
    from mien.data.faces import are_at_hand

    data = FaceData(size=16, people=2, val_people=2, test_people=2, per_identity=2)
    assert not are_at_hand(data)
    rendered_faces(2, 2, 2, per_identity=2, size=16, workers=1)
    assert are_at_hand(data)
    assert are_at_hand(FaceData("debug", size=16))
