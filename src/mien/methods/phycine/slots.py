"""Slot attention: slots compete for the places of a picture; over a clip each starts from where it was.

Locatello et al., arXiv 2006.15055; over time as in SAVi, Kipf et al., arXiv 2111.12594.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.methods.phycine.decoder import Layers, PlaceDecoder, Size, position_grid, sides
from mien.methods.phycine.perception import Percepts, check_video
from mien.nn.softplus import softplus

_FOCUS = 4.0  # a at first
_SPREAD = 0.5  # standard deviation of the moved starts, half sides of the picture


class Encoder(nn.Module):
    """A picture -> features of its places, half the side, that know where they are.

    Colours are taken relative to the picture's mean, which is nearly the background's: bright objects on a
    bright ground are then as plain as dark ones.

    Args:
        size: (H, W) of the pictures.
        width: channels.
    """

    places: Tensor

    def __init__(self, size: tuple[int, int], width: int = 32) -> None:
        super().__init__()
        grid = position_grid(*((n + 1) // 2 for n in size))
        self.register_buffer("places", grid.flatten(1).T, persistent=False)
        self.convs = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.ReLU(),
        )
        self.place = nn.Linear(4, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, H W / 4, width)."""
        at = torch.cat([self.places, -self.places], 1)
        unlike = 2 * (images - images.mean((2, 3), keepdim=True))
        features: Tensor = self.mlp(self.convs(unlike).flatten(2).mT + self.place(at))
        return features


def spread_out(count: int) -> Tensor:
    """(count, 2) first places, even on an ellipse around the middle."""
    turn = torch.arange(count) * (2 * math.pi / count)
    return torch.stack([0.8 * turn.cos(), 0.5 * turn.sin()], 1)


class SlotAttention(nn.Module):
    """Slots ask the features: softmax over the slots, weighted mean over the places, GRU, MLP.

    A slot is its place (2 numbers, [-1, 1], x right and y down) and its code (D); it looks around its place,
    as far as its code says: logit = q.k / sqrt(D) - a |x - place|^2. The place becomes the mean of what the
    slot sees, as in invariant slot attention (Biza et al., arXiv 2302.04973). Slot 0 is the background's: it
    has no place (it stays 0) and looks everywhere alike, a = 0.

    Args:
        inputs: length of a feature.
        slots: K.
        dim: D, length of a code.
        iterations: of a still picture.
        learned: every slot has its own learned start; else all are drawn from one learned Gaussian.

    Raises:
        ConfigError: counts below 1.
    """

    placed: Tensor

    def __init__(
        self, inputs: int, slots: int = 5, dim: int = 16, iterations: int = 3, *, learned: bool = True
    ) -> None:
        super().__init__()
        if min(slots, dim, iterations) < 1:
            raise ConfigError(f"slots, dim, iterations must be at least 1; got {slots}, {dim}, {iterations}")
        self.slots, self.dim, self.iterations = slots, dim, iterations
        own = slots if learned else 1
        self.mean = nn.Parameter(torch.cat([spread_out(own), torch.randn(own, dim) * dim**-0.5], 1))
        self.log_std = None if learned else nn.Parameter(torch.zeros(1, 2 + dim))
        self.register_buffer("placed", (torch.arange(slots) > 0).float()[:, None], persistent=False)
        self.norm_inputs, self.norm_slots, self.norm_mlp = (nn.LayerNorm(d) for d in (inputs, dim, dim))
        self.to_k, self.to_v = (nn.Linear(inputs, dim, bias=False) for _ in range(2))
        self.to_q, self.to_a = nn.Linear(dim, dim, bias=False), nn.Linear(dim, 1)
        nn.init.constant_(self.to_a.bias, _FOCUS)
        self.gru = nn.GRUCell(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def start(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """(B, K, 2 + D) first slots."""
        slots = self.mean.expand(batch, self.slots, -1)
        if self.log_std is not None:
            slots = slots + self.log_std.exp() * torch.randn(slots.shape, generator=generator).to(slots)
        place, code = slots.split([2, self.dim], 2)
        return torch.cat([self.placed * place, code], 2)

    def forward(
        self, features: Tensor, at: Tensor, slots: Tensor, iterations: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Slots (B, K, 2 + D) and their shares (B, K, P) of the places, sum 1 over K.

        The gradient passes the last iteration only; the slots before it are a fixed point's starting
        value (implicit slot attention, Chang et al., arXiv 2207.00787). O(iterations B K P D).

        Args:
            features: (B, P, inputs).
            at: (P, 2) their places.
            slots: (B, K, 2 + D) to start from.
            iterations: None = as built.

        Raises:
            ShapeError: shapes that do not fit.
        """
        if (
            features.ndim != 3
            or slots.ndim != 3
            or features.shape[0] != slots.shape[0]
            or slots.shape[2] != self.dim + 2
        ):
            raise ShapeError(
                f"features (B, P, inputs), slots (B, K, {self.dim + 2}): got {tuple(features.shape)},"
                f" {tuple(slots.shape)}"
            )
        features = self.norm_inputs(features)
        k, v = self.to_k(features), self.to_v(features)
        start, shares, count = slots, k.new_zeros(()), self.iterations if iterations is None else iterations
        for left in reversed(range(count)):
            place, code = (slots if left else slots.detach() + start - start.detach()).split([2, self.dim], 2)
            asking = self.norm_slots(code)
            far = (at - place[:, :, None]).square().sum(3)
            logits = self.to_q(asking) @ k.mT * self.dim**-0.5
            logits = logits - self.placed * softplus(self.to_a(asking)) * far
            shares = logits.softmax(1)
            seen = 1e8 * shares + 1  # not shares + 1e-8, which graph optimisers take for shares
            seen = seen / seen.sum(2, keepdim=True)
            code = self.gru((seen @ v).flatten(0, 1), code.flatten(0, 1)).view_as(code)
            slots = torch.cat([self.placed * (seen @ at), code + self.mlp(self.norm_mlp(code))], 2)
        return slots, shares


class SlotFrames(NamedTuple):
    """Slots of clips and the layers they are drawn as.

    Attributes:
        slots: (B, T, K, 2 + D).
        layers: of (B, T, K, ., H, W).
    """

    slots: Tensor
    layers: Layers


class SlotVideo(nn.Module):
    """Slot attention over clips.

    Either each frame starts from the slots of the frame before (``carried``), or each frame is seen alone,
    from several starts of which the one that explains it best is kept; slots must then be linked over time
    (`mien.methods.phycine.tracks.relink`). The second finds more where the net was trained on single frames.

    Args:
        size: of the frames, even.
        slots: K, background among them.
        dim: D.
        width: channels of encoder and decoder.
        iterations: of a first frame.
        later: iterations of each later frame, if carried.
        sure: iterations of a frame seen alone; None = ``iterations``, with which it is trained.
        starts: of a frame seen alone; all but the first with places moved at random.
        carried: as above.
        learned: as in `SlotAttention`.

    Raises:
        ConfigError: counts below 1.
    """

    def __init__(
        self,
        size: Size = 48,
        slots: int = 5,
        dim: int = 16,
        width: int = 32,
        iterations: int = 3,
        later: int = 2,
        sure: int | None = None,
        starts: int = 4,
        *,
        carried: bool = False,
        learned: bool = True,
    ) -> None:
        super().__init__()
        if min(later, starts) < 1:
            raise ConfigError(f"later and starts must be at least 1; got {later}, {starts}")
        self.later, self.sure, self.starts, self.carried = later, sure, starts, carried
        self.size = sides(size)
        self.encoder = Encoder(self.size, width)
        self.attention = SlotAttention(width, slots, dim, iterations, learned=learned)
        self.decoder = PlaceDecoder(dim, self.size, width)

    def frames(self, video: Tensor, generator: torch.Generator | None = None) -> SlotFrames:
        """For training: a video (B, T, 3, H, W) in [0, 1], each frame from the slots before. O(B T K H W).

        Raises:
            ShapeError: another shape.
        """
        check_video(video, self.size)
        batch, count = video.shape[:2]
        features = self.encoder(video.flatten(0, 1)).unflatten(0, (batch, count))
        slots, out = self.attention.start(batch, generator), []
        for t in range(count):
            slots, _ = self.attention(features[:, t], self.encoder.places, slots, self.later if t else None)
            out.append(slots)
        stacked = torch.stack(out, 1)
        return SlotFrames(stacked, self.decoder(stacked))

    def alone(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Slots (N, K, 2 + D) of images (N, 3, H, W): of all starts those that draw the image best.

        O(starts N K H W).
        """
        features = self.encoder(images)
        found = [self._seen_from(features, i > 0, generator) for i in range(self.starts)]
        if self.starts == 1:
            return found[0]
        errors = [(self.decoder(slots).image - images).square().mean((1, 2, 3)) for slots in found]
        best = torch.stack(errors).argmin(0)
        chosen: Tensor = torch.stack(found)[best, torch.arange(images.shape[0], device=images.device)]
        return chosen

    def _seen_from(self, features: Tensor, moved: bool, generator: torch.Generator | None) -> Tensor:
        """Slots (N, K, 2 + D) from the learned start, or with its places moved at random."""
        place, code = self.attention.start(features.shape[0], generator).split([2, self.attention.dim], 2)
        if moved:
            by = _SPREAD * torch.randn(place.shape, generator=generator).to(place)
            place = place + self.attention.placed * by
        start = torch.cat([place, code], 2)
        slots: Tensor = self.attention(features, self.encoder.places, start, self.sure)[0]
        return slots

    def forward(self, video: Tensor, generator: torch.Generator | None = None) -> Percepts:
        """What is seen; without a generator, the same starts at every call."""
        check_video(video, self.size)
        generator = generator or torch.Generator().manual_seed(0)
        if self.carried:
            slots, layers = self.frames(video, generator)
        else:
            slots = self.alone(video.flatten(0, 1), generator).unflatten(0, video.shape[:2])
            layers = self.decoder(slots)
        return Percepts(layers.masks.squeeze(-3), slots, layers.image)
