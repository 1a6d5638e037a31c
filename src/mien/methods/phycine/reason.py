"""What the answering transformer is told of a set: its objects over time, and what was found of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mien.methods.phycine.answers import AnswerNet
from mien.methods.phycine.concepts import velocities
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.found import Gaussians
from mien.methods.phycine.model import Phycine
from mien.methods.phycine.sight import Seen
from mien.methods.phycine.tracks import LOOK
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES

EVERY = 10
"""Every so manieth frame gives a token of each object."""
LONGEST = 48
"""Words of a question and a choice, at most."""
_FAR = 2.0  # world units and world units a second that are about 1


class Told(NamedTuple):
    """Tokens of S sets.

    Attributes:
        objects: (S, M, F) features: time, which object, place, velocity, looks [, z_m, z_c].
        present: (S, M) bool.
        fixed: leading features that are told even where an object is hidden (time and which object).
    """

    objects: Tensor
    present: Tensor
    fixed: int


def feature_count(config: PhycineConfig, slots: int) -> int:
    """F."""
    if config.features == "none":
        return 0
    return 1 + slots + 4 + look_size(config) + (2 if config.features == "all" else 0)


def look_size(config: PhycineConfig) -> int:
    """Numbers of a look: `mien.methods.phycine.tracks.looks`, or what the oracle tells."""
    return len(COLOURS) + len(MATERIALS) + len(SHAPES) if config.sight == "true" else LOOK


def told_of(config: PhycineConfig, seen: Seen, found: Gaussians, dt: float) -> Told:
    """Tokens from what is shown of targets. O(S T N F).

    Args:
        config: which features.
        seen: targets, what is shown of them.
        found: posteriors of their objects.
        dt: seconds of a frame.
    """
    slots = object_slots(config)
    place, present = seen.place[:, :, :slots], seen.present[:, :, :slots]
    speed = torch.cat([torch.zeros_like(place[:, :1]), velocities(place, dt)], 1)
    sets, frames, count = present.shape
    time = torch.linspace(0, 1, frames).view(1, -1, 1, 1).expand(sets, -1, count, 1)
    which = torch.eye(slots)[:count].expand(sets, frames, count, slots)
    look = seen.look[:, None, :count].expand(-1, frames, -1, -1)
    parts = [time, which, place / _FAR, speed / _FAR, look]
    if config.features == "none":
        parts = [time[..., :0]]
    if config.features == "all":
        z = torch.stack(tuple(found.mean), -1)[:, None, :count]
        parts.append(z.expand(-1, frames, -1, -1))
    objects = torch.cat(parts, -1)[:, ::EVERY]
    there = present[:, ::EVERY]
    return Told(objects.flatten(1, 2), there.flatten(1, 2), 1 + slots)


class Reasoner(nn.Module):
    """PHYCINE and the transformer that answers.

    Args:
        phycine: what sees and explains; at rest.
        words: numbers of words.
        classes: answers of factual questions.
        length: longest question.
    """

    scale: Tensor

    def __init__(self, phycine: Phycine, words: int, classes: int, length: int = LONGEST) -> None:
        super().__init__()
        config, slots = phycine.config, object_slots(phycine.config)
        self.phycine, self.config = phycine, config
        inputs = feature_count(config, slots)
        self.net = AnswerNet(
            inputs,
            words,
            classes,
            config.model_dim,
            config.layers,
            config.heads,
            length,
            told=min(inputs, 1 + slots),
        )
        self.register_buffer("scale", torch.ones(2, max(inputs, 1)))

    def learn_scale(self, told: Told) -> None:
        """Keeps mean and deviation of features over the tokens of training sets."""
        shown = told.objects[told.present]
        if self.net.inputs and len(shown) > 1:
            self.scale[0], self.scale[1] = shown.mean(0), shown.std(0).clamp_min(1e-3)
            self.scale[0, : told.fixed], self.scale[1, : told.fixed] = 0.0, 1.0

    def tokens(self, told: Told) -> Tensor:
        """(S, M, F) at about unit scale; F = 0 for the question alone."""
        if not self.net.inputs:
            return told.objects[..., :0]
        return (told.objects - self.scale[0]) / self.scale[1]


def object_slots(config: PhycineConfig) -> int:
    """Objects that are told of, at most."""
    return config.slots - 1
