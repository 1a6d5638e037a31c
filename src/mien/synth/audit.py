"""Shortcut audit of anti-spoofing data: what trivial statistics alone tell about live or attack."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.synth.sensors import plane_residual

Array = NDArray[Any]  # of floats


def trivial(image: Array) -> Array:
    """Mean, standard deviation and mean of the border of each channel of (S, S) or (S, S, C)."""
    x = np.asarray(image, np.float64)
    x = x[..., None] if x.ndim == 2 else x
    edge = np.concatenate([x[0], x[-1], x[1:-1, 0], x[1:-1, -1]])
    return np.concatenate([x.mean((0, 1)), x.std((0, 1)), edge.mean(0)])


def relief(depth: Array, face: NDArray[np.bool_]) -> Array:
    """What a depth map alone tells: plane residual, range, holes of the presented face."""
    good = face & (depth > 0)
    if good.sum() < 16:
        return np.array([0.0, 0.0, 1.0])
    z = depth[good]
    return np.array(
        [plane_residual(depth, good), np.ptp(np.percentile(z, (5, 95))), 1 - good.sum() / max(face.sum(), 1)]
    )


def held_out_auc(features: Array, live: NDArray[np.bool_], groups: NDArray[Any], seed: int = 0) -> float:
    """AUC of logistic regression, scored on subjects that it was not fitted on (5 folds).

    Args:
        features: (N, F).
        live: (N,).
        groups: (N,) subjects.
        seed: unused by the folds, which follow the order of the subjects; of the solver.

    Raises:
        DataError: fewer than five subjects, or only one class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(groups)) < 5 or len(np.unique(live)) < 2:
        raise DataError("the audit needs live and attack samples of at least five subjects")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed))
    score = cross_val_predict(model, features, live, groups=groups, cv=GroupKFold(5), method="predict_proba")[
        :, 1
    ]
    return float(roc_auc_score(live, score))


def shortcut_audit(
    samples: list[tuple[Array, Array, Array, NDArray[np.bool_]]],
    species: list[str],
    subjects: list[int],
) -> dict[str, float]:
    """AUCs of trivial statistics; colour must stay near chance. O(samples pixels).

    Args:
        samples: (rgb, depth in metres, infrared, face) of each.
        species: "live" or an instrument.
        subjects: who.

    Returns:
        ``rgb``, ``depth``, ``ir``: trivial statistics of one modality; ``relief_masks``, ``relief_flat``: the
        relief of the depth map against masks only, and against prints and screens only.
    """
    kind = np.array(species)
    live, who = kind == "live", np.array(subjects)
    table = {
        "rgb": np.array([trivial(s[0]) for s in samples]),
        "depth": np.array([trivial(s[1]) for s in samples]),
        "ir": np.array([trivial(s[2]) for s in samples]),
    }
    out = {name: held_out_auc(f, live, who) for name, f in table.items()}
    shape = np.array([relief(s[1], s[3]) for s in samples])
    mask = np.char.startswith(kind, "mask_")
    for name, own in (("relief_masks", live | mask), ("relief_flat", ~mask & (kind != "print_cut"))):
        out[name] = held_out_auc(shape[own], live[own], who[own])
    return out
