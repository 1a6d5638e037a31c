"""An avatar of capsules that the tests of its motion share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.methods.car.avatar import Avatar
from mien.synth.clothed_people import capsule_person, capsule_rig


@pytest.fixture(scope="module")
def avatar():
    own, rig = capsule_person(3, 0.0), capsule_rig()
    count = len(own.points)

    def f32(x):
        return torch.as_tensor(np.asarray(x), dtype=torch.float32)

    return Avatar(
        canonical=f32(own.points), posed=f32(own.points), faces=torch.as_tensor(own.faces).int(),
        weights=f32(own.weights), joints=f32(own.heads), parents=torch.tensor(rig.parents).int(),
        transforms=torch.eye(4).repeat(len(rig.names), 1, 1), body=f32(own.body),
        body_faces=torch.as_tensor(rig.body_faces).int(), colors=torch.full((count, 3), 0.5),
        provenance=torch.zeros(count, dtype=torch.uint8), uncertainty=torch.zeros(count), names=rig.names,
    )  # fmt: skip
