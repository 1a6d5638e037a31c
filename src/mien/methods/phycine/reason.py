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

SAMPLES = 5
"""Frames, evenly over a clip from its second, in which an object's token tells its place and velocity."""
LONGEST = 48
"""Words of a question and a choice, at most."""
_FAR = 2.0  # world units and world units a second that are about 1


class Told(NamedTuple):
    """A token for each of up to N objects of S sets.

    Attributes:
        objects: (S, N, F) features: look, (place, velocity, seen) of each of the sampled frames
            [, z_m, z_c, |z_c|].
        present: (S, N) bool.
    """

    objects: Tensor
    present: Tensor


def feature_count(config: PhycineConfig) -> int:
    """F."""
    if config.features == "none":
        return 0
    return look_size(config) + 5 * SAMPLES + (3 if config.features == "all" else 0)


def look_size(config: PhycineConfig) -> int:
    """Numbers of a look: `mien.methods.phycine.tracks.looks`, or what the oracle tells."""
    return len(COLOURS) + len(MATERIALS) + len(SHAPES) if config.sight == "true" else LOOK


def one_sign(charge: Tensor) -> Tensor:
    """Charges (S, N), those of a set turned so that the strongest is positive: their sign means nothing."""
    strongest = charge.gather(1, charge.abs().argmax(1, keepdim=True))
    return torch.where(strongest < 0, -charge, charge)


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
    there = present.any(1)
    sets, frames, count = present.shape
    if config.features == "none":
        return Told(place.new_zeros(sets, count, 0), there)
    speed = torch.cat([torch.zeros_like(place[:, :1]), velocities(place, dt)], 1)
    path = torch.cat([place / _FAR, speed / _FAR, present[..., None].to(place)], 3)
    at = torch.linspace(min(1, frames - 1), frames - 1, SAMPLES).round().long()
    parts = [seen.look[:, :count], path[:, at].transpose(1, 2).flatten(2)]
    if config.features == "all":
        mass, charge = found.mean.mass[:, :count], one_sign(found.mean.charge[:, :count])
        parts.append(torch.stack([mass, charge, charge.abs()], 2))
    return Told(torch.cat(parts, 2), there)


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
        config = phycine.config
        self.phycine, self.config = phycine, config
        inputs = feature_count(config)
        self.net = AnswerNet(
            inputs,
            words,
            classes,
            config.model_dim,
            config.layers,
            config.heads,
            length,
        )
        self.register_buffer("scale", torch.ones(2, max(inputs, 1)))

    def learn_scale(self, told: Told) -> None:
        """Keeps mean and deviation of features over the tokens of training sets."""
        shown = told.objects[told.present]
        if self.net.inputs and len(shown) > 1:
            self.scale[0], self.scale[1] = shown.mean(0), shown.std(0).clamp_min(1e-3)

    def tokens(self, told: Told) -> Tensor:
        """(S, M, F) at about unit scale; F = 0 for the question alone."""
        if not self.net.inputs:
            return told.objects[..., :0]
        return (told.objects - self.scale[0]) / self.scale[1]


def object_slots(config: PhycineConfig) -> int:
    """Objects that are told of, at most."""
    return config.slots - 1
