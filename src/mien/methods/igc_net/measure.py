"""Measures of what is seen against the truth of a made set, one value for each picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.data.capsule_files import CapsuleSet
from mien.methods.igc_net.seen import Seen
from mien.metrics.capsules import (
    comparison_mask,
    landmark_nme_from_parts,
    light_corr,
    mean_angle_deviation,
    pose_corr,
    rank_one_across_views,
    seg_iou_matched,
)
from mien.metrics.depth import scale_invariant_depth_error
from mien.metrics.intervals import by_cluster
from mien.metrics.segmentation import adjusted_rand_index

Array = NDArray[Any]
Values = NDArray[np.float64]
FACE = ("skin", "eyes", "brows", "nose", "mouth")
"""Parts that are the face itself: hair and clothes have no shape that a front map could hold."""
ACROSS = 30.0
"""Difference of yaw, degrees, from which two pictures are different views of a person."""
TURNED = 25.0
"""Yaw, degrees, beyond which parts hide each other."""
BINS = (0.0, 15.0, 30.0, 45.0, 90.0)
LEAST = 5
"""Pixels of a picture, below which its depth is not compared."""


def made(value: Array | None, what: str) -> Array:
    """A truth that a set has.

    Raises:
        DataError: it has not.
    """
    if value is None:
        raise DataError(f"this set does not tell {what}; the protocol needs a made set (data.kind heads3d)")
    return value


def depth_units(seen: Seen, faces: CapsuleSet) -> dict[str, Values]:
    """SIDE x 100, MAD in degrees, of each picture; ``face_``: on `FACE` alone. O(n S^2).

    Where: eroded true foreground and eroded valid prediction; ``coverage`` is how much of the first is left.
    A picture with less than `LEAST` pixels there is nan.
    """
    assert seen.depth is not None
    assert seen.valid is not None
    assert seen.normal is not None
    truth = torch.from_numpy(made(faces.mask, "depth"))
    compared = comparison_mask(truth, torch.from_numpy(seen.valid))
    alone = comparison_mask(truth, torch.ones_like(truth)).sum((1, 2)).clamp_min(1)
    out = {"coverage": (compared.sum((1, 2)) / alone).double().numpy()}
    number = [faces.parts.index(name) for name in FACE if name in faces.parts]
    face = torch.from_numpy(np.isin(made(faces.part, "parts"), number))
    for name, where in (("", compared), ("face_", compared & face)):
        out |= {f"{name}{k}": v for k, v in _shape_errors(seen, faces, where).items()}
    return out


def _shape_errors(seen: Seen, faces: CapsuleSet, where: torch.Tensor) -> dict[str, Values]:
    """Of all pictures within masks (n, S, S)."""
    some = (where.sum((1, 2)) >= LEAST).numpy()
    said, depth, turned, normal = (
        torch.from_numpy(made(x, "depth")[some]).float()
        for x in (seen.depth, faces.depth, seen.normal, faces.normal)
    )
    side, mad = np.full(len(some), np.nan), np.full(len(some), np.nan)
    if some.any():
        own = where[torch.from_numpy(some)]
        side[some] = 100 * scale_invariant_depth_error(said, depth, own).numpy()
        mad[some] = mean_angle_deviation(turned, normal, own).numpy()
    return {"side": side, "mad": mad}


def part_units(seen_train: Seen, train: CapsuleSet, seen: Seen, faces: CapsuleSet) -> dict[str, Values]:
    """Of each picture, names of parts and regression of landmarks learnt on training pictures.

    ``iou``: mean over its true parts, one part each; ``iou_many``: several parts may be one true part;
    ``ari`` in the true foreground; ``nme``; ``foreground``: IoU of all that is no background; ``iou_turned``:
    of the pictures beyond `TURNED` alone, the others are nan.
    """
    assert seen_train.maps is not None
    assert seen.maps is not None
    true = [made(x.part, "parts").astype(np.int64) for x in (train, faces)]
    found = [x.labels for x in (seen_train, seen)]
    assert found[0] is not None
    assert found[1] is not None
    one, many = (seg_iou_matched(true[0], found[0], true[1], found[1], how).images for how in ("one", "many"))
    marks = [made(x.landmarks, "landmarks") for x in (train, faces)]
    nme = landmark_nme_from_parts(seen_train.maps, marks[0], seen.maps, marks[1])
    both, either = ((f(true[1] > 0, found[1] > 0)).sum((1, 2)) for f in (np.logical_and, np.logical_or))
    turned = np.abs(made(faces.yaw, "yaw")) > TURNED
    return {
        "iou": one,
        "iou_many": many,
        "iou_turned": np.where(turned, one, np.nan),
        "ari": adjusted_rand_index(true[1], found[1], foreground=True),
        "foreground": both / np.maximum(either, 1),
        "nme": nme.images,
        "less_nme": -nme.images,
    }


def standardised(codes: Array, train: Array) -> Array:
    """Codes (n, D) less the training mean, over the training deviation; a constant one becomes 0."""
    mean, std = train.mean(0), train.std(0)
    return np.where(std > 1e-9, (codes - mean) / np.where(std > 1e-9, std, 1), 0.0)


def by_person(values: Values, identity: Array) -> Values:
    """(people,) values whose mean is that of the pictures (n,) that are no nan (`by_cluster`)."""
    people, person = np.unique(identity, return_inverse=True)
    told = ~np.isnan(values)
    return by_cluster(values[told], person[told], len(people))


def recognition_units(
    codes: Mapping[str, Array], train: Mapping[str, Array], faces: CapsuleSet
) -> dict[str, Values]:
    """Rank-1 of each picture by each code, cosine similarity of codes as `standardised`. O(n^2 D).

    nan: nobody else of that person to be found.
    ``CODE_across``: among pictures whose yaw differs by `ACROSS` or more; ``CODE_LOW``: by LOW degrees up to
    the next of `BINS`.
    """
    who, yaw = made(faces.identity, "who people are"), made(faces.yaw, "yaw")
    out = {}
    for name, code in codes.items():
        ready = standardised(code, train[name])
        (across,) = rank_one_across_views(ready, who, yaw, (ACROSS, 180.0))
        out[f"{name}_across"] = across.images
        for rate in rank_one_across_views(ready, who, yaw, BINS):
            if rate.probes:
                out[f"{name}_{rate.low:.0f}"] = rate.images
    return out


def scene_metrics(seen: Seen, faces: CapsuleSet) -> dict[str, float]:
    """Correlation of view and light with the truth; ``yaw_spread``: deviation of yaw over the true one."""
    assert seen.view is not None
    assert seen.light is not None
    view, light = made(faces.view, "view"), made(faces.light, "light")
    out = pose_corr(seen.view, view)
    out |= {f"light_{k}": v for k, v in light_corr(seen.light, light).items()}
    out["yaw_spread"] = float(seen.view[:, 1].std() / max(view[:, 1].std(), 1e-9))
    return {k: v for k, v in out.items() if np.isfinite(v)}
