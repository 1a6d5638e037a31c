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
