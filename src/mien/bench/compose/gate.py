"""SuHiFiMask's cameras x GKD: whom should a recogniser not be asked about? CQIL's quality as the gate.

Every person has one good picture in the gallery; the others come from cameras of random severity, and the
better part of them, by some measure of quality, is searched in it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.bench.compose.faces import Pictures, ShippedRecogniser, heads
from mien.core.errors import ConfigError
from mien.core.seeds import derive, uniform
from mien.data.pad_inputs import sharpness
from mien.data.surveil_loader import as_floats
from mien.data.surveil_pictures import squeezed
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.engine.zoo import load_folder
from mien.methods.cqil.evaluate import restore
from mien.methods.cqil.score import scored
from mien.metrics import by_cluster
from mien.synth import surveil_batch

Values = NDArray[np.float64]
RECOGNISER, JUDGE = "gkd/small", "cqil/small"
PEOPLE, SIDE = 120, 96
KEPT = 0.5
"""Share of the probes that pass the gate."""


class Probes(NamedTuple):
    """N degraded pictures of P people.

    Attributes:
        pictures: (N, S, S, 3) uint8.
        person: (N,) whose, 0 .. P - 1.
        severity: (N,) of the camera, in [0, 1].
        right: (N,) 1 where the nearest picture of the gallery shows the same person.
    """

    pictures: Pictures
    person: NDArray[np.int64]
    severity: Values
    right: Values


@lru_cache(1)
def probes(seed: int, people: int = PEOPLE) -> Probes:
    """Who is found, before any gate. O(N P D) beside drawing and embedding.

    The gallery is each person's picture of least yaw, as it is.
    """
    faces = heads(SIDE, people, seed)
    assert faces.identity is not None
    assert faces.yaw is not None
    assert faces.landmarks is not None
    _, person = np.unique(faces.identity, return_inverse=True)
    front = np.array(
        [np.flatnonzero(person == p)[np.argmin(abs(faces.yaw[person == p]))] for p in range(people)]
    )
    rest = np.setdiff1d(np.arange(len(faces)), front)
    keys = np.arange(len(rest), dtype=np.uint64)
    severity = drawn(seed, "severity", len(rest))
    seeds = [derive(seed, "gate camera", int(k)) % 2**31 for k in keys]
    seen, _ = surveil_batch(faces.pictures[rest], severity, seeds)
    net = ShippedRecogniser(RECOGNISER)
    gallery = net(faces.pictures[front], faces.landmarks[front])
    found = np.argmax(net(seen, faces.landmarks[rest]) @ gallery.T, 1)
    return Probes(seen, person[rest], severity, (found == person[rest]).astype(np.float64))


def drawn(seed: int, what: str, count: int) -> Values:
    """(count,) uniform numbers of a seed and a purpose."""
    numbers = uniform(derive(seed, "gate", what), np.arange(count, dtype=np.uint64), 1)
    return numbers[:, 0].astype(np.float64)


def cqil_quality(pictures: Pictures) -> Values:
    """(N,) in [0, 1]: 1 - the severity that CQIL's quality net reads."""
    folder = load_folder(JUDGE)
    size: int = folder.recipe.data.size  # type: ignore[attr-defined]
    small = np.stack([squeezed(x, size) for x in pictures])
    return scored(restore(folder), small, default_device()).quality


def _sharp(pictures: Pictures) -> Values:
    return np.asarray(sharpness(as_floats(pictures)).numpy(), np.float64)


JUDGES: dict[str, Callable[[Probes, int], Values]] = {
    "chance": lambda p, seed: drawn(seed, "chance", len(p.person)),
    "sharpness": lambda p, seed: _sharp(p.pictures),
    "cqil": lambda p, seed: cqil_quality(p.pictures),
    "truth": lambda p, seed: -p.severity,
}
"""Measures of quality by name; higher passes first."""


def gate(seed: int, by: str, people: int = PEOPLE) -> Measured:
    """Rank-1 of the probes that pass, in units of people; and what share of the errors the gate keeps out.

    Raises:
        ConfigError: no such judge.
    """
    if by not in JUDGES:
        raise ConfigError(f"gate by={by!r} is none of {', '.join(JUDGES)}")
    seen = probes(seed, people)
    quality = JUDGES[by](seen, seed)
    passed = np.argsort(-quality, kind="stable")[: round(KEPT * len(quality))]
    right, person = seen.right[passed], seen.person[passed]
    units = {"right": by_cluster(right, person, people)}
    wrong = 1 - seen.right
    extra: dict[str, Any] = {"kept": KEPT, "probes": len(quality)}
    rank = np.argsort(np.argsort(quality))
    curve = [float(seen.right[rank >= share * len(rank)].mean()) for share in np.arange(0, 1, 0.1)]
    extra["rank_1_by_refused_tenths"] = [round(v, 4) for v in curve]
    return Measured(
        {
            "gate_rank_1": float(right.mean()),
            "gate_all": float(seen.right.mean()),
            "gate_errors_out": float(1 - wrong[passed].sum() / max(1.0, wrong.sum())),
        },
        units,
        extra,
    )
