"""Made sets of talking heads seen from all sides: rendered people, and heads that are formulas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mien.core.seeds import derive
from mien.synth.maker import Sample, Unmeasured, check_ranges, npz, png
from mien.synth.motion import expression_rows, perform


@dataclass(frozen=True)
class TalkingSet(Unmeasured):
    """Moments of talking heads, each seen by several cameras around it: for tri-planes and avatars."""

    kind: ClassVar[str] = "talking"
    shown: ClassVar[tuple[str, ...]] = ("png",)
    shard_people: ClassVar[int] = 8
    """One sample holds all pictures of a person, and as many processes draw as there are shards."""
    identities: int = 100
    """People."""
    per_identity: int = 6
    """Moments of each person's clip."""
    views: int = 4
    """Cameras of a moment; the first one is nearly in front."""
    size: int = 64
    """Pixels a side, 16 to 512."""
    seed: int = 0
    """Same seed, same pictures, whatever the number of workers."""
    first: int = 0
    """Number of the first person."""
    frames: int = 120
    """Frames of the clip, 25 a second."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value outside its range.
        """
        check_ranges(self, identities=(1, 1_000_000), per_identity=(1, self.frames), views=(1, 100),
                     size=(16, 512), first=(0, 1e9), frames=(1, 10_000))  # fmt: skip

    def who(self, number: int) -> int:
        """Seed of a person."""
        return derive(self.seed, "identity", self.first + number)

    def samples(self, number: int) -> Iterator[Sample]:
        """One sample: all pictures of one person, with the whole track of expressions."""
        from mien.synth.body import people
        from mien.synth.orbit import orbit_pictures, orbit_views

        who, names = self.who(number), people().actions
        track = expression_rows(perform(who, self.frames), names)
        rng = np.random.default_rng(derive(who, "views"))
        shape = (self.per_identity, self.views)
        moments = np.sort(rng.choice(self.frames, self.per_identity, replace=False)).astype(np.int32)
        cameras = orbit_views(rng, shape)
        seen = orbit_pictures(who, track[moments].repeat(self.views, 0), cameras.reshape(-1, 25), self.size)
        images, depth, points = (x.reshape(*shape, *x.shape[1:]) for x in seen)
        yield _clip(images, depth=depth, cameras=cameras, points=points[:, 0], track=track, moments=moments,
                    names=np.array(names))  # fmt: skip


@dataclass(frozen=True)
class StarHeadSet(TalkingSet):
    """As `TalkingSet`, of heads that are formulas (`mien.synth.star_heads`)."""

    kind: ClassVar[str] = "stars"

    def who(self, number: int) -> int:
        """Seed of a person."""
        return derive(self.seed, "star", self.first + number)

    def samples(self, number: int) -> Iterator[Sample]:
        """One sample, as `TalkingSet.samples`."""
        from mien.synth.star_heads import star_set

        found = star_set(
            1, self.per_identity, self.views, self.size, self.seed,
            first=self.first + number, frames=self.frames,
        )  # fmt: skip
        images, depth, cameras, points, track, moments = (x[0] for x in found[:6])
        yield _clip(images, depth=depth, cameras=cameras, points=points, track=track, moments=moments,
                    names=np.array(found.names))  # fmt: skip


def _clip(images: NDArray[Any], **others: Any) -> Sample:
    """All pictures of one person (M, V, S, S, 4) and what goes with them as one sample."""
    return Sample("all", {"png": png(images[0, 0, ..., :3]), "npz": npz(images=images, **others)})
