"""What an embedder looks at: known embedders have known answers."""

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.igc_net.importance import part_importance
from tests.methods.igc_net.faces import some_images, tiny_net


def test_an_embedder_that_sees_nothing_loses_nothing():
    found = part_importance(lambda x: torch.ones(len(x), 2), some_images(), net=tiny_net())
    assert found.parts == (0, 1, 2)
    assert found.drop == pytest.approx(np.zeros(3), abs=1e-12)
    assert found.images.shape == (3, 4)
    assert found.tar is None


def test_an_embedder_of_pixels_loses_by_every_part_that_changes():
    who = np.array([0, 0, 1, 1])
    found = part_importance(
        lambda x: x.flatten(1), some_images(), "albedo", [0, 2], net=tiny_net(), identity=who, far=0.5
    )
    assert found.parts == (0, 2)
    assert (found.drop > 0).all()
    assert found.drop == pytest.approx(found.images.mean(1))
    assert 0 <= found.tar <= 1
    assert found.tar_drop.shape == (2,)


def test_calls_that_do_not_fit():
    with pytest.raises(ConfigError, match="1 pictures have no mean"):
        part_importance(lambda x: x.flatten(1), some_images(1), net=tiny_net())
    with pytest.raises(ShapeError, match=r"the embedder must answer \(4, D\), got \(4, 3, 32, 32\)"):
        part_importance(lambda x: x, some_images(), net=tiny_net())
    with pytest.raises(ConfigError, match="no part 7"):
        part_importance(lambda x: x.flatten(1), some_images(), parts=[7], net=tiny_net())
