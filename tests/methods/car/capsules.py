"""People of capsules, and the debug model that is trained on them in seconds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import nn

from mien.core.catalogue import method
from mien.data.clothed import ClothedSplits
from mien.data.clothed_sets import clothed_settings, read_clothed
from mien.engine.stages import train_stages
from mien.methods.car.config import RECIPES, CarConfig
from mien.methods.car.evaluate import Case, case_of
from mien.methods.car.net import CarNet
from mien.methods.car.protocol import CHAINS
from mien.methods.car.reconstruct import AvatarReconstructor
from mien.synth.clothed_people import Clothed, capsule_person

JOINTS = 15
SIZE = 64


def tiny_config(**changes: object) -> CarConfig:
    """Sizes of the debug recipe."""
    return replace(RECIPES["debug"]().method, **changes)  # type: ignore[arg-type, return-value]


def tiny_net(seed: int = 0, **changes: object) -> CarNet:
    """Untrained."""
    torch.manual_seed(seed)
    return CarNet(tiny_config(**changes), JOINTS)


@cache
def capsules(size: int = 32) -> ClothedSplits:
    """The people of the debug recipe: 3 + 1 + 2 with one picture each."""
    return read_clothed(replace(RECIPES["debug"]().data, size=size))  # type: ignore[arg-type]


@cache
def case(person: int = 0) -> Case:
    """A test person, `SIZE` px."""
    return case_of(capsules(SIZE).test, person, 0)


@cache
def first_person() -> Clothed:
    """Whom `case(0)` shows, in the star pose."""
    settings = clothed_settings(RECIPES["debug"]().data)  # type: ignore[arg-type]
    data = RECIPES["debug"]().data
    number = data.people + data.val_people  # type: ignore[attr-defined]
    return capsule_person(settings.who(number), settings.shape_noise, unseen=True)


def train_debug(folder: Path) -> Path:
    """The debug chain, three steps of each stage."""
    train_stages(method("car"), CHAINS["car-debug"], folder, {})
    return folder


class Skeleton(nn.Module):
    """In place of a trained field: capsules of 7 cm around the bones of `first_person`, an exact distance."""

    space, two_sided, residual, features = "canonical", False, False, ()
    radius = 0.07

    def __init__(self) -> None:
        super().__init__()
        person, rig = first_person(), capsules().test.rig
        heads = torch.from_numpy(person.heads).float()
        ends = [(heads[p], heads[k]) for k, p in enumerate(rig.parents) if p >= 0]
        self.a, self.b = (torch.stack(x) for x in zip(*ends, strict=True))

    def filter(self, front, back=None):
        """Reads nothing."""

    def distance(self, points):
        """(N, 3) -> (N,) min over bones of |x - a - t (b - a)| - r."""
        d = self.b - self.a
        t = ((points[:, None] - self.a) * d).sum(-1) / d.square().sum(-1)
        near = self.a + t.clamp(0, 1)[..., None] * d
        return (points[:, None] - near).norm(dim=-1).amin(1) - self.radius

    def values(self, points, weights, transforms, calib, cues):
        """(1, N, 3) -> (1, N, 1)."""
        return self.distance(points[0])[None, :, None]


def known_maker(**changes: object) -> AvatarReconstructor:
    """A model whose field is `Skeleton`."""
    net = tiny_net(**changes)
    net.field = Skeleton()  # type: ignore[assignment]
    return AvatarReconstructor(net, SIZE)
