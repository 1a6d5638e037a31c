"""A look at real pictures: the ORL faces, grey, of 40 people, without any truth but who they are.

Landmarks come from MediaPipe where it is installed (`mien.data.face_detector`); else that score is left out,
and the reason is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mien.core.errors import MissingPackageError
from mien.data.capsule_files import CapsuleSet, Part
from mien.data.capsule_sets import capsule_set
from mien.data.config import CapsuleData
from mien.data.face_detector import find_landmarks_3d
from mien.engine.task import Measured
from mien.methods.igc_net.measure import by_person, standardised
from mien.methods.igc_net.model import IGCNet
from mien.methods.igc_net.seen import Seen, baseline, see
from mien.methods.igc_net.watchers import dome_correlation, part_shares
from mien.metrics.capsules import landmark_nme_from_parts, rank_one_across_views
from mien.metrics.segmentation import adjusted_rand_index
from mien.render.alignment import five_of_68

Values = NDArray[np.float64]
_INNER = slice(17, 68)  # landmarks within the face: its outline may fall beside it
LARGE = 184
"""Side at which landmarks are looked for: twice that of the files."""


def measured_on_orl(net: IGCNet, size: int) -> Measured:
    """All 400 pictures; none was trained on.

    ``CODE_rank_1``: of each person, the nearest other picture shows the same one. ``mirror``: ARI of a
    picture's parts and of its mirror image's, mirrored back, in both foregrounds. ``error``: of the
    reconstruction. ``nme``: landmarks from places of parts, learnt on 28 people, of 8 others.
    ``pseudo_depth``: of the same pictures, `pseudo_depth_correlation` with MediaPipe's mesh;
    ``pseudo_depth_dome``: that of half an ellipsoid.
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
        marks = {part: _landmarks(part, size) for part in sets}  # type: ignore[arg-type]
        units["nme"] = _nme(seen, marks)
        units |= _pseudo_depth(seen, sets, marks)
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


def pseudo_depth_correlation(depth: Values, points: Values) -> Values:
    """(n,) correlation over landmarks of a depth map and of the depth that a face tracker guesses. O(n K).

    Args:
        depth: (n, S, S), away from the camera.
        points: (n, K, 3) column, row and guessed depth, of pixel centres.
    """
    maps = torch.from_numpy(np.asarray(depth, np.float64))[:, None]
    at = (torch.from_numpy(points[..., :2]) + 0.5) / maps.shape[-1] * 2 - 1
    found = F.grid_sample(maps, at[:, None], padding_mode="border", align_corners=False)
    own, other = (x - x.mean(-1, keepdims=True) for x in (found[:, 0, 0].numpy(), points[..., 2]))
    return np.asarray((own * other).sum(-1) / np.sqrt((own**2).sum(-1) * (other**2).sum(-1)))


def _pseudo_depth(seen: Seen, sets: dict[str, CapsuleSet], marks: dict[str, Values]) -> dict[str, Values]:
    """Of the test people's pictures in which all of their landmarks are found."""
    assert seen.depth is not None
    test, known = sets["test"], sets["train"]
    dome = baseline("dome", known, test, 1).depth
    assert dome is not None
    inner = marks["test"][:, _INNER]
    own = seen.depth[len(known) : len(known) + len(test)]
    some = np.isfinite(inner).all((1, 2))
    return {
        name: pseudo_depth_correlation(depth[some], inner[some])
        for name, depth in (("pseudo_depth", own), ("pseudo_depth_dome", dome))
    }


def _nme(seen: Seen, marks: dict[str, Values]) -> Values:
    """Of the test people's pictures in which all of their landmarks are found."""
    assert seen.maps is not None
    found, maps, first = {}, {}, 0
    for part, own in marks.items():
        some = np.isfinite(own).all((1, 2))
        found[part] = five_of_68(own[some][..., :2])
        maps[part] = seen.maps[first : first + len(own)][some]
        first += len(own)
    return landmark_nme_from_parts(maps["train"], found["train"], maps["test"], found["test"]).images


def _landmarks(part: Part, size: int) -> Values:
    """(n, 68, 3) of pictures of ``size`` pixels; nan where no face is found."""
    large = capsule_set(CapsuleData(kind="orl", size=LARGE), part).pictures
    points = find_landmarks_3d(list(large)) * (size / LARGE)
    return np.asarray(points - [0.5, 0.5, 0.0], np.float64)
