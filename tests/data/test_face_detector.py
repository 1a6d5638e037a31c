from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from mien.core.errors import DataError, MissingPackageError
from mien.data import face_detector
from mien.data.face_detector import aligned_face, find_faces, tracker_python
from mien.render.alignment import TEMPLATE, align_face
from tests.data.fake_tracker import scene, write_tracker


@pytest.fixture
def tracker(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_TRACKER", str(write_tracker(tmp_path / "fake")))


def test_places_come_back_in_pixels_of_the_picture(tracker):
    pictures = [
        scene((300, 200), (50, 100, 80, "red")),
        scene((100, 400)),
        scene((900, 1300), (200, 300, 400, "red")),
    ]
    one, none, large = find_faces(pictures)
    np.testing.assert_allclose(one.box, [50, 100, 130, 180], atol=1.5)
    np.testing.assert_allclose(one.points, [50, 100] + TEMPLATE / 112 * 80, atol=1.5)
    assert one.is_found
    assert one.side == pytest.approx(80, abs=2)
    np.testing.assert_allclose(large.box, [200, 300, 600, 700], atol=4)
    assert (none.count, none.is_found, none.side) == (0, False, 0)


def test_the_largest_of_several_and_no_emblems(tracker):
    crowd = scene((400, 400), (10, 10, 60, "red"), (200, 150, 120, "red"), (20, 250, 130, "blue"))
    emblem = scene((400, 400), (10, 10, 60, "blue"))
    two, nobody = find_faces([crowd, emblem])
    assert two.count == 2
    np.testing.assert_allclose(two.points, [200, 150] + TEMPLATE / 112 * 120, atol=2)
    assert nobody.count == 0
    assert find_faces([]) == []


def test_a_face_comes_to_the_standard_place():
    image = np.random.default_rng(0).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    points = 1.1 * TEMPLATE + [20, 10]
    assert aligned_face(image, points, 112).shape == (112, 112, 3)
    same = aligned_face(image, points + 0.5, 112)
    assert np.abs(same.astype(int) - align_face(image, points, 112)).max() <= 1
    # A large face is averaged: stripes of one pixel turn grey.
    stripes = np.zeros((1120, 1120, 3), np.uint8)
    stripes[:, ::2] = 255
    small = aligned_face(stripes, TEMPLATE * 10, 32)[4:-4, 4:-4]
    assert np.abs(small.astype(int) - 128).max() < 40


def test_where_there_is_no_detector(tmp_path, monkeypatch):
    picture = scene((40, 40))
    monkeypatch.delenv("MIEN_TRACKER", raising=False)
    monkeypatch.setattr(face_detector.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingPackageError, match=r"environment of its own: .* set MIEN_TRACKER to its python"
    ):
        find_faces([picture])
    monkeypatch.setattr(face_detector.importlib.util, "find_spec", lambda name: name)
    assert tracker_python() == sys.executable
    monkeypatch.setenv("MIEN_TRACKER", str(tmp_path / "nothing"))
    with pytest.raises(MissingPackageError, match="cannot start"):
        find_faces([picture])
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho first >&2\necho no model >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("MIEN_TRACKER", str(broken))
    with pytest.raises(DataError, match=r"track_script\.py: no model$"):
        find_faces([picture])
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 5\n")
    slow.chmod(0o755)
    monkeypatch.setenv("MIEN_TRACKER", str(slow))
    monkeypatch.setattr(face_detector, "_SECONDS", 0.1)
    with pytest.raises(DataError, match="no answer from MediaPipe"):
        find_faces([picture])


def test_the_script_runs_without_mien(tmp_path):
    """The packaged script, without MediaPipe: help, and one line about a bad input."""
    script = face_detector.SCRIPT
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "mediapipe==0.10.21" in done.stdout
    np.savez(tmp_path / "in.npz", other=np.zeros(3))
    words = [sys.executable, str(script), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "holds no array 'images'" in done.stderr
    assert "import mien" not in script.read_text()
    assert "from mien" not in script.read_text()


@pytest.mark.skipif("MIEN_TRACKER" not in os.environ, reason="MIEN_TRACKER names no MediaPipe")
def test_mediapipe_itself():
    """A portrait that comes with scikit-image: one face, the emblem on her suit is none."""
    from skimage.data import astronaut

    one, two = find_faces([astronaut(), np.concatenate([astronaut()[:300, 100:400]] * 2, 1)])
    assert one.count == 1
    np.testing.assert_allclose(one.box, [182, 82, 275, 175], atol=8)
    assert one.points[0, 0] < one.points[1, 0]
    assert two.count in (1, 2)
