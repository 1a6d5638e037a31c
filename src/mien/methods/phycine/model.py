"""PHYCINE: what sees, what explains, and what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.phycine.blackbox import PairwiseDynamics, SlotTransformer
from mien.methods.phycine.concepts import FitSettings, Latents, infer
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.decoder import without
from mien.methods.phycine.forecast import FITTED, Start, changed_latents, explained_start
from mien.methods.phycine.found import Find, clip_latents
from mien.methods.phycine.iodine import Iodine
from mien.methods.phycine.laws import Laws, rollout
from mien.methods.phycine.perception import check_video
from mien.methods.phycine.refiner import Refiner
from mien.methods.phycine.sight import Seen, look_at, unbroken
from mien.methods.phycine.slots import SlotVideo
from mien.methods.phycine.threshold import ThresholdSegmenter
from mien.methods.phycine.tracks import Tracks, last_seen
from mien.synth.comphy_scene import FPS
from mien.synth.comphy_set import VIEW

Dynamics = Laws | PairwiseDynamics | SlotTransformer
ORDER = ("perception", "laws", "refiner", "answers")


class Normal(NamedTuple):
    """A diagonal Gaussian.

    Attributes:
        mean: of any shape.
        std: of the same.
    """

    mean: Tensor
    std: Tensor


class PhysLatents(NamedTuple):
    """What is known of the K slots of B clips; slots without an object are absent, slot 0 the background.

    Attributes:
        ctx: z_ctx (B, K, 2 + D): place (world units, x right, y up), and what it looks like.
        dyn: z_dyn (B, K, 2): velocity, world units a second.
        mass: z_m (B, K): logarithm of the mass, up to a common factor of those that met.
        charge: z_c (B, K): up to a common sign and scale.
        present: (B, K) bool: seen in one of the last `FITTED` frames.
    """

    ctx: Normal
    dyn: Normal
    mass: Normal
    charge: Normal
    present: Tensor


class Rollout(NamedTuple):
    """What comes next.

    Attributes:
        frames: (B, 1 + steps, 3, H, W) in [0, 1].
        masks: (B, 1 + steps, K, H, W), sum 1 over K.
        place: (B, 1 + steps, K, 2).
        velocity: (B, 1 + steps, K, 2).
    """

    frames: Tensor
    masks: Tensor
    place: Tensor
    velocity: Tensor


class Phycine(nn.Module):
    """Perception and laws of a config.

    Args:
        config: sizes.
        size: (H, W) of the pictures.
        dt: seconds between frames.

    >>> model = Phycine(PhycineConfig(infer_steps=2))
    >>> latents = model.infer(torch.rand(1, 8, 3, 48, 72))
    >>> model.rollout(latents, 3, intervene={"charge": {1: 0.0}}).frames.shape
    torch.Size([1, 4, 3, 48, 72])
    """

    def __init__(self, config: PhycineConfig, size: tuple[int, int] = (48, 72), dt: float = 3 / FPS) -> None:
        super().__init__()
        self.config, self.size, self.dt = config, size, dt
        self.perception = _perception(config, size)
        self.laws = _laws(config, dt)
        if config.stage == "refiner":
            self.refiner = Refiner(config.window, rounds=config.rounds or 3)

    @property
    def find(self) -> Find:
        """What finds masses and charges of paths: `infer`, or a trained `Refiner`."""
        return self.refiner.infer if self.config.inference == "learned" else infer

    @property
    def slots(self) -> SlotVideo:
        """The perception, if it is slot attention.

        Raises:
            ConfigError: it is another one.
        """
        if not isinstance(self.perception, SlotVideo):
            raise ConfigError(f"method.sight={self.config.sight!r} has no decoder of slots; use 'slots'")
        return self.perception

    def infer(self, video: Tensor) -> PhysLatents:
        """What a video (B, T, 3, H, W) in [0, 1] tells; place and velocity are of its last frame.

        Deviations: of looks over the frames; of places the noise of the config, of velocities what it makes
        of them over `FITTED` frames; of masses and charges as in `spreads`. O(B T K H W + steps B T K^2).

        Raises:
            ShapeError: another shape.
            DataError: fewer frames than a window of the laws.
        """
        check_video(video, self.size)
        return self.explain(*look_at(self.perception, video))

    def explain(self, tracks: Tracks, codes: Tensor) -> PhysLatents:
        """What linked tracks of slots and their codes (B, T, K, D) tell, as `infer`.

        Raises:
            DataError: fewer frames than a window of the laws.
        """
        present = unbroken(tracks.place, tracks.present)
        seen = Seen(tracks.place, present, codes.mean(1), codes)
        found = clip_latents(self.laws, fit_settings(self.config), seen, self.dt, find=self.find)
        last = min(FITTED, seen.frames)
        window, there = (seen.place[:, -last:], present[:, -last:]), present[:, -last:].any(1)
        place, velocity = explained_start(self.laws, *window, found.mean, self.dt, self.config.noise)
        noise = torch.full_like(place, self.config.noise)
        last_code = torch.where(there[..., None], last_seen(codes, tracks.present)[:, -1], codes[:, -1])
        return PhysLatents(
            Normal(torch.cat([place, last_code], -1), torch.cat([noise, codes.std(1)], -1)),
            Normal(velocity, noise / (self.dt * last**0.5)),
            Normal(found.mean.mass, found.std.mass),
            Normal(found.mean.charge, found.std.charge),
            there,
        )

    @torch.no_grad()
    def rollout(
        self, latents: PhysLatents, steps: int, intervene: Mapping[str, Mapping[int, float]] | None = None
    ) -> Rollout:
        """The next ``steps`` frames, or what they would be. O(B steps (K^2 + K H W)).

        Slots without an object are not drawn: where a second one shows the same object, it would stay behind.

        Args:
            latents: as inferred.
            steps: frames after the one the latents are of.
            intervene: {"charge": {slot: factor}, "mass": {slot: factor}}: a charge times 0 is gone, a mass
                times 5 is five times heavier.

        Raises:
            ConfigError: another property, or a perception that cannot draw.
        """
        place, code = latents.ctx.mean.split([2, latents.ctx.mean.shape[-1] - 2], -1)
        z = Latents(latents.mass.mean, latents.charge.mean)
        for what, factors in (intervene or {}).items():
            for slot, factor in factors.items():
                rows = torch.full((len(place),), slot, device=place.device)
                z = changed_latents(z, what, rows, torch.full_like(place[:, 0, 0], factor))
        start = Start(place, latents.dyn.mean)
        places, speeds = rollout(self.laws, *start, *z, steps, self.dt, latents.present)
        in_picture = places * places.new_tensor([1 / VIEW, -1 / VIEW])
        slots = torch.cat([in_picture, code[:, None].expand(-1, steps + 1, -1, -1)], -1)
        drawn = latents.present.clone()
        drawn[:, 0] = True  # the background's
        layers = without(self.slots.decoder(slots), ~drawn[:, None])
        return Rollout(layers.image, layers.masks.squeeze(-3), places, speeds)


def _perception(config: PhycineConfig, size: tuple[int, int]) -> nn.Module:
    if config.sight == "slots":
        sizes = (config.slots, config.dim, config.width, config.iterations)
        return SlotVideo(size, *sizes, sure=config.sure, starts=config.starts)
    if config.sight == "iodine":
        sizes = (config.slots, config.dim, config.width, config.iterations)
        return Iodine(size, *sizes, small=not config.published)
    if config.sight == "threshold":
        return ThresholdSegmenter(config.slots)
    return nn.Identity()


def _laws(config: PhycineConfig, dt: float) -> Dynamics:
    if config.dynamics == "pairwise":
        return PairwiseDynamics(config.hidden)
    if config.dynamics == "transformer":
        return SlotTransformer(config.hidden)
    return Laws(config.hidden, charge=config.charge, mass=config.mass, dt=dt)


def fit_settings(config: PhycineConfig) -> FitSettings:
    """How the masses and charges of a clip are found."""
    return FitSettings(
        window=config.window,
        noise=config.noise,
        infer_steps=config.infer_steps,
        infer_lr=config.infer_lr,
        pull_mass=config.pull_mass,
        pull_charge=config.pull_charge,
        spread=config.spread,
    )
