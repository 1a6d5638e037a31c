from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError, LimitError
from mien.methods.otavatar.track_files import read_npz, write_npz


def test_arrays_and_back(tmp_path):
    path = write_npz(tmp_path / "a.npz", {"x": np.arange(3), "n": np.array(["a", "b"])})
    back = read_npz(path)
    assert back["x"].tolist() == [0, 1, 2]
    assert back["n"].tolist() == ["a", "b"]
    assert path.read_bytes() == write_npz(tmp_path / "b.npz", back).read_bytes()


def test_bounds_and_objects(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no such file"):
        read_npz(tmp_path / "none.npz")
    np.savez(tmp_path / "o.npz", x=np.array([{}], object))
    with pytest.raises(DataError, match=r"not an \.npz file that can be read"):
        read_npz(tmp_path / "o.npz")
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(100_000))
    monkeypatch.setenv("MIEN_MAX_ARRAY_BYTES", "10000")
    assert (tmp_path / "bomb.npz").stat().st_size < 10_000
    with pytest.raises(LimitError, match="MIEN_MAX_ARRAY_BYTES"):
        read_npz(tmp_path / "bomb.npz")
