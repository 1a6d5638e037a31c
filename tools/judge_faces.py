"""Judges the made faces by two programs that saw only real ones: a detector and a face embedding.

    npm pack @vladmandic/face-api@1.7.15 && tar xzf vladmandic-face-api-1.7.15.tgz
    python tools/judge_faces.py --tracker-python tracker/bin/python --weights package --output judge.json

(the environment of tracker: see src/mien/data/track_script.py). Needs the extra `data` for the real faces;
without it that row is left out and said so. Rows go to stdout as JSON lines; --output keeps all of them, the
commit and the versions. Exit status 1 if a goal is missed.

detection  64 unpicked frontal renders, 256 px: how many the detector finds.
verify     40 people x 5 pictures, 192 px, embedding of the detector's box + 25 %; L2 distances of pictures
           of the same person and of different ones. Also without glasses, in grey, and real faces (ORL).
factors    14 people, one thing changed at a time: mean distance to the unchanged picture. No nuisance may
           move a person as far as another person is away.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mien
from mien.bench.store import commit
from mien.core import io
from mien.core.errors import ConfigError, DataError, MienError
from mien.core.seeds import derive
from mien.data import Orl
from mien.data.face_detector import SCRIPT
from mien.synth import portraits
from mien.synth.body import people
from mien.synth.face import Person, detail_for, make_person
from mien.synth.identity import Identity, sample_identity
from mien.synth.light import sample_light
from mien.synth.looks import Looks, Shot, sample_looks, sample_shot

VERSION = 1  # of this protocol; part of the cache's key
FRONTAL, FRONTAL_SIZE = 64, 256
WHO, EACH, SIZE, YAW = 40, 5, 192, 0.22
FACTOR_WHO = 14
FIELD = 1.25  # side of the crop in sides of the detector's box
CHIP = 150
ORL_SCALE, ORL_PAD = 4, 120
GOALS = {"detection": 0.98, "auc": 0.97, "different": 0.60}
NUISANCES = ("glasses", "hair", "window", "studio", "outdoor", "flash", "yaw")


# Pictures -------------------------------------------------------------------------------------------------


def frontal(number: int) -> dict[str, np.ndarray]:
    """One frontal render."""
    return {"images": portraits.portrait(number, 0, FRONTAL_SIZE, frontal=True).rgb[None]}


def album(number: int) -> dict[str, np.ndarray]:
    """Pictures of one person, as they are and without glasses (the same where there are none)."""
    who = derive(0, "judge", number)
    person = portraits.make_face(who, detail_for(SIZE))
    plain, worn, glasses = [], [], []
    for k in range(EACH):
        seed = derive(who, "nuisance", k)
        shot, actions = sample_shot(seed, YAW), portraits.sample_actions(seed)
        worn.append(portraits.photograph(person, shot, SIZE, actions).rgb)
        glasses.append(shot.frames is not None)
        bare = replace(shot, frames=None)
        plain.append(portraits.photograph(person, bare, SIZE, actions).rgb if shot.frames else worn[-1])
    return {
        "images": np.stack(worn),
        "bare": np.stack(plain),
        "glasses": np.array(glasses),
        "who": np.full(EACH, number),
    }


def _nature(number: int) -> tuple[Identity, Looks]:
    who = derive(0, "factors", number)
    identity = sample_identity(who, frozenset(people().shapes))
    return identity, sample_looks(who, identity.macro)


def _person(identity: Identity, looks: Looks) -> Person:
    human, head = people(), portraits.head_mesh()
    vertices = human.shaped(identity.shape)
    joints = dict(zip(human.bones, human.joints(vertices), strict=True))
    neck = (0.5 * (joints["neck01"] + joints["head"])).astype(np.float32)
    return make_person(head, vertices[head.own], looks, neck, detail_for(SIZE))


def _base_shot() -> Shot:
    shot = sample_shot(derive(0, "factors", "shot"), glasses=0.0, frontal=True)
    return replace(shot, gaze=(0.0, 0.0), light=sample_light(derive(0, "factors", "light"), "indoor"))


def _frames(number: int) -> Shot:
    return sample_shot(derive(0, "factors", "frames", number), glasses=1.0)


def factors(number: int) -> dict[str, np.ndarray]:
    """One person unchanged, with each nuisance, and with parts of the next person."""
    identity, looks = _nature(number)
    other_identity, other = _nature((number + 1) % FACTOR_WHO)
    person, shot = _person(identity, looks), _base_shot()
    hair = replace(looks, style=other.style, line=other.line, hair_color=other.hair_color, grey=other.grey)
    paint = replace(
        looks,
        skin=other.skin,
        brow=other.brow,
        brow_hairs=other.brow_hairs,
        iris=other.iris,
        iris_radius=other.iris_radius,
        beard=other.beard,
        beard_length=other.beard_length,
        oil=other.oil,
        lash=other.lash,
    )
    seen: dict[str, tuple[Person, Shot]] = {
        "base": (person, shot),
        "glasses": (person, replace(shot, frames=_frames(number).frames)),
        "hair": (_person(identity, hair), shot),
        "yaw": (person, replace(shot, yaw=0.35 * (-1) ** number)),
        "shape": (_person(other_identity, looks), shot),
        "paint": (_person(identity, paint), shot),
    }
    for kind in ("window", "studio", "outdoor", "flash"):
        light = sample_light(derive(0, "factors", "light", number), kind)  # type: ignore[arg-type]
        seen[kind] = (person, replace(shot, light=light))
    return {name: portraits.photograph(p, s, SIZE).rgb[None] for name, (p, s) in seen.items()}


@lru_cache(1)
def _source_hash() -> str:
    """Of everything that makes a picture."""
    digest = hashlib.sha256()
    root = Path(portraits.__file__).parent
    for path in sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def made(
    work: Callable[[int], dict[str, np.ndarray]], count: int, cache: Path, workers: int, name: str = ""
) -> dict[str, np.ndarray]:
    """Arrays of ``work(0 .. count - 1)`` joined; kept in the cache while the renderer's source is the same.

    Args:
        work: a function of this module, or another picklable one.
        count: how often.
        cache: folder.
        workers: processes.
        name: of the file; default the function's.
    """
    path = cache / f"{_source_hash()}-{name or work.__name__}-{count}-v{VERSION}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as archive:
            return {k: archive[k] for k in archive.files}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = []
        for n, part in enumerate(pool.map(work, range(count))):
            parts.append(part)
            print(f"\r{name or work.__name__} {n + 1}/{count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    arrays = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    with io.new_file(path) as whole, whole.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return arrays


# Judges ---------------------------------------------------------------------------------------------------


def track(python: str, images: np.ndarray, scale: int = 1, pad: int = 0) -> dict[str, np.ndarray]:
    """What `mien.data.track_script` finds.

    Raises:
        ConfigError: it cannot be started, or failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, images=images)
        command = [python, str(SCRIPT), str(given), str(found), "--scale", str(scale), "--pad", str(pad)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise ConfigError(f"--tracker-python {python}: cannot start ({error.strerror})") from None
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise ConfigError(f"{SCRIPT.name} failed: {last}")
        with np.load(found, allow_pickle=False) as archive:
            return {k: archive[k] for k in archive.files}


def field_of(box: np.ndarray, field: float = FIELD) -> tuple[float, float, float]:
    """Left, top, side of the square around a detector's box."""
    side = field * float(max(box[2] - box[0], box[3] - box[1]))
    return float(box[0] + box[2] - side) / 2, float(box[1] + box[3] - side) / 2, side


def cut(image: np.ndarray, left: float, top: float, side: float, size: int) -> np.ndarray:
    """A square of a picture, its border repeated beyond it, resized to (size, size, ..)."""
    margin = int(np.ceil(side)) + 2
    wide = np.pad(image, ((margin, margin), (margin, margin)) + ((0, 0),) * (image.ndim - 2), mode="edge")
    box = (left + margin, top + margin, left + margin + side, top + margin + side)
    low = tuple(int(np.clip(v, 0, n)) for v, n in zip(box[:2], wide.shape[1::-1], strict=True))
    part = wide[low[1] : int(box[3]) + 4, low[0] : int(box[2]) + 4]
    inner = (box[0] - low[0], box[1] - low[1], box[2] - low[0], box[3] - low[1])
    x0, y0, x1, y1 = (float(np.clip(v, 0, part.shape[1 - k % 2])) for k, v in enumerate(inner))
    resized = Image.fromarray(part).resize((size, size), Image.Resampling.BICUBIC, box=(x0, y0, x1, y1))
    return np.asarray(resized)


DOWN = ("conv64_down", "conv128_down", "conv256_down", "conv256_down_out")
BLOCKS = (
    *("conv32_1", "conv32_2", "conv32_3", "conv64_down", "conv64_1", "conv64_2", "conv64_3"),
    *("conv128_down", "conv128_1", "conv128_2", "conv256_down", "conv256_1", "conv256_2", "conv256_down_out"),
)


class Embedder:
    """The 128 numbers that face-api's recognition net gives a face; same person: distance below 0.6.

    Args:
        folder: the unpacked npm archive, or its folder ``model``.

    Raises:
        ConfigError: the weights are not there.
    """

    def __init__(self, folder: Path) -> None:
        import torch

        name = "face_recognition_model-weights_manifest.json"
        places = [p for p in (folder, folder / "model", folder / "package" / "model") if (p / name).is_file()]
        if not places:
            raise ConfigError(f"--weights {folder}: no {name} here; npm pack @vladmandic/face-api@1.7.15")
        digest = hashlib.sha256()
        self.weights: dict[str, torch.Tensor] = {}
        for group in json.loads((places[0] / name).read_text()):
            blob = b"".join((places[0] / p).read_bytes() for p in group["paths"])
            digest.update(blob)
            at = 0
            for entry in group["weights"]:
                array, at = self._entry(entry, blob, at)
                self.weights[entry["name"]] = torch.from_numpy(array)
            if at != len(blob):
                raise ConfigError(f"--weights {folder}: {len(blob)} bytes, expected {at}; unpack it again")
        self.sha256 = digest.hexdigest()

    @staticmethod
    def _entry(entry: dict[str, Any], blob: bytes, at: int) -> tuple[np.ndarray, int]:
        packed = entry.get("quantization")
        kind = np.dtype(packed["dtype"] if packed else entry["dtype"])
        count = int(np.prod(entry["shape"]))
        array = np.frombuffer(blob, kind, count, at).astype(np.float32)
        if packed:
            array = array * np.float32(packed["scale"]) + np.float32(packed["min"])
        array = array.reshape(entry["shape"])
        if array.ndim == 4:  # rows, columns, in, out
            array = array.transpose(3, 2, 0, 1)
        return np.ascontiguousarray(array), at + count * kind.itemsize

    def _conv(self, x: Any, name: str, stride: int, active: bool) -> Any:
        from torch.nn import functional as F

        w = self.weights
        kernel = w[f"{name}/conv/filters"]
        pad = kernel.shape[-1] // 2 if stride == 1 else 0
        x = F.conv2d(x, kernel, w[f"{name}/conv/bias"], stride, pad)
        x = x * w[f"{name}/scale/weights"].view(1, -1, 1, 1) + w[f"{name}/scale/biases"].view(1, -1, 1, 1)
        return x.relu() if active else x

    def _block(self, x: Any, name: str) -> Any:
        from torch.nn import functional as F

        down = name in DOWN
        y = self._conv(self._conv(x, f"{name}/conv1", 2 if down else 1, True), f"{name}/conv2", 1, False)
        if down:
            x = F.avg_pool2d(x, 2, 2)
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return (x + y).relu()

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        """(N, 150, 150, 3) uint8 RGB -> (N, 128)."""
        import torch
        from torch.nn import functional as F

        mean = torch.tensor([122.782, 117.001, 104.298]).view(1, 3, 1, 1)
        out = []
        with torch.no_grad():
            for k in range(0, len(chips), 32):
                x = torch.from_numpy(chips[k : k + 32].copy()).permute(0, 3, 1, 2).float()
                x = F.max_pool2d(self._conv((x - mean) / 255, "conv32_down", 2, True), 3, 2)
                for name in BLOCKS:
                    x = self._block(x, name)
                out.append((x.mean((2, 3)) @ self.weights["fc"]).numpy())
        return np.concatenate(out)


# Numbers --------------------------------------------------------------------------------------------------


def chips_of(images: np.ndarray, found: dict[str, np.ndarray]) -> np.ndarray:
    """Crops (N, 150, 150, 3) where the detector found something."""
    some = np.flatnonzero(found["detected"])
    return np.stack([cut(images[k], *field_of(found["box"][k]), CHIP) for k in some])


def verification(vectors: np.ndarray, who: np.ndarray) -> dict[str, float]:
    """How well distances tell people apart. O(N^2)."""
    from sklearn.metrics import roc_auc_score, roc_curve

    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    first, second = np.triu_indices(len(who), 1)
    distance, same = apart[first, second], who[first] == who[second]
    false, true, _ = roc_curve(same, -distance)
    cross = int(np.argmin(np.abs(false - (1 - true))))
    np.fill_diagonal(apart, np.inf)
    kin, strangers = distance[same], distance[~same]
    spread = float(np.sqrt(0.5 * (kin.var() + strangers.var())))
    return {
        "same": float(kin.mean()),
        "same_sd": float(kin.std()),
        "different": float(strangers.mean()),
        "different_sd": float(strangers.std()),
        "different_p5": float(np.percentile(strangers, 5)),
        "d_prime": float((strangers.mean() - kin.mean()) / spread),
        "auc": float(roc_auc_score(same, -distance)),
        "eer": float(0.5 * (false[cross] + 1 - true[cross])),
        "rank1": float(np.mean(who[apart.argmin(1)] == who)),
    }


def grey(images: np.ndarray) -> np.ndarray:
    """Luma three times."""
    luma = images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma).astype(np.uint8)[..., None].repeat(3, axis=-1)


class Judges:
    """Detector and embedding together.

    Args:
        python: of the tracker's environment.
        weights: folder of the embedding.
    """

    def __init__(self, python: str, weights: Path) -> None:
        self.python, self.embed = python, Embedder(weights)
        self.tracker = ""

    def look(self, images: np.ndarray, scale: int = 1, pad: int = 0) -> dict[str, np.ndarray]:
        """What the tracker finds."""
        found = track(self.python, images, scale, pad)
        self.tracker = str(found["version"])
        return found

    def row(self, name: str, images: np.ndarray, who: np.ndarray, **how: int) -> dict[str, Any]:
        """One line of the verification table."""
        found = self.look(images, **how)
        some = found["detected"]
        vectors = self.embed(chips_of(images, found))
        return {
            "row": name,
            "pictures": len(images),
            "detected": int(some.sum()),
            "mesh": int(found["mesh_found"].sum()),
            "score": float(found["score"][some].mean()),
            **verification(vectors, who[some]),
        }

    def detection(self, images: np.ndarray) -> dict[str, Any]:
        """The detector alone."""
        found = self.look(images)
        some = found["detected"]
        return {
            "row": "detection",
            "pictures": len(images),
            "rate": float(some.mean()),
            "mesh_rate": float(found["mesh_found"].mean()),
            "score": float(found["score"][some].mean()),
            "score_min": float(found["score"][some].min()),
        }

    def factors(self, pictures: dict[str, np.ndarray]) -> dict[str, Any]:
        """Mean distance from the unchanged picture, for each change."""
        vectors: dict[str, np.ndarray] = {}
        for name, images in pictures.items():
            found = self.look(images)
            full = np.full((len(images), 128), np.nan, np.float32)
            full[found["detected"]] = self.embed(chips_of(images, found))
            vectors[name] = full
        base = vectors.pop("base")
        pairs = np.linalg.norm(base[:, None] - base[None], axis=2)[np.triu_indices(len(base), 1)]
        moved = {name: np.linalg.norm(v - base, axis=1) for name, v in vectors.items()}
        light = np.concatenate([moved[k] for k in ("window", "studio", "outdoor", "flash")])
        return {
            "row": "factors",
            "people": len(base),
            "missed": int(sum(np.isnan(v).sum() for v in moved.values())),
            **{name: float(np.nanmean(v)) for name, v in moved.items()},
            "light": float(np.nanmean(light)),
            "another_person": float(np.nanmean(pairs)),
        }


def real_row(judges: Judges) -> dict[str, Any]:
    """The same numbers of real faces: the first five pictures of each person."""
    try:
        faces = Orl()
    except (ConfigError, DataError) as error:
        return {"row": "orl", "left_out": str(error)}
    first = np.arange(len(faces)) % 10 < EACH
    images = faces.images[first][..., None].repeat(3, axis=-1)
    return judges.row("orl", images, faces.labels[first], scale=ORL_SCALE, pad=ORL_PAD)


def rows(judges: Judges, cache: Path, workers: int) -> Iterator[dict[str, Any]]:
    """All rows of the protocol."""
    make = partial(made, cache=cache, workers=workers)
    yield judges.detection(make(frontal, FRONTAL)["images"])
    faces = make(album, WHO)
    worn = judges.row("renders", faces["images"], faces["who"])
    yield {**worn, "with_glasses": int(faces["glasses"].sum())}
    yield judges.row("renders_bare", faces["bare"], faces["who"])
    yield judges.row("renders_grey", grey(faces["images"]), faces["who"])
    yield judges.row("renders_bare_grey", grey(faces["bare"]), faces["who"])
    yield real_row(judges)
    yield judges.factors(make(factors, FACTOR_WHO))


def verdicts(table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Each goal: what was measured, what is asked, whether it is met."""
    moved = table["factors"]
    worst = max(NUISANCES, key=lambda k: moved[k])
    measured = {
        "detection": (table["detection"]["rate"], GOALS["detection"]),
        "auc": (table["renders"]["auc"], GOALS["auc"]),
        "different": (table["renders"]["different"], GOALS["different"]),
    }
    out = {k: {"value": v, "at_least": least, "met": v >= least} for k, (v, least) in measured.items()}
    met = moved[worst] < moved["another_person"]
    out["nuisance"] = {"worst": worst, "value": moved[worst], "below": moved["another_person"], "met": met}
    return out


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="judge_faces.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracker-python", required=True, help="python of the environment with mediapipe")
    parser.add_argument("--weights", required=True, type=Path, help="unpacked @vladmandic/face-api@1.7.15")
    parser.add_argument("--output", type=Path, help="JSON file of everything")
    parser.add_argument("--cache", type=Path, default=Path("out/judge"), help="where renders are kept")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    given = parser.parse_args(arguments)
    try:
        judges = Judges(given.tracker_python, given.weights)
        table: dict[str, dict[str, Any]] = {}
        for row in rows(judges, given.cache, max(1, given.workers)):
            table[row["row"]] = row
            print(json.dumps(row), flush=True)
        goals = verdicts(table)
        print(json.dumps({"row": "goals", **goals}), flush=True)
        if given.output:
            io.write_json(given.output, _record(judges, table, goals))
    except MienError as error:
        print(f"judge_faces: {error}", file=sys.stderr)
        return error.exit_code
    missed = [name for name, goal in goals.items() if not goal["met"]]
    if missed:
        print(f"judge_faces: missed {', '.join(missed)}", file=sys.stderr)
    return int(bool(missed))


def _record(judges: Judges, table: dict[str, dict[str, Any]], goals: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {
        "protocol": VERSION,
        "commit": commit(),
        "renderer": _source_hash(),
        "weights_sha256": judges.embed.sha256,
        "versions": {
            "mien": mien.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "mediapipe": judges.tracker,
        },
        "rows": list(table.values()),
        "goals": goals,
    }


if __name__ == "__main__":
    sys.exit(main())
