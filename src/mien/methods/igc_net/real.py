"""A look at real pictures: the ORL faces, grey, of 40 people, without any truth but who they are.

Landmarks come from MediaPipe where it is installed (`mien.data.face_detector`); else that score is left out,
and the reason is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.core.errors import MissingPackageError
from mien.data.capsule_files import CapsuleSet, Part
from mien.data.capsule_sets import capsule_set
from mien.data.config import CapsuleData
from mien.data.face_detector import find_landmarks
from mien.engine.task import Measured
from mien.methods.igc_net.measure import by_person, standardised
from mien.methods.igc_net.model import IGCNet
from mien.methods.igc_net.seen import Seen, see
from mien.methods.igc_net.watchers import dome_correlation, part_shares
from mien.metrics.capsules import landmark_nme_from_parts, rank_one_across_views
from mien.metrics.segmentation import adjusted_rand_index
from mien.render.alignment import five_of_68

Values = NDArray[np.float64]
LARGE = 184
"""Side at which landmarks are looked for: twice that of the files."""


def measured_on_orl(net: IGCNet, size: int) -> Measured:
    """All 400 pictures; none was trained on.

    ``CODE_rank_1``: of each person, the nearest other picture shows the same one. ``mirror``: ARI of a
    picture's parts and of its mirror image's, mirrored back, in both foregrounds. ``error``: of the
    reconstruction. ``nme``: landmarks from places of parts, learnt on 28 people, of 8 others.
    """
    try:
        sets = {part: capsule_set(CapsuleData(kind="orl", size=size), part) for part in ("train", "test")}  # type: ignore[arg-type]
        rest = capsule_set(CapsuleData(kind="orl", size=size), "val")
    except MissingPackageError as error:
        return Measured({}, {}, {"skipped": str(error)})
    faces = joined([*sets.values(), rest])
    seen = see(net, faces)
    assert seen.maps is not None
    assert seen.depth is not None
    assert seen.error is not None
    assert faces.identity is not None
    maps = torch.from_numpy(seen.maps.astype(np.float32))
    metrics = {
        "live_parts": float((part_shares(maps) >= 0.01).sum()),
        "area": float(1 - maps[:, 0].mean()),
        "dome": dome_correlation(torch.from_numpy(seen.depth), maps[:, 0] < 0.5),
    }
    units: dict[str, Values] = {
        "error": seen.error.astype(np.float64),
        "mirror": mirror_agreement(net, faces),
    }
    still = np.zeros(len(faces))
    for name in ("object", "parts"):
        code = standardised(seen.codes[name], seen.codes[name])
        (rate,) = rank_one_across_views(code, faces.identity, still, (0.0, 1.0))
        units[f"{name}_rank_1"] = by_person(rate.images, faces.identity)
    extra: dict[str, Any] = {}
    try:
        units["nme"] = _nme(seen, {part: len(own) for part, own in sets.items()}, size)
    except MissingPackageError as error:
        extra["nme"] = f"skipped: {error}"
    return Measured({k: float(np.nanmean(v)) for k, v in units.items()} | metrics, units, extra)


def joined(sets: list[CapsuleSet]) -> CapsuleSet:
    """Pictures and people of several sets, one after another."""
    who = np.concatenate([own.identity for own in sets if own.identity is not None])
    return CapsuleSet(np.concatenate([own.pictures for own in sets]), who)


def mirror_agreement(net: IGCNet, faces: CapsuleSet) -> Values:
    """(n,) ARI of the parts of pictures and of their mirror images, mirrored back. O(n S^2).

    Within the former's foreground. A part means the same on both sides of a face.
    """
    own, other = (see(net, CapsuleSet(x)).labels for x in (faces.pictures, faces.pictures[:, :, ::-1]))
    assert own is not None
    assert other is not None
    return adjusted_rand_index(own, other[:, :, ::-1], foreground=True)


def _nme(seen: Seen, counts: dict[str, int], size: int) -> Values:
    """Of the test people's pictures in which all of their landmarks are found."""
    assert seen.maps is not None
    found, maps, first = {}, {}, 0
    for part, count in counts.items():
        marks = _landmarks(part, size)  # type: ignore[arg-type]
        some = np.isfinite(marks).all((1, 2))
        found[part], maps[part] = marks[some], seen.maps[first : first + count][some]
        first += count
    return landmark_nme_from_parts(maps["train"], found["train"], maps["test"], found["test"]).images


def _landmarks(part: Part, size: int) -> Values:
    """(n, 5, 2) of pictures of ``size`` pixels; nan where no face is found."""
    large = capsule_set(CapsuleData(kind="orl", size=LARGE), part).pictures
    points = five_of_68(find_landmarks(list(large)))
    return np.asarray(points * (size / LARGE) - 0.5, np.float64)
