"""Nets that measure a picture: landmarks and identity, learnt from renders with known truth only.

No judge is taught with a picture that an avatar drew. There are two identity nets of different widths and
seeds: one may serve a training loss, so that the other stays a fair judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.core import io
from mien.core.config import check_range, hash_dict
from mien.core.errors import ShapeError
from mien.core.seeds import derive
from mien.data.talking import TalkingHeads
from mien.engine.checkpoint import load_weights, save_weights
from mien.engine.stages import locked
from mien.methods.otavatar.rays import project
from mien.nn.margin_heads import CosFace
from mien.nn.picture_encoder import PictureEncoder

SIDE = 64
"""Pixels a side that the judges see; larger pictures are made smaller, each pixel a mean."""


def soft_argmax(maps: Tensor) -> Tensor:
    """Mean place of each map under softmax: logits (B, K, H, W) -> (B, K, 2), x and y in picture sides.

    p_k = sum_ij softmax(maps_k)_ij ((j + 1/2) / W, (i + 1/2) / H). O(B K H W).
    """
    height, width = maps.shape[2:]
    chance = maps.flatten(2).softmax(2).unflatten(2, (height, width))
    at = [(torch.arange(n, device=maps.device) + 0.5) / n for n in (width, height)]
    return torch.stack([(chance.sum(2) * at[0]).sum(2), (chance.sum(3) * at[1]).sum(2)], -1)


_SPREAD = 0.08  # of a landmark's place from picture to picture, sides


class LandmarkNet(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] -> the 68 landmarks (B, 68, 2) in picture sides. O(B S^2).

    The encoder's maps, from coarse to fine, are added up to one heat map of 32 x 32 for each landmark, with a
    Gaussian around its mean place as the prior.

    Args:
        mean: (68, 2) the mean places; default: the middle of the picture.
        widths: of the encoder.
        width: channels of the sums.
    """

    mean: Tensor

    def __init__(
        self, mean: Tensor | None = None, widths: tuple[int, ...] = (16, 32, 64, 96), width: int = 32
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((68, 2), 0.5) if mean is None else mean)
        self.blocks = PictureEncoder(SIDE, 1, widths).blocks
        self.beside = nn.ModuleList(nn.Conv2d(w, width, 1) for w in widths)
        self.mixed = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in widths)
        self.last = nn.Conv2d(width, 68, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Landmarks."""
        maps = [reduced(images)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        levels = list(zip(maps[1:], self.beside, self.mixed, strict=True))[::-1]
        total: Tensor | None = None
        for found, beside, mixed in levels:
            own = beside(found)
            if total is not None:
                own = own + F.interpolate(total, own.shape[2:], mode="bilinear")
            total = F.silu(mixed(own))
        return soft_argmax(self.last(total) + self._prior(SIDE // 2))

    def _prior(self, side: int) -> Tensor:
        """-|x - mean|^2 / (2 sigma^2) at the pixels of the maps: (68, side, side)."""
        off = (torch.arange(side, device=self.mean.device) + 0.5) / side - self.mean[..., None]
        x, y = off.square().unbind(1)
        return -(y[:, :, None] + x[:, None, :]) / (2 * _SPREAD**2)


class IdentityNet(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] -> unit vectors (B, 64), alike for pictures of one person. O(B S^2).

    Args:
        widths: of the encoder.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 64, 96)) -> None:
        super().__init__()
        self.encoder = PictureEncoder(SIDE, 64, widths)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings."""
        return F.normalize(self.encoder(reduced(images)), dim=1)


def reduced(images: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) as the judges see them, (B, 3, 64, 64)."""
    if images.shape[-1] > SIDE:
        return F.interpolate(images, (SIDE, SIDE), mode="area")
    return images


@dataclass(frozen=True)
class JudgeSettings:
    """How the judges are taught.

    Attributes:
        steps: of each net.
        batch: pictures of a step.
        lr: of Adam, falling to 0 along a cosine.
        margin: CosFace's, on the cosine.
        scale: CosFace's.
        shift: largest displacement of a training picture, in pixels.
        softened: share of the training pictures that are halved and doubled again: avatars are less sharp
            than renders.
    """

    steps: int = 1000
    batch: int = 16
    lr: float = 4e-3
    margin: float = 0.2
    scale: float = 24.0
    shift: int = 2
    softened: float = 0.2

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            check_range("judges", name, getattr(self, name), 1, 1_000_000)
        check_range("judges", "shift", self.shift, 0, SIDE // 4)
        check_range("judges", "softened", self.softened, 0.0, 1.0)


class Judges(NamedTuple):
    """What is taught.

    Attributes:
        landmarks: measures expressions.
        identity: judges likeness (CSIM), and nothing else.
        trainer: another identity net, for losses of a training.
    """

    landmarks: LandmarkNet
    identity: IdentityNet
    trainer: IdentityNet


class JudgePictures(NamedTuple):
    """All pictures of a set, as the judges are taught with them.

    Attributes:
        images: (N, 3, 64, 64) uint8.
        points: (N, 68, 2) landmarks in picture sides.
        person: (N,).
    """

    images: Tensor
    points: Tensor
    person: Tensor


def judge_pictures(heads: TalkingHeads) -> JudgePictures:
    """Every view of every moment. O(P M V S^2) time, O(P M V) of 64 x 64 pictures memory.

    Raises:
        ShapeError: pictures of no multiple and no divisor of 64 pixels.
    """
    people, moments, views, size = heads.images.shape[:4]
    if size % SIDE and SIDE % size:
        raise ShapeError(f"pictures of {size} pixels; the judges take multiples of {SIDE}, or its divisors")
    k, times = max(1, size // SIDE), max(1, SIDE // size)
    count = people * moments * views
    out = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for n in range(people):
        large = heads.images[n, ..., :3].repeat(times, -3).repeat(times, -2)
        tiles = large.reshape(-1, SIDE, k, SIDE, k, 3)
        out[n * moments * views :][: moments * views] = np.rint(tiles.mean((2, 4)))
    points = project(
        torch.from_numpy(heads.points).flatten(0, 1), torch.from_numpy(heads.cameras).flatten(0, 1)
    )
    person = torch.arange(people).repeat_interleave(moments * views)
    return JudgePictures(torch.from_numpy(out).movedim(-1, 1), points.flatten(0, 1), person)


def varied(
    pictures: JudgePictures, pick: Tensor, settings: JudgeSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Some pictures in [-1, 1], moved and softened at random, with their landmarks. O(B).

    Args:
        pictures: all.
        pick: (B,) which.
        settings: how far, how often.
        generator: of random numbers, on the CPU.
    """
    s, count = settings.shift, len(pick)
    clear = pictures.images[pick].float() / 127.5 - 1
    soft = F.interpolate(F.avg_pool2d(clear, 2), scale_factor=2, mode="bilinear")
    chosen = torch.rand(count, 1, 1, 1, generator=generator) < settings.softened
    padded = F.pad(torch.where(chosen, soft, clear), (s, s, s, s), value=1.0)
    at = torch.randint(0, 2 * s + 1, (count, 2), generator=generator)
    rows, columns = (at[:, i, None] + torch.arange(SIDE) for i in (1, 0))
    moved = padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return moved.movedim(-1, 1), pictures.points[pick] + (s - at[:, None]) / SIDE


def teach(
    net: nn.Module,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    pictures: JudgePictures,
    settings: JudgeSettings,
    seed: int,
) -> None:
    """Adam on random pictures. O(steps batch).

    Args:
        net: everything that is taught.
        loss: of pictures (B, 3, 64, 64), landmarks (B, 68, 2) and people (B,).
        pictures: all.
        settings: how.
        seed: of the order and of the variations.
    """
    device = next(net.parameters()).device
    generator = torch.Generator().manual_seed(derive(seed, "pictures"))
    optimizer = torch.optim.Adam(net.parameters(), settings.lr)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    net.train()
    for _ in range(settings.steps):
        pick = torch.randint(len(pictures.images), (settings.batch,), generator=generator)
        images, points = varied(pictures, pick, settings, generator)
        value = loss(images.to(device), points.to(device), pictures.person[pick].to(device))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        rate.step()
    net.eval()


_GAPS = ((62, 66), (37, 41), (38, 40), (43, 47), (44, 46), (48, 54), (19, 37), (24, 44))
"""Pairs of landmarks whose distance is an expression: lips, lids, corners of the mouth, brows."""


def landmark_loss(found: Tensor, true: Tensor) -> Tensor:
    """L = mean |p - p*| + mean over pairs |(p_a - p_b) - (p*_a - p*_b)|, in pixels of 64: a scalar. O(B).

    The second term asks for openings of a pixel or less, which the first hardly sees.

    Args:
        found: (B, 68, 2) in picture sides.
        true: (B, 68, 2).
    """
    error, (a, b) = SIDE * (found - true), map(list, zip(*_GAPS, strict=True))
    return error.abs().mean() + (error[:, a] - error[:, b]).abs().mean()


def teach_landmarks(pictures: JudgePictures, settings: JudgeSettings, seed: int) -> LandmarkNet:
    """A net that finds landmarks (`landmark_loss`). As `teach`."""
    torch.manual_seed(derive(seed, "landmarks"))
    net = LandmarkNet(pictures.points.mean(0))
    teach(net, lambda x, p, _: landmark_loss(net(x), p), pictures, settings, seed)
    return net


def teach_identity(
    pictures: JudgePictures, settings: JudgeSettings, seed: int, widths: tuple[int, ...]
) -> IdentityNet:
    """A net that tells people apart: CosFace over the people of the set. As `teach`."""
    torch.manual_seed(derive(seed, "identity"))
    net = IdentityNet(widths)
    people = int(pictures.person.max()) + 1
    head = CosFace(64, people, settings.margin, settings.scale)
    both = nn.ModuleList([net, head])
    teach(both, lambda x, _, y: F.cross_entropy(head(net(x), y), y), pictures, settings, seed)
    return net


_VERSION = 1  # of the nets and their teaching
JUDGE_WIDTHS, TRAINER_WIDTHS = (24, 48, 64, 96), (16, 32, 64, 128)
"""Of the two identity nets."""


def train_judges(heads: TalkingHeads, seed: int = 0, settings: JudgeSettings | None = None) -> Judges:
    """Teaches all three nets from the training people's renders; about 100 s of a core. O(steps batch).

    Args:
        heads: training people.
        seed: of everything.
        settings: default `JudgeSettings`.

    Raises:
        ShapeError: as `judge_pictures`.
    """
    own, pictures = settings or JudgeSettings(), judge_pictures(heads)
    with torch.random.fork_rng(devices=[]):
        return Judges(
            teach_landmarks(pictures, own, derive(seed, "landmark judge")),
            teach_identity(pictures, own, derive(seed, "identity judge"), JUDGE_WIDTHS),
            teach_identity(pictures, own, derive(seed, "identity trainer"), TRAINER_WIDTHS),
        )


def judges(
    heads: TalkingHeads, fingerprint: str, seed: int = 0, settings: JudgeSettings | None = None
) -> Judges:
    """`train_judges`, kept in ``$MIEN_HOME/judges``: taught when they are first asked for.

    Args:
        heads: training people.
        fingerprint: of their set.
        seed: of everything.
        settings: default `JudgeSettings`.

    Raises:
        ShapeError: as `train_judges`.
        WeightsError: the kept file is damaged.
    """
    own = settings or JudgeSettings()
    key = hash_dict(
        {"version": _VERSION, "data": fingerprint, "people": len(heads.people), "seed": seed, **asdict(own)}
    )
    file = io.home() / "judges" / key / "weights.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.parent, patience=600.0):
        if file.is_file():
            return _loaded(file)
        found = train_judges(heads, seed, own)
        save_weights(nn.ModuleList(found), file)
        return found


def _loaded(file: Path) -> Judges:
    found = Judges(LandmarkNet(), IdentityNet(JUDGE_WIDTHS), IdentityNet(TRAINER_WIDTHS))
    load_weights(nn.ModuleList(found), file)
    for net in found:
        net.eval()
    return found


def landmark_error(net: LandmarkNet, pictures: JudgePictures, batch: int = 256) -> NDArray[np.float64]:
    """(N,) mean Euclidean distance of found and true landmarks, in pixels of 64. O(N)."""
    found = _in_batches(net, pictures.images, batch)
    return cast("NDArray[np.float64]", SIDE * (found - pictures.points).norm(dim=-1).mean(1).double().numpy())


def same_person_auc(net: IdentityNet, pictures: JudgePictures, batch: int = 256) -> float:
    """Area under the ROC of cosines: pairs of pictures of one person against pairs of two. O(N^2)."""
    from sklearn.metrics import roc_auc_score

    unit = _in_batches(net, pictures.images, batch)
    a, b = torch.triu_indices(len(unit), len(unit), 1)
    same = pictures.person[a] == pictures.person[b]
    return float(roc_auc_score(same.numpy(), (unit[a] * unit[b]).sum(1).numpy()))


@torch.no_grad()
def _in_batches(net: nn.Module, images: Tensor, batch: int) -> Tensor:
    """Outputs, on the CPU, for uint8 pictures."""
    device = next(net.parameters()).device
    return torch.cat([net((x.float() / 127.5 - 1).to(device)).cpu() for x in images.split(batch)])
