from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from mien.synth.noise import fbm, fbm_at, gradient, noise, smoothstep, volume


def test_volume_is_periodic_noise_of_unit_variance():
    v = volume()
    assert v.shape == (64, 64, 64)
    assert v.dtype == np.float32
    assert abs(v.mean()) < 1e-5
    assert v.std() == pytest.approx(1, abs=1e-5)
    wrap = np.abs(v[0] - v[-1]).mean() / np.abs(v[1] - v[0]).mean()
    assert wrap == pytest.approx(1, abs=0.1)  # the seam is as smooth as the inside


def test_volume_is_the_same_in_every_state_of_numpy():
    before = hashlib.sha256(volume().tobytes()).hexdigest()
    np.random.seed(5)  # noqa: NPY002
    assert hashlib.sha256(volume.__wrapped__().tobytes()).hexdigest() == before


def test_noise_interpolates_the_volume_with_smooth_weights():
    v = volume()
    assert noise(v, 3.0, 70.0, -1.0) == pytest.approx(float(v[3, 6, 63]))  # periodic
    s = smoothstep(0.0, 1.0, 0.25)
    expected = (1 - s) * v[3, 6, 9] + s * v[4, 6, 9]
    assert noise(v, 3.25, 6.0, 9.0) == pytest.approx(float(expected), abs=1e-6)


def test_fbm_is_a_sum_of_octaves():
    v = volume()
    x, y, z, f, s = 0.3, -0.7, 1.1, 1.6, 5.0
    total, power = 0.0, 0.0
    for o in range(3):
        t, k = s + 17.3 * o, f * 2**o
        total += 0.5**o * noise(v, x * k + t, y * k + 1.7 * t, z * k + 2.3 * t)
        power += 0.25**o
    assert fbm(v, x, y, z, f, 3, s) == pytest.approx(total / power**0.5, abs=1e-9)
    points = np.array([[x, y, z], [0, 0, 0]], np.float32)
    got = fbm_at(v, points, f, 3, s)
    assert got[0] == pytest.approx(total / power**0.5, abs=1e-4)
    assert got.shape == (2,)


def test_smoothstep_both_ways():
    assert [smoothstep(1.0, 3.0, x) for x in (0.0, 1.0, 2.0, 3.0, 9.0)] == [0, 0, 0.5, 1, 1]
    assert [smoothstep(3.0, 1.0, x) for x in (0.0, 1.0, 2.0, 3.0, 9.0)] == [1, 1, 0.5, 0, 0]


def test_gradient_is_that_of_the_noise():
    v = volume().astype(np.float64)
    for at in np.random.default_rng(0).uniform(-70, 70, (20, 3)):
        step = 1e-5
        expected = [(noise(v, *(at + d)) - noise(v, *(at - d))) / (2 * step) for d in step * np.eye(3)]
        np.testing.assert_allclose(gradient(v, *at), expected, atol=1e-6)


def test_without_numba_plain_python_draws_the_same(tmp_path):
    """A process that cannot import numba says so once and computes the same numbers."""
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "from mien.synth.noise import fbm_at, volume\n"
        "p = np.random.default_rng(0).random((50, 3)).astype(np.float32) * 8\n"
        "print(fbm_at(volume(), p, 2.0, 2, 3.0).astype(float).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("numba cannot be imported") == 1
    p = np.random.default_rng(0).random((50, 3)).astype(np.float32) * 8
    assert np.allclose(json.loads(done.stdout), fbm_at(volume(), p, 2.0, 2, 3.0), atol=1e-5)
