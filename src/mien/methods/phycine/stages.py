"""What each stage minimises."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mien.data.physical import FrameBatch
from mien.engine.task import Clock, PartTask, Rng, StepOut
from mien.methods.phycine.answers import rows_of
from mien.methods.phycine.concepts import Latents, calmest, check_paths, first_latents, misfit
from mien.methods.phycine.iodine import Iodine
from mien.methods.phycine.model import Phycine, fit_settings
from mien.methods.phycine.reason import Reasoner, Told
from mien.methods.phycine.refiner import distance_up_to_sign
from mien.methods.phycine.words import Asked

BRIGHT = 100.0
"""Weight of the squared error of colours, so that its gradient is about 1."""


JITTER = 0.3
"""Deviation of the noise on features of objects (at unit scale): without it the answering net knows the few
training sets by heart before it has learned which object a word means."""


def mixed_channels(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (B, 3, H, W), the colour channels of each in an order drawn at random.

    Without it a colour near the background's may never get a slot: all others are explained first, and then
    nothing moves. Mixed, each colour is now and then one that stands out.
    """
    order = torch.rand(len(images), 3, generator=generator).argsort(1).to(images.device)
    return images.gather(1, order[:, :, None, None].expand_as(images))


class PerceptionTask(PartTask[FrameBatch]):
    """Level 1: frames, one by one. Slots: mean |picture - x|^2. Learned inference: `Iodine.loss`.

    Args:
        net: whose perception is trained.
    """

    net: Phycine

    def __init__(self, net: Phycine) -> None:
        super().__init__(net, net.perception)

    def loss(self, batch: FrameBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss of pictures."""
        generator = rng.generator("slots", "cpu")
        image = mixed_channels(batch.image, generator)
        if isinstance(self.net.perception, Iodine):
            loss = self.net.perception.loss(image, generator).mean()
            return StepOut(loss, {"nats": loss.detach()})
        layers = self.net.slots.frames(image[:, None], generator).layers
        error = (layers.image[:, 0] - image).square().mean()
        return StepOut(BRIGHT * error, {"mse": error.detach()})


class LawsTask(PartTask[object]):
    """Levels 2 and 3: velocities, masses and charges of paths, with the laws that explain them.

    The latents of the training clips are parameters like those of the laws (an EM with one step each), see
    `mien.methods.phycine.concepts`. Bottom-up: for the first part of the steps the force of charges is off
    and only the calmest clips count (`calmest`), so that masses are found where nothing else acts.

    Args:
        net: whose laws are trained.
        place: (B, T, N, 2) paths of the training clips.
        present: (B, T, N).
        dt: seconds of a frame.
        seed: of the first charges.

    Raises:
        DataError: see `check_paths`.
    """

    net: Phycine
    place: Tensor
    present: Tensor
    calm: Tensor

    def __init__(self, net: Phycine, place: Tensor, present: Tensor, dt: float, seed: int) -> None:
        super().__init__(net, net.laws)
        own = net.config
        check_paths(place, present, own.window)
        self.dt, self.settings = dt, fit_settings(own)
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("calm", calmest(place, present, own.window, own.calm), persistent=False)
        generator = torch.Generator().manual_seed(seed)
        start = (len(place), place.shape[2])
        self.mass = nn.Parameter(torch.zeros(start))
        self.charge = nn.Parameter(own.spread * torch.randn(start, generator=generator))

    def param_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Latents learn at a rate of their own."""
        return [
            {"params": self.net.laws.parameters(), "weight_decay": weight_decay},
            {"params": [self.mass, self.charge], "lr": self.net.config.latent_lr, "weight_decay": 0.0},
        ]

    def loss(self, batch: object, clock: Clock, rng: Rng) -> StepOut:
        """The misfit of all clips, or of the calm ones."""
        own = self.net.config
        first = own.levels == "bottom_up" and clock.progress < own.calm
        weight = self.calm.float() if first else torch.ones_like(self.calm, dtype=torch.float32)
        latents = Latents(self.mass, torch.zeros_like(self.charge) if first else self.charge)
        lost = misfit(self.net.laws, self.place, self.present, latents, self.settings, self.dt)
        loss = (lost * weight).sum() / weight.sum().clamp_min(1)
        return StepOut(loss, {"misfit": loss.detach()})


@dataclass(frozen=True)
class Chosen:
    """Numbers (B,) of rows."""

    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device, *, channels_last: bool = False) -> Chosen:
        """On another device."""
        return Chosen(self.rows.to(device))


class RefinerTask(PartTask[Chosen]):
    """Level 3, learned: the misfit of each round's latents, and their distance to those found by gradient.

    sum_r (r / R) (misfit_r / noise + distance_r), r = 1 .. R. Perception and laws are at rest.

    Args:
        net: whose refiner is trained.
        place: (B, T, N, 2) paths of the training clips.
        present: (B, T, N).
        dt: seconds of a frame.
        found: their latents by gradient, (B, N) each.
    """

    net: Phycine
    place: Tensor
    present: Tensor
    mass: Tensor
    charge: Tensor

    def __init__(self, net: Phycine, place: Tensor, present: Tensor, dt: float, found: Latents) -> None:
        super().__init__(net, net.refiner)
        check_paths(place, present, net.config.window)
        self.dt, self.settings = dt, fit_settings(net.config)
        for name, value in {"place": place, "present": present, **found._asdict()}.items():
            self.register_buffer(name, value, persistent=False)

    def loss(self, batch: Chosen, clock: Clock, rng: Rng) -> StepOut:
        """The loss of rows, from charges drawn anew."""
        refiner, laws, dt = self.net.refiner, self.net.laws, self.dt
        place, present = self.place[batch.rows], self.present[batch.rows]
        known = Latents(self.mass[batch.rows], self.charge[batch.rows])
        start = first_latents(place, self.settings.spread, rng.generator("charges", "cpu"))
        loss, lost, far = (place.new_zeros(()) for _ in range(3))
        _, *rounds = refiner(laws, place, present, start, self.settings, dt)
        for r, z in enumerate(rounds, 1):
            lost = misfit(laws, place, present, z, self.settings, dt).mean()
            far = distance_up_to_sign(z, known, present.any(1)).mean()
            loss = loss + r / len(rounds) * (lost / self.settings.noise + far)
        return StepOut(loss, {"misfit": lost.detach(), "distance": far.detach()})


class AnswersTask(PartTask[Chosen]):
    """Questions about sets: `AnswerNet.loss`. Perception and laws are at rest.

    Args:
        reasoner: whose transformer is trained.
        asked: rows of the training sets' questions.
        told: what is told of the sets.
    """

    net: Reasoner
    objects: Tensor
    present: Tensor

    def __init__(self, reasoner: Reasoner, asked: Asked, told: Told) -> None:
        super().__init__(reasoner, reasoner.net)
        self.asked = asked
        self.register_buffer("objects", reasoner.tokens(told), persistent=False)
        self.register_buffer("present", told.present, persistent=False)

    def loss(self, batch: Chosen, clock: Clock, rng: Rng) -> StepOut:
        """The loss of rows, and the share that is answered right."""
        rows = rows_of(self.asked, self.objects, self.present, batch.rows)
        generator = rng.generator("jitter", "cpu")
        noise = torch.randn(rows.objects.shape, generator=generator).to(rows.objects)
        rows = rows._replace(objects=rows.objects + JITTER * noise)
        loss, right = self.net.net.loss(rows, generator)
        return StepOut(loss, {"right": right.detach()})
