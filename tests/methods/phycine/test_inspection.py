"""Inspection: identities that hold by construction, forces of known laws, a figure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.phycine.config import InspectOptions
from mien.methods.phycine.inspection import (
    SPEEDS,
    TOUCH,
    agreement,
    charge_strength,
    collision_push,
    identities,
    inspect,
    true_strength,
)
from mien.methods.phycine.laws import Laws
from tests.methods.phycine.user import folder


def test_an_untrained_model(tmp_path):
    options = InspectOptions(points=20, clips=5, output=str(tmp_path / "o"))
    found = inspect(folder(tmp_path / "m", sight="threshold"), options)
    for name in ("momentum", "flip", "neutral"):
        assert found.facts[f"{name}_violation"] < 1e-5
    assert len(found.tables["collision, velocity change over reduced mass"]) == len(SPEEDS)
    assert found.files[0].read_bytes().startswith(b"\x89PNG")
    bare = inspect(folder(tmp_path / "n", sight="threshold", charge="none"), options)
    assert "charge_law_error" not in bare.facts
    with pytest.raises(ConfigError, match="'pairwise' has no forces"):
        inspect(folder(tmp_path / "p", sight="threshold", dynamics="pairwise"), options)


def test_a_law_that_breaks_momentum_is_seen():
    class Pulled(Laws):
        def forward(self, *given):
            return super().forward(*given) + 0.1

    assert identities(Laws(8), 5, 0)["momentum_violation"] < 1e-5
    assert identities(Pulled(8), 5, 0)["momentum_violation"] > 0.1


def test_forces_of_known_laws():
    laws = Laws(8, dt=0.2)
    with torch.no_grad():
        for part in (laws.collision, laws.attraction):
            part[-1].weight.zero_()
        laws.collision[-1].bias.copy_(torch.tensor([1.0, 0.0]))
        laws.attraction[-1].bias.fill_(2.0)
        for number, value in {laws.reach: 0.95, laws.log_blur: -9.0}.items():
            number.fill_(value)  # at a speed of .5 they touch from 1.05 on
    at = np.array([0.5, 1.0, 2.0])
    pushed = np.where(at < 1.05, np.log1p(np.e), 0)
    np.testing.assert_allclose(collision_push(laws, at, 0.5), pushed, rtol=1e-5)
    np.testing.assert_allclose(charge_strength(laws, at), np.log1p(np.exp(2)), rtol=1e-4)


def test_the_true_law_up_to_a_scale_agrees():
    at = np.linspace(0.1, 3, 50)
    assert true_strength(np.array([1.0]))[0] == pytest.approx(4 / 1.09**1.5)
    found = agreement(at, 0.01 * true_strength(at) + 5 * (at < TOUCH))
    assert found == {"charge_law_correlation": 1.0, "charge_law_error": 0.0}
    assert agreement(at, at)["charge_law_correlation"] < 0
