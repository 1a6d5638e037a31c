from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mien.bench import render_speed
from mien.bench.benches import BENCHES


def test_references_draw_the_same_pictures():
    made, faces = render_speed.frames(2)
    assert 27_000 < len(faces) < 29_000
    draw = {"mien": render_speed._ours(faces, 96, "auto"), "embreex": render_speed._embreex(faces, 96)}
    draw["trimesh"] = render_speed._trimesh(faces, 96)
    for frame in made:
        ours = draw["mien"](frame)
        assert 0.1 < (ours.ids >= 0).mean() < 0.2
        for name in ("embreex", "trimesh"):
            check(ours, draw[name](frame))


@pytest.mark.egl
def test_opengl_draws_the_same_picture():
    """In a process of its own: graphics drivers bring libraries that other packages may not bear."""
    code = "from tests.render.test_render_speed import opengl; opengl()"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr


def opengl():
    made, faces = render_speed.frames(2)
    try:
        draw = render_speed._moderngl(faces, 96)
    except Exception as error:
        print(f"no OpenGL context: {error}")
        sys.exit(3)
    for frame in made:
        check(render_speed._ours(faces, 96, "auto")(frame), draw(frame), 0.998)
    importlib.import_module("torch._dynamo")  # used to crash here


def check(a, b, share=0.9999):
    same = a.ids == b.ids
    assert same.mean() >= share
    seen = same & (a.ids >= 0)
    assert (b.ids >= 0).sum() == pytest.approx((a.ids >= 0).sum(), abs=3)
    for x, y, most in ((a.depth, b.depth, 1e-4), (a.bary, b.bary, 0.05), (a.normals, b.normals, 0.05)):
        assert np.abs(x[seen] - y[seen]).max() < most
        assert np.median(np.abs(x[seen] - y[seen])) < 1e-5
    assert np.isinf(b.depth[b.ids < 0]).all()


def test_keys_and_what_is_left_out_is_said(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "moderngl", None)
    with caplog.at_level(logging.WARNING):
        entries, ratios = render_speed.bench(repeats=1, sizes=(16,))
    assert [e["name"] for e in entries] == ["mien_16", "mien_torch_16", "embreex_16", "trimesh_16"]
    assert set(ratios) == {"speedup_16"}
    assert "moderngl is left out" in caplog.text
    assert BENCHES["render"][0] == "mien.bench.render_speed"
