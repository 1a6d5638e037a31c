"""Do WebDataset shards hold what they should?"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from mien.core.errors import DataError, MienError
from mien.data.check import CheckReport, Problems, one_line
from mien.data.pad_shards import PadShards, pad_samples
from mien.data.tar_samples import samples_of, shard_paths, split_of

SPLIT_NAMES = {"train": "train", "val": "dev", "test": "test"}


def guess_shard_kind(path: Path) -> str | None:
    """What lies in a folder of shards: "pad_shards", "shards" (of classes, in splits), or None."""
    if not path.is_dir() or not any(path.glob("*.tar")) or (path / "set.json").is_file():
        return None
    first = shard_paths(path)[0]
    sample = next(samples_of(first), None)
    if sample is not None and {"live", "species"} & set(sample.facts()):
        return "pad_shards"
    return "shards" if split_of(first) else None


def check_pad_shards(path: Path, decode: bool = True) -> CheckReport:
    """Reads shards of live faces and attacks, and all their pictures.

    Problems: damaged shards, incomplete samples, one class only, subjects in two splits, pictures that do not
    decode. Time O(bytes), memory O(samples).

    Args:
        path: see `mien.data.tar_samples.shard_paths`.
        decode: also decode every picture.
    """
    problems, sets = Problems(), dict[str, PadShards]()
    try:
        for part, split in SPLIT_NAMES.items():
            if shards := [s for s in shard_paths(path) if split_of(s) == part]:
                sets[split] = PadShards([one for s in shards for one in pad_samples(s)])
    except DataError as error:
        problems.add(str(error))
    else:
        if not {"train", "test"} <= set(sets):
            problems.add(f"{path}: no shards with the words train and test in their names")
    for split, images in sets.items():
        if len(set(images.labels.live.tolist())) == 1:
            problems.add(f"{path}: {split} has {'live faces' if images.labels.live[0] else 'attacks'} only")
        if decode:
            _decode(images, problems)
    for (a, one), (b, two) in combinations(sets.items(), 2):
        if both := sorted(set(one.labels.subjects.tolist()) & set(two.labels.subjects.tolist())):
            problems.add(f"{len(both)} subjects are in {a} and in {b}, the first: {both[0]}")
    splits = {split: _summary(images) for split, images in sets.items()}
    return CheckReport("pad_shards", one_line(str(path)), splits, problems.lines(), ())


def _decode(images: PadShards, problems: Problems) -> None:
    for i in range(len(images)):
        for modality in images.modalities:
            try:
                images.pictures(modality, [i])
            except MienError as error:
                problems.add(str(error))


def _summary(images: PadShards) -> dict[str, int]:
    labels = images.labels
    live = int(labels.live.sum())
    return {
        "samples": len(images),
        "videos": len(set(labels.videos.tolist())),
        "live": live,
        "attack": len(images) - live,
        "subjects": len(set(labels.subjects.tolist())),
    }
