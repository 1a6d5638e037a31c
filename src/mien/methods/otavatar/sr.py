"""Super-resolution is learnt on crops: a few rays of a raw picture, enlarged, against the true picture there.

    L = sum over scales s of mean_v (|d_s| + |dx d_s| + |dy d_s|),   d = SR(raw, feat, w) - x

v is 0 where a crop's edge shows (`MARGIN`), 1 elsewhere, and more near mouth and eyes. Planes, decoder and
controller stay as they are, and no gradient of L reaches the codes: those are kept for each person and learn
from the raw picture, w_id = argmin mean |raw(w_id + dw) - x at the raw size|. So super-resolution is shown
the errors that it will meet.

Reconstruction: OTAvatar (arXiv 2303.14662) takes the super-resolution of a trained GAN, EG3D's.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from mien.core.config import OptimConfig
from mien.core.errors import ConfigError
from mien.data.talking_loader import TalkingBatch
from mien.engine.task import Clock, ManualTask, StepOut, UpdateContext
from mien.methods.otavatar.config import OtavatarConfig
from mien.methods.otavatar.generator import MARGIN, SuperResolution
from mien.methods.otavatar.losses import edge_features
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import PARTS, TargetRays, look, part_mask, project
from mien.nn.style_blocks import StyleBlock


class CropPlaces(NamedTuple):
    """Where the crops of B raw pictures lie.

    Attributes:
        top: (B,) first row.
        left: (B,) first column.
        side: of a crop, raw pixels.
        whole: side of the raw picture.
    """

    top: Tensor
    left: Tensor
    side: int
    whole: int

    def cut(self, pictures: Tensor, scale: int) -> Tensor:
        """The crops (B, C, scale side, scale side) of pictures ``scale`` times as large. O(B C crop)."""
        along = torch.arange(scale * self.side, device=pictures.device)
        rows, columns = (scale * at[:, None] + along for at in (self.top, self.left))
        who = torch.arange(len(pictures), device=pictures.device)[:, None, None]
        return pictures[who, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def uv(self) -> Tensor:
        """(B, side^2, 2) places of the raw pixels, row by row, in picture sides."""
        along = torch.arange(self.side, device=self.top.device) + 0.5
        v, u = ((at[:, None] + along) / self.whole for at in (self.top, self.left))
        grid = (u[:, None, :].expand(-1, self.side, -1), v[:, :, None].expand(-1, -1, self.side))
        return torch.stack(grid, -1).flatten(1, 2)

    def inner(self, scale: int, margin: int = MARGIN) -> Tensor:
        """(B, 1, scale side, scale side) 0 near edges of the crop that are none of the picture, else 1."""
        along = torch.arange(scale * self.side, device=self.top.device)
        low, high = scale * margin, scale * (self.side - margin)

        def kept(at: Tensor) -> Tensor:
            first, last = at[:, None] == 0, at[:, None] == self.whole - self.side
            return ((along >= low) | first) & ((along < high) | last)

        return (kept(self.top)[:, :, None] & kept(self.left)[:, None, :])[:, None].float()


def pick_crops(
    points: Tensor, cameras: Tensor, side: int, whole: int, parts: float, generator: torch.Generator
) -> CropPlaces:
    """Random crops: a share of them around the mouth or an eye, the others anywhere. O(B).

    Args:
        points: (B, 68, 3) landmarks.
        cameras: (B, 25).
        side: of a crop, raw pixels.
        whole: side of the raw picture.
        parts: share of the former.
        generator: of random numbers, on the device of the others.
    """
    seen = project(points, cameras[:, None])[:, 0]
    centres = torch.stack([seen[:, part].mean(1) for part in PARTS], 1)
    b, device = len(points), points.device
    which = torch.randint(len(PARTS), (b,), generator=generator, device=device)
    anywhere = torch.rand(b, 2, generator=generator, device=device) * (whole - side + 1)
    near = centres[torch.arange(b, device=device), which] * whole - side / 2
    is_near = torch.rand(b, 1, generator=generator, device=device) < parts
    corner = torch.where(is_near, near, anywhere.floor()).round().long().clamp(0, whole - side)
    return CropPlaces(corner[:, 1], corner[:, 0], side, whole)


def weighted_edges(off: Tensor, weight: Tensor, scales: int = 2) -> Tensor:
    """Sum over scales of the weighted means of |d|, |dx d| and |dy d| of an error d: a scalar. O(B H W).

    Scale s is error and weight halved s times; the differences (`edge_features`) are linear, so those of the
    error are the error of those.

    Args:
        off: (B, C, H, W) predicted minus true.
        weight: (B, 1, H, W), not negative; a difference has that of its first pixel.
        scales: at least 1.

    >>> float(weighted_edges(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4), scales=2))
    2.0
    """
    total = off.new_zeros(())
    for scale in range(scales):
        if scale:
            off, weight = F.avg_pool2d(off, 2), F.avg_pool2d(weight, 2)
        for d, w in zip(edge_features(off), (weight, weight[..., :-1], weight[..., :-1, :]), strict=True):
            total = total + (d.abs().mean(1, keepdim=True) * w).sum() / w.sum().clamp(min=1e-6)
    return total


class EnlargeTask(ManualTask[TalkingBatch]):
    """One update: super-resolution on a crop of one view of each of B moments, and the people's kept codes.

    Args:
        net: all but its super-resolution is left as it is.
        config: how.
        optim: of the super-resolution.
        bank: (P, W) first codes of the training people.
        size: side of the true pictures.

    Raises:
        ConfigError: the super-resolution gives pictures of another size.
    """

    def __init__(
        self, net: AvatarNet, config: OtavatarConfig, optim: OptimConfig, bank: Tensor, size: int
    ) -> None:
        super().__init__()
        enlarge = net.generator.super_resolution
        if enlarge is None or enlarge.size != size:
            given = "none" if enlarge is None else enlarge.size
            raise ConfigError(
                f"super-resolution to {given} pixels cannot learn from data.size={size}; set method.sr_side"
                f" and sr_channels: sr_side 2^blocks = size"
            )
        self.net, self.config, self.optim = net, config, optim
        self.enlarge: SuperResolution = enlarge
        self.scale = size // enlarge.side
        net.requires_grad_(False)
        enlarge.requires_grad_(True)
        for block in enlarge.blocks:  # it starts as the plain enlarged picture
            nn.init.zeros_(cast("StyleBlock", block).to_rgb.weight)
        self.bank = nn.Embedding.from_pretrained(bank, freeze=False, sparse=True)

    def configure(self) -> dict[str, Optimizer]:
        """Adam of the super-resolution; of the codes a sparse one, which moves only those of a step."""
        spread, rate = float(self.net.w_std.mean()), self.config.inner_lr or 0.05
        return {
            "main": torch.optim.Adam(self.enlarge.parameters(), self.optim.lr, (0.9, 0.99)),
            "bank": torch.optim.SparseAdam(list(self.bank.parameters()), lr=rate * spread),
        }

    def update(self, batch: TalkingBatch, clock: Clock, context: UpdateContext) -> StepOut:
        """One update on moments (B, 1, V)."""
        raw, sharp = self.losses(batch, self._generator())
        for optimizer in context.optimizers.values():
            optimizer.zero_grad()
        context.backward(raw + sharp)
        for optimizer in context.optimizers.values():
            optimizer.step()
        logs = {"raw": raw.detach(), "enlarged": sharp.detach()}
        return StepOut(logs["raw"] + logs["enlarged"], logs)

    def losses(self, batch: TalkingBatch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """That of the codes and that of the super-resolution."""
        own, net = self.config, self.net
        pictures, cameras, points = one_view(batch, generator)
        share = min(1.0, own.face + own.parts)
        places = pick_crops(points, cameras, own.crop or 32, self.enlarge.side, share, generator)
        true = 2 * places.cut(pictures[:, :3], self.scale) - 1
        with torch.no_grad():
            dw = net.controller(batch.windows[:, 0])[0]
        ws = net.moved(self.bank(batch.person)[:, None], dw)
        features = crop_of(net, ws, cameras, places)
        raw = (features[:, :3] - F.avg_pool2d(true, self.scale)).abs().mean()
        features = features.detach()
        drawn = self.enlarge.enlarge(features[:, :3], features, ws.detach())
        near = part_mask(points, cameras[:, None], pictures.shape[-1]).float()
        more = 3.0 if own.emphasis is None else own.emphasis
        weight = places.inner(self.scale) * (1 + more * places.cut(near, self.scale))
        return raw, weighted_edges(drawn - true, weight)

    def _generator(self) -> torch.Generator:
        """The engine seeds torch's generator before every update; draws here come from it."""
        return torch.Generator(self.net.w_avg.device).manual_seed(int(torch.randint(2**62, ())))

    def exported(self) -> nn.Module:
        """The net."""
        return cast("nn.Module", self.net)


def one_view(batch: TalkingBatch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A random view of each moment: pictures (B, 4, S, S), cameras (B, 25), landmarks (B, 68, 3)."""
    device = batch.images.device
    who = torch.arange(len(batch), device=device)
    view = torch.randint(batch.images.shape[2], (len(batch),), generator=generator, device=device)
    return batch.images[who, 0, view], batch.cameras[who, 0, view], batch.points[:, 0]


def crop_of(net: AvatarNet, ws: Tensor, cameras: Tensor, places: CropPlaces) -> Tensor:
    """What a crop of the raw picture shows: features (B, F, side, side). O(B (planes + side^2 samples)).

    Args:
        net: the avatar's net.
        ws: (B, slots, W).
        cameras: (B, 25).
        places: of the crops.
    """
    own, uv = net.config, places.uv()
    blank = uv.new_zeros(uv.shape[:2])
    rays = TargetRays(cameras[:, None], uv[:, None], blank[..., None], blank, blank)
    out = look(net.planes(ws), net.generator.decoder, rays, own.settings(), own.samples)
    found: Tensor = out.features.transpose(1, 2).unflatten(2, (places.side, places.side))
    return found
