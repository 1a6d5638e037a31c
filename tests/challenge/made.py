"""Small challenges, submissions, and a scorer written with loops, for the tests of the challenge."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np

from mien.challenge import Contest, Item, Limits, Part, Phase, Reference, init
from mien.challenge.submissions import Scores

START = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
PHASES = (
    Phase("development", 1, "2027-01-01T00:00:00Z", "2027-01-10T00:00:00Z"),
    Phase("final", 2, "2027-01-10T00:00:00Z", "2027-02-01T00:00:00Z"),
)
CONTEST = Contest(phases=PHASES, draws=50, limits=Limits(per_day=5, total=100))

# The worked example of the method page, section 6.
DEV_LABELS, DEV_SCORES = [0] * 4 + [1] * 4, [0.95, 0.75, 0.6, 0.45, 0.5, 0.3, 0.2, 0.1]
TEST_LABELS = [0] * 6 + [1] * 4 + [2] * 5
TEST_SCORES = [
    0.91, 0.85, 0.80, 0.62, 0.55, 0.30, 0.70, 0.40, 0.20, 0.10, 0.66, 0.58, 0.35, 0.05, 0.02
]  # fmt: skip


def part(split, labels, tracks=None, quality=None):
    n = len(labels)
    return Part(
        tuple(f"{split}/{k + 1:06d}.jpg" for k in range(n)),
        np.array(labels),
        np.arange(n) if tracks is None else np.array(tracks),
        np.array([f"C{k % 3 + 1}" for k in range(n)]),
        np.array([f"S{k % 11 + 1}" for k in range(n)]),
        np.arange(n, dtype=float) if quality is None else np.array(quality, float),
    )


def worked():
    return Reference(part("dev", DEV_LABELS), part("test", TEST_LABELS))


def worked_scores():
    return Scores(np.array(DEV_SCORES), np.array(TEST_SCORES))


def random_part(rng, split, n, tracks, labels=4):
    track = np.sort(rng.integers(0, tracks, n))
    label = np.where(rng.random(tracks) < 0.5, 0, rng.integers(1, labels + 1, tracks))[track]
    label[:2] = 0, 1
    return part(split, label.tolist(), track.tolist(), rng.random(n))


def random_scores(rng, one, noise=0.3):
    return np.clip(0.3 + 0.4 * one.live + rng.normal(0, noise, len(one.label)), 0, 1)


def text_of(names, scores):
    return "".join(f"{n} {float(s)!r}\n" for n, s in zip(names, scores, strict=True))


def zipped(path, files):
    """A zip of names and texts."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return Path(path)


def zip_bytes(text, name="results.txt"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, text)
    return stream.getvalue()


def submission(path, reference, scores, phase=2):
    """A valid submission of scores."""
    parts = [(reference.dev, scores.dev), (reference.test, scores.test)][:phase]
    return zipped(path, {"results.txt": "".join(text_of(p.names, s) for p, s in parts)})


def write_reference(folder, reference):
    """The hidden files, written without the code that reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in (("dev", reference.dev), ("test", reference.test)):
        lines = ["path,label,track,camera,scene,quality"]
        columns = (one.names, one.label, one.track, one.camera, one.scene, one.quality)
        lines += [",".join(map(str, row)) for row in zip(*columns, strict=True)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_items(folder, counts=(6, 12, 18), suffix=".jpg"):
    """Pictures (their bytes do not matter) of live faces and three kinds of attack, three to a track."""
    folder.mkdir(parents=True, exist_ok=True)
    out = {}
    for split, count in zip(("train", "dev", "test"), counts, strict=True):
        out[split] = []
        for k in range(count):
            path = folder / f"{split}_{k}_label{k // 3 % 4}{suffix}"
            path.write_bytes(f"{split} {k}".encode())
            label = 0 if k // 3 % 2 == 0 else 1 + k // 3 % 3
            out[split].append(
                Item(path, label, f"video/{split}{k // 3}", f"C{k % 7 + 1}", f"S{k % 5}", k / 10)
            )
    return out


def make_challenge(tmp, contest=CONTEST, counts=(6, 12, 18), **options):
    """A challenge folder whose final phase is open at `START`."""
    items = make_items(tmp / "pictures", counts)
    return init(items, "p3", tmp / "challenge", contest=contest, clock=lambda: START, **options).folder


def scores_of(folder, seed=0, noise=0.3):
    """Scores of a made system for a challenge."""
    reference, rng = Reference.read(folder), np.random.default_rng(seed)
    return Scores(*(random_scores(rng, one, noise) for one in (reference.dev, reference.test)))


def sent(folder, path, seed=0, noise=0.3):
    """A valid submission of a made system."""
    return submission(path, Reference.read(folder), scores_of(folder, seed, noise))


def slow_rates(live, scores, tau):
    """APCER, BPCER with loops."""
    attacks = accepted = lives = rejected = 0
    for is_live, s in zip(live, scores, strict=True):
        if is_live:
            lives += 1
            rejected += s < tau
        else:
            attacks += 1
            accepted += s >= tau
    return (accepted / attacks if attacks else None), (rejected / lives if lives else None)


def slow_eer(live, scores):
    """The candidate with the least |APCER - BPCER|, the largest of equals, by trying all."""
    best, found = math.inf, math.inf
    for tau in sorted({*map(float, scores), math.inf}):
        apcer, bpcer = slow_rates(live, scores, tau)
        if abs(apcer - bpcer) <= best + 1e-12:
            best, found = abs(apcer - bpcer), tau
    return found


def slow_score(reference, scores):
    """APCER, BPCER, ACER, AUC of a submission with loops."""
    tau = slow_eer(reference.dev.live, scores.dev)
    test = reference.test
    apcer, bpcer = slow_rates(test.live, scores.test, tau)
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a, y in zip(scores.test, test.live, strict=True)
        if y
        for b, z in zip(scores.test, test.live, strict=True)
        if not z
    ]
    return {"apcer": apcer, "bpcer": bpcer, "acer": (apcer + bpcer) / 2, "auc": sum(pairs) / len(pairs)}
