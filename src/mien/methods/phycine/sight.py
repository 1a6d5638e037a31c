"""What perception says of clips: paths and looks of objects, ready for the laws.

Perception runs once for each model and part of a set; what it found is kept under `mien.core.io.home`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from mien.core.config import to_dict
from mien.core.errors import DataError
from mien.data.config import PhysicalData
from mien.data.physical import PhysicalClip, PhysicalSet, rows_to_tensor
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.kept import kept, weights_key
from mien.methods.phycine.perception import Percepts
from mien.methods.phycine.tracks import Tracks, is_whole, object_tracks, relinked, shown, slot_order
from mien.synth.comphy_set import VIEW
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES

FRAMES = 64
"""Frames that are looked at together."""
_RARE = 0.25  # a slot that shows something in a smaller part of every clip's frames is left out
_JUMP = 0.35  # world units that nothing moves in a frame: there, a slot has changed its object


@dataclass(frozen=True, eq=False)
class Seen:
    """Objects of B clips of T frames; slots without an object are absent all along.

    Attributes:
        place: (B, T, N, 2) world units; the last seen place where absent.
        present: (B, T, N) bool.
        look: (B, N, 7) mean look while present (`mien.methods.phycine.tracks.looks`).
        code: (B, T, N, D) codes.
    """

    place: Tensor
    present: Tensor
    look: Tensor
    code: Tensor

    @property
    def frames(self) -> int:
        """T."""
        return int(self.place.shape[1])

    def until(self, frame: int) -> Seen:
        """The first frames alone; looks stay those of the whole."""
        return Seen(self.place[:, :frame], self.present[:, :frame], self.look, self.code[:, :frame])

    def clips(self, which: Tensor | slice) -> Seen:
        """Some of the clips."""
        return Seen(*(getattr(self, f.name)[which] for f in fields(self)))


@dataclass(frozen=True, eq=False)
class SeenSets:
    """S sets: targets, and R references of each, set by set.

    Attributes:
        targets: S clips.
        references: S R clips.
        refs: R.
    """

    targets: Seen
    references: Seen
    refs: int


def object_columns(present: Tensor) -> Tensor:
    """(B, N): slots by the number of frames in which they show something, rare ones left out. O(B T K).

    N is enough for all but one in fifty clips.
    """
    share = present.float().mean(1)
    counts = (share > _RARE).sum(1).sort().values
    count = max(1, int(counts[len(counts) - 1 - len(counts) // 50]))
    return share.sort(dim=1, descending=True, stable=True).indices[:, :count]


def _pick(values: Tensor, columns: Tensor, dim: int) -> Tensor:
    """Columns (B, N) of a dimension of values (B, ..., K, ...)."""
    shape = [len(columns)] + [1] * (values.ndim - 1)
    shape[dim] = columns.shape[1]
    size = list(values.shape)
    size[dim] = columns.shape[1]
    return values.gather(dim, columns.view(shape).expand(size))


def unbroken(place: Tensor, present: Tensor) -> Tensor:
    """Presence (B, T, N) without the frames to which a path has jumped: no window goes over them."""
    moved = (place[:, 1:] - place[:, :-1]).norm(dim=-1) > _JUMP
    return present & ~torch.cat([torch.zeros_like(present[:, :1]), moved & present[:, :-1]], 1)


def seen_of(tracks: Tracks, codes: Tensor) -> Seen:
    """Objects of tracks with codes (B, T, K, D)."""
    columns = object_columns(tracks.present)
    place, code, look = (_pick(v, columns, 2) for v in (tracks.place, codes, tracks.look))
    present = unbroken(place, _pick(tracks.present, columns, 2))
    weight = present.float() / present.sum(1, keepdim=True).clamp_min(1)
    return Seen(place, present, (look * weight[..., None]).sum(1), code)


@torch.no_grad()
def linked(perception: nn.Module, video: Tensor) -> tuple[Percepts, Tracks]:
    """What is seen in a video (B, T, 3, H, W), and its tracks; each slot keeps its object over time.

    Linked twice: without the frames in which a slot does not show its object whole (`is_whole`), which are
    known after the first time, places and speeds lead further.
    """
    percepts: Percepts = perception(video)
    tracks = object_tracks(percepts, video, VIEW)
    for _ in range(2):
        order = slot_order(tracks)
        percepts, tracks = percepts.reordered(order), relinked(tracks, order)
        tracks = shown(tracks, is_whole(tracks.area, tracks.present))
    return percepts, tracks


def look_at(perception: nn.Module, video: Tensor) -> tuple[Tracks, Tensor]:
    """Linked tracks and codes (B, T, K, D - 2) of a video (B, T, 3, H, W); places are not in the codes."""
    percepts, tracks = linked(perception, video)
    return tracks, percepts.slots[..., 2:]


def perceive(perception: nn.Module, clips: Sequence[PhysicalClip], frames: int, device: torch.device) -> Seen:
    """The first ``frames`` frames of clips, seen by a perception. O(clips frames H W)."""
    at_once, found = max(1, FRAMES // frames), []
    for first in range(0, len(clips), at_once):
        pictures = np.stack([c.video(frames) for c in clips[first : first + at_once]])
        found.append(look_at(perception, rows_to_tensor(pictures).to(device)))
    tracks = [t for t, _ in found]
    joined = Tracks(*(torch.cat([getattr(t, f.name) for t in tracks]).cpu() for f in fields(Tracks)))
    return seen_of(joined, torch.cat([codes for _, codes in found]).cpu())


def true_sight(clips: Sequence[PhysicalClip], frames: int) -> Seen:
    """The oracle: true places while visible; looks are colour, material and shape, one-hot."""
    count = max(len(c.things) for c in clips)
    place = torch.zeros(len(clips), frames, count, 2)
    present = torch.zeros(len(clips), frames, count, dtype=torch.bool)
    look = torch.zeros(len(clips), count, len(COLOURS) + len(MATERIALS) + len(SHAPES))
    for b, clip in enumerate(clips):
        own = len(clip.things)
        place[b, :, :own] = torch.from_numpy(clip.place[:frames])
        present[b, :, :own] = torch.from_numpy(clip.visible[:frames])
        for k, thing in enumerate(clip.things):
            look[b, k] = torch.tensor(
                _one_hot(thing.color, COLOURS)
                + _one_hot(thing.material, MATERIALS)
                + _one_hot(thing.shape, SHAPES)
            )
    return Seen(place, present, look, look[:, None].expand(-1, frames, -1, -1))


def _one_hot(word: str, words: Iterable[str]) -> list[float]:
    return [float(word == w) for w in words]


def see_sets(
    perception: nn.Module, config: PhycineConfig, sets: Sequence[PhysicalSet], device: torch.device
) -> SeenSets:
    """All clips of sets, targets to their last frame.

    Raises:
        DataError: sets of different lengths, or numbers of references.
    """
    targets, references = [s.target for s in sets], [r for s in sets for r in s.references]
    lengths = ({len(c.place) for c in clips} for clips in (targets, references))
    if any(len(length) != 1 for length in lengths) or len({len(s.references) for s in sets}) != 1:
        raise DataError("videos of one kind must be of one length, and each set must have as many references")
    found = [see_clips(perception, config, clips, device) for clips in (targets, references)]
    return SeenSets(found[0], found[1], len(sets[0].references))


def see_clips(
    perception: nn.Module, config: PhycineConfig, clips: Sequence[PhysicalClip], device: torch.device
) -> Seen:
    """Whole clips of one length, by the sight of a config."""
    frames = len(clips[0].place)
    if config.sight == "true":
        return true_sight(clips, frames)
    return perceive(perception, clips, frames, device)


def kept_sight(
    perception: nn.Module, config: PhycineConfig, data: PhysicalData, part: str, sets: Sequence[PhysicalSet]
) -> SeenSets:
    """`see_sets`, kept on disk: the same weights and the same sets are looked at once."""
    device = next((p.device for p in perception.parameters()), torch.device("cpu"))
    refs = len(sets[0].references)
    if config.sight == "true" or data.kind == "debug":
        return see_sets(perception, config, sets, device)

    def look() -> dict[str, Tensor]:
        seen = see_sets(perception.eval(), config, sets, device)
        return {f"{p}.{f.name}": getattr(getattr(seen, p), f.name) for p in _PARTS for f in fields(Seen)}

    found = kept("sights", sight_key(perception, config, data, part), look)
    targets, references = (Seen(*(found[f"{p}.{f.name}"] for f in fields(Seen))) for p in _PARTS)
    return SeenSets(targets, references, refs)


_PARTS = ("targets", "references")
_VERSION = 7  # raised when what is kept is computed otherwise


def sight_key(perception: nn.Module, config: PhycineConfig, data: PhysicalData, part: str) -> list[object]:
    """All that what is seen depends on."""
    own = [config.sight, config.slots, config.iterations, config.sure, config.starts]
    return [weights_key(perception), own, to_dict(data), part, _VERSION]
