"""`tools/track.py` on a video or a photograph, with stand-ins for MediaPipe that know what is where."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.face_detector import MESH_68, find_landmarks, find_landmarks_3d
from mien.data.video import write_video
from mien.methods.car.keypoints import read_keypoints
from mien.synth.fit_actions import Fit, mean_rig, posed, project

TOOL = Path(__file__).parents[2] / "tools/track.py"
SCRIPT = """#!{python}
import sys
import numpy as np

_, script, given, out = sys.argv
images, known = np.load(given)["images"], np.load({known!r})
mesh = np.full((len(images), 478, 3), np.nan, np.float32)
for k, image in enumerate(images):
    row = round(float(image.mean()) / 20) - 1  # the grey level says which frame it is
    if row >= 0:
        mesh[k, {places}, :2] = known[row] * 8 + 64  # 64 pixels are enlarged to 512, and a border put around
np.savez(out, mesh=mesh)
"""
SIDE = 64


@pytest.fixture
def tracker(tmp_path):
    """An environment whose python is the stand-in, and what it knows: rest twice, then an open jaw."""
    rig = mean_rig()
    rows = [np.array([v if n == "jawOpen" else 0.0 for n in rig.names]) for v in (0.0, 0.0, 0.8)]
    seen = [project(posed(rig, Fit(a, np.eye(3), np.zeros(3)))) for a in rows]
    known = tmp_path / "known.npy"
    np.save(known, SIDE / 2 + 0.9 * SIDE * np.stack(seen))
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(SCRIPT.format(python=sys.executable, known=str(known), places=list(MESH_68)))
    python.chmod(0o755)
    return python


def grey(level):
    return np.full((SIDE, SIDE, 3), level, np.uint8)


def test_landmarks_come_in_pixels_of_the_picture(tracker):
    known = np.load(tracker.parents[2] / "known.npy")
    got = find_landmarks([grey(20), grey(0), grey(60)], str(tracker))
    np.testing.assert_allclose(got[[0, 2]], known[[0, 2]], atol=1e-3)
    assert np.isnan(got[1]).all()
    assert find_landmarks([], str(tracker)).shape == (0, 68, 2)
    deep = find_landmarks_3d([grey(20), grey(0), grey(60)], str(tracker))
    assert deep.shape == (3, 68, 3)
    np.testing.assert_array_equal(deep[..., :2], got)
    assert len(set(MESH_68)) == 68


def test_a_video_becomes_a_track(tracker, tmp_path, capsys):
    pytest.importorskip("av")
    write_video(tmp_path / "v.mp4", [grey(level) for level in (20, 40, 0, 60, 60)], fps=10)
    main = runpy.run_path(str(TOOL))["main"]
    out = tmp_path / "track.npz"
    words = [str(tmp_path / "v.mp4"), "--tracker", str(tmp_path / "env"), "-o", str(out)]
    assert main([*words, "--fps", "10", "--neutral", "2"]) == 0
    assert "4 of 5 frames with a face" in capsys.readouterr().out
    with np.load(out, allow_pickle=False) as file:
        track = {k: file[k] for k in file.files}
    assert track["found"].tolist() == [True, True, False, True, True]
    np.testing.assert_allclose(track["times"], [0, 0.1, 0.3, 0.4])
    assert (float(track["fps"]), track["expression"].shape, track["names"].shape) == (10, (4, 52), (52,))
    assert track["angles"].shape == track["translation"].shape == (4, 3)
    jaw = track["expression"][:, list(track["names"]).index("jawOpen")]
    np.testing.assert_allclose(jaw, [0, 0, 0.8, 0.8], atol=0.15)
    np.testing.assert_allclose(track["angles"], 0, atol=0.05)
    np.testing.assert_allclose(track["focal"], 3.2, atol=1e-6)


def test_one_line_where_it_cannot(tracker, tmp_path, capsys):
    pytest.importorskip("av")
    main = runpy.run_path(str(TOOL))["main"]
    words = ["--tracker", str(tracker), "-o", str(tmp_path / "t.npz")]
    assert main([str(tmp_path / "none.mp4"), *words]) == 1
    assert "no such file" in capsys.readouterr().err
    write_video(tmp_path / "v.mp4", [grey(0)] * 2, fps=10)
    assert main([str(tmp_path / "v.mp4"), *words]) == 1
    assert "no face in any of" in capsys.readouterr().err
    assert not (tmp_path / "t.npz").exists()
    assert main([str(tmp_path / "v.mp4"), "--neutral", "0", *words]) == 2


BODY_SCRIPT = """#!{python}
import sys
import numpy as np

_, script, given, out, flag = sys.argv
assert flag == "--body"
images = np.load(given)["images"]
n, height, width = images.shape[:3]
pose = np.full((n, 33, 3), np.nan, np.float32)
if images.max():  # black: nobody
    pose[0] = [[k, 2 * k, 0.9 if k else 0.1] for k in range(33)]
person = (images[..., 0] > 100).astype(np.uint8) * 255
names = np.array(["nose", *(f"mark_{{k}}" for k in range(1, 33))])
np.savez(out, pose=pose, pose_found=np.isfinite(pose).all((1, 2)), person=person, names=names)
"""


def test_a_photograph_becomes_keypoints_and_a_mask(tmp_path, capsys):
    python = tmp_path / "python"
    python.write_text(BODY_SCRIPT.format(python=sys.executable))
    python.chmod(0o755)
    main = runpy.run_path(str(TOOL))["main"]
    picture = np.full((70, 50, 3), 30, np.uint8)
    picture[10:60, 20:30] = 200
    Image.fromarray(picture).save(tmp_path / "p.png")
    out = tmp_path / "person.npz"
    words = ["--body", "--tracker", str(python), "-o", str(out)]
    assert main([str(tmp_path / "p.png"), *words]) == 0
    assert "32 of 33 keypoints" in capsys.readouterr().out
    with np.load(out, allow_pickle=False) as file:
        found = {k: file[k] for k in file.files}
    assert set(found) == {"keypoints", "names", "size", "mask"}
    assert found["keypoints"].shape == (1, 33, 3)
    assert found["keypoints"][0, 5].tolist() == pytest.approx([5, 10, 0.9])
    assert found["size"].tolist() == [50, 70]
    np.testing.assert_array_equal(found["mask"] > 127, picture[..., 0] == 200)
    person = read_keypoints(out, picture.shape[:2])
    assert person.names[0] == "nose"
    np.testing.assert_allclose(person.points[5].numpy(), [(2 * 5 - 50) / 70, (2 * 10 - 70) / 70], atol=1e-6)
    out.unlink()
    Image.fromarray(0 * picture).save(tmp_path / "black.png")
    assert main([str(tmp_path / "black.png"), *words]) == 1
    assert "nobody is found in it" in capsys.readouterr().err
    assert main([str(tmp_path / "none.png"), *words]) == 1
    assert "no such file" in capsys.readouterr().err
    assert not out.exists()
