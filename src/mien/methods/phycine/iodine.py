"""IODINE: the posterior of each slot is refined in rounds by a net that sees how the picture is explained.

Greff et al., arXiv 1903.00450; the inputs of a refinement as in the public code of OP3.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.phycine.decoder import BroadcastDecoder, Layers, Size, SmallDecoder, position_grid, sides
from mien.methods.phycine.likelihood import (
    gaussian_kl,
    mixture_nll,
    op3_std,
    over_rounds,
    pixel_log_likelihood,
)
from mien.methods.phycine.perception import Percepts, check_video

CHANNELS = 17
"""Picture 3, mean 3, mask 1, mask logit 1, mask posterior 1, gradient of mean 3 and of mask 1, likelihood of
the pixel 1 and without the slot 1, place 2."""


class Posterior(NamedTuple):
    """Diagonal Gaussians of slots: std = sqrt(softplus(raw) + 1e-5).

    Attributes:
        mean: (B, K, D).
        raw: (B, K, D).
    """

    mean: Tensor
    raw: Tensor


class Round(NamedTuple):
    """What a round ends with.

    Attributes:
        posterior: after the round.
        layers: as drawn from a sample of the posterior before the round's update.
        loss: (B,) -log p(x | z) + beta KL, nats.
    """

    posterior: Posterior
    layers: Layers
    loss: Tensor


def normalised(x: Tensor, dims: int) -> Tensor:
    """Mean 0 and variance 1 over the last ``dims`` axes: a layer norm without weights."""
    return F.layer_norm(x, x.shape[x.ndim - dims :])


def refinement_inputs(
    x: Tensor, layers: Layers, grad_means: Tensor, grad_masks: Tensor, sigma: float
) -> Tensor:
    """(B, K, 17, H, W) what a refinement sees of a picture, detached; the order is that of `CHANNELS`.

    p_k = N(x; mu_k, sigma^2) over three channels. Mask posterior: p_k / sum_j p_j. Likelihood: log sum_k
    pi_k p_k. Without slot k: log sum_(j != k) pi_j p_j / (1 - pi_k). O(B K H W).

    Args:
        x: (B, 3, H, W).
        layers: of (B, K, ., H, W).
        grad_means: (B, K, 3, H, W) gradient of the loss with respect to the means.
        grad_masks: (B, K, 1, H, W) and to the mask logits.
        sigma: of the likelihood.
    """
    means, logits = (t.detach() for t in layers)
    count, log_pi = means.shape[1], logits.detach().log_softmax(1)
    log_p = pixel_log_likelihood(x, means, sigma).sum(2, keepdim=True)
    log_joint = log_pi + log_p
    own = torch.eye(count, dtype=torch.bool, device=x.device)[None, :, :, None, None, None]
    others = log_joint[:, None].masked_fill(own, -torch.inf).logsumexp(2)
    rest = log_pi[:, None].masked_fill(own, -torch.inf).logsumexp(2)
    seen = [
        x[:, None].expand_as(means),
        means,
        log_pi.exp(),
        logits,
        log_p.softmax(1),
        normalised(grad_means, 3),
        normalised(grad_masks, 3),
        normalised(log_joint.logsumexp(1, keepdim=True), 3).expand_as(log_pi),
        normalised(others - rest, 3),
        position_grid(*x.shape[-2:]).to(x).expand(*means.shape[:2], -1, -1, -1),
    ]
    return torch.cat(seen, 2).detach()


class Refiner(nn.Module):
    """Picture inputs and posterior -> increments of mean and raw std.

    Convolutions that halve the side, average, MLP, beside (mean, raw, their layer-normed gradients, sample)
    into an LSTM.

    Args:
        dim: D.
        width: channels, a multiple of 8.
        hidden: of MLP and LSTM.
    """

    def __init__(self, dim: int, width: int = 32, hidden: int = 128) -> None:
        super().__init__()
        widths = (CHANNELS, width, width, width)
        self.convs = nn.Sequential(
            *(m for i, o in pairwise(widths) for m in (nn.Conv2d(i, o, 3, 2, 1), nn.CELU()))
        )
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.CELU())
        self.lstm = nn.LSTMCell(hidden + 5 * dim, hidden)
        self.head = nn.Linear(hidden, 2 * dim)

    def forward(
        self, seen: Tensor, vectors: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Increments (B, K, 2 D) and the LSTM's state.

        Args:
            seen: (B, K, 17, H, W).
            vectors: (B, K, 5 D).
            state: of the round before.
        """
        pooled = self.mlp(self.convs(seen.flatten(0, 1)).mean((2, 3)))
        state = self.lstm(torch.cat([pooled, vectors.flatten(0, 1)], 1), state)
        return self.head(state[0]).view(*seen.shape[:2], -1), state


class Iodine(nn.Module):
    """Rounds of refinement of frame 0, then ``later`` rounds for each frame from the posterior before it.

    Args:
        size: of the frames.
        slots: K.
        dim: D.
        width: channels of decoder and refiner.
        rounds: R of the first frame; 0 = draws the prior's start.
        later: of each later frame.
        sigma: of the likelihood.
        beta: weight of the divergence.
        small: `SmallDecoder`, else the published one.

    Raises:
        ConfigError: a count out of range.
    """

    def __init__(
        self,
        size: Size = 48,
        slots: int = 5,
        dim: int = 16,
        width: int = 32,
        rounds: int = 4,
        later: int = 1,
        sigma: float = 0.1,
        beta: float = 0.5,
        *,
        small: bool = True,
    ) -> None:
        super().__init__()
        if min(slots, dim) < 1 or min(rounds, later) < 0:
            raise ConfigError(
                f"slots, dim >= 1 and rounds, later >= 0 are needed; got {slots}, {dim}, {rounds}, {later}"
            )
        self.size, self.slots, self.rounds, self.later = sides(size), slots, rounds, later
        self.sigma, self.beta = sigma, beta
        self.mean, self.raw = (nn.Parameter(torch.full((1, 1, dim), v)) for v in (0.0, 0.54))
        self.decoder = (SmallDecoder if small else BroadcastDecoder)(dim, size, width)
        self.refiner = Refiner(dim, width)

    def start(self, batch: int) -> Posterior:
        """The learned first posterior, std about 1, the same for every slot."""
        return Posterior(*(p.expand(batch, self.slots, -1) for p in (self.mean, self.raw)))

    def explain(
        self, x: Tensor, posterior: Posterior, generator: torch.Generator | None
    ) -> tuple[Tensor, Round]:
        """A sample (B, K, D), its picture and its loss."""
        noise = torch.randn(posterior.mean.shape, generator=generator).to(x)
        std = op3_std(posterior.raw)
        sample = posterior.mean + std * noise
        layers = self.decoder(sample)
        loss = mixture_nll(x, layers.means, layers.logits, self.sigma)
        loss = loss + self.beta * gaussian_kl(posterior.mean, std).sum((1, 2))
        return sample, Round(posterior, layers, loss)

    def refine(
        self, x: Tensor, posterior: Posterior, rounds: int, generator: torch.Generator | None = None
    ) -> list[Round]:
        """``rounds`` refinements of a picture (B, 3, H, W), and the last posterior's picture: rounds + 1.

        The gradients a refinement sees are taken at the posterior itself and detached; the loss of each
        round trains decoder and refiner through all rounds before it. O(rounds B K H W).
        """
        state, out, training = None, [], torch.is_grad_enabled()
        for left in reversed(range(rounds + 1)):
            with torch.enable_grad():
                if not (training and posterior.mean.requires_grad):
                    posterior = Posterior(*(p.detach().requires_grad_() for p in posterior))
                sample, now = self.explain(x, posterior, generator)
                out.append(now)
                if not left:
                    break
                by_means, by_logits, *by_posterior = self._gradients(now, posterior)
            seen = refinement_inputs(x, now.layers, by_means, by_logits, self.sigma)
            vectors = [*posterior, *(normalised(g, 1) for g in by_posterior), sample]
            step, state = self.refiner(seen, torch.cat(vectors, 2).detach(), state)
            posterior = Posterior(*(p + d for p, d in zip(posterior, step.chunk(2, 2), strict=True)))
        return out

    @staticmethod
    def _gradients(now: Round, posterior: Posterior) -> tuple[Tensor, ...]:
        """Of the loss: by means and logits of the layers, by mean and raw of the posterior."""
        wanted = [now.layers.means, now.layers.logits, *posterior]
        return torch.autograd.grad(now.loss.sum(), wanted, retain_graph=True)

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """sum_r ((r + 1) / R) loss_r of pictures (B, 3, H, W): (B,), nats."""
        return over_rounds([r.loss for r in self.refine(x, self.start(len(x)), self.rounds, generator)])

    def forward(self, video: Tensor, generator: torch.Generator | None = None) -> Percepts:
        """What is seen; codes are means of the posteriors. O(B T K H W rounds)."""
        check_video(video, self.size)
        posterior, slots, layers = self.start(len(video)), [], []
        for t in range(video.shape[1]):
            count = self.later if t else self.rounds
            posterior = self.refine(video[:, t], posterior, count, generator)[-1].posterior
            slots.append(posterior.mean)
            layers.append(self.decoder(posterior.mean))
        masks, images = (
            torch.stack(part, 1) for part in zip(*((m.masks, m.image) for m in layers), strict=True)
        )
        return Percepts(masks.squeeze(3), torch.stack(slots, 1), images)
