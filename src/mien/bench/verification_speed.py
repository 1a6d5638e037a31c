"""``mien bench verification``: the 1:1 protocol of IJB-C from image features to TAR at FAR, on made features.

As many images, templates, media and pairs as IJB-C, 512 features an image and as many of its mirror image,
one core. Each run is a process of its own, so that its peak of memory is the run's (inputs of 1.9 GB
included). The reference is what a user would write with NumPy and scikit-learn, on the same data: a loop over
templates, dot products by einsum in batches of 100,000 pairs, `roc_curve`, the nearest point.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.bench.speed import entry, process_peak
from mien.core.errors import MienError
from mien.metrics.ijb_protocol import FARS, ijb_identification, ijb_verification, pool_templates

IMAGES, TEMPLATES, SUBJECTS, MEDIA = 469_375, 23_124, 3_531, 138_000
GENUINE, IMPOSTORS, DIM = 19_557, 15_638_932, 512
Floats = NDArray[np.float32]


class Made(NamedTuple):
    """Features of a made set in the layout of IJB-C."""

    features: Floats
    flipped: Floats
    faceness: Floats
    templates: NDArray[np.int64]
    media: NDArray[np.int64]
    subjects: NDArray[np.int64]
    pairs: NDArray[np.int64]
    same: NDArray[np.bool_]


def make(scale: float = 1.0) -> Made:
    """People as random directions, images as these and noise. Pairs are random, so nothing is repeated.

    Args:
        scale: share of the images, templates and pairs.
    """
    rng = np.random.default_rng(0)
    n, t, s, m, g, i = (round(scale * v) for v in (IMAGES, TEMPLATES, SUBJECTS, MEDIA, GENUINE, IMPOSTORS))
    subjects = rng.permutation(np.arange(t) % s)
    templates = rng.permutation(np.concatenate([np.arange(t), rng.integers(0, t, n - t)]))
    centres = rng.standard_normal((s, DIM), dtype=np.float32)
    features, flipped = np.empty((n, DIM), np.float32), np.empty((n, DIM), np.float32)
    for start in range(0, n, 4096):
        part = slice(start, min(start + 4096, n))
        image = 5 * rng.standard_normal((part.stop - start, DIM), dtype=np.float32)
        image += centres[subjects[templates[part]]]
        for out in (features, flipped):
            out[part] = image + rng.standard_normal(image.shape, dtype=np.float32)
    pairs = rng.integers(0, t, (g + i, 2))
    first = np.unique(subjects, return_index=True)[1]
    others = np.setdiff1d(np.arange(t), first)
    pairs[:g, 1] = rng.choice(others, g, replace=g > len(others))
    pairs[:g, 0] = first[subjects[pairs[:g, 1]]]
    while len(clash := g + np.flatnonzero(subjects[pairs[g:, 0]] == subjects[pairs[g:, 1]])):
        pairs[clash, 1] = rng.integers(0, t, len(clash))
    order = rng.permutation(g + i)
    faceness = rng.uniform(0.5, 1, n).astype(np.float32)
    media = rng.integers(0, m, n)
    return Made(features, flipped, faceness, templates, media, subjects, pairs[order], order < g)


def _ours(made: Made) -> list[float]:
    pooled = pool_templates(
        made.features, made.templates, made.media, flipped=made.flipped, faceness=made.faceness
    )
    return [point.tar for point in ijb_verification(pooled, made.pairs, made.same).points]


def _identified(made: Made) -> list[float]:
    pooled = pool_templates(
        made.features, made.templates, made.media, flipped=made.flipped, faceness=made.faceness
    )
    first = np.unique(made.subjects, return_index=True)[1]
    probes = np.setdiff1d(np.arange(len(made.subjects)), first)
    f, who = pooled.features, made.subjects
    found = ijb_identification(f[first], who[first], f[probes], who[probes])
    return [*found.ranks.values(), *(point.tpir for point in found.pooled)]


def _reference(made: Made) -> list[float]:
    from sklearn.metrics import roc_curve

    image = (made.features + made.flipped) * made.faceness[:, None]
    order = np.argsort(made.templates, kind="stable")
    starts = np.flatnonzero(np.diff(made.templates[order])) + 1
    pooled = np.empty((len(starts) + 1, DIM), np.float32)
    for k, index in enumerate(np.split(order, starts)):
        rows, media = image[index], made.media[index]
        total = np.sum([rows[media == one].mean(0) for one in np.unique(media)], axis=0)
        pooled[k] = total / np.linalg.norm(total)
    scores = np.empty(len(made.pairs), np.float32)
    for start in range(0, len(scores), 100_000):
        a, b = made.pairs[start : start + 100_000].T
        scores[start : start + 100_000] = np.einsum("nd,nd->n", pooled[a], pooled[b])
    fpr, tpr, _ = roc_curve(made.same, scores, drop_intermediate=False)
    fpr, tpr = fpr[::-1], tpr[::-1]  # of equally near points the first, so the higher
    return [float(tpr[np.argmin(np.abs(fpr - far))]) for far in FARS]


RUNS: dict[str, Callable[[Made], list[float]]] = {
    "ours": _ours,
    "reference_numpy_sklearn": _reference,
    "identification": _identified,
}


def run(name: str, scale: float) -> dict[str, Any]:
    """One measurement in this process: ``seconds``, ``peak_gb``, ``values``.

    Args:
        name: of `RUNS`.
        scale: of the made set.
    """
    made = make(scale)
    began = time.perf_counter()
    values = RUNS[name](made)
    return {"seconds": time.perf_counter() - began, "peak_gb": process_peak() / 2**30, "values": values}


def _apart(name: str, scale: float) -> dict[str, Any]:
    """`run` in a process of its own, on one core."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mien.bench.verification_speed", name, str(scale)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise MienError(f"bench verification: {name} failed: {reason}")
    out: dict[str, Any] = json.loads(done.stdout)
    return out


def bench(scale: float = 1.0, repeats: int = 2) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Seconds and peak memory of the 1:1 protocol, beside the reference in turn; 1:N as an entry.

    Args:
        scale: share of IJB-C's size.
        repeats: of both.

    Raises:
        MienError: both disagree by more than one genuine pair, or a run failed.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNS}
    for k in range(repeats):
        for name in RUNS:
            if name != "identification" or k == 0:
                found[name].append(_apart(name, scale))
    ours, theirs = found["ours"], found["reference_numpy_sklearn"]
    apart = np.abs(np.subtract(ours[0]["values"], theirs[0]["values"])).max()
    if apart > 1.5 / round(scale * GENUINE):
        raise MienError(f"bench verification: TARs differ from the reference's by {apart:.2g}")
    entries = [
        entry(f"ijbc_{name}", np.array([f["seconds"] for f in each]), max(f["peak_gb"] for f in each) * 2**30)
        for name, each in found.items()
    ]
    seconds = float(np.median([f["seconds"] for f in ours]))
    return entries, {"ijbc_seconds": seconds, "ijbc_peak_gb": max(f["peak_gb"] for f in ours)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(sys.argv[1], float(sys.argv[2]))))
