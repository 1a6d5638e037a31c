"""What made people are made of, as numbers: shape weights, colours, hair; and the numbers of star heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.seeds import derive
from mien.synth.body import people
from mien.synth.identity import sample_identity
from mien.synth.looks import sample_looks
from mien.synth.orbit import studio
from mien.synth.portraits import head_mesh
from mien.synth.star_faces import IDENTITIES


def person_numbers(seeds: Sequence[int], shapes: int = 24) -> NDArray[np.float32]:
    """(P, K) numbers of rendered people, each of mean 0 over them. O(P (V + K^2)), 10 ms a person.

    First the principal components of the shape of the head, the first one of deviation 2, then every number
    of looks and clothes of deviation 1, every word (hair style, beard, collar) as a column of zeros and ones;
    without seeds and moles.

    Args:
        seeds: `TalkingHeads.people`.
        shapes: components of the shape, at most P - 1.
    """
    human, own = people(), head_mesh().own[::8]
    known = frozenset(human.shapes)
    rows, heads = [], []
    for who in seeds:
        identity = sample_identity(who, known)
        head = human.shaped(identity.shape)[own]
        heads.append((head - head.mean(0)).ravel())
        parts = {"looks": sample_looks(who, identity.macro), "shirt": studio(who).shirt}
        rows.append(dict(_leaves("", parts)))
    names = sorted({name for row in rows for name in row})
    looks = standardised(np.array([[row.get(n, 0.0) for n in names] for row in rows])).clip(-3, 3)
    u, s, _ = np.linalg.svd(np.array(heads) - np.mean(heads, 0), full_matrices=False)
    shape = 2 * np.sqrt(len(seeds)) * (u * s / s[0])[:, : min(shapes, len(seeds) - 1)]
    return np.concatenate([shape.astype(np.float32), looks], 1)


def star_numbers(seeds: Sequence[int]) -> NDArray[np.float32]:
    """(P, 12) identity numbers of star heads, each of mean 0 and deviation 1 over them. O(P)."""
    rows = [np.random.default_rng(derive(who, "looks")).uniform(-1, 1, len(IDENTITIES)) for who in seeds]
    return standardised(np.array(rows))


def standardised(rows: NDArray[Any]) -> NDArray[np.float32]:
    """(P, K) -> (P, K'): mean 0 and deviation 1 over the rows; constant columns are left out."""
    spread = rows.std(0)
    kept = spread > 1e-6
    return np.asarray(((rows - rows.mean(0)) / np.where(kept, spread, 1))[:, kept], np.float32)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Names and values of all numbers within; a word is a name with the value 1."""
    if is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in ("seed", "moles")}
    if isinstance(value, str):
        yield f"{name}={value}", 1.0
    elif isinstance(value, int | float):
        yield name, float(value)
    elif hasattr(value, "items"):
        for key, part in value.items():
            yield from _leaves(f"{name}.{key}", part)
    elif isinstance(value, tuple):
        for k, part in enumerate(value):
            yield from _leaves(f"{name}.{k}", part)
