"""Object tracks from percepts: where each object is, what it looks like, which slot is no object.

World units: x right, y up; the picture shows y in [-half, half] and as much of x as its shape allows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mien.core.errors import ShapeError
from mien.methods.phycine.perception import Percepts, check_video, reordered

LOOK = 7
"""Numbers of a look (`looks`)."""
_ALIKE = 0.12  # largest difference of a channel's mean to the background's: then it is background, too
_SIGMA = 0.1  # of colours, as in the mixture's likelihood
_PASSES = 8  # a slot that shows a part of its object grows to the whole
_BODY = 1.4  # radii of a body in which no other's centre lies: two that touch are two apart
_AROUND = 12  # frames before and after, among which an object's usual area is sought
_UNUSUAL = 0.2  # share by which its area may differ from that
_FAR = 1e3  # cost of a pair that cannot be matched, above every real one


@dataclass(frozen=True, eq=False)
class Tracks:
    """Slots of clips as objects; entries of an absent object are its last seen ones (zeros before the first).

    Attributes:
        place: (B, T, K, 2) centroids, world units, x right and y up.
        colour: (B, T, K, 3) mean colours in [0, 1].
        look: (B, T, K, 7) what it looks like (`looks`); means nothing where absent.
        area: (B, T, K) square world units.
        present: (B, T, K) bool: the slot shows an object; False for the background's.
        background: (B,) which slot is the background.
    """

    place: Tensor
    colour: Tensor
    look: Tensor
    area: Tensor
    present: Tensor
    background: Tensor

    def reordered(self, order: Tensor) -> Tracks:
        """Slot ``order[b, t, k]`` of frame t becomes slot k; the background keeps its number."""
        names = ("place", "colour", "look", "area", "present")
        return replace(self, **{n: reordered(getattr(self, n), order) for n in names})


def pixel_places(height: int, width: int, half: float) -> Tensor:
    """(H, W, 2) world places of the pixels' centres, x right and y up; the upper edge is at y = half."""
    y, x = (((torch.arange(n) + 0.5) * 2 - n) * (half / height) for n in (height, width))
    return torch.stack(torch.meshgrid(x, -y, indexing="xy"), 2)


def border(height: int, width: int) -> Tensor:
    """(H W,) 1 for the outermost pixels."""
    out = torch.ones(height, width)
    out[1:-1, 1:-1] = 0
    return out.flatten()


def find_background(masks: Tensor) -> Tensor:
    """The slot of each clip with the greatest share of the pictures: (B,) of masks (B, T, K, H, W)."""
    return masks.mean((1, 3, 4)).argmax(1)


def _pick_slot(values: Tensor, slot: Tensor) -> Tensor:
    """(B, T, 1, ...) of values (B, T, K, ...): slot[b] of each clip."""
    index = slot.view(-1, *[1] * (values.ndim - 1)).expand(-1, values.shape[1], 1, *values.shape[3:])
    return values.gather(2, index)


def last_seen(values: Tensor, present: Tensor) -> Tensor:
    """(B, T, K, ...): where absent, the value when last present, zero before the first time. O(B T K)."""
    steps = torch.arange(present.shape[1], device=present.device)[:, None]
    last = torch.where(present, steps, -1).cummax(1).values
    shape = (*last.shape, *[1] * (values.ndim - 3))
    held = values.gather(1, last.clamp_min(0).view(shape).expand_as(values))
    return torch.where((last >= 0).view(shape), held, 0.0)


def is_part(place: Tensor, area: Tensor, present: Tensor) -> Tensor:
    """(B, T, K) bool: the centre lies within `_BODY` radii sqrt(area / pi) of a larger slot's. O(B T K^2).

    Bodies do not lie in one another, so it shows a part of that.
    """
    far = torch.cdist(place, place)
    reach = _BODY * (area / torch.pi).sqrt()
    number = torch.arange(area.shape[2], device=area.device)
    is_tie = (area[..., None, :] == area[..., None]) & (number < number[:, None])
    larger = ((area[..., None, :] > area[..., None]) | is_tie) & present[..., None, :]
    return (larger & (far < reach[..., None, :])).any(3)


def is_whole(area: Tensor, present: Tensor) -> Tensor:
    """(B, T, K) bool: present, and as large as usual. O(B T K).

    Bodies keep their size: a slot whose area is not within a fifth of its median over the frames around shows
    a part of its object, or a part of another one as well, and its centroid is no place.

    Args:
        area: (B, T, K) of slots that keep their objects over time.
        present: (B, T, K) bool.
    """
    edge = area.new_full((area.shape[0], _AROUND, area.shape[2]), torch.nan)
    known = torch.cat([edge, torch.where(present, area, torch.nan), edge], 1)
    usual = known.unfold(1, 2 * _AROUND + 1, 1).nanmedian(-1).values
    return present & ((area / usual - 1).abs() < _UNUSUAL)


def bodies(front: Tensor, at: Tensor, place: Tensor, area: Tensor, present: Tensor) -> Tensor:
    """(B, T, K, P): of each pixel what is not the background's, given to the nearest object it can be of.

    Args:
        front: (B, T, P) in [0, 1].
        at: (P, 2) places of the pixels.
        place: (B, T, K, 2) of objects.
        area: (B, T, K) of what is known of them: pixels within `_BODY` radii can be theirs.
        present: (B, T, K) bool.
    """
    far = torch.cdist(place, at.expand(*place.shape[:2], -1, -1))
    can = present[..., None] & (far < _BODY * (area / torch.pi).sqrt()[..., None])
    nearest = torch.where(can, far, torch.inf).argmin(2, keepdim=True)
    own = torch.arange(place.shape[2], device=at.device)[:, None] == nearest
    return front[:, :, None] * (own & can)


def looks(weight: Tensor, video: Tensor, at: Tensor, place: Tensor, colour: Tensor) -> Tensor:
    """(B, T, K, 7) of bodies: mean colour, its deviation (a highlight, a rim), half of their fourfold moment.

        E[x^4 - 6 x^2 y^2 + y^4] / E[(x^2 + y^2)^2]

    It is taken about the centre: 0 of a disc, -.43 of a square, .43 of a diamond. O(B T K H W).
    """
    share = weight / weight.sum(3, keepdim=True).clamp_min(1e-9)
    squares = share @ video.flatten(3).mT.to(weight).square()
    deviation = (squares - colour.square()).clamp_min(0).sqrt()
    x, y = (at - place[..., None, :]).square().unbind(-1)
    turned, whole = (share * (x * x - 6 * x * y + y * y)).sum(3), (share * (x + y).square()).sum(3)
    fourfold = turned / whole.clamp_min(1e-9)
    return torch.cat([colour, deviation, fourfold[..., None] / 2], 3)


def object_tracks(percepts: Percepts, video: Tensor, half: float = 1.4, min_pixels: float = 4.0) -> Tracks:
    """Centroid, colour and area of each slot, counted where it is the strongest. O(B T K H W).

    A slot that shows the colour of the background is a part of it, not an object; one that lies in another's
    object is a part of that (`is_part`). Centroids are then taken over all that is not the background's there
    (`bodies`): masks are a little blurred. Of an object that the picture's edge cuts the place is unknown.

    Args:
        percepts: of the video.
        video: (B, T, 3, H, W) in [0, 1].
        half: the picture shows y in [-half, half].
        min_pixels: below, a slot shows nothing.

    Raises:
        ShapeError: percepts of another video.
    """
    check_video(video)
    masks = percepts.masks
    batch, frames, _, height, width = video.shape
    if masks.ndim != 5 or masks.shape[:2] != (batch, frames) or masks.shape[3:] != (height, width):
        raise ShapeError(f"masks {tuple(masks.shape)} are not of the video {tuple(video.shape)}")
    at, pixel = pixel_places(height, width, half).to(masks).flatten(0, 1), (2 * half / height) ** 2
    weight = torch.where(masks == masks.amax(2, keepdim=True), masks, 0.0).flatten(3)
    background = find_background(masks)

    def described() -> tuple[Tensor, Tensor, Tensor]:
        total = weight.sum(3)
        share = weight / total.clamp_min(1e-9)[..., None]
        return share @ at, share @ video.flatten(3).mT.to(masks), total

    place, colour, total = described()
    present = torch.arange(masks.shape[2], device=masks.device) != background[:, None, None]
    present = present & ((colour - _pick_slot(colour, background)).abs().amax(3) > _ALIKE)
    front = (
        1 - (-(video - _pick_slot(colour, background).mT[..., None]).square().sum(2) / (2 * _SIGMA**2)).exp()
    )
    for _ in range(_PASSES):
        present = present & (total >= min_pixels) & ~is_part(place, total * pixel, present)
        weight = bodies(front.flatten(2), at, place, total * pixel, present)
        place, colour, total = described()
    is_cut = (weight * border(height, width).to(weight)).sum(3) >= 1
    present = present & (total >= min_pixels) & ~is_cut
    area, look = total * pixel, looks(weight, video, at, place, colour)
    place, colour, area = (last_seen(v, present) for v in (place, colour, area))
    return Tracks(place, colour, look, area, present, background)


def assign(cost: NDArray[np.float64], limit: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost, none dearer than ``limit``; O(n^3)."""
    rows, columns = linear_sum_assignment(np.where(cost <= limit, cost, _FAR))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if cost[i, j] <= limit]


def distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, M) Euclidean distances between the rows of a (N, D) and b (M, D)."""
    return np.asarray(np.linalg.norm(a[:, None] - b[None], axis=-1))


def _relink_clip(
    place: NDArray[np.float64],
    colour: NDArray[np.float64],
    present: NDArray[np.bool_],
    background: int,
    limit: float,
) -> NDArray[np.int64]:
    """(T, K): which slot of each frame goes on with slot k of the first; the background's stays."""
    frames, count = present.shape
    order = np.tile(np.arange(count), (frames, 1))
    objects = [k for k in range(count) if k != background]
    at, speed, look, known = place[0].copy(), np.zeros((count, 2)), colour[0].copy(), present[0].copy()
    for t in range(1, frames):
        old, new = np.flatnonzero(known), np.flatnonzero(present[t])
        cost = distances(at[old] + speed[old], place[t, new]) + distances(look[old], colour[t, new])
        slot = {int(old[i]): int(new[j]) for i, j in assign(cost, limit)}
        for k, j in slot.items():
            speed[k] = place[t, j] - at[k]
        free = sorted((k for k in objects if k not in slot), key=lambda k: bool(known[k]))
        for k, j in zip(free, [int(j) for j in new if j not in slot.values()], strict=False):
            slot[k], speed[k] = j, 0.0
        for k, j in slot.items():
            at[k], look[k], known[k] = place[t, j], colour[t, j], True
        unused = [j for j in objects if j not in slot.values()]
        slot |= dict(zip([k for k in objects if k not in slot], unused, strict=True))
        for k, j in slot.items():
            order[t, k] = j
    return order


def slot_order(tracks: Tracks, limit: float = 1.0) -> Tensor:
    """(B, T, K): the slot of frame t that goes on with slot k's object, by place and colour. O(B T K^3).

    The cost of a pair is the distance from the place expected at constant speed (world units) plus the
    distance of the colours; pairs dearer than ``limit`` start a new track in a free slot.
    """
    parts = (tracks.place.double(), tracks.colour.double(), tracks.present, tracks.background)
    place, colour, present, background = (p.detach().cpu().numpy() for p in parts)
    clips = [
        _relink_clip(place[b], colour[b], present[b], int(background[b]), limit) for b in range(len(place))
    ]
    order = torch.from_numpy(np.stack(clips))
    return order.to(tracks.present.device)


def relink(tracks: Tracks, limit: float = 1.0) -> Tracks:
    """Tracks in which each object has one slot all through its clip, as `slot_order` finds it."""
    return relinked(tracks, slot_order(tracks, limit))


def relinked(tracks: Tracks, order: Tensor) -> Tracks:
    """Tracks in a given order (B, T, K) of their slots."""
    moved = tracks.reordered(order)
    return shown(moved, moved.present)


def shown(tracks: Tracks, present: Tensor) -> Tracks:
    """Tracks that are present in given frames (B, T, K), a part of their own, alone."""
    held = {n: last_seen(getattr(tracks, n), present) for n in ("place", "colour", "area")}
    return replace(tracks, present=present, **held)


@dataclass(frozen=True, eq=False)
class Matched:
    """Which slot shows which true object.

    Attributes:
        slot: (B, N); -1 where none does.
        error: (B, T, N) distances, world units; NaN where the object is unseen, unmatched or absent.
    """

    slot: Tensor
    error: Tensor


def match_objects(place: Tensor, present: Tensor, true: Tensor, visible: Tensor) -> Matched:
    """Matches slots to true objects, for scoring: least mean distance over a whole clip. O(B T N K + B K^3).

    A frame in which a visible object's slot is absent counts as the picture's width would: 2 units.

    Args:
        place: (B, T, K, 2) of slots, world units.
        present: (B, T, K) bool: the slot shows an object.
        true: (B, T, N, 2) places, world units.
        visible: (B, T, N) bool.

    Raises:
        ShapeError: shapes that do not fit.
    """
    batch, frames, count = visible.shape
    if true.shape != (batch, frames, count, 2) or place.shape[:2] != (batch, frames):
        raise ShapeError(
            f"true (B, T, N, 2), visible (B, T, N), place of B, T: got {tuple(true.shape)},"
            f" {tuple(visible.shape)}, {tuple(place.shape)}"
        )
    far = (true[:, :, :, None].to(place) - place[:, :, None]).norm(dim=-1)  # (B, T, N, K)
    both = visible[..., None] & present[:, :, None]
    cost = torch.where(both, far, 2.0).mul(visible[..., None]).sum(1) / visible.sum(1).clamp_min(1)[..., None]
    cost = torch.where(both.any(1), cost, torch.inf)
    slot = torch.full((batch, count), -1, dtype=torch.long)
    for b, clip in enumerate(cost.double().cpu().numpy()):
        for i, k in assign(clip, _FAR / 2):
            slot[b, i] = k
    chosen = slot.clamp_min(0).to(far.device)[:, None, :, None].expand(-1, frames, -1, -1)
    error = far.gather(3, chosen).squeeze(3)
    seen = both.gather(3, chosen).squeeze(3) & (slot >= 0).to(far.device)[:, None]
    return Matched(slot, torch.where(seen, error, torch.nan))
