from __future__ import annotations

import math

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.data.smoothing import OneEuro, one_euro, smoothing_factor


def twin(values, times, min_cutoff, beta, speed_cutoff):
    """Plain numbers, one after the other."""

    def alpha(cutoff, dt):
        tau = 1 / (2 * math.pi * cutoff)
        return dt / (dt + tau)

    out, speed = [values[0]], 0.0
    for i in range(1, len(values)):
        dt = times[i] - times[i - 1]
        a = alpha(speed_cutoff, dt)
        speed = a * (values[i] - out[-1]) / dt + (1 - a) * speed
        a = alpha(min_cutoff + beta * abs(speed), dt)
        out.append(a * values[i] + (1 - a) * out[-1])
    return out


@pytest.mark.parametrize("settings", [(1.0, 0.0, 1.0), (0.5, 2.0, 3.0), (4.0, 0.1, 0.2)])
def test_the_filter_is_the_loop(settings):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 2, 3)).cumsum(0)
    times = rng.uniform(0.01, 0.1, 40).cumsum()
    names = dict(zip(("min_cutoff", "beta", "speed_cutoff"), settings, strict=True))
    got = one_euro(values, times=times, **names)
    for i in range(2):
        for j in range(3):
            assert np.allclose(got[:, i, j], twin(values[:, i, j].tolist(), times.tolist(), *settings))
    even = one_euro(values[:, 0, 0], 25, **names)
    assert np.allclose(even, twin(values[:, 0, 0].tolist(), [k / 25 for k in range(40)], *settings))


def test_identities():
    assert float(smoothing_factor(3.0, 1 / (6 * math.pi))) == pytest.approx(0.5)
    assert np.all(one_euro(np.full((9, 4), 2.5), 25, beta=3) == 2.5)
    rng = np.random.default_rng(1)
    values = rng.normal(size=(200, 2))
    assert np.allclose(one_euro(values, 25, min_cutoff=1e9), values)  # all passes
    assert one_euro(values, 25)[50:].std() < 0.5 * values.std()
    assert np.allclose(one_euro(values + 7, 25, beta=1), one_euro(values, 25, beta=1) + 7)
    assert np.allclose(one_euro(-values, 25, beta=1), -one_euro(values, 25, beta=1))
    assert np.allclose(one_euro(values, 25), one_euro(values, times=10 + np.arange(200) / 25))


def test_a_higher_beta_lags_less_on_a_ramp():
    ramp = np.arange(100) / 25.0
    lags = [float(ramp[-1] - one_euro(ramp, 25, min_cutoff=0.3, beta=beta)[-1]) for beta in (0, 1, 10)]
    assert lags[0] > lags[1] > lags[2] > 0


def test_a_stream_keeps_its_own_values():
    smooth = OneEuro()
    row = np.zeros(2)
    first = smooth(row, 0.0)
    row += 9
    first += 9
    assert smooth(np.zeros(2), 0.1).tolist() == [0, 0]
    with pytest.raises(DataError, match="does not come after"):
        smooth(np.zeros(2), 0.1)
    with pytest.raises(ShapeError, match="as before"):
        smooth(np.zeros(3), 0.2)
    with pytest.raises(DataError, match="no number"):
        smooth([np.nan, 0], 0.2)


def test_settings_that_do_not_fit():
    with pytest.raises(ConfigError, match="cut-offs above 0"):
        OneEuro(min_cutoff=0)
    with pytest.raises(ConfigError, match="not both"):
        one_euro([1.0, 2.0])
    with pytest.raises(ConfigError, match="fps 0"):
        one_euro([1.0, 2.0], 0)
    with pytest.raises(ShapeError, match=r"times \(2,\)"):
        one_euro([1.0, 2.0], times=[0.0])
    assert one_euro(np.empty((0, 3)), 25).shape == (0, 3)
